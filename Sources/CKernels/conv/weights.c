/* Weight gradients: how their sums are laid out and shared, and how they become dw. */
#include "conv/weights.h"

#include <string.h>

static int32_t taps(const ck_conv_plan *plan) { return plan->d.kernel_height * plan->d.kernel_width; }

size_t ck_weight_sums(const ck_conv_plan *plan) {
    return (size_t)plan->out_blocks * plan->block * ck_weight_blocks(plan) * plan->block * taps(plan);
}

ptrdiff_t ck_weight_cell(const ck_conv_plan *plan, int32_t group, int32_t panel, int32_t block, int32_t *first,
                         int32_t *count) {
    const int32_t v = plan->block, out_blocks = plan->out_blocks / plan->groups;
    const ptrdiff_t column = (ptrdiff_t)v * taps(plan) * v; /* of one output block, for one input block */
    ck_panel_at(out_blocks, CK_WEIGHT_PANEL, panel, first, count);
    return ((ptrdiff_t)(group * out_blocks + *first) * ck_weight_blocks(plan) + (ptrdiff_t)block * *count) * column;
}

/* A thread that has a share of the panels reads all of x, one with a share of the blocks all of dy, at some 16 bytes a
 * cycle; a copy of the sums is written, read and added. */
ck_weight_split ck_split_weights(const ck_conv_plan *plan, int32_t images) {
    const ck_conv_desc *d = &plan->d;
    const double x = (double)d->batch * plan->in_blocks * plan->block * d->in_height * d->in_width;
    const double dy = (double)d->batch * plan->out_blocks * plan->block * plan->out_height * plan->out_width;
    const int32_t panels = plan->groups * ck_weight_panels(plan), blocks = ck_weight_blocks(plan);
    ck_weight_split best = {1, 1, 1};
    double least = 1e300;
    for (int32_t k = 1; k <= plan->threads && k <= panels; k++)
        for (int32_t c = 1; c * k <= plan->threads && c <= blocks; c++) {
            int32_t n = plan->threads / k / c;
            if (n > images) n = images;
            const double share = (double)((panels + k - 1) / k) / panels * ((blocks + c - 1) / c) / blocks *
                                 ((images + n - 1) / n) / images;
            const double work = share * dy * blocks * plan->block * taps(plan) / (2.0 * plan->block);
            const double traffic = (x * k + dy * c + (n > 1 ? 3.0 * n * ck_weight_sums(plan) : 0)) / (n * k * c) / 4;
            if (work + traffic >= least) continue;
            least = work + traffic;
            best = (ck_weight_split){n, k, c};
        }
    return best;
}

/* From the sums to dw (K, C/groups, KH, KW). */
typedef struct storing {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    const float *sums; /* (copy, cell, tap, V input channels, panel width * V), copies `stride` floats apart */
    int32_t copies;
    size_t stride;
} storing;

/* The sums of one panel (its first output block in the group, and how many) and input block: `sums` is their first
 * copy. */
typedef struct cell {
    int32_t group, first, count, block;
    const float *sums;
} cell;

enum { ROW_MOST = 144 }; /* 16 channels of a 3x3 kernel */

/* Some channels and taps of a cell, which are adjacent in dw. */
typedef struct piece {
    const float *sums;       /* (taps, V input channels, width) */
    int32_t width, columns;  /* of the panel: all, and those that are no surplus */
    int32_t channels, count; /* count: of taps */
} piece;

/* `columns` filters, turned round in a buffer, because a filter's values lie a panel apart in the sums, and a filter
 * apart in dw. */
static void store_piece(const storing *s, piece p, float *dw) {
    const ptrdiff_t filter = (ptrdiff_t)s->plan->d.in_channels * taps(s->plan);
    float buffer[CK_WEIGHT_PANEL * 16][ROW_MOST];
    for (int32_t i = 0; i < p.channels; i++)
        for (int32_t t = 0; t < p.count; t++) {
            const float *from = p.sums + ((ptrdiff_t)t * s->plan->block + i) * p.width;
            for (int32_t k = 0; k < p.columns; k++) buffer[k][i * p.count + t] = from[k];
            for (int32_t copy = 1; copy < s->copies; copy++)
                for (int32_t k = 0; k < p.columns; k++) buffer[k][i * p.count + t] += from[k + copy * s->stride];
        }
    for (int32_t k = 0; k < p.columns; k++, dw += filter) {
        if (s->args->accumulate)
            for (int32_t i = 0; i < p.channels * p.count; i++) dw[i] += buffer[k][i];
        else
            memcpy(dw, buffer[k], (size_t)p.channels * p.count * sizeof(float));
    }
}

