/* The kernels that exist once per ISA: their arguments, and the one list from which declarations and tables come.
 *
 * A kernel runs on one thread, allocates nothing and trusts its arguments; the drivers in conv/ and ops/ check, split
 * the work and open the threads. V is the ISA's vector width in floats and the block c of NCHWc. */
#ifndef CK_KERNELS_H
#define CK_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "ckernels.h"
#include "isa/int8.h"

/* One panel of a matrix product, the core of every convolution here:
 *
 *     dst[k][p] = sum over (o, m, i, j) of weights[o][m][i][j][k] * src[o*so + m*sm + i*si + p*pixel_stride + j]
 *
 * for p in 0...pixels and k in 0...blocks*V. What the three outer indices mean is the caller's: (channel block, kernel
 * row, kernel column) in a direct convolution, (channel block, -, -) in a 1x1 or a Winograd product, (-, row, -) in
 * the stem. The inner j runs over `run` adjacent floats. */
typedef struct ck_panel {
    const float *src;
    int32_t outer[3];          /* trip counts of o, m, i */
    ptrdiff_t outer_stride[3]; /* floats */
    int32_t run;
    int32_t pixel_stride; /* floats */
    int32_t pixels;
    int32_t blocks;       /* of V output channels: 1, 2 or 4 */
    const float *weights; /* (o, m, i, run, blocks * V), without gaps */
    const uint16_t *bf16; /* the same as bfloat16, in their place, for channel blocks (o, 1, 1, V) at pixel_stride V
                           * or, where panels are not cut deep, 2 V. NULL: floats */
    float *dst;           /* block b of k, pixel p at dst + b * dst_block + p * V */
    ptrdiff_t dst_block;
    const float *bias;     /* (blocks * V) or NULL */
    const float *residual; /* laid out as dst; NULL: none */
    int32_t accumulate;    /* dst += instead of dst = (then without bias) */
    int32_t relu;
    const void *fetch; /* what the next panel reads, to be asked for meanwhile; NULL: nothing */
    size_t fetch_bytes;
} ck_panel;

/* One output row of one channel block of a convolution whose groups are narrower than a vector: `width` channels in and
 * out, which divides V. With g(k) = k / width * width, the first channel of k's group:
 *
 *     dst[p][k] = sum over (i, j, c) of weights[i][j][c][k]
 *                                       * src[i*row_stride + j*column_stride + p*pixel_stride + g(k) + c] */
typedef struct ck_narrow_row {
    const float *src;
    int32_t rows, columns; /* of the kernel */
    int32_t width;         /* 1, 2, 4 or 8, less than V */
    int32_t pixels;
    ptrdiff_t row_stride, column_stride, pixel_stride; /* floats */
    const float *weights;                              /* (rows, columns, width, V) */
    float *dst;                                        /* (pixels, V) */
    const float *bias, *residual;                      /* (V), (pixels, V); NULL: none */
    int32_t relu;
} ck_narrow_row;

/* Winograd input transform of a run of tiles in one tile row and one channel block:
 * src pixels (m + 2 rows of `width` pixels of V, NULL for a row outside the picture) -> V[point][tile][V].
 * Tile t covers columns x0 + m*t ... + m+1; columns outside 0...width-1 count as zero.
 * winograd4_gradient transforms dy in the same way: 4 rows, tile t covers columns x0 + 4*t ... + 3, no scratch. */
typedef struct ck_winograd_input {
    const float *rows[6];
    int32_t width;
    int32_t x0; /* column of the first tile's left edge: may be negative */
    int32_t tiles;
    float *dst; /* tile t, point e at dst + e * dst_point + t * V */
    ptrdiff_t dst_point;
    float *scratch; /* (m + 2) * (m * tiles + 2) * V floats */
} ck_winograd_input;

/* Winograd output transform of a run of tiles in one tile row and one output channel block:
 * src[point][tile][V] -> dst rows, of which only the first `rows` and columns below `width` are stored. */
