#include "core/sgemm.h"

#include <stddef.h>

#if !defined(CK_NO_OPENBLAS)
#include <cblas.h>

void ck_sgemm_prepare(void) { openblas_set_num_threads(1); /* the threads are ours */ }

void ck_sgemm(int turn_a, int turn_b, int m, int n, int k, const float *a, int lda, const float *b, int ldb, float beta,
              float *c, int ldc) {
    cblas_sgemm(CblasRowMajor, turn_a ? CblasTrans : CblasNoTrans, turn_b ? CblasTrans : CblasNoTrans, m, n, k, 1, a,
                lda, b, ldb, beta, c, ldc);
}

#else

void ck_sgemm_prepare(void) {}

/* Sixteen sums a step, in an order that lets the compiler keep them in vectors. */
enum { LANES = 16 };

static float dot(const float *a, ptrdiff_t step, const float *b, int k) {
    float lanes[LANES] = {0}, sum = 0;
    int p = 0;
    for (; p + LANES <= k; p += LANES)
        for (int i = 0; i < LANES; i++) lanes[i] += a[(p + i) * step] * b[p + i];
    for (; p < k; p++) sum += a[p * step] * b[p];
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

void ck_sgemm(int turn_a, int turn_b, int m, int n, int k, const float *a, int lda, const float *b, int ldb, float beta,
              float *c, int ldc) {
    const ptrdiff_t row = turn_a ? 1 : lda, step = turn_a ? lda : 1;
    for (int i = 0; i < m; i++) {
        const float *ai = a + i * row;
        float *ci = c + (ptrdiff_t)i * ldc;
        for (int j = 0; j < n; j++) ci[j] = beta == 0 ? 0 : beta * ci[j];
        if (turn_b) {
            for (int j = 0; j < n; j++) ci[j] += dot(ai, step, b + (ptrdiff_t)j * ldb, k);
        } else {
            for (int p = 0; p < k; p++) {
                const float factor = ai[p * step], *bp = b + (ptrdiff_t)p * ldb;
                for (int j = 0; j < n; j++) ci[j] += factor * bp[j];
            }
        }
    }
}

#endif
