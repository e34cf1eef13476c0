/* Direct convolution of bytes: any kernel, stride, padding and dilation.
 *
 * A thread takes some output rows. It copies the input rows they need, padding included, all channels of a pixel side
 * by side: [row][padded column][channel] and runs its panels over all pixels of those rows at once. A kernel row then
 * is one run of adjacent numbers. Of a 1x1 convolution only the pixels that it reads are copied.
 *
 * Two forms of the same: the copy and the weights are 16-bit numbers, which is right for any weights, or bytes, for
 * weights whose products two by two fit 16 bits. A word of 32 bits holds two channels of the one, four of the other. */
#include <string.h>

#include "int8/plan.h"

enum { BUFFER_BYTES = 160 << 10 };

static int applicable(const ck_int8_plan *plan) { return plan != NULL; }

/* 255 * 128 is the largest sum of two products that fits 16 bits. */
static int pairs_fit(const ck_int8_plan *plan) {
    return plan->has_dot || (plan->weight_pair && plan->weight_pair <= 128);
}

static int multiplies_bytes(const ck_int8_plan *plan) { return plan->algorithm->word == 4; }
/* Words of a pixel of the copy. */
static ptrdiff_t pixel_words(const ck_int8_plan *plan) { return plan->channels / plan->algorithm->word; }

/* 1x1 without padding: the copy leaves out what a stride skips. */
static int is_pointwise(const ck_conv_desc *d) {
    return d->kernel_height == 1 && d->kernel_width == 1 && d->pad_height == 0 && d->pad_width == 0;
}

/* How the copied rows lie, and how many there are for so many output rows. */
typedef struct copied {
    int32_t rows, width;           /* pixels */
    int32_t row_step, column_step; /* from one output row and pixel to the next, in copied ones */
} copied;

static copied copied_rows(const ck_int8_plan *plan, int32_t out_rows) {
    const ck_conv_plan *shape = plan->shape;
    const ck_conv_desc *d = &shape->d;
    if (is_pointwise(d)) return (copied){out_rows, shape->out_width, 1, 1};
    return (copied){(out_rows - 1) * d->stride_height + d->dilation_height * (d->kernel_height - 1) + 1,
                    (shape->out_width - 1) * d->stride_width + d->dilation_width * (d->kernel_width - 1) + 1,
                    d->stride_height, d->stride_width};
}

static size_t copied_bytes(const ck_int8_plan *plan, int32_t out_rows) {
    const copied c = copied_rows(plan, out_rows);
    return (size_t)c.rows * (size_t)c.width * (size_t)pixel_words(plan) * 4;
}

/* Output rows of a part: as many as keep the copy within a third of a common L2, in equal parts. */
static int32_t rows_a_part(const ck_int8_plan *plan) {
    const int32_t height = plan->shape->out_height;
    int32_t rows = 1;
    while (rows < height && copied_bytes(plan, rows + 1) <= BUFFER_BYTES) rows++;
    const int32_t parts = (height + rows - 1) / rows;
    return (height + parts - 1) / parts;
}

/* Of a thread: a line that says which item the copy is of, and the copy. */
enum { A_LINE = 64 };
static size_t own_bytes(const ck_int8_plan *plan) {
    return A_LINE + ck_round_up(copied_bytes(plan, rows_a_part(plan)), A_LINE);
}

static size_t workspace_size(const ck_int8_plan *plan) { return own_bytes(plan) * (size_t)plan->shape->threads; }

/* ---- weights: words (kernel row, kernel column, run of input channels, block, V) */

static size_t packed_size(const ck_int8_plan *plan) {
    const ck_conv_plan *shape = plan->shape;
    return (size_t)shape->out_blocks * shape->block * shape->d.kernel_height * shape->d.kernel_width *
           (size_t)pixel_words(plan) * 4;
}

static void pack_panel(const ck_int8_plan *plan, const int8_t *oihw, int32_t first, int32_t blocks, void *packed) {
    const int32_t taps = plan->shape->d.kernel_height * plan->shape->d.kernel_width, v = plan->shape->block;
    const int32_t word = plan->algorithm->word;
    int16_t *shorts = packed;
    int8_t *bytes = packed;
    for (int32_t tap = 0; tap < taps; tap++)
        for (int32_t c = 0; c < plan->channels; c += word)
            for (int32_t k = first * v; k < (first + blocks) * v; k++)
                for (int32_t i = 0; i < word; i++) {
                    const int32_t weight = ck_int8_weight(plan, oihw, k, c + i, tap);
                    if (multiplies_bytes(plan))
                        *bytes++ = (int8_t)weight;
                    else
                        *shorts++ = (int16_t)weight;
                }
}

/* ---- running */

typedef struct job {
    const ck_int8_plan *plan;
    const ck_int8_args *args;
    int32_t rows, chunks; /* output rows of a part, parts of an image */
    int64_t items;
    int32_t shares;
} job;

/* The item whose rows a thread has copied; -1: none. */
static int64_t *held_item(const job *j, int32_t worker) {
    return (int64_t *)(void *)((char *)j->args->workspace + (size_t)worker * own_bytes(j->plan));
}

