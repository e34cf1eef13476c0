/* errors.c: how exact each algorithm is on the 3x3 layers of the networks, forward and backward, against double.
 *
 *     errors            a Markdown table: rms error over the result's rms, and largest error over its largest value
 *
 * Inputs are what a ResNet's layers see: max(0, normal) pictures, normal weights with He's variance, normal gradients.
 * CK_ISA chooses the instruction set. */
#include <ckernels.h>
#include <creference.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct layer {
    int in_channels, size, out_channels, stride;
} layer;

static void *allocate(size_t bytes) {
    void *memory = ck_alloc(bytes ? bytes : 64);
    if (!memory) {
        fprintf(stderr, "errors: out of memory\n");
        exit(1);
    }
    return memory;
}

static void need(ck_status status, const char *what) {
    if (status == CK_OK) return;
    fprintf(stderr, "errors: %s: %s\n", what, ck_status_string(status));
    exit(1);
}

static double uniform(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller. */
static float normal(void) { return (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform())); }

typedef struct problem {
    cr_conv shape;
    float *x, *w, *dy;
    size_t in, out, weights; /* values of x, y and w */
    double *exact[3];        /* by pass */
} problem;

static problem make_problem(layer l) {
    const int c = l.in_channels, k = l.out_channels, s = l.size, out = (s - 1) / l.stride + 1;
    problem p = {.shape = {1, c, s, s, k, 3, 3, l.stride, l.stride, 1, 1, 1, 1, 1},
                 .in = (size_t)c * (size_t)s * (size_t)s,
                 .out = (size_t)k * (size_t)out * (size_t)out,
                 .weights = (size_t)c * (size_t)k * 9};
    p.x = allocate(p.in * 4);
    p.dy = allocate(p.out * 4);
    p.w = allocate(p.weights * 4);
    for (size_t i = 0; i < p.in; i++) p.x[i] = fmaxf(normal(), 0);
    for (size_t i = 0; i < p.out; i++) p.dy[i] = normal();
    for (size_t i = 0; i < p.weights; i++) p.w[i] = normal() * sqrtf(2.0f / (float)(9 * c));
    const size_t results[3] = {p.out, p.in, p.weights};
    for (int pass = 0; pass < 3; pass++) p.exact[pass] = allocate(results[pass] * 8);
    cr_conv_forward(&p.shape, p.x, p.w, p.exact[0], NULL);
    cr_conv_data_gradient(&p.shape, p.dy, p.w, p.exact[1], NULL);
    cr_conv_weight_gradient(&p.shape, p.x, p.dy, p.exact[2], NULL);
    return p;
}

static size_t result_count(const problem *p, int pass) {
    return pass == CK_FORWARD ? p->out : pass == CK_DATA_GRADIENT ? p->in : p->weights;
}

/* Computes one pass; 0 if the algorithm does not take it. */
static int compute(const problem *p, ck_pass pass, ck_algorithm algorithm, float *result) {
    const int c = p->shape.c, k = p->shape.k, s = p->shape.h, out = cr_conv_out_h(&p->shape);
    ck_conv_desc d = {.batch = 1,
                      .in_channels = c,
                      .in_height = s,
                      .in_width = s,
                      .out_channels = k,
                      .kernel_height = 3,
                      .kernel_width = 3,
                      .stride_height = p->shape.stride_h,
                      .stride_width = p->shape.stride_w,
                      .pad_height = 1,
                      .pad_width = 1,
                      .pass = pass,
                      .algorithm = algorithm};
    ck_conv_plan *plan;
    const ck_status status = ck_conv_plan_create(&d, &plan);
    if (status == CK_UNSUPPORTED) return 0;
    need(status, "plan");
    const size_t in_count = ck_blocked_count(1, c, s, s), out_count = ck_blocked_count(1, k, out, out);
    const size_t packed_bytes = ck_conv_packed_size(plan), workspace_bytes = ck_conv_workspace_size(plan);
    float *x = allocate(in_count * 4), *y = allocate(out_count * 4);
    void *packed = allocate(packed_bytes), *workspace = allocate(workspace_bytes);
    if (pass != CK_DATA_GRADIENT) need(ck_nchw_to_blocked(p->x, 1, c, s, s, x, 0), "layout");
    if (pass != CK_FORWARD) need(ck_nchw_to_blocked(p->dy, 1, k, out, out, y, 0), "layout");
    if (pass != CK_WEIGHT_GRADIENT) need(ck_conv_pack(plan, p->w, NULL, packed), "pack");
    const ck_conv_args args = {.src = pass == CK_DATA_GRADIENT ? y : x,
                               .packed = packed_bytes ? packed : NULL,
                               .grad = y,
                               .dst = pass == CK_WEIGHT_GRADIENT ? result
                                      : pass == CK_FORWARD       ? y
                                                                 : x,
                               .workspace = workspace};
    need(ck_conv_run(plan, &args), "run");
    if (pass == CK_FORWARD) need(ck_blocked_to_nchw(y, 1, k, out, out, result, 0), "layout");
    if (pass == CK_DATA_GRADIENT) need(ck_blocked_to_nchw(x, 1, c, s, s, result, 0), "layout");
    ck_free(x, in_count * 4), ck_free(y, out_count * 4);
    ck_free(packed, packed_bytes ? packed_bytes : 64), ck_free(workspace, workspace_bytes ? workspace_bytes : 64);
    ck_conv_plan_destroy(plan);
    return 1;
}

static void print_row(const problem *p, ck_pass pass, ck_algorithm algorithm, const float *result) {
    static const char *const names[] = {"forward", "data gradient", "weight gradient"};
    const double *exact = p->exact[pass];
    const size_t count = result_count(p, pass);
    double squares = 0, wrong = 0, largest = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        const double error = fabs(result[i] - exact[i]);
        squares += exact[i] * exact[i];
        wrong += error * error;
        largest = fmax(largest, fabs(exact[i]));
        worst = fmax(worst, error);
    }
    printf("| %d -> %d at %dx%d / %d | %s | %s | %.1e | %.1e |\n", p->shape.c, p->shape.k, p->shape.h, p->shape.w,
           p->shape.stride_h, names[pass], ck_algorithm_name(algorithm), sqrt(wrong / squares), worst / largest);
}

int main(void) {
    static const layer layers[] = {{64, 56, 64, 1},  {128, 28, 128, 1}, {256, 14, 256, 1}, {512, 7, 512, 1},
                                   {64, 56, 128, 2}, {128, 28, 256, 2}, {256, 14, 512, 2}};
    need(ck_init(), "choosing the instruction set");
    printf("%s\n\n| layer | pass | algorithm | rms | largest |\n| --- | --- | --- | --- | --- |\n",
           ck_isa_name(ck_isa_active()));
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const problem p = make_problem(layers[i]);
        float *result = allocate((p.in + p.out + p.weights) * 4);
        for (int pass = 0; pass < 3; pass++)
            for (int a = CK_AUTO + 1; a < CK_ALGORITHM_COUNT; a++)
                if (compute(&p, (ck_pass)pass, (ck_algorithm)a, result))
                    print_row(&p, (ck_pass)pass, (ck_algorithm)a, result);
    }
    return 0;
}
