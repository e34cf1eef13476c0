/* Elementwise operations on flat arrays and per channel on NCHWc, and the folding of batch norm into such a scale and
 * shift. All are bound by memory; a thread takes one contiguous range.
 */
#include <math.h>

#include "ops/ops.h"

typedef struct addition {
    const ck_kernels *kernels;
    ck_addition all;
} addition;

static void add_range(void *context, int64_t begin, int64_t end) {
    const addition *a = context;
    const ck_addition job = {.a = a->all.a + begin,
                             .b = a->all.b ? a->all.b + begin : NULL,
                             .y = a->all.y + begin,
                             .count = (size_t)(end - begin),
                             .relu = a->all.relu};
    a->kernels->add(&job);
}

static ck_status run_add(ck_addition all, int32_t threads) {
    ck_status status;
    addition a = {ck_active(&status), all};
    if (a.kernels) ck_run_flat(threads, all.count, 1, add_range, &a);
    return status;
}

ck_status ck_add(const float *a, const float *b, float *y, size_t count, int32_t relu, int32_t threads) {
    if (!a || !b || !y || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    return run_add((ck_addition){a, b, y, count, relu}, threads);
}

ck_status ck_relu(const float *x, float *y, size_t count, int32_t threads) {
    if (!x || !y || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    return run_add((ck_addition){x, NULL, y, count, 1}, threads);
}

typedef struct clipping {
    const ck_kernels *kernels;
    ck_clipping all;
} clipping;

static void clip_range(void *context, int64_t begin, int64_t end) {
    const clipping *c = context;
    ck_clipping job = c->all;
    job.x += begin;
    if (job.dy) job.dy += begin;
    job.y += begin;
    job.count = (size_t)(end - begin);
    c->kernels->clip(&job);
}

static ck_status run_clip(ck_clipping all, int32_t threads) {
    if (!all.x || !all.y || !(all.low <= all.high) || ck_bad_count(all.count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    clipping c = {ck_active(&status), all};
    if (c.kernels) ck_run_flat(threads, all.count, 1, clip_range, &c);
    return status;
}

ck_status ck_clip(const float *x, float low, float high, float *y, size_t count, int32_t threads) {
    return run_clip((ck_clipping){x, NULL, y, count, low, high}, threads);
}

ck_status ck_clip_backward(const float *y, const float *dy, float low, float high, float *dx, size_t count,
                           int32_t threads) {
    if (!dy) return CK_INVALID_ARGUMENT;
    return run_clip((ck_clipping){y, dy, dx, count, low, high}, threads);
}

/* e^-|x| never overflows; both branches are then within an ulp or two. */
static float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0 ? e : 1) / (1 + e);
}

typedef struct sigmoids {
    const float *x;
    float *y;
} sigmoids;

static void sigmoid_range(void *context, int64_t begin, int64_t end) {
    const sigmoids *s = context;
    for (int64_t i = begin; i < end; i++) s->y[i] = sigmoid(s->x[i]);
}

ck_status ck_sigmoid(const float *x, float *y, size_t count, int32_t threads) {
    if (!x || !y || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    sigmoids job = {x, y};
    ck_run_flat(threads, count, 8, sigmoid_range, &job); /* expf costs as much as some eight loads */
    return CK_OK;
}

/* Pixels are counted through all (image, channel block) planes. */
typedef struct affine_map {
    const ck_kernels *kernels;
    ck_affine all;
    int64_t plane; /* pixels */
    int32_t blocks;
} affine_map;

static void affine_range(void *context, int64_t begin, int64_t end) {
    const affine_map *m = context;
    const int32_t block = m->kernels->block;
    while (begin < end) {
        const int64_t in_plane = begin % m->plane, channel = begin / m->plane % m->blocks * block;
        const int64_t count = end - begin < m->plane - in_plane ? end - begin : m->plane - in_plane;
        const ck_affine job = {.x = m->all.x + begin * block,
                               .scale = m->all.scale + channel,
                               .shift = m->all.shift + channel,
                               .y = m->all.y + begin * block,
                               .pixels = count,
                               .relu = m->all.relu};
        m->kernels->scale_shift(&job);
        begin += count;
    }
}

ck_status ck_scale_shift(const float *x, const float *scale, const float *shift, int32_t n, int32_t c, int32_t h,
                         int32_t w, float *y, int32_t relu, int32_t threads) {
    if (!x || !scale || !shift || !y) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status != CK_OK) return status;
    affine_map map = {.kernels = ck_active(&status), .plane = (int64_t)h * w};
    if (!map.kernels) return status;
    map.all = (ck_affine){.x = x, .scale = scale, .shift = shift, .y = y, .relu = relu};
    map.blocks = ck_blocks(c, map.kernels->block);
    ck_run_ranges(threads, map.plane * map.blocks * n, map.kernels->block, affine_range, &map);
    return CK_OK;
}

ck_status ck_bn_fold(const float *gamma, const float *beta, const float *mean, const float *var, double eps, int32_t c,
                     float *scale, float *shift) {
    if (!mean || !var || !scale || !shift || c < 1 || !(eps >= 0)) return CK_INVALID_ARGUMENT;
    for (int32_t i = 0; i < c; i++) {
        const double s = (gamma ? gamma[i] : 1.0) / sqrt(var[i] + eps);
        scale[i] = (float)s;
        shift[i] = (float)((beta ? beta[i] : 0.0) - mean[i] * s);
    }
    return CK_OK;
}
