/* Windows and OS/2 bitmaps: 1, 2, 4 and 8 bits with a palette, 16, 24 and 32 bits by masks, RLE4 and RLE8.
 *
 *     "BM" | size 4 | 0 | offset of the pixels 4 | header: its size 4, width, height, planes, bits, compression ...
 *     masks, if a header of 40 bytes announces them | palette, 3 or 4 bytes a color: blue green red (0) | pixels
 *
 * Rows go from the bottom up, unless the height is negative, and are padded to 4 bytes. Source: Microsoft, "Bitmap
 * Storage" and "BITMAPV5HEADER structure". Where writers disagree the choice is Pillow's.
 */
#include <stdlib.h>
#include <string.h>

#include "decoder.h"

enum { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

/* (value & mask) >> shift is 0...largest. */
typedef struct {
    uint32_t mask, shift, largest;
} channel;

typedef struct {
    uint32_t bits, compression;
    size_t offset; /* of the pixels */
    int is_top_down;
    channel masks[3];
    uint8_t colors[256][3];
} bmp_reader;

static int recognizes(const uint8_t *bytes, size_t size) {
    if (size < 18 || bytes[0] != 'B' || bytes[1] != 'M') return 0;
    const uint32_t header = ci_le32(bytes + 14);
    return header == 12 || (header >= 40 && header <= 124);
}

static void set_masks(bmp_reader *reader, uint32_t red, uint32_t green, uint32_t blue) {
    const uint32_t masks[3] = {red, green, blue};
    for (int i = 0; i < 3; i++) {
        uint32_t shift = 0;
        while (masks[i] && !(masks[i] >> shift & 1)) shift++;
        reader->masks[i] = (channel){masks[i], shift, masks[i] >> shift};
    }
}

/* Where the red, green and blue bits of a pixel are. Masks of a header of 40 bytes stand behind it. */
static ci_status read_masks(ci_decoder *decoder, bmp_reader *reader, size_t header, size_t *after) {
    if (reader->bits == 16) set_masks(reader, 0x7c00, 0x3e0, 0x1f);
    if (reader->bits >= 24) set_masks(reader, 0xff0000, 0xff00, 0xff);
    if (reader->compression != BITFIELDS) return CI_OK;
    if (reader->bits < 16) return ci_fail(decoder, CI_CORRUPT, "masks in a bitmap with a palette");
    if (decoder->size < 14 + 40 + 12) return ci_fail(decoder, CI_TRUNCATED, "the file ends inside the header");
    uint32_t found[3];
    for (size_t i = 0; i < 3; i++) found[i] = ci_le32(decoder->bytes + 14 + 40 + 4 * i);
    if (header == 40) *after += 12;
    if (found[0] | found[1] | found[2]) set_masks(reader, found[0], found[1], found[2]);
    return CI_OK;
}

static ci_status read_palette(ci_decoder *decoder, bmp_reader *reader, size_t header, size_t after, int *is_gray) {
    const size_t entry = header == 12 ? 3 : 4;
    size_t count = header == 12 ? 0 : ci_le32(decoder->bytes + 14 + 32);
    if (count == 0) count = (size_t)1 << reader->bits;
    if (count > 65536) return ci_fail(decoder, CI_CORRUPT, "an impossible number of colors");
    if (after > decoder->size || count * entry > decoder->size - after)
        return ci_fail(decoder, CI_TRUNCATED, "the file ends inside the palette");
    /* Some writers forget the palette when they say where the pixels begin. */
    if (reader->offset == 14 + header) reader->offset += count * entry;
    *is_gray = 1;
    for (size_t i = 0; i < 256; i++) {
        memset(reader->colors[i], (int)i, 3);
        if (i >= count) continue;
        const uint8_t *color = decoder->bytes + after + i * entry;
        for (size_t c = 0; c < 3; c++) reader->colors[i][c] = color[2 - c];
        if (color[0] != color[1] || color[0] != color[2]) *is_gray = 0;
    }
    return CI_OK;
}

static ci_status bmp_open(ci_decoder *decoder) {
    const uint8_t *bytes = decoder->bytes;
    const size_t header = ci_le32(bytes + 14);
    if (decoder->size < 14 + header) return ci_fail(decoder, CI_TRUNCATED, "the file ends inside the header");
    bmp_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return CI_OUT_OF_MEMORY;
    decoder->state = reader;
    int64_t width = 0, height = 0;
    if (header == 12) {
        width = ci_le16(bytes + 18);
        height = ci_le16(bytes + 20);
        reader->bits = ci_le16(bytes + 24);
    } else {
        width = (int32_t)ci_le32(bytes + 18);
        height = (int32_t)ci_le32(bytes + 22);
        reader->bits = ci_le16(bytes + 28);
        reader->compression = ci_le32(bytes + 30);
    }
    reader->is_top_down = height < 0;
    if (height < 0) height = -height;
    const uint32_t bits = reader->bits, how = reader->compression;
    if (how > BITFIELDS) return ci_fail(decoder, CI_UNSUPPORTED, "a BMP that holds a JPEG, a PNG or another format");
    if (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        return ci_fail(decoder, CI_UNSUPPORTED, "a BMP of an unknown number of bits");
    if ((how == RLE8 && bits != 8) || (how == RLE4 && bits != 4))
        return ci_fail(decoder, CI_CORRUPT, "the compression and the number of bits do not fit");
    size_t after = 14 + header;
    ci_status status = read_masks(decoder, reader, header, &after);
    if (status != CI_OK) return status;
    reader->offset = ci_le32(bytes + 10);
    if (reader->offset == 0) reader->offset = after;
    int is_gray = 0;
    if (bits <= 8) status = read_palette(decoder, reader, header, after, &is_gray);
    if (status != CI_OK) return status;
    return ci_set_size(decoder, height, width, is_gray ? 1 : 3);
}

static uint8_t *row_of(const ci_decoder *decoder, uint8_t *pixels, size_t row) {
    const bmp_reader *reader = decoder->state;
    const size_t height = (size_t)decoder->info.height;
    const size_t y = reader->is_top_down ? row : height - 1 - row;
    return pixels + y * (size_t)decoder->info.width * (size_t)decoder->info.channels;
}

static void put_index(const ci_decoder *decoder, uint8_t *pixels, size_t position, unsigned index) {
    const bmp_reader *reader = decoder->state;
    const size_t width = (size_t)decoder->info.width, channels = (size_t)decoder->info.channels;
    uint8_t *row = row_of(decoder, pixels, position / width);
    memcpy(row + position % width * channels, reader->colors[index], channels);
}

/* Runs of equal pixels, of differing pixels, and jumps. What no run reaches has color 0. */
static ci_status read_runs(ci_decoder *decoder, uint8_t *pixels) {
    const bmp_reader *reader = decoder->state;
    const uint8_t *bytes = decoder->bytes;
    const int is_rle4 = reader->compression == RLE4;
    const size_t width = (size_t)decoder->info.width, all = width * (size_t)decoder->info.height;
    const size_t channels = (size_t)decoder->info.channels;
    for (size_t i = 0; i < all; i++) memcpy(pixels + i * channels, reader->colors[0], channels);
    size_t at = reader->offset, done = 0, x = 0;
    while (done < all) {
        if (at > decoder->size || decoder->size - at < 2)
            return ci_fail(decoder, CI_TRUNCATED, "the file ends in a run");
        const size_t count = bytes[at], value = bytes[at + 1];
        at += 2;
        if (count > 0) {
            const size_t fits = x >= width ? 0 : count < width - x ? count : width - x;
            for (size_t i = 0; i < fits && done < all; i++)
                put_index(decoder, pixels, done++, is_rle4 ? (i % 2 ? value & 15 : value >> 4) : (unsigned)value);
            x += fits;
        } else if (value == 0) { /* the end of the row */
            if (done % width) done += width - done % width;
            x = 0;
        } else if (value == 1) {
            break;
        } else if (value == 2) { /* to the right and up */
            if (decoder->size - at < 2) return ci_fail(decoder, CI_TRUNCATED, "the file ends in a jump");
            done += bytes[at] + bytes[at + 1] * width;
            x = done % width;
            at += 2;
        } else { /* as many pixels one by one, padded to 2 bytes */
            const size_t bytes_taken = is_rle4 ? (value + 1) / 2 : value;
            if (decoder->size - at < bytes_taken) return ci_fail(decoder, CI_TRUNCATED, "the file ends in a run");
            for (size_t i = 0; i < value && done < all; i++) {
                const unsigned byte = bytes[at + (is_rle4 ? i / 2 : i)];
                put_index(decoder, pixels, done++, is_rle4 ? (i % 2 ? byte & 15 : byte >> 4) : byte);
            }
            x += value;
            at += bytes_taken + bytes_taken % 2;
        }
    }
    return CI_OK;
}

static uint8_t sample(uint32_t value, const channel *channel) {
    const uint32_t bits = (value & channel->mask) >> channel->shift;
    if (channel->largest == 255 || channel->largest == 0) return (uint8_t)bits;
    return (uint8_t)((uint64_t)bits * 255 / channel->largest);
}

static void read_row(const ci_decoder *decoder, const uint8_t *source, uint8_t *target) {
    const bmp_reader *reader = decoder->state;
    const size_t width = (size_t)decoder->info.width, channels = (size_t)decoder->info.channels;
    const uint32_t bits = reader->bits;
    for (size_t x = 0; x < width; x++, target += channels) {
        if (bits <= 8) {
            const size_t bit = x * bits;
            const unsigned index = source[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1);
            memcpy(target, reader->colors[index], channels);
            continue;
        }
        const uint8_t *pixel = source + x * (bits / 8);
        const uint32_t value = bits == 16   ? ci_le16(pixel)
                               : bits == 24 ? ci_le16(pixel) | (uint32_t)pixel[2] << 16
                                            : ci_le32(pixel);
        for (size_t c = 0; c < 3; c++) target[c] = sample(value, &reader->masks[c]);
    }
}

static ci_status bmp_read(ci_decoder *decoder, uint8_t *pixels) {
    const bmp_reader *reader = decoder->state;
    if (reader->compression == RLE4 || reader->compression == RLE8) return read_runs(decoder, pixels);
    const size_t height = (size_t)decoder->info.height;
    const size_t stride = ((size_t)decoder->info.width * reader->bits + 31) / 32 * 4;
    /* The padding of the last row may be missing. */
    const size_t last = ((size_t)decoder->info.width * reader->bits + 7) / 8;
    if (reader->offset > decoder->size || decoder->size - reader->offset < (height - 1) * stride + last)
        return ci_fail(decoder, CI_TRUNCATED, "the file ends inside the pixels");
    for (size_t row = 0; row < height; row++)
        read_row(decoder, decoder->bytes + reader->offset + row * stride, row_of(decoder, pixels, row));
    return CI_OK;
}

static void bmp_close(ci_decoder *decoder) { free(decoder->state); }

const ci_reader ci_bmp_reader = {CI_BMP, recognizes, bmp_open, bmp_read, bmp_close};
