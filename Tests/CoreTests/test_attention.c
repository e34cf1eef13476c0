/* Layer norm, group norm, GELU, padding and the two attentions: forward and backward against the reference. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

static double largest(const double *x, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs(x[i]));
    return most;
}

/* x is beside the window at the upper left of a larger map: what lies beyond is zero. */
static void check_canvas(const float *found, const double *expected, int planes, int h, int w, int out_h, int out_w,
                         double absolute, const char *what) {
    double *whole = doubles((size_t)planes * out_h * out_w);
    for (int p = 0; p < planes; p++)
        for (int y = 0; y < h && y < out_h; y++)
            for (int x = 0; x < w && x < out_w; x++)
                whole[((size_t)p * out_h + y) * out_w + x] = expected[((size_t)p * h + y) * w + x];
    check_close(found, whole, (size_t)planes * out_h * out_w, NULL, 0, absolute, what);
}

/* ---- layer norm */

static void layer_norm(int n, int c, int h, int w, int more_h, int more_w, double eps, int threads) {
    const size_t plane = (size_t)h * w, count = n * c * plane;
    const int out_h = h + more_h, out_w = w + more_w;
    char what[80];
    snprintf(what, sizeof what, "layer norm of %d x %dx%dx%d + %dx%d", n, c, h, w, more_h, more_w);
    const float *x = uniform(count, 1, -0.5, 1.5), *dy = uniform(count, 2, -1, 1);
    const float *gamma = uniform(c, 3, 0.5, 1), *beta = uniform(c, 4, -1, 1);
    double *y = doubles(count), *dx = doubles(count), *dgamma = doubles(c), *dbeta = doubles(c);
    cr_layer_norm(x, n, c, plane, gamma, beta, eps, y);
    cr_layer_norm_backward(x, dy, n, c, plane, gamma, eps, dx, dgamma, dbeta);
    ck_layer_norm_desc d = {.batch = n, .channels = c, .height = h, .width = w, .eps = eps, .threads = threads};

    float *in = blocked(x, n, c, plane), *out = poisoned(n, c, (size_t)out_h * out_w);
    d.out_height = more_h ? out_h : 0;
    d.out_width = more_w ? out_w : 0;
    check(ck_layer_norm(&d, in, padded(gamma, c), padded(beta, c), out) == CK_OK, "%s", what);
    const double bound = 16 * ROUNDOFF * fmax(1, 1 / sqrt(eps) / c);
    check_canvas(unblocked(out, n, c, (size_t)out_h * out_w), y, n * c, h, w, out_h, out_w, bound, what);
    check_surplus(out, n, c, (size_t)out_h * out_w, what);
    if (!more_h && !more_w) {
        float *place = blocked(x, n, c, plane);
        check(ck_layer_norm(&d, place, padded(gamma, c), padded(beta, c), place) == CK_OK, "%s in place", what);
        check(!memcmp(place, out, ck_blocked_count(n, c, h, w) * sizeof *out), "%s in place", what);
    }

    float *gradient = poisoned(n, c, plane), *scale = floats(c), *shift = floats(c);
    void *workspace = allocate(ck_layer_norm_backward_workspace_size(&d));
    check(ck_layer_norm_backward(&d, in, blocked(dy, n, c, plane), padded(gamma, c), gradient, scale, shift,
                                 workspace) == CK_OK,
          "%s backward", what);
    check_close(unblocked(gradient, n, c, plane), dx, count, NULL, 0, 32 * ROUNDOFF * largest(dx, count) + bound, what);
    check_surplus(gradient, n, c, plane, what);
    const double sums = 16 * ROUNDOFF * sqrt((double)n * plane) * 2;
    check_close(scale, dgamma, c, NULL, 0, sums * fmax(1, 1 / sqrt(eps) / c), what);
    check_close(shift, dbeta, c, NULL, 0, sums, what);
    float *again = blocked(dy, n, c, plane);
    check(ck_layer_norm_backward(&d, in, again, padded(gamma, c), again, NULL, NULL, workspace) == CK_OK, "%s", what);
    check(!memcmp(again, gradient, ck_blocked_count(n, c, h, w) * sizeof *again), "%s over dy", what);
    release_all();
}