typedef struct ck_winograd_output {
    const float *src;
    ptrdiff_t src_point;
    int32_t tiles;
    int32_t rows;  /* 1...m */
    int32_t width; /* columns left in the row from the first tile on */
    float *dst;    /* first pixel of the first tile */
    const float *residual;
    ptrdiff_t row_stride; /* floats between rows of dst and residual */
    const float *bias;    /* (V) or NULL */
    int32_t relu;
} ck_winograd_output;

/* Winograd filter transform, one group of 2 (m + 2) points: src[c][9][n] -> dst[point of the group][c][n], n a multiple
 * of V. There are (m + 2) / 2 groups. */
typedef struct ck_winograd_filter {
    int32_t group;
    const float *src;
    int32_t channels;
    int32_t n;
    float *dst;
    ptrdiff_t dst_point;
} ck_winograd_filter;

/* The product of Winograd for `points` points, a reduction over segments of `blocks` channel blocks each:
 *
 *     m[e][k][t] = or += sum over (s, b, i) of u[s][e][b][i][k] * v[s][e][b][t][i]
 *
 * for t in 0...tiles and k in 0...width*V. Segments are the phases of a strided convolution; otherwise there is one. */
typedef struct ck_product {
    int32_t points, segments, blocks, tiles;
    int32_t width;        /* of V output channels: 1, 2 or 4 */
    int32_t accumulate;   /* m += instead of m = */
    const float *v[4];    /* block b, tile t at + b * v_block + t * V */
    const float *u[4];    /* (blocks, V, width * V), without gaps */
    ptrdiff_t v_point[4]; /* floats from one point to the next, for each segment */
    ptrdiff_t u_point[4];
    ptrdiff_t v_block;
    ptrdiff_t u_ahead; /* floats ahead of what is read at which U is asked for; 0: it is near */
    float *m;          /* output block k, tile t at + k * m_block + t * V */
    ptrdiff_t m_point, m_block;
} ck_product;

/* Sets of points of the tile transforms (isa/tiles.inc): what a row or column of a tile is multiplied at. A set is a
 * tail of the set above it in its family, so that tiles of two sizes share filters. */
typedef enum ck_points {
    CK_POINTS_6,  /* 0, infinity, +-5/8, +-3/2: F(4, 3) */
    CK_POINTS_5,  /* infinity, +-5/8, +-3/2: F(3, 3) */
    CK_POINTS_7,  /* infinity, +-9/32, +-7/8, +-15/8: F(5, 3) */
    CK_POINTS_7B, /* the same without infinity: F(4, 3) */
    CK_PHASE_5,  /* infinity, -3/2, 3/2, 1/2, -1/2: F(4, 2), the two taps on even pixels of a convolution at stride 2 */
    CK_PHASE_4,  /* without infinity: F(3, 2), and F(4, 1), the one tap on odd pixels */
    CK_PHASE_3,  /* without -3/2: F(3, 1) */
    CK_VALUES_4, /* no points: values as they are */
    CK_VALUES_3,
} ck_points;

/* One phase of the input transform for a run of tiles of one kind in one tile row and channel block. */
typedef struct ck_tile_input {
    ck_points row_points, column_points;
    const float *rows[7]; /* as many as row_points has points; NULL for a row outside the picture */
    int32_t width;
    int32_t x0;          /* column of the first tile's left edge: may be negative */
    int32_t step;        /* columns from one value to the next: the stride */
    int32_t tile_values; /* values from one tile to the next: m */
    int32_t tiles;
    float *dst; /* tile t, point (r, c) at dst + r * dst_row + c * dst_point + t * V */
    ptrdiff_t dst_row, dst_point;
    float *scratch; /* 7 * (tile_values * tiles + 2) * V floats */
} ck_tile_input;

/* The output transform of such a run, for one block of output channels. */
typedef struct ck_tile_output {
    ck_points row_points, column_points;
    const float *src; /* tile t, point (r, c) at src + r * src_row + c * src_point + t * V */
    ptrdiff_t src_row, src_point;
    int32_t tiles;
    int32_t rows;  /* to store: 1...m */
    int32_t width; /* columns to store from the first tile on */
    float *dst;    /* first pixel of the first tile */
    const float *residual;
    ptrdiff_t row_stride;    /* floats between rows of dst and residual */
    ptrdiff_t column_stride; /* and between pixels: V, or more if others come between */
    const float *bias;       /* (V) or NULL */
    int32_t relu;
    float *scratch; /* 5 * 7 * tiles * V floats */
} ck_tile_output;

