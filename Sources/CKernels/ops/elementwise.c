/* Elementwise operations on flat arrays and per channel on NCHWc, and the folding of batch norm into such a scale and
 * shift. All are bound by memory; a thread takes one contiguous range.
 */
#include <math.h>

#include "ops/ops.h"

/* Ranges of flat arrays are cut at whole cache lines. */
enum { LINE = 16 };

static ck_status run_add(const float *a, const float *b, float *y, size_t count, int32_t relu, int32_t threads) {
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const int64_t lines = (int64_t)((count + LINE - 1) / LINE);
    const int team = ck_threads_for(threads, lines, LINE);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(lines, ck_thread(), ck_team(), &begin, &end);
        const size_t first = (size_t)begin * LINE, last = (size_t)end * LINE < count ? (size_t)end * LINE : count;
        const ck_addition job = {a + first, b ? b + first : NULL, y + first, last - first, relu};
        kernels->add(&job);
    }
    return CK_OK;
}

static int bad_count(size_t count, int32_t threads) {
    return count < 1 || count > PTRDIFF_MAX / sizeof(float) || threads < 0;
}

ck_status ck_add(const float *a, const float *b, float *y, size_t count, int32_t relu, int32_t threads) {
    if (!a || !b || !y || bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    return run_add(a, b, y, count, relu, threads);
}

ck_status ck_relu(const float *x, float *y, size_t count, int32_t threads) {
    if (!x || !y || bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    return run_add(x, NULL, y, count, 1, threads);
}

/* e^-|x| never overflows; both branches are then within an ulp or two. */
static float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0 ? e : 1) / (1 + e);
}

ck_status ck_sigmoid(const float *x, float *y, size_t count, int32_t threads) {
    if (!x || !y || bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    const int team = ck_threads_for(threads, (int64_t)count, 8); /* expf costs as much as some eight loads */
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split((int64_t)count, ck_thread(), ck_team(), &begin, &end);
        for (int64_t i = begin; i < end; i++) y[i] = sigmoid(x[i]);
    }
    return CK_OK;
}

ck_status ck_scale_shift(const float *x, const float *scale, const float *shift, int32_t n, int32_t c, int32_t h,
                         int32_t w, float *y, int32_t relu, int32_t threads) {
    if (!x || !scale || !shift || !y) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status != CK_OK) return status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const int32_t block = kernels->block, blocks = ck_blocks(c, block);
    const int64_t plane = (int64_t)h * w, pixels = plane * blocks * n;
    const int team = ck_threads_for(threads, pixels, block);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(pixels, ck_thread(), ck_team(), &begin, &end);
        while (begin < end) {
            const int64_t in_plane = begin % plane, channel = begin / plane % blocks * block;
            const int64_t count = end - begin < plane - in_plane ? end - begin : plane - in_plane;
            const ck_affine job = {x + begin * block, scale + channel, shift + channel, y + begin * block, count, relu};
            kernels->scale_shift(&job);
            begin += count;
        }
    }
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
