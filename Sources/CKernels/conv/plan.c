/* Making a plan: checks the description, fills in what is missing, and has the algorithm chosen. */
#include "conv/plan.h"

#include <stdlib.h>

#include "conv/choose.h"
#include "core/dispatch.h"

static void or_one(int32_t *value) {
    if (*value == 0) *value = 1;
}

static int in_range(int32_t value, int32_t low, int32_t high) { return value >= low && value <= high; }

static ck_status check(const ck_conv_desc *d) {
    enum { MOST = 1 << 20, KERNEL_MOST = 1 << 10 };
    const uint32_t known = CK_BIAS | CK_RESIDUAL | CK_RELU | CK_MAX_POOL_3X3_S2 | CK_GLOBAL_AVERAGE;
    if (!in_range(d->batch, 1, MOST) || !in_range(d->in_channels, 1, MOST) || !in_range(d->out_channels, 1, MOST) ||
        !in_range(d->in_height, 1, MOST) || !in_range(d->in_width, 1, MOST) ||
        !in_range(d->kernel_height, 1, KERNEL_MOST) || !in_range(d->kernel_width, 1, KERNEL_MOST) ||
        !in_range(d->stride_height, 1, KERNEL_MOST) || !in_range(d->stride_width, 1, KERNEL_MOST) ||
        !in_range(d->pad_height, 0, KERNEL_MOST) || !in_range(d->pad_width, 0, KERNEL_MOST) ||
        !in_range(d->dilation_height, 1, KERNEL_MOST) || !in_range(d->dilation_width, 1, KERNEL_MOST) ||
        !in_range(d->groups, 1, MOST) || !in_range(d->threads, 0, 1024) || (d->epilogue & ~known) ||
        (unsigned)d->src_layout > CK_NHWC8 || (unsigned)d->pass > CK_WEIGHT_GRADIENT ||
        (unsigned)d->accuracy > CK_ACCURACY_FAST || (unsigned)d->selection > CK_MEASURE ||
        (unsigned)d->algorithm >= CK_ALGORITHM_COUNT || (unsigned)d->packed_type > CK_BF16)
        return CK_INVALID_ARGUMENT;
    if (d->in_channels % d->groups || d->out_channels % d->groups) return CK_INVALID_ARGUMENT;
    const int64_t height = (int64_t)d->in_height + 2 * d->pad_height, width = (int64_t)d->in_width + 2 * d->pad_width;
    if (height < (int64_t)d->dilation_height * (d->kernel_height - 1) + 1 ||
        width < (int64_t)d->dilation_width * (d->kernel_width - 1) + 1)
        return CK_INVALID_ARGUMENT;
    const uint32_t allowed = d->pass == CK_FORWARD ? known : d->pass == CK_DATA_GRADIENT ? CK_RESIDUAL : 0;
    if (d->epilogue & ~allowed) return CK_INVALID_ARGUMENT;
    const int pools = !!(d->epilogue & CK_MAX_POOL_3X3_S2) + !!(d->epilogue & CK_GLOBAL_AVERAGE);
    if (pools > 1 || (pools && (d->epilogue & CK_RESIDUAL))) return CK_UNSUPPORTED;
    return CK_OK;
}

/* Whether buffers of such a convolution can exist at all. It keeps every product of index arithmetic far within its
 * type: pixels of a plane in int32_t, bytes of packed filters and of a workspace for 1024 threads in size_t. `reach` is
 * what the data gradient may pad. */
static int addressable(const ck_conv_desc *d, int32_t block) {
    const double most = 0x1p46; /* floats: more bytes than a process can address */
    const double reach_height = (double)d->dilation_height * (d->kernel_height - 1);
    const double reach_width = (double)d->dilation_width * (d->kernel_width - 1);
    const double plane =
        (d->in_height + 2.0 * d->pad_height + reach_height) * (d->in_width + 2.0 * d->pad_width + reach_width);
    const double in = d->in_channels + block, out = d->out_channels + block;
    const double taps = (double)d->kernel_height * d->kernel_width;
    return plane <= INT32_MAX - (1 << 16) && plane * d->batch * (in > out ? in : out) <= most &&
           in * out * taps <= most && taps * (in > out ? in : out) <= INT32_MAX;
}

static int32_t output_size(int32_t in, int32_t pad, int32_t dilation, int32_t kernel, int32_t stride) {
    return (int32_t)(((int64_t)in + 2 * pad - (int64_t)dilation * (kernel - 1) - 1) / stride + 1);
}

/* The data gradient of a stride-1 convolution is a forward convolution of dy with the filters turned round and the
 * channels exchanged: returns 1. Where it is not (a larger stride, padding beyond the kernel's reach) returns 0; then
 * only shapes and channels are exchanged, and stride and padding stay those of the convolution. */
static int turn_round(ck_conv_desc *d, int32_t out_height, int32_t out_width) {
    const int32_t pad_height = d->dilation_height * (d->kernel_height - 1) - d->pad_height;
    const int32_t pad_width = d->dilation_width * (d->kernel_width - 1) - d->pad_width;
    const int32_t channels = d->in_channels;
    d->in_channels = d->out_channels;
    d->out_channels = channels;
    d->in_height = out_height;
    d->in_width = out_width;
    d->src_layout = CK_NCHWC;
    if (d->stride_height != 1 || d->stride_width != 1 || pad_height < 0 || pad_width < 0) return 0;
    d->pad_height = pad_height;
    d->pad_width = pad_width;
    return 1;
}

ck_status ck_conv_plan_create(const ck_conv_desc *desc, ck_conv_plan **plan) {
    if (!desc || !plan) return CK_INVALID_ARGUMENT;
    *plan = NULL;
    ck_status status;
    ck_conv_plan p = {.d = *desc, .kernels = ck_active(&status)};
    if (!p.kernels) return status;
    status = ck_caches_active(&p.caches);
    if (status != CK_OK) return status;
    ck_conv_desc *d = &p.d;
    or_one(&d->stride_height), or_one(&d->stride_width), or_one(&d->dilation_height), or_one(&d->dilation_width);
    or_one(&d->groups);
    status = check(d);
    if (status != CK_OK) return status;
    if (!addressable(d, p.kernels->block)) return CK_OUT_OF_MEMORY;
    p.out_height = output_size(d->in_height, d->pad_height, d->dilation_height, d->kernel_height, d->stride_height);
    p.out_width = output_size(d->in_width, d->pad_width, d->dilation_width, d->kernel_width, d->stride_width);
    ck_algorithm_list list = d->pass == CK_WEIGHT_GRADIENT ? ck_weight_gradient_algorithms : ck_forward_algorithms;
    if (d->pass == CK_DATA_GRADIENT) {
        const int32_t in_height = d->in_height, in_width = d->in_width;
        if (!turn_round(d, p.out_height, p.out_width)) list = ck_data_gradient_algorithms;
        p.out_height = in_height;
        p.out_width = in_width;
    }
    p.block = p.kernels->block;
    p.in_blocks = (d->in_channels + p.block - 1) / p.block;
    p.out_blocks = (d->out_channels + p.block - 1) / p.block;
    p.threads = ck_threads(d->threads);
    p.groups = d->groups;
    status = ck_choose_algorithm(&p, list);
    if (status != CK_OK) return status;
    ck_conv_plan *made = malloc(sizeof *made);
    if (!made) return CK_OUT_OF_MEMORY;
    *made = p;
    *plan = made;
    return CK_OK;
}

void ck_conv_plan_destroy(ck_conv_plan *plan) { free(plan); }
