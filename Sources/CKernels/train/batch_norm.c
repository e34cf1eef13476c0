/* Batch normalization (Ioffe & Szegedy, 2015) on NCHWc, forward and backward, with the ReLU and the residual addition
 * that follow it in a ResNet.
 *
 * Each way is two passes: sums over a channel, then an elementwise formula whose coefficients come from the sums. With
 * m = N H W, xhat = (x - mean) invstd and g = dy behind the ReLU's mask:
 *     y  = x scale + shift,                    scale = gamma invstd, shift = beta - mean scale
 *     dx = gamma invstd (g - sum(g) / m - xhat sum(g xhat) / m)
 *        = g scale + x by_x + constant
 *
 * A thread takes whole channel blocks, sums and formula one after the other: the second pass then finds in the cache
 * what the first one brought there, the last image first. Where there are too few blocks for that, the team goes over
 * the (image, block) planes twice. Sums are kept for each plane and added in the order of the
 * images, so both ways, any number of threads, and any division of the batch into ranges give the same bits. */
#include <math.h>

#include "ops/ops.h"

enum { VECTORS = 5 }; /* of coefficients a channel */

typedef struct layout {
    int32_t block, blocks, batch, channels;
    int64_t plane;                /* pixels */
    double *sums;                 /* (blocks, N, 2, V) */
    float *coefficients[VECTORS]; /* (blocks * V) each */
} layout;

/* A batch that may be a part of a larger one. */
static ck_status check_part(const ck_bn_desc *d) {
    if (!d || (d->training & ~1) || (d->relu & ~1) || !(d->eps >= 0) || !(d->momentum >= 0 && d->momentum <= 1))
        return CK_INVALID_ARGUMENT;
    const ck_status status = ck_check_blocked(d->batch, d->channels, d->height, d->width, d->threads);
    return status == CK_OK ? ck_init() : status;
}

/* A batch whose statistics are taken. NULL: it is a whole one. */
static ck_status check(const ck_bn_desc *d, const double *totals) {
    const ck_status status = check_part(d);
    if (status != CK_OK || !d->training) return status;
    const double values = totals ? totals[0] : (double)d->batch * d->height * d->width;
    return values > 1 ? CK_OK : CK_INVALID_ARGUMENT;
}

static layout lay_out(const ck_bn_desc *d, void *workspace) {
    layout l = {.block = ck_block(), .batch = d->batch, .channels = d->channels};
    l.blocks = ck_blocks(d->channels, l.block);
    l.plane = (int64_t)d->height * d->width;
    l.sums = workspace;
    const int64_t channels = (int64_t)l.blocks * l.block;
    float *coefficients = (float *)(l.sums + channels * 2 * d->batch);
    for (int i = 0; i < VECTORS; i++) l.coefficients[i] = coefficients + i * channels;
    return l;
}

size_t ck_bn_workspace_size(const ck_bn_desc *desc) {
    if (check(desc, NULL) != CK_OK) return 0;
    const size_t channels = (size_t)ck_blocks(desc->channels, ck_block()) * ck_block();
    return channels * (2 * sizeof(double) * (size_t)desc->batch + VECTORS * sizeof(float));
}

static int64_t plane_at(const layout *l, int32_t image, int32_t block) {
    return ((int64_t)image * l->blocks + block) * l->plane * l->block;
}
static double *sums_at(const layout *l, int32_t image, int32_t block) {
    return l->sums + ((int64_t)block * l->batch + image) * 2 * l->block;
}

/* The sums of one channel over all images of this batch. */
static void total(const layout *l, int32_t channel, double *first, double *second) {
    const double *sums = sums_at(l, 0, channel / l->block) + channel % l->block;
    *first = *second = 0;
    for (int32_t n = 0; n < l->batch; n++, sums += 2 * l->block) {
        *first += sums[0];
        *second += sums[l->block];
    }
}

/* Values a channel, and the sums of one channel, of this batch or of all that it is a part of. */
static double whole_total(const layout *l, const double *totals, int32_t channel, double *first, double *second) {
    if (!totals) {
        total(l, channel, first, second);
        return (double)l->batch * (double)l->plane;
    }
    *first = totals[1 + channel];
    *second = totals[1 + l->channels + channel];
    return totals[0];
}

