/* TIFF and BigTIFF through libtiff: the first page, in strips or tiles, with whatever compression libtiff knows.
 *
 *     rows or tiles of libtiff --keep--> samples, 8 bits each, (H, W, kept) --finish--> gray or RGB
 *
 * The layouts are those that Pillow reads. Samples of 16 bits become the high 8. Samples of 32 bits and signed ones
 * have no fixed range: they are read only where they are pictures of 0...255 already.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiff_library.h"

/* How the samples of a pixel become a color. */
typedef enum { GRAY, WIDE_GRAY, PALETTE, COLOR, INK, LUMA_CHROMA, LIBTIFF_RGBA } interpretation;

typedef struct {
    const ci_tiff_library *library;
    TIFF *tiff;
    ci_tiff_source source;
    interpretation kind;
    uint16_t bits, samples, format, photometric, compression, planar;
    int colors;       /* samples of a pixel that make its color */
    int kept;         /* those and the alpha they must be divided by */
    double low, high; /* of WIDE_GRAY, as far as read */
    int is_bright;    /* a 16-bit sample above 255 was read */
    int takes_low;    /* the low 8 bits of 16 */
    const uint16_t *map[3];
} tiff_reader;

static int recognizes(const uint8_t *bytes, size_t size) {
    if (size < 8) return 0;
    return memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0 || memcmp(bytes, "II+\0", 4) == 0 ||
           memcmp(bytes, "MM\0+", 4) == 0;
}

static ci_status failed(ci_decoder *decoder) {
    const tiff_reader *reader = decoder->state;
    const char *text = reader->source.error[0] ? reader->source.error : "libtiff cannot read it";
    if (strstr(text, "emory") || strstr(text, "llocat")) return ci_fail(decoder, CI_OUT_OF_MEMORY, text);
    const int is_cut = strstr(text, "ot enough data") || strstr(text, "Read error");
    return ci_fail(decoder, is_cut ? CI_TRUNCATED : CI_CORRUPT, text);
}

static ci_status unsupported(ci_decoder *decoder) {
    const tiff_reader *reader = decoder->state;
    char text[160];
    snprintf(text, sizeof text, "a TIFF of photometric interpretation %d with %d samples of %d bits, sample format %d",
             reader->photometric, reader->samples, reader->bits, reader->format);
    return ci_fail(decoder, CI_UNSUPPORTED, text);
}

