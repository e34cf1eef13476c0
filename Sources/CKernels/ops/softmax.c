/* Softmax over rows. The row's maximum is subtracted first, so nothing overflows; the sum is kept in double. */
#include <math.h>

#include "ops/ops.h"

static void softmax_row(const float *x, int32_t n, float *y) {
    float top = x[0];
    double sum = 0;
    for (int32_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int32_t i = 0; i < n; i++) {
        y[i] = expf(x[i] - top);
        sum += y[i];
    }
    for (int32_t i = 0; i < n; i++) y[i] = (float)(y[i] / sum);
}

ck_status ck_softmax(const float *x, int32_t rows, int32_t n, float *y) {
    if (!x || !y || rows < 1 || n < 1) return CK_INVALID_ARGUMENT;
    if (!ck_addressable(1, 1, rows, n, sizeof *y)) return CK_OUT_OF_MEMORY;
    for (int32_t i = 0; i < rows; i++) softmax_row(x + (int64_t)i * n, n, y + (int64_t)i * n);
    return CK_OK;
}
