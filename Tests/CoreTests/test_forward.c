/* Convolutions, every algorithm that takes a shape x epilogues x threads, against the reference. The bounds are those
 * of Tests/CKernelsTests/ConvolutionOracle.swift: u sqrt(terms + 4) times cr_error_scale, twice that in F(2x2), three
 * times in the stem's F(4, 4) and five times in F(4x4), whose scale is the plane's worst; small integers are exact in
 * direct sums and F(2x2). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "shapes.h"

typedef struct {
    const cr_conv *s;
    ck_layout layout;
    int exact; /* small integers */
    float *x, *w, *bias, *residual;
    uint8_t *bytes;
    float scale[8], shift[8];
    double *y, *spread; /* of the bare convolution */
    size_t in, out;     /* pixels of a plane */
} problem;

static long exercised[CK_ALGORITHM_COUNT];

static problem make(const cr_conv *s, ck_layout layout, int exact, uint64_t seed) {
    problem p = {.s = s, .layout = layout, .exact = exact, .in = (size_t)s->h * s->w};
    p.out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    const size_t inputs = s->n * s->c * p.in, outputs = s->n * s->k * p.out;
    const size_t weights = (size_t)s->k * (s->c / s->groups) * s->kernel_h * s->kernel_w;
    p.x = exact ? integers(inputs, seed, -3, 3) : uniform(inputs, seed, -1, 1);
    p.w = exact ? integers(weights, seed + 1, -2, 2) : uniform(weights, seed + 1, -1, 1);
    p.bias = exact ? integers(s->k, seed + 2, -8, 8) : uniform(s->k, seed + 2, -1, 1);
    p.residual = exact ? integers(outputs, seed + 3, -8, 8) : uniform(outputs, seed + 3, -1, 1);
    if (layout == CK_NHWC8) {
        p.bytes = allocate(inputs);
        cr_fill_bytes(p.bytes, inputs, seed);
        for (int c = 0; c < s->c; c++) {
            p.scale[c] = exact ? 1 : (c % 2 ? 0x1p-7f : 0x1p-6f);
            p.shift[c] = -p.scale[c] * (100 + 8 * c);
        }
        for (size_t i = 0; i < inputs; i++) {
            const size_t c = i % s->c, pixel = i / s->c % p.in, image = i / s->c / p.in;
            p.x[(image * s->c + c) * p.in + pixel] = p.bytes[i] * p.scale[c] + p.shift[c];
        }
    }
    p.y = doubles(outputs);
    p.spread = doubles(outputs);
    cr_conv_forward(s, p.x, p.w, p.y, p.spread);
    return p;
}

/* What the convolution must give, and in `scale` what its error is measured in. */
static double *expectation(const problem *p, uint32_t epilogue, int winograd, double *scale, size_t *plane) {
    const cr_conv *s = p->s;
    const int planes = s->n * s->k;
    double *y = doubles(planes * p->out);
    memcpy(y, p->y, planes * p->out * sizeof *y);
    memcpy(scale, p->spread, planes * p->out * sizeof *y);
    const float *bias = epilogue & CK_BIAS ? p->bias : NULL, *residual = epilogue & CK_RESIDUAL ? p->residual : NULL;
    cr_epilogue(y, s->n, s->k, p->out, bias, residual, 0);
    cr_error_scale(scale, y, s->n, s->k, p->out, bias, residual);
    cr_epilogue(y, s->n, s->k, p->out, NULL, NULL, (epilogue & CK_RELU) != 0);
    *plane = p->out;
    if (epilogue & CK_MAX_POOL_3X3_S2) {
        const cr_pool pool = {planes, cr_conv_out_h(s), cr_conv_out_w(s), 3, 3, 2, 2, 1, 1, 0};
        float *rounded = floats(planes * p->out);
        cr_round(y, planes * p->out, rounded);
        *plane = (size_t)cr_pool_out_h(&pool) * cr_pool_out_w(&pool);
        cr_max_pool(&pool, rounded, y = doubles(planes * *plane), NULL);
    }
    if (epilogue & CK_GLOBAL_AVERAGE) {
        double *mean = doubles(planes);
        cr_global_average_pool(y, planes, p->out, mean);
        y = mean, *plane = 1;
    }
    if (winograd || *plane != p->out) {
        double *worst = doubles(planes);
        cr_plane_max(scale, planes, p->out, worst);
        cr_repeat(worst, planes, *plane, scale);
    }
    return y;
}

static ck_conv_desc describe(const problem *p, ck_algorithm algorithm, uint32_t epilogue, int32_t threads) {
    ck_conv_desc desc = description(p->s, threads);
    desc.epilogue = epilogue;
    desc.src_layout = p->layout;
    desc.algorithm = algorithm;
    return desc;
}

static double error_multiple(ck_algorithm algorithm) {
    return algorithm == CK_WINOGRAD_4 ? 5 : algorithm == CK_STEM_WINOGRAD ? 3 : algorithm == CK_WINOGRAD_2 ? 2 : 1;
}

