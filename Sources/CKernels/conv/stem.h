/* The first convolution's input as planes [channel][row][padded width], for its forward pass and weight gradient. */
#ifndef CK_STEM_H
#define CK_STEM_H

#include "conv/plan.h"

int ck_stem_applicable(const ck_conv_plan *plan);
static inline int32_t ck_stem_width(const ck_conv_plan *plan) {
    return (plan->out_width - 1) * plan->d.stride_width + plan->d.kernel_width;
}
/* Input rows that `out_rows` output rows need. */
static inline int32_t ck_stem_rows(const ck_conv_plan *plan, int32_t out_rows) {
    return (out_rows - 1) * plan->d.stride_height + plan->d.kernel_height;
}
/* Input rows first...first+count of one image into planes, zeros outside; bytes become floats. */
void ck_stem_fill(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t count,
                  float *planes);

#endif
