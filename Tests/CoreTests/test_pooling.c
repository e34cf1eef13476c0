/* Pooling, forward and backward, against the reference: kernels, strides, padding, rounding up, NaN, ties. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* Kernels 1 to 5, strides 1 to 4, every padding up to half the kernel, rounded down and up; batch 0 behind the last. */
static ck_pool_desc pool_case(int index) {
    static const int channels[] = {3, 16, 17, 33};
    int at = 0;
    for (int kernel = 1; kernel <= 5; kernel++)
        for (int stride = 1; stride <= 4; stride++)
            for (int pad = 0; pad <= kernel / 2; pad++)
                for (int ceil = 0; ceil < 2; ceil++, at++)
                    if (at == index)
                        return (ck_pool_desc){.batch = 2,
                                              .channels = channels[at % 4],
                                              .in_height = kernel + at % 7,
                                              .in_width = kernel + at % 5,
                                              .kernel_height = kernel,
                                              .kernel_width = kernel,
                                              .stride_height = stride,
                                              .stride_width = stride,
                                              .pad_height = pad,
                                              .pad_width = pad,
                                              .ceil_mode = ceil,
                                              .threads = at % 4};
    return (ck_pool_desc){0};
}

typedef struct {
    const ck_pool_desc *d;
    cr_pool s;
    int n, c;
    size_t plane, out, inputs, outputs;
    char what[100];
} pool_job;

static pool_job job_of(const ck_pool_desc *d) {
    pool_job j = {.d = d,
                  .s = {d->batch * d->channels, d->in_height, d->in_width, d->kernel_height, d->kernel_width,
                        d->stride_height, d->stride_width, d->pad_height, d->pad_width, d->ceil_mode},
                  .n = d->batch,
                  .c = d->channels,
                  .plane = (size_t)d->in_height * d->in_width};
    j.out = (size_t)cr_pool_out_h(&j.s) * cr_pool_out_w(&j.s);
    j.inputs = j.s.planes * j.plane, j.outputs = j.s.planes * j.out;
    snprintf(j.what, sizeof j.what, "pool %dx%d, %d channels, kernel %dx%d/%d,%d pad %d,%d", j.s.h, j.s.w, j.c,
             j.s.kernel_h, j.s.kernel_w, j.s.stride_h, j.s.stride_w, j.s.pad_h, j.s.pad_w);
    return j;
}

/* x: few values, so that ties are common; backward from them, exact in any order of the sums. */
static void max_pool(const pool_job *j, const float *x, uint64_t seed) {
    const int n = j->n, c = j->c;
    double *y = doubles(j->outputs), *dx = doubles(j->inputs);
    int32_t *places = allocate(j->outputs * sizeof *places);
    cr_max_pool(&j->s, x, y, places);
    const float *src = blocked(x, n, c, j->plane);
    float *alone = poisoned(n, c, j->out), *dst = poisoned(n, c, j->out), *found = poisoned(n, c, j->out);
    int32_t *argmax = (int32_t *)poisoned(n, c, j->out);
    check(ck_max_pool(j->d, src, alone, NULL) == CK_OK, "max %s", j->what);
    check_equal(unblocked(alone, n, c, j->out), y, j->outputs, j->what);
    check_surplus(alone, n, c, j->out, j->what);
    check(ck_max_pool(j->d, src, dst, argmax) == CK_OK, "max %s", j->what);
    check_equal(unblocked(dst, n, c, j->out), y, j->outputs, j->what);
    check_surplus(dst, n, c, j->out, j->what);
    /* Offsets are small integers: exact as floats. */
    const size_t count = ck_blocked_count(n, c, cr_pool_out_h(&j->s), cr_pool_out_w(&j->s));
    for (size_t i = 0; i < count; i++) found[i] = (float)argmax[i];
    const float *offsets = unblocked(found, n, c, j->out);
    int same = 1;
    for (size_t i = 0; i < j->outputs; i++) same &= offsets[i] == (float)places[i];
    check(same, "argmax of %s", j->what);

    const float *dy = integers(j->outputs, seed + 1, -9, 9);
    float *back = poisoned(n, c, j->plane);
    cr_max_pool_backward(&j->s, places, dy, dx);
    check(ck_max_pool_backward(j->d, blocked(dy, n, c, j->out), argmax, back) == CK_OK, "backward %s", j->what);
    check_equal(unblocked(back, n, c, j->plane), dx, j->inputs, j->what);
    check_surplus(back, n, c, j->plane, j->what);
}

/* Positive terms: their additions and the division, each within u of a sum below 1. Backward, a pixel sums at most as
 * many windows as meet there, each dy / divisor with two roundings. */