void test_layer_norm(void) {
    static const int sizes[][6] = {{1, 1, 1, 1, 0, 0},     {1, 3, 2, 2, 0, 0},    {2, 5, 3, 5, 1, 0},
                                   {1, 16, 1, 1, 0, 0},    {3, 17, 7, 7, 0, 0},   {2, 33, 5, 9, 2, 5},
                                   {1, 96, 9, 7, 5, 7},    {2, 96, 14, 14, 0, 0}, {1, 768, 7, 7, 0, 0},
                                   {1, 192, 18, 18, 3, 3}, {2, 40, 1, 67, 0, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i];
        layer_norm(s[0], s[1], s[2], s[3], s[4], s[5], s[1] < 5 ? 0.1 : 1e-5, (int)(i % 4));
    }
    float f[16];
    ck_layer_norm_desc d = {.batch = 1, .channels = 1, .height = 2, .width = 2, .eps = 1e-5};
    check(ck_layer_norm(NULL, f, f, f, f) == CK_INVALID_ARGUMENT, "no description");
    check(ck_layer_norm(&d, f, NULL, f, f) == CK_INVALID_ARGUMENT, "no gamma");
    check(ck_layer_norm_backward(&d, f, f, f, f, f, f, NULL) == CK_INVALID_ARGUMENT, "no workspace");
    d.out_height = 1;
    check(ck_layer_norm(&d, f, f, f, f) == CK_INVALID_ARGUMENT, "a result smaller than its source");
    d.out_height = 0, d.eps = NAN;
    check(ck_layer_norm(&d, f, f, f, f) == CK_INVALID_ARGUMENT, "eps that is no number");
    check(ck_layer_norm_backward_workspace_size(&d) == 0, "workspace of no description");
}

/* ---- group norm */

static void group_norm(int n, int c, int groups, int h, int w, double eps, int relu, int threads) {
    const size_t plane = (size_t)h * w, count = n * c * plane;
    char what[80];
    snprintf(what, sizeof what, "group norm of %d x %dx%dx%d by %d", n, c, h, w, groups);
    const float *x = uniform(count, 1, -0.5, 1.5), *gamma = uniform(c, 3, 0.5, 1), *beta = uniform(c, 4, -1, 1);
    double *y = doubles(count);
    cr_group_norm(x, n, c, groups, plane, gamma, beta, eps, y);
    for (size_t i = 0; i < count && relu; i++) y[i] = fmax(y[i], 0);
    const ck_group_norm_desc d = {.batch = n,
                                  .channels = c,
                                  .groups = groups,
                                  .height = h,
                                  .width = w,
                                  .eps = eps,
                                  .relu = relu,
                                  .threads = threads};
    float *in = blocked(x, n, c, plane), *out = poisoned(n, c, plane);
    check(ck_group_norm(&d, in, gamma, beta, out) == CK_OK, "%s", what);
    /* A product and a sum, each rounded once, and scale and shift rounded: few values make a large scale. */
    const double bound = 8 * ROUNDOFF * fmax(1, 1 / sqrt(eps) / ((double)c / groups * plane));
    check_close(unblocked(out, n, c, plane), y, count, NULL, 0, bound, what);
    check_surplus(out, n, c, plane, what);
    float *place = blocked(x, n, c, plane);
    check(ck_group_norm(&d, place, gamma, beta, place) == CK_OK, "%s in place", what);
    check(!memcmp(place, out, ck_blocked_count(n, c, h, w) * sizeof *out), "%s in place", what);
    release_all();
}