ck_status ck_bn_totals(const ck_bn_desc *desc, const void *workspace, double *totals) {
    const ck_status status = check_part(desc);
    if (status != CK_OK) return status;
    if (!workspace || (uintptr_t)workspace % 64 || !totals) return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, (void *)workspace);
    totals[0] = (double)l.batch * (double)l.plane;
    for (int32_t c = 0; c < l.channels; c++) total(&l, c, &totals[1 + c], &totals[1 + l.channels + c]);
    return CK_OK;
}

/* Both directions have three parts, each NULL where it is not wanted. `sum` and `apply` do one block of one image,
 * `finish` turns a block's sums into coefficients. Maps start at image `first` of the batch; `image` counts from it. */
typedef struct passes {
    const layout *l;
    const ck_kernels *kernels;
    const void *job;
    int32_t first, count;
    void (*sum)(const struct passes *, int32_t image, int32_t block);
    void (*finish)(const struct passes *, int32_t block);
    void (*apply)(const struct passes *, int32_t image, int32_t block);
} passes;

static void run_blocks(void *context, int64_t begin, int64_t end) {
    const passes *p = context;
    for (int64_t block = begin; block < end; block++) {
        for (int32_t n = 0; p->sum && n < p->count; n++) p->sum(p, n, (int32_t)block);
        if (p->finish) p->finish(p, (int32_t)block);
        for (int32_t n = p->count - 1; p->apply && n >= 0; n--) p->apply(p, n, (int32_t)block);
    }
}

static void sum_planes(void *context, int64_t begin, int64_t end) {
    const passes *p = context;
    for (int64_t i = begin; i < end; i++) p->sum(p, (int32_t)(i % p->count), (int32_t)(i / p->count));
}

static void finish_blocks(void *context, int64_t begin, int64_t end) {
    const passes *p = context;
    for (int64_t block = begin; block < end; block++) p->finish(p, (int32_t)block);
}

static void apply_planes(void *context, int64_t begin, int64_t end) {
    const passes *p = context;
    for (int64_t i = end - 1; i >= begin; i--) p->apply(p, (int32_t)(i % p->count), (int32_t)(i / p->count));
}

static void run(passes p, int32_t threads) {
    const layout *l = p.l;
    const int64_t planes = (int64_t)l->blocks * p.count, floats = l->plane * l->block;
    const int32_t team = ck_threads_for(threads, planes, floats);
    if (l->blocks % team == 0 || l->blocks >= 4 * team) {
        ck_run_ranges(threads, l->blocks, floats * p.count, run_blocks, &p);
        return;
    }
    if (p.sum) ck_run_ranges(threads, planes, floats, sum_planes, &p);
    if (p.finish) ck_run_ranges(threads, l->blocks, l->block, finish_blocks, &p);
    if (p.apply) ck_run_ranges(threads, planes, floats, apply_planes, &p);
}

/* The coefficients 0 and 1 of a channel, y = x scale + shift, from floats alone, so that backward finds the mask of
 * forward to the last bit. Surplus channels get zeros. */
static void affine(const layout *l, const float *gamma, const float *beta, const float *mean, const float *invstd,
                   int32_t channel) {
    float *scale = l->coefficients[0], *shift = l->coefficients[1];
    scale[channel] = shift[channel] = 0;
    if (channel >= l->channels) return;
    const double factor = (gamma ? gamma[channel] : 1.0) * invstd[channel];
    scale[channel] = (float)factor;
    shift[channel] = (float)((beta ? beta[channel] : 0.0) - mean[channel] * factor);
}

/* ---- forward */

typedef struct forward_job {
    const ck_bn_desc *d;
    const ck_bn_forward_args *a;
} forward_job;

static void forward_sum(const passes *p, int32_t image, int32_t block) {
    const forward_job *job = p->job;
    const ck_moments m = {job->a->x + plane_at(p->l, image, block), p->l->plane,
                          sums_at(p->l, p->first + image, block)};
    p->kernels->moments(&m);
}