static void average_pool(const pool_job *j, uint64_t seed) {
    const int n = j->n, c = j->c;
    const double terms = j->s.kernel_h * j->s.kernel_w;
    const float *x = uniform(j->inputs, seed, 0, 1), *dy = uniform(j->outputs, seed + 1, -1, 1);
    double *y = doubles(j->outputs), *dx = doubles(j->inputs), *sizes = doubles(j->inputs);
    float *dst = poisoned(n, c, j->out), *back = poisoned(n, c, j->plane), *size = floats(j->outputs);
    cr_average_pool(&j->s, x, y);
    check(ck_average_pool(j->d, blocked(x, n, c, j->plane), dst) == CK_OK, "average %s", j->what);
    check_close(unblocked(dst, n, c, j->out), y, j->outputs, y, (terms + 1) * ROUNDOFF, 0, j->what);
    check_surplus(dst, n, c, j->out, j->what);
    for (size_t i = 0; i < j->outputs; i++) size[i] = fabsf(dy[i]);
    cr_average_pool_backward(&j->s, dy, dx);
    cr_average_pool_backward(&j->s, size, sizes);
    check(ck_average_pool_backward(j->d, blocked(dy, n, c, j->out), back) == CK_OK, "average backward %s", j->what);
    check_close(unblocked(back, n, c, j->plane), dx, j->inputs, sizes, (terms + 2) * ROUNDOFF, 0, j->what);
    check_surplus(back, n, c, j->plane, j->what);

    cr_average_pool_inside(&j->s, x, y);
    check(ck_average_pool_inside(j->d, blocked(x, n, c, j->plane), dst) == CK_OK, "average inside %s", j->what);
    check_close(unblocked(dst, n, c, j->out), y, j->outputs, y, (terms + 1) * ROUNDOFF, 0, j->what);
    check_surplus(dst, n, c, j->out, j->what);
    cr_average_pool_inside_backward(&j->s, dy, dx);
    cr_average_pool_inside_backward(&j->s, size, sizes);
    check(ck_average_pool_inside_backward(j->d, blocked(dy, n, c, j->out), back) == CK_OK, "average inside backward %s",
          j->what);
    check_close(unblocked(back, n, c, j->plane), dx, j->inputs, sizes, (terms + 2) * ROUNDOFF, 0, j->what);
}

static void pool(const ck_pool_desc *d, uint64_t seed) {
    const pool_job j = job_of(d);
    int32_t height = -1, width = -1;
    check(ck_pool_output_size(d, &height, &width) == CK_OK && height == cr_pool_out_h(&j.s) &&
              width == cr_pool_out_w(&j.s),
          "%s gives %dx%d", j.what, height, width);
    place_at_start((int)(seed % 2));
    /* All negative, so that no zero may slip in; a NaN wins over all. */
    float *x = integers(j.inputs, seed, -9, -3);
    if (seed % 3 == 0) x[j.inputs / 2] = NAN;
    max_pool(&j, x, seed);
    max_pool(&j, integers(j.inputs, seed, -3, 3), seed + 100);
    average_pool(&j, seed);
    release_all();
}

/* The cases that PyTorch's documentation and source single out. */
static void output_sizes(void) {
    static const struct {
        int32_t in, kernel, stride, pad, ceil, out;
    } all[] = {
        {112, 3, 2, 1, 0, 56}, {112, 3, 2, 0, 1, 56}, {112, 3, 2, 0, 0, 55},
        {5, 2, 2, 0, 1, 3},    {5, 2, 2, 1, 1, 3}, /* the fourth window would start in the padding behind */
        {1, 1, 3, 0, 1, 1},    {4, 1, 3, 0, 1, 2}, /* the third window would start outside */
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const ck_pool_desc d = {.batch = 2,
                                .channels = 1,
                                .in_height = all[i].in,
                                .in_width = all[i].in,
                                .kernel_height = all[i].kernel,
                                .kernel_width = all[i].kernel,
                                .stride_height = all[i].stride,
                                .stride_width = all[i].stride,
                                .pad_height = all[i].pad,
                                .pad_width = all[i].pad,
                                .ceil_mode = all[i].ceil,
                                .threads = 1};
        int32_t height = -1, width = -1;
        check(ck_pool_output_size(&d, &height, &width) == CK_OK && height == all[i].out && width == all[i].out,
              "%d by kernel %d stride %d pad %d ceil %d gives %dx%d, expected %d", all[i].in, all[i].kernel,
              all[i].stride, all[i].pad, all[i].ceil, height, width, all[i].out);
    }
}

/* Sums of rows, then of these: h + w additions and a division, positive terms. */
static void global_average(int n, int c, int h, int w, int32_t threads) {
    const size_t plane = (size_t)h * w;
    const float *x = uniform(n * c * plane, 1, 0, 1), *dy = uniform(n * c, 2, -1, 1);
    double *in = doubles(n * c * plane), *y = doubles(n * c), *dx = doubles(n * c * plane);
    double *size = doubles(n * c * plane);
    for (size_t i = 0; i < n * c * plane; i++) in[i] = x[i];
    cr_global_average_pool(in, n * c, plane, y);
    float *dst = poisoned(n, c, 1), *back = poisoned(n, c, plane);
    check(ck_global_average_pool(blocked(x, n, c, plane), n, c, h, w, dst, threads) == CK_OK, "global average");
    check_close(unblocked(dst, n, c, 1), y, n * c, y, (h + w + 1) * ROUNDOFF, 0, "global average");
    check_surplus(dst, n, c, 1, "global average");
    cr_global_average_pool_backward(dy, n * c, plane, dx);
    for (size_t i = 0; i < n * c * plane; i++) size[i] = fabs(dx[i]);
    check(ck_global_average_pool_backward(blocked(dy, n, c, 1), n, c, h, w, back, threads) == CK_OK,
          "global average backward");
    check_close(unblocked(back, n, c, plane), dx, n * c * plane, size, 2 * ROUNDOFF, 0, "global average backward");
    check_surplus(back, n, c, plane, "global average backward");
    release_all();
}

