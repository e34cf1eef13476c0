/* Attention between the channels of a head. With N pixels and head size d the d x d matrix is an outer product over the
 * pixels of the maps where they lie, and applying it a 1x1 convolution of the map of queries:
 *
 *     A^T (j, i) = softmax over j of scale sum_t v_tj k_ti,     y_ti = sum_j A^T_ji q_tj
 *
 * so that A^T is at once the result of outer.inc and the weights of panel.inc, in panels of two blocks of i. Each way
 * is three jobs: sums over stretches of pixels, the matrix of each head, products over the stretches again. Backward
 *
 *     dA^T_ji = sum_t q_tj dy_ti through the softmax to dS^T,
 *     dq_tj = sum_i A_ij dy_ti,   dk_ti = sum_j dS^T_ji v_tj,   dv_tj = sum_i dS_ij k_ti. */
#include "ops/attention.h"

typedef struct channels {
    ck_attention a;
    int32_t pixels, stretches;
    size_t matrix; /* floats of one */
    const float *qkv, *dy;
    float *y, *dqkv;
    float *sums;      /* (image, head, stretch, matrix), the first of which becomes A^T */
    float *slopes;    /* likewise of dA^T, which becomes dS^T */
    float *turned[2]; /* (image, head, matrix): A and dS */
} channels;

/* As few as keep the threads busy: every one has a matrix to be added. */
static int32_t stretches_of(const ck_attention *a, int32_t pixels) {
    const int64_t heads = (int64_t)a->batch * a->heads;
    const int64_t wanted = (4 * (int64_t)a->threads + heads - 1) / heads, most = (pixels - 1) / 64 + 1;
    return (int32_t)(wanted < most ? wanted : most);
}

static ck_status check(const ck_attention_desc *d, channels *c) {
    const ck_status status = ck_check_attention(d, &c->a);
    if (status != CK_OK) return status;
    if ((d->out_height && d->out_height != d->height) || (d->out_width && d->out_width != d->width))
        return CK_INVALID_ARGUMENT;
    c->pixels = d->height * d->width;
    c->stretches = stretches_of(&c->a, c->pixels);
    const size_t size = (size_t)c->a.head_blocks * c->a.block;
    c->matrix = size * size;
    return CK_OK;
}

static size_t heads_of(const channels *c) { return (size_t)c->a.batch * c->a.heads; }

/* No batch up to this one has more (image, head, stretch): fewer images have more stretches. */
static size_t most_parts(const channels *c) { return heads_of(c) + 4 * (size_t)c->a.threads; }

size_t ck_channel_attention_workspace_size(const ck_attention_desc *desc) {
    channels c;
    return check(desc, &c) == CK_OK ? most_parts(&c) * c.matrix * sizeof(float) : 0;
}
size_t ck_channel_attention_backward_workspace_size(const ck_attention_desc *desc) {
    channels c;
    return check(desc, &c) == CK_OK ? 2 * (most_parts(&c) + heads_of(&c)) * c.matrix * sizeof(float) : 0;
}

/* Pixels first...first + count of one head of one image. Parts are counted (image, head, stretch). */
typedef struct stretch {
    int64_t image, head_of_all; /* counted through all images */
    int32_t head, count;
    ptrdiff_t first; /* floats */
} stretch;

static stretch stretch_of(const channels *c, int64_t part) {
    stretch s = {.head_of_all = part / c->stretches};
    s.image = s.head_of_all / c->a.heads;
    s.head = (int32_t)(s.head_of_all % c->a.heads);
    int64_t begin, end;
    ck_split(c->pixels, part % c->stretches, c->stretches, &begin, &end);
    s.first = begin * c->a.block;
    s.count = (int32_t)(end - begin);
    return s;
}

/* The first pixel in the map of queries (0), keys (1) or values (2), and in that of the result. */
static ptrdiff_t in_qkv(const channels *c, const stretch *s, int32_t which) {
    return ((3 * s->image + which) * c->a.blocks + (int64_t)s->head * c->a.head_blocks) * c->a.plane + s->first;
}
static ptrdiff_t in_result(const channels *c, const stretch *s) {
    return (s->image * c->a.blocks + (int64_t)s->head * c->a.head_blocks) * c->a.plane + s->first;
}

static void outer(const channels *c, const stretch *s, const float *x, const float *dy, float *matrix) {
    ck_outer_panels(c->a.kernels, x, c->a.plane, c->a.head_blocks, s->count, dy, c->a.plane, c->a.head_blocks, matrix);
}
static void multiply(const channels *c, const stretch *s, const float *src, const float *matrix, float *dst) {
    ck_multiply_panels(c->a.kernels, src, c->a.plane, c->a.head_blocks, s->count, matrix, c->a.head_blocks, dst,
                       c->a.plane);
}

static void sum_part(void *context, int64_t part, int32_t worker) {
    (void)worker;
    const channels *c = context;
    const stretch s = stretch_of(c, part);
    outer(c, &s, c->qkv + in_qkv(c, &s, 2), c->qkv + in_qkv(c, &s, 1), c->sums + part * c->matrix);
    if (c->slopes) outer(c, &s, c->qkv + in_qkv(c, &s, 0), c->dy + in_result(c, &s), c->slopes + part * c->matrix);
}

