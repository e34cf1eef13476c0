/* Losses and their gradients, over rows of logits, in double. */
#include <math.h>

#include "ops/ops.h"

/* The largest value of a row, and log of the sum of e^(x - largest). */
static void log_sum(const float *x, int32_t n, double *top, double *log_of_sum) {
    float most = x[0];
    double sum = 0;
    for (int32_t j = 1; j < n; j++) most = x[j] > most ? x[j] : most;
    for (int32_t j = 0; j < n; j++) sum += exp((double)x[j] - most);
    *top = most;
    *log_of_sum = log(sum);
}

/* What a row is compared with: one label, or (n) shares; (n) weights or NULL. */
typedef struct target {
    int32_t label; /* -1: none */
    const float *shares, *class_weights;
    double smoothing;
} target;

/* One row against the shares t(j): minus the sum of t log p; and, times scale, dx = p sum(t) - t. */
static double row_loss(const float *x, int32_t n, target t, double scale, float *dx) {
    double top, log_of_sum, loss = 0, mass = 0;
    log_sum(x, n, &top, &log_of_sum);
    for (int pass = 0; pass < (dx ? 2 : 1); pass++)
        for (int32_t j = 0; j < n; j++) {
            const double hard = t.shares ? t.shares[j] : j == t.label;
            const double share =
                ((1 - t.smoothing) * hard + t.smoothing / n) * (t.class_weights ? t.class_weights[j] : 1);
            const double log_p = x[j] - top - log_of_sum;
            if (pass == 0) {
                mass += share;
                if (share != 0) loss -= share * log_p; /* 0 times -infinity is 0 here */
            } else {
                dx[j] = (float)(scale * (mass * exp(log_p) - share));
            }
        }
    return loss;
}

static int bad_rows(int32_t rows, int32_t n, double smoothing, double scale) {
    return rows < 1 || n < 1 || !ck_addressable(1, 1, rows, n, sizeof(float)) || !(smoothing >= 0 && smoothing <= 1) ||
           !isfinite(scale);
}

ck_status ck_cross_entropy(const float *x, const int32_t *labels, int32_t rows, int32_t n, const float *class_weights,
                           double smoothing, int32_t ignore_index, double scale, ck_loss *loss, float *dx) {
    if (!x || !labels || !loss || bad_rows(rows, n, smoothing, scale)) return CK_INVALID_ARGUMENT;
    double weight = 0, sum = 0;
    for (int32_t i = 0; i < rows; i++) {
        if (labels[i] == ignore_index) continue;
        if (labels[i] < 0 || labels[i] >= n) return CK_INVALID_ARGUMENT;
        weight += class_weights ? class_weights[labels[i]] : 1;
    }
    for (int32_t i = 0; i < rows; i++) {
        float *to = dx ? dx + (int64_t)i * n : NULL;
        if (labels[i] == ignore_index || weight == 0) {
            for (int32_t j = 0; to && j < n; j++) to[j] = 0;
            continue;
        }
        sum += row_loss(x + (int64_t)i * n, n, (target){labels[i], NULL, class_weights, smoothing}, scale / weight, to);
    }
    *loss = (ck_loss){weight == 0 ? (double)NAN : sum / weight, weight};
    return CK_OK;
}

ck_status ck_soft_cross_entropy(const float *x, const float *targets, int32_t rows, int32_t n,
                                const float *class_weights, double smoothing, double scale, ck_loss *loss, float *dx) {
    if (!x || !targets || !loss || bad_rows(rows, n, smoothing, scale)) return CK_INVALID_ARGUMENT;
    double sum = 0;
    for (int32_t i = 0; i < rows; i++) {
        const int64_t at = (int64_t)i * n;
        sum += row_loss(x + at, n, (target){-1, targets + at, class_weights, smoothing}, scale / rows,
                        dx ? dx + at : NULL);
    }
    *loss = (ck_loss){sum / rows, rows};
    return CK_OK;
}

/* With softplus(v) = log(1 + e^v): -log sigmoid(x) = softplus(-x), -log(1 - sigmoid(x)) = softplus(x), and neither
 * overflows when the larger part is taken out. */
ck_status ck_bce_with_logits(const float *x, const float *targets, int32_t rows, int32_t n,
                             const float *positive_weights, double scale, ck_loss *loss, float *dx) {
    if (!x || !targets || !loss || bad_rows(rows, n, 0, scale)) return CK_INVALID_ARGUMENT;
    const double count = (double)rows * n;
    double sum = 0;
    for (int64_t i = 0; i < (int64_t)rows * n; i++) {
        const double v = x[i], t = targets[i], p = positive_weights ? positive_weights[i % n] : 1;
        const double e = exp(-fabs(v)), small = log1p(e), sigmoid = (v < 0 ? e : 1) / (1 + e);
        const double against = (v < 0 ? 1 : e) / (1 + e); /* 1 - sigmoid, without cancellation */
        sum += p * t * (small + fmax(-v, 0)) + (1 - t) * (small + fmax(v, 0));
        if (dx) dx[i] = (float)(scale / count * ((1 - t) * sigmoid - p * t * against));
    }
    *loss = (ck_loss){sum / count, count};
    return CK_OK;
}
