/* Convolution and its two gradients, one sum per output:
 *     y[n][k][oy][ox] = sum over c, r, s of x[n][g C/G + c][oy stride - pad + r dilation][ox ...] w[k][c][r][s],
 * where g is the group of k. The gradients walk the same (output, tap) pairs and add elsewhere.
 */
#include "creference.h"
#include <math.h>
#include <string.h>

static int out_size(int in, int pad, int dilation, int kernel, int stride) {
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

int cr_conv_out_h(const cr_conv *s) { return out_size(s->h, s->pad_h, s->dilation_h, s->kernel_h, s->stride_h); }
int cr_conv_out_w(const cr_conv *s) { return out_size(s->w, s->pad_w, s->dilation_w, s->kernel_w, s->stride_w); }

/* What to do with each pair: to[...] += a * b, with the offsets of x, w and y in their tensors. */
typedef struct pass {
    const float *x, *w, *dy;
    double *to, *spread;
} pass;

static inline void add_term(const pass *p, size_t to, double a, double b) {
    p->to[to] += a * b;
    if (p->spread) p->spread[to] += (a * b) * (a * b);
}

/* Calls add_term for every output of image n, channel k. */
static void walk(const cr_conv *s, const pass *p, int n, int k) {
    int oh = cr_conv_out_h(s), ow = cr_conv_out_w(s), cg = s->c / s->groups, group = k / (s->k / s->groups);
    for (int oy = 0; oy < oh; oy++)
        for (int ox = 0; ox < ow; ox++) {
            size_t yi = (((size_t)n * s->k + k) * oh + oy) * ow + ox;
            for (int c = 0; c < cg; c++)
                for (int r = 0; r < s->kernel_h; r++)
                    for (int t = 0; t < s->kernel_w; t++) {
                        int iy = oy * s->stride_h - s->pad_h + r * s->dilation_h;
                        int ix = ox * s->stride_w - s->pad_w + t * s->dilation_w;
                        if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w) continue;
                        size_t xi = (((size_t)n * s->c + group * cg + c) * s->h + iy) * s->w + ix;
                        size_t wi = (((size_t)k * cg + c) * s->kernel_h + r) * s->kernel_w + t;
                        if (!p->dy)
                            add_term(p, yi, p->x[xi], p->w[wi]);
                        else if (p->w)
                            add_term(p, xi, p->dy[yi], p->w[wi]);
                        else
                            add_term(p, wi, p->dy[yi], p->x[xi]);
                    }
        }
}

static void run(const cr_conv *s, pass p, size_t count) {
    memset(p.to, 0, count * sizeof *p.to);
    if (p.spread) memset(p.spread, 0, count * sizeof *p.spread);
    for (int n = 0; n < s->n; n++)
        for (int k = 0; k < s->k; k++) walk(s, &p, n, k);
    for (size_t i = 0; p.spread && i < count; i++) p.spread[i] = sqrt(p.spread[i]);
}

void cr_conv_forward(const cr_conv *s, const float *x, const float *w, double *y, double *spread) {
    run(s, (pass){x, w, NULL, y, spread}, (size_t)s->n * s->k * cr_conv_out_h(s) * cr_conv_out_w(s));
}

void cr_conv_data_gradient(const cr_conv *s, const float *dy, const float *w, double *dx, double *spread) {
    run(s, (pass){NULL, w, dy, dx, spread}, (size_t)s->n * s->c * s->h * s->w);
}

void cr_conv_weight_gradient(const cr_conv *s, const float *x, const float *dy, double *dw, double *spread) {
    run(s, (pass){x, NULL, dy, dw, spread}, (size_t)s->k * (s->c / s->groups) * s->kernel_h * s->kernel_w);
}

void cr_epilogue(double *y, int n, int k, size_t plane, const float *bias, const float *residual, int relu) {
    for (size_t i = 0; i < (size_t)n * k * plane; i++) {
        if (bias) y[i] += bias[i / plane % k];
        if (residual) y[i] += residual[i];
        if (relu && y[i] < 0) y[i] = 0;
    }
}