/* Adds the stretches of a head to its first. */
static float *total(const channels *c, float *sums, int64_t head) {
    float *first = sums + head * c->stretches * c->matrix;
    for (int32_t i = 1; i < c->stretches; i++) {
        const float *more = first + i * c->matrix;
        for (size_t k = 0; k < c->matrix; k++) first[k] += more[k];
    }
    return first;
}

/* Calls the softmax on each panel of two blocks. */
static void softmax(const channels *c, float *x, const float *y, void (*kernel)(const ck_softmax_run *)) {
    const int32_t v = c->a.block, rows = c->a.head_blocks * v;
    for (int32_t b = 0; b < c->a.head_blocks; b += 2) {
        const int32_t columns = (c->a.head_blocks - b > 1 ? 2 : 1) * v;
        const ptrdiff_t at = (ptrdiff_t)b * v * rows;
        const ck_softmax_run run = {
            .x = x + at, .y = y ? y + at : NULL, .rows = rows, .columns = columns, .scale = c->a.scale};
        kernel(&run);
    }
}

/* Where (row, column) of a matrix in panels is. */
static ptrdiff_t in_panels(const channels *c, int32_t row, int32_t column) {
    const int32_t v = c->a.block, first = column / (2 * v) * 2, width = c->a.head_blocks - first > 1 ? 2 * v : v;
    return (ptrdiff_t)first * v * c->a.head_blocks * v + (ptrdiff_t)row * width + column - first * v;
}

static void turn(const channels *c, const float *from, float *to) {
    const int32_t size = c->a.head_blocks * c->a.block;
    for (int32_t row = 0; row < size; row++)
        for (int32_t column = 0; column < size; column++)
            to[in_panels(c, column, row)] = from[in_panels(c, row, column)];
}

static void matrix_part(void *context, int64_t head, int32_t worker) {
    (void)worker;
    const channels *c = context;
    float *matrix = total(c, c->sums, head);
    softmax(c, matrix, NULL, c->a.kernels->softmax_columns);
    if (!c->slopes) return;
    float *slopes = total(c, c->slopes, head);
    softmax(c, slopes, matrix, c->a.kernels->softmax_columns_backward);
    turn(c, matrix, c->turned[0] + head * c->matrix);
    turn(c, slopes, c->turned[1] + head * c->matrix);
}

static void forward_part(void *context, int64_t part, int32_t worker) {
    (void)worker;
    const channels *c = context;
    const stretch s = stretch_of(c, part);
    const float *matrix = c->sums + s.head_of_all * c->stretches * c->matrix;
    multiply(c, &s, c->qkv + in_qkv(c, &s, 0), matrix, c->y + in_result(c, &s));
}

static void backward_part(void *context, int64_t part, int32_t worker) {
    (void)worker;
    const channels *c = context;
    const stretch s = stretch_of(c, part);
    const float *slopes = c->slopes + s.head_of_all * c->stretches * c->matrix;
    const ptrdiff_t q = in_qkv(c, &s, 0), k = in_qkv(c, &s, 1), v = in_qkv(c, &s, 2);
    multiply(c, &s, c->dy + in_result(c, &s), c->turned[0] + s.head_of_all * c->matrix, c->dqkv + q);
    multiply(c, &s, c->qkv + v, slopes, c->dqkv + k);
    multiply(c, &s, c->qkv + k, c->turned[1] + s.head_of_all * c->matrix, c->dqkv + v);
}

static void run(channels *c, ck_part last) {
    const int64_t heads = (int64_t)heads_of(c);
    ck_run_parts(c->a.threads, heads * c->stretches, sum_part, c);
    ck_run_parts(c->a.threads, heads, matrix_part, c);
    ck_run_parts(c->a.threads, heads * c->stretches, last, c);
}

ck_status ck_channel_attention(const ck_attention_desc *desc, const float *qkv, float *y, void *workspace) {
    channels c = {0};
    const ck_status status = check(desc, &c);
    if (status != CK_OK) return status;
    if (!qkv || !y || !workspace || (uintptr_t)workspace % 64) return CK_INVALID_ARGUMENT;
    c.qkv = qkv, c.y = y, c.sums = workspace;
    run(&c, forward_part);
    return CK_OK;
}

ck_status ck_channel_attention_backward(const ck_attention_desc *desc, const float *qkv, const float *dy, float *dqkv,
                                        void *workspace) {
    channels c = {0};
    const ck_status status = check(desc, &c);
    if (status != CK_OK) return status;
    if (!qkv || !dy || !dqkv || !workspace || (uintptr_t)workspace % 64) return CK_INVALID_ARGUMENT;
    c.qkv = qkv, c.dy = dy, c.dqkv = dqkv, c.sums = workspace;
    c.slopes = c.sums + heads_of(&c) * c.stretches * c.matrix;
    c.turned[0] = c.slopes + heads_of(&c) * c.stretches * c.matrix;
    c.turned[1] = c.turned[0] + heads_of(&c) * c.matrix;
    run(&c, backward_part);
    return CK_OK;
}