/* One group of rows of the filter transform: src[i][9][V] -> dst[row of the group][column point][i][V] for i in
 * 0...count. Rows come in groups as their arithmetic does:
 *     CK_POINTS_6: 0 and infinity | +-5/8 | +-3/2
 *     CK_POINTS_7: infinity | +-9/32 | +-7/8 | +-15/8
 *     CK_PHASE_5:  infinity | +-3/2 | +-1/2 | the tap of odd pixels, which is the sixth row and column */
typedef struct ck_tile_filter {
    ck_points points;
    int32_t group;
    const float *src;
    ptrdiff_t count;
    float *dst;
    ptrdiff_t dst_row, dst_point;
} ck_tile_filter;

/* Winograd product with the filter transform fused in, for the few tiles of a small picture: row `row` of the square of
 * points (m + 2 of them), one output channel block, `blocks` input blocks.
 *     dst[point][tile][V] = or += sum over c of v[point][c][tile] * (row of G g G^T)[point] */
typedef struct ck_winograd_fused {
    int32_t row;
    int32_t blocks;
    int32_t tiles;     /* 1...4 */
    const float *taps; /* (blocks * V, 9, V) */
    const float *next; /* taps to fetch meanwhile, as many */
    const float *v;    /* first point of the row; point e at + e * v_point, block b at + b * v_block, (tile, V) there */
    ptrdiff_t v_point, v_block;
    float *dst; /* point e, tile t at + e * dst_point + t * V */
    ptrdiff_t dst_point;
    int32_t accumulate;
} ck_winograd_fused;

/* Weight gradient by Winograd, from the sums over all tiles to the taps: src[36 points][vectors][V] -> dst[9 taps]
 * [vectors][V]; points and taps lie `point` floats apart. */
typedef struct ck_winograd_taps {
    const float *src;
    float *dst;
    ptrdiff_t point;
    int32_t vectors;
    int32_t accumulate; /* dst += instead of dst = */
} ck_winograd_taps;

/* Stem by Winograd, one input row of one channel -> dst[point][tile][even columns, odd columns]. Tile t of four outputs
 * at stride 2 reads src[8 * t] ... src[8 * t + 12]. Rounds the tiles up to V: src and dst must have room for those. */
typedef struct ck_stem_input {
    const float *src;
    int32_t tiles;
    float *dst; /* tile t, point e at dst + e * dst_point + 2 * t */
    ptrdiff_t dst_point;
    float *scratch; /* 8 * (tiles rounded up to V, and one more V) floats */
} ck_stem_input;

/* Stem by Winograd, one output row of one channel block: src[point][tile][V] -> dst[width][V]. */
typedef struct ck_stem_output {
    const float *src;
    ptrdiff_t src_point;
    int32_t width;
    float *dst;
    const float *residual; /* laid out as dst, or NULL */
    int32_t relu;
} ck_stem_output;

/* One row of a max pool on blocked pixels: dst[x] = max over the given rows (count, none NULL) and columns
 * x * stride - pad ... + kernel - 1 inside 0...width-1. */
typedef struct ck_pool_row {
    const float *const *rows;
    int32_t count;
    int32_t width;
    int32_t kernel, stride, pad;
    int32_t out_width;
    float *dst;
} ck_pool_row;

/* count bytes, `step` apart, to floats: dst[i] = src[i * step] * scale + shift. */
typedef struct ck_byte_row {
    const uint8_t *src;
    int32_t step;
    int32_t count;
    float scale, shift;
    float *dst;
} ck_byte_row;

/* One output row of a pool on blocked pixels: windows of columns x * stride - pad ... + kernel - 1 inside
 * 0...width-1. src is the first pixel of the window's first row inside the picture, of which there are `rows`. */