/* What YCbCr becomes depends on the compression. */
static interpretation luma_chroma(tiff_reader *reader) {
    const ci_tiff_library *lib = reader->library;
    uint16_t across = 2, down = 2;
    if (reader->samples == 1) return GRAY;
    if (reader->planar != PLANARCONFIG_CONTIG) return LIBTIFF_RGBA;
    if (reader->compression == COMPRESSION_JPEG) {
        lib->TIFFSetField(reader->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        return COLOR;
    }
    lib->TIFFGetFieldDefaulted(reader->tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
    return reader->compression == COMPRESSION_NONE && across == 1 && down == 1 ? LUMA_CHROMA : LIBTIFF_RGBA;
}

static ci_status interpret(ci_decoder *decoder, tiff_reader *reader) {
    uint16_t inks = INKSET_CMYK;
    reader->colors = 1;
    if (reader->compression == COMPRESSION_OJPEG) {
        reader->kind = LIBTIFF_RGBA;
        return CI_OK;
    }
    const int is_wide = reader->bits == 32 || (reader->bits == 16 && reader->format == SAMPLEFORMAT_INT);
    switch (reader->photometric) {
    case PHOTOMETRIC_MINISWHITE: reader->kind = GRAY; break;
    case PHOTOMETRIC_MINISBLACK: reader->kind = is_wide ? WIDE_GRAY : GRAY; break;
    case PHOTOMETRIC_PALETTE:
        reader->kind = PALETTE;
        if (!reader->library->TIFFGetField(reader->tiff, TIFFTAG_COLORMAP, &reader->map[0], &reader->map[1],
                                           &reader->map[2]))
            return ci_fail(decoder, CI_CORRUPT, "the TIFF has no palette");
        break;
    case PHOTOMETRIC_RGB: reader->kind = COLOR; break;
    case PHOTOMETRIC_SEPARATED:
        reader->library->TIFFGetFieldDefaulted(reader->tiff, TIFFTAG_INKSET, &inks);
        if (inks != INKSET_CMYK) return ci_fail(decoder, CI_UNSUPPORTED, "a TIFF of inks that are not CMYK");
        reader->kind = INK;
        break;
    case PHOTOMETRIC_YCBCR: reader->kind = luma_chroma(reader); break;
    default: return unsupported(decoder);
    }
    if (reader->kind == COLOR || reader->kind == LUMA_CHROMA) reader->colors = 3;
    if (reader->kind == INK) reader->colors = 4;
    return CI_OK;
}

/* Samples beyond the colors must be declared, but for one that is taken for alpha; other pictures have more channels
 * than gray or RGB and would be read as something else. */
static ci_status check_samples(ci_decoder *decoder, tiff_reader *reader) {
    uint16_t declared = 0, *types = NULL;
    reader->library->TIFFGetFieldDefaulted(reader->tiff, TIFFTAG_EXTRASAMPLES, &declared, &types);
    const int extra = reader->samples - reader->colors;
    if (extra < 0 || extra > 3 || (extra != declared && !(reader->colors == 3 && extra == 1)))
        return unsupported(decoder);
    const int is_premultiplied = extra > 0 && declared > 0 && types && types[0] == EXTRASAMPLE_ASSOCALPHA;
    reader->kept = reader->colors + (is_premultiplied && (reader->kind == GRAY || reader->kind == COLOR));

    const int bits = reader->bits, format = reader->format;
    const int is_whole = format == SAMPLEFORMAT_UINT || format == SAMPLEFORMAT_VOID;
    const int is_fraction = bits == 1 || bits == 2 || bits == 4;
    switch (reader->kind) {
    case GRAY:
        if (extra && is_fraction) return unsupported(decoder);
        if (bits == 8 && format == SAMPLEFORMAT_INT) return CI_OK; /* as Pillow, which ignores the sign */
        return is_whole && (is_fraction || bits == 8 || bits == 16) ? CI_OK : unsupported(decoder);
    case WIDE_GRAY:
        if (extra || (format == SAMPLEFORMAT_IEEEFP && bits != 32)) return unsupported(decoder);
        return is_whole || format == SAMPLEFORMAT_INT || format == SAMPLEFORMAT_IEEEFP ? CI_OK : unsupported(decoder);
    case PALETTE:
        if (extra && is_fraction) return unsupported(decoder);
        return is_whole && (is_fraction || bits == 8) ? CI_OK : unsupported(decoder);
    case LUMA_CHROMA: return is_whole && bits == 8 ? CI_OK : unsupported(decoder);
    default: return is_whole && (bits == 8 || bits == 16) ? CI_OK : unsupported(decoder);
    }
}

static ci_status describe(ci_decoder *decoder, tiff_reader *reader) {
    const ci_tiff_library *lib = reader->library;
    TIFF *tiff = reader->tiff;
    uint32_t width = 0, height = 0, subfile = 0;
    uint8_t *version = NULL;
    lib->TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    lib->TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    lib->TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &reader->bits);
    lib->TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &reader->samples);
    lib->TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &reader->format);
    lib->TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &reader->compression);
    lib->TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &reader->planar);
    lib->TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &reader->photometric);
    lib->TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &subfile);
    if (subfile & FILETYPE_REDUCEDIMAGE || lib->TIFFGetField(tiff, TIFFTAG_DNGVERSION, &version))
        return ci_fail(decoder, CI_UNSUPPORTED, "a raw photograph, of which the TIFF's first page is a preview");
    if (!lib->TIFFIsCODECConfigured(reader->compression)) {
        char text[80];
        snprintf(text, sizeof text, "a TIFF of compression %d, which libtiff was built without", reader->compression);
        return ci_fail(decoder, CI_UNSUPPORTED, text);
    }
    ci_status status = interpret(decoder, reader);
    if (status == CI_OK && reader->kind != LIBTIFF_RGBA) status = check_samples(decoder, reader);
    if (status != CI_OK) return status;
    const int is_gray = reader->kind == GRAY || reader->kind == WIDE_GRAY;
    return ci_set_size(decoder, height, width, is_gray ? 1 : 3);
}

