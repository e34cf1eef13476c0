/* Pooling, elementwise operations, layout, concat, the linear layer: forward and backward against the reference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- pooling */

static ck_pool_desc pool_case(int index) {
    int at = 0;
    for (int kernel = 1; kernel <= 4; kernel++)
        for (int stride = 1; stride <= 3; stride++)
            for (int pad = 0; pad <= kernel / 2; pad++)
                for (int ceil = 0; ceil < 2; ceil++, at++)
                    if (at == index)
                        return (ck_pool_desc){2,
                                              (int[]){3, 16, 17, 33}[at % 4],
                                              kernel + at % 7,
                                              kernel + at % 5,
                                              kernel,
                                              kernel,
                                              stride,
                                              stride,
                                              pad,
                                              pad,
                                              ceil,
                                              at % 4};
    return (ck_pool_desc){0};
}

static void pool(const ck_pool_desc *d, uint64_t seed) {
    const cr_pool s = {d->batch * d->channels, d->in_height,    d->in_width,   d->kernel_height, d->kernel_width,
                       d->stride_height,       d->stride_width, d->pad_height, d->pad_width,     d->ceil_mode};
    const int n = d->batch, c = d->channels;
    const size_t plane = (size_t)s.h * s.w, out = (size_t)cr_pool_out_h(&s) * cr_pool_out_w(&s);
    const size_t inputs = s.planes * plane, outputs = s.planes * out;
    char what[80];
    snprintf(what, sizeof what, "pool %dx%d, %d channels, kernel %d/%d pad %d", s.h, s.w, c, s.kernel_h, s.stride_h,
             s.pad_h);

    /* Negative and few values: no zero may slip in, and ties are common. */
    float *x = integers(inputs, seed, -9, -3);
    if (seed % 3 == 0) x[inputs / 2] = NAN;
    double *y = doubles(outputs), *dx = doubles(inputs), *sizes = doubles(inputs);
    int32_t *places = allocate(outputs * sizeof *places);
    cr_max_pool(&s, x, y, places);
    float *src = blocked(x, n, c, plane), *dst = poisoned(n, c, out), *found = poisoned(n, c, out);
    int32_t *argmax = (int32_t *)poisoned(n, c, out);
    check(ck_max_pool(d, src, dst, argmax) == CK_OK, "max %s", what);
    check_equal(unblocked(dst, n, c, out), y, outputs, what);
    check_surplus(dst, n, c, out, what);
    const size_t count = ck_blocked_count(n, c, cr_pool_out_h(&s), cr_pool_out_w(&s));
    for (size_t i = 0; i < count; i++) found[i] = (float)argmax[i];
    const float *offsets = unblocked(found, n, c, out);
    int same = 1;
    for (size_t i = 0; i < outputs; i++) same &= offsets[i] == (float)places[i];
    check(same, "argmax of %s", what);
    memset(dst, 0xFF, count * sizeof *dst);
    check(ck_max_pool(d, src, dst, NULL) == CK_OK, "max %s", what);
    check_equal(unblocked(dst, n, c, out), y, outputs, what);

    const float *dy = integers(outputs, seed + 1, -9, 9);
    cr_max_pool_backward(&s, places, dy, dx);
    check(ck_max_pool_backward(d, blocked(dy, n, c, out), argmax, src) == CK_OK, "backward %s", what);
    check_equal(unblocked(src, n, c, plane), dx, inputs, what);

    x = uniform(inputs, seed, -1, 1);
    dy = uniform(outputs, seed + 1, -1, 1);
    cr_average_pool(&s, x, y);
    check(ck_average_pool(d, blocked(x, n, c, plane), dst) == CK_OK, "average %s", what);
    check_close(unblocked(dst, n, c, out), y, outputs, NULL, 0, (s.kernel_h * s.kernel_w + 2) * ROUNDOFF, what);
    float *size = floats(outputs);
    for (size_t i = 0; i < outputs; i++) size[i] = fabsf(dy[i]);
    cr_average_pool_backward(&s, dy, dx);
    cr_average_pool_backward(&s, size, sizes);
    check(ck_average_pool_backward(d, blocked(dy, n, c, out), src) == CK_OK, "average backward %s", what);
    check_close(unblocked(src, n, c, plane), dx, inputs, sizes, (s.kernel_h * s.kernel_w + 2) * ROUNDOFF, 0, what);
    check_surplus(src, n, c, plane, what);
    release_all();
}

