/* GELU forward and backward; the arithmetic is in isa/gelu.inc. */
#include "ops/ops.h"

typedef struct activation {
    const ck_kernels *kernels;
    const float *x, *dy;
    float *y;
} activation;

/* Worth as much as copying so many floats. */
enum { WEIGHT = 4 };

static void forward(void *context, int64_t begin, int64_t end) {
    const activation *a = context;
    const ck_activation job = {a->x + begin, a->y + begin, (size_t)(end - begin)};
    a->kernels->gelu(&job);
}

ck_status ck_gelu(const float *x, float *y, size_t count, int32_t threads) {
    if (!x || !y || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    activation a = {.kernels = ck_active(&status), .x = x, .y = y};
    if (a.kernels) ck_run_flat(threads, count, WEIGHT, forward, &a);
    return status;
}

static void backward(void *context, int64_t begin, int64_t end) {
    const activation *a = context;
    const ck_activation_backward job = {a->x + begin, a->dy + begin, a->y + begin, (size_t)(end - begin)};
    a->kernels->gelu_backward(&job);
}

ck_status ck_gelu_backward(const float *x, const float *dy, float *dx, size_t count, int32_t threads) {
    if (!x || !dy || !dx || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    activation a = {.kernels = ck_active(&status), .x = x, .dy = dy, .y = dx};
    if (a.kernels) ck_run_flat(threads, count, 2 * WEIGHT, backward, &a);
    return status;
}
