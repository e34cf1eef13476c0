/* Bytes from floats and back, and what one must know of values to choose their scale. */
#include <math.h>

#include "ckernels_int8.h"
#include "ops/ops.h"

typedef struct scaling {
    void (*kernel)(const ck_byte_scaling *);
    ck_byte_scaling all;
    int64_t block;
} scaling;

static void scale_range(void *context, int64_t begin, int64_t end) {
    const scaling *s = context;
    ck_byte_scaling job = s->all;
    const int64_t first = begin * s->block;
    if (job.floats_in) job.floats_in += first;
    if (job.bytes_in) job.bytes_in += first;
    if (job.bytes) job.bytes += first;
    if (job.floats) job.floats += first;
    job.count = (size_t)((end - begin) * s->block);
    s->kernel(&job);
}

static ck_status run(scaling s, size_t count, int32_t threads) {
    if (ck_bad_count(count, threads) || count % (size_t)s.block) return CK_INVALID_ARGUMENT;
    ck_run_ranges(threads, (int64_t)count / s.block, s.block, scale_range, &s);
    return CK_OK;
}

ck_status ck_quantize(const float *x, float scale, size_t count, uint8_t *y, int32_t threads) {
    if (!x || !y) return CK_INVALID_ARGUMENT;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const ck_byte_scaling all = {.floats_in = x, .scale = scale, .bytes = y};
    return run((scaling){kernels->quantize_bytes, all, kernels->block}, count, threads);
}

ck_status ck_dequantize(const uint8_t *x, float scale, size_t count, float *y, int32_t threads) {
    if (!x || !y) return CK_INVALID_ARGUMENT;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const ck_byte_scaling all = {.bytes_in = x, .scale = scale, .floats = y};
    return run((scaling){kernels->dequantize_bytes, all, kernels->block}, count, threads);
}

ck_status ck_extremes(const float *x, size_t count, float *least, float *most) {
    if (!x || !count || !least || !most) return CK_INVALID_ARGUMENT;
    float low = x[0], high = x[0];
    for (size_t i = 1; i < count; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *least = low, *most = high;
    return CK_OK;
}

ck_status ck_histogram(const float *x, size_t count, double scale, int32_t bins, int64_t *counts) {
    if (!x || !counts || bins < 1) return CK_INVALID_ARGUMENT;
    const float factor = (float)scale, last = (float)(bins - 1);
    for (size_t i = 0; i < count; i++) {
        const float place = fabsf(x[i]) * factor;
        counts[place < last ? (int32_t)place : bins - 1]++;
    }
    return CK_OK;
}

ck_status ck_channel_sums(const float *x, int32_t n, int32_t c, size_t plane, double *sums) {
    if (!x || !sums || n < 1 || c < 1) return CK_INVALID_ARGUMENT;
    for (int64_t map = 0; map < (int64_t)n * c; map++, x += plane) {
        double sum = 0;
        for (size_t i = 0; i < plane; i++) sum += (double)x[i];
        sums[map % c] += sum;
    }
    return CK_OK;
}

ck_status ck_compare(const float *a, const float *b, size_t count, double sums[4]) {
    if (!a || !b || !sums) return CK_INVALID_ARGUMENT;
    double aa = 0, bb = 0, ab = 0, dd = 0;
    for (size_t i = 0; i < count; i++) {
        const double x = (double)a[i], y = (double)b[i];
        aa += x * x, bb += y * y, ab += x * y, dd += (x - y) * (x - y);
    }
    sums[0] += aa, sums[1] += bb, sums[2] += ab, sums[3] += dd;
    return CK_OK;
}