typedef struct ck_pool_window_row {
    const float *src;
    int32_t rows;
    int32_t divisor_rows; /* rows with those of the padding: the average's divisor counts them */
    int32_t width;
    int32_t kernel, stride, pad;
    int32_t out_width;
    float *dst;      /* (out_width, V) */
    int32_t *argmax; /* (out_width, V) or NULL: y * width + x of each maximum */
    int32_t offset;  /* y * width of the first row, if argmax is kept */
    int32_t inside;  /* the average's divisor counts no padding */
} ck_pool_window_row;

/* One output row of a blur by (1, 2, 1) both ways, every `stride` columns: rows are three source rows, the outer
 * columns of the first and the last window are reflected. width at least 2. */
typedef struct ck_blur_row {
    const float *rows[3];
    int32_t width, stride, out_width;
    float *dst; /* (out_width, V) */
} ck_blur_row;

/* dst (V) = the mean of src (rows, width, V). */
typedef struct ck_plane {
    const float *src;
    float *dst;
    int32_t rows, width;
} ck_plane;

/* y = a + b, then ReLU if asked; b NULL: y = max(a, 0). y may be a or b. */
typedef struct ck_addition {
    const float *a, *b;
    float *y;
    size_t count;
    int32_t relu;
} ck_addition;

/* y (pixels, V) = x * scale (V) + shift (V), then ReLU if asked; y may be x. */
typedef struct ck_affine {
    const float *x, *scale, *shift;
    float *y;
    int64_t pixels;
    int32_t relu;
} ck_affine;

/* y (n, out) = x (n, in) w^T + b with w (out, in): the linear layer's dot products. */
typedef struct ck_dots {
    const float *x;
    size_t x_stride;
    const float *weights, *b; /* w; b (out) or NULL */
    const uint16_t *bf16;     /* w as bfloat16, in its place; NULL: floats */
    int32_t n, in, out;
    float *y;
    size_t y_stride;
    int32_t relu;
} ck_dots;

/* Outer products summed over pixels, the core of every weight gradient:
 *
 *     dst[r][k] (+)= sum over (i, j, p) of x[i*xs0 + j*xs1 + p*pixel_stride + r] * dy[i*ds0 + j*ds1 + p*V][k]
 *
 * for r in 0...rows and k in 0...blocks*V. The outer indices are the caller's: images, rows, neither. */
typedef struct ck_outer {
    const float *x, *dy;
    int32_t trips[2];
    ptrdiff_t x_stride[2], dy_stride[2]; /* floats */
    int32_t pixels;
    int32_t pixel_stride; /* floats between pixels of x */
    int32_t rows;
    int32_t blocks;     /* of V output channels: 1 or 2 */
    ptrdiff_t dy_block; /* floats between them */
    float *dst;         /* (rows, blocks * V), without gaps */
    int32_t accumulate; /* dst += instead of dst = */
} ck_outer;

/* Sums over the pixels of one channel block: of x and of x^2, (2, V). */
typedef struct ck_moments {
    const float *x;
    int64_t pixels;
    double *sums;
} ck_moments;

/* y = x * scale + shift [+ residual] [then ReLU] on the pixels of one channel block; scale and shift (V). y may be x or
 * residual. */
typedef struct ck_normalize {
    const float *x, *scale, *shift, *residual;
    float *y;
    int64_t pixels;
    int32_t relu;
} ck_normalize;

/* Where the mask of a ReLU backward comes from: nowhere, y, or x * scale + shift. */
enum { CK_MASK_NONE = 0, CK_MASK_Y = 1, CK_MASK_X = 2 };

/* Batch norm backward on the pixels of one channel block, with g = dy behind the mask.
 * Sums: of g and of g (x - mean), (2, V); g is copied to dresidual if that is not NULL.
 * dx = g * scale + x * by_x + constant; x NULL: g * scale. */
typedef struct ck_normalize_backward {
    const float *dy, *x, *y;
    const float *scale, *shift, *mean, *by_x, *constant; /* (V) */
    float *dresidual, *dx;
    double *sums;
    int64_t pixels;
    int32_t mask;
} ck_normalize_backward;