static void global_average(int n, int c, int h, int w) {
    const size_t plane = (size_t)h * w;
    const float *x = uniform(n * c * plane, 1, -1, 1), *dy = uniform(n * c, 2, -1, 1);
    double *in = doubles(n * c * plane), *y = doubles(n * c), *dx = doubles(n * c * plane);
    for (size_t i = 0; i < n * c * plane; i++) in[i] = x[i];
    cr_global_average_pool(in, n * c, plane, y);
    float *dst = poisoned(n, c, 1), *back = poisoned(n, c, plane);
    check(ck_global_average_pool(blocked(x, n, c, plane), n, c, h, w, dst, 2) == CK_OK, "global average");
    check_close(unblocked(dst, n, c, 1), y, n * c, NULL, 0, sqrt(plane + 4.0) * 3 * ROUNDOFF, "global average");
    check_surplus(dst, n, c, 1, "global average");
    cr_global_average_pool_backward(dy, n * c, plane, dx);
    check(ck_global_average_pool_backward(blocked(dy, n, c, 1), n, c, h, w, back, 2) == CK_OK,
          "global average backward");
    check_close(unblocked(back, n, c, plane), dx, n * c * plane, NULL, 0, 2 * ROUNDOFF, "global average backward");
    check_surplus(back, n, c, plane, "global average backward");
    release_all();
}

void test_pooling(void) {
    for (int i = 0;; i++) {
        const ck_pool_desc d = pool_case(i);
        if (d.batch == 0) break;
        pool(&d, (uint64_t)i);
    }
    const ck_pool_desc stem = {1, 64, 28, 57, 3, 3, 2, 2, 1, 1, 0, 2}, odd = {1, 5, 9, 6, 4, 2, 3, 1, 2, 0, 1, 3};
    pool(&stem, 1);
    pool(&odd, 2);
    global_average(1, 1, 1, 1);
    global_average(3, 17, 7, 7);
    global_average(2, 64, 5, 9);
}

/* ---- elementwise */

static void flat(size_t count, int threads) {
    const float *a = uniform(count, count, -1, 1), *b = uniform(count, count + 1, -1, 1),
                *dy = uniform(count, 3, -1, 1);
    const float *far = uniform(count, 4, -40, 40);
    double *sum = doubles(count), *positive = doubles(count), *only = doubles(count), *back = doubles(count);
    double *sigmoid = doubles(count), *slope = doubles(count);
    float *y = floats(count), *dx = floats(count);
    for (size_t i = 0; i < count; i++) {
        sum[i] = a[i] + b[i];
        positive[i] = sum[i] > 0 ? sum[i] : 0;
    }
    cr_relu(a, count, only);
    check(ck_add(a, b, y, count, 0, threads) == CK_OK, "add");
    check_equal(y, sum, count, "add");
    check(ck_add(a, b, y, count, 1, threads) == CK_OK, "add, relu");
    check_equal(y, positive, count, "add, relu");
    check(ck_relu(a, y, count, threads) == CK_OK, "relu");
    check_equal(y, only, count, "relu");
    cr_relu_backward(y, dy, count, back);
    check(ck_relu_backward(y, dy, dx, count, threads) == CK_OK, "relu backward");
    check_equal(dx, back, count, "relu backward");
    cr_sigmoid(far, count, sigmoid);
    check(ck_sigmoid(far, y, count, threads) == CK_OK, "sigmoid");
    check_close(y, sigmoid, count, sigmoid, 5 * ROUNDOFF, 0, "sigmoid");
    cr_sigmoid_backward(y, dy, count, slope);
    check(ck_sigmoid_backward(y, dy, dx, count, threads) == CK_OK, "sigmoid backward");
    check_close(dx, slope, count, NULL, 0, 3 * ROUNDOFF, "sigmoid backward");
    release_all();
}

static void blocks(int n, int c, int h, int w, int relu) {
    const size_t plane = (size_t)h * w, count = n * c * plane;
    const float *x = uniform(count, 1, -1, 1), *scale = uniform(c, 2, -1, 1), *shift = uniform(c, 3, -1, 1);
    double *y = doubles(count), *plain = doubles(count);
    for (size_t i = 0; i < count; i++) {
        const size_t k = i / plane % c;
        plain[i] = x[i];
        y[i] = (double)x[i] * scale[k] + shift[k];
        if (relu && y[i] < 0) y[i] = 0;
    }
    float *dst = poisoned(n, c, plane), *back = floats(count), *pixels = floats(count);
    check(ck_scale_shift(blocked(x, n, c, plane), padded(scale, c), padded(shift, c), n, c, h, w, dst, relu, 2) ==
              CK_OK,
          "scale and shift");
    check_close(unblocked(dst, n, c, plane), y, count, NULL, 0, 4 * ROUNDOFF, "scale and shift");
    check_surplus(dst, n, c, plane, "scale and shift");
    check(ck_nchw_to_blocked(x, n, c, h, w, dst, 3) == CK_OK, "to blocks");
    check(!memcmp(dst, blocked(x, n, c, plane), ck_blocked_count(n, c, h, w) * sizeof *dst), "to blocks");
    check(ck_blocked_to_nchw(dst, n, c, h, w, back, 3) == CK_OK, "from blocks");
    check_equal(back, plain, count, "from blocks");
    for (size_t i = 0; i < count; i++) {
        const size_t k = i / plane % c, p = i % plane, image = i / plane / c;
        pixels[(image * plane + p) * c + k] = x[i];
    }
    check(ck_nhwc_to_blocked(pixels, n, c, h, w, dst, 3) == CK_OK, "from pixels");
    check(!memcmp(dst, blocked(x, n, c, plane), ck_blocked_count(n, c, h, w) * sizeof *dst), "from pixels");
    release_all();
}

