/* Group norm on NCHWc, with the kernels of batch norm (isa/norm.inc). A unit of work is as many channels as are both
 * whole blocks and whole groups of one image; it is read twice:
 *
 *     sums of x and x^2 by lane, in double  ->  mean and variance by group
 *     y = x scale + shift [then ReLU],  scale = gamma / sqrt(variance + eps),  shift = beta - mean scale
 */
#include <math.h>

#include "ops/ops.h"

enum { MOST_LANES = 16 };

typedef struct norm {
    const ck_kernels *kernels;
    int32_t channels, blocks;
    int32_t size;        /* channels of a group */
    int32_t unit, units; /* channel blocks of a unit; units of an image */
    int64_t pixels;
    double eps;
    int32_t relu;
    const float *x, *gamma, *beta;
    float *y;
} norm;

static int32_t greatest_divisor(int32_t a, int32_t b) {
    while (b) {
        const int32_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

static ck_status check(const ck_group_norm_desc *d, norm *n) {
    if (!d || !(d->eps >= 0) || d->groups < 1) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(d->batch, d->channels, d->height, d->width, d->threads);
    if (status != CK_OK) return status;
    if (d->channels % d->groups) return CK_INVALID_ARGUMENT;
    *n = (norm){.kernels = ck_active(&status),
                .channels = d->channels,
                .size = d->channels / d->groups,
                .pixels = (int64_t)d->height * d->width,
                .eps = d->eps,
                .relu = d->relu};
    if (!n->kernels) return status;
    n->blocks = ck_blocks(d->channels, n->kernels->block);
    n->unit = n->size / greatest_divisor(n->size, n->kernels->block);
    n->units = (n->blocks - 1) / n->unit + 1;
    return CK_OK;
}

/* The unit that begins at block `first` of an image. It has lcm(V, size) channels, hence at most V groups. */
static void normalize(const norm *n, const float *x, float *y, int32_t first) {
    const int32_t v = n->kernels->block;
    const int32_t last = first + n->unit < n->blocks ? first + n->unit : n->blocks;
    const ptrdiff_t block = (ptrdiff_t)n->pixels * v;
    double sums[MOST_LANES] = {0}, squares[MOST_LANES] = {0};
    for (int32_t b = first; b < last; b++) {
        _Alignas(64) double lanes[2 * MOST_LANES];
        n->kernels->moments(&(ck_moments){.x = x + b * block, .pixels = n->pixels, .sums = lanes});
        for (int32_t k = 0; k < v && b * v + k < n->channels; k++) {
            const int32_t group = ((b - first) * v + k) / n->size;
            sums[group] += lanes[k];
            squares[group] += lanes[v + k];
        }
    }
    const double count = (double)n->pixels * n->size;
    for (int32_t b = first; b < last; b++) {
        _Alignas(64) float scale[MOST_LANES] = {0}, shift[MOST_LANES] = {0};
        for (int32_t k = 0; k < v && b * v + k < n->channels; k++) {
            const int32_t group = ((b - first) * v + k) / n->size;
            const double mean = sums[group] / count, variance = fmax(squares[group] / count - mean * mean, 0);
            const double factor = n->gamma[b * v + k] / sqrt(variance + n->eps);
            scale[k] = (float)factor;
            shift[k] = (float)(n->beta[b * v + k] - mean * factor);
        }
        n->kernels->normalize(&(ck_normalize){.x = x + b * block,
                                              .scale = scale,
                                              .shift = shift,
                                              .y = y + b * block,
                                              .pixels = n->pixels,
                                              .relu = n->relu});
    }
}

/* Items are counted (image, unit). */
static void forward(void *context, int64_t begin, int64_t end) {
    const norm *n = context;
    const ptrdiff_t image = (ptrdiff_t)n->blocks * n->pixels * n->kernels->block;
    for (int64_t item = begin; item < end; item++) {
        const ptrdiff_t at = item / n->units * image;
        normalize(n, n->x + at, n->y + at, (int32_t)(item % n->units) * n->unit);
    }
}

ck_status ck_group_norm(const ck_group_norm_desc *desc, const float *x, const float *gamma, const float *beta,
                        float *y) {
    norm n;
    const ck_status status = check(desc, &n);
    if (status != CK_OK) return status;
    if (!x || !gamma || !beta || !y) return CK_INVALID_ARGUMENT;
    n.x = x, n.gamma = gamma, n.beta = beta, n.y = y;
    ck_run_ranges(desc->threads, (int64_t)desc->batch * n.units, n.pixels * n.unit * n.kernels->block * 2, forward, &n);
    return CK_OK;
}
