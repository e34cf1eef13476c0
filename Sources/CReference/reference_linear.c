/* The linear layer, activations and losses, over rows. */
#include "creference.h"
#include <math.h>
#include <string.h>

void cr_linear(const float *x, const float *w, const float *b, int n, int in, int out, double *y, double *spread) {
    for (int i = 0; i < n; i++)
        for (int o = 0; o < out; o++) {
            double sum = b ? b[o] : 0, squares = sum * sum;
            for (int j = 0; j < in; j++) {
                double term = (double)x[(size_t)i * in + j] * w[(size_t)o * in + j];
                sum += term;
                squares += term * term;
            }
            y[(size_t)i * out + o] = sum;
            if (spread) spread[(size_t)i * out + o] = sqrt(squares);
        }
}

void cr_linear_backward(const float *x, const float *w, const float *dy, int n, int in, int out, double *dx, double *dw,
                        double *db) {
    if (dx) memset(dx, 0, (size_t)n * in * sizeof *dx);
    if (dw) memset(dw, 0, (size_t)out * in * sizeof *dw);
    if (db) memset(db, 0, out * sizeof *db);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < out; o++) {
            double g = dy[(size_t)i * out + o];
            for (int j = 0; j < in; j++) {
                if (dx) dx[(size_t)i * in + j] += g * w[(size_t)o * in + j];
                if (dw) dw[(size_t)o * in + j] += g * x[(size_t)i * in + j];
            }
            if (db) db[o] += g;
        }
}

void cr_relu(const float *x, size_t count, double *y) {
    for (size_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

void cr_relu_backward(const float *y, const float *dy, size_t count, double *dx) {
    for (size_t i = 0; i < count; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

void cr_sigmoid_backward(const float *y, const float *dy, size_t count, double *dx) {
    for (size_t i = 0; i < count; i++) dx[i] = (double)dy[i] * y[i] * (1 - (double)y[i]);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

void cr_sigmoid(const float *x, size_t count, double *y) {
    for (size_t i = 0; i < count; i++) y[i] = sigmoid(x[i]);
}

void cr_log_softmax(const float *x, int rows, int n, double *y) {
    for (int i = 0; i < rows; i++) {
        const float *row = x + (size_t)i * n;
        double top = row[0], sum = 0;
        for (int j = 1; j < n; j++) top = fmax(top, row[j]);
        for (int j = 0; j < n; j++) sum += exp(row[j] - top);
        for (int j = 0; j < n; j++) y[(size_t)i * n + j] = row[j] - top - log(sum);
    }
}

void cr_softmax(const float *x, int rows, int n, double *y) {
    cr_log_softmax(x, rows, n, y);
    for (size_t i = 0; i < (size_t)rows * n; i++) y[i] = exp(y[i]);
}

double cr_cross_entropy(const float *x, const int32_t *labels, int rows, int n, const float *class_weights,
                        double smoothing, int32_t ignore_index, double *dx) {
    double loss = 0, total = 0;
    for (int i = 0; i < rows; i++)
        if (labels[i] != ignore_index) total += class_weights ? class_weights[labels[i]] : 1;
    for (int i = 0; i < rows; i++) {
        double log_p[n], target[n], mass = 0;
        cr_log_softmax(x + (size_t)i * n, 1, n, log_p);
        for (int j = 0; j < n; j++) {
            double weight = class_weights ? class_weights[j] : 1;
            double share = (j == labels[i] ? 1 - smoothing : 0) + smoothing / n;
            target[j] = labels[i] == ignore_index ? 0 : share * weight / total;
            mass += target[j];
            loss -= target[j] * log_p[j];
        }
        for (int j = 0; dx && j < n; j++) dx[(size_t)i * n + j] = mass * exp(log_p[j]) - target[j];
    }
    return loss;
}

double cr_soft_cross_entropy(const float *x, const float *targets, int rows, int n, const float *class_weights,
                             double smoothing, double *dx) {
    double loss = 0;
    for (int i = 0; i < rows; i++) {
        double log_p[n], target[n], mass = 0;
        cr_log_softmax(x + (size_t)i * n, 1, n, log_p);
        for (int j = 0; j < n; j++) {
            double share = targets[(size_t)i * n + j] * (1 - smoothing) + smoothing / n;
            target[j] = share * (class_weights ? class_weights[j] : 1) / rows;
            mass += target[j];
            loss -= target[j] * log_p[j];
        }
        for (int j = 0; dx && j < n; j++) dx[(size_t)i * n + j] = mass * exp(log_p[j]) - target[j];
    }
    return loss;
}

double cr_bce_with_logits(const float *x, const float *targets, int rows, int n, const float *positive_weights,
                          double *dx) {
    double loss = 0, count = (double)rows * n;
    for (size_t i = 0; i < (size_t)rows * n; i++) {
        double p = positive_weights ? positive_weights[i % n] : 1, t = targets[i], s = sigmoid(x[i]);
        double softplus = log1p(exp(-fabs(x[i]))); /* -log sigmoid(x) = softplus(-x) = log1p(e^-|x|) + max(-x, 0) */
        loss += (p * t * (softplus + fmax(-x[i], 0)) + (1 - t) * (softplus + fmax(x[i], 0))) / count;
        if (dx) dx[i] = (p * t * (s - 1) + (1 - t) * s) / count;
    }
    return loss;
}
