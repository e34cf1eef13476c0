/* ckernels_attention.h: layer norm, GELU and attention on NCHWc maps, forward and backward; group norm, forward. Part
 * of ckernels.h, whose rules of errors, memory and threads hold here too.
 *
 * A linear layer over the channels of each pixel is a 1x1 convolution (CK_POINTWISE), so a network of such layers keeps
 * its activations blocked. Gradients of parameters are overwritten.
 */
#ifndef CKERNELS_ATTENTION_H
#define CKERNELS_ATTENTION_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- GELU */

/* y = x Phi(x), with the distribution of the normal law and not with tanh (arXiv:1606.08415). y may be x. */
CK_API ck_status ck_gelu(const float *x, float *y, size_t count, int32_t threads);
/* dx = dy (Phi(x) + x phi(x)); dx may be dy or x. */
CK_API ck_status ck_gelu_backward(const float *x, const float *dy, float *dx, size_t count, int32_t threads);

/* ---------------------------------------------------------------- layer norm over the channels of each pixel */

typedef struct ck_layer_norm_desc {
    int32_t batch, channels, height, width;
    int32_t out_height, out_width; /* of y, at least height and width; zeros lie below and to the right. 0: the same */
    double eps;
    int32_t threads;
} ck_layer_norm_desc;

/* y = (x - mean) / sqrt(variance + eps) gamma + beta, mean and biased variance over the C channels of each pixel (Ba,
 * Kiros & Hinton, arXiv:1607.06450). gamma, beta (C) rounded up to whole blocks with zeros. y may be x if it has its
 * size.
 */
CK_API ck_status ck_layer_norm(const ck_layer_norm_desc *desc, const float *x, const float *gamma, const float *beta,
                               float *y);
/* Bytes; 0 for a description that is not valid. */
CK_API size_t ck_layer_norm_backward_workspace_size(const ck_layer_norm_desc *desc);
/* dx, and dgamma and dbeta (C), each if not NULL. dy has the size of x, whatever out_height and out_width say; dx may
 * be dy. workspace: 64-byte aligned. */
CK_API ck_status ck_layer_norm_backward(const ck_layer_norm_desc *desc, const float *x, const float *dy,
                                        const float *gamma, float *dx, float *dgamma, float *dbeta, void *workspace);

/* ---------------------------------------------------------------- group norm */

typedef struct ck_group_norm_desc {
    int32_t batch, channels, groups, height, width; /* groups divides channels */
    double eps;
    int32_t relu; /* max(y, 0) */
    int32_t threads;
} ck_group_norm_desc;

/* y = (x - mean) / sqrt(variance + eps) gamma + beta [then ReLU], mean and biased variance over all pixels and the
 * channels / groups adjacent channels of a group of each image (Wu & He, arXiv:1803.08494). gamma, beta (C). y may be
 * x. */
CK_API ck_status ck_group_norm(const ck_group_norm_desc *desc, const float *x, const float *gamma, const float *beta,
                               float *y);

/* ---------------------------------------------------------------- padding and cropping */

/* The upper left of src (N, C/c, H, W, c) as dst (N, C/c, OH, OW, c): what is beyond OH and OW is left out, what is
 * beyond H and W is zero. */
CK_API ck_status ck_resize_canvas(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                                  int32_t out_h, int32_t out_w, int32_t threads);

/* ---------------------------------------------------------------- attention */

/* qkv (N, 3 C/c, H, W, c) holds in channels 0...C-1 the queries, then the keys, then the values, each of `heads` parts
 * of C / heads channels side by side; that is a multiple of 16 (CK_UNSUPPORTED for others). y (N, C/c, H, W, c). */
typedef struct ck_attention_desc {
    int32_t batch, channels; /* C, of y */
    int32_t heads;
    int32_t height, width;
    int32_t window_height, window_width; /* of window attention: divide height and width */
    int32_t out_height, out_width;       /* of window attention's y: its upper left. 0: all */
    double scale;                        /* of the scores; 0: 1 / sqrt(C / heads) */
    int32_t threads;
} ck_attention_desc;

/* Within each window and head, over its tokens: softmax_j(scale q_i k_j) v_j (Vaswani et al., arXiv:1706.03762; Liu et
 * al., arXiv:2103.14030). All tokens count, also those that y leaves out. workspace: as many bytes as the function
 * beside says, which are enough for fewer images too, 64-byte aligned; 0 for a description that is not valid. */
CK_API size_t ck_window_attention_workspace_size(const ck_attention_desc *desc);
CK_API ck_status ck_window_attention(const ck_attention_desc *desc, const float *qkv, float *y, void *workspace);
CK_API size_t ck_window_attention_backward_workspace_size(const ck_attention_desc *desc);
/* dqkv from qkv and dy, which has the size of y. The attention is computed again: that costs less than to keep it. */
CK_API ck_status ck_window_attention_backward(const ck_attention_desc *desc, const float *qkv, const float *dy,
                                              float *dqkv, void *workspace);

/* Attention between the channels of a head, with all pixels as one window: A = softmax_j(scale sum_t k_ti v_tj), y_ti =
 * sum_j A_ij q_tj (Ding et al., DaViT, arXiv:2204.03645). No windows, y has the size of qkv. */
CK_API size_t ck_channel_attention_workspace_size(const ck_attention_desc *desc);
CK_API ck_status ck_channel_attention(const ck_attention_desc *desc, const float *qkv, float *y, void *workspace);
CK_API size_t ck_channel_attention_backward_workspace_size(const ck_attention_desc *desc);
CK_API ck_status ck_channel_attention_backward(const ck_attention_desc *desc, const float *qkv, const float *dy,
                                               float *dqkv, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
