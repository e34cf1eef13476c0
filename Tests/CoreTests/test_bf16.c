/* Weights in bfloat16: rounded as they must be, and then the very bits that floats rounded beforehand give. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "shapes.h"

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static float widened(uint16_t half) { return float_of((uint32_t)half << 16); }

/* By distance, in double: the two neighbors of x are its upper half as it is and one further from zero, which above the
 * largest number is 2^128. */
static uint16_t nearest(float x) {
    const uint16_t near = (uint16_t)(bits_of(x) >> 16), far = (uint16_t)(near + 1);
    const double last = isinf(widened(far)) ? copysign(0x1p128, x) : widened(far);
    const double to_near = fabs((double)x - widened(near)), to_far = fabs(last - x);
    return to_near < to_far || (to_near == to_far && near % 2 == 0) ? near : far;
}

static void rounding(void) {
    static const uint32_t special[] = {0,          0x80000000, 1,          0x7fff,     0x8000,     0x8001,
                                       0x18000,    0x3f808000, 0x3f818000, 0x3f807fff, 0x3f818001, 0x7f7f7fff,
                                       0x7f7f8000, 0x7f7fffff, 0xff7fffff, 0x007fffff, 0x00808000};
    static const uint32_t kept[] = {0x7f800000, 0xff800000, 0x7f800001, 0xff80ffff, 0x7fffffff, 0xffffffff, 0x7fc00000};
    enum { MOST = 20000 };
    float x[MOST];
    uint16_t y[MOST];
    uint32_t state = 7;
    size_t count = 0, wrong = 0;
    for (; count < COUNT_OF(special); count++) x[count] = float_of(special[count]);
    while (count < MOST) {
        state = state * 1664525u + 1013904223u;
        x[count] = float_of(state ^ state >> 16);
        count += isfinite(x[count]);
    }
    check(ck_to_bf16(x, count, y) == CK_OK, "bf16 of numbers");
    for (size_t i = 0; i < count; i++) wrong += y[i] != nearest(x[i]);
    check(wrong == 0, "%zu of %zu numbers are not the nearest bf16", wrong, count);
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        const float number = float_of(kept[i]);
        check(ck_to_bf16(&number, 1, y) == CK_OK, "bf16 of no number");
        const float got = widened(y[0]);
        check(isnan(number) ? isnan(got) : got == number, "bf16 of %08x is %04x", kept[i], y[0]);
    }
    REFUSED(ck_to_bf16(NULL, 1, y));
    REFUSED(ck_to_bf16(x, 1, NULL));
}

/* The bfloat16 of x, and x rounded to it. */
static uint16_t *halved(const float *x, size_t count, float **rounded) {
    uint16_t *halves = allocate(count * sizeof *halves);
    *rounded = floats(count);
    check(ck_to_bf16(x, count, halves) == CK_OK, "bf16");
    for (size_t i = 0; i < count; i++) (*rounded)[i] = widened(halves[i]);
    return halves;
}

static void linear(int n, int in, int out, int number) {
    const int relu = number % 2;
    const size_t x_stride = in + number % 3, y_stride = out + number % 2, rows = (n - 1) * y_stride + out;
    const float *x = uniform((n - 1) * x_stride + in, number, -1, 1), *b = uniform(out, number + 1, -1, 1);
    float *rounded, *expected = floats(rows), *got = floats(rows);
    const uint16_t *w = halved(uniform((size_t)out * in, number + 2, -1, 1), (size_t)out * in, &rounded);
    if (number % 3 == 0) b = NULL;
    check(ck_linear(x, x_stride, rounded, b, n, in, out, expected, y_stride, relu, 1) == CK_OK, "linear");
    check(ck_linear_bf16(x, x_stride, w, b, n, in, out, got, y_stride, relu, number % 4) == CK_OK, "linear, bf16");
    check(!memcmp(got, expected, rows * sizeof *got), "linear %d x %d -> %d in bf16 gives other bits", n, in, out);
    release_all();
}

