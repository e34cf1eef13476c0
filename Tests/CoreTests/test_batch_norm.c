/* Batch norm forward and backward against the reference: training and frozen, with and without residual, ReLU, gamma
 * and beta; on several teams, in place, and in parts over ranges of images, which must give the bits of the whole.
 *
 * Bounds count roundings, each at most u = 2^-24 of what is rounded: y = x scale + shift rounds invstd, scale, mean,
 * shift, product and sum once each; dx likewise. Sums are in double, so that only the rounding of the mean to float
 * remains, which moves a sum of dy (x - mean) by at most u |mean| |sum of dy|, and that of each x - mean. The variance
 * in double loses mean^2 / variance times a double's rounding: hence 1.01 u, and 1e-13 for what may be 0. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

typedef struct {
    int n, c, h, w;
    double offset, spread; /* of x; spread 0 means 1 */
} size;

typedef struct {
    size s;
    size_t plane, count;
    float *x, *dy, *residual, *gamma, *beta, *running_mean, *running_var;
} problem;

typedef struct {
    int training, relu, residual, plain; /* plain: neither gamma nor beta */
    int32_t threads;
} options;

/* What one run of the kernels gives, maps in plain layout. */
typedef struct {
    float *y, *mean, *invstd, *running_mean, *running_var, *dx, *dresidual, *dgamma, *dbeta;
} outcome;

static problem make(size s, uint64_t seed) {
    problem p = {.s = s, .plane = (size_t)s.h * s.w};
    const double spread = s.spread != 0 ? s.spread : 1;
    p.count = s.n * s.c * p.plane;
    p.x = uniform(p.count, seed, s.offset - spread, s.offset + spread);
    p.dy = uniform(p.count, seed + 1, -1, 1);
    p.residual = uniform(p.count, seed + 2, -1, 1);
    p.gamma = uniform(s.c, seed + 3, -2, 2);
    p.beta = uniform(s.c, seed + 4, -1, 1);
    p.running_mean = uniform(s.c, seed + 5, s.offset - 0.5, s.offset + 0.5);
    p.running_var = uniform(s.c, seed + 6, 0.01, 2);
    return p;
}

static ck_bn_desc describe(const problem *p, options o) {
    return (ck_bn_desc){p->s.n, p->s.c, p->s.h, p->s.w, o.training, o.relu, 1e-5, 0.1, o.threads};
}

static const char *text_of(const problem *p, options o) {
    static char text[160];
    snprintf(text, sizeof text, "batch norm %dx%dx%dx%d%s%s%s%s, %d threads", p->s.n, p->s.c, p->s.h, p->s.w,
             o.training ? ", training" : ", frozen", o.relu ? ", relu" : "", o.residual ? ", residual" : "",
             o.plain ? ", plain" : "", o.threads);
    return text;
}

static float *map_of(const problem *p, const float *x) { return blocked(x, p->s.n, p->s.c, p->plane); }
static float *new_map(const problem *p) { return poisoned(p->s.n, p->s.c, p->plane); }
static float *plain_map(const problem *p, const float *x) { return unblocked(x, p->s.n, p->s.c, p->plane); }

/* Aligned to 64 bytes whatever its size, so at the start of its pages. */
static void *workspace_of(const ck_bn_desc *d) {
    const int before = place_at_start(1);
    void *made = allocate(ck_bn_workspace_size(d));
    place_at_start(before);
    return made;
}

