/* Layer norm over channels on NCHWc, forward and backward; the arithmetic is in isa/layer_norm.inc.
 *
 * Pixels lie side by side through a whole plane, so forward and backward go over stretches of some dozens of pixels,
 * all channel blocks of which fit into the first-level cache; only where y is larger than x are the stretches its rows.
 */
#include <math.h>
#include <string.h>

#include "ops/ops.h"

enum { STRETCH = 32 }; /* pixels; a multiple of every vector */

typedef struct norm {
    const ck_kernels *kernels;
    int32_t batch, channels, blocks;
    int32_t rows, width;         /* of x; one row of all pixels where y has the same size */
    int32_t out_rows, out_width; /* of y */
    int32_t stretches;           /* of a row */
    float eps;
    const float *x, *gamma, *beta;
    float *y;
} norm;

static ck_status check(const ck_layer_norm_desc *d, norm *n) {
    if (!d || !(d->eps >= 0) || d->out_height < 0 || d->out_width < 0) return CK_INVALID_ARGUMENT;
    const int32_t out_height = d->out_height ? d->out_height : d->height;
    const int32_t out_width = d->out_width ? d->out_width : d->width;
    if (out_height < d->height || out_width < d->width) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(d->batch, d->channels, out_height, out_width, d->threads);
    if (status == CK_OK) status = ck_check_blocked(d->batch, d->channels, d->height, d->width, d->threads);
    if (status != CK_OK) return status;
    if ((int64_t)d->height * d->width > INT32_MAX - STRETCH) return CK_OUT_OF_MEMORY;
    *n = (norm){.kernels = ck_active(&status), .batch = d->batch, .channels = d->channels, .eps = (float)d->eps};
    if (!n->kernels) return status;
    n->blocks = ck_blocks(d->channels, n->kernels->block);
    const int whole = out_height == d->height && out_width == d->width;
    n->rows = whole ? 1 : d->height;
    n->width = whole ? d->height * d->width : d->width;
    n->out_rows = whole ? 1 : out_height;
    n->out_width = whole ? n->width : out_width;
    n->stretches = (n->width - 1) / STRETCH + 1;
    return CK_OK;
}

/* Zeros in all blocks of output row `row` of an image, from column `first` on. */
static void clear(const norm *n, float *y, int32_t first) {
    const ptrdiff_t v = n->kernels->block, plane = (ptrdiff_t)n->out_rows * n->out_width * v;
    if (first == n->out_width) return;
    for (int32_t b = 0; b < n->blocks; b++)
        memset(y + b * plane + first * v, 0, (size_t)(n->out_width - first) * v * sizeof(float));
}

/* Items are counted (image, output row, stretch). */
static void forward(void *context, int64_t begin, int64_t end) {
    const norm *n = context;
    const ptrdiff_t v = n->kernels->block;
    const ptrdiff_t x_plane = (ptrdiff_t)n->rows * n->width * v, y_plane = (ptrdiff_t)n->out_rows * n->out_width * v;
    ck_layer_norm_run job = {.gamma = n->gamma,
                             .beta = n->beta,
                             .x_block = x_plane,
                             .y_block = y_plane,
                             .blocks = n->blocks,
                             .channels = n->channels,
                             .eps = n->eps};
    for (int64_t item = begin; item < end; item++) {
        const int32_t first = (int32_t)(item % n->stretches) * STRETCH;
        const int64_t row = item / n->stretches % n->out_rows, image = item / n->stretches / n->out_rows;
        float *y = n->y + image * n->blocks * y_plane + row * n->out_width * v;
        if (row >= n->rows) {
            if (first == 0) clear(n, y, 0);
            continue;
        }
        if (first == 0) clear(n, y, n->width);
        job.x = n->x + image * n->blocks * x_plane + (row * n->width + first) * v;
        job.y = y + first * v;
        job.pixels = n->width - first < STRETCH ? n->width - first : STRETCH;
        n->kernels->layer_norm(&job);
    }
}

