/* The linear layer, forward and backward, and softmax against the reference. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* The rows of x (rows, width) `stride` floats apart, with NaN between them. */
static float *apart(const float *x, int rows, int width, size_t stride) {
    float *made = floats((rows - 1) * stride + width);
    for (int row = 0; row < rows; row++) memcpy(made + row * stride, x + row * width, width * sizeof *x);
    return made;
}

static float *together(const float *x, int rows, int width, size_t stride) {
    float *made = floats((size_t)rows * width);
    for (int row = 0; row < rows; row++) memcpy(made + row * width, x + row * stride, width * sizeof *x);
    return made;
}

/* `number` varies what else may differ: bias, ReLU, the distance of rows, threads. */
static void forward(int n, int in, int out, int exact, int number) {
    const uint64_t seed = 8 * (uint64_t)number;
    const float *x = exact ? integers(n * in, seed, -4, 4) : uniform(n * in, seed, -1, 1);
    const float *w = exact ? integers(out * in, seed + 1, -4, 4) : uniform(out * in, seed + 1, -1, 1);
    const float *b = exact ? integers(out, seed + 2, -4, 4) : uniform(out, seed + 2, -1, 1);
    const int relu = number % 2;
    const size_t x_stride = in + number % 3, y_stride = out + number % 4;
    double *y = doubles(n * out), *spread = doubles(n * out);
    char what[80];
    snprintf(what, sizeof what, "linear %d x %d -> %d, variant %d", n, in, out, number);
    if (number % 3 == 0) b = NULL;
    cr_linear(x, w, b, n, in, out, y, spread);
    cr_error_scale(spread, y, n, out, 1, b, NULL);
    for (int i = 0; relu && i < n * out; i++) y[i] = y[i] < 0 ? 0 : y[i];
    float *got = floats((n - 1) * y_stride + out);
    check(ck_linear(apart(x, n, in, x_stride), x_stride, w, b, n, in, out, got, y_stride, relu, number % 4) == CK_OK,
          "%s", what);
    check_close(together(got, n, out, y_stride), y, n * out, spread, exact ? 0 : ROUNDOFF * sqrt(in + 4.0), 0, what);
    size_t written = 0;
    for (int row = 0; row + 1 < n; row++)
        for (size_t gap = out; gap < y_stride; gap++) written += !isnan(got[row * y_stride + gap]);
    check(written == 0, "%s wrote between rows", what);
    release_all();
}

/* Each term is at most 1 in size, or exact. */
static void backward(int n, int in, int out, int exact, int number) {
    const float *x = exact ? integers(n * in, 1, -4, 4) : uniform(n * in, 1, -1, 1);
    const float *w = exact ? integers(out * in, 2, -4, 4) : uniform(out * in, 2, -1, 1);
    const float *dy = exact ? integers(n * out, 4, -4, 4) : uniform(n * out, 4, -1, 1);
    const size_t x_stride = in + number % 3, dy_stride = out + number % 2, dx_stride = in + number % 4;
    double *dx = doubles(n * in), *dw = doubles(out * in), *db = doubles(out), *sizes = doubles(out);
    float *got_dx = floats(n * dx_stride), *got_dw = floats(out * in), *got_db = floats(out);
    char what[80];
    snprintf(what, sizeof what, "linear backward %d x %d -> %d, variant %d", n, in, out, number);
    cr_linear_backward(x, w, dy, n, in, out, dx, dw, db);
    for (int i = 0; i < out; i++) sizes[i] = fabs(db[i]);
    check(ck_linear_backward(apart(x, n, in, x_stride), x_stride, w, apart(dy, n, out, dy_stride), dy_stride, n, in,
                             out, got_dx, dx_stride, got_dw, got_db, 1 + number % 3) == CK_OK,
          "%s", what);
    const double factor = exact ? 0 : ROUNDOFF;
    check_close(together(got_dx, n, in, dx_stride), dx, n * in, NULL, 0, factor * 2 * out, what);
    check_close(got_dw, dw, out * in, NULL, 0, factor * 2 * n, what);
    check_close(got_db, db, out, sizes, 1.01 * ROUNDOFF, 0, what);
    size_t others = 0;
    for (int row = 0; row < n; row++)
        for (size_t gap = in; gap < dx_stride; gap++) others += got_dx[row * dx_stride + gap] != 0;
    check(others == 0, "%s: dx is not zero between rows", what);
    release_all();
}

