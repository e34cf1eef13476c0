/* Attention within windows. A part is one head of one window: its queries, keys and values are copied out of the map,
 * and with n tokens and head size d
 *
 *     S (n, n) = Q (n, d) K^T,   rows through the softmax,   O (n, d) = S V
 *
 * are two products of the panel kernel. Backward S is computed again; then
 *
 *     dV = S^T dO,   dS = dO V^T through the softmax,   dQ = dS K,   dK = dS^T Q
 *
 * where a sum over rows is the outer-product kernel's. Tokens behind the last up to whole vectors are zeros everywhere.
 */
#include "ops/attention.h"

typedef struct windows {
    ck_attention a;
    int32_t rows, columns; /* of a window */
    int32_t across, down;  /* windows of an image */
    int32_t out_height, out_width;
    int32_t tokens, token_blocks;
    size_t dense, matrix, scores, room; /* floats of what a worker has */
    const float *qkv, *dy;
    float *y, *dqkv, *workspace;
} windows;

static ck_status check(const ck_attention_desc *d, windows *w, int backward) {
    const ck_status status = ck_check_attention(d, &w->a);
    if (status != CK_OK) return status;
    if (d->window_height < 1 || d->window_width < 1 || d->height % d->window_height || d->width % d->window_width ||
        d->out_height < 0 || d->out_width < 0 || d->out_height > d->height || d->out_width > d->width)
        return CK_INVALID_ARGUMENT;
    w->rows = d->window_height;
    w->columns = d->window_width;
    w->across = d->width / w->columns;
    w->down = d->height / w->rows;
    w->out_height = d->out_height ? d->out_height : d->height;
    w->out_width = d->out_width ? d->out_width : d->width;
    w->tokens = w->rows * w->columns;
    const size_t v = (size_t)w->a.block, size = w->a.head_blocks * v;
    w->token_blocks = (w->tokens - 1) / w->a.block + 1;
    w->dense = ck_whole_lines(w->tokens * size);
    w->matrix = ck_whole_lines(w->token_blocks * v * size);
    w->scores = ck_whole_lines(w->token_blocks * v * w->tokens);
    w->room = backward ? 5 * w->dense + 2 * w->matrix + 2 * w->scores : 2 * w->dense + 2 * w->matrix + w->scores;
    return CK_OK;
}

static size_t workspace_size(const ck_attention_desc *desc, int backward) {
    windows w;
    return check(desc, &w, backward) == CK_OK ? w.room * w.a.threads * sizeof(float) : 0;
}
size_t ck_window_attention_workspace_size(const ck_attention_desc *desc) { return workspace_size(desc, 0); }
size_t ck_window_attention_backward_workspace_size(const ck_attention_desc *desc) { return workspace_size(desc, 1); }

/* One head of one window. */
typedef struct place {
    int64_t image;
    int32_t head, row, column; /* the first pixel */
} place;

static place place_of(const windows *w, int64_t part) {
    place p = {.head = (int32_t)(part % w->a.heads)};
    const int64_t window = part / w->a.heads;
    p.column = (int32_t)(window % w->across) * w->columns;
    p.row = (int32_t)(window / w->across % w->down) * w->rows;
    p.image = window / w->across / w->down;
    return p;
}

static int32_t within(int32_t left, int32_t size) { return left < 0 ? 0 : left < size ? left : size; }

/* The window in the map of queries (0), keys (1) or values (2). */
static ck_window in_qkv(const windows *w, place p, const float *map, int32_t which, float *tokens) {
    const ck_attention *a = &w->a;
    const int64_t block = (3 * p.image + which) * a->blocks + (int64_t)p.head * a->head_blocks;
    return (ck_window){.map = (float *)map + block * a->plane + ((ptrdiff_t)p.row * a->width + p.column) * a->block,
                       .tokens = tokens,
                       .map_block = a->plane,
                       .map_row = (ptrdiff_t)a->width * a->block,
                       .blocks = a->head_blocks,
                       .rows = w->rows,
                       .columns = w->columns,
                       .inside_rows = w->rows,
                       .inside_columns = w->columns};
}

/* In y or dy, which may be smaller. */
static ck_window in_result(const windows *w, place p, const float *map, float *tokens) {
    const ck_attention *a = &w->a;
    const ptrdiff_t row = (ptrdiff_t)w->out_width * a->block, plane = w->out_height * row;
    const int64_t block = p.image * a->blocks + (int64_t)p.head * a->head_blocks;
    return (ck_window){.map = (float *)map + block * plane + p.row * row + (ptrdiff_t)p.column * a->block,
                       .tokens = tokens,
                       .map_block = plane,
                       .map_row = row,
                       .blocks = a->head_blocks,
                       .rows = w->rows,
                       .columns = w->columns,
                       .inside_rows = within(w->out_height - p.row, w->rows),
                       .inside_columns = within(w->out_width - p.column, w->columns)};
}

/* scores (token block, n, V) = softmax of scale Q K^T; columns is room for the keys. */
static void attend(const windows *w, float *q, float *k, float *columns, float *scores) {
    const ck_attention *a = &w->a;
    const ptrdiff_t step = (ptrdiff_t)w->tokens * a->block;
    const ck_tokens keys = {k, columns, a->head_blocks, w->tokens};
    a->kernels->tokens_to_columns(&keys);
    ck_multiply_panels(a->kernels, q, step, a->head_blocks, w->tokens, columns, w->token_blocks, scores, step);
    const ck_softmax_run softmax = {.x = scores, .rows = w->tokens, .columns = w->tokens, .scale = a->scale};
    a->kernels->softmax_rows(&softmax);
}

