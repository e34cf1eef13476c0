/* ckernels_training.h: the other half of training: batch norm, the backward passes, losses and optimizers. The
 * gradients of a convolution are passes of its plan (ck_conv_desc.pass in ckernels.h). Included by ckernels.h.
 *
 * Definitions are PyTorch's. Layouts, threads and status codes are those of ckernels.h. Gradients overwrite their
 * destination unless said otherwise; d followed by a name is the gradient of the loss with respect to it.
 *
 * The same arguments and thread count give the same bits: sums are cut into parts that depend on the shape alone and
 * are added in a fixed order. (All but the convolution's weight gradient and the linear layer give the same bits under
 * any thread count.)
 */
#ifndef CKERNELS_TRAINING_H
#define CKERNELS_TRAINING_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- batch norm (NCHWc) */

/* y = (x - mean) invstd gamma + beta [+ residual] [then ReLU], per channel, with invstd = 1 / sqrt(var + eps).
 * training 1: mean and biased variance of this batch, summed in double; needs more than one value a channel.
 * training 0: the running mean and variance are constants (a frozen layer). */
typedef struct ck_bn_desc {
    int32_t batch, channels, height, width;
    int32_t training; /* 0 or 1 */
    int32_t relu;     /* 1: ReLU at the end; backward then passes dy only where y > 0 */
    double eps;
    double momentum; /* running += momentum (batch - running), with the unbiased variance; 0...1 */
    int32_t threads;
} ck_bn_desc;

typedef struct ck_bn_forward_args {
    const float *x;                    /* (N, C/c, H, W, c) */
    const float *gamma, *beta;         /* (C); NULL: 1 and 0 */
    const float *residual;             /* as x; NULL: none */
    float *running_mean, *running_var; /* (C). training: updated, NULL: not kept. Otherwise: read */
    float *mean, *invstd;              /* (C) for backward; NULL: not wanted */
    float *y;                          /* as x; may be x or residual */
    void *workspace;                   /* ck_bn_workspace_size bytes, 64-byte aligned */
    const double *totals;              /* ck_bn_forward_finish: see ck_bn_totals; NULL: this batch alone */
} ck_bn_forward_args;

/* dx may be dy or x; dresidual may be dy, but not dx. Any of the four results may be NULL: not wanted. */
typedef struct ck_bn_backward_args {
    const float *dy;            /* (N, C/c, H, W, c) */
    const float *x;             /* as in forward; NULL if not training, dgamma is NULL and the mask does not need it */
    const float *y;             /* only for ReLU: the result of forward. NULL: the mask is computed again from x, which
                                 * reads less memory; only for a forward without residual */
    const float *gamma, *beta;  /* as in forward; beta is read only to compute the mask again */
    const float *mean, *invstd; /* (C) from forward */
    float *dx;                  /* as x */
    float *dresidual;           /* as x: dy where y > 0, which is also the gradient of whatever was added */
    float *dgamma, *dbeta;      /* (C) */
    void *workspace;            /* ck_bn_workspace_size bytes, 64-byte aligned */
    const double *totals;       /* ck_bn_backward_finish: see ck_bn_totals; NULL: this batch alone */
} ck_bn_backward_args;

/* For forward and backward of this shape; 0 if the shape is not valid. */
CK_API size_t ck_bn_workspace_size(const ck_bn_desc *desc);
CK_API ck_status ck_bn_forward(const ck_bn_desc *desc, const ck_bn_forward_args *args);
CK_API ck_status ck_bn_backward(const ck_bn_desc *desc, const ck_bn_backward_args *args);

/* The same in parts, for callers that take a few images at a time through several operations, so that what one writes
 * is still in the cache when the next one reads it: sums over every range of images, then finish once, then apply over
 * every range. The bits are those of the whole. desc is that of the whole batch and args are filled in as for the
 * whole, but maps start at image `first` of the batch (sums) or anywhere (apply), and only what a part names has to be
 * there: forward    sums: x. finish: running_mean and running_var; gives mean and invstd. apply: x, y, residual, and
 * mean and invstd, which it reads; it may be called again later, with any workspace, to compute y again. backward sums:
 * dy, x, y; gives dresidual. finish: gives dgamma and dbeta. apply: gives dx from x and dy, y, or from dresidual in
 * their place. dresidual, dgamma and dbeta decide what is computed: the same in every part, NULL or not (dresidual of
 * finish: only that). The workspace carries sums and coefficients from the first part to the last. */
CK_API ck_status ck_bn_forward_sums(const ck_bn_desc *desc, const ck_bn_forward_args *args, int32_t first,
                                    int32_t count);
