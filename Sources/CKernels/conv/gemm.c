/* im2col and OpenBLAS: any kernel, stride, padding, dilation and groups, from any layout. Not fast, but different
 * enough from the rest to be a second opinion, and the only one for odd shapes.
 *
 *     column (C/g * KH * KW, chunk of pixels)    result (K/g, chunk) = filters (K/g, C/g * KH * KW) x column
 */
#include <string.h>

#include "conv/algorithms.h"
#include "conv/gemm.h"
#include "core/sgemm.h"

enum { CHUNK = 256 };

static int applicable(const ck_conv_plan *plan) { return !(plan->d.epilogue & CK_MAX_POOL_3X3_S2); }

static ptrdiff_t depth(const ck_conv_plan *plan) {
    return (ptrdiff_t)(plan->d.in_channels / plan->d.groups) * plan->d.kernel_height * plan->d.kernel_width;
}

static double cost(const ck_conv_plan *plan) {
    const double macs = (double)depth(plan) * plan->d.out_channels * plan->out_height * plan->out_width * plan->d.batch;
    return macs / plan->block + 4.0 * depth(plan) * plan->d.groups * plan->out_height * plan->out_width * plan->d.batch;
}

static size_t packed_size(const ck_conv_plan *plan) { return (size_t)plan->d.out_channels * depth(plan) * 4; }

static size_t thread_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)CHUNK * (depth(plan) + plan->d.out_channels / plan->d.groups), 16);
}
static size_t workspace_size(const ck_conv_plan *plan) { return 4 * thread_floats(plan) * plan->threads; }

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const ck_filter_view view = ck_view_filter(plan, oihw, scale);
    float *dst = packed;
    for (int32_t g = 0; g < view.groups; g++)
        for (int32_t k = 0; k < view.k; k++)
            for (int32_t c = 0; c < view.c; c++)
                for (int32_t y = 0; y < plan->d.kernel_height; y++)
                    for (int32_t x = 0; x < plan->d.kernel_width; x++)
                        *dst++ = ck_filter_at(&view, (ck_filter_place){g, k, c, y, x});
}

/* Where pixel (0, 0) of a channel is, and how far pixels are apart, in elements. */
static ptrdiff_t channel_at(const ck_conv_plan *plan, int32_t image, int32_t c, ptrdiff_t *step) {
    const ptrdiff_t pixels = (ptrdiff_t)plan->d.in_height * plan->d.in_width;
    switch (plan->d.src_layout) {
    case CK_NCHW: *step = 1; return ((ptrdiff_t)image * plan->d.in_channels + c) * pixels;
    case CK_NHWC8: *step = plan->d.in_channels; return image * pixels * plan->d.in_channels + c;
    default:
        *step = plan->block;
        return ((ptrdiff_t)image * plan->in_blocks + c / plan->block) * pixels * plan->block + c % plan->block;
    }
}

void ck_im2col(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t group, int64_t first,
               int32_t count, float *column) {
    const ck_conv_desc *d = &plan->d;
    const int32_t channels = d->in_channels / d->groups;
    for (int32_t c = group * channels; c < (group + 1) * channels; c++) {
        ptrdiff_t step;
        const ptrdiff_t base = channel_at(plan, image, c, &step);
        const int bytes = d->src_layout == CK_NHWC8;
        const float scale = bytes ? args->src_scale[c] : 1, shift = bytes ? args->src_shift[c] : 0;
        for (int32_t ky = 0; ky < d->kernel_height; ky++)
            for (int32_t kx = 0; kx < d->kernel_width; kx++, column += count)
                for (int32_t i = 0; i < count; i++) {
                    const int32_t y = (int32_t)((first + i) / plan->out_width) * d->stride_height - d->pad_height +
                                      ky * d->dilation_height;
                    const int32_t x = (int32_t)((first + i) % plan->out_width) * d->stride_width - d->pad_width +
                                      kx * d->dilation_width;
                    if (y < 0 || y >= d->in_height || x < 0 || x >= d->in_width) {
                        column[i] = 0;
                        continue;
                    }
                    const ptrdiff_t at = base + ((ptrdiff_t)y * d->in_width + x) * step;
                    column[i] =
                        bytes ? ((const uint8_t *)args->src)[at] * scale + shift : ((const float *)args->src)[at];
                }
    }
}

static void store_result(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t group,
                         int64_t first, int32_t count, const float *result) {
    const int32_t v = plan->block, own = plan->d.out_channels / plan->d.groups;
    const ptrdiff_t pixels = (ptrdiff_t)plan->out_height * plan->out_width;
    for (int32_t k = group * own; k < (group + 1) * own; k++, result += count) {
        const ptrdiff_t at = (((ptrdiff_t)image * plan->out_blocks + k / v) * pixels + first) * v + k % v;
        for (int32_t i = 0; i < count; i++) {
            float value = result[i] + (args->bias ? args->bias[k] : 0);
            if (args->residual) value += args->residual[at + (ptrdiff_t)i * v];
            if ((plan->d.epilogue & CK_RELU) && value < 0) value = 0;
            args->dst[at + (ptrdiff_t)i * v] = value;
        }
    }
}

/* The channels that only fill up the last block are zero. */
static void clear_surplus(const ck_conv_plan *plan, float *dst, int32_t image) {
    const int32_t v = plan->block, real = plan->d.out_channels % v;
    if (real == 0) return;
    const ptrdiff_t pixels = (ptrdiff_t)plan->out_height * plan->out_width;
    float *block = dst + ((ptrdiff_t)image * plan->out_blocks + plan->out_blocks - 1) * pixels * v;
    for (ptrdiff_t p = 0; p < pixels; p++) memset(block + p * v + real, 0, (size_t)(v - real) * 4);
}

static int64_t chunks(const ck_conv_plan *plan) {
    return ((int64_t)plan->out_height * plan->out_width + CHUNK - 1) / CHUNK;
}

/* One chunk of pixels of one image and group. */
static void run_part(void *context, int64_t part, int32_t worker) {
    const ck_conv_plan *plan = ((const ck_conv_job *)context)->plan;
    const ck_conv_args *args = ((const ck_conv_job *)context)->args;
    const int32_t groups = plan->d.groups, own = plan->d.out_channels / groups;
    const int64_t pixels = (int64_t)plan->out_height * plan->out_width, first = part % chunks(plan) * CHUNK;
    const int32_t count = pixels - first < CHUNK ? (int32_t)(pixels - first) : CHUNK;
    const int32_t group = (int32_t)(part / chunks(plan) % groups), image = (int32_t)(part / chunks(plan) / groups);
    float *column = (float *)args->workspace + worker * thread_floats(plan), *result = column + CHUNK * depth(plan);
    ck_im2col(plan, args, image, group, first, count, column);
    const float *filters = (const float *)args->packed + (ptrdiff_t)group * own * depth(plan);
    ck_sgemm(0, 0, own, count, (int)depth(plan), filters, (int)depth(plan), column, count, 0, result, count);
    store_result(plan, args, image, group, first, count, result);
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    ck_conv_job job = {plan, args, batch};
    ck_sgemm_prepare();
    ck_run_parts(plan->threads, batch * plan->d.groups * chunks(plan), run_part, &job);
    for (int32_t image = 0; image < batch; image++) clear_surplus(plan, args->dst, image);
    return CK_OK;
}

const ck_conv_algorithm ck_conv_gemm = {.id = CK_GEMM,
                                        .name = "gemm",
                                        .applicable = applicable,
                                        .cost = cost,
                                        .packed_size = packed_size,
                                        .workspace_size = workspace_size,
                                        .pack = pack,
                                        .run = run};