static void forward_part(void *context, int64_t part, int32_t worker) {
    const windows *w = context;
    const ck_attention *a = &w->a;
    const place p = place_of(w, part);
    const ptrdiff_t step = (ptrdiff_t)w->tokens * a->block;
    const ck_window target = in_result(w, p, w->y, NULL);
    if (!target.inside_rows || !target.inside_columns) return;
    float *q = w->workspace + worker * (ptrdiff_t)w->room, *other = q + w->dense;
    float *columns = other + w->dense, *panels = columns + w->matrix, *scores = panels + w->matrix;
    ck_window window = in_qkv(w, p, w->qkv, 0, q);
    a->kernels->window_load(&window);
    window = in_qkv(w, p, w->qkv, 1, other);
    a->kernels->window_load(&window);
    attend(w, q, other, columns, scores);
    window = in_qkv(w, p, w->qkv, 2, other);
    a->kernels->window_load(&window);
    const ck_tokens values = {other, panels, a->head_blocks, w->tokens};
    a->kernels->tokens_to_panels(&values);
    ck_multiply_panels(a->kernels, scores, step, w->token_blocks, w->tokens, panels, a->head_blocks, q, step);
    window = target;
    window.tokens = q;
    a->kernels->window_store(&window);
}

ck_status ck_window_attention(const ck_attention_desc *desc, const float *qkv, float *y, void *workspace) {
    windows w;
    const ck_status status = check(desc, &w, 0);
    if (status != CK_OK) return status;
    if (!qkv || !y || !workspace || (uintptr_t)workspace % 64) return CK_INVALID_ARGUMENT;
    w.qkv = qkv, w.y = y, w.workspace = workspace;
    ck_run_parts(w.a.threads, (int64_t)w.a.batch * w.across * w.down * w.a.heads, forward_part, &w);
    return CK_OK;
}

static void load(const windows *w, place p, int32_t which, float *tokens) {
    const ck_window window = in_qkv(w, p, w->qkv, which, tokens);
    w->a.kernels->window_load(&window);
}

static void store(const windows *w, place p, int32_t which, float *tokens) {
    const ck_window window = in_qkv(w, p, w->dqkv, which, tokens);
    w->a.kernels->window_store(&window);
}

/* Stores the gradient of keys or values: rows of `left` (token block, n, V) transposed times `right` (block, n, V). */
static void store_outer(const windows *w, place p, int32_t which, const float *left, const float *right, float *panels,
                        float *result) {
    const ck_attention *a = &w->a;
    const ptrdiff_t step = (ptrdiff_t)w->tokens * a->block;
    ck_outer_panels(a->kernels, left, step, w->token_blocks, w->tokens, right, step, a->head_blocks, panels);
    const ck_tokens tokens = {result, panels, a->head_blocks, w->tokens};
    a->kernels->panels_to_tokens(&tokens);
    store(w, p, which, result);
}

static void backward_part(void *context, int64_t part, int32_t worker) {
    const windows *w = context;
    const ck_attention *a = &w->a;
    const place p = place_of(w, part);
    const ptrdiff_t step = (ptrdiff_t)w->tokens * a->block;
    float *q = w->workspace + worker * (ptrdiff_t)w->room;
    float *k = q + w->dense, *v = k + w->dense, *dy = v + w->dense, *result = dy + w->dense;
    float *columns = result + w->dense, *panels = columns + w->matrix;
    float *scores = panels + w->matrix, *slopes = scores + w->scores;
    load(w, p, 0, q);
    load(w, p, 1, k);
    load(w, p, 2, v);
    const ck_window given = in_result(w, p, w->dy, dy);
    a->kernels->window_load(&given);
    attend(w, q, k, columns, scores);
    store_outer(w, p, 2, scores, dy, panels, result);
    const ck_tokens values = {v, columns, a->head_blocks, w->tokens};
    a->kernels->tokens_to_columns(&values);
    ck_multiply_panels(a->kernels, dy, step, a->head_blocks, w->tokens, columns, w->token_blocks, slopes, step);
    const ck_softmax_run softmax = {
        .x = slopes, .y = scores, .rows = w->tokens, .columns = w->tokens, .scale = a->scale};
    a->kernels->softmax_rows_backward(&softmax);
    store_outer(w, p, 1, slopes, q, panels, result);
    const ck_tokens keys = {k, panels, a->head_blocks, w->tokens};
    a->kernels->tokens_to_panels(&keys);
    ck_multiply_panels(a->kernels, slopes, step, w->token_blocks, w->tokens, panels, a->head_blocks, result, step);
    store(w, p, 0, result);
}

ck_status ck_window_attention_backward(const ck_attention_desc *desc, const float *qkv, const float *dy, float *dqkv,
                                       void *workspace) {
    windows w;
    const ck_status status = check(desc, &w, 1);
    if (status != CK_OK) return status;
    if (!qkv || !dy || !dqkv || !workspace || (uintptr_t)workspace % 64) return CK_INVALID_ARGUMENT;
    w.qkv = qkv, w.dy = dy, w.dqkv = dqkv, w.workspace = workspace;
    ck_run_parts(w.a.threads, (int64_t)w.a.batch * w.across * w.down * w.a.heads, backward_part, &w);
    return CK_OK;
}
