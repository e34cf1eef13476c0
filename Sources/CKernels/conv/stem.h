/* The first convolution's input as planes [channel][row][padded width], for its forward passes and weight gradient. */
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
static inline int ck_stem_pooled(const ck_conv_plan *plan) { return !!(plan->d.epilogue & CK_MAX_POOL_3X3_S2); }

/* Input rows first...first+count of one image into planes [channel][row][wide], zeros outside; bytes become floats. */
void ck_stem_fill(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t count,
                  int32_t wide, float *planes);

/* One output row, `index` of those that the filling of `rows` input rows gives, for all channels. */
typedef struct ck_stem_row {
    float *memory;
    int32_t index, rows;
    float *dst;             /* block b at dst + b * block_stride, (W, V) there */
    const float *residual;  /* laid out as dst, or NULL */
    ptrdiff_t block_stride; /* floats */
} ck_stem_row;

/* How an algorithm makes the convolution's rows; `memory` is a thread's own. */
typedef struct ck_stem_method {
    int32_t rows_a_run;                         /* rows made of one filling */
    size_t (*floats)(const ck_conv_plan *plan); /* of `memory`, whole cache lines */
    /* Takes input rows first...first+rows, of which some may lie outside the picture. */
    void (*fill)(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t rows,
                 float *memory);
    void (*row)(const ck_conv_plan *plan, const ck_conv_args *args, const ck_stem_row *row);
} ck_stem_method;

size_t ck_stem_workspace(const ck_conv_plan *plan, const ck_stem_method *method);
ck_status ck_stem_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch, const ck_stem_method *method);
void ck_stem_describe(const ck_conv_plan *plan, char *text, size_t size);

#endif
