/* The plain matrix product behind im2col and the linear layer's gradients: OpenBLAS, or loops of our own in builds
 * without it (CK_NO_OPENBLAS). */
#ifndef CK_SGEMM_H
#define CK_SGEMM_H

/* Call it before the threads of a run are opened: OpenBLAS must not start its own. */
void ck_sgemm_prepare(void);

/* Row-major c (m, n) = a (m, k) x b (k, n) + beta c on the calling thread. turn_a: a is stored as (k, m); turn_b: b as
 * (n, k). lda, ldb, ldc: floats between stored rows. With beta 0, c is not read. */
void ck_sgemm(int turn_a, int turn_b, int m, int n, int k, const float *a, int lda, const float *b, int ldb, float beta,
              float *c, int ldc);

#endif
