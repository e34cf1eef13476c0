/* Data and weight gradients of the convolutions, every algorithm x threads, with the bounds of
 * Tests/CKernelsTests/GradientOracle.swift. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "shapes.h"

typedef struct {
    const cr_conv *s;
    ck_layout layout;
    int exact;
    float *x, *w, *dy;
    double *dx, *dx_scale, *dw, *dw_scale;
    size_t in, out, inputs, weights;
} problem;

static problem make(const cr_conv *s, ck_layout layout, int exact, uint64_t seed) {
    problem p = {.s = s, .layout = layout, .exact = exact, .in = (size_t)s->h * s->w};
    p.out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    p.inputs = s->n * s->c * p.in;
    p.weights = (size_t)s->k * (s->c / s->groups) * s->kernel_h * s->kernel_w;
    const size_t outputs = s->n * s->k * p.out;
    p.x = exact ? integers(p.inputs, seed, -3, 3) : uniform(p.inputs, seed, -1, 1);
    p.w = exact ? integers(p.weights, seed + 1, -2, 2) : uniform(p.weights, seed + 1, -1, 1);
    p.dy = exact ? integers(outputs, seed + 2, -3, 3) : uniform(outputs, seed + 2, -1, 1);
    p.dx = doubles(p.inputs), p.dx_scale = doubles(p.inputs);
    p.dw = doubles(p.weights), p.dw_scale = doubles(p.weights);
    cr_conv_data_gradient(s, p.dy, p.w, p.dx, p.dx_scale);
    cr_conv_weight_gradient(s, p.x, p.dy, p.dw, p.dw_scale);
    cr_error_scale(p.dx_scale, p.dx, 1, s->n * s->c, p.in, NULL, NULL);
    cr_error_scale(p.dw_scale, p.dw, 1, s->k * (s->c / s->groups), p.weights / (s->k * (s->c / s->groups)), NULL, NULL);
    return p;
}

static void run(const problem *p, ck_pass pass, ck_algorithm algorithm, int32_t threads) {
    const cr_conv *s = p->s;
    ck_conv_desc desc = description(s, threads);
    desc.src_layout = p->layout;
    desc.pass = pass;
    desc.algorithm = algorithm;
    const int weights = pass == CK_WEIGHT_GRADIENT;
    char what[200];
    snprintf(what, sizeof what, "%s gradient %dx%dx%dx%d -> %d, %dx%d/%d pad %d groups %d, layout %d, %s, %d threads",
             weights ? "weight" : "data", s->n, s->c, s->h, s->w, s->k, s->kernel_h, s->kernel_w, s->stride_h, s->pad_h,
             s->groups, (int)p->layout, ck_algorithm_name(algorithm), threads);
    ck_conv_plan *plan = NULL;
    const ck_status status = ck_conv_plan_create(&desc, &plan);
    if (status == CK_UNSUPPORTED && algorithm != CK_AUTO) return;
    if (!check(status == CK_OK, "%s: %s", what, ck_status_string(status))) return;
    const ck_algorithm chosen = ck_conv_plan_algorithm(plan);
    void *packed = allocate(ck_conv_packed_size(plan)), *workspace = allocate(ck_conv_workspace_size(plan));
    cr_poison(workspace, ck_conv_workspace_size(plan));
    if (!weights) check(ck_conv_pack(plan, p->w, NULL, packed) == CK_OK, "%s: pack", what);
    float *dy = blocked(p->dy, s->n, s->k, p->out), *dst = weights ? floats(p->weights) : poisoned(s->n, s->c, p->in);
    ck_conv_args args = {.src = !weights               ? dy
                                : p->layout == CK_NCHW ? p->x
                                                       : blocked(p->x, s->n, s->c, p->in),
                         .packed = weights ? NULL : packed,
                         .grad = weights ? dy : NULL,
                         .dst = dst,
                         .workspace = workspace};
    check(ck_conv_run(plan, &args) == CK_OK, "%s: run", what);
    const size_t count = weights ? p->weights : p->inputs;
    const size_t stored = weights ? count : cr_blocked_count(s->n, s->c, p->in, ck_block());
    args.dst = weights ? floats(stored) : poisoned(s->n, s->c, p->in);
    check(ck_conv_run(plan, &args) == CK_OK && !memcmp(args.dst, dst, stored * sizeof *dst),
          "%s: other bits the second time", what);
    ck_conv_plan_destroy(plan);

    const double taps = (double)s->kernel_h * s->kernel_w;
    const double terms = weights ? (double)s->n * (double)p->out : s->k / s->groups * taps;
    const int winograd = chosen == CK_WINOGRAD_2 || chosen == CK_WINOGRAD_4;
    const double multiple = chosen == CK_WINOGRAD_4 ? 5 : chosen == CK_WINOGRAD_2 ? 2 : 1;
    double *scale = doubles(count);
    memcpy(scale, weights ? p->dw_scale : p->dx_scale, count * sizeof *scale);
    if (winograd) {
        const int planes = weights ? s->k * (s->c / s->groups) : s->n * s->c;
        double *worst = doubles(planes);
        cr_plane_max(scale, planes, count / planes, worst);
        cr_repeat(worst, planes, count / planes, scale);
    }
    if (!weights) check_surplus(dst, s->n, s->c, p->in, what);
    check_close(weights ? dst : unblocked(dst, s->n, s->c, p->in), weights ? p->dw : p->dx, count, scale,
                p->exact && chosen != CK_WINOGRAD_4 ? 0 : ROUNDOFF * sqrt(terms + 4) * multiple, 0, what);
}

static void all_algorithms(const cr_conv *s, ck_layout layout, uint64_t seed) {
    for (int exact = 0; exact < 2; exact++) {
        const problem p = make(s, layout, exact, seed);
        for (int algorithm = 0; algorithm < CK_ALGORITHM_COUNT; algorithm++) {
            const int32_t threads = 1 + (algorithm + exact) % 3;
            run(&p, CK_WEIGHT_GRADIENT, (ck_algorithm)algorithm, threads);
            if (layout == CK_NCHWC) run(&p, CK_DATA_GRADIENT, (ck_algorithm)algorithm, threads);
        }
        release_all();
    }
}

void test_gradients(void) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) all_algorithms(shapes + i, CK_NCHWC, 10 * i);
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        for (ck_layout layout = CK_NCHWC; layout <= CK_NCHW; layout++) all_algorithms(stems + i, layout, 1000 + 10 * i);
}

void test_swept_gradients(void) {
    const sweep *s = all_of_sweep();
    check(s->count == 350, "the sweep has %zu shapes", s->count);
    for (size_t i = 0; i < s->count; i++) all_algorithms(s->shapes + i, CK_NCHWC, 5000 + 10 * i);
}
