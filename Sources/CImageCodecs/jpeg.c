/* JPEG through libjpeg-turbo's TurboJPEG interface, which catches the library's errors itself.
 *
 * TurboJPEG fills a cut-off picture with gray and mentions the first warning only, so whether a file is whole is found
 * out beforehand, by walking its markers to the end-of-image marker. Without one a file is truncated, as for Pillow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "decoder.h"

enum { SOF0 = 0xc0, DHT = 0xc4, JPG = 0xc8, SOF9 = 0xc9, DAC = 0xcc, SOF15 = 0xcf };
enum { RST0 = 0xd0, RST7 = 0xd7, SOI = 0xd8, EOI = 0xd9, SOS = 0xda, TEM = 0x01 };

/* A scan visits every pixel, even one that holds nothing, so a small file of many scans could take hours. Encoders
 * write about ten scans; those that search for the best script write fewer than 70. */
enum { MAX_SCANS = 100 };
static const uint64_t MAX_SCANNED_PIXELS = 2500000000;

typedef struct {
    int ends;      /* the markers lead to EOI */
    uint8_t frame; /* the first start-of-frame marker, 0 if there is none */
    int64_t scans; /* start-of-scan markers */
} outline;

typedef struct {
    tjhandle handle;
    int is_cmyk; /* four components */
} jpeg_reader;

/* Walks the markers. Junk between segments is passed over, as libjpeg does. */
static outline walk(const uint8_t *bytes, size_t size) {
    outline found = {0, 0, 0};
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
        if (marker == SOS) found.scans++;
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

static ci_status check_scans(ci_decoder *decoder, int64_t scans) {
    const uint64_t pixels = (uint64_t)decoder->info.height * (uint64_t)decoder->info.width;
    if (scans <= MAX_SCANS && (uint64_t)scans * pixels <= MAX_SCANNED_PIXELS) return CI_OK;
    char text[160];
    snprintf(text, sizeof text, "%lld scans of %llu pixels are more than the limit of %d scans or %llu pixels in all",
             (long long)scans, (unsigned long long)pixels, MAX_SCANS, (unsigned long long)MAX_SCANNED_PIXELS);
    return ci_fail(decoder, CI_TOO_LARGE, text);
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

static int recognizes(const uint8_t *bytes, size_t size) {
    return size >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

static ci_status jpeg_open(ci_decoder *decoder) {
    const outline file = walk(decoder->bytes, decoder->size);
    if (!file.ends) return ci_fail(decoder, CI_TRUNCATED, "the file ends before the end-of-image marker");
    jpeg_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return CI_OUT_OF_MEMORY;
    decoder->state = reader;
    tjhandle handle = reader->handle = tjInitDecompress();
    if (!handle) return CI_OUT_OF_MEMORY;
    int width = 0, height = 0, sampling = -1, colors = -1;
    const int failed = tjDecompressHeader3(handle, decoder->bytes, decoder->size, &width, &height, &sampling, &colors);
    /* A sampling that TurboJPEG has no name for fails here, after the size is known, and decodes well. */
    const int nameless = failed && width > 0 && height > 0 && sampling < 0 && colors >= 0;
    if (failed && !nameless) {
        const ci_status status = judge(decoder, handle);
        if (status != CI_OK) return status;
    }
    reader->is_cmyk = colors == TJCS_CMYK || colors == TJCS_YCCK;
    const ci_status status = ci_set_size(decoder, height, width, colors == TJCS_GRAY ? 1 : 3);
    if (status != CI_OK) return status;
    if (!can_hold(decoder, file.frame))
        return ci_fail(decoder, CI_CORRUPT, "the header claims more pixels than the file can hold");
    return check_scans(decoder, file.scans);
}

/* Adobe stores ink as 255 - ink, so the stored values are light: RGB = CMY * K. Pillow subtracts the rounded product of
 * ink and light from the light, which can differ by one from rounding the product itself. */
static void light_to_rgb(const uint8_t *cmyk, size_t pixels, uint8_t *rgb) {
    for (size_t i = 0; i < pixels; i++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(cmyk[3] - ci_times((uint8_t)(255 - cmyk[c]), cmyk[3]));
}

static ci_status jpeg_read(ci_decoder *decoder, uint8_t *pixels) {
    jpeg_reader *reader = decoder->state;
    const ci_info *info = &decoder->info;
    const size_t count = (size_t)info->height * (size_t)info->width;
    uint8_t *target = pixels;
    int format = info->channels == 1 ? TJPF_GRAY : TJPF_RGB;
    if (reader->is_cmyk) {
        format = TJPF_CMYK;
        target = malloc(count * 4);
        if (!target) return CI_OUT_OF_MEMORY;
    }
    ci_status status = CI_OK;
    if (tjDecompress2(reader->handle, decoder->bytes, decoder->size, target, info->width, 0, info->height, format,
                      TJFLAG_LIMITSCANS | TJFLAG_ACCURATEDCT) != 0)
        status = judge(decoder, reader->handle);
    if (reader->is_cmyk) {
        if (status == CI_OK) light_to_rgb(target, count, pixels);
        free(target);
    }
    return status;
}

static void jpeg_close(ci_decoder *decoder) {
    jpeg_reader *reader = decoder->state;
    if (!reader) return;
    if (reader->handle) tjDestroy(reader->handle);
    free(reader);
}

const ci_reader ci_jpeg_reader = {CI_JPEG, recognizes, jpeg_open, jpeg_read, jpeg_close};
