/* Gradients by OpenBLAS: any kernel, stride, padding, dilation and groups. Not fast, but different enough from the rest
 * to be a second opinion, and the only way for odd shapes. With P pixels of y, in chunks:
 *
 *     data:    column (C/g * KH * KW, P) = filters^T (C/g * KH * KW, K/g) x dy (K/g, P); its values are added to dx
 *     weights: dw (K/g, C/g * KH * KW) += dy (K/g, P) x column^T (P, C/g * KH * KW), column = im2col of x
 *
 * One thread has all chunks of an image and group (data), or an equal part of all chunks and a dw of its own, which are
 * added in their order (weights). */
#include <string.h>

#include "conv/algorithms.h"
#include "conv/gemm.h"
#include "core/sgemm.h"

enum { CHUNK = 256 };

static int any(const ck_conv_plan *plan) {
    (void)plan;
    return 1;
}

static int32_t chunk_at(int64_t pixels, int64_t first) {
    return pixels - first < CHUNK ? (int32_t)(pixels - first) : CHUNK;
}

/* A blocked image (C/V, pixels, V), and pixels first...first+count of it. */
typedef struct pixel_chunk {
    const float *image;
    int32_t v;
    int64_t pixels, first;
    int32_t count;
} pixel_chunk;

/* Channels begin...end of a chunk to rows (end - begin, count). */
static void gather(pixel_chunk from, int32_t begin, int32_t end, float *rows) {
    for (int32_t k = begin; k < end; k++, rows += from.count) {
        const float *src = from.image + ((ptrdiff_t)(k / from.v) * from.pixels + from.first) * from.v + k % from.v;
        for (int32_t i = 0; i < from.count; i++) rows[i] = src[(ptrdiff_t)i * from.v];
    }
}

/* ---- data. The plan is turned round (see ck_conv_plan_create): dy is its input, with d.in_channels = K. */

static ptrdiff_t data_depth(const ck_conv_plan *plan) {
    return (ptrdiff_t)(plan->d.out_channels / plan->d.groups) * plan->d.kernel_height * plan->d.kernel_width;
}

static double data_cost(const ck_conv_plan *plan) {
    const double columns =
        (double)data_depth(plan) * plan->d.groups * plan->d.in_height * plan->d.in_width * plan->d.batch;
    return columns * (plan->d.in_channels / plan->d.groups) / plan->block + 5 * columns;
}

static size_t data_packed_size(const ck_conv_plan *plan) { return (size_t)plan->d.in_channels * data_depth(plan) * 4; }

static size_t data_thread_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)CHUNK * (data_depth(plan) + plan->d.in_channels / plan->d.groups), 16);
}
static size_t data_workspace_size(const ck_conv_plan *plan) { return 4 * data_thread_floats(plan) * plan->threads; }

static void data_pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const size_t filter = (size_t)data_depth(plan), count = (size_t)plan->d.in_channels * filter;
    for (size_t i = 0; i < count; i++) ((float *)packed)[i] = scale ? oihw[i] * scale[i / filter] : oihw[i];
}

/* Adds the columns of y's pixels first...first+count to dx; the inverse of im2col. */
static void col2im(const ck_conv_plan *plan, const float *column, int32_t group, int64_t first, int32_t count,
                   float *dx) {
    const ck_conv_desc *d = &plan->d;
    const int32_t channels = d->out_channels / d->groups, v = plan->block;
    for (int32_t c = group * channels; c < (group + 1) * channels; c++) {
        float *plane = dx + (ptrdiff_t)(c / v) * plan->out_height * plan->out_width * v + c % v;
        for (int32_t ky = 0; ky < d->kernel_height; ky++)
            for (int32_t kx = 0; kx < d->kernel_width; kx++, column += count)
                for (int32_t i = 0; i < count; i++) {
                    const int32_t y = (int32_t)((first + i) / d->in_width) * d->stride_height - d->pad_height +
                                      ky * d->dilation_height;
                    const int32_t x =
                        (int32_t)((first + i) % d->in_width) * d->stride_width - d->pad_width + kx * d->dilation_width;
                    if (y >= 0 && y < plan->out_height && x >= 0 && x < plan->out_width)
                        plane[((ptrdiff_t)y * plan->out_width + x) * v] += column[i];
                }
    }
}

/* One channel's plane starts as the residual or as zero; groups may share a block, so lane by lane. */
static void start_channel(float *dx, const float *residual, int64_t pixels, int32_t v) {
    if (dx == residual) return;
    for (int64_t p = 0; p < pixels; p++) dx[p * v] = residual ? residual[p * v] : 0;
}

/* All chunks of one image and group. */
static void data_part(void *context, int64_t part, int32_t worker) {
    const ck_conv_plan *plan = ((const ck_conv_job *)context)->plan;
    const ck_conv_args *args = ((const ck_conv_job *)context)->args;
    const ck_conv_desc *d = &plan->d;
    const int32_t groups = d->groups, k = d->in_channels / groups, c = d->out_channels / groups, v = plan->block;
    const int64_t pixels = (int64_t)d->in_height * d->in_width,
                  out_pixels = (int64_t)plan->out_height * plan->out_width;
    const ptrdiff_t image_floats = (ptrdiff_t)plan->out_blocks * out_pixels * v, depth = data_depth(plan);
    const int32_t group = (int32_t)(part % groups), image = (int32_t)(part / groups);
    float *column = (float *)args->workspace + worker * data_thread_floats(plan), *rows = column + CHUNK * depth;
    float *dx = args->dst + image * image_floats;
    const float *residual = args->residual ? args->residual + image * image_floats : NULL;
    const float *dy = (const float *)args->src + (ptrdiff_t)image * plan->in_blocks * pixels * v;
    const int32_t last = group + 1 == groups ? plan->out_blocks * v : (group + 1) * c; /* with the surplus */
    for (int32_t channel = group * c; channel < last; channel++) {
        const ptrdiff_t at = channel / v * out_pixels * v + channel % v;
        start_channel(dx + at, residual ? residual + at : NULL, out_pixels, v);
    }
    const float *filters = (const float *)args->packed + (ptrdiff_t)group * k * depth;
    for (int64_t first = 0; first < pixels; first += CHUNK) {
        const int32_t count = chunk_at(pixels, first);
        gather((pixel_chunk){dy, v, pixels, first, count}, group * k, (group + 1) * k, rows);
        ck_sgemm(1, 0, (int)depth, count, k, filters, (int)depth, rows, count, 0, column, count);
        col2im(plan, column, group, first, count, dx);
    }
}