/* The whole by one call each way, or by parts of so many images (ends with 0). */
static outcome run(const problem *p, options o, const int *parts) {
    const int c = p->s.c, whole[] = {p->s.n, 0};
    const ck_bn_desc d = describe(p, o);
    const char *what = text_of(p, o);
    outcome got = {.mean = floats(c), .invstd = floats(c), .dgamma = floats(c), .dbeta = floats(c)};
    got.running_mean = copied(p->running_mean, c), got.running_var = copied(p->running_var, c);
    float *x = map_of(p, p->x), *residual = map_of(p, p->residual), *dy = map_of(p, p->dy);
    float *y = new_map(p), *again = new_map(p), *dx = new_map(p), *dresidual = new_map(p);
    const size_t image = cr_blocked_count(1, c, p->plane, ck_block());
    ck_bn_forward_args forward = {.gamma = o.plain ? NULL : p->gamma,
                                  .beta = o.plain ? NULL : p->beta,
                                  .running_mean = got.running_mean,
                                  .running_var = got.running_var,
                                  .mean = got.mean,
                                  .invstd = got.invstd,
                                  .workspace = workspace_of(&d)};
    ck_bn_backward_args backward = {.gamma = forward.gamma,
                                    .beta = forward.beta,
                                    .mean = got.mean,
                                    .invstd = got.invstd,
                                    .dgamma = got.dgamma,
                                    .dbeta = got.dbeta,
                                    .workspace = forward.workspace};
    /* Step 0: forward sums, 1: apply, 2: apply once more with a workspace that knows nothing, 3: backward sums, 4:
     * apply. */
    for (int step = 0; step < 5; step++) {
        const int *ranges = parts ? parts : whole;
        if (step == 1 && parts) check(ck_bn_forward_finish(&d, &forward) == CK_OK, "%s: finish", what);
        if (step == 2) forward.workspace = workspace_of(&d);
        if (step == 4 && parts) check(ck_bn_backward_finish(&d, &backward) == CK_OK, "%s: finish backward", what);
        for (int first = 0; *ranges; first += *ranges++) {
            const size_t at = first * image;
            forward.x = x + at;
            forward.residual = o.residual ? residual + at : NULL;
            forward.y = (step == 2 ? again : y) + at;
            backward.dy = dy + at, backward.x = x + at, backward.dx = dx + at;
            backward.y = o.relu && o.residual ? y + at : NULL;
            backward.dresidual = o.residual ? dresidual + at : NULL;
            ck_status status = CK_OK;
            if (step == 0)
                status = parts ? ck_bn_forward_sums(&d, &forward, first, *ranges) : ck_bn_forward(&d, &forward);
            else if (step == 1 && parts)
                status = ck_bn_forward_apply(&d, &forward, *ranges);
            else if (step == 2)
                status = ck_bn_forward_apply(&d, &forward, *ranges);
            else if (step == 3)
                status = parts ? ck_bn_backward_sums(&d, &backward, first, *ranges) : ck_bn_backward(&d, &backward);
            else if (step == 4 && parts)
                status = ck_bn_backward_apply(&d, &backward, *ranges);
            check(status == CK_OK, "%s: step %d", what, step);
        }
    }
    check_surplus(y, p->s.n, c, p->plane, what);
    check_surplus(dx, p->s.n, c, p->plane, what);
    got.y = plain_map(p, y), got.dx = plain_map(p, dx);
    got.dresidual = o.residual ? plain_map(p, dresidual) : NULL;
    check(!memcmp(plain_map(p, again), got.y, p->count * sizeof *y), "%s: applied again", what);
    return got;
}

static void check_same(const problem *p, const outcome *a, const outcome *b, const char *what) {
    const size_t maps = p->count * sizeof(float), vectors = p->s.c * sizeof(float);
    check(!memcmp(a->y, b->y, maps), "%s: y", what);
    check(!memcmp(a->dx, b->dx, maps), "%s: dx", what);
    check(!a->dresidual || !memcmp(a->dresidual, b->dresidual, maps), "%s: dresidual", what);
    check(!memcmp(a->mean, b->mean, vectors) && !memcmp(a->invstd, b->invstd, vectors), "%s: mean, invstd", what);
    check(!memcmp(a->running_mean, b->running_mean, vectors) && !memcmp(a->running_var, b->running_var, vectors),
          "%s: running mean and variance", what);
    check(!memcmp(a->dgamma, b->dgamma, vectors) && !memcmp(a->dbeta, b->dbeta, vectors), "%s: dgamma, dbeta", what);
}

static double *sizes_of(const double *x, size_t count) {
    double *made = doubles(count);
    for (size_t i = 0; i < count; i++) made[i] = fabs(x[i]);
    return made;
}