CK_API ck_status ck_bn_forward_finish(const ck_bn_desc *desc, const ck_bn_forward_args *args);
CK_API ck_status ck_bn_forward_apply(const ck_bn_desc *desc, const ck_bn_forward_args *args, int32_t count);
CK_API ck_status ck_bn_backward_sums(const ck_bn_desc *desc, const ck_bn_backward_args *args, int32_t first,
                                     int32_t count);
CK_API ck_status ck_bn_backward_finish(const ck_bn_desc *desc, const ck_bn_backward_args *args);
CK_API ck_status ck_bn_backward_apply(const ck_bn_desc *desc, const ck_bn_backward_args *args, int32_t count);

/* For batches that are parts of a larger one (batch norm over several processes). After the sums of all images, writes
 * 1 + 2 C doubles: the values a channel (N H W), then for each channel the sums of x and of x^2 (forward), or of dy and
 * of dy (x - mean) behind the mask (backward). Those of all parts, added, are the totals that finish takes from every
 * part's args in place of its own sums; the totals need more than one value a channel. dgamma and dbeta stay those of
 * the part: they are to be added, as all gradients of parts. Parts of one value a channel are possible. */
CK_API ck_status ck_bn_totals(const ck_bn_desc *desc, const void *workspace, double *totals);

/* ---------------------------------------------------------------- pooling and concat backward (NCHWc) */

/* desc and argmax as ck_max_pool had them; dy (N, C/c, OH, OW, c), dx (N, C/c, H, W, c). */
CK_API ck_status ck_max_pool_backward(const ck_pool_desc *desc, const float *dy, const int32_t *argmax, float *dx);
CK_API ck_status ck_average_pool_backward(const ck_pool_desc *desc, const float *dy, float *dx);
CK_API ck_status ck_average_pool_inside_backward(const ck_pool_desc *desc, const float *dy, float *dx);
/* Of ck_blur_pool on maps of h x w: dy (N, C/c, OH, OW, c), dx (N, C/c, H, W, c). */
CK_API ck_status ck_blur_pool_backward(const float *dy, int32_t n, int32_t c, int32_t h, int32_t w, int32_t stride,
                                       float *dx, int32_t threads);
/* dy (N, C/c, 1, 1, c) -> dx (N, C/c, H, W, c). */
CK_API ck_status ck_global_average_pool_backward(const float *dy, int32_t n, int32_t c, int32_t h, int32_t w, float *dx,
                                                 int32_t threads);
/* Of ck_gate without residual and ReLU: dx = dy * gate, and dgate (N, C/c, 1, 1, c), the sum of dy * x over each map.
 * Either may be NULL; dx may be dy. */
CK_API ck_status ck_gate_backward(const float *x, const float *gate, const float *dy, int32_t n, int32_t c, int32_t h,
                                  int32_t w, float *dx, float *dgate, int32_t threads);
/* Of ck_channel_conv; dx and dweight (kernel), of which either may be NULL. Strides: floats between images. */
CK_API ck_status ck_channel_conv_backward(const float *x, size_t x_stride, const float *weight, const float *dy,
                                          size_t dy_stride, int32_t n, int32_t c, int32_t kernel, float *dx,
                                          size_t dx_stride, float *dweight);
/* Copies channels offset...offset+c of src (N, src_c/c, H, W, c) to all of dst (N, C/c, H, W, c): the gradient of one
 * part of a concat. Any offset. */
CK_API ck_status ck_concat_slice(const float *src, int32_t n, int32_t src_c, int32_t h, int32_t w, int32_t offset,
                                 float *dst, int32_t c, int32_t threads);

/* ---------------------------------------------------------------- linear and activations backward (plain layouts) */

/* Gradients of ck_linear without its ReLU: dx (N, in) = dy w, dw (out, in) = dy^T x, db (out) = the sum of dy over N.
 * Each may be NULL: not wanted; x only for dw, w only for dx. The floats of dx between `in` and dx_stride become zero
 * (surplus channels, when dx is the pooled gradient of a blocked tensor). */
CK_API ck_status ck_linear_backward(const float *x, size_t x_stride, const float *w, const float *dy, size_t dy_stride,
                                    int32_t n, int32_t in, int32_t out, float *dx, size_t dx_stride, float *dw,
                                    float *db, int32_t threads);
/* dx = dy where y > 0 (or NaN); y is the result of ReLU. dx may be dy or y. count floats. */
CK_API ck_status ck_relu_backward(const float *y, const float *dy, float *dx, size_t count, int32_t threads);
/* dx = dy where y, the result of ck_clip, lies between low and high, as torch.nn.Hardtanh has it. dx may be dy or y. */
CK_API ck_status ck_clip_backward(const float *y, const float *dy, float low, float high, float *dx, size_t count,
                                  int32_t threads);
