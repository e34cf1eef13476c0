/* Convolutions of 8-bit numbers against 64-bit integers: equal to the last bit, whatever the algorithm, the instruction
 * set and the threads, for bytes and weights at their extremes and for sums that leave 32 bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckernels_int8.h"
#include "harness.h"
#include "shapes.h"

typedef enum { RANDOM, EXTREME, LARGEST, PAIRED, PATTERNS } pattern;

typedef struct {
    const cr_conv *s;
    uint8_t *x, *residual; /* NCHW */
    int8_t *w;
    float *scale, *shift;
    float residual_scale;
    int64_t *sums;
    size_t in, out; /* pixels of a plane */
    int32_t weight_sum, weight_pair;
} problem;

static uint32_t state;
static uint32_t next(void) {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* Pairs of 255 * 127, 255 * -128 and their mixtures are where instructions that multiply bytes saturate. */
static uint8_t byte_of(pattern p) {
    return p == LARGEST ? 255 : p == EXTREME || p == PAIRED ? (next() % 4 ? 255 : 0) : (uint8_t)next();
}
static int8_t weight_of(pattern p) {
    static const int8_t extremes[] = {127, -127, -128, 127};
    return p == LARGEST ? 127 : p == EXTREME ? extremes[next() % 4] : (int8_t)((int)(next() % 256) - 128);
}

/* Weights (C, taps) of which two neighboring channels add up to 128 at most, and often just so. */
static void pair_up(int8_t *w, int channels, int taps) {
    static const int8_t pairs[][2] = {{127, 1}, {-128, 0}, {64, 64}, {-64, -64}, {-1, -127}, {90, -38}};
    for (int c = 0; c < channels; c++)
        for (int t = 0; t < taps; t++, w++) {
            if (c % 2) {
                const int first = w[-taps], rest = 128 - abs(first);
                *w = (int8_t)(rest == 128 ? -128 : next() % 2 ? rest : -rest);
            } else {
                *w = pairs[next() % 6][next() % 2];
            }
        }
}

static void sum_up(problem *p) {
    const cr_conv *s = p->s;
    const int oh = cr_conv_out_h(s), ow = cr_conv_out_w(s);
    int64_t *to = p->sums;
    for (int n = 0; n < s->n; n++)
        for (int k = 0; k < s->k; k++)
            for (int i = 0; i < oh; i++)
                for (int j = 0; j < ow; j++, to++)
                    for (int c = 0; c < s->c; c++)
                        for (int a = 0; a < s->kernel_h; a++)
                            for (int b = 0; b < s->kernel_w; b++) {
                                const int y = i * s->stride_h - s->pad_h + a * s->dilation_h;
                                const int x = j * s->stride_w - s->pad_w + b * s->dilation_w;
                                if (y < 0 || x < 0 || y >= s->h || x >= s->w) continue;
                                *to += (int64_t)p->x[((size_t)(n * s->c + c) * s->h + y) * s->w + x] *
                                       p->w[((size_t)(k * s->c + c) * s->kernel_h + a) * s->kernel_w + b];
                            }
}

static problem make(const cr_conv *s, pattern kind, uint32_t seed) {
    problem p = {.s = s, .in = (size_t)s->h * s->w};
    p.out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    const size_t inputs = s->n * s->c * p.in, outputs = s->n * s->k * p.out, taps = (size_t)s->kernel_h * s->kernel_w;
    const size_t filter = s->c * taps;
    state = seed;
    p.x = allocate(inputs);
    p.w = allocate(s->k * filter);
    p.residual = allocate(outputs);
    for (size_t i = 0; i < inputs; i++) p.x[i] = byte_of(kind);
    for (size_t i = 0; i < s->k * filter; i++) p.w[i] = weight_of(kind);
    if (kind == PAIRED)
        for (int k = 0; k < s->k; k++) pair_up(p.w + k * filter, s->c, (int)taps);
    for (size_t i = 0; i < outputs; i++) p.residual[i] = byte_of(kind);
    p.sums = memset(allocate(outputs * sizeof *p.sums), 0, outputs * sizeof *p.sums);
    sum_up(&p);
    p.scale = floats(s->k), p.shift = floats(s->k);
    int64_t most = 1;
    for (size_t i = 0; i < outputs; i++) most = llabs(p.sums[i]) > most ? llabs(p.sums[i]) : most;
    for (int k = 0; k < s->k; k++) {
        p.scale[k] = (k % 5 == 3 ? -1.f : 1.f) * (100.f + (float)(next() % 64)) / (float)most;
        p.shift[k] = (float)(next() % 2048) / 16;
        int32_t above = 0, below = 0;
        for (size_t i = 0; i < filter; i++) {
            const int32_t w = p.w[k * filter + i];
            above += w > 0 ? w : 0, below -= w < 0 ? w : 0;
            const int other = i + taps < filter ? p.w[k * filter + i + taps] : 0;
            if (i / taps % 2 == 0 && abs(w) + abs(other) > p.weight_pair) p.weight_pair = abs(w) + abs(other);
        }
        p.weight_sum = above > p.weight_sum ? above : p.weight_sum;
        p.weight_sum = below > p.weight_sum ? below : p.weight_sum;
    }
    p.residual_scale = 0.37f;
    return p;
}

/* What one result must be, every operation rounded for itself. */
static float before_rounding(const problem *p, size_t i, int k, int adds) {
    volatile float product = (float)(int32_t)(uint32_t)(uint64_t)p->sums[i] * p->scale[k];
    volatile float t = product + p->shift[k];
    if (!adds) return t;
    product = (float)p->residual[i] * p->residual_scale;
    t = t + product;
    return t;
}

static uint8_t as_byte(float t) { return (uint8_t)rintf(t < 0 ? 0 : t > 255 ? 255 : t); }

/* NCHW -> NCHWc of bytes, zeros in the surplus. */
static uint8_t *blocked_bytes(const uint8_t *x, int n, int c, size_t plane) {
    const int v = ck_block(), blocks = (c + v - 1) / v;
    uint8_t *made = memset(allocate((size_t)n * blocks * plane * v), 0, (size_t)n * blocks * plane * v);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            for (size_t at = 0; at < plane; at++)
                made[(((size_t)i * blocks + j / v) * plane + at) * v + j % v] = x[((size_t)i * c + j) * plane + at];
    return made;
}

/* The whole buffer: `images` images as they must be, everything behind as it was. */
static void compare(const problem *p, const void *dst, int images, int adds, int is_float, int relu, const char *what) {
    const cr_conv *s = p->s;
    const int v = ck_block(), blocks = (s->k + v - 1) / v;
    size_t wrong = 0;
    for (size_t at = 0; at < (size_t)s->n * blocks * p->out * v; at++) {
        const size_t plane = at / v / p->out, pixel = at / v % p->out, n = plane / blocks;
        const int k = (int)(plane % blocks) * v + (int)(at % v);
        float t = 0;
        if (k < s->k) t = before_rounding(p, (n * s->k + k) * p->out + pixel, k, adds);
        if (is_float) {
            const uint32_t left = 0xffffffffu;
            const float expected = relu && t < 0 ? 0 : t;
            wrong += memcmp((const float *)dst + at, n < (size_t)images ? (const void *)&expected : &left, 4) != 0;
        } else {
            wrong += ((const uint8_t *)dst)[at] != (n < (size_t)images ? as_byte(t) : 0xff);
        }
    }
    check(wrong == 0, "%s: %zu results differ", what, wrong);
}

static long exercised[CK_ALGORITHM_COUNT], with_bytes;

static void run(const problem *p, ck_algorithm algorithm, int adds, int is_float, int32_t threads) {
    const cr_conv *s = p->s;
    ck_int8_desc desc = {.conv = description(s, threads),
                         .float_result = is_float,
                         .weight_sum = p->weight_sum,
                         .weight_pair = p->weight_pair};
    const int relu = is_float && !adds;
    desc.conv.algorithm = algorithm;
    desc.conv.epilogue = (adds ? CK_RESIDUAL : 0u) | (relu ? CK_RELU : 0u);
    char what[160];
    snprintf(what, sizeof what, "int8 %dx%dx%dx%d -> %d, %dx%d/%d pad %d, %s, %s%s, %d threads", s->n, s->c, s->h, s->w,
             s->k, s->kernel_h, s->kernel_w, s->stride_h, s->pad_h, ck_algorithm_name(algorithm),
             is_float ? "floats" : "bytes", adds ? " + residual" : "", threads);
    ck_int8_plan *plan;
    const ck_status status = ck_int8_plan_create(&desc, &plan);
    if (status == CK_UNSUPPORTED && algorithm == CK_WINOGRAD_4) return;
    if (!check(status == CK_OK, "%s: %s", what, ck_status_string(status))) return;
    exercised[ck_int8_plan_algorithm(plan)]++;
    char text[80];
    ck_int8_plan_describe(plan, text, sizeof text);
    with_bytes += strstr(text, "direct bytes") != NULL;
    void *packed = allocate(ck_int8_packed_size(plan)), *workspace = allocate(ck_int8_workspace_size(plan));
    cr_poison(workspace, ck_int8_workspace_size(plan));
    check(ck_int8_pack(plan, p->w, packed) == CK_OK, "%s: pack", what);
    const int v = ck_block();
    const size_t count = (size_t)s->n * ((s->k + v - 1) / v) * p->out * v, bytes = count * (is_float ? 4 : 1);
    void *dst = memset(allocate(bytes), 0xff, bytes);
    uint8_t *residual = adds ? blocked_bytes(p->residual, s->n, s->k, p->out) : NULL;
    ck_int8_args args = {.src = blocked_bytes(p->x, s->n, s->c, p->in),
                         .packed = packed,
                         .scale = padded(p->scale, s->k),
                         .shift = padded(p->shift, s->k),
                         .residual = residual,
                         .residual_scale = p->residual_scale,
                         .dst = dst,
                         .workspace = workspace};
    check(ck_int8_run(plan, &args) == CK_OK, "%s: run", what);
    compare(p, dst, s->n, adds, is_float, relu, what);
    if (s->n > 1) {
        args.batch = s->n - 1;
        memset(dst, 0xff, bytes);
        check(ck_int8_run(plan, &args) == CK_OK, "%s: fewer images", what);
        compare(p, dst, args.batch, adds, is_float, relu, what);
    }
    if (adds && !is_float) {
        args.batch = 0;
        args.dst = residual;
        check(ck_int8_run(plan, &args) == CK_OK, "%s: in place", what);
        compare(p, residual, s->n, adds, is_float, relu, what);
    }
    ck_int8_plan_destroy(plan);
}

static void all_forms(const cr_conv *s, uint32_t seed) {
    static const ck_algorithm algorithms[] = {CK_AUTO, CK_DIRECT, CK_WINOGRAD_4};
    for (pattern kind = RANDOM; kind < PATTERNS; kind++) {
        const problem p = make(s, kind, seed + kind);
        for (int a = 0; a < 3; a++)
            for (int form = 0; form < 4; form++)
                if (kind == RANDOM || kind == PAIRED || form == 1)
                    run(&p, algorithms[a], form % 2, form / 2, 1 + (a + form) % 3);
        release_all();
    }
}

static void check_bounds(void) {
    /* Sums beyond 32 bits: direct wraps, Winograd is refused where it would not be exact. */
    const cr_conv wide = {1, 70000, 1, 1, 3, 1, 1, 1, 1, 0, 0, 1, 1, 1};
    const problem p = make(&wide, LARGEST, 7);
    check(p.sums[0] > INT32_MAX, "the sums do not leave 32 bits");
    for (int form = 0; form < 4; form++) run(&p, CK_AUTO, form % 2, form / 2, 2);
    release_all();

    const cr_conv s = {1, 116, 4, 4, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1}; /* 255 * 9 * 116 * 127 >= 2^25 */
    ck_int8_desc desc = {.conv = description(&s, 1)};
    ck_int8_plan *plan;
    desc.conv.algorithm = CK_WINOGRAD_4;
    check(ck_int8_plan_create(&desc, &plan) == CK_UNSUPPORTED, "Winograd beyond its bound");
    desc.weight_sum = 131586; /* the last at which 255 times it is below 2^25 */
    check(ck_int8_plan_create(&desc, &plan) == CK_OK, "Winograd at its bound");
    int8_t *w = memset(allocate(116 * 9), 127, 116 * 9);
    void *packed = allocate(ck_int8_packed_size(plan));
    check(ck_int8_pack(plan, w, packed) == CK_INVALID_ARGUMENT, "weights that break the promise are packed");
    w[0] = 126, w[1] = 100;
    for (int i = 0; i < 8; i++) w[2 + i] = 0;
    check(ck_int8_pack(plan, w, packed) == CK_OK, "weights that keep it are not");
    ck_int8_plan_destroy(plan);
    /* One pair that is too large for products of bytes, and a last channel without a partner. */
    cr_conv odd = s;
    odd.c = 115;
    ck_int8_desc paired = {.conv = description(&odd, 1), .weight_pair = 128};
    paired.conv.algorithm = CK_DIRECT;
    check(ck_int8_plan_create(&paired, &plan) == CK_OK, "products of bytes");
    packed = allocate(ck_int8_packed_size(plan));
    memset(w, 0, 116 * 9);
    w[2 * 9 + 4] = 100, w[3 * 9 + 4] = -28, w[114 * 9] = -128;
    check(ck_int8_pack(plan, w, packed) == CK_OK, "a pair that fits");
    w[3 * 9 + 4] = -29;
    check(ck_int8_pack(plan, w, packed) == CK_INVALID_ARGUMENT, "a pair that does not");
    ck_int8_plan_destroy(plan);
    desc.weight_sum = 131587;
    check(ck_int8_plan_create(&desc, &plan) == CK_UNSUPPORTED, "Winograd just beyond its bound");
    release_all();
}

static void check_refusals(void) {
    const cr_conv s = {1, 16, 5, 5, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    ck_int8_desc desc = {.conv = description(&s, 1)};
    ck_int8_plan *plan;
    check(ck_int8_plan_create(NULL, &plan) == CK_INVALID_ARGUMENT, "no description");
    check(ck_int8_plan_create(&desc, NULL) == CK_INVALID_ARGUMENT, "no place for the plan");
    ck_int8_desc other = desc;
    other.conv.groups = 2;
    check(ck_int8_plan_create(&other, &plan) == CK_UNSUPPORTED && !plan, "groups");
    other = desc, other.conv.epilogue = CK_RELU;
    check(ck_int8_plan_create(&other, &plan) == CK_UNSUPPORTED, "a ReLU of bytes");
    other = desc, other.conv.algorithm = CK_GEMM;
    check(ck_int8_plan_create(&other, &plan) == CK_UNSUPPORTED, "gemm");
    other = desc, other.conv.pass = CK_DATA_GRADIENT;
    check(ck_int8_plan_create(&other, &plan) != CK_OK, "gradients");
    other = desc, other.weight_sum = -1;
    check(ck_int8_plan_create(&other, &plan) == CK_INVALID_ARGUMENT, "a negative sum");
    other = desc, other.weight_pair = -1;
    check(ck_int8_plan_create(&other, &plan) == CK_INVALID_ARGUMENT, "a negative sum of a pair");
    check(ck_int8_plan_create(&desc, &plan) == CK_OK, "the plan");
    const ck_int8_args none = {0};
    check(ck_int8_run(plan, &none) == CK_INVALID_ARGUMENT, "nothing to run on");
    char text[80], whole[80];
    const size_t length = ck_int8_plan_describe(plan, whole, sizeof whole);
    check(ck_int8_plan_describe(plan, text, 6) == length && !strcmp(text, "int8 "), "a cut description");
    check(strncmp(whole, "int8 winograd f4x4 ", 19) == 0 || strncmp(whole, "int8 direct ", 12) == 0, "%s", whole);
    ck_int8_plan_destroy(plan);
    ck_int8_plan_destroy(NULL);
}

static void check_scaling(void) {
    const size_t count = 48 * 17;
    float *x = uniform(count, 3, -40, 300), *back = floats(count);
    const float edges[] = {0.5f, 1.5f, 2.5f, 254.5f, 255.5f, -0.5f, 1e30f, -1e30f, 0.49999997f, INFINITY};
    memcpy(x, edges, sizeof edges);
    uint8_t *bytes = allocate(count);
    size_t wrong = 0;
    for (int halved = 0; halved < 2; halved++) {
        const float scale = halved ? 0.5f : 1;
        check(ck_quantize(x, scale, count, bytes, 2) == CK_OK, "quantize");
        for (size_t i = 0; i < count; i++) wrong += bytes[i] != as_byte(x[i] * scale);
    }
    check(ck_dequantize(bytes, 0.3f, count, back, 2) == CK_OK, "dequantize");
    for (size_t i = 0; i < count; i++) wrong += back[i] != (float)bytes[i] * 0.3f;
    check(wrong == 0, "%zu of the scaled numbers are wrong", wrong);
    check(ck_quantize(x, 1, count + 1, bytes, 1) == CK_INVALID_ARGUMENT, "a part of a block");
    check(ck_quantize(NULL, 1, count, bytes, 1) == CK_INVALID_ARGUMENT, "no floats");
    check(ck_dequantize(bytes, 1, count, NULL, 1) == CK_INVALID_ARGUMENT, "no room");
}

static void check_statistics(void) {
    const float x[] = {1, -3, 2, 0.5f, -0.25f, 4, 0, 7}, y[] = {1, -2, 2, 0.5f, 0, 4, 0, 5};
    float least, most;
    check(ck_extremes(x, 8, &least, &most) == CK_OK && least == -3 && most == 7, "extremes");
    int64_t counts[4] = {0, 0, 0, 1};
    check(ck_histogram(x, 8, 1, 4, counts) == CK_OK, "histogram");
    check(counts[0] == 3 && counts[1] == 1 && counts[2] == 1 && counts[3] == 4, "the bins of the histogram");
    double sums[2] = {1, 0}, products[4] = {0};
    check(ck_channel_sums(x, 2, 2, 2, sums) == CK_OK && sums[0] == 1 - 2 + 3.75 && sums[1] == 9.5, "channel sums");
    check(ck_compare(x, y, 8, products) == CK_OK && products[3] == 1 + 0.0625 + 4 && products[2] == 62.25,
          "comparison");
    check(ck_extremes(x, 0, &least, &most) == CK_INVALID_ARGUMENT, "extremes of nothing");
}

void test_int8(void) {
    memset(exercised, 0, sizeof exercised);
    with_bytes = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].groups == 1) all_forms(shapes + i, 10 * (uint32_t)i);
    check(exercised[CK_DIRECT] > 50 && exercised[CK_WINOGRAD_4] > 50 && with_bytes > 50,
          "the algorithms were not exercised");
    check_bounds();
    check_refusals();
    check_scaling();
    check_statistics();
}
