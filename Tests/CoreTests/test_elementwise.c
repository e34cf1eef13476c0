/* Elementwise operations, scale and shift, concat, folded batch norm: against the reference, and at their edges. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* ---- flat arrays */

/* One NaN or infinity among them, and a negative zero. */
static void add_and_relu(size_t count, int number, int32_t threads) {
    float *a = uniform(count, (uint64_t)number, -1, 1), *b = uniform(count, (uint64_t)number + 100, -1, 1);
    a[count / 2] = number % 2 ? -INFINITY : NAN;
    b[0] = -0.0f;
    double *sum = doubles(count), *positive = doubles(count), *only = doubles(count);
    float *y = floats(count), *onto = copied(b, count), *in_place = copied(a, count);
    for (size_t i = 0; i < count; i++) {
        sum[i] = a[i] + b[i];
        positive[i] = sum[i] < 0 ? 0 : sum[i];
        only[i] = a[i] < 0 ? 0 : a[i];
    }
    check(ck_add(a, b, y, count, 0, threads) == CK_OK, "add");
    check_equal(y, sum, count, "add");
    check(ck_add(a, b, y, count, 1, threads) == CK_OK, "add, relu");
    check_equal(y, positive, count, "add, relu");
    check(ck_relu(a, y, count, threads) == CK_OK, "relu");
    check_equal(y, only, count, "relu");
    check(ck_add(a, onto, onto, count, 1, threads) == CK_OK, "add, relu onto b");
    check_equal(onto, positive, count, "add, relu onto b");
    check(ck_relu(in_place, in_place, count, threads) == CK_OK, "relu in place");
    check_equal(in_place, only, count, "relu in place");
    release_all();
}

/* Sigmoid: expf within an ulp (2 u), an addition and a division. Its gradient: 1 - y is exact for y >= 1/2, or errs by
 * half an ulp of 1; then two products. */
static void activations(size_t count, int32_t threads) {
    const float *x = uniform(count, 1, -4, 4), *dy = uniform(count, 2, -1, 1), *far = uniform(count, 4, -40, 40);
    double *only = doubles(count), *back = doubles(count), *sigmoid = doubles(count), *size = doubles(count);
    float *y = floats(count), *dx = floats(count);
    cr_relu(x, count, only);
    check(ck_relu(x, y, count, threads) == CK_OK, "relu");
    check_equal(y, only, count, "relu");
    cr_relu_backward(y, dy, count, back);
    check(ck_relu_backward(y, dy, dx, count, threads) == CK_OK, "relu backward");
    check_equal(dx, back, count, "relu backward");
    y[0] = NAN;
    check(ck_relu_backward(y, dy, dx, count, threads) == CK_OK && dx[0] == dy[0],
          "a NaN lets the gradient through, as in PyTorch");

    double *clipped = doubles(count), *between = doubles(count);
    for (size_t i = 0; i < count; i++) {
        clipped[i] = far[i] < 0 ? 0 : far[i] > 6 ? 6 : far[i];
        between[i] = far[i] > 0 && far[i] < 6 ? dy[i] : 0;
    }
    check(ck_clip(far, 0, 6, y, count, threads) == CK_OK, "clip");
    check_equal(y, clipped, count, "clip");
    check(ck_clip_backward(y, dy, 0, 6, dx, count, threads) == CK_OK, "clip backward");
    check_equal(dx, between, count, "clip backward");
    cr_sigmoid(far, count, sigmoid);
    check(ck_sigmoid(far, y, count, threads) == CK_OK, "sigmoid");
    check_close(y, sigmoid, count, sigmoid, 5 * ROUNDOFF, 0, "sigmoid");
    check(ck_sigmoid(x, y, count, threads) == CK_OK, "sigmoid");
    cr_sigmoid_backward(y, dy, count, back);
    for (size_t i = 0; i < count; i++) size[i] = fabs((double)(dy[i] * y[i]));
    check(ck_sigmoid_backward(y, dy, dx, count, threads) == CK_OK, "sigmoid backward");
    check_close(dx, back, count, size, 3 * ROUNDOFF, 0, "sigmoid backward");
    release_all();
}

static void edges_of_sigmoid(void) {
    const float x[] = {-INFINITY, INFINITY, 0, -200, NAN};
    float y[5];
    check(ck_sigmoid(x, y, 5, 1) == CK_OK, "sigmoid");
    check(y[0] == 0 && y[1] == 1 && y[2] == 0.5f && y[3] == 0 && isnan(y[4]), "sigmoid's edges: %g %g %g %g %g", y[0],
          y[1], y[2], y[3], y[4]);
}

/* ---- blocks */