/* One run of the convolution s by 1x1 filters; NULL where its plan fails. */
static float *convolved(const cr_conv *s, uint32_t epilogue, ck_packed_type type, const float *w, const float *scale,
                        int threads) {
    ck_conv_desc d = description(s, threads);
    ck_conv_plan *plan;
    d.epilogue = epilogue;
    d.algorithm = CK_POINTWISE;
    d.packed_type = type;
    if (!check(ck_conv_plan_create(&d, &plan) == CK_OK, "%s: no plan for type %d", shape_text(s), type)) return NULL;
    const size_t plane = (size_t)s->h * s->w, out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    void *packed = allocate(ck_conv_packed_size(plan));
    const size_t work = ck_conv_workspace_size(plan);
    float *dst = poisoned(s->n, s->k, epilogue & CK_GLOBAL_AVERAGE ? 1 : out);
    const ck_conv_args args = {.src = blocked(uniform(s->n * s->c * plane, 1, -1, 1), s->n, s->c, plane),
                               .packed = packed,
                               .bias = padded(uniform(s->k, 3, -1, 1), s->k),
                               .residual = blocked(uniform(s->n * s->k * out, 4, -1, 1), s->n, s->k, out),
                               .dst = dst,
                               .workspace = work ? allocate(work) : NULL};
    check(ck_conv_pack(plan, w, scale, packed) == CK_OK, "%s: packing", shape_text(s));
    check(ck_conv_run(plan, &args) == CK_OK, "%s: running", shape_text(s));
    ck_conv_plan_destroy(plan);
    return dst;
}

static void convolution(const cr_conv *s, uint32_t epilogue, int threads) {
    const size_t count = (size_t)s->k * s->c, out = (size_t)cr_conv_out_h(s) * cr_conv_out_w(s);
    const int v = ck_block(), blocks = (s->k + v - 1) / v;
    const float *w = uniform(count, 2, -1, 1), *scale = uniform(s->k, 5, 0.1, 2);
    float *scaled = floats(count), *rounded;
    for (size_t i = 0; i < count; i++) scaled[i] = w[i] * scale[i / s->c];
    halved(scaled, count, &rounded);
    const float *expected = convolved(s, epilogue, CK_FLOAT32, rounded, NULL, threads);
    const float *got = convolved(s, epilogue, CK_BF16, w, scale, threads);
    const size_t results = (size_t)s->n * blocks * v * (epilogue & CK_GLOBAL_AVERAGE ? 1 : out);
    check(expected && got && !memcmp(got, expected, results * sizeof *got), "%s in bf16 gives other bits, epilogue %u",
          shape_text(s), epilogue);
    release_all();
}

/* Every register tile and panel width, both strides, deep panels that are cut, maps of one pixel. */
static void convolutions(void) {
    static const cr_conv shapes[] = {
        SQUARE(1, 16, 16, 1, 1, 1, 1, 0, 1, 1),   SQUARE(2, 37, 19, 5, 7, 1, 1, 0, 1, 1),
        SQUARE(1, 300, 70, 7, 7, 1, 1, 0, 1, 1),  SQUARE(1, 64, 256, 3, 19, 1, 1, 0, 1, 1),
        SQUARE(3, 40, 24, 9, 8, 1, 2, 0, 1, 1),   SQUARE(1, 200, 136, 14, 13, 1, 2, 0, 1, 1),
        SQUARE(1, 1030, 33, 2, 3, 1, 1, 0, 1, 1), SQUARE(1, 8, 100, 23, 29, 1, 1, 0, 1, 1)};
    static const uint32_t epilogues[] = {0, CK_BIAS | CK_RESIDUAL | CK_RELU, CK_BIAS | CK_RELU | CK_GLOBAL_AVERAGE};
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        for (size_t e = 0; e < COUNT_OF(epilogues); e++) convolution(&shapes[i], epilogues[e], 1 + (int)(i + e) % 3);
    for (int pixels = 1; pixels <= 33; pixels++)
        for (int k = 1; k <= 5; k += 2) {
            const cr_conv s = SQUARE(1, 20, k * ck_block(), 1, pixels, 1, 1, 0, 1, 1);
            convolution(&s, CK_BIAS, 1);
        }
}