static ci_status tiff_open(ci_decoder *decoder) {
    const ci_tiff_library *library = ci_tiff_load();
    if (!library) return ci_fail(decoder, CI_UNSUPPORTED, "TIFF needs libtiff.so.6");
    tiff_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return CI_OUT_OF_MEMORY;
    decoder->state = reader;
    reader->library = library;
    reader->source.bytes = decoder->bytes;
    reader->source.size = decoder->size;
    reader->low = INFINITY;
    reader->high = -INFINITY;
    reader->tiff = ci_tiff_open(library, &reader->source);
    if (!reader->tiff) return failed(decoder);
    return describe(decoder, reader);
}

/* A sample of 32 bits, or a signed one of 16. */
static double wide_sample(const tiff_reader *reader, const uint8_t *raw, size_t index) {
    uint16_t half;
    uint32_t bits;
    float real;
    if (reader->bits == 16) {
        memcpy(&half, raw + 2 * index, 2);
        return (int16_t)half;
    }
    memcpy(&bits, raw + 4 * index, 4);
    memcpy(&real, &bits, 4);
    return reader->format == SAMPLEFORMAT_IEEEFP ? (double)real
           : reader->format == SAMPLEFORMAT_INT  ? (double)(int32_t)bits
                                                 : (double)bits;
}

static void keep_wide(tiff_reader *reader, const uint8_t *raw, size_t count, uint8_t *target) {
    for (size_t i = 0; i < count; i++) {
        double value = wide_sample(reader, raw, i);
        if (isnan(value)) value = INFINITY; /* out of range too */
        if (value < reader->low) reader->low = value;
        if (value > reader->high) reader->high = value;
        target[i] = value >= 0 && value <= 255 ? (uint8_t)value : 0;
    }
}

/* Sample `index` of a row, 8 bits. */
static inline uint8_t sample(tiff_reader *reader, const uint8_t *raw, size_t index) {
    uint16_t wide;
    if (reader->bits == 8) return raw[index];
    if (reader->bits == 16) {
        memcpy(&wide, raw + 2 * index, 2);
        reader->is_bright |= wide > 255;
        return (uint8_t)(reader->takes_low ? wide : wide >> 8);
    }
    const size_t bit = index * reader->bits;
    const unsigned largest = (1u << reader->bits) - 1;
    const unsigned value = raw[bit / 8] >> (8 - reader->bits - bit % 8) & largest;
    return (uint8_t)(reader->kind == PALETTE ? value : value * 255 / largest);
}

/* `count` pixels of libtiff's to the samples that are kept; of one plane only, where planes lie apart. */
static void keep(tiff_reader *reader, const uint8_t *raw, size_t count, int plane, uint8_t *target) {
    if (reader->kind == WIDE_GRAY) {
        keep_wide(reader, raw, count, target);
        return;
    }
    const size_t kept = (size_t)reader->kept;
    const uint8_t inverted = reader->photometric == PHOTOMETRIC_MINISWHITE ? 255 : 0;
    if (reader->planar == PLANARCONFIG_SEPARATE) {
        for (size_t i = 0; i < count; i++)
            target[i * kept + (size_t)plane] = (uint8_t)(sample(reader, raw, i) ^ (plane == 0 ? inverted : 0));
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t s = 0; s < kept; s++)
            target[i * kept + s] = (uint8_t)(sample(reader, raw, i * reader->samples + s) ^ (s == 0 ? inverted : 0));
}

