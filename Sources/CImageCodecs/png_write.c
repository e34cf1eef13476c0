/* Pixels to a PNG file in memory. */
#include <stdlib.h>
#include <string.h>

#include "png_error.h"

typedef struct {
    uint8_t *bytes;
    size_t size, capacity;
    png_trap trap;
} png_writer;

static void put(png_structp png, png_bytep source, size_t count) {
    png_writer *writer = png_get_io_ptr(png);
    if (count > writer->capacity - writer->size) {
        const size_t capacity = (writer->size + count) * 2;
        uint8_t *grown = realloc(writer->bytes, capacity);
        if (!grown) {
            writer->trap.status = CI_OUT_OF_MEMORY;
            png_error(png, "out of memory");
        }
        writer->bytes = grown;
        writer->capacity = capacity;
    }
    memcpy(writer->bytes + writer->size, source, count);
    writer->size += count;
}

static void flush(png_structp png) { (void)png; }

ci_status ci_png_encode(const uint8_t *pixels, int32_t height, int32_t width, int32_t channels, uint8_t **bytes,
                        size_t *size, char *message) {
    if (!pixels || !bytes || !size || !message || height < 1 || width < 1 || (channels != 1 && channels != 3))
        return CI_INVALID_ARGUMENT;
    *bytes = NULL;
    *size = 0;
    message[0] = '\0';
    /* On the heap, as all that setjmp must find unchanged. */
    png_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return CI_OUT_OF_MEMORY;
    int32_t warnings = 0;
    writer->trap.message = message;
    writer->trap.warnings = &warnings;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer->trap, ci_png_fail, ci_png_warn);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        writer->trap.status = CI_OUT_OF_MEMORY;
    else if (!setjmp(writer->trap.escape)) {
        png_set_write_fn(png, writer, put, flush);
        png_set_user_limits(png, INT32_MAX, INT32_MAX);
        png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8,
                     channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        for (int32_t y = 0; y < height; y++) png_write_row(png, pixels + (size_t)y * (size_t)width * (size_t)channels);
        png_write_end(png, info);
    }
    png_destroy_write_struct(&png, &info);
    const ci_status status = writer->trap.status;
    if (status == CI_OK) {
        *bytes = writer->bytes;
        *size = writer->size;
    } else {
        free(writer->bytes);
    }
    free(writer);
    return status;
}