static void blur(int n, int c, int h, int w, int stride, int threads) {
    const size_t plane = (size_t)h * w, out = (size_t)((h - 1) / stride + 1) * ((w - 1) / stride + 1);
    const float *x = uniform(n * c * plane, 1, -1, 1), *dy = uniform(n * c * out, 2, -1, 1);
    double *y = doubles(n * c * out), *dx = doubles(n * c * plane);
    float *dst = poisoned(n, c, out), *back = poisoned(n, c, plane);
    cr_blur_pool(x, n * c, h, w, stride, y);
    check(ck_blur_pool(blocked(x, n, c, plane), n, c, h, w, stride, dst, threads) == CK_OK, "blur");
    check_close(unblocked(dst, n, c, out), y, n * c * out, NULL, 0, 6 * ROUNDOFF, "blur");
    check_surplus(dst, n, c, out, "blur");
    cr_blur_pool_backward(dy, n * c, h, w, stride, dx);
    check(ck_blur_pool_backward(blocked(dy, n, c, out), n, c, h, w, stride, back, threads) == CK_OK, "blur backward");
    check_close(unblocked(back, n, c, plane), dx, n * c * plane, NULL, 0, 12 * ROUNDOFF, "blur backward");
    check_surplus(back, n, c, plane, "blur backward");
    release_all();
}

static void pad(ck_pad_desc d, float value) {
    const int n = d.batch, c = d.channels, h = d.height + d.top + d.bottom, w = d.width + d.left + d.right;
    const size_t plane = (size_t)d.height * d.width, out = (size_t)h * w;
    const float *x = uniform(n * c * plane, 1, -1, 1), *dy = uniform(n * c * out, 2, -1, 1);
    double *y = doubles(n * c * out), *dx = doubles(n * c * plane);
    for (size_t i = 0; i < n * c * out; i++) {
        const int row = (int)(i % out / w) - d.top, column = (int)(i % w) - d.left;
        const int inside = row >= 0 && row < d.height && column >= 0 && column < d.width;
        const size_t at = i / out * plane + (size_t)row * d.width + column;
        y[i] = inside ? x[at] : value;
        if (inside) dx[at] = dy[i];
    }
    float *dst = poisoned(n, c, out), *back = poisoned(n, c, plane);
    check(ck_pad(&d, blocked(x, n, c, plane), value, dst) == CK_OK, "pad");
    check_equal(unblocked(dst, n, c, out), y, n * c * out, "pad");
    check_surplus(dst, n, c, out, "pad");
    check(ck_crop(&d, blocked(dy, n, c, out), back) == CK_OK, "crop");
    check_equal(unblocked(back, n, c, plane), dx, n * c * plane, "crop");
    check_surplus(back, n, c, plane, "crop");
    release_all();
}

void test_pooling(void) {
    output_sizes();
    blur(1, 1, 2, 2, 1, 1);
    blur(2, 17, 7, 8, 2, 2);
    blur(2, 33, 14, 5, 2, 3);
    blur(1, 16, 9, 9, 3, 1);
    pad((ck_pad_desc){2, 17, 5, 6, 1, 1, 1, 1, 2}, 0);
    pad((ck_pad_desc){1, 3, 4, 1, 0, 2, 3, 1, 1}, -2.5f);
    pad((ck_pad_desc){3, 32, 7, 7, 0, 0, 0, 0, 3}, 1);
    for (int i = 0;; i++) {
        const ck_pool_desc d = pool_case(i);
        if (d.batch == 0) break;
        pool(&d, (uint64_t)i);
    }
    const ck_pool_desc others[] = {{1, 64, 28, 112, 3, 3, 2, 2, 1, 1, 0, 2},
                                   {3, 64, 28, 27, 3, 3, 2, 2, 1, 1, 0, 2},
                                   {3, 16, 1, 9, 1, 3, 1, 2, 0, 1, 0, 2},
                                   {1, 5, 9, 6, 4, 2, 3, 1, 2, 0, 1, 3}};
    for (size_t i = 0; i < COUNT_OF(others); i++) pool(&others[i], 200 + i);
    static const int planes[][4] = {{1, 1, 1, 1},  {2, 17, 7, 7},    {3, 64, 3, 5}, {1, 33, 56, 55}, {5, 512, 7, 7},
                                    {3, 17, 7, 7}, {1, 3, 224, 224}, {2, 64, 5, 9}, {5, 15, 1, 3}};
    for (size_t i = 0; i < COUNT_OF(planes); i++)
        global_average(planes[i][0], planes[i][1], planes[i][2], planes[i][3], (int32_t)(i % 4));
}
