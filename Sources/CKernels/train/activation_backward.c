/* ReLU and sigmoid backward, both from the stored result, and dropout. */
#include <math.h>

#include "train/flat.h"

typedef void kernel(const ck_activation_backward *);

static void run(kernel *body, const float *y, const float *dy, float *dx, size_t count, int32_t threads) {
    CK_PARALLEL(ck_flat_team(threads, count, 1)) {
        size_t first, length;
        ck_flat_range(count, &first, &length);
        const ck_activation_backward job = {y + first, dy + first, dx + first, length};
        body(&job);
    }
}

ck_status ck_relu_backward(const float *y, const float *dy, float *dx, size_t count, int32_t threads) {
    ck_status status;
    if (!y || !dy || !dx || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    const ck_kernels *kernels = ck_active(&status);
    if (kernels) run(kernels->relu_backward, y, dy, dx, count, threads);
    return status;
}

ck_status ck_sigmoid_backward(const float *y, const float *dy, float *dx, size_t count, int32_t threads) {
    ck_status status;
    if (!y || !dy || !dx || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    const ck_kernels *kernels = ck_active(&status);
    if (kernels) run(kernels->sigmoid_backward, y, dy, dx, count, threads);
    return status;
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

ck_status ck_dropout(const float *x, float *y, size_t count, double p, uint64_t seed, uint64_t first, int32_t threads) {
    if (!x || !y || ck_bad_count(count, threads) || !(p >= 0 && p <= 1)) return CK_INVALID_ARGUMENT;
    const uint64_t threshold = (uint64_t)ceil(p * 0x1p32); /* dropped if the number is below */
    const float scale = p < 1 ? (float)(1 / (1 - p)) : 0;
    CK_PARALLEL(ck_flat_team(threads, count, 8)) {
        size_t begin, length;
        ck_flat_range(count, &begin, &length);
        uint32_t r[4];
        for (size_t i = begin; i < begin + length; i++) {
            const uint64_t element = first + i;
            if (i == begin || element % 4 == 0) philox(element / 4, seed, r);
            y[i] = r[element % 4] < threshold ? 0 : x[i] * scale;
        }
    }
    return CK_OK;
}