/* dx = dy y (1 - y); y is the result of the sigmoid. dx may be dy or y. */
CK_API ck_status ck_sigmoid_backward(const float *y, const float *dy, float *dx, size_t count, int32_t threads);

/* Stochastic depth (Huang et al., arXiv:1603.09382): y of each image is x / (1 - p), or 0 with probability p; y may be
 * x. n images of `count` floats. The decision on image i is a function of seed and first + i alone. p in 0...1. */
CK_API ck_status ck_drop_path(const float *x, float *y, int32_t n, size_t count, double p, uint64_t seed,
                              uint64_t first, int32_t threads);
/* Dropout: y[i] = x[i] / (1 - p), or 0 with probability p; y may be x. The decision on element i is a function of seed
 * and first + i alone (Philox4x32-10: Salmon et al., SC11), so the backward pass is the same call on dy, and parts of
 * an array may be done apart. p in 0...1. */
CK_API ck_status ck_dropout(const float *x, float *y, size_t count, double p, uint64_t seed, uint64_t first,
                            int32_t threads);

/* ---------------------------------------------------------------- losses (plain layouts, computed in double) */

typedef struct ck_loss {
    double mean;   /* the loss: sum / weight; NaN if the weight is 0 */
    double weight; /* of the mean; means of several batches combine as sum(mean weight) / sum(weight) */
} ck_loss;

/* Cross entropy of softmax(x), x (rows, n) logits. labels (rows) in 0..<n or ignore_index; any other is an invalid
 * argument. class_weights (n) or NULL; smoothing in 0...1. The weight is the number of rows not ignored, or the sum of
 * their labels' class weights. dx (rows, n) or NULL: its gradient times `scale`; 0 for rows that are ignored. */
CK_API ck_status ck_cross_entropy(const float *x, const int32_t *labels, int32_t rows, int32_t n,
                                  const float *class_weights, double smoothing, int32_t ignore_index, double scale,
                                  ck_loss *loss, float *dx);
/* The same with a distribution as the target of each row, targets (rows, n): mixup, cutmix. The weight is `rows`. */
CK_API ck_status ck_soft_cross_entropy(const float *x, const float *targets, int32_t rows, int32_t n,
                                       const float *class_weights, double smoothing, double scale, ck_loss *loss,
                                       float *dx);
/* Binary cross entropy of sigmoid(x), x and targets (rows, n); positive_weights (n) or NULL multiply the share of the
 * targets. The weight is rows * n. dx as above. */
CK_API ck_status ck_bce_with_logits(const float *x, const float *targets, int32_t rows, int32_t n,
                                    const float *positive_weights, double scale, ck_loss *loss, float *dx);

/* ---------------------------------------------------------------- optimizers (flat arrays of count floats) */

/* torch.optim.SGD. With g = grad + weight_decay w:
 * velocity = momentum velocity + (1 - dampening) g, or g at the first step;
 * w -= lr velocity, with nesterov lr (g + momentum velocity), without momentum lr g. */
typedef struct ck_sgd {
    double lr, momentum, dampening, weight_decay;
    int32_t nesterov; /* only with momentum and without dampening */
    int32_t first;    /* 1: velocity holds nothing yet */
} ck_sgd;
/* velocity may be NULL if momentum is 0. */
CK_API ck_status ck_sgd_step(const ck_sgd *settings, float *w, const float *grad, float *velocity, size_t count,
                             int32_t threads);

/* torch.optim.Adam and, decoupled, AdamW. With g = grad + weight_decay w (decoupled: g = grad, and first
 * w *= 1 - lr weight_decay):
 * m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
 * w -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps). */
typedef struct ck_adam {
    double lr, beta1, beta2, eps, weight_decay;
    int32_t decoupled;
    int64_t step; /* 1 at the first step; m and v are zero before it */
} ck_adam;
CK_API ck_status ck_adam_step(const ck_adam *settings, float *w, const float *grad, float *m, float *v, size_t count,
                              int32_t threads);

/* The sum of x^2 in double: a norm's square. Not finite exactly if some x is not. */
CK_API ck_status ck_sum_of_squares(const float *x, size_t count, double *sum, int32_t threads);
/* x *= factor. */
CK_API ck_status ck_scale(float *x, size_t count, double factor, int32_t threads);
/* y += factor x. */
CK_API ck_status ck_accumulate(const float *x, float *y, size_t count, double factor, int32_t threads);
/* average = decay average + (1 - decay) x. decay in 0...1. */
CK_API ck_status ck_moving_average(const float *x, float *average, size_t count, double decay, int32_t threads);

#ifdef __cplusplus
}
#endif
#endif
