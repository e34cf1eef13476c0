/* Optimizers and what trainers do to whole gradients, on flat arrays. Coefficients are computed in double and rounded
 * once, as PyTorch does. */
#include <math.h>

#include "ops/ops.h"

static int is_share(double value) { return value >= 0 && value <= 1; }

typedef struct sgd {
    const ck_kernels *kernels;
    ck_sgd_job all;
} sgd;

static void sgd_range(void *context, int64_t begin, int64_t end) {
    const sgd *s = context;
    ck_sgd_job job = s->all;
    job.w += begin;
    job.grad += begin;
    if (job.velocity) job.velocity += begin;
    job.count = (size_t)(end - begin);
    s->kernels->sgd(&job);
}

ck_status ck_sgd_step(const ck_sgd *s, float *w, const float *grad, float *velocity, size_t count, int32_t threads) {
    if (!s || !w || !grad || ck_bad_count(count, threads) || !isfinite(s->lr) || !isfinite(s->momentum) ||
        !isfinite(s->dampening) || !isfinite(s->weight_decay) || (s->momentum != 0 && !velocity) ||
        (s->nesterov && (s->momentum <= 0 || s->dampening != 0)))
        return CK_INVALID_ARGUMENT;
    ck_status status;
    sgd job = {.kernels = ck_active(&status)};
    if (!job.kernels) return status;
    job.all = (ck_sgd_job){.w = w,
                           .velocity = s->momentum != 0 ? velocity : NULL,
                           .grad = grad,
                           .lr = (float)s->lr,
                           .momentum = (float)s->momentum,
                           .damped = (float)(1 - s->dampening),
                           .decay = (float)s->weight_decay,
                           .nesterov = s->nesterov,
                           .first = s->first};
    ck_run_flat(threads, count, 1, sgd_range, &job);
    return CK_OK;
}

typedef struct adam {
    const ck_kernels *kernels;
    ck_adam_job all;
} adam;

static void adam_range(void *context, int64_t begin, int64_t end) {
    const adam *a = context;
    ck_adam_job job = a->all;
    job.w += begin;
    job.m += begin;
    job.v += begin;
    job.grad += begin;
    job.count = (size_t)(end - begin);
    a->kernels->adam(&job);
}

ck_status ck_adam_step(const ck_adam *s, float *w, const float *grad, float *m, float *v, size_t count,
                       int32_t threads) {
    if (!s || !w || !grad || !m || !v || ck_bad_count(count, threads) || !isfinite(s->lr) ||
        !isfinite(s->weight_decay) || !(s->eps >= 0) || !is_share(s->beta1) || !is_share(s->beta2) || s->beta1 == 1 ||
        s->beta2 == 1 || s->step < 1)
        return CK_INVALID_ARGUMENT;
    ck_status status;
    adam job = {.kernels = ck_active(&status)};
    if (!job.kernels) return status;
    const double step = (double)s->step, correction1 = 1 - pow(s->beta1, step), correction2 = 1 - pow(s->beta2, step);
    job.all = (ck_adam_job){.w = w,
                            .m = m,
                            .v = v,
                            .grad = grad,
                            .keep = s->decoupled ? (float)(1 - s->lr * s->weight_decay) : 1,
                            .decay = s->decoupled ? 0 : (float)s->weight_decay,
                            .take1 = (float)(1 - s->beta1),
                            .beta2 = (float)s->beta2,
                            .take2 = (float)(1 - s->beta2),
                            .step = (float)(s->lr / correction1),
                            .root = (float)sqrt(correction2),
                            .eps = (float)s->eps};
    ck_run_flat(threads, count, 4, adam_range, &job);
    return CK_OK;
}

/* Parts of fixed number, added in their order: the same bits on any number of threads. */
enum { PARTS = 256, LINE = 16 };

typedef struct squares {
    const ck_kernels *kernels;
    const float *x;
    int64_t count, lines, parts;
    double sums[PARTS];
} squares;

static void square_part(void *context, int64_t part, int32_t worker) {
    squares *s = context;
    int64_t begin, end;
    (void)worker;
    ck_split(s->lines, part, s->parts, &begin, &end);
    const int64_t first = begin * LINE, last = end * LINE < s->count ? end * LINE : s->count;
    const ck_square_sum job = {s->x + first, (size_t)(last - first), s->sums + part};
    s->kernels->sum_of_squares(&job);
}

ck_status ck_sum_of_squares(const float *x, size_t count, double *sum, int32_t threads) {
    if (!x || !sum || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    squares s = {.kernels = ck_active(&status), .x = x, .count = (int64_t)count};
    if (!s.kernels) return status;
    s.lines = s.count / LINE + (s.count % LINE != 0);
    s.parts = s.lines < PARTS ? s.lines : PARTS;
    ck_run_parts(ck_threads_for(threads, s.lines, LINE), s.parts, square_part, &s);
    *sum = 0;
    for (int64_t part = 0; part < s.parts; part++) *sum += s.sums[part];
    return CK_OK;
}

typedef struct combination {
    const ck_kernels *kernels;
    ck_combination all;
} combination;

static void combine_range(void *context, int64_t begin, int64_t end) {
    const combination *c = context;
    ck_combination job = c->all;
    if (job.x) job.x += begin;
    job.y += begin;
    job.count = (size_t)(end - begin);
    c->kernels->combine(&job);
}

static ck_status combine(const float *x, double by_x, float *y, double by_y, size_t count, int32_t threads) {
    if (!isfinite(by_x) || !isfinite(by_y) || !y || ck_bad_count(count, threads)) return CK_INVALID_ARGUMENT;
    ck_status status;
    combination job = {ck_active(&status), {.x = x, .y = y, .by_x = (float)by_x, .by_y = (float)by_y}};
    if (job.kernels) ck_run_flat(threads, count, 1, combine_range, &job);
    return status;
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