static ci_status read_strips(ci_decoder *decoder, tiff_reader *reader, uint8_t *samples) {
    const size_t width = (size_t)decoder->info.width, kept = (size_t)reader->kept;
    const uint64_t size = reader->library->TIFFScanlineSize64(reader->tiff);
    if (size == 0) return failed(decoder);
    if (size < (width * reader->bits * (reader->planar == PLANARCONFIG_SEPARATE ? 1 : reader->samples) + 7) / 8)
        return ci_fail(decoder, CI_CORRUPT, "the rows are not of the size the header says");
    uint8_t *row = malloc(size);
    if (!row) return CI_OUT_OF_MEMORY;
    ci_status status = CI_OK;
    const int planes = reader->planar == PLANARCONFIG_SEPARATE ? reader->kept : 1;
    for (int plane = 0; plane < planes && status == CI_OK; plane++)
        for (uint32_t y = 0; y < (uint32_t)decoder->info.height && status == CI_OK; y++) {
            if (reader->library->TIFFReadScanline(reader->tiff, row, y, (uint16_t)plane) < 0)
                status = failed(decoder);
            else
                keep(reader, row, width, plane, samples + y * width * kept);
        }
    free(row);
    return status;
}

static ci_status read_tiles(ci_decoder *decoder, tiff_reader *reader, uint8_t *samples) {
    const ci_tiff_library *lib = reader->library;
    const size_t width = (size_t)decoder->info.width, height = (size_t)decoder->info.height;
    const size_t kept = (size_t)reader->kept;
    uint32_t across = 0, down = 0;
    lib->TIFFGetField(reader->tiff, TIFFTAG_TILEWIDTH, &across);
    lib->TIFFGetField(reader->tiff, TIFFTAG_TILELENGTH, &down);
    const uint64_t row = lib->TIFFTileRowSize64(reader->tiff), size = lib->TIFFTileSize64(reader->tiff);
    if (across == 0 || down == 0 || row == 0 || size / down < row) return failed(decoder);
    /* A tile may reach beyond the picture, but not by gigabytes. */
    if ((uint64_t)across * down > decoder->max_pixels) return ci_fail(decoder, CI_TOO_LARGE, "the tiles are too large");
    uint8_t *tile = malloc(size);
    if (!tile) return CI_OUT_OF_MEMORY;
    ci_status status = CI_OK;
    const int planes = reader->planar == PLANARCONFIG_SEPARATE ? reader->kept : 1;
    for (int plane = 0; plane < planes; plane++)
        for (size_t top = 0; top < height; top += down)
            for (size_t left = 0; left < width && status == CI_OK; left += across) {
                if (lib->TIFFReadTile(reader->tiff, tile, (uint32_t)left, (uint32_t)top, 0, (uint16_t)plane) < 0) {
                    status = failed(decoder);
                    break;
                }
                const size_t columns = across < width - left ? across : width - left;
                const size_t rows = down < height - top ? down : height - top;
                for (size_t y = 0; y < rows; y++)
                    keep(reader, tile + y * row, columns, plane, samples + ((top + y) * width + left) * kept);
            }
    free(tile);
    return status;
}

static uint8_t held(int value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

/* YCbCr that is stored as it is, in Pillow's steps of 1/64. */
static void luma_chroma_to_rgb(const uint8_t *in, uint8_t *out) {
    const int luma = in[0] * 64, blue = in[1] - 128, red = in[2] - 128;
    out[0] = held((luma + (int)(1.402 * 64 * red + 0.5)) >> 6);
    out[1] = held((luma + (int)(-0.34414 * 64 * blue + 0.5) + (int)(-0.71414 * 64 * red + 0.5)) >> 6);
    out[2] = held((luma + (int)(1.772 * 64 * blue + 0.5)) >> 6);
}

/* Color divided by its alpha. */
static void unmultiply(const uint8_t *in, int colors, uint8_t *out) {
    const int alpha = in[colors];
    for (int c = 0; c < colors; c++) {
        out[c] = held(alpha == 0 ? 0 : in[c] * 255 / alpha);
    }
}

/* Old palettes have 8 bits in the 16 of an entry. */
static int palette_shift(const tiff_reader *reader) {
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 1 << reader->bits; i++)
            if (reader->map[c][i] > 255) return 8;
    return 0;
}

