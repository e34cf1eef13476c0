/* Tells the format by its first bytes and hands over to its reader. */
#include "decoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ci_reader *const readers[] = {&ci_jpeg_reader, &ci_png_reader, &ci_webp_reader,
                                           &ci_gif_reader,  &ci_bmp_reader, &ci_tiff_reader};

void ci_say(char *message, const char *text) {
    if (message[0] == '\0') snprintf(message, sizeof((ci_info *)0)->message, "%s", text);
}

ci_status ci_fail(ci_decoder *decoder, ci_status status, const char *text) {
    decoder->info.message[0] = '\0';
    ci_say(decoder->info.message, text);
    return status;
}

ci_status ci_set_size(ci_decoder *decoder, int64_t height, int64_t width, int32_t channels) {
    if (height < 1 || width < 1 || height > INT32_MAX || width > INT32_MAX)
        return ci_fail(decoder, CI_CORRUPT, "the header claims an impossible size");
    decoder->info.height = (int32_t)height;
    decoder->info.width = (int32_t)width;
    decoder->info.channels = channels;
    if ((uint64_t)height * (uint64_t)width > decoder->max_pixels) {
        char text[120];
        snprintf(text, sizeof text, "%lld x %lld pixels are more than the limit of %llu", (long long)width,
                 (long long)height, (unsigned long long)decoder->max_pixels);
        return ci_fail(decoder, CI_TOO_LARGE, text);
    }
    return CI_OK;
}

static const ci_reader *reader_of(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i]->recognizes(bytes, size)) return readers[i];
    return NULL;
}

ci_format ci_recognize(const uint8_t *bytes, size_t size) {
    const ci_reader *reader = bytes ? reader_of(bytes, size) : NULL;
    return reader ? reader->format : 0;
}

ci_status ci_open(const uint8_t *bytes, size_t size, uint64_t max_pixels, ci_decoder **decoder, ci_info *info) {
    if (!decoder || !info) return CI_INVALID_ARGUMENT;
    *decoder = NULL;
    memset(info, 0, sizeof *info);
    if (!bytes && size > 0) return CI_INVALID_ARGUMENT;
    const ci_reader *reader = reader_of(bytes, size);
    if (!reader) return CI_UNKNOWN_FORMAT;
    ci_decoder *made = calloc(1, sizeof *made);
    if (!made) return CI_OUT_OF_MEMORY;
    made->bytes = bytes;
    made->size = size;
    made->max_pixels = max_pixels;
    made->reader = reader;
    made->info.format = reader->format;
    const ci_status status = reader->open(made);
    *info = made->info;
    if (status == CI_OK)
        *decoder = made;
    else
        ci_close(made);
    return status;
}

ci_status ci_read(ci_decoder *decoder, uint8_t *pixels, ci_info *info) {
    if (!decoder || !pixels || !info) return CI_INVALID_ARGUMENT;
    const ci_status status = decoder->reader->read(decoder, pixels);
    *info = decoder->info;
    return status;
}

void ci_close(ci_decoder *decoder) {
    if (!decoder) return;
    decoder->reader->close(decoder);
    free(decoder);
}

void ci_free(void *memory) { free(memory); }
