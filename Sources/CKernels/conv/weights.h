/* What the weight gradients share: the layout of their sums, how a team shares them, and the way from there to dw.
 *
 * Sums are kept as (group, output panel, input block, tap, V input channels, panel width * V output channels), in as
 * many copies as there are parts of the batch. */
#ifndef CK_WEIGHTS_H
#define CK_WEIGHTS_H

#include "conv/plan.h"

/* How a team shares a weight gradient: the product of the three is at most the number of threads. */
typedef struct ck_weight_split {
    int32_t images; /* parts, each with a dw of its own, which are added in order at the end */
    int32_t panels; /* of output channels */
    int32_t blocks; /* of input channels */
} ck_weight_split;

enum { CK_WEIGHT_PANEL = 2 }; /* output blocks of a panel */

/* Floats of one copy of the sums. */
size_t ck_weight_sums(const ck_conv_plan *plan);
/* Output panels and input blocks of one (merged) group. */
static inline int32_t ck_weight_panels(const ck_conv_plan *plan) {
    return ck_panel_count(plan->out_blocks / plan->groups, CK_WEIGHT_PANEL);
}
static inline int32_t ck_weight_blocks(const ck_conv_plan *plan) { return plan->in_blocks / plan->groups; }
/* Where the sums of one panel and input block are; *first and *count: the panel's output blocks in its group. */
ptrdiff_t ck_weight_cell(const ck_conv_plan *plan, int32_t group, int32_t panel, int32_t block, int32_t *first,
                         int32_t *count);
/* The split with the least work and traffic; images: how many parts of the batch there may be. */
ck_weight_split ck_split_weights(const ck_conv_plan *plan, int32_t images);
/* Adds the copies, `stride` floats apart, in their order, and stores dw (K, C/groups, KH, KW), or adds to it if the
 * arguments say so. */
void ck_store_weights(const ck_conv_plan *plan, const ck_conv_args *args, const float *sums, int32_t copies,
                      size_t stride);

#endif
