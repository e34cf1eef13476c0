/* Batch normalization (Ioffe & Szegedy 2015), per channel over N and the plane. With m = N plane values a channel,
 * xhat = (x - mean) / sqrt(var + eps) and y = gamma xhat + beta:
 *     training:  dx = gamma / sqrt(var + eps) (dy - mean(dy) - xhat mean(dy xhat))
 *     inference: dx = gamma / sqrt(var + eps) dy
 *     both:      dgamma = sum of dy xhat, dbeta = sum of dy.
 */
#include "creference.h"
#include <math.h>

static size_t at(int n, int c, int channels, size_t plane) { return ((size_t)n * channels + c) * plane; }

void cr_bn_fold(const float *gamma, const float *beta, const float *mean, const float *var, double eps, int c,
                double *scale, double *shift) {
    for (int i = 0; i < c; i++) {
        scale[i] = (gamma ? gamma[i] : 1.0) / sqrt(var[i] + eps);
        shift[i] = (beta ? beta[i] : 0.0) - mean[i] * scale[i];
    }
}

static void normalize(const float *x, int n, int c, int channels, size_t plane, double gamma, double beta, double mean,
                      double var, double eps, double *y) {
    for (int i = 0; i < n; i++)
        for (size_t p = 0; p < plane; p++) {
            size_t e = at(i, c, channels, plane) + p;
            y[e] = (x[e] - mean) / sqrt(var + eps) * gamma + beta;
        }
}

void cr_bn_inference(const float *x, int n, int c, size_t plane, const float *gamma, const float *beta,
                     const float *mean, const float *var, double eps, double *y) {
    for (int j = 0; j < c; j++)
        normalize(x, n, j, c, plane, gamma ? gamma[j] : 1, beta ? beta[j] : 0, mean[j], var[j], eps, y);
}

void cr_bn_training(const float *x, int n, int c, size_t plane, const float *gamma, const float *beta, double eps,
                    double momentum, double *y, double *mean, double *var, double *running_mean, double *running_var) {
    double m = (double)n * plane;
    for (int j = 0; j < c; j++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < n; i++)
            for (size_t p = 0; p < plane; p++) sum += x[at(i, j, c, plane) + p];
        mean[j] = sum / m;
        for (int i = 0; i < n; i++)
            for (size_t p = 0; p < plane; p++) {
                double d = x[at(i, j, c, plane) + p] - mean[j];
                squares += d * d;
            }
        var[j] = squares / m;
        normalize(x, n, j, c, plane, gamma ? gamma[j] : 1, beta ? beta[j] : 0, mean[j], var[j], eps, y);
        if (running_mean) running_mean[j] += momentum * (mean[j] - running_mean[j]);
        if (running_var) running_var[j] += momentum * (squares / (m - 1) - running_var[j]);
    }
}

static void backward(const float *x, const float *dy, int n, int c, int channels, size_t plane, double gamma,
                     double mean, double var, double eps, int training, double *dx, double *dgamma, double *dbeta) {
    double m = (double)n * plane, scale = 1 / sqrt(var + eps), sum = 0, dot = 0;
    for (int i = 0; i < n; i++)
        for (size_t p = 0; p < plane; p++) {
            size_t e = at(i, c, channels, plane) + p;
            sum += dy[e];
            dot += dy[e] * (x[e] - mean) * scale;
        }
    *dbeta = sum;
    *dgamma = dot;
    for (int i = 0; i < n; i++)
        for (size_t p = 0; p < plane; p++) {
            size_t e = at(i, c, channels, plane) + p;
            double centered = training ? sum / m + (x[e] - mean) * scale * dot / m : 0;
            dx[e] = gamma * scale * (dy[e] - centered);
        }
}

void cr_bn_training_backward(const float *x, const float *dy, int n, int c, size_t plane, const float *gamma,
                             const double *mean, const double *var, double eps, double *dx, double *dgamma,
                             double *dbeta) {
    for (int j = 0; j < c; j++)
        backward(x, dy, n, j, c, plane, gamma ? gamma[j] : 1, mean[j], var[j], eps, 1, dx, dgamma + j, dbeta + j);
}

void cr_bn_inference_backward(const float *x, const float *dy, int n, int c, size_t plane, const float *gamma,
                              const float *mean, const float *var, double eps, double *dx, double *dgamma,
                              double *dbeta) {
    for (int j = 0; j < c; j++)
        backward(x, dy, n, j, c, plane, gamma ? gamma[j] : 1, mean[j], var[j], eps, 0, dx, dgamma + j, dbeta + j);
}
