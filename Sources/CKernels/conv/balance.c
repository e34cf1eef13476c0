/* How evenly a convolution divides among threads, without having them: the algorithm's own driver runs, on the calling
 * thread, with kernels that compute nothing and count cycles instead, and its parts go to whichever imagined thread is
 * free first, as a team would take them. */
#include <stdlib.h>

#include "conv/plan.h"
#include "core/rehearsal.h"

/* ---- kernels that count. Multiply-adds as they fill the register tiles; a transform some instructions a value. */

static void count(double cycles) { ck_rehearsing()->cycles += cycles; }

static double tile_cycles(int32_t pixels, int32_t width) {
    return ck_panel_cycles(ck_rehearsing()->kernels, pixels, width);
}
static double block(void) { return ck_rehearsing()->kernels->block; }

static void count_panel(const ck_panel *a) {
    const double steps = (double)a->outer[0] * a->outer[1] * a->outer[2] * a->run;
    count(steps * tile_cycles(a->pixels, a->blocks) + 4.0 * a->pixels * a->blocks);
}
static void count_product(const ck_product *a) {
    const double steps = (double)a->points * a->segments * a->blocks * block();
    count(steps * tile_cycles(a->tiles, a->width) + 2.0 * a->points * a->tiles * a->width);
}
static void count_narrow_row(const ck_narrow_row *a) {
    count(0.6 * a->rows * a->columns * a->width * a->pixels + 2.0 * a->pixels);
}
static void count_fused(const ck_winograd_fused *a) {
    count(a->blocks * block() * (18 + 6 * tile_cycles(a->tiles, 1)));
}

static void count_values(double tiles, double side) { count(3 * tiles * side * side); }

static void count_input2(const ck_winograd_input *a) { count_values(a->tiles, 4); }
static void count_input4(const ck_winograd_input *a) { count_values(a->tiles, 6); }
static void count_output2(const ck_winograd_output *a) { count_values(a->tiles, 4); }
static void count_output4(const ck_winograd_output *a) { count_values(a->tiles, 6); }
static void count_filter2(const ck_winograd_filter *a) { count(1.2 * 8 * a->channels * a->n / block()); }
static void count_filter4(const ck_winograd_filter *a) { count(1.2 * 12 * a->channels * a->n / block()); }
static void count_tile_input(const ck_tile_input *a) { count_values(a->tiles, 6); }
static void count_tile_output(const ck_tile_output *a) { count_values(a->tiles, 6); }
static void count_tile_filter(const ck_tile_filter *a) { count(1.2 * 12 * (double)a->count); }
static void count_stem_input(const ck_stem_input *a) { count_values(a->tiles / block(), 13); }
static void count_stem_output(const ck_stem_output *a) { count(8.0 * a->width); }
static void count_pool_row(const ck_pool_row *a) { count(2.0 * a->count * a->width); }
static void count_byte_row(const ck_byte_row *a) { count(a->count / block()); }

/* Of the kernels of a plan, those that convolutions call. */
static ck_kernels counting(const ck_kernels *real) {
    ck_kernels k = *real;
    k.panel = count_panel;
    k.product = count_product;
    k.narrow_row = count_narrow_row;
    k.winograd4_fused = count_fused;
    k.winograd2_input = count_input2;
    k.winograd4_input = count_input4;
    k.winograd2_output = count_output2;
    k.winograd4_output = count_output4;
    k.winograd2_filter = count_filter2;
    k.winograd4_filter = count_filter4;
    k.tile_input = count_tile_input;
    k.tile_output = count_tile_output;
    k.tile_filter = count_tile_filter;
    k.stem_input = count_stem_input;
    k.stem_output = count_stem_output;
    k.pool_row = count_pool_row;
    k.byte_row = count_byte_row;
    return k;
}

/* ---- */

/* Bytes of a tensor in the layout of a plan, a vector more than channels need. */
static size_t bytes_of(const ck_conv_plan *plan, int32_t blocks, int32_t height, int32_t width) {
    return 4 * (size_t)plan->d.batch * (size_t)(blocks + 1) * (size_t)plan->block * (size_t)height * (size_t)width;
}

/* Memory that is read but never holds a value: calloc leaves it untouched. One piece, cut at cache lines. */
typedef struct pieces {
    char *at;
} pieces;

static void *cut(pieces *p, size_t bytes) {
    char *piece = p->at;
    p->at += ck_round_up(bytes, 64);
    return piece;
}

ck_status ck_conv_balance(const ck_conv_plan *plan, int32_t batch, ck_balance *balance) {
    if (!plan || !balance || batch < 1 || batch > plan->d.batch) return CK_INVALID_ARGUMENT;
    if (plan->d.pass == CK_WEIGHT_GRADIENT) return CK_UNSUPPORTED;
    const size_t x = bytes_of(plan, plan->in_blocks, plan->d.in_height, plan->d.in_width),
                 y = bytes_of(plan, plan->out_blocks, plan->out_height, plan->out_width),
                 channels = 4 * (size_t)(plan->out_blocks + plan->in_blocks) * (size_t)plan->block,
                 packed = ck_conv_packed_size(plan), workspace = ck_conv_workspace_size(plan);
    char *memory = calloc(1, x + 2 * y + 3 * channels + packed + workspace + 8 * 64);
    if (!memory) return CK_OUT_OF_MEMORY;
    pieces p = {memory + (64 - (uintptr_t)memory % 64)};
    ck_conv_args args = {.src = cut(&p, x), .packed = cut(&p, packed), .bias = cut(&p, channels), .dst = cut(&p, y)};
    args.residual = plan->d.epilogue & CK_RESIDUAL ? cut(&p, y) : NULL;
    args.src_scale = cut(&p, channels);
    args.src_shift = cut(&p, channels);
    args.workspace = cut(&p, workspace);
    ck_rehearsal rehearsal = {.kernels = plan->kernels};
    const ck_kernels kernels = counting(plan->kernels);
    ck_conv_plan imagined = *plan;
    imagined.kernels = &kernels;
    ck_rehearsal *before = ck_rehearse(&rehearsal);
    const ck_status status = imagined.algorithm->run(&imagined, &args, batch);
    ck_rehearse(before);
    free(memory);
    if (!status && rehearsal.balance.work <= 0) return CK_UNSUPPORTED; /* another library's matrix product */
    *balance = rehearsal.balance;
    return status;
}
