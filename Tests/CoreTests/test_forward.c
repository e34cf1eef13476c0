/* Convolutions, every algorithm that takes a shape x epilogues x threads, against the reference.
 *
 * The bound is u sqrt(terms + 4) times cr_error_scale: eight standard deviations of the rounding error of a sequential
 * sum of so many random products (creference.h). Winograd mixes the outputs of a tile, so there the scale is the worst
 * of the whole plane, and its transforms cost accuracy: F(2x2) is about twice, the stem's F(4, 4) three times,
 * F(4x4) with the points 0, +-5/8, +-3/2 five times, stride 2 by phases six times and F(5x5) ten times as coarse as a
 * direct sum. Its bounds are these multiples.
 *
 * With small integers every product and sum is exact in float: direct, pointwise, stem, GEMM and F(2x2), whose
 * coefficients are powers of two, must then agree to the last bit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "layers.h"
#include "shapes.h"

typedef struct {
    uint32_t flags;
    int in_place; /* dst is the residual */
} epilogue;

static const epilogue epilogues[] = {
    {0, 0},
    {CK_BIAS | CK_RESIDUAL | CK_RELU, 0},
    {CK_BIAS | CK_RELU | CK_GLOBAL_AVERAGE, 0},
    {CK_BIAS | CK_RELU | CK_MAX_POOL_3X3_S2, 0},
    {CK_BIAS, 0},
    {CK_BIAS | CK_RELU, 0},
    {CK_RESIDUAL, 0},
    {CK_RELU, 0},
    {CK_BIAS | CK_RESIDUAL | CK_RELU, 1},
    {CK_RESIDUAL, 1},
    {CK_GLOBAL_AVERAGE, 0},
    {CK_MAX_POOL_3X3_S2, 0},
};
/* Sets of them, a bit each. */
enum { NO = 0, BARE_AND_ALL = 0x3, FEW = 0xF, EVERY = 0xFFF, IN_PLACE = 1 << 8, POOLED = 1 << 3 };

typedef struct {
    const cr_conv *s;
    ck_layout layout;
    int exact;                                        /* small integers */
    float *x, *w, *stored, *scales, *bias, *residual; /* w = stored * scales[k]; every scale is a power of two */
    uint8_t *bytes;
    float scale[8], shift[8];
    double *y, *spread; /* of the bare convolution */
    size_t in, out;     /* pixels of a plane */
} problem;

/* What the convolution must give under one epilogue, and what an error is measured in: each value's own scale, or its
 * plane's worst. */
typedef struct {
    const epilogue *e;
    const double *y, *scale, *worst;
    size_t plane;
} expectation;

static long exercised[CK_ISA_COUNT][CK_ALGORITHM_COUNT];

/* Choices that only have to vary: the same at each start. */
static uint32_t coin_state;
static int coin(int sides) {
    coin_state = coin_state * 1664525u + 1013904223u;
    return (int)((coin_state >> 16) % (uint32_t)sides);
}

static void make_input(problem *p, uint64_t seed) {
    const cr_conv *s = p->s;
    const size_t inputs = s->n * s->c * p->in;
    p->x = p->exact ? integers(inputs, seed, -3, 3) : uniform(inputs, seed, -1, 1);
    if (p->layout != CK_NHWC8) return;
    p->bytes = allocate(inputs);
    cr_fill_bytes(p->bytes, inputs, seed);
    for (int c = 0; c < s->c; c++) {
        p->scale[c] = p->exact ? 1 : (c % 2 ? 0x1p-7f : 0x1p-6f);
        p->shift[c] = -p->scale[c] * (100 + 8 * c);
    }
    for (size_t i = 0; i < inputs; i++) {
        const size_t c = i % s->c, pixel = i / s->c % p->in, image = i / s->c / p->in;
        p->x[(image * s->c + c) * p->in + pixel] = p->bytes[i] * p->scale[c] + p->shift[c];
    }
}

