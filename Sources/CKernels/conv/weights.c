/* Weight gradients: how their sums are laid out and shared, and how they become dw. */
#include "conv/weights.h"

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

/* One panel and input block: column `channel` of the panel is a filter (V input channels, taps). */
static void store_cell(const ck_conv_plan *plan, int32_t group, int32_t first, int32_t count, int32_t block,
                       const float *sums, int32_t copies, size_t stride, float *dw) {
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
                to[tap] = sum;
            }
        }
    }
}

void ck_store_weights(const ck_conv_plan *plan, const float *sums, int32_t copies, size_t stride, float *dw) {
    const int32_t panels = ck_weight_panels(plan), blocks = ck_weight_blocks(plan);
    int64_t cell, end;
    ck_split((int64_t)plan->groups * panels * blocks, ck_thread(), ck_team(), &cell, &end);
    for (; cell < end; cell++) {
        const int32_t block = (int32_t)(cell % blocks), panel = (int32_t)(cell / blocks % panels);
        const int32_t group = (int32_t)(cell / blocks / panels);
        int32_t first, count;
        const ptrdiff_t at = ck_weight_cell(plan, group, panel, block, &first, &count);
        store_cell(plan, group, first, count, block, sums + at, copies, stride, dw);
    }
}