ck_status ck_layer_norm(const ck_layer_norm_desc *desc, const float *x, const float *gamma, const float *beta,
                        float *y) {
    norm n;
    const ck_status status = check(desc, &n);
    if (status != CK_OK) return status;
    if (!x || !gamma || !beta || !y) return CK_INVALID_ARGUMENT;
    n.x = x, n.gamma = gamma, n.beta = beta, n.y = y;
    const int64_t items = (int64_t)n.batch * n.out_rows * n.stretches;
    ck_run_ranges(desc->threads, items, (int64_t)STRETCH * n.blocks * n.kernels->block * 2, forward, &n);
    return CK_OK;
}

/* ---- backward: each part has sums of its own, which are added in order */

typedef struct backward {
    norm n;
    const float *dy;
    float *dx;
    double *sums; /* (parts, blocks, 2, V) */
    int32_t parts;
} backward;

enum { MOST_PARTS = 64 };

static int32_t parts_of(const norm *n) {
    const int64_t items = (int64_t)n->batch * n->stretches;
    return items < MOST_PARTS ? (int32_t)items : MOST_PARTS;
}

/* Without room for padding: the gradient has the size of x. */
static ck_status check_backward(const ck_layer_norm_desc *d, norm *n) {
    if (!d) return CK_INVALID_ARGUMENT;
    ck_layer_norm_desc same = *d;
    same.out_height = same.out_width = 0;
    return check(&same, n);
}

static size_t sums_count(const norm *n) { return (size_t)n->blocks * 2 * n->kernels->block; }

size_t ck_layer_norm_backward_workspace_size(const ck_layer_norm_desc *desc) {
    norm n;
    return check_backward(desc, &n) == CK_OK ? sums_count(&n) * parts_of(&n) * sizeof(double) : 0;
}

static void backward_part(void *context, int64_t part, int32_t worker) {
    (void)worker;
    const backward *a = context;
    const norm *n = &a->n;
    const ptrdiff_t v = n->kernels->block, plane = n->width * v;
    double *sums = a->sums + part * (ptrdiff_t)sums_count(n);
    memset(sums, 0, sums_count(n) * sizeof(double));
    ck_layer_norm_backward_run job = {
        .gamma = n->gamma, .sums = sums, .block = plane, .blocks = n->blocks, .channels = n->channels, .eps = n->eps};
    int64_t begin, end;
    ck_split((int64_t)n->batch * n->stretches, part, a->parts, &begin, &end);
    for (int64_t item = begin; item < end; item++) {
        const int32_t first = (int32_t)(item % n->stretches) * STRETCH;
        const ptrdiff_t at = item / n->stretches * n->blocks * plane + first * v;
        job.x = n->x + at;
        job.dy = a->dy + at;
        job.dx = a->dx ? a->dx + at : NULL;
        job.pixels = n->width - first < STRETCH ? n->width - first : STRETCH;
        n->kernels->layer_norm_backward(&job);
    }
}

ck_status ck_layer_norm_backward(const ck_layer_norm_desc *desc, const float *x, const float *dy, const float *gamma,
                                 float *dx, float *dgamma, float *dbeta, void *workspace) {
    backward a;
    const ck_status status = check_backward(desc, &a.n);
    if (status != CK_OK) return status;
    if (!x || !dy || !gamma || !workspace || (uintptr_t)workspace % 64) return CK_INVALID_ARGUMENT;
    a.n.x = x, a.n.gamma = gamma, a.dy = dy, a.dx = dx, a.sums = workspace, a.parts = parts_of(&a.n);
    ck_run_parts(ck_threads(desc->threads), a.parts, backward_part, &a);
    const int32_t v = a.n.kernels->block;
    for (int32_t c = 0; c < a.n.channels; c++) {
        double by_x = 0, by_one = 0;
        for (int32_t part = 0; part < a.parts; part++) {
            const double *sums = a.sums + part * (ptrdiff_t)sums_count(&a.n) + c / v * 2 * v + c % v;
            by_x += sums[0];
            by_one += sums[v];
        }
        if (dgamma) dgamma[c] = (float)by_x;
        if (dbeta) dbeta[c] = (float)by_one;
    }
    return CK_OK;
}
