/* cimagecodecs.h: the bytes of picture files to pixels, and pixels to PNG. JPEG and PNG through libjpeg-turbo and
 * libpng; WebP, GIF and TIFF through libwebp, giflib and libtiff, which are loaded when the first such picture is met;
 * BMP by itself.
 *
 * Nothing here prints, exits or jumps out: what the libraries would say or do is caught and comes back as a status and
 * a message. Pixels are bytes, (H, W, C), channels last and rows without gaps. Sizes are checked against the limit
 * before memory for pixels is asked for.
 *
 *     ci_decoder *decoder;
 *     ci_info info;
 *     ci_status status = ci_open(bytes, size, CI_MAX_PIXELS, &decoder, &info);
 *     if (status == CI_OK)
 *         status = ci_read(decoder, pixels, &info);       pixels: info.height * info.width * info.channels bytes
 *     ci_close(decoder);
 */
#ifndef CIMAGECODECS_H
#define CIMAGECODECS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ci_status {
    CI_OK = 0,
    CI_INVALID_ARGUMENT = 1,
    CI_UNKNOWN_FORMAT = 2, /* none of the formats by its first bytes */
    CI_TRUNCATED = 3,      /* the file ends before the picture does */
    CI_CORRUPT = 4,        /* the decoder gave up */
    CI_UNSUPPORTED = 5,    /* valid, but of a kind that is not read, such as lossless JPEG; or its library is missing */
    CI_TOO_LARGE = 6,      /* more pixels than the caller allows */
    CI_OUT_OF_MEMORY = 7
} ci_status;

typedef enum ci_format { CI_JPEG = 1, CI_PNG, CI_WEBP, CI_GIF, CI_BMP, CI_TIFF } ci_format;

/* The default limit: a file of a few bytes may claim any size, and pixels cost memory. */
#define CI_MAX_PIXELS 200000000

typedef struct ci_info {
    ci_format format;
    int32_t height, width;
    int32_t channels;  /* 1 for gray, else 3: what ci_read writes */
    int32_t warnings;  /* faults that the decoder got over; the pixels may be damaged */
    char message[200]; /* the error, or the first warning; empty if there is none */
} ci_info;

typedef struct ci_decoder ci_decoder;

/* The format that the first bytes of a file announce, 0 if none; 18 bytes are enough. */
ci_format ci_recognize(const uint8_t *bytes, size_t size);

/* Tells the format and reads the header. `bytes` must stay until ci_close. `info` is always filled as far as known.
 * `decoder` is NULL unless the status is CI_OK. */
ci_status ci_open(const uint8_t *bytes, size_t size, uint64_t max_pixels, ci_decoder **decoder, ci_info *info);

/* Decodes all pixels; once per decoder. No gamma or color profile is applied, alpha and transparency are dropped, 16
 * bits become the high 8 (gray that is 255 at most in all of a picture keeps its value), fewer than 8 are spread over
 * 0...255, palettes become RGB (gray, where BMP's and GIF's are).
 *
 *     JPEG   full size, accurate DCT, smooth upsampling; CMYK and YCCK become RGB the way Pillow does it (stored
 * inverted, as Adobe writes them); at most 100 scans, and 2.5e9 pixels in all scans WebP   of an animation the first
 * frame; what it does not cover is black GIF    the first frame on its screen TIFF   the first page; gray, palette,
 * RGB, CMYK and YCbCr; premultiplied colors are divided by their alpha; samples of 32 bits, and signed ones of 16, only
 * where they are 0...255 */
ci_status ci_read(ci_decoder *decoder, uint8_t *pixels, ci_info *info);

void ci_close(ci_decoder *decoder); /* NULL is fine */

/* Encodes (H, W, C) bytes, C = 1 (gray) or 3 (RGB), as PNG. *bytes is freed with ci_free. `message` takes at least 200
 * characters. */
ci_status ci_png_encode(const uint8_t *pixels, int32_t height, int32_t width, int32_t channels, uint8_t **bytes,
                        size_t *size, char *message);
void ci_free(void *memory);

/* Inflates a zlib stream into at most `capacity` bytes; CI_TOO_LARGE if there are more. */
ci_status ci_inflate(const uint8_t *bytes, size_t size, uint8_t *target, size_t capacity, size_t *written);

#ifdef __cplusplus
}
#endif
#endif