/* Gives the mean and variance that the reference normalized with. */
static void check_forward(const problem *p, options o, const outcome *got, double *mean, double *var) {
    const int n = p->s.n, c = p->s.c;
    const float *gamma = o.plain ? NULL : p->gamma, *beta = o.plain ? NULL : p->beta;
    const char *what = text_of(p, o);
    double *y = doubles(p->count), *bound = doubles(p->count), *new_mean = doubles(c), *new_var = doubles(c);
    double *invstd = doubles(c);
    for (int k = 0; k < c; k++) {
        mean[k] = new_mean[k] = p->running_mean[k];
        var[k] = new_var[k] = p->running_var[k];
    }
    if (o.training)
        cr_bn_training(p->x, n, c, p->plane, gamma, beta, 1e-5, 0.1, y, mean, var, new_mean, new_var);
    else
        cr_bn_inference(p->x, n, c, p->plane, gamma, beta, p->running_mean, p->running_var, 1e-5, y);
    for (int k = 0; k < c; k++) invstd[k] = 1 / sqrt(var[k] + 1e-5);
    for (size_t i = 0; i < p->count; i++) {
        const size_t k = i / p->plane % c;
        const double scale = (gamma ? fabs((double)gamma[k]) : 1) * invstd[k];
        bound[i] = 3 * (fabs((double)p->x[i]) + fabs(mean[k])) * scale + (beta ? fabs((double)beta[k]) : 0);
        bound[i] += fabs(y[i]);
        if (o.residual) y[i] += p->residual[i];
        bound[i] += fabs(y[i]);
        if (o.relu && y[i] < 0) y[i] = 0;
    }
    check_close(got->y, y, p->count, bound, 1.01 * ROUNDOFF, 0, what);
    check_close(got->mean, mean, c, sizes_of(mean, c), 1.01 * ROUNDOFF, 1e-13, what);
    check_close(got->invstd, invstd, c, invstd, 1.01 * ROUNDOFF, 0, what);
    check_close(got->running_mean, new_mean, c, sizes_of(new_mean, c), 1.01 * ROUNDOFF, 1e-13, what);
    check_close(got->running_var, new_var, c, new_var, 1.01 * ROUNDOFF, 0, what);
}

static void check_backward(const problem *p, options o, const outcome *got, const double *mean, const double *var) {
    const int n = p->s.n, c = p->s.c;
    const float *gamma = o.plain ? NULL : p->gamma;
    const char *what = text_of(p, o);
    /* The mask is that of the result as it was stored; what it lets through is exact. */
    float *g = floats(p->count);
    for (size_t i = 0; i < p->count; i++) g[i] = !o.relu || got->y[i] > 0 ? p->dy[i] : 0;
    check(!o.residual || !memcmp(got->dresidual, g, p->count * sizeof *g), "%s: dresidual", what);
    double *dx = doubles(p->count), *bound = doubles(p->count), *dgamma = doubles(c), *dbeta = doubles(c);
    double *dot = doubles(c), *dgamma_bound = doubles(c); /* dot: the sizes of the terms of the sum of g (x - mean) */
    if (o.training)
        cr_bn_training_backward(p->x, g, n, c, p->plane, gamma, mean, var, 1e-5, dx, dgamma, dbeta);
    else
        cr_bn_inference_backward(p->x, g, n, c, p->plane, gamma, p->running_mean, p->running_var, 1e-5, dx, dgamma,
                                 dbeta);
    for (size_t i = 0; i < p->count; i++) {
        const size_t k = i / p->plane % c;
        dot[k] += fabs((double)g[i]) * fabs(p->x[i] - mean[k]);
    }
    for (int k = 0; k < c; k++) {
        dot[k] += fabs(mean[k] * dbeta[k]);
        dgamma_bound[k] = 3 * dot[k] / sqrt(var[k] + 1e-5);
    }
    check_close(got->dbeta, dbeta, c, sizes_of(dbeta, c), 1.01 * ROUNDOFF, 1e-12, what);
    check_close(got->dgamma, dgamma, c, dgamma_bound, ROUNDOFF, 1e-12, what);
    const double m = (double)n * (double)p->plane, t = o.training;
    for (size_t i = 0; i < p->count; i++) {
        const size_t k = i / p->plane % c;
        const double inv = 1 / sqrt(var[k] + 1e-5), scale = (gamma ? fabs((double)gamma[k]) : 1) * inv;
        const double by_x = scale * inv * fabs(dgamma[k]) / m, error = scale * inv * inv / m * 2 * dot[k];
        bound[i] = 3 * fabs((double)g[i]) * scale + fabs(dx[i]) +
                   t * (4 * (fabs((double)p->x[i]) + fabs(mean[k])) * by_x + 4 * scale * fabs(dbeta[k]) / m +
                        fabs(p->x[i] - mean[k]) * error);
    }
    check_close(got->dx, dx, p->count, bound, 1.01 * ROUNDOFF, 1e-13, what);
}

