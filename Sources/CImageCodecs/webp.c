/* WebP through libwebp; of an animation the first frame, on a black canvas where it does not cover all. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include "decoder.h"
#include "library.h"

#define DECODE_FUNCTIONS(X) X(WebPInitDecoderConfigInternal) X(WebPDecode)
#define DEMUX_FUNCTIONS(X)                                                                                             \
    X(WebPDemuxInternal)                                                                                               \
    X(WebPDemuxDelete)                                                                                                 \
    X(WebPDemuxGetI)                                                                                                   \
    X(WebPDemuxGetFrame)                                                                                               \
    X(WebPDemuxReleaseIterator)

static struct {
    DECODE_FUNCTIONS(CI_FIELD)
    DEMUX_FUNCTIONS(CI_FIELD)
    int is_loaded;
} table;

static void load(void) {
    static const char *const decode_names[] = {"libwebp.so.7", "libwebp.so", NULL};
    static const char *const demux_names[] = {"libwebpdemux.so.2", "libwebpdemux.so", NULL};
    const ci_symbol decode[] = {DECODE_FUNCTIONS(CI_SYMBOL)};
    const ci_symbol demux[] = {DEMUX_FUNCTIONS(CI_SYMBOL)};
    table.is_loaded = ci_load_library(decode_names, decode, sizeof decode / sizeof *decode) &&
                      ci_load_library(demux_names, demux, sizeof demux / sizeof *demux);
}

static int recognizes(const uint8_t *bytes, size_t size) {
    return size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

static ci_status webp_open(ci_decoder *decoder) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!table.is_loaded) return ci_fail(decoder, CI_UNSUPPORTED, "WebP needs libwebp.so.7 and libwebpdemux.so.2");
    const WebPData data = {decoder->bytes, decoder->size};
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    WebPDemuxer *demuxer = table.WebPDemuxInternal(&data, 1, &state, WEBP_DEMUX_ABI_VERSION);
    decoder->state = demuxer;
    if (state == WEBP_DEMUX_PARSE_ERROR) return ci_fail(decoder, CI_CORRUPT, "the chunks of the WebP do not fit");
    if (state != WEBP_DEMUX_DONE) return ci_fail(decoder, CI_TRUNCATED, "the file ends inside the WebP");
    if (!demuxer) return CI_OUT_OF_MEMORY;
    return ci_set_size(decoder, table.WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT),
                       table.WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH), 3);
}

static ci_status status_of(ci_decoder *decoder, VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_OK: return CI_OK;
    case VP8_STATUS_OUT_OF_MEMORY: return CI_OUT_OF_MEMORY;
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return ci_fail(decoder, CI_TRUNCATED, "the file ends inside the picture");
    case VP8_STATUS_UNSUPPORTED_FEATURE: return ci_fail(decoder, CI_UNSUPPORTED, "a WebP of an unknown kind");
    default: return ci_fail(decoder, CI_CORRUPT, "the WebP's data are wrong");
    }
}

static ci_status read_frame(ci_decoder *decoder, const WebPIterator *frame, uint8_t *pixels) {
    const size_t height = (size_t)decoder->info.height, width = (size_t)decoder->info.width;
    if (frame->x_offset < 0 || frame->y_offset < 0 || frame->width < 1 || frame->height < 1 ||
        (size_t)frame->x_offset + (size_t)frame->width > width ||
        (size_t)frame->y_offset + (size_t)frame->height > height)
        return ci_fail(decoder, CI_CORRUPT, "the first frame lies outside the picture");
    if ((size_t)frame->width < width || (size_t)frame->height < height) memset(pixels, 0, height * width * 3);
    WebPDecoderConfig config;
    if (!table.WebPInitDecoderConfigInternal(&config, WEBP_DECODER_ABI_VERSION))
        return ci_fail(decoder, CI_UNSUPPORTED, "libwebp is of another version than this program was built for");
    const size_t offset = ((size_t)frame->y_offset * width + (size_t)frame->x_offset) * 3;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels + offset;
    config.output.u.RGBA.stride = (int)(width * 3);
    config.output.u.RGBA.size = height * width * 3 - offset;
    return status_of(decoder, table.WebPDecode(frame->fragment.bytes, frame->fragment.size, &config));
}

static ci_status webp_read(ci_decoder *decoder, uint8_t *pixels) {
    WebPIterator frame;
    memset(&frame, 0, sizeof frame);
    if (!table.WebPDemuxGetFrame(decoder->state, 1, &frame))
        return ci_fail(decoder, CI_CORRUPT, "the WebP holds no picture");
    const ci_status status = read_frame(decoder, &frame, pixels);
    table.WebPDemuxReleaseIterator(&frame);
    return status;
}

static void webp_close(ci_decoder *decoder) {
    if (decoder->state) table.WebPDemuxDelete(decoder->state);
}

const ci_reader ci_webp_reader = {CI_WEBP, recognizes, webp_open, webp_read, webp_close};