static void concat(const int *parts, int count) {
    const int n = 2, h = 3, w = 5;
    const size_t plane = 15;
    int total = 0, offset = 0;
    for (int i = 0; i < count; i++) total += parts[i];
    const float *whole = uniform(n * total * plane, 7, -1, 1);
    float *dst = poisoned(n, total, plane), *expected = blocked(whole, n, total, plane);
    for (int i = 0; i < count; offset += parts[i++]) {
        float *part = floats(n * parts[i] * plane), *slice = poisoned(n, parts[i], plane);
        for (int image = 0; image < n; image++)
            memcpy(part + image * parts[i] * plane, whole + (image * total + offset) * plane,
                   parts[i] * plane * sizeof *part);
        const float *src = blocked(part, n, parts[i], plane);
        check(ck_concat_copy(src, n, parts[i], h, w, dst, total, offset, 1 + i % 3) == CK_OK, "concat");
        check(ck_concat_slice(expected, n, total, h, w, offset, slice, parts[i], 1 + i % 3) == CK_OK, "slice");
        check(!memcmp(slice, src, ck_blocked_count(n, parts[i], h, w) * sizeof *slice), "slice at %d", offset);
    }
    check(!memcmp(dst, expected, ck_blocked_count(n, total, h, w) * sizeof *dst), "concat of %d parts", count);
    release_all();
}

void test_elementwise(void) {
    static const int counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000, 40001};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) flat(counts[i], (int)(i % 4));
    blocks(1, 1, 1, 1, 0);
    blocks(2, 3, 3, 5, 1);
    blocks(3, 16, 7, 7, 0);
    blocks(2, 33, 40, 41, 1);
    concat((int[]){1}, 1);
    concat((int[]){16, 16}, 2);
    concat((int[]){5, 16, 11}, 3);
    concat((int[]){1, 1, 1, 1, 13, 15, 17}, 7);
    concat((int[]){64, 128, 32, 32}, 4);
}

/* ---- linear */

static void linear(int n, int in, int out, int exact, int threads) {
    const float *x = exact ? integers(n * in, 1, -4, 4) : uniform(n * in, 1, -1, 1);
    const float *w = exact ? integers(out * in, 2, -4, 4) : uniform(out * in, 2, -1, 1);
    const float *b = exact ? integers(out, 3, -4, 4) : uniform(out, 3, -1, 1);
    const float *dy = exact ? integers(n * out, 4, -4, 4) : uniform(n * out, 4, -1, 1);
    double *y = doubles(n * out), *spread = doubles(n * out), *dx = doubles(n * in), *dw = doubles(out * in);
    double *db = doubles(out), *sizes = doubles(out);
    float *got = floats(n * out), *got_dx = floats(n * in), *got_dw = floats(out * in), *got_db = floats(out);
    cr_linear(x, w, b, n, in, out, y, spread);
    cr_error_scale(spread, y, n, out, 1, b, NULL);
    cr_linear_backward(x, w, dy, n, in, out, dx, dw, db);
    for (int i = 0; i < out; i++) sizes[i] = fabs(db[i]);
    const double factor = exact ? 0 : ROUNDOFF;
    char what[60];
    snprintf(what, sizeof what, "linear %d x %d -> %d, %d threads", n, in, out, threads);
    check(ck_linear(x, in, w, b, n, in, out, got, out, 0, threads) == CK_OK, "%s", what);
    check_close(got, y, n * out, spread, factor * sqrt(in + 4.0), 0, what);
    check(ck_linear_backward(x, in, w, dy, out, n, in, out, got_dx, in, got_dw, got_db, threads) == CK_OK, "%s", what);
    check_close(got_dx, dx, n * in, NULL, 0, factor * 2 * out, what);
    check_close(got_dw, dw, out * in, NULL, 0, factor * 2 * n, what);
    check_close(got_db, db, out, sizes, 1.01 * ROUNDOFF, 0, what);
    release_all();
}

void test_linear(void) {
    static const int sizes[] = {1, 3, 4, 15, 16, 17, 33, 64, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int exact = 0; exact < 2; exact++) {
            linear(1, sizes[i], 5, exact, 1);
            linear(5, sizes[i], 7, exact, 2);
            linear(66, sizes[i], 9, exact, 3);
        }
    linear(2, 512, 1000, 0, 2);
    for (int rows = 1; rows <= 5; rows += 2) {
        const int n = 100 * rows;
        const float *x = uniform(rows * n, rows, -30, 30);
        double *y = doubles(rows * n);
        float *got = floats(rows * n);
        cr_softmax(x, rows, n, y);
        check(ck_softmax(x, rows, n, got) == CK_OK, "softmax");
        check_close(got, y, rows * n, y, 64 * ROUNDOFF, 0x1p-126, "softmax");
        release_all();
    }
}
