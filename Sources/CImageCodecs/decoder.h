/* What the formats' readers share. */
#ifndef CI_DECODER_H
#define CI_DECODER_H

#include "cimagecodecs.h"

struct ci_decoder {
    const uint8_t *bytes;
    size_t size;
    uint64_t max_pixels;
    ci_info info;
    const struct ci_reader *reader;
    void *state; /* the reader's own */
};

/* One format. `open` reads the header of decoder->bytes into decoder->info; `close` is called after a failure too. */
typedef struct ci_reader {
    ci_format format;
    int (*recognizes)(const uint8_t *bytes, size_t size);
    ci_status (*open)(ci_decoder *decoder);
    ci_status (*read)(ci_decoder *decoder, uint8_t *pixels);
    void (*close)(ci_decoder *decoder);
} ci_reader;

extern const ci_reader ci_jpeg_reader, ci_png_reader, ci_webp_reader, ci_gif_reader, ci_bmp_reader, ci_tiff_reader;

/* Copies `text` to `message` (200 characters), cut to size, unless one is there already. */
void ci_say(char *message, const char *text);
/* Replaces what the message says and returns `status`. */
ci_status ci_fail(ci_decoder *decoder, ci_status status, const char *text);
/* Stores the size; CI_TOO_LARGE if it passes the limit. */
ci_status ci_set_size(ci_decoder *decoder, int64_t height, int64_t width, int32_t channels);

/* a * b / 255, rounded. */
static inline uint8_t ci_times(uint8_t a, uint8_t b) {
    const unsigned product = (unsigned)a * b + 128;
    return (uint8_t)(((product >> 8) + product) >> 8);
}

static inline uint32_t ci_le16(const uint8_t *bytes) { return bytes[0] | (uint32_t)bytes[1] << 8; }
static inline uint32_t ci_le32(const uint8_t *bytes) { return ci_le16(bytes) | ci_le16(bytes + 2) << 16; }

#endif
