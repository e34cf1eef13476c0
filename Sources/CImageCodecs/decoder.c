/* Tells the format by its first bytes and hands over to its reader. */
#include "decoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ci_say(char *message, const char *text) {
    if (message[0] == '\0') snprintf(message, sizeof((ci_info *)0)->message, "%s", text);
}

ci_status ci_set_size(ci_decoder *decoder, int64_t height, int64_t width, int32_t channels) {
    if (height < 1 || width < 1 || height > INT32_MAX || width > INT32_MAX) {
        ci_say(decoder->info.message, "the header claims an impossible size");
        return CI_CORRUPT;
    }
    decoder->info.height = (int32_t)height;
    decoder->info.width = (int32_t)width;
    decoder->info.channels = channels;
    if ((uint64_t)height * (uint64_t)width > decoder->max_pixels) {
        char text[120];
        snprintf(text, sizeof text, "%lld x %lld pixels are more than the limit of %llu", (long long)width,
                 (long long)height, (unsigned long long)decoder->max_pixels);
        ci_say(decoder->info.message, text);
        return CI_TOO_LARGE;
    }
    return CI_OK;
}

static ci_format format_of(const uint8_t *bytes, size_t size) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (size >= 8 && memcmp(bytes, png, 8) == 0) return CI_PNG;
    if (size >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff) return CI_JPEG;
    return 0;
}

ci_status ci_open(const uint8_t *bytes, size_t size, uint64_t max_pixels, ci_decoder **decoder, ci_info *info) {
    if (!decoder || !info) return CI_INVALID_ARGUMENT;
    *decoder = NULL;
    memset(info, 0, sizeof *info);
    if (!bytes && size > 0) return CI_INVALID_ARGUMENT;
    const ci_format format = format_of(bytes, size);
    if (!format) return CI_UNKNOWN_FORMAT;
    ci_decoder *made = calloc(1, sizeof *made);
    if (!made) return CI_OUT_OF_MEMORY;
    made->bytes = bytes;
    made->size = size;
    made->max_pixels = max_pixels;
    made->info.format = format;
    const ci_status status = format == CI_JPEG ? ci_jpeg_open(made) : ci_png_open(made);
    *info = made->info;
    if (status == CI_OK)
        *decoder = made;
    else
        ci_close(made);
    return status;
}

ci_status ci_read(ci_decoder *decoder, uint8_t *pixels, ci_info *info) {
    if (!decoder || !pixels || !info) return CI_INVALID_ARGUMENT;
    const ci_status status =
        decoder->info.format == CI_JPEG ? ci_jpeg_read(decoder, pixels) : ci_png_read(decoder, pixels);
    *info = decoder->info;
    return status;
}

void ci_close(ci_decoder *decoder) {
    if (!decoder) return;
    if (decoder->info.format == CI_JPEG)
        ci_jpeg_close(decoder);
    else
        ci_png_close(decoder);
    free(decoder);
}

void ci_free(void *memory) { free(memory); }
