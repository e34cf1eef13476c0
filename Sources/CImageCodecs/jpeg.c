/* JPEG through libjpeg-turbo's TurboJPEG interface, which catches the library's errors itself.
 *
 * TurboJPEG fills a cut-off picture with gray and mentions the first warning only, so whether a file is whole is found
 * out beforehand, by walking its markers to the end-of-image marker. Without one a file is truncated, as for Pillow.
 */
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "decoder.h"

enum { SOF0 = 0xc0, DHT = 0xc4, JPG = 0xc8, SOF9 = 0xc9, DAC = 0xcc, SOF15 = 0xcf };
enum { RST0 = 0xd0, RST7 = 0xd7, SOI = 0xd8, EOI = 0xd9, TEM = 0x01 };

typedef struct {
    int ends;      /* the markers lead to EOI */
    uint8_t frame; /* the first start-of-frame marker, 0 if there is none */
} outline;

/* Walks the markers. Junk between segments is passed over, as libjpeg does. */
static outline walk(const uint8_t *bytes, size_t size) {
    outline found = {0, 0};
    size_t at = 2;
    while (at < size) {
        const uint8_t *ff = memchr(bytes + at, 0xff, size - at);
        if (!ff) break;
        at = (size_t)(ff - bytes) + 1;
        while (at < size && bytes[at] == 0xff) at++;
        if (at >= size) break;
        const uint8_t marker = bytes[at++];
        if (marker == EOI) {
            found.ends = 1;
            break;
        }
        /* 0 is an escaped 0xff of entropy-coded data, which the search above runs through after SOS. */
        if (marker == 0 || marker == TEM || marker == SOI || (marker >= RST0 && marker <= RST7)) continue;
        if (size - at < 2) break;
        const size_t length = (size_t)bytes[at] << 8 | bytes[at + 1];
        if (length < 2) {
            found.ends = 1; /* a lie, not a cut: the decoder says so better */
            break;
        }
        if (length > size - at) break;
        if (!found.frame && marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != JPG && marker != DAC)
            found.frame = marker;
        at += length;
    }
    return found;
}

/* A Huffman-coded block of 64 pixels takes at least a bit, so a file of n bytes cannot hold more than 512 n pixels.
 * What claims more is not decoded: the decoder would fill hundreds of megabytes with gray. (Arithmetic coding can do
 * it.) */
static int can_hold(const ci_decoder *decoder, uint8_t frame) {
    const uint64_t pixels = (uint64_t)decoder->info.height * (uint64_t)decoder->info.width;
    return frame >= SOF9 || pixels / 512 <= decoder->size;
}

/* The status behind a failed call. Warnings are counted and are no failure. */
static ci_status judge(ci_decoder *decoder, tjhandle handle) {
    const char *text = tjGetErrorStr2(handle);
    if (tjGetErrorCode(handle) == TJERR_WARNING) {
        decoder->info.warnings++;
        ci_say(decoder->info.message, text);
        return CI_OK;
    }
    decoder->info.message[0] = '\0';
    ci_say(decoder->info.message, text);
    if (strstr(text, "nsufficient memory") || strstr(text, "emory allocation")) return CI_OUT_OF_MEMORY;
    return strstr(text, "nsupported") || strstr(text, "determine colorspace") ? CI_UNSUPPORTED : CI_CORRUPT;
}

ci_status ci_jpeg_open(ci_decoder *decoder) {
    const outline file = walk(decoder->bytes, decoder->size);
    if (!file.ends) {
        ci_say(decoder->info.message, "the file ends before the end-of-image marker");
        return CI_TRUNCATED;
    }
    tjhandle handle = tjInitDecompress();
    if (!handle) return CI_OUT_OF_MEMORY;
    decoder->state = handle;
    int width = 0, height = 0, sampling = -1, colors = -1;
    const int failed = tjDecompressHeader3(handle, decoder->bytes, decoder->size, &width, &height, &sampling, &colors);
    /* A sampling that TurboJPEG has no name for fails here, after the size is known, and decodes well. */
    const int nameless = failed && width > 0 && height > 0 && sampling < 0 && colors >= 0;
    if (failed && !nameless) {
        const ci_status status = judge(decoder, handle);
        if (status != CI_OK) return status;
    }
    decoder->is_cmyk = colors == TJCS_CMYK || colors == TJCS_YCCK;
    const ci_status status = ci_set_size(decoder, height, width, colors == TJCS_GRAY ? 1 : 3);
    if (status == CI_OK && !can_hold(decoder, file.frame)) {
        decoder->info.message[0] = '\0';
        ci_say(decoder->info.message, "the header claims more pixels than the file can hold");
        return CI_CORRUPT;
    }
    return status;
}

/* a * b / 255, rounded. */
static inline uint8_t times(uint8_t a, uint8_t b) {
    const unsigned product = (unsigned)a * b + 128;
    return (uint8_t)(((product >> 8) + product) >> 8);
}

/* Adobe stores ink as 255 - ink, so the stored values are light: RGB = CMY * K. Pillow subtracts the rounded product of
 * ink and light from the light, which can differ by one from rounding the product itself. */
static void light_to_rgb(const uint8_t *cmyk, size_t pixels, uint8_t *rgb) {
    for (size_t i = 0; i < pixels; i++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(cmyk[3] - times((uint8_t)(255 - cmyk[c]), cmyk[3]));
}

ci_status ci_jpeg_read(ci_decoder *decoder, uint8_t *pixels) {
    const ci_info *info = &decoder->info;
    const size_t count = (size_t)info->height * (size_t)info->width;
    uint8_t *target = pixels;
    int format = info->channels == 1 ? TJPF_GRAY : TJPF_RGB;
    if (decoder->is_cmyk) {
        format = TJPF_CMYK;
        target = malloc(count * 4);
        if (!target) return CI_OUT_OF_MEMORY;
    }
    ci_status status = CI_OK;
    /* A progressive file of millions of empty scans would take hours. */
    if (tjDecompress2(decoder->state, decoder->bytes, decoder->size, target, info->width, 0, info->height, format,
                      TJFLAG_LIMITSCANS | TJFLAG_ACCURATEDCT) != 0)
        status = judge(decoder, decoder->state);
    if (decoder->is_cmyk) {
        if (status == CI_OK) light_to_rgb(target, count, pixels);
        free(target);
    }
    return status;
}

void ci_jpeg_close(ci_decoder *decoder) {
    if (decoder->state) tjDestroy(decoder->state);
}