/* The team changes no bit, whether it shares blocks or planes. */
static void teams(size s) {
    for (int residual = 0; residual < 2; residual++) {
        const problem p = make(s, 5);
        options o = {.training = 1, .relu = 1, .residual = residual, .threads = 1};
        const outcome first = run(&p, o, NULL);
        static const int32_t counts[] = {1, 2, 3, 4, 7};
        for (size_t i = 0; i < COUNT_OF(counts); i++) {
            o.threads = counts[i];
            const outcome got = run(&p, o, NULL);
            check_same(&p, &got, &first, text_of(&p, o));
        }
        release_all();
    }
}

static void parts(void) {
    static const struct {
        int images[6];
        int32_t threads;
    } cuts[] = {{{5, 0}, 1}, {{1, 1, 1, 1, 1, 0}, 3}, {{2, 3, 0}, 2}, {{4, 1, 0}, 1}};
    for (int flags = 0; flags < 8; flags++) {
        const problem p = make((size){5, 37, 6, 7, 0, 0}, 1);
        options o = {flags & 1, flags >> 1 & 1, flags >> 2, 0, 2};
        const outcome whole = run(&p, o, NULL);
        for (size_t i = 0; i < COUNT_OF(cuts); i++) {
            o.threads = cuts[i].threads;
            const outcome got = run(&p, o, cuts[i].images);
            check_same(&p, &got, &whole, text_of(&p, o));
        }
        release_all();
    }
}

/* y over x or over the residual. */
static void forward_in_place(const problem *p, options o, const outcome *expected) {
    const ck_bn_desc d = describe(p, o);
    for (int over_x = 0; over_x < 2; over_x++) {
        float *x = map_of(p, p->x), *residual = map_of(p, p->residual);
        const ck_bn_forward_args args = {.x = x,
                                         .gamma = p->gamma,
                                         .beta = p->beta,
                                         .residual = residual,
                                         .running_mean = copied(p->running_mean, p->s.c),
                                         .running_var = copied(p->running_var, p->s.c),
                                         .y = over_x ? x : residual,
                                         .workspace = workspace_of(&d)};
        check(ck_bn_forward(&d, &args) == CK_OK, "in place");
        check(!memcmp(plain_map(p, args.y), expected->y, p->count * sizeof(float)), "%s: y over %s", text_of(p, o),
              over_x ? "x" : "the residual");
    }
}

/* dx over dy or x, dresidual over dy, the mask from y or from x: the same bits. */
static void in_place_and_either_mask(void) {
    for (int training = 0; training < 2; training++) {
        const problem p = make((size){3, 21, 5, 6, 0, 0}, 9);
        const size_t bytes = p.count * sizeof(float);
        options o = {training, 1, 1, 0, 2};
        const outcome expected = run(&p, o, NULL);
        forward_in_place(&p, o, &expected);
        const ck_bn_desc d = describe(&p, o);
        ck_bn_backward_args args = {.gamma = p.gamma,
                                    .beta = p.beta,
                                    .mean = expected.mean,
                                    .invstd = expected.invstd,
                                    .y = map_of(&p, expected.y),
                                    .workspace = workspace_of(&d)};
        float *dy = map_of(&p, p.dy), *x = map_of(&p, p.x);
        args.dy = args.dx = dy, args.x = x;
        check(ck_bn_backward(&d, &args) == CK_OK && !memcmp(plain_map(&p, dy), expected.dx, bytes), "dx over dy");
        dy = map_of(&p, p.dy);
        args.dy = args.dresidual = dy, args.dx = x;
        check(ck_bn_backward(&d, &args) == CK_OK, "dx over x, dresidual over dy");
        check(!memcmp(plain_map(&p, x), expected.dx, bytes), "dx over x");
        check(!memcmp(plain_map(&p, dy), expected.dresidual, bytes), "dresidual over dy");

        o.residual = 0;
        const outcome from_x = run(&p, o, NULL);
        dy = map_of(&p, p.dy), args.y = map_of(&p, from_x.y), args.x = map_of(&p, p.x);
        args.dy = args.dx = dy, args.dresidual = NULL;
        check(ck_bn_backward(&d, &args) == CK_OK, "the mask from y");
        /* The same values; zeros may differ in their sign. */
        const float *got = plain_map(&p, dy);
        size_t others = 0;
        for (size_t i = 0; i < p.count; i++) others += got[i] != from_x.dx[i];
        check(others == 0, "the mask from y: %zu other values", others);
        release_all();
    }
}