static void forward_finish(const passes *p, int32_t block) {
    const layout *l = p->l;
    const ck_bn_desc *d = ((const forward_job *)p->job)->d;
    const ck_bn_forward_args *a = ((const forward_job *)p->job)->a;
    float *scale = l->coefficients[0], *shift = l->coefficients[1];
    float *mean = l->coefficients[2], *invstd = l->coefficients[3];
    for (int32_t c = block * l->block; c < (block + 1) * l->block; c++) {
        if (c >= l->channels) {
            scale[c] = shift[c] = 0;
            continue;
        }
        double average, variance;
        if (d->training) {
            double sum, squares;
            const double m = whole_total(l, a->totals, c, &sum, &squares);
            average = sum / m;
            variance = squares / m - average * average;
            if (variance < 0) variance = 0;
            if (a->running_mean)
                a->running_mean[c] = (float)(a->running_mean[c] + d->momentum * (average - a->running_mean[c]));
            if (a->running_var)
                a->running_var[c] =
                    (float)(a->running_var[c] + d->momentum * (variance * m / (m - 1) - a->running_var[c]));
        } else {
            average = a->running_mean[c];
            variance = a->running_var[c];
        }
        mean[c] = (float)average;
        invstd[c] = (float)(1 / sqrt(variance + d->eps));
        if (a->mean) a->mean[c] = mean[c];
        if (a->invstd) a->invstd[c] = invstd[c];
        affine(l, a->gamma, a->beta, mean, invstd, c);
    }
}

static void forward_apply(const passes *p, int32_t image, int32_t block) {
    const layout *l = p->l;
    const ck_bn_forward_args *a = ((const forward_job *)p->job)->a;
    const int64_t at = plane_at(l, image, block), channel = (int64_t)block * l->block;
    const ck_normalize n = {.x = a->x + at,
                            .scale = l->coefficients[0] + channel,
                            .shift = l->coefficients[1] + channel,
                            .residual = a->residual ? a->residual + at : NULL,
                            .y = a->y + at,
                            .pixels = l->plane,
                            .relu = ((const forward_job *)p->job)->d->relu};
    p->kernels->normalize(&n);
}

/* What all parts need. */
static int bad_forward(const ck_bn_forward_args *a) { return !a || !a->workspace || (uintptr_t)a->workspace % 64; }
static int bad_range(const ck_bn_desc *d, int32_t first, int32_t count) {
    return first < 0 || count < 1 || first > d->batch - count;
}

ck_status ck_bn_forward(const ck_bn_desc *desc, const ck_bn_forward_args *args) {
    ck_status status = check(desc, NULL);
    if (status != CK_OK) return status;
    if (bad_forward(args) || !args->x || !args->y || args->totals ||
        (!desc->training && (!args->running_mean || !args->running_var)))
        return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, args->workspace);
    const forward_job job = {desc, args};
    const passes p = {.l = &l,
                      .kernels = ck_active(&status),
                      .job = &job,
                      .count = desc->batch,
                      .sum = desc->training ? forward_sum : NULL,
                      .finish = forward_finish,
                      .apply = forward_apply};
    run(p, desc->threads);
    return CK_OK;
}

ck_status ck_bn_forward_sums(const ck_bn_desc *desc, const ck_bn_forward_args *args, int32_t first, int32_t count) {
    ck_status status = check_part(desc);
    if (status != CK_OK) return status;
    if (bad_forward(args) || !args->x || bad_range(desc, first, count)) return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, args->workspace);
    const forward_job job = {desc, args};
    const passes p = {
        .l = &l, .kernels = ck_active(&status), .job = &job, .first = first, .count = count, .sum = forward_sum};
    if (desc->training) run(p, desc->threads);
    return CK_OK;
}