typedef struct ck_activation_backward {
    const float *y, *dy;
    float *dx;
    size_t count;
} ck_activation_backward;

/* y = f(x) on `count` floats; y may be x. */
typedef struct ck_activation {
    const float *x;
    float *y;
    size_t count;
} ck_activation;

/* Layer norm of pixels: x, y (blocks, pixels, V), blocks so many floats apart; gamma, beta (blocks * V). */
typedef struct ck_layer_norm_run {
    const float *x, *gamma, *beta;
    float *y; /* may be x */
    ptrdiff_t x_block, y_block;
    int32_t pixels, blocks, channels;
    float eps;
} ck_layer_norm_run;

/* And backward, with x, dy and dx alike. sums (blocks, 2, V): those of dy xhat and of dy grow. dx: NULL for none; may
 * be dy. */
typedef struct ck_layer_norm_backward_run {
    const float *x, *dy, *gamma;
    float *dx;
    double *sums;
    ptrdiff_t block;
    int32_t pixels, blocks, channels;
    float eps;
} ck_layer_norm_backward_run;

/* A window of a map and its tokens, (blocks, rows, columns, V). Of the window only the first rows and columns lie in
 * the map; the other tokens are loaded as zeros and not stored. */
typedef struct ck_window {
    float *map; /* the window's first pixel; not written by window_load */
    float *tokens;
    ptrdiff_t map_block, map_row; /* floats */
    int32_t blocks, rows, columns, inside_rows, inside_columns;
} ck_window;

/* `count` tokens, dense (blocks, count, V), and the same as the weights of a product: see isa/attention.inc. */
typedef struct ck_tokens {
    float *dense, *matrix;
    int32_t blocks, count;
} ck_tokens;

/* Softmax of scale x in place, along the rows or the columns: see isa/attention.inc. Backward x is dy and becomes dx,
 * and y the result of the forward pass, laid out alike. */
typedef struct ck_softmax_run {
    float *x;
    const float *y;
    int32_t rows, columns;
    float scale;
} ck_softmax_run;

/* y = x held between low and high; dy given: dx = dy where x, the result, lies between them. */
typedef struct ck_clipping {
    const float *x, *dy;
    float *y;
    size_t count;
    float low, high;
} ck_clipping;

/* The optimizers' coefficients, prepared in double and rounded once: see train/optimizer.c. */
typedef struct ck_sgd_job {
    float *w, *velocity;
    const float *grad;
    size_t count;
    float lr, momentum, damped, decay;
    int32_t nesterov, first;
} ck_sgd_job;

typedef struct ck_adam_job {
    float *w, *m, *v;
    const float *grad;
    size_t count;
    float keep, decay, take1, beta2, take2, step, root, eps;
} ck_adam_job;

typedef struct ck_square_sum {
    const float *x;
    size_t count;
    double *sum;
} ck_square_sum;

/* y = by_y y + by_x x; x may be NULL. */
typedef struct ck_combination {
    const float *x;
    float *y;
    size_t count;
    float by_x, by_y;
} ck_combination;