static problem make(const cr_conv *s, ck_layout layout, int exact, uint64_t seed) {
    static const float powers[] = {1, -2, 0.5f, 4};
    problem p = {.s = s, .layout = layout, .exact = exact, .in = (size_t)s->h * s->w};
    p.out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    const size_t filter = (size_t)(s->c / s->groups) * s->kernel_h * s->kernel_w, weights = s->k * filter;
    const size_t outputs = s->n * s->k * p.out;
    make_input(&p, seed);
    p.stored = exact ? integers(weights, seed + 1, -2, 2) : uniform(weights, seed + 1, -1, 1);
    p.w = floats(weights);
    p.scales = floats(s->k);
    for (int k = 0; k < s->k; k++) p.scales[k] = powers[k % 4];
    for (size_t i = 0; i < weights; i++) p.w[i] = p.stored[i] * p.scales[i / filter];
    p.bias = exact ? integers(s->k, seed + 2, -8, 8) : uniform(s->k, seed + 2, -1, 1);
    p.residual = exact ? integers(outputs, seed + 3, -8, 8) : uniform(outputs, seed + 3, -1, 1);
    p.y = doubles(outputs);
    p.spread = doubles(outputs);
    cr_conv_forward(s, p.x, p.w, p.y, p.spread);
    return p;
}

static expectation expect(const problem *p, const epilogue *e) {
    const cr_conv *s = p->s;
    const int planes = s->n * s->k;
    const uint32_t flags = e->flags;
    double *y = doubles(planes * p->out), *scale = doubles(planes * p->out), *worst = doubles(planes);
    memcpy(y, p->y, planes * p->out * sizeof *y);
    memcpy(scale, p->spread, planes * p->out * sizeof *y);
    const float *bias = flags & CK_BIAS ? p->bias : NULL, *residual = flags & CK_RESIDUAL ? p->residual : NULL;
    cr_epilogue(y, s->n, s->k, p->out, bias, residual, 0);
    cr_error_scale(scale, y, s->n, s->k, p->out, bias, residual);
    cr_epilogue(y, s->n, s->k, p->out, NULL, NULL, (flags & CK_RELU) != 0);
    cr_plane_max(scale, planes, p->out, worst);
    size_t plane = p->out;
    if (flags & CK_MAX_POOL_3X3_S2) {
        const cr_pool pool = {planes, cr_conv_out_h(s), cr_conv_out_w(s), 3, 3, 2, 2, 1, 1, 0};
        float *rounded = floats(planes * p->out);
        cr_round(y, planes * p->out, rounded);
        plane = (size_t)cr_pool_out_h(&pool) * cr_pool_out_w(&pool);
        cr_max_pool(&pool, rounded, y = doubles(planes * plane), NULL);
    }
    if (flags & CK_GLOBAL_AVERAGE) {
        double *mean = doubles(planes);
        cr_global_average_pool(y, planes, p->out, mean);
        y = mean, plane = 1;
    }
    double *repeated = doubles(planes * plane);
    cr_repeat(worst, planes, plane, repeated);
    return (expectation){e, y, plane == p->out ? scale : repeated, repeated, plane};
}

/* No algorithm has to pool, and a forced one need not take the shape. */
static int may_decline(ck_algorithm algorithm, uint32_t flags) {
    return algorithm != CK_AUTO || (flags & CK_MAX_POOL_3X3_S2);
}

static ck_conv_args arguments(const problem *p, const epilogue *e, void *packed, void *workspace) {
    const cr_conv *s = p->s;
    return (ck_conv_args){
        .src = p->layout == CK_NHWC8  ? (void *)p->bytes
               : p->layout == CK_NCHW ? (void *)p->x
                                      : (void *)blocked(p->x, s->n, s->c, p->in),
        .packed = packed,
        .bias = e->flags & CK_BIAS ? padded(p->bias, s->k) : NULL,
        .residual = e->flags & CK_RESIDUAL && !e->in_place ? blocked(p->residual, s->n, s->k, p->out) : NULL,
        .src_scale = p->layout == CK_NHWC8 ? p->scale : NULL,
        .src_shift = p->layout == CK_NHWC8 ? p->shift : NULL,
        .workspace = workspace,
    };
}

/* Runs `images` of the plan's into a new dst, which it returns. */
static float *run_images(const problem *p, const expectation *x, const ck_conv_plan *plan, ck_conv_args *args,
                         int images, const char *what) {
    const cr_conv *s = p->s;
    args->batch = images;
    args->dst = x->e->in_place ? blocked(p->residual, s->n, s->k, p->out) : poisoned(s->n, s->k, x->plane);
    if (x->e->in_place) args->residual = args->dst;
    check(ck_conv_run(plan, args) == CK_OK, "%s: run of %d images", what, images);
    return args->dst;
}

