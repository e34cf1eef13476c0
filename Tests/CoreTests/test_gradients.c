/* Data and weight gradients of the convolutions, every algorithm x threads, against the reference.
 *
 * The bound is that of the forward convolution (test_forward.c): u sqrt(terms + 4) times cr_error_scale, with the terms
 * of one sum: N OH OW for a weight, K/groups KH KW for a pixel of dx. Winograd mixes a tile's values, so there the
 * scale is the worst of the plane (dx) or of the filter (dw), and its transforms cost the same accuracy as in the
 * forward direction. Small integers are exact everywhere but in F(4x4). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "layers.h"
#include "shapes.h"

typedef struct {
    const cr_conv *s;
    ck_layout layout;
    int exact;
    float *x, *w, *dy, *residual;
    uint8_t *bytes;
    float scale[8], shift[8];
    double *dx, *dx_scale, *sum, *sum_scale; /* sum = dx + residual */
    double *dw, *dw_scale;
    size_t in, out, inputs, weights;
} problem;

static long exercised[CK_ISA_COUNT][2][CK_ALGORITHM_COUNT];

static uint32_t coin_state;
static int coin(int sides) {
    coin_state = coin_state * 1664525u + 1013904223u;
    return (int)((coin_state >> 16) % (uint32_t)sides);
}

/* x as bytes, and as what they stand for. */
static void make_bytes(problem *p, uint64_t seed) {
    const cr_conv *s = p->s;
    p->bytes = allocate(p->inputs);
    cr_fill_bytes(p->bytes, p->inputs, seed);
    for (int c = 0; c < s->c; c++) {
        p->scale[c] = p->exact ? 1 : (c % 2 ? 0x1p-7f : 0x1p-6f);
        p->shift[c] = -p->scale[c] * (100 + 8 * c);
    }
    for (size_t i = 0; i < p->inputs; i++) {
        const size_t c = i % s->c, pixel = i / s->c % p->in, image = i / s->c / p->in;
        p->x[(image * s->c + c) * p->in + pixel] = p->bytes[i] * p->scale[c] + p->shift[c];
    }
}

static problem make(const cr_conv *s, ck_layout layout, int exact, uint64_t seed) {
    problem p = {.s = s, .layout = layout, .exact = exact, .in = (size_t)s->h * s->w};
    p.out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    p.inputs = s->n * s->c * p.in;
    p.weights = (size_t)s->k * (s->c / s->groups) * s->kernel_h * s->kernel_w;
    const size_t outputs = s->n * s->k * p.out;
    p.x = exact ? integers(p.inputs, seed, -3, 3) : uniform(p.inputs, seed, -1, 1);
    if (layout == CK_NHWC8) make_bytes(&p, seed);
    p.w = exact ? integers(p.weights, seed + 1, -2, 2) : uniform(p.weights, seed + 1, -1, 1);
    p.dy = exact ? integers(outputs, seed + 2, -3, 3) : uniform(outputs, seed + 2, -1, 1);
    p.residual = exact ? integers(p.inputs, seed + 3, -8, 8) : uniform(p.inputs, seed + 3, -1, 1);
    p.dw = doubles(p.weights), p.dw_scale = doubles(p.weights);
    cr_conv_weight_gradient(s, p.x, p.dy, p.dw, p.dw_scale);
    const int filters = s->k * (s->c / s->groups), planes = s->n * s->c;
    cr_error_scale(p.dw_scale, p.dw, 1, filters, p.weights / filters, NULL, NULL);
    if (layout != CK_NCHWC) return p;
    p.dx = doubles(p.inputs), p.dx_scale = doubles(p.inputs);
    p.sum = doubles(p.inputs), p.sum_scale = doubles(p.inputs);
    cr_conv_data_gradient(s, p.dy, p.w, p.dx, p.dx_scale);
    memcpy(p.sum, p.dx, p.inputs * sizeof *p.sum);
    memcpy(p.sum_scale, p.dx_scale, p.inputs * sizeof *p.sum);
    cr_epilogue(p.sum, 1, planes, p.in, NULL, p.residual, 0);
    cr_error_scale(p.sum_scale, p.sum, 1, planes, p.in, NULL, p.residual);
    cr_error_scale(p.dx_scale, p.dx, 1, planes, p.in, NULL, NULL);
    return p;
}

/* dx, dx + residual into a buffer of its own, and onto the residual. */
typedef enum { ALONE, RESIDUAL, IN_PLACE } addition;

typedef struct {
    ck_pass pass;
    addition added; /* data gradient */
    int32_t threads;
    const int *fewer; /* numbers of images, negative: of those left out; ends with 0. NULL: none */
} gradient_run;