/* The list: X(name, argument type). */
#define CK_KERNEL_LIST(X)                                                                                              \
    X(panel, const ck_panel *)                                                                                         \
    X(narrow_row, const ck_narrow_row *)                                                                               \
    X(winograd2_input, const ck_winograd_input *)                                                                      \
    X(winograd4_input, const ck_winograd_input *)                                                                      \
    X(winograd2_output, const ck_winograd_output *)                                                                    \
    X(winograd4_output, const ck_winograd_output *)                                                                    \
    X(winograd2_filter, const ck_winograd_filter *)                                                                    \
    X(winograd4_filter, const ck_winograd_filter *)                                                                    \
    X(winograd4_fused, const ck_winograd_fused *)                                                                      \
    X(product, const ck_product *)                                                                                     \
    X(tile_input, const ck_tile_input *)                                                                               \
    X(tile_output, const ck_tile_output *)                                                                             \
    X(tile_filter, const ck_tile_filter *)                                                                             \
    X(winograd4_gradient, const ck_winograd_input *)                                                                   \
    X(winograd4_taps, const ck_winograd_taps *)                                                                        \
    X(stem_input, const ck_stem_input *)                                                                               \
    X(stem_output, const ck_stem_output *)                                                                             \
    X(pool_row, const ck_pool_row *)                                                                                   \
    X(byte_row, const ck_byte_row *)                                                                                   \
    X(max_pool_row, const ck_pool_window_row *)                                                                        \
    X(average_pool_row, const ck_pool_window_row *)                                                                    \
    X(blur_row, const ck_blur_row *)                                                                                   \
    X(plane_mean, const ck_plane *)                                                                                    \
    X(add, const ck_addition *)                                                                                        \
    X(scale_shift, const ck_affine *)                                                                                  \
    X(dots, const ck_dots *)                                                                                           \
    X(outer, const ck_outer *)                                                                                         \
    X(moments, const ck_moments *)                                                                                     \
    X(normalize, const ck_normalize *)                                                                                 \
    X(normalize_backward_sums, const ck_normalize_backward *)                                                          \
    X(normalize_backward_dx, const ck_normalize_backward *)                                                            \
    X(relu_backward, const ck_activation_backward *)                                                                   \
    X(sigmoid_backward, const ck_activation_backward *)                                                                \
    X(gelu, const ck_activation *)                                                                                     \
    X(gelu_backward, const ck_activation_backward *)                                                                   \
    X(layer_norm, const ck_layer_norm_run *)                                                                           \
    X(layer_norm_backward, const ck_layer_norm_backward_run *)                                                         \
    X(window_load, const ck_window *)                                                                                  \
    X(window_store, const ck_window *)                                                                                 \
    X(tokens_to_panels, const ck_tokens *)                                                                             \
    X(panels_to_tokens, const ck_tokens *)                                                                             \
    X(tokens_to_columns, const ck_tokens *)                                                                            \
    X(softmax_rows, const ck_softmax_run *)                                                                            \
    X(softmax_rows_backward, const ck_softmax_run *)                                                                   \
    X(softmax_columns, const ck_softmax_run *)                                                                         \
    X(softmax_columns_backward, const ck_softmax_run *)                                                                \
    X(clip, const ck_clipping *)                                                                                       \
    X(sgd, const ck_sgd_job *)                                                                                         \
    X(adam, const ck_adam_job *)                                                                                       \
    X(sum_of_squares, const ck_square_sum *)                                                                           \
    X(combine, const ck_combination *)                                                                                 \
    X(short_panel, const ck_word_panel *)                                                                              \
    X(byte_panel, const ck_word_panel *)                                                                               \
    X(dot_panel, const ck_word_panel *)                                                                                \
    X(widen_row, const ck_widen_row *)                                                                                 \
    X(place_row, const ck_widen_row *)                                                                                 \
    X(short_winograd_input, const ck_short_winograd_input *)                                                           \
    X(short_winograd_output, const ck_short_winograd_output *)                                                         \
    X(quantize_bytes, const ck_byte_scaling *)                                                                         \
    X(dequantize_bytes, const ck_byte_scaling *)

typedef struct ck_kernels {
    ck_isa isa;
    int32_t block;         /* V */
    int32_t tile_pixels1;  /* pixels of a register tile that is one block wide */
    int32_t tile_pixels2;  /* two */
    int32_t tile_pixels4;  /* four */
    int32_t cuts_deep;     /* 1: a panel's weights are better kept in L1, its reduction cut; 0: they may stream */
    int32_t word_pixels;   /* of a register tile of short_panel, byte_panel, dot_panel */
    int32_t byte_products; /* 1: byte_panel is the faster one */
#define CK_KERNEL_FIELD(name, argument) void (*name)(argument);
    CK_KERNEL_LIST(CK_KERNEL_FIELD)
#undef CK_KERNEL_FIELD
} ck_kernels;

extern const ck_kernels ck_kernels_portable;
#if defined(__aarch64__)
extern const ck_kernels ck_kernels_neon;
#endif
#if defined(__x86_64__)
extern const ck_kernels ck_kernels_avx2;
extern const ck_kernels ck_kernels_avx512;
#endif

#endif