/* A row's result does not depend on the threads. */
static void teams_of_linear(void) {
    enum { N = 9, IN = 300, OUT = 77 };
    const float *x = uniform(N * IN, 1, -1, 1), *w = uniform(OUT * IN, 2, -1, 1);
    static const int32_t teams[] = {1, 2, 3, 8};
    float *first = NULL;
    for (size_t i = 0; i < COUNT_OF(teams); i++) {
        float *y = floats(N * OUT);
        check(ck_linear(x, IN, w, NULL, N, IN, OUT, y, OUT, 0, teams[i]) == CK_OK, "linear");
        if (!first) first = y;
        check(!memcmp(y, first, N * OUT * sizeof *y), "linear on %d threads gives other bits", teams[i]);
    }
    release_all();
}

/* x - max errs by u |x - max|, which is a relative error of e^x; expf and the division add two ulp. */
static void softmax(int rows, int n, double size) {
    const size_t count = (size_t)rows * n;
    float *x = uniform(count, (uint64_t)n, -size, size), *got = floats(count);
    double *y = doubles(count);
    cr_softmax(x, rows, n, y);
    check(ck_softmax(x, rows, n, got) == CK_OK, "softmax");
    check_close(got, y, count, y, (2 * size + 4) * ROUNDOFF, 0x1p-126, "softmax");
    check(ck_softmax(x, rows, n, x) == CK_OK && !memcmp(x, got, count * sizeof *x), "softmax in place");
    release_all();
}

void test_linear(void) {
    /* Around vectors of 4, 8 and 16, the register tile of four rows and the chunk of 64 images. */
    static const int inputs[] = {1, 3, 4, 15, 16, 17, 33, 64, 300},
                     rows[][2] = {{1, 5}, {2, 4}, {5, 7}, {3, 1}, {66, 9}};
    /* And the heads of networks. */
    static const int others[][3] = {{1, 1, 1},      {4, 8, 3},      {7, 50, 1},      {66, 20, 9},  {131, 17, 2},
                                    {2, 512, 1000}, {1, 512, 1000}, {3, 2048, 1000}, {33, 512, 10}};
    static const int backwards[][3] = {{1, 1, 1}, {3, 17, 5}, {8, 64, 10}, {5, 33, 100}, {33, 512, 7}, {2, 100, 1000}};
    int number = 0;
    for (int exact = 0; exact < 2; exact++) {
        for (size_t i = 0; i < COUNT_OF(inputs); i++)
            for (size_t r = 0; r < COUNT_OF(rows); r++, number++) {
                forward(rows[r][0], inputs[i], rows[r][1], exact, number);
                backward(rows[r][0], inputs[i], rows[r][1], exact, number);
            }
        for (size_t i = 0; i < COUNT_OF(others); i++, number++)
            forward(others[i][0], others[i][1], others[i][2], exact, number);
        for (size_t i = 0; i < COUNT_OF(backwards); i++, number++)
            backward(backwards[i][0], backwards[i][1], backwards[i][2], exact, number);
    }
    teams_of_linear();
    static const int sizes[][2] = {{1, 1}, {3, 2}, {5, 10}, {3, 300}, {2, 1000}};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        softmax(sizes[i][0], sizes[i][1], 1);
        softmax(sizes[i][0], sizes[i][1], 30);
        softmax(sizes[i][0], sizes[i][1], 500);
    }
    const float x[] = {1000, 1000, -INFINITY};
    float y[3];
    check(ck_softmax(x, 1, 3, y) == CK_OK && y[0] == 0.5f && y[1] == 0.5f && y[2] == 0, "softmax of 1000, 1000, -inf");
}