/* A plan and what its results are compared with. */
typedef struct {
    const problem *p;
    gradient_run r;
    ck_conv_plan *plan;
    ck_algorithm chosen;
    ck_conv_args args;
    size_t stored; /* floats in dst */
    char what[300];
} job;

static float *new_dst(const job *j) {
    const cr_conv *s = j->p->s;
    if (j->r.pass == CK_WEIGHT_GRADIENT) return floats(j->p->weights);
    if (j->r.added == IN_PLACE) return blocked(j->p->residual, s->n, s->c, j->p->in);
    return poisoned(s->n, s->c, j->p->in);
}

static float *run_images(job *j, int images) {
    j->args.batch = images;
    j->args.dst = new_dst(j);
    if (j->r.added == IN_PLACE) j->args.residual = j->args.dst;
    check(ck_conv_run(j->plan, &j->args) == CK_OK, "%s: run of %d images", j->what, images);
    return j->args.dst;
}

static void check_values(const job *j, const float *got, const double *expected, const double *own_scale, int planes,
                         size_t plane, double terms) {
    const double multiple = error_multiple(j->chosen);
    const size_t count = planes * plane;
    const double *scale = own_scale;
    if (multiple > 1) {
        double *worst = doubles(planes), *repeated = doubles(count);
        cr_plane_max(own_scale, planes, plane, worst);
        cr_repeat(worst, planes, plane, repeated);
        scale = repeated;
    }
    check_close(got, expected, count, scale, j->p->exact && multiple <= 2 ? 0 : ROUNDOFF * sqrt(terms + 4) * multiple,
                0, j->what);
}

static void check_data(const job *j, const float *dst, int images) {
    const problem *p = j->p;
    const cr_conv *s = p->s;
    const double terms = (double)(s->k / s->groups) * s->kernel_h * s->kernel_w;
    const int alone = j->r.added == ALONE;
    check_surplus(dst, images, s->c, p->in, j->what);
    check_values(j, unblocked(dst, images, s->c, p->in), alone ? p->dx : p->sum, alone ? p->dx_scale : p->sum_scale,
                 images * s->c, p->in, terms);
    const size_t first = cr_blocked_count(images, s->c, p->in, ck_block());
    check(!memcmp(dst + first, new_dst(j) + first, (j->stored - first) * sizeof *dst), "%s: wrote beyond %d images",
          j->what, images);
}

static void check_weights(const job *j, const float *dst, int images) {
    const problem *p = j->p;
    const cr_conv *s = p->s;
    const double terms = (double)images * (double)p->out;
    const int filters = s->k * (s->c / s->groups);
    const size_t taps = p->weights / filters;
    double *dw = p->dw, *scale = p->dw_scale;
    if (images != s->n) {
        cr_conv part = *s;
        part.n = images;
        dw = doubles(p->weights), scale = doubles(p->weights);
        cr_conv_weight_gradient(&part, p->x, p->dy, dw, scale);
        cr_error_scale(scale, dw, 1, filters, taps, NULL, NULL);
    }
    check_values(j, dst, dw, scale, filters, taps, terms);
}

static void check_images(const job *j, const float *dst, int images) {
    if (j->r.pass == CK_WEIGHT_GRADIENT)
        check_weights(j, dst, images);
    else
        check_data(j, dst, images);
}

/* Sums of integers do not round: a second run that is added gives twice the first. */
static void check_accumulation(job *j, const float *first) {
    double *twice = doubles(j->p->weights);
    for (size_t i = 0; i < j->p->weights; i++) twice[i] = 2 * (double)first[i];
    float *dst = copied(first, j->p->weights);
    j->args.dst = dst;
    j->args.accumulate = 1;
    check(ck_conv_run(j->plan, &j->args) == CK_OK, "%s: added", j->what);
    check_equal(dst, twice, j->p->weights, j->what);
    j->args.accumulate = 0;
}