/* A cell without groups. */
static void store_cell(const storing *s, const cell *c) {
    const ck_conv_desc *d = &s->plan->d;
    const int32_t v = s->plan->block, all = taps(s->plan), k0 = c->first * v, c0 = c->block * v;
    const int32_t most = ROW_MOST / all > 1 ? ROW_MOST / all : 1, channels = d->in_channels - c0;
    piece p = {.width = c->count * v, .columns = d->out_channels - k0};
    if (p.columns > p.width) p.columns = p.width;
    for (int32_t i = 0; i < v && i < channels; i += most)
        for (int32_t tap = 0; tap < all; tap += ROW_MOST) {
            const int32_t left = (channels < v ? channels : v) - i;
            p.sums = c->sums + ((ptrdiff_t)tap * v + i) * p.width;
            p.channels = left < most ? left : most;
            p.count = all - tap < ROW_MOST ? all - tap : ROW_MOST;
            store_piece(s, p, s->args->dst + ((ptrdiff_t)k0 * d->in_channels + c0 + i) * all + tap);
        }
}

/* A cell of a merged group: only pairs of channels that belong to the same real group count. */
static void store_grouped_cell(const storing *s, const cell *at) {
    const ck_conv_plan *plan = s->plan;
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, width = at->count * v, merge = d->groups / plan->groups;
    const int32_t own_k = d->out_channels / d->groups, own_c = d->in_channels / d->groups;
    for (int32_t column = 0; column < width; column++) {
        const int32_t k = at->first * v + column; /* in the merged group */
        if (k >= own_k * merge) break;
        for (int32_t i = 0; i < v; i++) {
            const int32_t c = at->block * v + i;
            if (c >= own_c * merge) break;
            if (k / own_k != c / own_c) continue;
            float *to = s->args->dst + ((ptrdiff_t)(at->group * merge * own_k + k) * own_c + c % own_c) * taps(plan);
            for (int32_t tap = 0; tap < taps(plan); tap++) {
                const float *from = at->sums + ((ptrdiff_t)tap * v + i) * width + column;
                float sum = *from;
                for (int32_t copy = 1; copy < s->copies; copy++) sum += from[copy * s->stride];
                to[tap] = s->args->accumulate ? to[tap] + sum : sum;
            }
        }
    }
}

/* Cells are counted (group, panel, input block). */
static void store_cells(void *context, int64_t index, int64_t end) {
    const storing *s = context;
    const ck_conv_plan *plan = s->plan;
    const int32_t panels = ck_weight_panels(plan), blocks = ck_weight_blocks(plan);
    for (; index < end; index++) {
        const int32_t panel = (int32_t)(index / blocks % panels);
        cell c = {.group = (int32_t)(index / blocks / panels), .block = (int32_t)(index % blocks)};
        c.sums = s->sums + ck_weight_cell(plan, c.group, panel, c.block, &c.first, &c.count);
        if (plan->d.groups == 1)
            store_cell(s, &c);
        else
            store_grouped_cell(s, &c);
    }
}

void ck_store_weights(const ck_conv_plan *plan, const ck_conv_args *args, const float *sums, int32_t copies,
                      size_t stride) {
    storing s = {plan, args, sums, copies, stride};
    const int64_t cells = (int64_t)plan->groups * ck_weight_panels(plan) * ck_weight_blocks(plan);
    const int64_t floats = (int64_t)CK_WEIGHT_PANEL * plan->block * plan->block * taps(plan);
    ck_run_ranges(plan->threads, cells, floats * (copies + 1), store_cells, &s);
}
