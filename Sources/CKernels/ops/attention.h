/* What the attentions share: the description in numbers of blocks, and products with weights in panels. */
#ifndef CK_ATTENTION_H
#define CK_ATTENTION_H

#include "ops/ops.h"

typedef struct ck_attention {
    const ck_kernels *kernels;
    int32_t batch, heads, threads;
    int32_t block;       /* V */
    int32_t head_blocks; /* channel blocks of a head */
    int32_t blocks;      /* of y: heads * head_blocks; of qkv three times as many */
    int32_t height, width;
    ptrdiff_t plane; /* floats of a channel block of qkv */
    float scale;
} ck_attention;

/* Without the windows, which ck_window_attention checks itself. */
ck_status ck_check_attention(const ck_attention_desc *desc, ck_attention *attention);

/* Floats from one use of a workspace to the next, in whole cache lines. */
static inline size_t ck_whole_lines(size_t floats) { return (floats + 15) / 16 * 16; }

/* dst (out_blocks, pixels, V) = src (in_blocks, pixels, V) times weights of in_blocks * V rows in panels of two blocks
 * (isa/attention.inc); src_block and dst_block are floats from one block to the next. */
void ck_multiply_panels(const ck_kernels *kernels, const float *src, ptrdiff_t src_block, int32_t in_blocks,
                        int32_t pixels, const float *weights, int32_t out_blocks, float *dst, ptrdiff_t dst_block);

/* dst, in panels of two blocks of `out_blocks`: over the pixels, x (in_blocks, pixels, V) transposed times dy
 * (out_blocks, pixels, V). */
void ck_outer_panels(const ck_kernels *kernels, const float *x, ptrdiff_t x_block, int32_t in_blocks, int32_t pixels,
                     const float *dy, ptrdiff_t dy_block, int32_t out_blocks, float *dst);

#endif