/* A frozen layer whose parameters are frozen too needs no x. */
static void frozen_without_x(void) {
    const problem p = make((size){2, 19, 4, 5, 0, 0}, 11);
    const options o = {.relu = 1, .residual = 1, .threads = 1};
    const outcome expected = run(&p, o, NULL);
    ck_bn_desc d = describe(&p, o);
    float *dx = new_map(&p), *y = map_of(&p, expected.y);
    ck_bn_backward_args args = {.dy = map_of(&p, p.dy),
                                .y = y,
                                .gamma = p.gamma,
                                .mean = expected.mean,
                                .invstd = expected.invstd,
                                .dx = dx,
                                .workspace = workspace_of(&d)};
    check(ck_bn_backward(&d, &args) == CK_OK, "frozen without x");
    check(!memcmp(plain_map(&p, dx), expected.dx, p.count * sizeof *dx), "frozen without x");
    args.y = NULL;
    REFUSED(ck_bn_backward(&d, &args)); /* no mask */
    args.y = y, d.training = 1;
    REFUSED(ck_bn_backward(&d, &args)); /* training needs x */
    release_all();
}

/* Two batches that are parts of a larger one, each with its own maps and workspace, finished from their added totals:
 * what the reference says of the larger one. The parts' dgamma and dbeta add up to the whole's. */
static void totals(size s, int first) {
    const problem p = make(s, 90);
    const options o = {.training = 1, .relu = 1, .residual = 0, .threads = 2};
    const int c = s.c, counts[2] = {first, s.n - first};
    const size_t image = (size_t)c * p.plane;
    const char *what = text_of(&p, o);
    outcome got = {.y = floats(p.count), .dx = floats(p.count), .dgamma = floats(c), .dbeta = floats(c)};
    double *all = doubles(1 + 2 * c), *own = doubles(1 + 2 * c);
    ck_bn_desc d[2];
    ck_bn_forward_args forward[2];
    ck_bn_backward_args backward[2];
    for (int i = 0; i < 2; i++) {
        const size_t at = i * first * image;
        d[i] = describe(&p, o), d[i].batch = counts[i];
        float *running_mean = copied(p.running_mean, c), *running_var = copied(p.running_var, c);
        float *maps[4] = {blocked(p.x + at, counts[i], c, p.plane), blocked(p.dy + at, counts[i], c, p.plane),
                          poisoned(counts[i], c, p.plane), poisoned(counts[i], c, p.plane)};
        void *workspace = allocate(1 << 20);
        forward[i] = (ck_bn_forward_args){maps[0],   p.gamma,   p.beta,  NULL,      running_mean, running_var,
                                          floats(c), floats(c), maps[2], workspace, NULL};
        backward[i] = (ck_bn_backward_args){.dy = maps[1], .x = maps[0], .gamma = p.gamma, .beta = p.beta};
        backward[i].mean = forward[i].mean, backward[i].invstd = forward[i].invstd, backward[i].dx = maps[3];
        backward[i].dgamma = floats(c), backward[i].dbeta = floats(c), backward[i].workspace = workspace;
        check(ck_bn_forward_sums(&d[i], &forward[i], 0, counts[i]) == CK_OK, "%s: sums", what);
        check(ck_bn_totals(&d[i], workspace, own) == CK_OK, "%s: totals", what);
        for (int k = 0; k < 1 + 2 * c; k++) all[k] += own[k];
    }
    for (int i = 0; i < 2; i++) {
        forward[i].totals = all;
        check(ck_bn_forward_finish(&d[i], &forward[i]) == CK_OK, "%s: finish", what);
        check(ck_bn_forward_apply(&d[i], &forward[i], counts[i]) == CK_OK, "%s: apply", what);
        memcpy(got.y + i * first * image, unblocked(forward[i].y, counts[i], c, p.plane),
               counts[i] * image * sizeof(float));
    }
    got.mean = forward[1].mean, got.invstd = forward[1].invstd;
    got.running_mean = forward[1].running_mean, got.running_var = forward[1].running_var;
    check(!memcmp(forward[0].mean, got.mean, c * sizeof(float)), "%s: one mean in both parts", what);
    double *mean = doubles(c), *var = doubles(c), *sums = doubles(1 + 2 * c);
    check_forward(&p, o, &got, mean, var);
    for (int i = 0; i < 2; i++) {
        check(ck_bn_backward_sums(&d[i], &backward[i], 0, counts[i]) == CK_OK, "%s: sums", what);
        check(ck_bn_totals(&d[i], backward[i].workspace, own) == CK_OK, "%s: totals", what);
        for (int k = 0; k < 1 + 2 * c; k++) sums[k] += own[k];
    }
    for (int i = 0; i < 2; i++) {
        backward[i].totals = sums;
        check(ck_bn_backward_finish(&d[i], &backward[i]) == CK_OK, "%s: finish", what);
        check(ck_bn_backward_apply(&d[i], &backward[i], counts[i]) == CK_OK, "%s: apply", what);
        memcpy(got.dx + i * first * image, unblocked(backward[i].dx, counts[i], c, p.plane),
               counts[i] * image * sizeof(float));
    }
    /* Added in float, the parts' gradients have roundings that the whole's have not: the whole's, from the totals. */
    for (int k = 0; k < c; k++) {
        const double invstd = got.invstd[k], sum = sums[1 + k], dot = sums[1 + c + k] * invstd;
        const double size = fabs(backward[0].dgamma[k]) + fabs(backward[1].dgamma[k]);
        const double shift = fabs(backward[0].dbeta[k]) + fabs(backward[1].dbeta[k]);
        got.dgamma[k] = backward[0].dgamma[k] + backward[1].dgamma[k];
        got.dbeta[k] = backward[0].dbeta[k] + backward[1].dbeta[k];
        check(fabs(got.dgamma[k] - dot) <= 2 * ROUNDOFF * size, "%s: dgamma of the parts", what);
        check(fabs(got.dbeta[k] - sum) <= 2 * ROUNDOFF * shift, "%s: dbeta of the parts", what);
        got.dgamma[k] = (float)dot, got.dbeta[k] = (float)sum;
    }
    check_backward(&p, o, &got, mean, var);
    all[0] = 1;
    REFUSED(ck_bn_forward_finish(&d[0], &forward[0]));
    REFUSED(ck_bn_forward(&d[0], &forward[0])); /* totals are for finish */
    release_all();
}

