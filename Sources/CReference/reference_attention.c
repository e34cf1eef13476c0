/* Layer norm, GELU and the two attentions, forward and backward, in double. */
#include <math.h>
#include <stdlib.h>

#include "creference.h"

/* ---- GELU */

static double distribution(double x) { return 0.5 * erfc(-x / sqrt(2)); }

void cr_gelu(const float *x, size_t count, double *y) {
    for (size_t i = 0; i < count; i++) y[i] = x[i] * distribution(x[i]);
}

void cr_gelu_backward(const float *x, const float *dy, size_t count, double *dx) {
    for (size_t i = 0; i < count; i++) {
        const double v = x[i], density = exp(-v * v / 2) / sqrt(2 * acos(-1));
        dx[i] = dy[i] * (distribution(v) + v * density);
    }
}

/* ---- layer norm: pixel p of image i, channel c at (i * c_count + c) * plane + p */

typedef struct moments {
    double mean, invstd;
} moments;

static moments moments_at(const float *x, int c, size_t plane, double eps) {
    double sum = 0, squares = 0;
    for (int k = 0; k < c; k++) sum += x[k * plane];
    const double mean = sum / c;
    for (int k = 0; k < c; k++) squares += (x[k * plane] - mean) * (x[k * plane] - mean);
    return (moments){mean, 1 / sqrt(squares / c + eps)};
}

void cr_layer_norm(const float *x, int n, int c, size_t plane, const float *gamma, const float *beta, double eps,
                   double *y) {
    for (int i = 0; i < n; i++)
        for (size_t p = 0; p < plane; p++) {
            const size_t at = i * c * plane + p;
            const moments m = moments_at(x + at, c, plane, eps);
            for (int k = 0; k < c; k++)
                y[at + k * plane] = (x[at + k * plane] - m.mean) * m.invstd * gamma[k] + beta[k];
        }
}

/* ---- group norm: the channels of a group lie side by side */

void cr_group_norm(const float *x, int n, int c, int groups, size_t plane, const float *gamma, const float *beta,
                   double eps, double *y) {
    const size_t size = (size_t)(c / groups) * plane;
    for (int g = 0; g < n * groups; g++) {
        const moments m = moments_at(x + g * size, (int)size, 1, eps);
        for (size_t i = 0; i < size; i++) {
            const size_t at = g * size + i, k = at / plane % c;
            y[at] = (x[at] - m.mean) * m.invstd * gamma[k] + beta[k];
        }
    }
}

void cr_layer_norm_backward(const float *x, const float *dy, int n, int c, size_t plane, const float *gamma, double eps,
                            double *dx, double *dgamma, double *dbeta) {
    for (int k = 0; k < c; k++) dgamma[k] = dbeta[k] = 0;
    for (int i = 0; i < n; i++)
        for (size_t p = 0; p < plane; p++) {
            const size_t at = i * c * plane + p;
            const moments m = moments_at(x + at, c, plane, eps);
            double mean = 0, mean_x = 0;
            for (int k = 0; k < c; k++) {
                const double g = dy[at + k * plane], xhat = (x[at + k * plane] - m.mean) * m.invstd;
                mean += g * gamma[k] / c;
                mean_x += g * gamma[k] * xhat / c;
                dgamma[k] += g * xhat;
                dbeta[k] += g;
            }
            for (int k = 0; k < c; k++) {
                const double g = dy[at + k * plane], xhat = (x[at + k * plane] - m.mean) * m.invstd;
                dx[at + k * plane] = m.invstd * (g * gamma[k] - mean - xhat * mean_x);
            }
        }
}

/* ---- attention: qkv (N, 3 C, H, W) */

static size_t qkv_at(const cr_attention *s, int image, int which, int channel, int y, int x) {
    return (((size_t)image * 3 + which) * s->c + channel) * s->h * s->w + (size_t)y * s->w + x;
}
static size_t result_at(const cr_attention *s, int image, int channel, int y, int x) {
    return ((size_t)image * s->c + channel) * s->h * s->w + (size_t)y * s->w + x;
}

static void softmax(double *x, int count) {
    double most = x[0], sum = 0;
    for (int i = 1; i < count; i++) most = fmax(most, x[i]);
    for (int i = 0; i < count; i++) sum += x[i] = exp(x[i] - most);
    for (int i = 0; i < count; i++) x[i] /= sum;
}

/* dS = scale A (dA - sum A dA), over dA. */
static void softmax_backward(const double *a, double *da, int count, double scale) {
    double dot = 0;
    for (int i = 0; i < count; i++) dot += a[i] * da[i];
    for (int i = 0; i < count; i++) da[i] = scale * a[i] * (da[i] - dot);
}

/* One query's row of the attention in window (top, left). */
static void window_row(const cr_attention *s, const float *qkv, int image, int first, int y, int x, double *row) {
    const int top = y / s->window_h * s->window_h, left = x / s->window_w * s->window_w, size = s->c / s->heads;
    for (int j = 0; j < s->window_h * s->window_w; j++) {
        row[j] = 0;
        for (int d = first; d < first + size; d++)
            row[j] += (double)qkv[qkv_at(s, image, 0, d, y, x)] *
                      qkv[qkv_at(s, image, 1, d, top + j / s->window_w, left + j % s->window_w)];
        row[j] *= s->scale;
    }
    softmax(row, s->window_h * s->window_w);
}

