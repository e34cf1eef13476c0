/* ReLU and sigmoid backward, both from the stored result, dropout and stochastic depth. */
#include <math.h>
#include <string.h>

#include "ops/ops.h"

typedef struct backward {
    void (*kernel)(const ck_activation_backward *);
    const float *y, *dy;
    float *dx;
} backward;

static void run_range(void *context, int64_t begin, int64_t end) {
    const backward *b = context;
    const ck_activation_backward job = {b->y + begin, b->dy + begin, b->dx + begin, (size_t)(end - begin)};
    b->kernel(&job);
}

ck_status ck_relu_backward(const float *y, const float *dy, float *dx, size_t count, int32_t threads) {
    ck_status status;
    if (!y || !dy || !dx || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    backward job = {kernels->relu_backward, y, dy, dx};
    ck_run_flat(threads, count, 1, run_range, &job);
    return CK_OK;
}

ck_status ck_sigmoid_backward(const float *y, const float *dy, float *dx, size_t count, int32_t threads) {
    ck_status status;
    if (!y || !dy || !dx || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    backward job = {kernels->sigmoid_backward, y, dy, dx};
    ck_run_flat(threads, count, 1, run_range, &job);
    return CK_OK;
}

/* ---- dropout: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11).
 * Counter (i, 0) under the seed as the key gives four numbers, for elements 4 i ... 4 i + 3. */

static void philox(uint64_t counter, uint64_t key, uint32_t r[4]) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = UINT64_C(0xD2511F53) * c0, p1 = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    r[0] = c0, r[1] = c1, r[2] = c2, r[3] = c3;
}

typedef struct dropout {
    const float *x;
    float *y;
    uint64_t seed, first, threshold; /* dropped if the number is below */
    float scale;
} dropout;

static void drop_range(void *context, int64_t begin, int64_t end) {
    const dropout *d = context;
    uint32_t r[4];
    for (int64_t i = begin; i < end; i++) {
        const uint64_t element = d->first + (uint64_t)i;
        if (i == begin || element % 4 == 0) philox(element / 4, d->seed, r);
        d->y[i] = r[element % 4] < d->threshold ? 0 : d->x[i] * d->scale;
    }
}

ck_status ck_dropout(const float *x, float *y, size_t count, double p, uint64_t seed, uint64_t first, int32_t threads) {
    if (!x || !y || ck_bad_count(count, threads) || !(p >= 0 && p <= 1)) return CK_INVALID_ARGUMENT;
    dropout job = {.x = x, .y = y, .seed = seed, .first = first, .threshold = (uint64_t)ceil(p * 0x1p32)};
    job.scale = p < 1 ? (float)(1 / (1 - p)) : 0;
    ck_run_flat(threads, count, 8, drop_range, &job);
    return CK_OK;
}

typedef struct drop_path {
    dropout all;
    int64_t count; /* floats of an image */
} drop_path;

/* Items are floats; a range may begin and end within an image. */
static void drop_path_range(void *context, int64_t begin, int64_t end) {
    const drop_path *d = context;
    while (begin < end) {
        const int64_t image = begin / d->count, left = d->count - begin % d->count;
        const int64_t stop = end - begin < left ? end : begin + left;
        const uint64_t element = d->all.first + (uint64_t)image;
        uint32_t r[4];
        philox(element / 4, d->all.seed, r);
        if (r[element % 4] < d->all.threshold)
            memset(d->all.y + begin, 0, (size_t)(stop - begin) * sizeof(float));
        else
            for (int64_t i = begin; i < stop; i++) d->all.y[i] = d->all.x[i] * d->all.scale;
        begin = stop;
    }
}

ck_status ck_drop_path(const float *x, float *y, int32_t n, size_t count, double p, uint64_t seed, uint64_t first,
                       int32_t threads) {
    size_t all;
    if (!x || !y || n < 1 || __builtin_mul_overflow(count, (size_t)n, &all) || ck_bad_count(all, threads) ||
        !(p >= 0 && p <= 1))
        return CK_INVALID_ARGUMENT;
    drop_path job = {{.x = x, .y = y, .seed = seed, .first = first, .threshold = (uint64_t)ceil(p * 0x1p32)},
                     (int64_t)count};
    job.all.scale = p < 1 ? (float)(1 / (1 - p)) : 0;
    ck_run_flat(threads, all, 1, drop_path_range, &job);
    return CK_OK;
}