void test_group_norm(void) {
    static const int sizes[][5] = {{1, 1, 1, 1, 3},   {2, 6, 2, 3, 3},   {1, 24, 2, 5, 7},  {3, 36, 3, 4, 5},
                                   {2, 64, 32, 7, 7}, {1, 64, 1, 9, 3},  {2, 40, 8, 3, 11}, {1, 256, 32, 5, 5},
                                   {1, 44, 4, 6, 2},  {2, 17, 17, 4, 4}, {1, 96, 32, 8, 8}, {1, 2048, 32, 2, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i];
        group_norm(s[0], s[1], s[2], s[3], s[4], i < 3 ? 0.1 : 1e-5, i % 2, (int)(i % 4));
    }
    float f[32];
    ck_group_norm_desc d = {.batch = 1, .channels = 4, .groups = 2, .height = 1, .width = 1, .eps = 1e-5};
    check(ck_group_norm(NULL, f, f, f, f) == CK_INVALID_ARGUMENT, "no description");
    check(ck_group_norm(&d, f, f, NULL, f) == CK_INVALID_ARGUMENT, "no beta");
    d.groups = 3;
    check(ck_group_norm(&d, f, f, f, f) == CK_INVALID_ARGUMENT, "groups that do not divide the channels");
    d.groups = 0;
    check(ck_group_norm(&d, f, f, f, f) == CK_INVALID_ARGUMENT, "no groups");
    d.groups = 2, d.eps = -1;
    check(ck_group_norm(&d, f, f, f, f) == CK_INVALID_ARGUMENT, "a negative eps");
}

/* ---- GELU */

static void gelu(size_t count, double range, int threads) {
    const float *x = uniform(count, count, -range, range), *dy = uniform(count, 2, -1, 1);
    double *y = doubles(count), *dx = doubles(count), *size = doubles(count);
    float *found = floats(count);
    for (size_t i = 0; i < count; i++) size[i] = fabs(x[i]);
    cr_gelu(x, count, y);
    cr_gelu_backward(x, dy, count, dx);
    check(ck_gelu(x, found, count, threads) == CK_OK, "gelu");
    check_close(found, y, count, size, 4 * ROUNDOFF, 0, "gelu");
    check(ck_gelu_backward(x, dy, found, count, threads) == CK_OK, "gelu backward");
    check_close(found, dx, count, NULL, 0, 8 * ROUNDOFF, "gelu backward");
    release_all();
}

static void drop_path(void) {
    enum { IMAGES = 400, COUNT = 37 };
    float *x = uniform(IMAGES * COUNT, 1, 1, 2), *y = floats(IMAGES * COUNT), *rest = floats(100 * COUNT);
    check(ck_drop_path(x, y, IMAGES, COUNT, 0.25, 5, 0, 3) == CK_OK, "drop path");
    int dropped = 0, whole = 1;
    for (int i = 0; i < IMAGES; i++) {
        dropped += y[i * COUNT] == 0;
        for (int k = 0; k < COUNT; k++) {
            const float expected = y[i * COUNT] == 0 ? 0 : x[i * COUNT + k] * (float)(1 / 0.75);
            whole &= y[i * COUNT + k] == expected;
        }
    }
    check(whole, "drop path takes images whole");
    check(dropped > 60 && dropped < 140, "drop path leaves out %d of %d images at 0.25", dropped, IMAGES);
    check(ck_drop_path(x + 300 * COUNT, rest, 100, COUNT, 0.25, 5, 300, 1) == CK_OK, "drop path");
    check(!memcmp(rest, y + 300 * COUNT, 100 * COUNT * sizeof *rest), "drop path of a part of the batch");
    check(ck_drop_path(x, y, 1, 1, 2, 5, 0, 1) == CK_INVALID_ARGUMENT, "a probability of 2");
}

void test_gelu(void) {
    static const int counts[] = {1, 3, 4, 7, 8, 15, 16, 17, 100, 40001};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) gelu(counts[i], i % 2 ? 1 : 8, (int)(i % 4));
    gelu(100000, 0.01, 2);
    gelu(100000, 1000, 2);
    drop_path();
    float edges[] = {0, -0.0f, NAN, INFINITY, -100, 1e-30f, 3e38f};
    check(ck_gelu(edges, edges, 7, 1) == CK_OK, "gelu of edges");
    check(edges[0] == 0 && edges[1] == 0 && isnan(edges[2]) && edges[3] == INFINITY, "gelu of edges");
    check(fabsf(edges[4]) < 1e-4 && edges[5] == 0.5e-30f && edges[6] == 3e38f, "gelu of edges");
    check(ck_gelu(NULL, edges, 1, 1) == CK_INVALID_ARGUMENT && ck_gelu(edges, edges, 0, 1) == CK_INVALID_ARGUMENT,
          "gelu of nothing");
    check(ck_gelu_backward(edges, NULL, edges, 1, 1) == CK_INVALID_ARGUMENT, "gelu of nothing");
}