#define EACH_QUERY                                                                                                     \
    for (int image = 0; image < s->n; image++)                                                                         \
        for (int first = 0; first < s->c; first += s->c / s->heads)                                                    \
            for (int y = 0; y < s->h; y++)                                                                             \
                for (int x = 0; x < s->w; x++)

void cr_window_attention(const cr_attention *s, const float *qkv, double *result) {
    const int count = s->window_h * s->window_w, size = s->c / s->heads;
    double *row = malloc(count * sizeof *row);
    EACH_QUERY {
        const int top = y / s->window_h * s->window_h, left = x / s->window_w * s->window_w;
        window_row(s, qkv, image, first, y, x, row);
        for (int d = first; d < first + size; d++) {
            double sum = 0;
            for (int j = 0; j < count; j++)
                sum += row[j] * qkv[qkv_at(s, image, 2, d, top + j / s->window_w, left + j % s->window_w)];
            result[result_at(s, image, d, y, x)] = sum;
        }
    }
    free(row);
}

void cr_window_attention_backward(const cr_attention *s, const float *qkv, const float *dy, double *dqkv) {
    const int count = s->window_h * s->window_w, size = s->c / s->heads;
    double *row = malloc(count * sizeof *row), *slope = malloc(count * sizeof *slope);
    for (size_t i = 0; i < (size_t)s->n * 3 * s->c * s->h * s->w; i++) dqkv[i] = 0;
    EACH_QUERY {
        const int top = y / s->window_h * s->window_h, left = x / s->window_w * s->window_w;
        window_row(s, qkv, image, first, y, x, row);
        for (int j = 0; j < count; j++) {
            const int v = top + j / s->window_w, u = left + j % s->window_w;
            slope[j] = 0;
            for (int d = first; d < first + size; d++) {
                const double g = dy[result_at(s, image, d, y, x)];
                slope[j] += g * qkv[qkv_at(s, image, 2, d, v, u)];
                dqkv[qkv_at(s, image, 2, d, v, u)] += g * row[j];
            }
        }
        softmax_backward(row, slope, count, s->scale);
        for (int j = 0; j < count; j++) {
            const int v = top + j / s->window_w, u = left + j % s->window_w;
            for (int d = first; d < first + size; d++) {
                dqkv[qkv_at(s, image, 0, d, y, x)] += slope[j] * qkv[qkv_at(s, image, 1, d, v, u)];
                dqkv[qkv_at(s, image, 1, d, v, u)] += slope[j] * qkv[qkv_at(s, image, 0, d, y, x)];
            }
        }
    }
    free(row), free(slope);
}

/* Row i of the channel attention: over j, sum of k_ti v_tj. */
static void channel_row(const cr_attention *s, const float *qkv, int image, int first, int i, double *row) {
    const int size = s->c / s->heads;
    for (int j = 0; j < size; j++) {
        row[j] = 0;
        for (int t = 0; t < s->h * s->w; t++)
            row[j] += (double)qkv[qkv_at(s, image, 1, first + i, 0, t)] * qkv[qkv_at(s, image, 2, first + j, 0, t)];
        row[j] *= s->scale;
    }
    softmax(row, size);
}

#define EACH_ROW                                                                                                       \
    for (int image = 0; image < s->n; image++)                                                                         \
        for (int first = 0; first < s->c; first += size)                                                               \
            for (int i = 0; i < size; i++)

void cr_channel_attention(const cr_attention *s, const float *qkv, double *result) {
    const int size = s->c / s->heads;
    double *row = malloc(size * sizeof *row);
    EACH_ROW {
        channel_row(s, qkv, image, first, i, row);
        for (int t = 0; t < s->h * s->w; t++) {
            double sum = 0;
            for (int j = 0; j < size; j++) sum += row[j] * qkv[qkv_at(s, image, 0, first + j, 0, t)];
            result[result_at(s, image, first + i, 0, t)] = sum;
        }
    }
    free(row);
}

void cr_channel_attention_backward(const cr_attention *s, const float *qkv, const float *dy, double *dqkv) {
    const int size = s->c / s->heads;
    double *row = malloc(size * sizeof *row), *slope = malloc(size * sizeof *slope);
    for (size_t i = 0; i < (size_t)s->n * 3 * s->c * s->h * s->w; i++) dqkv[i] = 0;
    EACH_ROW {
        channel_row(s, qkv, image, first, i, row);
        for (int j = 0; j < size; j++) {
            slope[j] = 0;
            for (int t = 0; t < s->h * s->w; t++) {
                const double g = dy[result_at(s, image, first + i, 0, t)];
                slope[j] += g * qkv[qkv_at(s, image, 0, first + j, 0, t)];
                dqkv[qkv_at(s, image, 0, first + j, 0, t)] += g * row[j];
            }
        }
        softmax_backward(row, slope, size, s->scale);
        for (int j = 0; j < size; j++)
            for (int t = 0; t < s->h * s->w; t++) {
                const size_t k = qkv_at(s, image, 1, first + i, 0, t), v = qkv_at(s, image, 2, first + j, 0, t);
                dqkv[k] += slope[j] * qkv[v];
                dqkv[v] += slope[j] * qkv[k];
            }
    }
    free(row), free(slope);
}