static void check_images(const problem *p, const expectation *x, ck_algorithm chosen, const float *dst, int images,
                         const char *what) {
    const cr_conv *s = p->s;
    const double terms = (double)(s->c / s->groups) * s->kernel_h * s->kernel_w, multiple = error_multiple(chosen);
    const int exact = p->exact && multiple <= 2 && !(x->e->flags & CK_GLOBAL_AVERAGE);
    check_surplus(dst, images, s->k, x->plane, what);
    check_close(unblocked(dst, images, s->k, x->plane), x->y, images * s->k * x->plane,
                multiple > 1 ? x->worst : x->scale, exact ? 0 : ROUNDOFF * sqrt(terms + 4) * multiple, 0, what);
}

/* Fewer images than the plan takes: those behind them stay as they were. */
static void check_fewer(const problem *p, const expectation *x, const ck_conv_plan *plan, ck_conv_args *args,
                        int images, const char *what) {
    const cr_conv *s = p->s;
    const size_t image = cr_blocked_count(1, s->k, x->plane, ck_block()), first = image * images;
    const float *dst = run_images(p, x, plan, args, images, what);
    check_images(p, x, ck_conv_plan_algorithm(plan), dst, images, what);
    const float *untouched = x->e->in_place ? blocked(p->residual, s->n, s->k, p->out) : poisoned(s->n, s->k, x->plane);
    check(!memcmp(dst + first, untouched + first, (s->n - images) * image * sizeof *dst), "%s: wrote beyond %d images",
          what, images);
}

static void run(const problem *p, const expectation *x, ck_algorithm algorithm, int32_t threads,
                const int *fewer_images) {
    const cr_conv *s = p->s;
    ck_conv_desc desc = description(s, threads);
    desc.epilogue = x->e->flags;
    desc.src_layout = p->layout;
    desc.algorithm = algorithm;
    char what[300];
    snprintf(what, sizeof what, "%s, layout %d, %s, epilogue %u%s, %d threads, %s", shape_text(s), (int)p->layout,
             ck_algorithm_name(algorithm), x->e->flags, x->e->in_place ? " in place" : "", threads,
             p->exact ? "integers" : "uniform");
    ck_conv_plan *plan = NULL;
    const ck_status status = ck_conv_plan_create(&desc, &plan);
    if (status == CK_UNSUPPORTED && may_decline(algorithm, desc.epilogue)) return;
    if (!check(status == CK_OK, "%s: %s", what, ck_status_string(status))) return;
    const ck_algorithm chosen = ck_conv_plan_algorithm(plan);
    check(algorithm == CK_AUTO || chosen == algorithm, "%s: got %s", what, ck_algorithm_name(chosen));
    exercised[ck_isa_active()][algorithm]++;

    place_at_start(coin(2));
    void *packed = allocate(ck_conv_packed_size(plan)), *workspace = allocate(ck_conv_workspace_size(plan));
    const int scaled = coin(2);
    check(ck_conv_pack(plan, scaled ? p->stored : p->w, scaled ? p->scales : NULL, packed) == CK_OK, "%s: pack", what);
    ck_conv_args args = arguments(p, x->e, packed, ck_conv_workspace_size(plan) ? workspace : NULL);
    const float *dst = run_images(p, x, plan, &args, s->n, what);
    check_images(p, x, chosen, dst, s->n, what);
    /* The same bits again. */
    const size_t bytes = cr_blocked_count(s->n, s->k, x->plane, ck_block()) * sizeof *dst;
    check(!memcmp(run_images(p, x, plan, &args, 0, what), dst, bytes), "%s: other bits the second time", what);
    if (fewer_images)
        for (; *fewer_images; fewer_images++)
            check_fewer(p, x, plan, &args, *fewer_images + (*fewer_images < 0) * s->n, what);
    else if (s->n > 1)
        check_fewer(p, x, plan, &args, 1 + coin(s->n - 1), what);
    place_at_start(0);
    ck_conv_plan_destroy(plan);
}

