/* Optimizers and what trainers do to whole gradients, on flat arrays. Coefficients are computed in double and rounded
 * once, as PyTorch does. */
#include <math.h>

#include "train/flat.h"

static int is_share(double value) { return value >= 0 && value <= 1; }

ck_status ck_sgd_step(const ck_sgd *s, float *w, const float *grad, float *velocity, size_t count, int32_t threads) {
    if (!s || !w || !grad || ck_bad_count(count, threads) || !isfinite(s->lr) || !isfinite(s->momentum) ||
        !isfinite(s->dampening) || !isfinite(s->weight_decay) || (s->momentum != 0 && !velocity) ||
        (s->nesterov && (s->momentum <= 0 || s->dampening != 0)))
        return CK_INVALID_ARGUMENT;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    CK_PARALLEL(ck_flat_team(threads, count, 1)) {
        size_t first, length;
        ck_flat_range(count, &first, &length);
        const ck_sgd_job job = {.w = w + first,
                                .velocity = s->momentum != 0 ? velocity + first : NULL,
                                .grad = grad + first,
                                .count = length,
                                .lr = (float)s->lr,
                                .momentum = (float)s->momentum,
                                .damped = (float)(1 - s->dampening),
                                .decay = (float)s->weight_decay,
                                .nesterov = s->nesterov,
                                .first = s->first};
        kernels->sgd(&job);
    }
    return CK_OK;
}

ck_status ck_adam_step(const ck_adam *s, float *w, const float *grad, float *m, float *v, size_t count,
                       int32_t threads) {
    if (!s || !w || !grad || !m || !v || ck_bad_count(count, threads) || !isfinite(s->lr) ||
        !isfinite(s->weight_decay) || !(s->eps >= 0) || !is_share(s->beta1) || !is_share(s->beta2) || s->beta1 == 1 ||
        s->beta2 == 1 || s->step < 1)
        return CK_INVALID_ARGUMENT;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const double step = (double)s->step, correction1 = 1 - pow(s->beta1, step), correction2 = 1 - pow(s->beta2, step);
    CK_PARALLEL(ck_flat_team(threads, count, 4)) {
        size_t first, length;
        ck_flat_range(count, &first, &length);
        const ck_adam_job job = {.w = w + first,
                                 .m = m + first,
                                 .v = v + first,
                                 .grad = grad + first,
                                 .count = length,
                                 .keep = s->decoupled ? (float)(1 - s->lr * s->weight_decay) : 1,
                                 .decay = s->decoupled ? 0 : (float)s->weight_decay,
                                 .take1 = (float)(1 - s->beta1),
                                 .beta2 = (float)s->beta2,
                                 .take2 = (float)(1 - s->beta2),
                                 .step = (float)(s->lr / correction1),
                                 .root = (float)sqrt(correction2),
                                 .eps = (float)s->eps};
        kernels->adam(&job);
    }
    return CK_OK;
}

/* Parts of fixed number, added in their order: the same bits on any number of threads. */
enum { PARTS = 256 };

ck_status ck_sum_of_squares(const float *x, size_t count, double *sum, int32_t threads) {
    if (!x || !sum || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const int64_t lines = (int64_t)((count + CK_LINE - 1) / CK_LINE);
    const int32_t parts = lines < PARTS ? (int32_t)lines : PARTS;
    double sums[PARTS];
#pragma omp parallel for num_threads(ck_flat_team(threads, count, 1)) schedule(static)
    for (int32_t part = 0; part < parts; part++) {
        int64_t begin, end;
        ck_split(lines, part, parts, &begin, &end);
        const size_t first = (size_t)begin * CK_LINE,
                     last = (size_t)end * CK_LINE < count ? (size_t)end * CK_LINE : count;
        const ck_square_sum job = {x + first, last - first, sums + part};
        kernels->sum_of_squares(&job);
    }
    *sum = 0;
    for (int32_t part = 0; part < parts; part++) *sum += sums[part];
    return CK_OK;
}

static ck_status combine(const float *x, double by_x, float *y, double by_y, size_t count, int32_t threads) {
    if (!isfinite(by_x) || !isfinite(by_y) || !y || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    CK_PARALLEL(ck_flat_team(threads, count, 1)) {
        size_t first, length;
        ck_flat_range(count, &first, &length);
        const ck_combination job = {x ? x + first : NULL, y + first, length, (float)by_x, (float)by_y};
        kernels->combine(&job);
    }
    return CK_OK;
}

ck_status ck_scale(float *x, size_t count, double factor, int32_t threads) {
    return combine(NULL, 0, x, factor, count, threads);
}

ck_status ck_accumulate(const float *x, float *y, size_t count, double factor, int32_t threads) {
    return x ? combine(x, factor, y, 1, count, threads) : CK_INVALID_ARGUMENT;
}

ck_status ck_moving_average(const float *x, float *average, size_t count, double decay, int32_t threads) {
    return x && is_share(decay) ? combine(x, 1 - decay, average, decay, count, threads) : CK_INVALID_ARGUMENT;
}
