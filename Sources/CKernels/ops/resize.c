/* Resize with antialiasing, equal to Pillow's pixels.
 *
 * The filter (triangle or Keys' cubic with a = -1/2) is stretched by the downscale ratio, so that every source pixel
 * under an output pixel counts: this is what torchvision calls antialias=True. Two passes; between them the picture is
 * rounded to bytes. Both passes work in fixed point with 22 fractional bits. Pillow's results depend on each of these
 * choices and on the order of roundings, so they are part of the contract here.
 *
 *     src (H, W, C) --horizontal--> (rows of src the output reads, OW, C) --vertical--> dst (OH, OW, C)
 *
 * Where the height shrinks by more than twice the pixels that the width does, the vertical pass comes first, as it does
 * from Pillow 13 on; older Pillows always go horizontally first, which for such tall pictures differs by a rounding.
 *
 * Source of the method: Pillow's ImagingResample; the cubic is from Keys, "Cubic convolution interpolation", 1981.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

/* 32 bits less 8 of the pixel and 2 for the overshoot of negative lobes. */
enum { FRACTION_BITS = 32 - 8 - 2 };

/* Bytes whose sums stay in registers or L1 while the vertical pass goes down the taps. */
enum { COLUMN_BLOCK = 64 };

/* One axis: output pixel i is the sum over t < count[i] of taps[i * size + t] * source[first[i] + t]. */
typedef struct {
    int32_t size;
    int32_t *first, *count, *taps;
} axis_filter;

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static void axis_destroy(axis_filter *axis) {
    free(axis->first);
    free(axis->count);
    free(axis->taps);
    *axis = (axis_filter){0};
}

/* The taps that take begin...end of `in` pixels to `out` pixels. */
static ck_status axis_create(int32_t in, float begin, float end, int32_t out, ck_filter filter, axis_filter *axis) {
    const double radius = filter == CK_BICUBIC ? 2.0 : 1.0;
    const double scale = (double)(end - begin) / out; /* the difference in float, as Pillow takes it */
    const double stretch = scale < 1.0 ? 1.0 : scale;
    const double support = radius * stretch;
    const double most = ceil(support) * 2.0 + 1.0;
    if (most > INT32_MAX || most * out > (double)(SIZE_MAX / sizeof(double))) return CK_OUT_OF_MEMORY;
    const size_t size = (size_t)most;
    axis->size = (int32_t)size;
    axis->first = malloc((size_t)out * sizeof *axis->first);
    axis->count = malloc((size_t)out * sizeof *axis->count);
    axis->taps = malloc((size_t)out * size * sizeof *axis->taps);
    double *weights = malloc(size * sizeof *weights);
    if (!axis->first || !axis->count || !axis->taps || !weights) {
        free(weights);
        axis_destroy(axis);
        return CK_OUT_OF_MEMORY;
    }
    for (int32_t i = 0; i < out; i++) {
        const double center = begin + (i + 0.5) * scale;
        const double step = 1.0 / stretch;
        double low = center - support + 0.5, high = center + support + 0.5;
        const int32_t first = low < 0.0 ? 0 : (int32_t)low;
        const int32_t last = high > in ? in : (int32_t)high;
        const int32_t count = last - first;
        double sum = 0.0;
        for (int32_t t = 0; t < count; t++) {
            weights[t] = (filter == CK_BICUBIC ? cubic : triangle)((t + first - center + 0.5) * step);
            sum += weights[t];
        }
        int32_t *taps = axis->taps + (size_t)i * size;
        for (int32_t t = 0; t < count; t++) {
            const double weight = sum != 0.0 ? weights[t] / sum : weights[t];
            taps[t] = (int32_t)((weight < 0.0 ? -0.5 : 0.5) + weight * (1 << FRACTION_BITS));
        }
        axis->first[i] = first;
        axis->count[i] = count;
    }
    free(weights);
    return CK_OK;
}

