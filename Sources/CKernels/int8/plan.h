/* What the algorithms of 8-bit convolutions share. Words are those of conv/plan.h. */
#ifndef CK_INT8_PLAN_H
#define CK_INT8_PLAN_H

#include "ckernels_int8.h"
#include "conv/plan.h"

typedef struct ck_int8_algorithm ck_int8_algorithm;

struct ck_int8_plan {
    /* Shapes with every default filled in, threads, blocks, kernels; its panel_blocks are ours, its algorithm is not
     * used. */
    ck_conv_plan *shape;
    const ck_int8_algorithm *algorithm;
    int32_t float_result, weight_sum, weight_pair;
    int32_t channels; /* of x, in whole blocks */
    int32_t has_dot;  /* 1: dot_panel takes the place of byte_panel */
};

/* Sizes in bytes. The work of a run is items times shares of the panels. */
struct ck_int8_algorithm {
    ck_algorithm id;
    int32_t word; /* input channels of a word (ck_word_panel): 2, or 4 where products are of bytes */
    const char *name;
    int (*applicable)(const ck_int8_plan *plan);
    size_t (*packed_size)(const ck_int8_plan *plan);
    size_t (*workspace_size)(const ck_int8_plan *plan);
    void (*pack_panel)(const ck_int8_plan *plan, const int8_t *oihw, int32_t first, int32_t blocks, void *packed);
    void (*run)(const ck_int8_plan *plan, const ck_int8_args *args, int32_t batch);
};

extern const ck_int8_algorithm ck_int8_direct, ck_int8_direct_bytes, ck_int8_winograd;

/* The weight of output channel k; 0 for channels that are not there. */
static inline int32_t ck_int8_weight(const ck_int8_plan *plan, const int8_t *oihw, int32_t k, int32_t c, int32_t tap) {
    const ck_conv_desc *d = &plan->shape->d;
    if (k >= d->out_channels || c >= d->in_channels) return 0;
    return oihw[((ptrdiff_t)k * d->in_channels + c) * d->kernel_height * d->kernel_width + tap];
}

/* Where a result is; elements from the start of dst. */
static inline ck_requantize ck_int8_result(const ck_int8_plan *plan, const ck_int8_args *args, int32_t block,
                                           ptrdiff_t at) {
    const ptrdiff_t k = (ptrdiff_t)block * plan->shape->block;
    return (ck_requantize){.scale = args->scale + k,
                           .shift = args->shift + k,
                           .residual = args->residual ? args->residual + at : NULL,
                           .residual_scale = args->residual_scale,
                           .relu = !!(plan->shape->d.epilogue & CK_RELU),
                           .bytes = plan->float_result ? NULL : (uint8_t *)args->dst + at,
                           .floats = plan->float_result ? (float *)args->dst + at : NULL};
}

/* Shares of the panels: several where there are few items for each thread. Then so many that a thread whose core is
 * taken away for a while leaves the rest to the others. */
enum { CK_INT8_FEW = 2, CK_INT8_PARTS = 8 };

static inline int32_t ck_int8_shares(const ck_int8_plan *plan, int64_t items) {
    const int32_t panels = ck_panel_count(plan->shape->out_blocks, plan->shape->panel_blocks);
    const int64_t threads = plan->shape->threads;
    if (threads == 1 || items >= CK_INT8_FEW * threads) return 1;
    const int64_t shares = (CK_INT8_PARTS * threads + items - 1) / items;
    return shares < panels ? (int32_t)shares : panels;
}

#endif
