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

enum { ROW_MOST = 144 }; /* 16 channels of a 3x3 kernel */

/* Channels c...c+channels, taps tap...tap+count of one cell, to dw: `columns` filters, turned round in a buffer,
 * because a filter's values lie a panel apart in the sums, and a filter apart in dw. */
static void store_piece(const ck_conv_plan *plan, const float *sums, int32_t width, int32_t columns, int32_t channels,
                        int32_t count, int32_t copies, size_t stride, ptrdiff_t filter, int32_t accumulate, float *dw) {
    float buffer[CK_WEIGHT_PANEL * 16][ROW_MOST];
    for (int32_t i = 0; i < channels; i++)
        for (int32_t t = 0; t < count; t++) {
            const float *from = sums + ((ptrdiff_t)t * plan->block + i) * width;
            for (int32_t k = 0; k < columns; k++) buffer[k][i * count + t] = from[k];
            for (int32_t copy = 1; copy < copies; copy++)
                for (int32_t k = 0; k < columns; k++) buffer[k][i * count + t] += from[k + copy * stride];
        }
    for (int32_t k = 0; k < columns; k++, dw += filter) {
        if (accumulate)
            for (int32_t i = 0; i < channels * count; i++) dw[i] += buffer[k][i];
        else
            memcpy(dw, buffer[k], (size_t)channels * count * sizeof(float));
    }
}

/* One panel and input block without groups. */
static void store_cell(const ck_conv_plan *plan, int32_t first, int32_t count, int32_t block, const float *sums,
                       int32_t copies, size_t stride, int32_t accumulate, float *dw) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, width = count * v, k0 = first * v, c0 = block * v;
    const int32_t columns = d->out_channels - k0 < width ? d->out_channels - k0 : width;
    const int32_t channels = d->in_channels - c0 < v ? d->in_channels - c0 : v;
    const int32_t most = ROW_MOST / taps(plan) > 1 ? ROW_MOST / taps(plan) : 1;
    const ptrdiff_t filter = (ptrdiff_t)d->in_channels * taps(plan);
    for (int32_t c = 0; c < channels; c += most)
        for (int32_t tap = 0; tap < taps(plan); tap += ROW_MOST)
            store_piece(plan, sums + ((ptrdiff_t)tap * v + c) * width, width, columns,
                        channels - c < most ? channels - c : most,
                        taps(plan) - tap < ROW_MOST ? taps(plan) - tap : ROW_MOST, copies, stride, filter, accumulate,
                        dw + k0 * filter + (ptrdiff_t)(c0 + c) * taps(plan) + tap);
}

/* One panel and input block of a merged group: only pairs of channels that belong to the same real group count. */
static void store_grouped_cell(const ck_conv_plan *plan, int32_t group, int32_t first, int32_t count, int32_t block,
                               const float *sums, int32_t copies, size_t stride, int32_t accumulate, float *dw) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, width = count * v, merge = d->groups / plan->groups;
    const int32_t own_k = d->out_channels / d->groups, own_c = d->in_channels / d->groups;
    for (int32_t column = 0; column < width; column++) {
        const int32_t k = first * v + column; /* in the merged group */
        if (k >= own_k * merge) break;
        for (int32_t i = 0; i < v; i++) {
            const int32_t c = block * v + i;
            if (c >= own_c * merge) break;
            if (k / own_k != c / own_c) continue;
            float *to = dw + ((ptrdiff_t)(group * merge * own_k + k) * own_c + c % own_c) * taps(plan);
            for (int32_t tap = 0; tap < taps(plan); tap++) {
                const float *from = sums + ((ptrdiff_t)tap * v + i) * width + column;
                float sum = *from;
                for (int32_t copy = 1; copy < copies; copy++) sum += from[copy * stride];
                to[tap] = accumulate ? to[tap] + sum : sum;
            }
        }
    }
}

typedef struct storing {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    const float *sums;
    int32_t copies;
    size_t stride;
} storing;

/* Cells are counted (group, panel, input block). */
static void store_cells(void *context, int64_t cell, int64_t end) {
    const storing *s = context;
    const ck_conv_plan *plan = s->plan;
    const int32_t panels = ck_weight_panels(plan), blocks = ck_weight_blocks(plan), add = s->args->accumulate;
    for (; cell < end; cell++) {
        const int32_t block = (int32_t)(cell % blocks), panel = (int32_t)(cell / blocks % panels);
        const int32_t group = (int32_t)(cell / blocks / panels);
        int32_t first, count;
        const float *at = s->sums + ck_weight_cell(plan, group, panel, block, &first, &count);
        if (plan->d.groups == 1)
            store_cell(plan, first, count, block, at, s->copies, s->stride, add, s->args->dst);
        else
            store_grouped_cell(plan, group, first, count, block, at, s->copies, s->stride, add, s->args->dst);
    }
}

void ck_store_weights(const ck_conv_plan *plan, const ck_conv_args *args, const float *sums, int32_t copies,
                      size_t stride) {
    storing s = {plan, args, sums, copies, stride};
    const int64_t cells = (int64_t)plan->groups * ck_weight_panels(plan) * ck_weight_blocks(plan);
    const int64_t floats = (int64_t)CK_WEIGHT_PANEL * plan->block * plan->block * taps(plan);
    ck_run_ranges(plan->threads, cells, floats * (copies + 1), store_cells, &s);
}