/* A sum that started at one half: to a byte. */
static inline uint8_t to_byte(int32_t sum) {
    const int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One row (W, C) -> (OW, C), for a constant number of channels: inlined, so that the sums are registers. `src` begins
 * with column `offset` of the picture the axis was made for. */
static inline void horizontal_row(const uint8_t *src, int32_t offset, const axis_filter *axis, int32_t out,
                                  int32_t channels, uint8_t *dst) {
    for (int32_t i = 0; i < out; i++) {
        const uint8_t *pixel = src + (size_t)(axis->first[i] - offset) * (size_t)channels;
        const int32_t *taps = axis->taps + (size_t)i * (size_t)axis->size;
        int32_t sums[4];
        for (int32_t c = 0; c < channels; c++) sums[c] = 1 << (FRACTION_BITS - 1);
        for (int32_t t = 0; t < axis->count[i]; t++, pixel += channels)
            for (int32_t c = 0; c < channels; c++) sums[c] += taps[t] * pixel[c];
        for (int32_t c = 0; c < channels; c++) *dst++ = to_byte(sums[c]);
    }
}

static void horizontal_any(const uint8_t *src, int32_t offset, const axis_filter *axis, int32_t out, int32_t channels,
                           uint8_t *dst) {
    for (int32_t i = 0; i < out; i++) {
        const uint8_t *pixel = src + (size_t)(axis->first[i] - offset) * (size_t)channels;
        const int32_t *taps = axis->taps + (size_t)i * (size_t)axis->size;
        for (int32_t c = 0; c < channels; c++) {
            int32_t sum = 1 << (FRACTION_BITS - 1);
            for (int32_t t = 0; t < axis->count[i]; t++)
                sum += taps[t] * pixel[(size_t)t * (size_t)channels + (size_t)c];
            *dst++ = to_byte(sum);
        }
    }
}

/* One pass over rows of bytes. `src` begins with column (horizontal) or row (vertical) `offset` of the picture the axis
 * was made for; `row` is the bytes of a row of dst. */
typedef struct pass {
    const uint8_t *src;
    size_t src_stride;
    int32_t offset;
    const axis_filter *axis;
    int32_t out, channels; /* horizontal only: pixels of a row of dst */
    size_t row;
    uint8_t *dst;
} pass;

/* Rows begin...end of source and result. */
static void horizontal_rows(void *context, int64_t begin, int64_t end) {
    const pass p = *(const pass *)context;
    for (int64_t y = begin; y < end; y++) {
        const uint8_t *from = p.src + (size_t)y * p.src_stride;
        uint8_t *to = p.dst + (size_t)y * p.row;
        switch (p.channels) {
        case 1: horizontal_row(from, p.offset, p.axis, p.out, 1, to); break;
        case 3: horizontal_row(from, p.offset, p.axis, p.out, 3, to); break;
        case 4: horizontal_row(from, p.offset, p.axis, p.out, 4, to); break;
        default: horizontal_any(from, p.offset, p.axis, p.out, p.channels, to); break;
        }
    }
}

/* Rows begin...end of the result. */
static void vertical_rows(void *context, int64_t begin, int64_t end) {
    const pass p = *(const pass *)context;
    for (int64_t y = begin; y < end; y++) {
        const uint8_t *top = p.src + (size_t)(p.axis->first[y] - p.offset) * p.src_stride;
        const int32_t *taps = p.axis->taps + (size_t)y * (size_t)p.axis->size;
        uint8_t *to = p.dst + (size_t)y * p.row;
        for (size_t x = 0; x < p.row; x += COLUMN_BLOCK) {
            const size_t width = p.row - x < COLUMN_BLOCK ? p.row - x : COLUMN_BLOCK;
            int32_t sums[COLUMN_BLOCK];
            for (size_t i = 0; i < width; i++) sums[i] = 1 << (FRACTION_BITS - 1);
            for (int32_t t = 0; t < p.axis->count[y]; t++) {
                const uint8_t *from = top + (size_t)t * p.src_stride + x;
                const int32_t tap = taps[t];
                for (size_t i = 0; i < width; i++) sums[i] += tap * from[i];
            }
            for (size_t i = 0; i < width; i++) to[x + i] = to_byte(sums[i]);
        }
    }
}

static void horizontal_pass(pass p, int32_t rows, int32_t threads) {
    p.row = (size_t)p.out * (size_t)p.channels;
    ck_run_ranges(threads, rows, (int64_t)p.out * p.channels * p.axis->size, horizontal_rows, &p);
}

static void vertical_pass(pass p, int32_t rows, int32_t threads) {
    ck_run_ranges(threads, rows, (int64_t)p.row * p.axis->size, vertical_rows, &p);
}

/* A picture (H, W, C) and what it becomes, (out_height, out_width, C). */
typedef struct resizing {
    const uint8_t *src;
    size_t src_stride;
    int32_t height, width, channels;
    uint8_t *dst;
    int32_t out_height, out_width, threads;
} resizing;

/* Both passes, the result of the first in memory of its own. */
static ck_status resize_both(const resizing *r, const axis_filter *across, const axis_filter *down) {
    const int vertical_first =
        r->out_height < r->height && (int64_t)r->height - r->out_height > 2 * ((int64_t)r->width - r->out_width);
    const int32_t out_height = r->out_height, out_width = r->out_width, channels = r->channels;
    /* The part of the source that the output reads. */
    const int32_t left = across->first[0], top = down->first[0];
    const int32_t columns = across->first[out_width - 1] + across->count[out_width - 1] - left;
    const int32_t rows = down->first[out_height - 1] + down->count[out_height - 1] - top;
    const int32_t height = vertical_first ? out_height : rows, width = vertical_first ? columns : out_width;
    const size_t row = (size_t)width * (size_t)channels, out_row = (size_t)out_width * (size_t)channels;
    uint8_t *between = row <= SIZE_MAX / (size_t)height ? malloc((size_t)height * row) : NULL;
    if (!between) return CK_OUT_OF_MEMORY;
    if (vertical_first) {
        const uint8_t *from = r->src + (size_t)left * (size_t)channels;
        vertical_pass((pass){from, r->src_stride, 0, down, .row = row, .dst = between}, out_height, r->threads);
        horizontal_pass((pass){between, row, left, across, out_width, channels, .dst = r->dst}, out_height, r->threads);
    } else {
        const uint8_t *from = r->src + (size_t)top * r->src_stride;
        horizontal_pass((pass){from, r->src_stride, 0, across, out_width, channels, .dst = between}, rows, r->threads);
        vertical_pass((pass){between, row, top, down, .row = out_row, .dst = r->dst}, out_height, r->threads);
    }
    free(between);
    return CK_OK;
}

ck_status ck_resize_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, size_t src_stride,
                       double x0, double y0, double x1, double y1, uint8_t *dst, int32_t out_height, int32_t out_width,
                       ck_filter filter, int32_t threads) {
    if (!src || !dst || height < 1 || width < 1 || channels < 1 || out_height < 1 || out_width < 1 || threads < 0)
        return CK_INVALID_ARGUMENT;
    if (filter != CK_BILINEAR && filter != CK_BICUBIC) return CK_INVALID_ARGUMENT;
    const size_t source_row = (size_t)width * (size_t)channels, row = (size_t)out_width * (size_t)channels;
    if (src_stride < source_row) return CK_INVALID_ARGUMENT;
    if (!ck_addressable(1, channels, height, width, 1) || src_stride > PTRDIFF_MAX / (size_t)height ||
        !ck_addressable(1, channels, out_height, out_width, 1))
        return CK_OUT_OF_MEMORY;
    /* Pillow keeps a box in floats; written so that a NaN fails. */
    const float left = (float)x0, top = (float)y0, right = (float)x1, bottom = (float)y1;
    if (!(left >= 0.0f && top >= 0.0f && right <= (float)width && bottom <= (float)height)) return CK_INVALID_ARGUMENT;
    if (!(right - left > 0.0f && bottom - top > 0.0f)) return CK_INVALID_ARGUMENT;

    /* An axis that keeps its size and place is not filtered at all. */
    const int horizontal = out_width != width || left != 0.0f || right != (float)out_width;
    const int vertical = out_height != height || top != 0.0f || bottom != (float)out_height;
    if (!horizontal && !vertical) {
        for (int32_t y = 0; y < height; y++) memcpy(dst + (size_t)y * row, src + (size_t)y * src_stride, row);
        return CK_OK;
    }
    axis_filter down = {0}, across = {0};
    ck_status status = CK_OK;
    if (vertical) status = axis_create(height, top, bottom, out_height, filter, &down);
    if (status == CK_OK && horizontal) status = axis_create(width, left, right, out_width, filter, &across);
    if (status == CK_OK) {
        if (!horizontal) {
            vertical_pass((pass){src, src_stride, 0, &down, .row = row, .dst = dst}, out_height, threads);
        } else if (!vertical) {
            horizontal_pass((pass){src, src_stride, 0, &across, out_width, channels, .dst = dst}, height, threads);
        } else {
            const resizing r = {src, src_stride, height, width, channels, dst, out_height, out_width, threads};
            status = resize_both(&r, &across, &down);
        }
    }
    axis_destroy(&down);
    axis_destroy(&across);
    return status;
}
