/* Pictures as bytes: to floats, turned, gray. */
#include <string.h>

#include "ops/ops.h"

/* Pixels of a square that is turned at once: 32 rows of 32 pixels stay in L1 on both sides. */
enum { TILE = 32 };

typedef struct unpacking {
    const uint8_t *src;
    int32_t channels, height, width;
    const float *scale, *shift;
    float *dst;
} unpacking;

/* Rows are counted through all pictures. */
static void unpack_rows(void *context, int64_t begin, int64_t end) {
    const unpacking *u = context;
    const size_t c = (size_t)u->channels, w = (size_t)u->width, h = (size_t)u->height, plane = h * w;
    for (size_t row = (size_t)begin; row < (size_t)end; row++) {
        const uint8_t *from = u->src + row * w * c;
        float *to = u->dst + row / h * c * plane + row % h * w;
        for (size_t k = 0; k < c; k++)
            for (size_t x = 0; x < w; x++) to[k * plane + x] = (float)from[x * c + k] * u->scale[k] + u->shift[k];
    }
}

ck_status ck_nhwc8_to_nchw(const uint8_t *src, int32_t n, int32_t c, int32_t h, int32_t w, const float *scale,
                           const float *shift, float *dst, int32_t threads) {
    if (!src || !scale || !shift || !dst || n < 1 || c < 1 || h < 1 || w < 1 || threads < 0) return CK_INVALID_ARGUMENT;
    if (!ck_addressable(n, c, h, w, sizeof *dst)) return CK_OUT_OF_MEMORY;
    unpacking job = {src, c, h, w, scale, shift, dst};
    ck_run_ranges(threads, (int64_t)n * h, (int64_t)w * c, unpack_rows, &job);
    return CK_OK;
}

/* Where output pixel (0, 0) comes from, and how far a step right and a step down move in the source, in pixels. */
typedef struct {
    ptrdiff_t start, right, down;
} walk;

static walk walk_for(int32_t orientation, ptrdiff_t h, ptrdiff_t w) {
    switch (orientation) {
    case 2: return (walk){w - 1, -1, w};
    case 3: return (walk){h * w - 1, -1, -w};
    case 4: return (walk){(h - 1) * w, 1, -w};
    case 5: return (walk){0, w, 1};
    case 6: return (walk){(h - 1) * w, -w, 1};
    case 7: return (walk){h * w - 1, -w, -1};
    case 8: return (walk){w - 1, w, -1};
    default: return (walk){0, 1, w};
    }
}

ck_status ck_orient_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, int32_t orientation,
                       uint8_t *dst) {
    if (!src || !dst || height < 1 || width < 1 || channels < 1 || orientation < 1 || orientation > 8)
        return CK_INVALID_ARGUMENT;
    if (!ck_addressable(1, channels, height, width, 1)) return CK_OUT_OF_MEMORY;
    const size_t pixel = (size_t)channels;
    if (orientation == 1) {
        memcpy(dst, src, (size_t)height * (size_t)width * pixel);
        return CK_OK;
    }
    const walk step = walk_for(orientation, height, width);
    const int32_t rows = orientation < 5 ? height : width, columns = orientation < 5 ? width : height;
    for (int32_t top = 0; top < rows; top += TILE) {
        for (int32_t left = 0; left < columns; left += TILE) {
            const int32_t bottom = rows - top < TILE ? rows : top + TILE;
            const int32_t end = columns - left < TILE ? columns : left + TILE;
            for (int32_t y = top; y < bottom; y++) {
                ptrdiff_t at = step.start + y * step.down + left * step.right;
                uint8_t *to = dst + ((size_t)y * (size_t)columns + (size_t)left) * pixel;
                for (int32_t x = left; x < end; x++, at += step.right)
                    for (size_t k = 0; k < pixel; k++) *to++ = src[(size_t)at * pixel + k];
            }
        }
    }
    return CK_OK;
}

ck_status ck_interleave_u8(const uint8_t *src, size_t count, int32_t channels, uint8_t *dst, int32_t total) {
    if (!src || !dst || channels < 1 || total < channels) return CK_INVALID_ARGUMENT;
    for (size_t i = 0; i < count; i++, dst += total)
        for (int32_t k = 0; k < channels; k++) dst[k] = *src++;
    return CK_OK;
}

ck_status ck_grey_u8(const uint8_t *rgb, size_t count, uint8_t *gray) {
    if (!rgb || !gray) return CK_INVALID_ARGUMENT;
    /* 0.299, 0.587 and 0.114 in units of 2^-16. */
    for (size_t i = 0; i < count; i++, rgb += 3)
        gray[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
    return CK_OK;
}