static ck_status data_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    ck_conv_job job = {plan, args, batch};
    ck_sgemm_prepare();
    ck_run_parts(plan->threads, (int64_t)batch * plan->d.groups, data_part, &job);
    return CK_OK;
}

const ck_conv_algorithm ck_conv_data_gemm = {.id = CK_GEMM,
                                             .name = "gemm",
                                             .applicable = any,
                                             .cost = data_cost,
                                             .packed_size = data_packed_size,
                                             .workspace_size = data_workspace_size,
                                             .pack = data_pack,
                                             .run = data_run};

/* ---- weights */

static ptrdiff_t weight_depth(const ck_conv_plan *plan) {
    return (ptrdiff_t)(plan->d.in_channels / plan->d.groups) * plan->d.kernel_height * plan->d.kernel_width;
}
static int64_t chunks(const ck_conv_plan *plan) {
    return ((int64_t)plan->out_height * plan->out_width + CHUNK - 1) / CHUNK;
}
static int32_t parts(const ck_conv_plan *plan) {
    const int64_t most = chunks(plan) * plan->d.batch;
    return most < plan->threads ? (int32_t)most : plan->threads;
}

static double weight_cost(const ck_conv_plan *plan) {
    const double columns =
        (double)weight_depth(plan) * plan->d.groups * plan->out_height * plan->out_width * plan->d.batch;
    return columns * (plan->d.out_channels / plan->d.groups) / plan->block + 4 * columns;
}

static size_t weight_count(const ck_conv_plan *plan) { return (size_t)plan->d.out_channels * weight_depth(plan); }
static size_t chunk_floats(const ck_conv_plan *plan) {
    return (size_t)CHUNK * (weight_depth(plan) + plan->d.out_channels / plan->d.groups);
}
static size_t weight_part_floats(const ck_conv_plan *plan) {
    return ck_round_up(chunk_floats(plan) + weight_count(plan), 16);
}
static size_t weight_workspace_size(const ck_conv_plan *plan) { return 4 * weight_part_floats(plan) * parts(plan); }

/* The chunks of part `part` of all, added to its dw. */
static void weight_part(void *context, int64_t part, int32_t worker) {
    const ck_conv_plan *plan = ((const ck_conv_job *)context)->plan;
    const ck_conv_args *args = ((const ck_conv_job *)context)->args;
    const int32_t groups = plan->d.groups, own = plan->d.out_channels / groups, v = plan->block;
    const int64_t pixels = (int64_t)plan->out_height * plan->out_width;
    const ptrdiff_t depth = weight_depth(plan);
    float *column = (float *)args->workspace + part * weight_part_floats(plan), *rows = column + CHUNK * depth,
          *dw = column + chunk_floats(plan);
    int64_t begin, end;
    (void)worker;
    ck_split(chunks(plan) * ((const ck_conv_job *)context)->batch, part, parts(plan), &begin, &end);
    memset(dw, 0, weight_count(plan) * 4);
    for (; begin < end; begin++) {
        const int32_t image = (int32_t)(begin / chunks(plan));
        const int64_t first = begin % chunks(plan) * CHUNK;
        const int32_t count = chunk_at(pixels, first);
        const float *dy = args->grad + (ptrdiff_t)image * plan->out_blocks * pixels * v;
        for (int32_t group = 0; group < groups; group++) {
            ck_im2col(plan, args, image, group, first, count, column);
            gather((pixel_chunk){dy, v, pixels, first, count}, group * own, (group + 1) * own, rows);
            ck_sgemm(0, 1, own, (int)depth, count, rows, count, column, count, 1, dw + (ptrdiff_t)group * own * depth,
                     (int)depth);
        }
    }
}

/* Weights begin...end of dw from all parts. */
static void add_parts(void *context, int64_t begin, int64_t end) {
    const ck_conv_plan *plan = ((const ck_conv_job *)context)->plan;
    const ck_conv_args *args = ((const ck_conv_job *)context)->args;
    const float *first = (const float *)args->workspace + chunk_floats(plan);
    for (int64_t i = begin; i < end; i++) {
        float sum = first[i];
        for (int32_t part = 1; part < parts(plan); part++) sum += first[part * weight_part_floats(plan) + i];
        args->dst[i] = args->accumulate ? args->dst[i] + sum : sum;
    }
}

static ck_status weight_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    ck_conv_job job = {plan, args, batch};
    ck_sgemm_prepare();
    ck_run_parts(plan->threads, parts(plan), weight_part, &job);
    ck_run_flat(plan->threads, weight_count(plan), parts(plan), add_parts, &job);
    return CK_OK;
}

const ck_conv_algorithm ck_conv_weight_gemm = {.id = CK_GEMM,
                                               .name = "gemm",
                                               .applicable = any,
                                               .cost = weight_cost,
                                               .packed_size = ck_nothing_packed,
                                               .workspace_size = weight_workspace_size,
                                               .run = weight_run};