static void refusals(void) {
    const cr_conv one = SQUARE(1, 32, 32, 7, 7, 1, 1, 0, 1, 1), three = SQUARE(1, 32, 32, 7, 7, 3, 1, 1, 1, 1),
                  groups = SQUARE(1, 32, 32, 7, 7, 1, 1, 0, 1, 2);
    ck_conv_plan *plan, *plain;
    ck_conv_desc d = description(&three, 1);
    d.packed_type = CK_BF16;
    check(ck_conv_plan_create(&d, &plan) == CK_UNSUPPORTED, "3x3 in bf16 is not refused");
    d = description(&groups, 1);
    d.packed_type = CK_BF16;
    check(ck_conv_plan_create(&d, &plan) == CK_UNSUPPORTED, "groups in bf16 are not refused");
    d = description(&one, 1);
    d.packed_type = (ck_packed_type)2;
    REFUSED(ck_conv_plan_create(&d, &plan));
    d.packed_type = CK_BF16;
    d.algorithm = CK_DIRECT;
    check(ck_conv_plan_create(&d, &plan) == CK_UNSUPPORTED, "direct in bf16 is not refused");
    d.algorithm = CK_AUTO;
    d.pass = CK_WEIGHT_GRADIENT;
    check(ck_conv_plan_create(&d, &plan) == CK_UNSUPPORTED, "a weight gradient in bf16 is not refused");
    d.pass = CK_FORWARD;
    char text[128];
    check(ck_conv_plan_create(&d, &plan) == CK_OK, "no plan for bf16");
    ck_conv_plan_describe(plan, text, sizeof text);
    check(strstr(text, "bf16 weights") != NULL, "%s does not tell of bf16", text);
    d.algorithm = CK_POINTWISE;
    d.packed_type = CK_FLOAT32;
    check(ck_conv_plan_create(&d, &plain) == CK_OK, "no plan for floats");
    check(2 * ck_conv_packed_size(plan) == ck_conv_packed_size(plain), "bf16 is not half of float32");
    check(ck_conv_packed_format(plan) != ck_conv_packed_format(plain), "bf16 and float32 are of one format");
    ck_conv_plan_destroy(plan);
    ck_conv_plan_destroy(plain);
    const uint16_t half = 0;
    const float x = 0;
    float y;
    REFUSED(ck_linear_bf16(NULL, 1, &half, NULL, 1, 1, 1, &y, 1, 0, 1));
    REFUSED(ck_linear_bf16(&x, 1, NULL, NULL, 1, 1, 1, &y, 1, 0, 1));
    REFUSED(ck_linear_bf16(&x, 1, &half, NULL, 1, 1, 1, NULL, 1, 0, 1));
    REFUSED(ck_linear_bf16(&x, 1, &half, NULL, 1, 2, 1, &y, 1, 0, 1));
}

void test_bf16(void) {
    static const int layers[][3] = {{1, 1, 1},   {1, 7, 5},    {2, 16, 4},    {5, 33, 9},
                                    {3, 100, 1}, {66, 20, 11}, {1, 512, 100}, {7, 2048, 10}};
    rounding();
    for (size_t i = 0; i < COUNT_OF(layers); i++)
        for (int more = 0; more < 6; more++) linear(layers[i][0], layers[i][1], layers[i][2], 8 * (int)i + more);
    convolutions();
    ck_caches own;
    const ck_caches small = {.l1 = {4 << 10, 1}, .l2 = {24 << 10, 1}, .l3 = {0, 1}};
    if (ck_caches_active(&own) != CK_OK || !check(ck_caches_force(&small) == CK_OK, "small caches")) return;
    convolutions();
    check(ck_caches_force(&own) == CK_OK, "the caches of before");
    refusals();
}
