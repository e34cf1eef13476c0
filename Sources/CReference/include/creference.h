/* creference.h: the oracle. Every operation as naive loops over plain NCHW tensors: float in, accumulated and returned
 * in double. Written to be seen to be right, not to be fast; tests and benchmarks compare CKernels with it.
 *
 * Arguments are not validated. Definitions are PyTorch's.
 */
#ifndef CREFERENCE_H
#define CREFERENCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- convolution */

/* x (N, C, H, W), w (K, C/groups, KH, KW), y (N, K, OH, OW). No field has a default. */
typedef struct cr_conv {
    int n, c, h, w, k;
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} cr_conv;

int cr_conv_out_h(const cr_conv *s);
int cr_conv_out_w(const cr_conv *s);

/* y = conv(x, w). spread, if not NULL, gets sqrt(sum of (x w)^2) of each output: how large the sum would be if its
 * terms had random signs, which is what the rounding errors of a float sum are proportional to. */
void cr_conv_forward(const cr_conv *s, const float *x, const float *w, double *y, double *spread);
/* dx from dy; spread as above, of the terms dy w. */
void cr_conv_data_gradient(const cr_conv *s, const float *dy, const float *w, double *dx, double *spread);
/* dw from x and dy; spread as above, of the terms x dy. */
void cr_conv_weight_gradient(const cr_conv *s, const float *x, const float *dy, double *dw, double *spread);
/* In place on (n, k, plane): + bias[k] and + residual, each if not NULL, then max(y, 0) if relu. */
void cr_epilogue(double *y, int n, int k, size_t plane, const float *bias, const float *residual, int relu);

/* ---------------------------------------------------------------- batch normalization: x (N, C, plane) */

/* scale = gamma / sqrt(var + eps), shift = beta - mean scale. gamma, beta may be NULL (1 and 0). */
void cr_bn_fold(const float *gamma, const float *beta, const float *mean, const float *var, double eps, int c,
                double *scale, double *shift);
void cr_bn_inference(const float *x, int n, int c, size_t plane, const float *gamma, const float *beta,
                     const float *mean, const float *var, double eps, double *y);
/* mean and var (biased) of the batch, y = (x - mean) / sqrt(var + eps) gamma + beta. running_mean and running_var, if
 * not NULL, move by momentum towards mean and the unbiased variance. */
void cr_bn_training(const float *x, int n, int c, size_t plane, const float *gamma, const float *beta, double eps,
                    double momentum, double *y, double *mean, double *var, double *running_mean, double *running_var);
/* Gradients through cr_bn_training; mean and var as it returned them. */
void cr_bn_training_backward(const float *x, const float *dy, int n, int c, size_t plane, const float *gamma,
                             const double *mean, const double *var, double eps, double *dx, double *dgamma,
                             double *dbeta);
/* Gradients through cr_bn_inference: mean and var are constants. */
void cr_bn_inference_backward(const float *x, const float *dy, int n, int c, size_t plane, const float *gamma,
                              const float *mean, const float *var, double eps, double *dx, double *dgamma,
                              double *dbeta);

/* ---------------------------------------------------------------- pooling: x (planes, H, W), planes = N C */

typedef struct cr_pool {
    int planes, h, w;
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, ceil_mode;
} cr_pool;

int cr_pool_out_h(const cr_pool *s);
int cr_pool_out_w(const cr_pool *s);
/* Padding is -infinity; the first of equal maxima wins; a NaN wins over all. argmax (y * W + x) may be NULL. */
void cr_max_pool(const cr_pool *s, const float *x, double *y, int32_t *argmax);
void cr_max_pool_backward(const cr_pool *s, const int32_t *argmax, const float *dy, double *dx);
/* Padding is zero and counts in the divisor; what ceil_mode adds beyond the padding does not. */
void cr_average_pool(const cr_pool *s, const float *x, double *y);
void cr_average_pool_backward(const cr_pool *s, const float *dy, double *dx);
/* Padding does not count in the divisor. */
void cr_average_pool_inside(const cr_pool *s, const float *x, double *y);
void cr_average_pool_inside_backward(const cr_pool *s, const float *dy, double *dx);
/* Each plane (H, W) with (1, 2, 1)^T (1, 2, 1) / 16, reflected at the edges, at every stride'th pixel:
 * y (OH, OW) with OH = (H - 1) / stride + 1. */
void cr_blur_pool(const float *x, int planes, int h, int w, int stride, double *y);
void cr_blur_pool_backward(const float *dy, int planes, int h, int w, int stride, double *dx);
void cr_global_average_pool(const double *x, int planes, size_t plane, double *y);
void cr_global_average_pool_backward(const float *dy, int planes, size_t plane, double *dx);

/* ---------------------------------------------------------------- linear: x (N, in), w (out, in), y (N, out) */

/* b may be NULL; spread as for convolution. */
void cr_linear(const float *x, const float *w, const float *b, int n, int in, int out, double *y, double *spread);
/* dx, dw, db: each may be NULL. */
void cr_linear_backward(const float *x, const float *w, const float *dy, int n, int in, int out, double *dx, double *dw,
                        double *db);

/* ---------------------------------------------------------------- activations and losses */

