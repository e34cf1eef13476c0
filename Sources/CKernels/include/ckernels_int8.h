/* ckernels_int8.h: convolutions of 8-bit numbers, exact, with the same bits on every instruction set.
 *
 *     x  u8 (N, C/c, H, W, c)      stands for x * its scale; zero is zero
 *     w  s8 (K, C, KH, KW)         stands for w * a scale of its output channel
 *     sum = x * w, a 32-bit integer, modulo 2^32
 *     t   = float(sum) * scale[k] + shift[k]  [+ float(residual) * residual_scale]
 *     y   = t held to 0...255 and rounded to the nearest, halves to even (u8), or t itself, after a ReLU if asked
 * (float)
 *
 * scale[k] = x's scale * w's scale / y's scale, shift[k] = bias / y's scale; for float results y's scale is 1. Where a
 * result may be negative, add its zero point to the shift, and take it off again in the shift of whoever reads it as a
 * residual: only residuals may have one. Each operation of t rounds once. Layouts, errors, memory and threads are
 * those of ckernels.h; c = ck_block() bytes here. */
#ifndef CKERNELS_INT8_H
#define CKERNELS_INT8_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ck_int8_desc {
    /* Shapes, threads, batch. groups 1, forward, CK_NCHWC; epilogue: CK_RESIDUAL, and CK_RELU for float results;
     * algorithm: CK_AUTO, CK_DIRECT, or CK_WINOGRAD_4 (3x3 at stride 1). All of them give the same bits. */
    ck_conv_desc conv;
    int32_t float_result; /* 1: y is float */
    /* No output channel has weights of one sign that add up to more. It decides whether Winograd is exact
     * (255 times it below 2^25); 0: not known, the worst is assumed. */
    int32_t weight_sum;
    /* No two weights of an output channel, at the same place of input channels 2i and 2i + 1, add up to more in size.
     * Up to 128, products of bytes cannot saturate, which are faster on some CPUs; 0: not known. */
    int32_t weight_pair;
} ck_int8_desc;

typedef struct ck_int8_args {
    int32_t batch; /* images in this run; 0 means conv.batch */
    const uint8_t *src;
    const void *packed;         /* from ck_int8_pack */
    const float *scale, *shift; /* (K) rounded up to whole blocks with zeros */
    const uint8_t *residual;    /* as dst; may be dst where that is u8 */
    float residual_scale;
    void *dst;       /* uint8_t or float (N, K/c, OH, OW, c) */
    void *workspace; /* ck_int8_workspace_size bytes, 64-byte aligned */
} ck_int8_args;

typedef struct ck_int8_plan ck_int8_plan;

/* CK_UNSUPPORTED for what ck_int8_desc excludes and for a forced algorithm that does not apply; else as
 * ck_conv_plan_create. */
CK_API ck_status ck_int8_plan_create(const ck_int8_desc *desc, ck_int8_plan **plan);
/* NULL is fine. */
CK_API void ck_int8_plan_destroy(ck_int8_plan *plan);
/* Bytes that ck_int8_pack writes, and that ck_int8_run needs besides. */
CK_API size_t ck_int8_packed_size(const ck_int8_plan *plan);
CK_API size_t ck_int8_workspace_size(const ck_int8_plan *plan);
/* As ck_conv_packed_format. */
CK_API uint64_t ck_int8_packed_format(const ck_int8_plan *plan);
/* oihw (K, C, KH, KW); packed 64-byte aligned. CK_INVALID_ARGUMENT where weights add up to more than weight_sum or
 * weight_pair. */
CK_API ck_status ck_int8_pack(const ck_int8_plan *plan, const int8_t *oihw, void *packed);
CK_API ck_status ck_int8_run(const ck_int8_plan *plan, const ck_int8_args *args);
CK_API ck_algorithm ck_int8_plan_algorithm(const ck_int8_plan *plan);
/* As ck_conv_plan_describe, e.g. "int8 winograd f4x4 avx2 6x16, 2 threads". */
CK_API size_t ck_int8_plan_describe(const ck_int8_plan *plan, char *text, size_t size);

/* y = x * scale, held to 0...255 and rounded to the nearest, halves to even; and back, y = x * scale. count: a multiple
 * of ck_block(), as all blocked buffers have. */
CK_API ck_status ck_quantize(const float *x, float scale, size_t count, uint8_t *y, int32_t threads);
CK_API ck_status ck_dequantize(const uint8_t *x, float scale, size_t count, float *y, int32_t threads);

/* ---- for whoever chooses scales: plain arrays, on the calling thread */

/* The smallest and the largest of count numbers. */
CK_API ck_status ck_extremes(const float *x, size_t count, float *least, float *most);
/* counts[i] += how many have i <= |x| * scale < i + 1; the last bin takes all above. */
CK_API ck_status ck_histogram(const float *x, size_t count, double scale, int32_t bins, int64_t *counts);
/* sums[c] += the sum of x (n, c, plane) over n and plane. */
CK_API ck_status ck_channel_sums(const float *x, int32_t n, int32_t c, size_t plane, double *sums);
/* sums += of a a, b b, a b, (a - b)^2. */
CK_API ck_status ck_compare(const float *a, const float *b, size_t count, double sums[4]);

#ifdef __cplusplus
}
#endif

#endif
