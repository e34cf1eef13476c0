/* Batch norm, losses and optimizers against the reference; the bounds count roundings, see
 * Tests/CKernelsTests/TrainingBatchNormTests.swift. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* ---- batch norm */

typedef struct {
    int n, c, h, w, training, relu, residual, threads;
} bn_case;

static void batch_norm(bn_case o, uint64_t seed) {
    const size_t plane = (size_t)o.h * o.w, count = o.n * o.c * plane;
    const int c = o.c;
    const float *x = uniform(count, seed, -1, 1), *dy = uniform(count, seed + 1, -1, 1);
    const float *residual = uniform(count, seed + 2, -1, 1), *gamma = uniform(c, seed + 3, -2, 2);
    const float *beta = uniform(c, seed + 4, -1, 1);
    float *running_mean = uniform(c, seed + 5, -0.5, 0.5), *running_var = uniform(c, seed + 6, 0.01, 2);
    const ck_bn_desc d = {o.n, c, o.h, o.w, o.training, o.relu, 1e-5, 0.1, o.threads};
    char what[100];
    snprintf(what, sizeof what, "batch norm %dx%dx%dx%d, training %d, relu %d, residual %d, %d threads", o.n, c, o.h,
             o.w, o.training, o.relu, o.residual, o.threads);

    double *y = doubles(count), *bound = doubles(count), *mean = doubles(c), *var = doubles(c);
    double *new_mean = doubles(c), *new_var = doubles(c);
    for (int k = 0; k < c; k++) {
        mean[k] = new_mean[k] = running_mean[k];
        var[k] = new_var[k] = running_var[k];
    }
    if (o.training)
        cr_bn_training(x, o.n, c, plane, gamma, beta, 1e-5, 0.1, y, mean, var, new_mean, new_var);
    else
        cr_bn_inference(x, o.n, c, plane, gamma, beta, running_mean, running_var, 1e-5, y);
    for (size_t i = 0; i < count; i++) {
        const size_t k = i / plane % c;
        const double scale = fabs((double)gamma[k]) / sqrt(var[k] + 1e-5);
        bound[i] = 3 * (fabs((double)x[i]) + fabs(mean[k])) * scale + fabs((double)beta[k]) + fabs(y[i]);
        if (o.residual) y[i] += residual[i];
        bound[i] += fabs(y[i]);
        if (o.relu && y[i] < 0) y[i] = 0;
    }
    float *got_mean = floats(c), *invstd = floats(c), *dgamma = floats(c), *dbeta = floats(c);
    float *blocked_x = blocked(x, o.n, c, plane), *dst = poisoned(o.n, c, plane);
    void *workspace = allocate((ck_bn_workspace_size(&d) + 63) / 64 * 64);
    const ck_bn_forward_args forward = {.x = blocked_x,
                                        .gamma = gamma,
                                        .beta = beta,
                                        .residual = o.residual ? blocked(residual, o.n, c, plane) : NULL,
                                        .running_mean = running_mean,
                                        .running_var = running_var,
                                        .mean = got_mean,
                                        .invstd = invstd,
                                        .y = dst,
                                        .workspace = workspace};
    double *frozen_mean = doubles(c), *frozen_var = doubles(c);
    for (int k = 0; k < c; k++) frozen_mean[k] = running_mean[k], frozen_var[k] = running_var[k];
    float *mean32 = floats(c), *var32 = floats(c);
    memcpy(mean32, running_mean, c * sizeof *mean32);
    memcpy(var32, running_var, c * sizeof *var32);
    check(ck_bn_forward(&d, &forward) == CK_OK, "%s", what);
    float *got = unblocked(dst, o.n, c, plane);
    check_close(got, y, count, bound, 1.01 * ROUNDOFF, 0, what);
    check_surplus(dst, o.n, c, plane, what);
    check_close(running_mean, o.training ? new_mean : frozen_mean, c, NULL, 0, 2 * ROUNDOFF, what);
    check_close(running_var, o.training ? new_var : frozen_var, c, NULL, 0, 4 * ROUNDOFF, what);

    /* The mask of ReLU is that of the result as stored. */
    float *g = floats(count);
    for (size_t i = 0; i < count; i++) g[i] = !o.relu || got[i] > 0 ? dy[i] : 0;
    double *dx = doubles(count), *want_dgamma = doubles(c), *want_dbeta = doubles(c), *dot = doubles(c);
    if (o.training)
        cr_bn_training_backward(x, g, o.n, c, plane, gamma, mean, var, 1e-5, dx, want_dgamma, want_dbeta);
    else
        cr_bn_inference_backward(x, g, o.n, c, plane, gamma, mean32, var32, 1e-5, dx, want_dgamma, want_dbeta);
    float *back = poisoned(o.n, c, plane), *dresidual = poisoned(o.n, c, plane);
    const ck_bn_backward_args backward = {.dy = blocked(dy, o.n, c, plane),
                                          .x = blocked_x,
                                          .y = o.relu && o.residual ? dst : NULL,
                                          .gamma = gamma,
                                          .beta = beta,
                                          .mean = got_mean,
                                          .invstd = invstd,
                                          .dx = back,
                                          .dresidual = o.residual ? dresidual : NULL,
                                          .dgamma = dgamma,
                                          .dbeta = dbeta,
                                          .workspace = workspace};
    check(ck_bn_backward(&d, &backward) == CK_OK, "%s backward", what);
    if (o.residual) check(!memcmp(unblocked(dresidual, o.n, c, plane), g, count * sizeof *g), "%s: dresidual", what);
    for (size_t i = 0; i < count; i++) {
        const size_t k = i / plane % c;
        dot[k] += fabs((double)g[i]) * fabs(x[i] - mean[k]);
    }
    double *dbeta_bound = doubles(c), *dgamma_bound = doubles(c);
    for (int k = 0; k < c; k++) {
        dot[k] += fabs(mean[k] * want_dbeta[k]);
        dbeta_bound[k] = fabs(want_dbeta[k]);
        dgamma_bound[k] = 3 * dot[k] / sqrt(var[k] + 1e-5);
    }
    check_close(dbeta, want_dbeta, c, dbeta_bound, 1.01 * ROUNDOFF, 1e-12, what);
    check_close(dgamma, want_dgamma, c, dgamma_bound, ROUNDOFF, 1e-12, what);
    const double m = (double)o.n * (double)plane;
    for (size_t i = 0; i < count; i++) {
        const size_t k = i / plane % c;
        const double inv = 1 / sqrt(var[k] + 1e-5), scale = fabs((double)gamma[k]) * inv, t = o.training;
        bound[i] =
            3 * fabs((double)g[i]) * scale + fabs(dx[i]) +
            t * (4 * (fabs((double)x[i]) + fabs(mean[k])) * scale * inv * fabs(want_dgamma[k]) / m +
                 4 * scale * fabs(want_dbeta[k]) / m + fabs(x[i] - mean[k]) * scale * inv * inv / m * 2 * dot[k]);
    }
    check_close(unblocked(back, o.n, c, plane), dx, count, bound, 1.01 * ROUNDOFF, 1e-13, what);
    check_surplus(back, o.n, c, plane, what);
    release_all();
}

