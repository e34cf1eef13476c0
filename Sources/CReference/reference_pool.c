/* Pooling over planes (H, W). PyTorch's output size: floor or, with ceil_mode, ceil of (in + 2 pad - kernel) / stride,
 * plus 1; a window that ceil_mode added and that would start beyond the input and its left padding is dropped.
 */
#include "creference.h"
#include <math.h>
#include <string.h>

static int out_size(int in, int kernel, int stride, int pad, int ceil_mode) {
    int span = in + 2 * pad - kernel;
    int out = (span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    return ceil_mode && (out - 1) * stride >= in + pad ? out - 1 : out;
}

int cr_pool_out_h(const cr_pool *s) { return out_size(s->h, s->kernel_h, s->stride_h, s->pad_h, s->ceil_mode); }
int cr_pool_out_w(const cr_pool *s) { return out_size(s->w, s->kernel_w, s->stride_w, s->pad_w, s->ceil_mode); }

static int min(int a, int b) { return a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }

/* Rows y0...y1 and columns x0...x1 of one window, cut to the input, and its divisor. */
typedef struct window {
    int y0, y1, x0, x1;
    double divisor;
} window;

static window window_at(const cr_pool *s, int oy, int ox) {
    int y0 = oy * s->stride_h - s->pad_h, y1 = min(y0 + s->kernel_h, s->h + s->pad_h);
    int x0 = ox * s->stride_w - s->pad_w, x1 = min(x0 + s->kernel_w, s->w + s->pad_w);
    return (window){max(y0, 0), min(y1, s->h), max(x0, 0), min(x1, s->w), (double)(y1 - y0) * (x1 - x0)};
}

void cr_max_pool(const cr_pool *s, const float *x, double *y, int32_t *argmax) {
    int oh = cr_pool_out_h(s), ow = cr_pool_out_w(s);
    for (size_t o = 0; o < (size_t)s->planes * oh * ow; o++) {
        const float *plane = x + o / ((size_t)oh * ow) * s->h * s->w;
        window v = window_at(s, (int)(o / ow % oh), (int)(o % ow));
        int best = v.y0 * s->w + v.x0;
        for (int iy = v.y0; iy < v.y1; iy++)
            for (int ix = v.x0; ix < v.x1; ix++)
                if (plane[iy * s->w + ix] > plane[best] || isnan(plane[iy * s->w + ix])) best = iy * s->w + ix;
        y[o] = plane[best];
        if (argmax) argmax[o] = best;
    }
}

void cr_max_pool_backward(const cr_pool *s, const int32_t *argmax, const float *dy, double *dx) {
    size_t out = (size_t)cr_pool_out_h(s) * cr_pool_out_w(s), in = (size_t)s->h * s->w;
    memset(dx, 0, s->planes * in * sizeof *dx);
    for (size_t o = 0; o < s->planes * out; o++) dx[o / out * in + argmax[o]] += dy[o];
}

static void average(const cr_pool *s, const float *x, int inside, double *y) {
    int oh = cr_pool_out_h(s), ow = cr_pool_out_w(s);
    for (size_t o = 0; o < (size_t)s->planes * oh * ow; o++) {
        const float *plane = x + o / ((size_t)oh * ow) * s->h * s->w;
        window v = window_at(s, (int)(o / ow % oh), (int)(o % ow));
        if (inside) v.divisor = (double)(v.y1 - v.y0) * (v.x1 - v.x0);
        y[o] = 0;
        for (int iy = v.y0; iy < v.y1; iy++)
            for (int ix = v.x0; ix < v.x1; ix++) y[o] += plane[iy * s->w + ix] / v.divisor;
    }
}

void cr_average_pool(const cr_pool *s, const float *x, double *y) { average(s, x, 0, y); }
void cr_average_pool_inside(const cr_pool *s, const float *x, double *y) { average(s, x, 1, y); }

static void average_backward(const cr_pool *s, const float *dy, int inside, double *dx) {
    int oh = cr_pool_out_h(s), ow = cr_pool_out_w(s);
    memset(dx, 0, (size_t)s->planes * s->h * s->w * sizeof *dx);
    for (size_t o = 0; o < (size_t)s->planes * oh * ow; o++) {
        double *plane = dx + o / ((size_t)oh * ow) * s->h * s->w;
        window v = window_at(s, (int)(o / ow % oh), (int)(o % ow));
        if (inside) v.divisor = (double)(v.y1 - v.y0) * (v.x1 - v.x0);
        for (int iy = v.y0; iy < v.y1; iy++)
            for (int ix = v.x0; ix < v.x1; ix++) plane[iy * s->w + ix] += dy[o] / v.divisor;
    }
}

void cr_average_pool_backward(const cr_pool *s, const float *dy, double *dx) { average_backward(s, dy, 0, dx); }
void cr_average_pool_inside_backward(const cr_pool *s, const float *dy, double *dx) { average_backward(s, dy, 1, dx); }

static int reflected(int i, int size) { return i < 0 ? -i : i < size ? i : 2 * size - 2 - i; }

/* Adds what input and output pixels share: y from x, or dx from dy. */
static void blur(const float *x, const float *dy, int planes, int h, int w, int stride, double *result) {
    static const double taps[3] = {0.25, 0.5, 0.25};
    const int oh = (h - 1) / stride + 1, ow = (w - 1) / stride + 1;
    memset(result, 0, (size_t)planes * (x ? oh * ow : h * w) * sizeof *result);
    for (int p = 0; p < planes; p++)
        for (int o = 0; o < oh * ow; o++)
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) {
                    const int iy = reflected(o / ow * stride + i - 1, h), ix = reflected(o % ow * stride + j - 1, w);
                    const size_t in = ((size_t)p * h + iy) * w + ix, out = (size_t)p * oh * ow + o;
                    if (x)
                        result[out] += taps[i] * taps[j] * x[in];
                    else
                        result[in] += taps[i] * taps[j] * dy[out];
                }
}

void cr_blur_pool(const float *x, int planes, int h, int w, int stride, double *y) {
    blur(x, NULL, planes, h, w, stride, y);
}
void cr_blur_pool_backward(const float *dy, int planes, int h, int w, int stride, double *dx) {
    blur(NULL, dy, planes, h, w, stride, dx);
}

void cr_global_average_pool(const double *x, int planes, size_t plane, double *y) {
    for (int i = 0; i < planes; i++) {
        y[i] = 0;
        for (size_t p = 0; p < plane; p++) y[i] += x[i * plane + p] / plane;
    }
}

void cr_global_average_pool_backward(const float *dy, int planes, size_t plane, double *dx) {
    for (size_t i = 0; i < planes * plane; i++) dx[i] = (double)dy[i / plane] / plane;
}