static void finish(const tiff_reader *reader, const uint8_t *in, size_t count, uint8_t *out) {
    const int shift = reader->kind == PALETTE ? palette_shift(reader) : 0;
    for (size_t i = 0; i < count;
         i++, in += reader->kept, out += reader->colors == 1 && reader->kind != PALETTE ? 1 : 3)
        switch (reader->kind) {
        case PALETTE:
            for (int c = 0; c < 3; c++) out[c] = (uint8_t)(reader->map[c][in[0]] >> shift);
            break;
        case INK:
            for (int c = 0; c < 3; c++) {
                const uint8_t light = (uint8_t)(255 - in[3]);
                out[c] = (uint8_t)(light - ci_times(in[c], light));
            }
            break;
        case LUMA_CHROMA: luma_chroma_to_rgb(in, out); break;
        default: unmultiply(in, reader->colors, out); break;
        }
}

static ci_status read_rgba(ci_decoder *decoder, tiff_reader *reader, uint8_t *pixels) {
    const ci_tiff_library *lib = reader->library;
    const uint32_t width = (uint32_t)decoder->info.width, height = (uint32_t)decoder->info.height;
    const size_t count = (size_t)width * height;
    uint32_t *raster = malloc(count * sizeof *raster);
    if (!raster) return CI_OUT_OF_MEMORY;
    /* The orientation is applied later, with that of all formats. */
    lib->TIFFSetField(reader->tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    ci_status status = CI_OK;
    if (!lib->TIFFReadRGBAImageOriented(reader->tiff, width, height, raster, ORIENTATION_TOPLEFT, 1))
        status = failed(decoder);
    for (size_t i = 0; i < count && status == CI_OK; i++, pixels += 3) {
        pixels[0] = (uint8_t)TIFFGetR(raster[i]);
        pixels[1] = (uint8_t)TIFFGetG(raster[i]);
        pixels[2] = (uint8_t)TIFFGetB(raster[i]);
    }
    free(raster);
    return status;
}

static ci_status check_range(ci_decoder *decoder, const tiff_reader *reader) {
    const int is_unit = reader->format == SAMPLEFORMAT_IEEEFP && reader->high <= 1;
    if (reader->low >= 0 && reader->high <= 255 && !is_unit) return CI_OK;
    char text[160];
    snprintf(text, sizeof text, "a TIFF of %d-bit samples from %g to %g; those are read only where they are 0 to 255",
             reader->bits, reader->low, reader->high);
    return ci_fail(decoder, CI_UNSUPPORTED, text);
}

static ci_status read_samples(ci_decoder *decoder, tiff_reader *reader, uint8_t *samples) {
    return reader->library->TIFFIsTiled(reader->tiff) ? read_tiles(decoder, reader, samples)
                                                      : read_strips(decoder, reader, samples);
}

static ci_status tiff_read(ci_decoder *decoder, uint8_t *pixels) {
    tiff_reader *reader = decoder->state;
    if (reader->kind == LIBTIFF_RGBA) return read_rgba(decoder, reader, pixels);
    const size_t count = (size_t)decoder->info.height * (size_t)decoder->info.width;
    const int is_direct = reader->kind == WIDE_GRAY ||
                          ((reader->kind == GRAY || reader->kind == COLOR) && reader->kept == reader->colors);
    uint8_t *samples = is_direct ? pixels : malloc(count * (size_t)reader->kept);
    if (!samples) return CI_OUT_OF_MEMORY;
    ci_status status = read_samples(decoder, reader, samples);
    /* 8 bits that somebody stored as 16: the high ones are all 0. */
    if (status == CI_OK && reader->bits == 16 && reader->photometric == PHOTOMETRIC_MINISBLACK && !reader->is_bright) {
        reader->takes_low = 1;
        status = read_samples(decoder, reader, samples);
    }
    if (status == CI_OK && !is_direct) finish(reader, samples, count, pixels);
    if (!is_direct) free(samples);
    if (status == CI_OK && reader->kind == WIDE_GRAY) status = check_range(decoder, reader);
    return status;
}

static void tiff_close(ci_decoder *decoder) {
    tiff_reader *reader = decoder->state;
    if (!reader) return;
    if (reader->tiff) reader->library->TIFFClose(reader->tiff);
    free(reader);
}

const ci_reader ci_tiff_reader = {CI_TIFF, recognizes, tiff_open, tiff_read, tiff_close};
