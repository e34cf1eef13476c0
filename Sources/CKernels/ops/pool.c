/* Pooling on NCHWc: the channels of a block are pooled side by side, so a window is a few vector operations. A thread
 * takes a range of output rows, counted through all (image, channel block) planes.
 */
#include "ops/ops.h"

typedef struct axis {
    int32_t in, kernel, stride, pad, out;
} axis;

/* The output size as PyTorch computes it: see ck_pool_desc. 0 if the axis is not valid. */
static ck_status make_axis(int32_t in, int32_t kernel, int32_t stride, int32_t pad, int32_t ceil_mode, axis *result) {
    const int64_t span = (int64_t)in + 2 * (int64_t)pad - kernel;
    /* A window must touch the picture: padding up to half the kernel, as PyTorch demands. */
    if (in < 1 || kernel < 1 || stride < 1 || pad < 0 || pad > kernel / 2 || span < 0) return CK_INVALID_ARGUMENT;
    int64_t out = (span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (out - 1) * stride >= (int64_t)in + pad) out--;
    /* The last window's end is computed in int32_t. */
    if ((int64_t)in + kernel + stride > INT32_MAX) return CK_INVALID_ARGUMENT;
    *result = (axis){in, kernel, stride, pad, (int32_t)out};
    return CK_OK;
}

static ck_status make_axes(const ck_pool_desc *desc, axis *y, axis *x) {
    if (!desc || desc->batch < 1 || desc->channels < 1 || desc->threads < 0 || (desc->ceil_mode & ~1))
        return CK_INVALID_ARGUMENT;
    const ck_status status =
        make_axis(desc->in_height, desc->kernel_height, desc->stride_height, desc->pad_height, desc->ceil_mode, y);
    if (status != CK_OK) return status;
    return make_axis(desc->in_width, desc->kernel_width, desc->stride_width, desc->pad_width, desc->ceil_mode, x);
}

ck_status ck_pool_output_size(const ck_pool_desc *desc, int32_t *out_height, int32_t *out_width) {
    axis y, x;
    if (!out_height || !out_width) return CK_INVALID_ARGUMENT;
    const ck_status status = make_axes(desc, &y, &x);
    if (status == CK_OK) {
        *out_height = y.out;
        *out_width = x.out;
    }
    return status;
}

typedef struct pooling {
    void (*kernel)(const ck_pool_window_row *);
    axis y, x;
    int32_t block;
    const float *src;
    float *dst;
    int32_t *argmax;
    int32_t inside;
} pooling;

static void pool_row_at(const pooling *p, int64_t row) {
    const axis y = p->y, x = p->x;
    const int64_t plane = row / y.out, at = row * x.out * p->block;
    const int32_t start = (int32_t)(row % y.out) * y.stride - y.pad;
    const int32_t most = y.in + y.pad, end = start + y.kernel < most ? start + y.kernel : most;
    const int32_t first = start < 0 ? 0 : start, last = end < y.in ? end : y.in;
    const ck_pool_window_row job = {.src = p->src + (plane * y.in + first) * x.in * p->block,
                                    .rows = last - first,
                                    .divisor_rows = p->inside ? last - first : end - start,
                                    .width = x.in,
                                    .kernel = x.kernel,
                                    .stride = x.stride,
                                    .pad = x.pad,
                                    .out_width = x.out,
                                    .dst = p->dst + at,
                                    .argmax = p->argmax ? p->argmax + at : NULL,
                                    .offset = p->argmax ? first * x.in : 0,
                                    .inside = p->inside};
    p->kernel(&job);
}

static void pool_rows(void *context, int64_t begin, int64_t end) {
    for (; begin < end; begin++) pool_row_at(context, begin);
}

static ck_status run(const ck_pool_desc *desc, pooling p) {
    ck_status status = ck_check_blocked(desc->batch, desc->channels, p.y.in, p.x.in, desc->threads);
    if (status == CK_OK) status = ck_check_blocked(desc->batch, desc->channels, p.y.out, p.x.out, desc->threads);
    if (status != CK_OK) return status;
    const int64_t rows = (int64_t)desc->batch * ck_blocks(desc->channels, p.block) * p.y.out;
    ck_run_ranges(desc->threads, rows, (int64_t)p.x.out * p.block * p.y.kernel * p.x.kernel, pool_rows, &p);
    return CK_OK;
}

ck_status ck_max_pool(const ck_pool_desc *desc, const float *src, float *dst, int32_t *argmax) {
    axis y, x;
    ck_status status = make_axes(desc, &y, &x);
    if (status != CK_OK) return status;
    if (!src || !dst || (argmax && (int64_t)y.in * x.in > INT32_MAX)) return CK_INVALID_ARGUMENT;
    const ck_kernels *kernels = ck_active(&status);
    return kernels ? run(desc, (pooling){kernels->max_pool_row, y, x, kernels->block, src, dst, argmax, 0}) : status;
}

static ck_status average(const ck_pool_desc *desc, const float *src, float *dst, int32_t inside) {
    axis y, x;
    ck_status status = make_axes(desc, &y, &x);
    if (status != CK_OK) return status;
    if (!src || !dst) return CK_INVALID_ARGUMENT;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    return run(desc, (pooling){kernels->average_pool_row, y, x, kernels->block, src, dst, NULL, inside});
}

ck_status ck_average_pool(const ck_pool_desc *desc, const float *src, float *dst) { return average(desc, src, dst, 0); }

ck_status ck_average_pool_inside(const ck_pool_desc *desc, const float *src, float *dst) {
    return average(desc, src, dst, 1);
}

typedef struct means {
    const ck_kernels *kernels;
    const float *src;
    float *dst;
    int32_t height, width;
} means;

static void mean_planes(void *context, int64_t begin, int64_t end) {
    const means *m = context;
    const int64_t block = m->kernels->block, floats = (int64_t)m->height * m->width * block;
    for (int64_t plane = begin; plane < end; plane++) {
        const ck_plane job = {
            .src = m->src + plane * floats, .dst = m->dst + plane * block, .rows = m->height, .width = m->width};
        m->kernels->plane_mean(&job);
    }
}

ck_status ck_global_average_pool(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                                 int32_t threads) {
    if (!src || !dst) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status != CK_OK) return status;
    means m = {ck_active(&status), src, dst, h, w};
    if (!m.kernels) return status;
    const int32_t block = m.kernels->block;
    ck_run_ranges(threads, (int64_t)n * ck_blocks(c, block), (int64_t)h * w * block, mean_planes, &m);
    return CK_OK;
}