static void check_strict(const cr_conv *s, ck_layout layout) {
    ck_conv_desc desc = description(s, 1);
    desc.src_layout = layout;
    desc.accuracy = CK_ACCURACY_STRICT;
    ck_conv_plan *plan = NULL;
    check(ck_conv_plan_create(&desc, &plan) == CK_OK, "%s: strict", shape_text(s));
    check(error_multiple(ck_conv_plan_algorithm(plan)) == 1, "%s: strict chose %s", shape_text(s),
          ck_algorithm_name(ck_conv_plan_algorithm(plan)));
    ck_conv_plan_destroy(plan);
}

typedef struct {
    uint32_t uniform, integers; /* sets of epilogues */
    const int32_t *teams;
    int team_count;
    enum { IN_TURN, INTEGERS_EVERY, EVERY_TEAM } which; /* teams: one in turn, each with integers, each */
    uint64_t seed;
    const int *fewer; /* numbers of images, negative: of those left out; ends with 0. NULL: one number */
} table;

static const int32_t small_teams[] = {1, 2, 3}, many_teams[] = {1, 2, 3, 7}, odd_teams[] = {1, 5, 2, 4, 3};

static void all_algorithms(const cr_conv *s, ck_layout layout, int number, const table *t) {
    for (int exact = 0; exact < 2; exact++) {
        const uint32_t set = exact ? t->integers : t->uniform;
        if (!set) continue;
        const int teams = t->which == EVERY_TEAM || (exact && t->which == INTEGERS_EVERY) ? t->team_count : 1;
        const problem p = make(s, layout, exact, t->seed + 10 * (uint64_t)number);
        for (size_t e = 0; e < COUNT_OF(epilogues); e++) {
            if (!(set >> e & 1)) continue;
            const size_t before = mark();
            const expectation x = expect(&p, epilogues + e);
            for (int team = 0; team < teams; team++) {
                const int32_t threads = t->teams[(number + (int)e + exact + team) % t->team_count];
                for (int isa = 0; use_isa(isa); isa++)
                    for (int algorithm = 0; algorithm < CK_ALGORITHM_COUNT; algorithm++) {
                        const size_t here = mark();
                        run(&p, &x, (ck_algorithm)algorithm, threads, t->fewer);
                        release(here);
                    }
            }
            release(before);
        }
        release_all();
    }
    for (int isa = 0; use_isa(isa); isa++) check_strict(s, layout);
}

static void each(const cr_conv *all, size_t count, size_t step, const table *t) {
    for (size_t i = 0; i < count; i += step) all_algorithms(all + i, CK_NCHWC, (int)i, t);
}

static void each_layout(const cr_conv *all, size_t count, size_t step, ck_layout first, const table *t) {
    for (size_t i = 0; i < count; i += step)
        for (ck_layout layout = first; layout <= CK_NHWC8; layout++) all_algorithms(all + i, layout, (int)i, t);
}

/* Of what a table gives in full: where only each step-th row is checked at least half of that share. */
static long share_of(long least, size_t step) { return step == 1 ? least : least / (2 * (long)step); }

static void begin(void) {
    memset(exercised, 0, sizeof exercised);
    coin_state = 1;
}

/* Under each instruction set. */
static void check_exercised(ck_algorithm algorithm, long least) {
    for (int i = 0; use_isa(i); i++) {
        const long times = exercised[ck_isa_active()][algorithm];
        check(times >= least, "%s was exercised %ld times, expected %ld", ck_algorithm_name(algorithm), times, least);
    }
}

void test_forward(void) {
    static const int most[] = {1, 2, -1, 0};
    const uint32_t set = own_caches() && table_step() == 1 ? EVERY : FEW;
    const size_t step = own_caches() ? 1 : table_step();
    const int which = set == EVERY ? INTEGERS_EVERY : IN_TURN;
    const table usual = {set, BARE_AND_ALL, small_teams, 3, which, 0, NULL};
    const table stem = {set, BARE_AND_ALL, small_teams, 3, which, 1000, NULL};
    const table batch = {set, BARE_AND_ALL, many_teams, 4, which, 2000, NULL};
    const table few = {FEW | IN_PLACE, NO, (int32_t[]){2}, 1, IN_TURN, 3000, most};
    begin();
    each(shapes, COUNT_OF(shapes), step, &usual);
    each_layout(stems, COUNT_OF(stems), step, CK_NCHWC, &stem);
    each(batches, COUNT_OF(batches), step, &batch);
    each(fewer, COUNT_OF(fewer), step, &few);
    each_layout(&fewer_stem, 1, 1, CK_NCHWC, &few);
    for (int algorithm = 0; algorithm < CK_ALGORITHM_COUNT; algorithm++)
        check_exercised((ck_algorithm)algorithm, share_of(40, step));
}