void test_batch_norm(void) {
    static const int sizes[][4] = {{2, 1, 1, 1},  {1, 3, 1, 2},   {5, 16, 1, 1}, {2, 17, 5, 7},
                                   {3, 33, 4, 4}, {1, 64, 14, 9}, {3, 96, 5, 5}, {4, 15, 28, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flags = 0; flags < 8; flags++) {
            const int *s = sizes[i];
            batch_norm(
                (bn_case){s[0], s[1], s[2], s[3], flags & 1, flags >> 1 & 1, flags >> 2, 1 + (int)(i + flags) % 3}, i);
        }
    enum { C = 37 };
    const float *gamma = uniform(C, 1, -1, 1), *beta = uniform(C, 2, -1, 1), *mean = uniform(C, 3, -5, 5);
    const float *var = uniform(C, 4, 1e-6, 3);
    float *scale = floats(C), *shift = floats(C);
    double *scales = doubles(C), *shifts = doubles(C), *size = doubles(C);
    check(ck_bn_fold(gamma, beta, mean, var, 1e-5, C, scale, shift) == CK_OK, "fold");
    cr_bn_fold(gamma, beta, mean, var, 1e-5, C, scales, shifts);
    for (int k = 0; k < C; k++) size[k] = fabs(scales[k]) + fabs(shifts[k]);
    check_close(scale, scales, C, size, ROUNDOFF, 0, "fold");
    check_close(shift, shifts, C, size, ROUNDOFF, 0, "fold");
}

/* ---- losses */

static void losses(int rows, int n, double size) {
    const size_t count = (size_t)rows * n;
    const float *x = uniform(count, n, -size, size), *targets = uniform(count, 2, 0, 1),
                *weights = uniform(n, 3, 0.5, 2);
    int32_t *labels = allocate(rows * sizeof *labels);
    for (int i = 0; i < rows; i++) labels[i] = i % 5 == 3 ? -1 : i * 7 % n;
    for (int variant = 0; variant < 4; variant++) {
        const float *w = variant & 1 ? weights : NULL;
        const double smoothing = variant & 2 ? 0.1 : 0;
        double *dx = doubles(count), *bound = doubles(count);
        for (int kind = 0; kind < 3; kind++) {
            float *got = floats(count);
            ck_loss loss = {0};
            ck_status status;
            double value;
            if (kind == 0) {
                status = ck_cross_entropy(x, labels, rows, n, w, smoothing, -1, 1, &loss, got);
                value = cr_cross_entropy(x, labels, rows, n, w, smoothing, -1, dx);
            } else if (kind == 1) {
                status = ck_soft_cross_entropy(x, targets, rows, n, w, smoothing, 1, &loss, got);
                value = cr_soft_cross_entropy(x, targets, rows, n, w, smoothing, dx);
            } else {
                status = ck_bce_with_logits(x, targets, rows, n, w, 1, &loss, got);
                value = cr_bce_with_logits(x, targets, rows, n, w, dx);
            }
            for (size_t i = 0; i < count; i++) bound[i] = fabs(dx[i]);
            check(status == CK_OK, "loss %d", kind);
            check(fabs(loss.mean - value) <= 1e-12 * fmax(1, fabs(value)), "loss %d: %g, expected %g", kind, loss.mean,
                  value);
            check_close(got, dx, count, bound, 1.01 * ROUNDOFF, 1e-14, "gradient of a loss");
        }
    }
    release_all();
}

void test_losses(void) {
    losses(1, 1, 1);
    losses(3, 2, 40);
    losses(7, 10, 1);
    losses(33, 100, 40);
}

/* ---- optimizers: one step in double beside it */

static void optimizers(size_t count, int threads) {
    const float *start = uniform(count, 1, -1, 1), *grad = uniform(count, 2, -1, 1);
    double *want = doubles(count), *bound = doubles(count);
    for (size_t i = 0; i < count; i++) bound[i] = 3;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        float *w = uniform(count, 1, -1, 1), *velocity = uniform(count, 3, -1, 1);
        const ck_sgd sgd = {0.1, 0.9, nesterov ? 0 : 0.5, 0.01, nesterov, 0};
        for (size_t i = 0; i < count; i++) {
            const double g = grad[i] + 0.01 * start[i], v = 0.9 * velocity[i] + (1 - sgd.dampening) * g;
            want[i] = start[i] - 0.1 * (nesterov ? g + 0.9 * v : v);
        }
        check(ck_sgd_step(&sgd, w, grad, velocity, count, threads) == CK_OK, "sgd");
        check_close(w, want, count, bound, 4 * ROUNDOFF, 0, "sgd");
    }
    for (int decoupled = 0; decoupled < 2; decoupled++) {
        float *w = uniform(count, 1, -1, 1), *m = uniform(count, 3, -1, 1), *v = uniform(count, 4, 0.1, 1);
        const ck_adam adam = {0.01, 0.9, 0.99, 1e-8, 0.1, decoupled, 3};
        for (size_t i = 0; i < count; i++) {
            const double g = grad[i] + (decoupled ? 0 : 0.1 * start[i]), first = 0.9 * m[i] + 0.1 * g;
            const double second = 0.99 * v[i] + 0.01 * g * g, old = decoupled ? start[i] * (1 - 0.001) : start[i];
            want[i] = old - 0.01 / (1 - pow(0.9, 3)) * first / (sqrt(second / (1 - pow(0.99, 3))) + 1e-8);
        }
        check(ck_adam_step(&adam, w, grad, m, v, count, threads) == CK_OK, "adam");
        check_close(w, want, count, bound, 4 * ROUNDOFF, 0, "adam");
    }
    double squares = 0, sum = 0;
    for (size_t i = 0; i < count; i++) squares += (double)start[i] * start[i];
    check(ck_sum_of_squares(start, count, &sum, threads) == CK_OK && fabs(sum - squares) <= 1e-11 * squares,
          "sum of squares");
    float *y = uniform(count, 2, -1, 1);
    for (size_t i = 0; i < count; i++) want[i] = 0.9 * (0.3 * grad[i] - 0.7 * start[i]) + 0.1 * start[i];
    check(ck_scale(y, count, 0.3, threads) == CK_OK, "scale");
    check(ck_accumulate(start, y, count, -0.7, threads) == CK_OK, "accumulate");
    check(ck_moving_average(start, y, count, 0.9, threads) == CK_OK, "moving average");
    check_close(y, want, count, bound, 4 * ROUNDOFF, 0, "scale, accumulate, average");

    float *all = floats(count), *part = floats(count);
    check(ck_dropout(start, all, count, 0.5, 7, 0, threads) == CK_OK, "dropout");
    check(ck_dropout(start, part, count / 2 + 1, 0.5, 7, 0, 1) == CK_OK, "dropout");
    check(ck_dropout(start + count / 2, part + count / 2, count - count / 2, 0.5, 7, count / 2, 1) == CK_OK, "dropout");
    int fits = 1;
    for (size_t i = 0; i < count; i++) fits &= all[i] == part[i] && (all[i] == 0 || all[i] == 2 * start[i]);
    check(fits, "dropout is a function of the element's number");
    release_all();
}

void test_optimizers(void) {
    optimizers(1, 1);
    optimizers(5, 2);
    optimizers(17, 1);
    optimizers(4099, 3);
    optimizers(50003, 2);
}