void test_batch_norm(void) {
    /* Channels around the block, planes from one pixel up, few and many blocks for a team, and a mean far from 0. */
    static const size sizes[] = {{2, 1, 1, 1, 0, 0},      {1, 3, 1, 2, 0, 0},  {5, 16, 1, 1, 0, 0},
                                 {2, 17, 5, 7, 0, 0},     {3, 33, 4, 4, 0, 0}, {1, 64, 14, 9, 0, 0},
                                 {7, 5, 3, 3, 0, 0},      {3, 96, 5, 5, 0, 0}, {4, 15, 28, 3, 0, 0},
                                 {3, 16, 9, 9, 300, 0.5}, {2, 8, 9, 1, -7, 0}};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int flags = 0; flags < 16; flags++) {
            place_at_start(flags % 2);
            const problem p = make(sizes[i], 10 * i);
            const options o = {flags & 1, flags >> 1 & 1, flags >> 2 & 1, flags >> 3, 1 + (int)(i + flags) % 3};
            const outcome got = run(&p, o, NULL);
            double *mean = doubles(p.s.c), *var = doubles(p.s.c);
            check_forward(&p, o, &got, mean, var);
            check_backward(&p, o, &got, mean, var);
            release_all();
        }
    teams((size){5, 37, 9, 11, 0, 0});
    teams((size){3, 128, 14, 14, 0, 0});
    teams((size){9, 16, 20, 20, 0, 0});
    parts();
    in_place_and_either_mask();
    frozen_without_x();
    totals((size){5, 19, 4, 3, 0, 0}, 2);
    totals((size){3, 16, 7, 5, 40, 0.5}, 1);
    totals((size){2, 9, 1, 1, 0, 0}, 1); /* one value a channel in each part */
}