ck_status ck_bn_forward_finish(const ck_bn_desc *desc, const ck_bn_forward_args *args) {
    if (bad_forward(args)) return CK_INVALID_ARGUMENT;
    const ck_status status = check(desc, args->totals);
    if (status != CK_OK) return status;
    if (!desc->training && (!args->running_mean || !args->running_var)) return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, args->workspace);
    const forward_job job = {desc, args};
    const passes p = {.l = &l, .job = &job};
    for (int32_t block = 0; block < l.blocks; block++) forward_finish(&p, block);
    return CK_OK;
}

ck_status ck_bn_forward_apply(const ck_bn_desc *desc, const ck_bn_forward_args *args, int32_t count) {
    ck_status status = check_part(desc);
    if (status != CK_OK) return status;
    if (bad_forward(args) || !args->x || !args->y || !args->mean || !args->invstd || bad_range(desc, 0, count))
        return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, args->workspace);
    for (int32_t c = 0; c < l.blocks * l.block; c++) affine(&l, args->gamma, args->beta, args->mean, args->invstd, c);
    const forward_job job = {desc, args};
    const passes p = {.l = &l, .kernels = ck_active(&status), .job = &job, .count = count, .apply = forward_apply};
    run(p, desc->threads);
    return CK_OK;
}

/* ---- backward */

typedef struct backward_job {
    const ck_bn_desc *d;
    const ck_bn_backward_args *a;
    int32_t mask;
    int32_t sums_need_x, dx_needs_x;
} backward_job;

static ck_normalize_backward plane_job(const passes *p, int32_t image, int32_t block) {
    const backward_job *job = p->job;
    const ck_bn_backward_args *a = job->a;
    const layout *l = p->l;
    const int64_t at = plane_at(l, image, block), channel = (int64_t)block * l->block;
    return (ck_normalize_backward){.dy = a->dy + at,
                                   .x = a->x ? a->x + at : NULL,
                                   .y = a->y ? a->y + at : NULL,
                                   .scale = l->coefficients[0] + channel,
                                   .shift = l->coefficients[1] + channel,
                                   .mean = l->coefficients[2] + channel,
                                   .by_x = l->coefficients[3] + channel,
                                   .constant = l->coefficients[4] + channel,
                                   .dresidual = a->dresidual ? a->dresidual + at : NULL,
                                   .dx = a->dx ? a->dx + at : NULL,
                                   .sums = sums_at(l, p->first + image, block),
                                   .pixels = l->plane,
                                   .mask = job->mask};
}

static void backward_sum(const passes *p, int32_t image, int32_t block) {
    ck_normalize_backward n = plane_job(p, image, block);
    if (!((const backward_job *)p->job)->sums_need_x) n.x = NULL;
    p->kernels->normalize_backward_sums(&n);
}

/* Before the sums: what the mask and the products need. */
static void backward_prepare(const passes *p) {
    const layout *l = p->l;
    const ck_bn_backward_args *a = ((const backward_job *)p->job)->a;
    for (int32_t c = 0; c < l->blocks * l->block; c++) {
        affine(l, a->gamma, a->beta, a->mean, a->invstd, c);
        l->coefficients[2][c] = c < l->channels ? a->mean[c] : 0;
        l->coefficients[3][c] = l->coefficients[4][c] = 0;
    }
}

static void backward_finish(const passes *p, int32_t block) {
    const layout *l = p->l;
    const backward_job *job = p->job;
    const ck_bn_backward_args *a = job->a;
    for (int32_t c = block * l->block; c < (block + 1) * l->block && c < l->channels; c++) {
        double sum, dot;
        total(l, c, &sum, &dot);
        const double invstd = a->invstd[c], scale = (a->gamma ? a->gamma[c] : 1.0) * invstd;
        if (a->dbeta) a->dbeta[c] = (float)sum;
        if (a->dgamma) a->dgamma[c] = (float)(dot * invstd);
        if (!job->d->training) continue;
        const double m = whole_total(l, a->totals, c, &sum, &dot);
        const double by_x = -scale * invstd * invstd * dot / m;
        l->coefficients[3][c] = (float)by_x;
        l->coefficients[4][c] = (float)(-scale * sum / m - by_x * a->mean[c]);
    }
}