static void run(const problem *p, ck_algorithm algorithm, uint32_t epilogue, int32_t threads) {
    const cr_conv *s = p->s;
    const ck_conv_desc desc = describe(p, algorithm, epilogue, threads);
    char what[200];
    snprintf(what, sizeof what, "%dx%dx%dx%d -> %d, %dx%d/%d pad %d groups %d, layout %d, %s, epilogue %u, %d threads",
             s->n, s->c, s->h, s->w, s->k, s->kernel_h, s->kernel_w, s->stride_h, s->pad_h, s->groups, (int)p->layout,
             ck_algorithm_name(algorithm), epilogue, threads);
    ck_conv_plan *plan = NULL;
    const ck_status status = ck_conv_plan_create(&desc, &plan);
    if (status == CK_UNSUPPORTED && (algorithm != CK_AUTO || (epilogue & CK_MAX_POOL_3X3_S2))) return;
    if (!check(status == CK_OK, "%s: %s", what, ck_status_string(status))) return;
    const ck_algorithm chosen = ck_conv_plan_algorithm(plan);
    exercised[chosen]++;
    const double multiple = error_multiple(chosen);
    size_t plane;
    double *scale = doubles(s->n * s->k * p->out);
    const double *expected = expectation(p, epilogue, multiple > 1, scale, &plane);

    void *packed = allocate(ck_conv_packed_size(plan)), *workspace = allocate(ck_conv_workspace_size(plan));
    cr_poison(workspace, ck_conv_workspace_size(plan));
    check(ck_conv_pack(plan, p->w, NULL, packed) == CK_OK, "%s: pack", what);
    float *dst = poisoned(s->n, s->k, plane);
    ck_conv_args args = {
        .src = p->layout == CK_NHWC8  ? (void *)p->bytes
               : p->layout == CK_NCHW ? (void *)p->x
                                      : (void *)blocked(p->x, s->n, s->c, p->in),
        .packed = packed,
        .bias = epilogue & CK_BIAS ? padded(p->bias, s->k) : NULL,
        .residual = epilogue & CK_RESIDUAL ? blocked(p->residual, s->n, s->k, p->out) : NULL,
        .src_scale = p->layout == CK_NHWC8 ? p->scale : NULL,
        .src_shift = p->layout == CK_NHWC8 ? p->shift : NULL,
        .dst = dst,
        .workspace = workspace,
    };
    check(ck_conv_run(plan, &args) == CK_OK, "%s: run", what);
    check_surplus(dst, s->n, s->k, plane, what);
    const double terms = (double)(s->c / s->groups) * s->kernel_h * s->kernel_w;
    const int exact = p->exact && multiple <= 2 && !(epilogue & CK_GLOBAL_AVERAGE);
    check_close(unblocked(dst, s->n, s->k, plane), expected, s->n * s->k * plane, scale,
                exact ? 0 : ROUNDOFF * sqrt(terms + 4) * multiple, 0, what);

    /* The same bits again, and fewer images than the plan takes: those behind them stay as they were. */
    const size_t bytes = cr_blocked_count(s->n, s->k, plane, ck_block()) * sizeof *dst, one = bytes / s->n;
    args.dst = poisoned(s->n, s->k, plane);
    check(ck_conv_run(plan, &args) == CK_OK && !memcmp(args.dst, dst, bytes), "%s: other bits the second time", what);
    if (s->n > 1) {
        args.batch = s->n - 1;
        args.dst = poisoned(s->n, s->k, plane);
        check(ck_conv_run(plan, &args) == CK_OK, "%s: %d images", what, args.batch);
        check_close(unblocked(args.dst, args.batch, s->k, plane), expected, args.batch * s->k * plane, scale,
                    exact ? 0 : ROUNDOFF * sqrt(terms + 4) * multiple, 0, what);
        check(!memcmp((char *)args.dst + args.batch * one, poisoned(1, s->k, plane), one), "%s: wrote beyond", what);
    }
    ck_conv_plan_destroy(plan);
}

static void all_algorithms(const cr_conv *s, ck_layout layout, uint64_t seed) {
    static const uint32_t epilogues[] = {0, CK_BIAS | CK_RESIDUAL | CK_RELU, CK_BIAS | CK_RELU | CK_GLOBAL_AVERAGE,
                                         CK_BIAS | CK_RELU | CK_MAX_POOL_3X3_S2};
    for (int exact = 0; exact < 2; exact++) {
        for (int algorithm = 0; algorithm < CK_ALGORITHM_COUNT; algorithm++) {
            const problem p = make(s, layout, exact, seed);
            for (int e = 0; e < (exact ? 2 : 4); e++)
                run(&p, (ck_algorithm)algorithm, epilogues[e], 1 + (e + exact) % 3);
            release_all();
        }
    }
}

void test_forward(void) {
    memset(exercised, 0, sizeof exercised);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) all_algorithms(shapes + i, CK_NCHWC, 10 * i);
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        for (ck_layout layout = CK_NCHWC; layout <= CK_NHWC8; layout++)
            all_algorithms(stems + i, layout, 1000 + 10 * i);
    for (int algorithm = 1; algorithm < CK_ALGORITHM_COUNT; algorithm++)
        check(exercised[algorithm] >= 20, "%s was exercised %ld times", ck_algorithm_name((ck_algorithm)algorithm),
              exercised[algorithm]);
}

void test_swept_forward(void) {
    const sweep *s = all_of_sweep();
    check(s->count == 350, "the sweep has %zu shapes", s->count);
    for (size_t i = 0; i < s->count; i++) all_algorithms(s->shapes + i, CK_NCHWC, 5000 + 10 * i);
}