/* ---- attention */

typedef size_t size_function(const ck_attention_desc *);
typedef ck_status forward_function(const ck_attention_desc *, const float *, float *, void *);
typedef ck_status backward_function(const ck_attention_desc *, const float *, const float *, float *, void *);

/* out_h, out_w: what of y is wanted; backward the rest of dy is zero. */
static void attention(const cr_attention *s, int out_h, int out_w, int is_channel, int threads) {
    const size_t plane = (size_t)s->h * s->w, inputs = 3 * s->n * s->c * plane, outputs = s->n * s->c * plane;
    const size_t seen = (size_t)out_h * out_w;
    const ck_attention_desc d = {.batch = s->n,
                                 .channels = s->c,
                                 .heads = s->heads,
                                 .height = s->h,
                                 .width = s->w,
                                 .window_height = s->window_h,
                                 .window_width = s->window_w,
                                 .out_height = out_h == s->h ? 0 : out_h,
                                 .out_width = out_w,
                                 .scale = s->scale,
                                 .threads = threads};
    char what[100];
    snprintf(what, sizeof what, "%s attention, %d x %dx%dx%d, %d heads, windows %dx%d",
             is_channel ? "channel" : "window", s->n, s->c, s->h, s->w, s->heads, s->window_h, s->window_w);
    /* Channels are summed over all pixels: smaller values keep the softmax from being all or nothing. */
    const double range = is_channel ? 3 / sqrt(sqrt((double)plane)) : 2;
    const float *qkv = uniform(inputs, 1, -range, range), *small = uniform(s->n * s->c * seen, 2, -1, 1);
    float *dy = floats(outputs);
    memset(dy, 0, outputs * sizeof *dy);
    for (int p = 0; p < s->n * s->c; p++)
        for (int y = 0; y < out_h; y++)
            memcpy(dy + p * plane + y * s->w, small + p * seen + y * out_w, out_w * sizeof *dy);
    double *y = doubles(outputs), *dqkv = doubles(inputs);
    (is_channel ? cr_channel_attention : cr_window_attention)(s, qkv, y);
    (is_channel ? cr_channel_attention_backward : cr_window_attention_backward)(s, qkv, dy, dqkv);

    size_function *sizes[] = {is_channel ? ck_channel_attention_workspace_size : ck_window_attention_workspace_size,
                              is_channel ? ck_channel_attention_backward_workspace_size
                                         : ck_window_attention_backward_workspace_size};
    forward_function *forward = is_channel ? ck_channel_attention : ck_window_attention;
    backward_function *backward = is_channel ? ck_channel_attention_backward : ck_window_attention_backward;
    float *in = blocked(qkv, s->n, 3 * s->c, plane), *out = poisoned(s->n, s->c, seen);
    check(forward(&d, in, out, allocate(sizes[0](&d))) == CK_OK, "%s", what);
    check_canvas(unblocked(out, s->n, s->c, seen), y, s->n * s->c, s->h, s->w, out_h, out_w, 24 * ROUNDOFF * range,
                 what);
    /* Fewer images in the same workspace. */
    for (ck_attention_desc fewer = d; --fewer.batch > 0;) {
        float *part = poisoned(fewer.batch, s->c, seen);
        check(forward(&fewer, in, part, allocate(sizes[0](&d))) == CK_OK, "%s, %d images", what, fewer.batch);
        check_canvas(unblocked(part, fewer.batch, s->c, seen), y, fewer.batch * s->c, s->h, s->w, out_h, out_w,
                     24 * ROUNDOFF * range, what);
    }
    float *gradient = poisoned(s->n, 3 * s->c, plane);
    check(backward(&d, in, blocked(small, s->n, s->c, seen), gradient, allocate(sizes[1](&d))) == CK_OK, "%s", what);
    check_close(unblocked(gradient, s->n, 3 * s->c, plane), dqkv, inputs, NULL, 0,
                48 * ROUNDOFF * largest(dqkv, inputs), what);
    release_all();
}