static void scale_and_shift(int n, int c, int h, int w, int relu, int32_t threads) {
    const size_t plane = (size_t)h * w, count = n * c * plane;
    const float *x = uniform(count, 1, -1, 1), *scale = uniform(c, 2, -1, 1), *shift = uniform(c, 3, -1, 1);
    double *y = doubles(count), *size = doubles(count);
    for (size_t i = 0; i < count; i++) {
        const size_t k = i / plane % c;
        const double product = (double)x[i] * scale[k];
        y[i] = product + shift[k];
        size[i] = fabs(product) + fabs((double)shift[k]);
        if (relu && y[i] < 0) y[i] = 0;
    }
    float *src = blocked(x, n, c, plane), *dst = poisoned(n, c, plane);
    for (int in_place = 0; in_place < 2; in_place++) {
        float *to = in_place ? src : dst;
        check(ck_scale_shift(src, padded(scale, c), padded(shift, c), n, c, h, w, to, relu, threads) == CK_OK,
              "scale and shift");
        check_close(unblocked(to, n, c, plane), y, count, size, 2 * ROUNDOFF, 0, "scale and shift");
        check_surplus(to, n, c, plane, "scale and shift");
    }
    release_all();
}

/* One part of a concat: put in, and taken out again, bit for bit. */
static void concat_part(const float *whole, const float *blocked_whole, float *dst, int total, int offset, int c,
                        int32_t threads) {
    enum { N = 2, H = 3, W = 5, PLANE = H * W };
    float *part = floats((size_t)N * c * PLANE), *slice = poisoned(N, c, PLANE);
    for (int image = 0; image < N; image++)
        memcpy(part + image * c * PLANE, whole + (image * total + offset) * PLANE, c * PLANE * sizeof *part);
    const float *src = blocked(part, N, c, PLANE);
    check(ck_concat_copy(src, N, c, H, W, dst, total, offset, threads) == CK_OK, "concat");
    check(ck_concat_slice(blocked_whole, N, total, H, W, offset, slice, c, threads) == CK_OK, "slice");
    check(!memcmp(slice, src, ck_blocked_count(N, c, H, W) * sizeof *slice), "slice at %d", offset);
}

/* The parts in order or from the last, into a buffer that starts as NaN. */
static void concat(const int *parts, int count, int from_last) {
    const size_t plane = 15;
    int total = 0, offset = 0;
    for (int i = 0; i < count; i++) total += parts[i];
    const float *whole = uniform(2 * total * plane, 7, -1, 1);
    float *dst = poisoned(2, total, plane), *expected = blocked(whole, 2, total, plane);
    for (int i = 0; i < count; i++) {
        const int number = from_last ? count - 1 - i : i;
        if (from_last && i == 0) offset = total;
        if (from_last) offset -= parts[number];
        concat_part(whole, expected, dst, total, offset, parts[number], i % 4);
        if (!from_last) offset += parts[number];
    }
    check(!memcmp(dst, expected, ck_blocked_count(2, total, 3, 5) * sizeof *dst), "concat of %d parts", count);
    release_all();
}

/* Computed in double, rounded once. */
static void fold(const float *gamma, const float *beta) {
    enum { C = 37 };
    const float *mean = uniform(C, 3, -5, 5), *var = uniform(C, 4, 1e-6, 3);
    float *scale = floats(C), *shift = floats(C);
    double *scales = doubles(C), *shifts = doubles(C), *size = doubles(C);
    check(ck_bn_fold(gamma, beta, mean, var, 1e-5, C, scale, shift) == CK_OK, "fold");
    cr_bn_fold(gamma, beta, mean, var, 1e-5, C, scales, shifts);
    for (int k = 0; k < C; k++) size[k] = fabs(scales[k]);
    check_close(scale, scales, C, size, ROUNDOFF, 0, "folded scale");
    for (int k = 0; k < C; k++) size[k] = fabs(shifts[k]);
    check_close(shift, shifts, C, size, ROUNDOFF, 0, "folded shift");
}

void test_elementwise(void) {
    static const int counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000, 40001};
    static const int sizes[][4] = {{1, 1, 1, 1},  {2, 3, 3, 5},    {3, 16, 7, 7},
                                   {1, 17, 5, 6}, {2, 33, 40, 41}, {1, 64, 9, 1}};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        place_at_start((int)i % 2);
        add_and_relu(counts[i], (int)i, (int32_t)(i % 4));
        activations(counts[i], (int32_t)(i % 4));
        activations(counts[i], 3);
    }
    edges_of_sigmoid();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const int *s = sizes[i];
        scale_and_shift(s[0], s[1], s[2], s[3], i % 2, (int32_t)(i % 4));
    }
    for (int from_last = 0; from_last < 2; from_last++) {
        concat((int[]){1}, 1, from_last);
        concat((int[]){16, 16}, 2, from_last);
        concat((int[]){3, 5}, 2, from_last);
        concat((int[]){5, 16, 11}, 3, from_last);
        concat((int[]){64, 128, 32, 32}, 4, from_last);
        concat((int[]){1, 1, 1, 1, 13, 15, 17}, 7, from_last);
        concat((int[]){8, 8, 1}, 3, from_last);
    }
    const float *gamma = uniform(37, 1, -1, 1), *beta = uniform(37, 2, -1, 1);
    fold(gamma, beta);
    fold(NULL, beta);
    fold(gamma, NULL);
    fold(NULL, NULL);
}