/* The input rows of output rows from `first` on. */
static void copy_rows(const ck_int8_plan *plan, const uint8_t *image, int32_t first, copied c, char *to) {
    const ck_conv_plan *shape = plan->shape;
    void (*const place)(const ck_widen_row *) =
        multiplies_bytes(plan) ? shape->kernels->place_row : shape->kernels->widen_row;
    const ck_conv_desc *d = &shape->d;
    const int32_t v = shape->block, pointwise = is_pointwise(d), step = pointwise ? d->stride_width : 1;
    const int32_t left = d->pad_width < c.width ? d->pad_width : c.width;
    int32_t right = pointwise ? c.width : d->in_width + left;
    if (right > c.width) right = c.width;
    const ptrdiff_t pixel = pixel_words(plan) * 4, block = pixel / shape->in_blocks;
    for (int32_t r = 0; r < c.rows; r++, to += c.width * pixel) {
        const int32_t y = pointwise ? (first + r) * d->stride_height : first * d->stride_height + r - d->pad_height;
        if (y < 0 || y >= d->in_height) {
            memset(to, 0, (size_t)(c.width * pixel));
            continue;
        }
        memset(to, 0, (size_t)(left * pixel));
        memset(to + right * pixel, 0, (size_t)((c.width - right) * pixel));
        for (int32_t b = 0; b < shape->in_blocks; b++) {
            const ck_widen_row row = {.src = image + ((ptrdiff_t)b * d->in_height + y) * d->in_width * v,
                                      .pixels = right - left,
                                      .step = step,
                                      .dst = to + left * pixel + b * block,
                                      .dst_pixel = plan->channels};
            if (row.pixels > 0) place(&row);
        }
    }
}

/* Some output rows of an image through one share of the panels. The shares of an item come one after the other: a
 * thread that has the next one has the rows already. */
static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_int8_plan *plan = j->plan;
    const ck_conv_plan *shape = plan->shape;
    const ck_conv_desc *d = &shape->d;
    const int64_t item = part / j->shares, image = item / j->chunks;
    const int32_t v = shape->block, first = (int32_t)(item % j->chunks) * j->rows;
    const int32_t rows = shape->out_height - first < j->rows ? shape->out_height - first : j->rows;
    const copied c = copied_rows(plan, rows);
    int64_t *held = held_item(j, worker);
    char *buffer = (char *)held + A_LINE;
    const ptrdiff_t plane = (ptrdiff_t)shape->out_height * shape->out_width * v, words = pixel_words(plan);
    if (*held != item)
        copy_rows(plan, j->args->src + image * shape->in_blocks * d->in_height * d->in_width * v, first, c, buffer);
    *held = item;

    const int whole = d->dilation_width == 1; /* the columns of a kernel row are adjacent */
    ck_word_panel p = {.src = buffer,
                       .outer = {d->kernel_height, whole ? 1 : d->kernel_width},
                       .outer_stride = {d->dilation_height * c.width * words, d->dilation_width * words},
                       .run = (int32_t)words * (whole ? d->kernel_width : 1),
                       .pixels = rows * shape->out_width,
                       .columns = shape->out_width,
                       .pixel_stride = c.column_step * words,
                       .row_stride = c.row_step * c.width * words,
                       .dst_block = plane};
    int64_t panel, panel_end;
    ck_split(ck_panel_count(shape->out_blocks, shape->panel_blocks), part % j->shares, j->shares, &panel, &panel_end);
    const ptrdiff_t block_weights = (ptrdiff_t)d->kernel_height * d->kernel_width * words * 4 * v;
    void (*const multiply)(const ck_word_panel *) = !multiplies_bytes(plan) ? shape->kernels->short_panel
                                                    : plan->has_dot         ? shape->kernels->dot_panel
                                                                            : shape->kernels->byte_panel;
    for (; panel < panel_end; panel++) {
        int32_t k;
        ck_panel_at(shape->out_blocks, shape->panel_blocks, (int32_t)panel, &k, &p.blocks);
        p.weights = (const char *)j->args->packed + k * block_weights;
        p.to = ck_int8_result(plan, j->args, k,
                              (image * shape->out_blocks + k) * plane + (ptrdiff_t)first * shape->out_width * v);
        multiply(&p);
    }
}

static void run(const ck_int8_plan *plan, const ck_int8_args *args, int32_t batch) {
    job j = {.plan = plan, .args = args, .rows = rows_a_part(plan)};
    j.chunks = (plan->shape->out_height + j.rows - 1) / j.rows;
    j.items = (int64_t)batch * j.chunks;
    j.shares = ck_int8_shares(plan, j.items);
    for (int32_t worker = 0; worker < plan->shape->threads; worker++) *held_item(&j, worker) = -1;
    ck_run_parts(plan->shape->threads, j.items * j.shares, run_part, &j);
}

#define CK_INT8_DIRECT(NAME, WORD, APPLICABLE)                                                                         \
    {                                                                                                                  \
        .id = CK_DIRECT, .word = WORD, .name = NAME, .applicable = APPLICABLE, .packed_size = packed_size,             \
        .workspace_size = workspace_size, .pack_panel = pack_panel, .run = run                                         \
    }
const ck_int8_algorithm ck_int8_direct = CK_INT8_DIRECT("direct", 2, applicable);
const ck_int8_algorithm ck_int8_direct_bytes = CK_INT8_DIRECT("direct bytes", 4, pairs_fit);
#undef CK_INT8_DIRECT
