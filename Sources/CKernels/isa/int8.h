/* Arguments of the kernels for 8-bit numbers; words are those of isa/kernels.h, which includes this. */
#ifndef CK_ISA_INT8_H
#define CK_ISA_INT8_H

#include <stddef.h>
#include <stdint.h>

/* From sums of 8-bit products to results, one vector of output channels after the other:
 *
 *     t = float(sum) * scale[k] + shift[k] [+ float(residual) * residual_scale]
 *     bytes:  t held to 0...255 and rounded to the nearest, halves to even
 *     floats: t [then ReLU]
 *
 * Every operation rounds once and none are fused, so that all instruction sets give the same bits. */
typedef struct ck_requantize {
    const float *scale, *shift; /* by output channel */
    const uint8_t *residual;    /* laid out as the result; NULL: none */
    float residual_scale;
    int32_t relu;
    uint8_t *bytes; /* the result, or NULL */
    float *floats;  /* the result where bytes is NULL */
} ck_requantize;

/* One panel of a product of small integers with 32-bit sums, modulo 2^32. Both operands come in words of 32 bits: two
 * 16-bit numbers (short_panel), or four bytes, unsigned ones of x and signed ones of the weights (byte_panel), of
 * neighboring input channels; a step multiplies a word and adds up its products:
 *
 *     sum[k][p] = sum over (o, m, j) of weights[o][m][j][k] . src[o*outer_stride[0] + m*outer_stride[1] + j + place of
 * pixel p]
 *
 * Pixel p is column p % columns of row p / columns. Results of a block lie one pixel after the other. byte_panel is
 * exact where the weights of two neighboring channels (2i, 2i + 1) add up to 128 at most in size. dot_panel takes the
 * words of byte_panel and is exact for all weights; only CPUs of which ck_cpu_has_dot says so can run it. */
typedef struct ck_word_panel {
    const void *src;
    int32_t outer[2];                   /* trip counts of o, m */
    ptrdiff_t outer_stride[2];          /* words */
    int32_t run;                        /* words */
    int32_t pixels, columns;            /* columns: pixels of a row */
    ptrdiff_t pixel_stride, row_stride; /* words */
    int32_t blocks;                     /* of V output channels: 1 or 2 */
    const void *weights;                /* words (o, m, run, blocks, V) */
    int32_t fetches_next;               /* 1: these fit L1, and as many that follow are fetched meanwhile */
    int32_t *sums;                      /* block b, pixel p at b * dst_block + p * V; NULL: to `to` */
    ptrdiff_t dst_block;                /* elements between blocks of the result */
    ck_requantize to;
} ck_word_panel;

/* Bytes of one channel block to those of other blocks, as bytes (place_row) or 16-bit numbers (widen_row):
 * dst[p * dst_pixel + i] = src[p * step * V + i]. */
typedef struct ck_widen_row {
    const uint8_t *src; /* (., V) */
    int32_t pixels, step;
    void *dst;
    ptrdiff_t dst_pixel; /* elements */
} ck_widen_row;

/* Input transform of F(4x4, 3x3) in integers (int8/winograd.c), as ck_winograd_input; tile t, point e of the block go
 * to dst + e * dst_point + t * dst_tile. */
typedef struct ck_short_winograd_input {
    const uint8_t *rows[6];
    int32_t width, x0, tiles;
    int16_t *dst;
    ptrdiff_t dst_point, dst_tile;
    int16_t *scratch; /* 6 * (4 * tiles + 2) * V */
} ck_short_winograd_input;

/* Output transform of F(4x4, 3x3) in integers, one block of output channels: src[point][tile][V] -> the exact sums of
 * the direct convolution -> results, whose first is the first pixel of the first tile. */
typedef struct ck_short_winograd_output {
    const int32_t *src;
    ptrdiff_t src_point;
    int32_t tiles;
    int32_t rows;  /* 1...4 */
    int32_t width; /* columns left in the row from the first tile on */
    ptrdiff_t row_stride;
    ck_requantize to;
} ck_short_winograd_output;

/* count bytes = x * scale, rounded and held as ck_requantize does; and back, floats = x * scale. */
typedef struct ck_byte_scaling {
    const float *floats_in;
    const uint8_t *bytes_in;
    float scale;
    size_t count;
    uint8_t *bytes;
    float *floats;
} ck_byte_scaling;

#endif
