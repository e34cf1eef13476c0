/* What the formats' readers share. */
#ifndef CI_DECODER_H
#define CI_DECODER_H

#include "cimagecodecs.h"

struct ci_decoder {
    const uint8_t *bytes;
    size_t size;
    uint64_t max_pixels;
    ci_info info;
    int is_cmyk; /* JPEG: four components */
    void *state; /* tjhandle or png_reader */
};

/* Each opens on decoder->bytes and fills decoder->info; ci_close is called after a failure too. */
ci_status ci_jpeg_open(ci_decoder *decoder);
ci_status ci_jpeg_read(ci_decoder *decoder, uint8_t *pixels);
void ci_jpeg_close(ci_decoder *decoder);

ci_status ci_png_open(ci_decoder *decoder);
ci_status ci_png_read(ci_decoder *decoder, uint8_t *pixels);
void ci_png_close(ci_decoder *decoder);

/* Copies `text` to `message` (200 characters), cut to size, unless one is there already. */
void ci_say(char *message, const char *text);
/* Stores the size; CI_TOO_LARGE if it passes the limit. */
ci_status ci_set_size(ci_decoder *decoder, int64_t height, int64_t width, int32_t channels);

#endif