void test_attention(void) {
    static const cr_attention cases[] = {{1, 32, 1, 7, 7, 7, 7, 0.176776695}, {2, 96, 3, 14, 14, 7, 7, 0.176776695},
                                         {1, 64, 2, 9, 18, 9, 9, 0.1},        {1, 16, 1, 1, 1, 1, 1, 1},
                                         {1, 48, 1, 6, 8, 3, 4, 0.25},        {3, 64, 4, 2, 6, 2, 3, 0.25},
                                         {3, 48, 3, 12, 24, 3, 4, 0.2},       {1, 160, 2, 4, 10, 4, 5, 0.125},
                                         {1, 32, 2, 13, 17, 13, 17, 0.3},     {2, 32, 1, 1, 33, 1, 11, 0.2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cr_attention *s = &cases[i];
        attention(s, s->h, s->w, 0, (int)(i % 4));
        attention(s, s->h, s->w, 1, (int)((i + 1) % 4));
        /* The last window's rows and, in the larger ones, a whole window. */
        attention(s, s->h - s->h / 3, s->w - s->w / 2, 0, (int)((i + 2) % 4));
    }
    float *f = allocate(64 * sizeof *f);
    ck_attention_desc d = {
        .batch = 1, .channels = 16, .heads = 1, .height = 2, .width = 2, .window_height = 2, .window_width = 2};
    check(ck_window_attention(NULL, f, f, f) == CK_INVALID_ARGUMENT, "no description");
    check(ck_window_attention(&d, f, f, NULL) == CK_INVALID_ARGUMENT, "no workspace");
    check(ck_channel_attention(&d, f, f, f + 1) == CK_INVALID_ARGUMENT, "a workspace that is not aligned");
    check(ck_channel_attention_backward(&d, f, NULL, f, f) == CK_INVALID_ARGUMENT, "no gradient");
    d.window_width = 3;
    check(ck_window_attention(&d, f, f, f) == CK_INVALID_ARGUMENT, "windows that do not fit");
    check(ck_window_attention_workspace_size(&d) == 0, "workspace of no description");
    d.window_width = 2, d.heads = 2;
    check(ck_window_attention(&d, f, f, f) == CK_UNSUPPORTED, "heads of 8 channels");
    d.heads = 3;
    check(ck_window_attention(&d, f, f, f) == CK_INVALID_ARGUMENT, "heads that do not divide");
    d.heads = 1, d.channels = INT32_MAX - 15, d.scale = 1;
    check(ck_window_attention_workspace_size(&d) == 0, "too many channels");
    release_all();

    /* Padding and cropping. */
    const float *x = integers(2 * 19 * 5 * 7, 9, -9, 9);
    double *same = doubles(2 * 19 * 5 * 7);
    for (int i = 0; i < 2 * 19 * 5 * 7; i++) same[i] = x[i];
    static const int sizes[][2] = {{5, 7}, {8, 8}, {3, 4}, {9, 2}, {1, 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int h = sizes[i][0], w = sizes[i][1];
        float *dst = poisoned(2, 19, (size_t)h * w);
        check(ck_resize_canvas(blocked(x, 2, 19, 35), 2, 19, 5, 7, dst, h, w, (int)(i % 3)) == CK_OK, "canvas");
        check_canvas(unblocked(dst, 2, 19, (size_t)h * w), same, 2 * 19, 5, 7, h, w, 0, "canvas");
        check_surplus(dst, 2, 19, (size_t)h * w, "canvas");
    }
    check(ck_resize_canvas(x, 1, 1, 1, 1, NULL, 1, 1, 1) == CK_INVALID_ARGUMENT, "no canvas");
}
