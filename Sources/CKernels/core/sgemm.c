#define _GNU_SOURCE
#include "core/sgemm.h"

#include <stddef.h>

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

static void plain_sgemm(int turn_a, int turn_b, int m, int n, int k, const float *a, int lda, const float *b, int ldb,
                        float beta, float *c, int ldc) {
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

#if !defined(CK_NO_OPENBLAS)
#include <cblas.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

void ck_sgemm_prepare(void) { openblas_set_num_threads(1); /* the threads are ours */ }

/* OpenBLAS maps its buffer in the first product, and where the address space is limited (ulimit -v) and too small for
 * it, it tries for ever. So we ask for that much ourselves first; once OpenBLAS has its buffer it keeps it. */
static int has_room(void) {
    enum { BUFFER = 192 << 20 };
    static atomic_int known; /* 1: yes, for good */
    if (atomic_load(&known)) return 1;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        void *probe = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (probe == MAP_FAILED) return 0;
        munmap(probe, BUFFER);
    }
    atomic_store(&known, 1);
    return 1;
}

void ck_sgemm(int turn_a, int turn_b, int m, int n, int k, const float *a, int lda, const float *b, int ldb, float beta,
              float *c, int ldc) {
    if (!has_room()) {
        plain_sgemm(turn_a, turn_b, m, n, k, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    cblas_sgemm(CblasRowMajor, turn_a ? CblasTrans : CblasNoTrans, turn_b ? CblasTrans : CblasNoTrans, m, n, k, 1, a,
                lda, b, ldb, beta, c, ldc);
}

#else

void ck_sgemm_prepare(void) {}

void ck_sgemm(int turn_a, int turn_b, int m, int n, int k, const float *a, int lda, const float *b, int ldb, float beta,
              float *c, int ldc) {
    plain_sgemm(turn_a, turn_b, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

#endif