void cr_relu(const float *x, size_t count, double *y);
/* dx = dy where y > 0. */
void cr_relu_backward(const float *y, const float *dy, size_t count, double *dx);
void cr_sigmoid(const float *x, size_t count, double *y);
/* From the result y. */
void cr_sigmoid_backward(const float *y, const float *dy, size_t count, double *dx);
void cr_softmax(const float *x, int rows, int n, double *y);
void cr_log_softmax(const float *x, int rows, int n, double *y);
/* Mean over the rows whose label is not ignore_index, weighted by class_weights (n) if not NULL, of the cross entropy
 * with the labels smoothed by `smoothing` (the weight of class j applies to the smoothed share of class j). Returns
 * the loss; dx, if not NULL, gets its gradient. */
double cr_cross_entropy(const float *x, const int32_t *labels, int rows, int n, const float *class_weights,
                        double smoothing, int32_t ignore_index, double *dx);
/* The same with a distribution as the target of each row, (rows, n); the mean is over the rows. */
double cr_soft_cross_entropy(const float *x, const float *targets, int rows, int n, const float *class_weights,
                             double smoothing, double *dx);
/* Mean over all rows * n of binary cross entropy with logits; positive_weights (n) may be NULL. */
double cr_bce_with_logits(const float *x, const float *targets, int rows, int n, const float *positive_weights,
                          double *dx);

/* ---------------------------------------------------------------- layer norm, GELU, attention */

void cr_gelu(const float *x, size_t count, double *y);
void cr_gelu_backward(const float *x, const float *dy, size_t count, double *dx);
/* Over the c / groups channels and all pixels of each group of x (N, C, plane). */
void cr_group_norm(const float *x, int n, int c, int groups, size_t plane, const float *gamma, const float *beta,
                   double eps, double *y);
/* Over the c channels of each pixel of x (N, C, plane). */
void cr_layer_norm(const float *x, int n, int c, size_t plane, const float *gamma, const float *beta, double eps,
                   double *y);
void cr_layer_norm_backward(const float *x, const float *dy, int n, int c, size_t plane, const float *gamma, double eps,
                            double *dx, double *dgamma, double *dbeta);

/* qkv (N, 3 C, H, W): queries, keys, values, each of `heads` parts; y (N, C, H, W). Windows divide the map. */
typedef struct cr_attention {
    int n, c, heads, h, w, window_h, window_w;
    double scale;
} cr_attention;

void cr_window_attention(const cr_attention *s, const float *qkv, double *y);
void cr_window_attention_backward(const cr_attention *s, const float *qkv, const float *dy, double *dqkv);
/* A = softmax_j(scale sum_t k_ti v_tj), y_ti = sum_j A_ij q_tj; the windows do not count. */
void cr_channel_attention(const cr_attention *s, const float *qkv, double *y);
void cr_channel_attention_backward(const cr_attention *s, const float *qkv, const float *dy, double *dqkv);

/* ---------------------------------------------------------------- layout: NCHW <-> (N, C/block, H, W, block) */

/* Floats in the blocked buffer; plane = H W. */
size_t cr_blocked_count(int n, int c, size_t plane, int block);
/* Surplus channels become zero. */
void cr_to_blocked(const float *x, int n, int c, size_t plane, int block, float *y);
void cr_from_blocked(const float *x, int n, int c, size_t plane, int block, float *y);
/* Number of surplus values that are not +0 or -0. */
size_t cr_surplus_nonzero(const float *x, int n, int c, size_t plane, int block);

/* ---------------------------------------------------------------- test data and comparison */

/* Seeded uniform values in [low, high); the same numbers on every machine. */
void cr_fill_uniform(float *x, size_t count, uint64_t seed, double low, double high);
/* Seeded integers in low...high. */
void cr_fill_integers(float *x, size_t count, uint64_t seed, int low, int high);
void cr_fill_bytes(uint8_t *x, size_t count, uint64_t seed);
/* Every byte becomes 0xFF: floats become a NaN that no arithmetic makes, and cr_count_poison finds such bytes again. */
void cr_poison(void *x, size_t bytes);
size_t cr_count_poison(const void *x, size_t bytes);
void cr_round(const double *x, size_t count, float *y);

/* What the rounding errors of a float sum of n random terms are measured in: u sqrt(n), with u = 2^-24, times
 *     3 (spread + |bias| + |residual|) + 2 |y|,
 * which replaces spread (n, k, plane). y is the result before any ReLU.
 *
 * Why: each addition errs by 0.41 u of the partial sum s_i in the root mean square. The s_i are a random walk that ends
 * at y: the mean of s_i^2 is spread^2 / 6 + y^2 / 3, so the error's standard deviation is at most
 * u sqrt(n) (0.17 spread + 0.24 |y|), and the scale holds 8 of these or more. (That errors grow with sqrt(n) and not
 * with n: Higham & Mary, SIAM J. Sci. Comput. 41, 2019.) Sums in several accumulators only do better, while a missing
 * or doubled term among 10^6 would show. */
void cr_error_scale(double *spread, const double *y, int n, int k, size_t plane, const float *bias,
                    const float *residual);
/* y (planes) = the largest of each plane of x; and each value of x (planes) repeated over a plane. */
void cr_plane_max(const double *x, int planes, size_t plane, double *y);
void cr_repeat(const double *x, int planes, size_t plane, double *y);

/* Where and how badly actual differs: worst is the largest |actual - expected| / bound, at `index`; a NaN in one but
 * not in the other counts as infinite, equal values as 0 whatever the bound. */
typedef struct cr_difference {
    double worst;
    size_t index;
    double actual, expected, bound;
} cr_difference;

/* bound[i] = relative[i] * factor + absolute; relative may be NULL (then 0). */
cr_difference cr_compare(const float *actual, const double *expected, size_t count, const double *relative,
                         double factor, double absolute);

#ifdef __cplusplus
}
#endif
#endif