/* dresidual, if there is one, holds dy behind the mask already. */
static void backward_apply(const passes *p, int32_t image, int32_t block) {
    const backward_job *job = p->job;
    ck_normalize_backward n = plane_job(p, image, block);
    if (n.dresidual) {
        n.dy = n.dresidual;
        n.mask = CK_MASK_NONE;
    }
    if (!job->d->training && n.mask != CK_MASK_X) n.x = NULL;
    p->kernels->normalize_backward_dx(&n);
}

/* Checks what all parts need and settles what they do. `maps`: the images' values are there. */
static ck_status start_backward(const ck_bn_desc *desc, const ck_bn_backward_args *args, int maps, backward_job *job) {
    const ck_status status = check_part(desc);
    if (status != CK_OK) return status;
    if (!args || !args->mean || !args->invstd || !args->workspace || (uintptr_t)args->workspace % 64)
        return CK_INVALID_ARGUMENT;
    *job = (backward_job){.d = desc, .a = args, .mask = CK_MASK_NONE};
    if (desc->relu) job->mask = args->y ? CK_MASK_Y : CK_MASK_X;
    job->sums_need_x = desc->training || args->dgamma || job->mask == CK_MASK_X;
    if (maps && (!args->dy || (!args->x && job->sums_need_x) || (args->dx && args->dx == args->dresidual)))
        return CK_INVALID_ARGUMENT;
    return CK_OK;
}

static int has_sums(const backward_job *job) {
    return job->d->training || job->a->dgamma || job->a->dbeta || job->a->dresidual;
}

ck_status ck_bn_backward(const ck_bn_desc *desc, const ck_bn_backward_args *args) {
    backward_job job;
    ck_status status = check(desc, NULL);
    if (status == CK_OK) status = start_backward(desc, args, 1, &job);
    if (status != CK_OK) return status;
    if (args->totals) return CK_INVALID_ARGUMENT;
    if (!args->dx && !args->dresidual && !args->dgamma && !args->dbeta) return CK_OK;
    const layout l = lay_out(desc, args->workspace);
    const passes p = {.l = &l,
                      .kernels = ck_active(&status),
                      .job = &job,
                      .count = desc->batch,
                      .sum = has_sums(&job) ? backward_sum : NULL,
                      .finish = has_sums(&job) ? backward_finish : NULL,
                      .apply = args->dx ? backward_apply : NULL};
    backward_prepare(&p);
    run(p, desc->threads);
    return CK_OK;
}

ck_status ck_bn_backward_sums(const ck_bn_desc *desc, const ck_bn_backward_args *args, int32_t first, int32_t count) {
    backward_job job;
    ck_status status = start_backward(desc, args, 1, &job);
    if (status != CK_OK) return status;
    if (bad_range(desc, first, count)) return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, args->workspace);
    const passes p = {
        .l = &l, .kernels = ck_active(&status), .job = &job, .first = first, .count = count, .sum = backward_sum};
    backward_prepare(&p);
    if (has_sums(&job)) run(p, desc->threads);
    return CK_OK;
}

ck_status ck_bn_backward_finish(const ck_bn_desc *desc, const ck_bn_backward_args *args) {
    backward_job job;
    ck_status status = start_backward(desc, args, 0, &job);
    if (status == CK_OK) status = check(desc, args->totals);
    if (status != CK_OK) return status;
    const layout l = lay_out(desc, args->workspace);
    const passes p = {.l = &l, .job = &job};
    backward_prepare(&p);
    for (int32_t block = 0; has_sums(&job) && block < l.blocks; block++) backward_finish(&p, block);
    return CK_OK;
}

ck_status ck_bn_backward_apply(const ck_bn_desc *desc, const ck_bn_backward_args *args, int32_t count) {
    backward_job job;
    ck_status status = start_backward(desc, args, 1, &job);
    if (status != CK_OK) return status;
    if (!args->dx || bad_range(desc, 0, count)) return CK_INVALID_ARGUMENT;
    const layout l = lay_out(desc, args->workspace);
    const passes p = {.l = &l, .kernels = ck_active(&status), .job = &job, .count = count, .apply = backward_apply};
    run(p, desc->threads);
    return CK_OK;
}
