/* PNG through libpng, read from memory. */
#include <stdlib.h>
#include <string.h>

#include "png_error.h"

typedef struct {
    png_structp png;
    png_infop info;
    ci_decoder *decoder;
    size_t at;
    int passes;
    int is_wide; /* gray of 16 bits */
    png_trap trap;
} png_reader;

static void take(png_structp png, png_bytep target, size_t count) {
    png_reader *reader = png_get_io_ptr(png);
    if (count > reader->decoder->size - reader->at) {
        reader->trap.status = CI_TRUNCATED;
        png_error(png, "the file ends inside the picture");
    }
    memcpy(target, reader->decoder->bytes + reader->at, count);
    reader->at += count;
}

static int recognizes(const uint8_t *bytes, size_t size) { return size >= 8 && !png_sig_cmp(bytes, 0, 8); }

static size_t row_size(const ci_decoder *decoder) {
    const png_reader *reader = decoder->state;
    return (size_t)decoder->info.width * (size_t)decoder->info.channels * (reader->is_wide ? 2 : 1);
}

static ci_status reader_open(ci_decoder *decoder) {
    png_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return CI_OUT_OF_MEMORY;
    decoder->state = reader;
    reader->decoder = decoder;
    reader->trap.message = decoder->info.message;
    reader->trap.warnings = &decoder->info.warnings;
    if (setjmp(reader->trap.escape)) return reader->trap.status;
    reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader->trap, ci_png_fail, ci_png_warn);
    if (!reader->png) return CI_OUT_OF_MEMORY;
    reader->info = png_create_info_struct(reader->png);
    if (!reader->info) return CI_OUT_OF_MEMORY;
    png_structp png = reader->png;
    png_set_read_fn(png, reader, take);
    /* Texts, profiles and the like are skipped unread: they may be large, compressed and wrong. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, reader->info);

    const int color = png_get_color_type(png, reader->info);
    const int bits = png_get_bit_depth(png, reader->info);
    const int gray = color == PNG_COLOR_TYPE_GRAY || color == PNG_COLOR_TYPE_GRAY_ALPHA;
    const ci_status status = ci_set_size(decoder, png_get_image_height(png, reader->info),
                                         png_get_image_width(png, reader->info), gray ? 1 : 3);
    if (status != CI_OK) return status;
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (color == PNG_COLOR_TYPE_GRAY && bits < 8) png_set_expand_gray_1_2_4_to_8(png);
    reader->is_wide = color == PNG_COLOR_TYPE_GRAY && bits == 16;
    if (bits == 16 && !reader->is_wide) png_set_strip_16(png);
    png_set_strip_alpha(png);
    reader->passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    if (png_get_rowbytes(png, reader->info) != row_size(decoder))
        png_error(png, "the rows are not of the size the header says");
    return CI_OK;
}

/* libpng writes only some pixels of a row in the early passes of an interlaced picture. */
static void read_passes(const ci_decoder *decoder, uint8_t *rows) {
    const png_reader *reader = decoder->state;
    const size_t row = row_size(decoder);
    for (int pass = 0; pass < reader->passes; pass++)
        for (int32_t y = 0; y < decoder->info.height; y++) png_read_row(reader->png, rows + (size_t)y * row, NULL);
}

static ci_status read_rows(ci_decoder *decoder, uint8_t *rows) {
    png_reader *reader = decoder->state;
    if (setjmp(reader->trap.escape)) return reader->trap.status;
    read_passes(decoder, rows);
    /* All pixels are here; a fault behind them is a warning. */
    if (setjmp(reader->trap.escape)) {
        decoder->info.warnings++;
        reader->trap.status = CI_OK;
        return CI_OK;
    }
    png_read_end(reader->png, NULL);
    return CI_OK;
}

/* The high 8 bits; the low ones where all high ones are 0: 8 bits that somebody stored as 16. */
static void narrow(const uint8_t *wide, size_t count, uint8_t *pixels) {
    int is_bright = 0;
    for (size_t i = 0; i < count; i++) is_bright |= wide[2 * i];
    for (size_t i = 0; i < count; i++) pixels[i] = wide[2 * i + (is_bright ? 0 : 1)];
}

static ci_status reader_read(ci_decoder *decoder, uint8_t *pixels) {
    const png_reader *reader = decoder->state;
    if (!reader->is_wide) return read_rows(decoder, pixels);
    const size_t count = (size_t)decoder->info.height * (size_t)decoder->info.width;
    uint8_t *wide = malloc(count * 2);
    if (!wide) return CI_OUT_OF_MEMORY;
    const ci_status status = read_rows(decoder, wide);
    if (status == CI_OK) narrow(wide, count, pixels);
    free(wide);
    return status;
}

static void reader_close(ci_decoder *decoder) {
    png_reader *reader = decoder->state;
    if (!reader) return;
    if (reader->png) png_destroy_read_struct(&reader->png, &reader->info, NULL);
    free(reader);
}

const ci_reader ci_png_reader = {CI_PNG, recognizes, reader_open, reader_read, reader_close};