void test_swept_forward(void) {
    const sweep *s = all_of_sweep();
    const size_t step = table_step();
    check(s->count == 508, "the sweep has %zu shapes", s->count);
    begin();
    for (size_t i = 0; i < s->count; i += step) {
        const uint32_t all = step == 1 ? EVERY & ~(1u << 3 | 1u << 11) : FEW; /* only stems pool */
        table t = {all, BARE_AND_ALL, small_teams, 3, step == 1 ? INTEGERS_EVERY : IN_TURN, 5000, NULL};
        if (i >= s->kernels) t.uniform = BARE_AND_ALL;
        if (i >= s->random) {
            const uint32_t one = 1u << coin(COUNT_OF(epilogues));
            t = (table){i % 2 ? NO : one, i % 2 ? one : NO, odd_teams, 5, IN_TURN, 5000, NULL};
        }
        const int stem = i >= s->random && s->shapes[i].c <= 8;
        all_algorithms(s->shapes + i, stem ? (ck_layout)coin(3) : CK_NCHWC, (int)i, &t);
    }
    check_exercised(CK_GEMM, share_of(1000, step));
    check_exercised(CK_DIRECT, share_of(1000, step));
    check_exercised(CK_POINTWISE, share_of(300, step));
    check_exercised(CK_WINOGRAD_2, share_of(300, step));
    check_exercised(CK_WINOGRAD_4, share_of(300, step));
    check_exercised(CK_WINOGRAD_4_3, share_of(300, step));
    check_exercised(CK_WINOGRAD_5_4, share_of(300, step));
}

void test_layers_forward(void) {
    const size_t step = table_step();
    const table layer = {IN_PLACE, NO, (int32_t[]){2}, 1, IN_TURN, 100, NULL};
    const table plain = {IN_PLACE, NO, (int32_t[]){1, 3}, 2, EVERY_TEAM, 200, NULL};
    const table pooled = {IN_PLACE | POOLED, NO, (int32_t[]){1, 3}, 2, EVERY_TEAM, 300, NULL};
    begin();
    each(resnet_layers, COUNT_OF(resnet_layers), step, &layer);
    check_exercised(CK_GEMM, share_of((long)(COUNT_OF(resnet_layers)), step));
    check_exercised(CK_DIRECT, share_of((long)(COUNT_OF(resnet_layers)), step));
    check_exercised(CK_POINTWISE, share_of(18, step));
    check_exercised(CK_WINOGRAD_2, share_of(7, step));
    check_exercised(CK_WINOGRAD_4, share_of(7, step));
    check_exercised(CK_WINOGRAD_4_3, share_of(7, step));
    check_exercised(CK_WINOGRAD_5_4, share_of(7, step));
    begin();
    each(large_layers, COUNT_OF(large_layers), step, &plain);
    each_layout(large_stems, COUNT_OF(large_stems), step, CK_NCHW, &pooled);
    check_exercised(CK_GEMM, share_of((long)(2 * COUNT_OF(large_layers)), step));
    check_exercised(CK_DIRECT, share_of((long)(2 * COUNT_OF(large_layers)), step));
    check_exercised(CK_POINTWISE, share_of(6, step));
    check_exercised(CK_WINOGRAD_2, share_of(6, step));
    check_exercised(CK_WINOGRAD_4, share_of(6, step));
    check_exercised(CK_WINOGRAD_4_3, share_of(6, step));
    check_exercised(CK_WINOGRAD_5_4, share_of(6, step));
    check_exercised(CK_STEM, share_of((long)(8 * COUNT_OF(large_stems)), step));
}