static int prepare(job *j, ck_algorithm algorithm) {
    static const char *const additions[] = {"", ", residual", ", residual in place"};
    const problem *p = j->p;
    const cr_conv *s = p->s;
    const int weights = j->r.pass == CK_WEIGHT_GRADIENT;
    ck_conv_desc desc = description(s, j->r.threads);
    desc.src_layout = p->layout;
    desc.pass = j->r.pass;
    desc.algorithm = algorithm;
    desc.epilogue = j->r.added == ALONE ? 0 : CK_RESIDUAL;
    snprintf(j->what, sizeof j->what, "%s gradient of %s, layout %d, %s%s, %d threads, %s", weights ? "weight" : "data",
             shape_text(s), (int)p->layout, ck_algorithm_name(algorithm), additions[j->r.added], j->r.threads,
             p->exact ? "integers" : "uniform");
    const ck_status status = ck_conv_plan_create(&desc, &j->plan);
    if (status == CK_UNSUPPORTED && algorithm != CK_AUTO && algorithm != CK_GEMM) return 0;
    if (!check(status == CK_OK, "%s: %s", j->what, ck_status_string(status))) return 0;
    j->chosen = ck_conv_plan_algorithm(j->plan);
    check(algorithm == CK_AUTO || j->chosen == algorithm, "%s: got %s", j->what, ck_algorithm_name(j->chosen));
    check(!weights || ck_conv_packed_size(j->plan) == 0, "%s: weight gradients pack nothing", j->what);
    exercised[ck_isa_active()][weights][algorithm]++;
    return 1;
}

static void run(const problem *p, gradient_run r, ck_algorithm algorithm) {
    const cr_conv *s = p->s;
    const int weights = r.pass == CK_WEIGHT_GRADIENT;
    job j = {.p = p, .r = r};
    if (!prepare(&j, algorithm)) return;
    place_at_start(coin(2));
    void *packed = allocate(ck_conv_packed_size(j.plan)), *workspace = allocate(ck_conv_workspace_size(j.plan));
    if (!weights) check(ck_conv_pack(j.plan, p->w, NULL, packed) == CK_OK, "%s: pack", j.what);
    float *dy = blocked(p->dy, s->n, s->k, p->out);
    j.args = (ck_conv_args){.src = !weights                ? dy
                                   : p->layout == CK_NCHW  ? (void *)p->x
                                   : p->layout == CK_NHWC8 ? (void *)p->bytes
                                                           : blocked(p->x, s->n, s->c, p->in),
                            .packed = weights ? NULL : packed,
                            .grad = weights ? dy : NULL,
                            .residual = r.added == RESIDUAL ? blocked(p->residual, s->n, s->c, p->in) : NULL,
                            .src_scale = p->layout == CK_NHWC8 ? p->scale : NULL,
                            .src_shift = p->layout == CK_NHWC8 ? p->shift : NULL,
                            .workspace = ck_conv_workspace_size(j.plan) ? workspace : NULL};
    j.stored = weights ? p->weights : cr_blocked_count(s->n, s->c, p->in, ck_block());
    const float *dst = run_images(&j, s->n);
    check_images(&j, dst, s->n);
    check(!memcmp(run_images(&j, 0), dst, j.stored * sizeof *dst), "%s: other bits the second time", j.what);
    if (weights && p->exact && j.chosen != CK_WINOGRAD_4) check_accumulation(&j, dst);
    for (const int *images = r.fewer; images && *images; images++) {
        const int number = *images + (*images < 0) * s->n;
        check_images(&j, run_images(&j, number), number);
    }
    place_at_start(0);
    ck_conv_plan_destroy(j.plan);
}

static void check_strict(const cr_conv *s, ck_layout layout) {
    for (int pass = CK_DATA_GRADIENT; pass <= (int)CK_WEIGHT_GRADIENT; pass++) {
        ck_conv_desc desc = description(s, 1);
        desc.src_layout = pass == CK_WEIGHT_GRADIENT ? layout : CK_NCHWC;
        desc.accuracy = CK_ACCURACY_STRICT;
        desc.pass = (ck_pass)pass;
        ck_conv_plan *plan = NULL;
        check(ck_conv_plan_create(&desc, &plan) == CK_OK, "%s: strict", shape_text(s));
        const ck_algorithm chosen = ck_conv_plan_algorithm(plan);
        check(error_multiple(chosen) == 1, "%s: strict chose %s", shape_text(s), ck_algorithm_name(chosen));
        ck_conv_plan_destroy(plan);
    }
}

typedef struct {
    const int32_t *teams;
    int team_count, uniform_only, alone_only;
    uint64_t seed;
    const int *fewer;
} table;

static const int32_t small_teams[] = {1, 2, 3}, many_teams[] = {1, 2, 3, 7}, odd_teams[] = {1, 2, 5};

static void all_runs(const problem *p, ck_algorithm algorithm, int32_t threads, const table *t) {
    const gradient_run weights = {CK_WEIGHT_GRADIENT, ALONE, threads, t->fewer};
    const size_t before = mark();
    run(p, weights, algorithm);
    release(before);
    if (p->layout != CK_NCHWC) return; /* first layers need no data gradient */
    for (addition added = ALONE; added <= (t->alone_only ? ALONE : IN_PLACE); added++) {
        const gradient_run data = {CK_DATA_GRADIENT, added, threads, t->fewer};
        run(p, data, algorithm);
        release(before);
    }
}

static void all_algorithms(const cr_conv *s, ck_layout layout, int number, const table *t) {
    for (int exact = 0; exact < (t->uniform_only ? 1 : 2); exact++) {
        const problem p = make(s, layout, exact, t->seed + 10 * (uint64_t)number);
        /* Under the machine's own caches every team, else the one whose turn it is. */
        const int teams = own_caches() ? t->team_count : 1;
        for (int team = 0; team < teams; team++) {
            const int32_t threads = t->teams[(number + exact + team) % t->team_count];
            for (int isa = 0; use_isa(isa); isa++)
                for (int algorithm = 0; algorithm < CK_ALGORITHM_COUNT; algorithm++)
                    all_runs(&p, (ck_algorithm)algorithm, threads, t);
        }
        release_all();
    }
    for (int isa = 0; use_isa(isa); isa++) check_strict(s, layout);
}

static void each(const cr_conv *all, size_t count, size_t step, const table *t) {
    for (size_t i = 0; i < count; i += step) all_algorithms(all + i, CK_NCHWC, (int)i, t);
}

static void check_algorithm(int weights, ck_algorithm algorithm, long least) {
    for (int i = 0; use_isa(i); i++) {
        const long times = exercised[ck_isa_active()][weights][algorithm];
        check(times >= least, "%s gradient: %s was exercised %ld times, expected %ld", weights ? "weight" : "data",
              ck_algorithm_name(algorithm), times, least);
    }
}

/* Of AUTO and GEMM, which take everything, both passes. */
static void check_exercised(long least) {
    for (int weights = 0; weights < 2; weights++) {
        check_algorithm(weights, CK_AUTO, least);
        check_algorithm(weights, CK_GEMM, least);
    }
}

/* Of what a table gives in full: where only each step-th row is checked at least half of that share. */
static long share_of(long least, size_t step) { return step == 1 ? least : least / (2 * (long)step); }

static void begin(void) {
    memset(exercised, 0, sizeof exercised);
    coin_state = 1;
}

void test_gradients(void) {
    static const int most[] = {1, 2, -1, 0};
    const size_t step = own_caches() ? 1 : table_step();
    const int team_count = table_step() == 1 ? 3 : 1;
    const table usual = {small_teams + (team_count == 1), team_count, 0, 0, 0, NULL};
    const table stem = {usual.teams, team_count, 0, 0, 1000, NULL};
    const table batch = {many_teams, 4, 0, 0, 2000, NULL}, again = {odd_teams, 3, 1, 1, 4000, NULL};
    const table few = {(int32_t[]){2}, 1, 1, 1, 3000, most};
    begin();
    each(shapes, COUNT_OF(shapes), step, &usual);
    each(batches, COUNT_OF(batches), step, &batch);
    each(fewer, COUNT_OF(fewer), step, &few);
    each(fewer, COUNT_OF(fewer), step, &again);
    for (size_t i = 0; i < COUNT_OF(stems); i += step)
        for (ck_layout layout = CK_NCHWC; layout <= CK_NHWC8; layout++)
            all_algorithms(stems + i, layout, (int)i, &stem);
    check_exercised(share_of(250, step));
    check_algorithm(1, CK_STEM, share_of(30, step));
}

void test_swept_gradients(void) {
    const sweep *s = all_of_sweep();
    const size_t step = table_step();
    check(s->count == 508, "the sweep has %zu shapes", s->count);
    begin();
    for (size_t i = 0; i < s->count; i += step) {
        const table t = {i >= s->random || step > 1 ? odd_teams + i % 3 : small_teams,
                         i >= s->random || step > 1 ? 1 : 3,
                         0,
                         0,
                         5000,
                         NULL};
        all_algorithms(s->shapes + i, CK_NCHWC, (int)i, &t);
    }
    check_exercised(share_of(750, step));
    check_algorithm(0, CK_DIRECT, share_of(100, step));
    check_algorithm(1, CK_DIRECT, share_of(100, step));
    check_algorithm(1, CK_WINOGRAD_4, share_of(100, step));
}

void test_layers_gradients(void) {
    const size_t step = table_step();
    const table layer = {(int32_t[]){2}, 1, 1, 1, 100, NULL};
    begin();
    each(resnet_layers, COUNT_OF(resnet_layers), step, &layer);
    check_exercised(share_of((long)(COUNT_OF(resnet_layers)), step));
}
