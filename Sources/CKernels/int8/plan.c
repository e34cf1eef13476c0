/* Plans of 8-bit convolutions: making, packing, running, describing. */
#include "int8/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "conv/tiles.h"
#include "core/cpu.h"

static const ck_int8_algorithm *const algorithms[] = {&ck_int8_winograd, &ck_int8_direct_bytes, &ck_int8_direct};

static int is_supported(const ck_int8_desc *desc) {
    const ck_conv_desc *d = &desc->conv;
    const uint32_t epilogue = CK_RESIDUAL | (desc->float_result ? CK_RELU : 0u);
    return d->groups <= 1 && d->pass == CK_FORWARD && d->src_layout == CK_NCHWC && !(d->epilogue & ~epilogue);
}

/* Winograd reads eight times the bytes of the plain weights, which for a map of few tiles takes longer than products.
 * On NEON it never pays beside usdot, which does in one instruction what takes eight on 16-bit numbers. */
enum { FEWEST_TILES = 8 };

static int pays(const ck_int8_plan *plan) {
    const ck_kernels *kernels = plan->shape->kernels;
    const int bytes = (kernels->byte_products || plan->has_dot) && ck_int8_direct_bytes.applicable(plan);
    if (plan->algorithm == &ck_int8_direct_bytes) return bytes;
    if (plan->algorithm->id != CK_WINOGRAD_4 || !bytes) return 1;
    if (plan->has_dot && kernels->isa == CK_ISA_NEON) return 0;
    return ck_tile_count(plan->shape, 4, plan->shape->d.batch) >= FEWEST_TILES;
}

static ck_status choose(ck_int8_plan *plan, ck_algorithm wanted) {
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        plan->algorithm = algorithms[i];
        if ((wanted == CK_AUTO ? pays(plan) : wanted == plan->algorithm->id) && plan->algorithm->applicable(plan))
            return CK_OK;
    }
    return CK_UNSUPPORTED;
}

ck_status ck_int8_plan_create(const ck_int8_desc *desc, ck_int8_plan **plan) {
    if (!desc || !plan) return CK_INVALID_ARGUMENT;
    *plan = NULL;
    if (desc->weight_sum < 0 || desc->weight_pair < 0) return CK_INVALID_ARGUMENT;
    ck_conv_desc shape = desc->conv;
    if ((unsigned)shape.algorithm >= CK_ALGORITHM_COUNT) return CK_INVALID_ARGUMENT;
    shape.algorithm = CK_DIRECT;
    ck_int8_plan *made = calloc(1, sizeof *made);
    if (!made) return CK_OUT_OF_MEMORY;
    ck_status status = ck_conv_plan_create(&shape, &made->shape);
    if (status == CK_OK && !is_supported(desc)) status = CK_UNSUPPORTED;
    if (status == CK_OK) {
        const double taps = (double)made->shape->d.kernel_height * made->shape->d.kernel_width;
        const double most = taps * made->shape->d.in_channels * 128;
        made->shape->panel_blocks = made->shape->out_blocks > 1 ? 2 : 1;
        made->channels = made->shape->in_blocks * made->shape->block;
        made->float_result = !!desc->float_result;
        made->weight_sum = desc->weight_sum ? desc->weight_sum : most < INT32_MAX ? (int32_t)most : INT32_MAX;
        made->weight_pair = desc->weight_pair;
        made->has_dot = ck_cpu_has_dot(made->shape->kernels->isa);
        status = choose(made, desc->conv.algorithm);
    }
    if (status != CK_OK) {
        ck_int8_plan_destroy(made);
        return status;
    }
    *plan = made;
    return CK_OK;
}

void ck_int8_plan_destroy(ck_int8_plan *plan) {
    if (plan) ck_conv_plan_destroy(plan->shape);
    free(plan);
}

size_t ck_int8_packed_size(const ck_int8_plan *plan) {
    return plan ? ck_round_up(plan->algorithm->packed_size(plan), 64) : 0;
}

size_t ck_int8_workspace_size(const ck_int8_plan *plan) {
    return plan ? ck_round_up(plan->algorithm->workspace_size(plan), 64) : 0;
}

ck_algorithm ck_int8_plan_algorithm(const ck_int8_plan *plan) { return plan ? plan->algorithm->id : CK_AUTO; }

uint64_t ck_int8_packed_format(const ck_int8_plan *plan) {
    if (!plan) return 0;
    const ck_conv_desc *d = &plan->shape->d;
    const int32_t words[] = {9,
                             plan->algorithm->id,
                             plan->algorithm->word,
                             plan->shape->kernels->isa,
                             plan->shape->panel_blocks,
                             d->in_channels,
                             d->out_channels,
                             d->kernel_height,
                             d->kernel_width};
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) value = (value ^ (uint32_t)words[i]) * 0x100000001b3u;
    return value ? value : 1;
}

size_t ck_int8_plan_describe(const ck_int8_plan *plan, char *text, size_t size) {
    if (!plan) {
        if (text && size) *text = 0;
        return 0;
    }
    const ck_conv_plan *shape = plan->shape;
    const int length = snprintf(text, text ? size : 0, "int8 %s%s %s %dx%d, %d thread%s", plan->algorithm->name,
                                plan->has_dot && plan->algorithm->word == 4 ? " dot" : "",
                                ck_isa_name(shape->kernels->isa), shape->kernels->word_pixels,
                                shape->panel_blocks * shape->block, shape->threads, shape->threads == 1 ? "" : "s");
    return length < 0 ? 0 : (size_t)length;
}

/* ---- packing */

/* The weights keep what the description promised of them. */
static int promises_hold(const ck_int8_plan *plan, const int8_t *oihw) {
    const ck_conv_desc *d = &plan->shape->d;
    const ptrdiff_t taps = (ptrdiff_t)d->kernel_height * d->kernel_width, filter = d->in_channels * taps;
    const int32_t pair = plan->weight_pair ? plan->weight_pair : 256;
    for (int32_t k = 0; k < d->out_channels; k++, oihw += filter) {
        int64_t above = 0, below = 0;
        for (ptrdiff_t i = 0; i < filter; i++) {
            above += oihw[i] > 0 ? oihw[i] : 0;
            below -= oihw[i] < 0 ? oihw[i] : 0;
        }
        if (above > plan->weight_sum || below > plan->weight_sum) return 0;
        for (ptrdiff_t first = 0; first < filter; first += 2 * taps) {
            const int alone = first + taps == filter;
            for (ptrdiff_t i = first; i < first + taps; i++)
                if (abs(oihw[i]) + (alone ? 0 : abs(oihw[i + taps])) > pair) return 0;
        }
    }
    return 1;
}

typedef struct packing {
    const ck_int8_plan *plan;
    const int8_t *oihw;
    char *packed;
    size_t block_bytes;
} packing;

static void pack_part(void *context, int64_t part, int32_t worker) {
    const packing *p = context;
    int32_t first, blocks;
    (void)worker;
    ck_panel_at(p->plan->shape->out_blocks, p->plan->shape->panel_blocks, (int32_t)part, &first, &blocks);
    p->plan->algorithm->pack_panel(p->plan, p->oihw, first, blocks, p->packed + (size_t)first * p->block_bytes);
}

ck_status ck_int8_pack(const ck_int8_plan *plan, const int8_t *oihw, void *packed) {
    if (!plan || !oihw || !packed || (uintptr_t)packed % 64) return CK_INVALID_ARGUMENT;
    if (!promises_hold(plan, oihw)) return CK_INVALID_ARGUMENT;
    const ck_conv_plan *shape = plan->shape;
    packing p = {plan, oihw, packed, plan->algorithm->packed_size(plan) / (size_t)shape->out_blocks};
    ck_run_parts(shape->threads, ck_panel_count(shape->out_blocks, shape->panel_blocks), pack_part, &p);
    return CK_OK;
}

/* ---- running */

ck_status ck_int8_run(const ck_int8_plan *plan, const ck_int8_args *args) {
    if (!plan || !args) return CK_INVALID_ARGUMENT;
    const int adds = !!(plan->shape->d.epilogue & CK_RESIDUAL);
    const int32_t batch = args->batch ? args->batch : plan->shape->d.batch;
    if (!args->src || !args->packed || !args->scale || !args->shift || !args->dst || !args->workspace ||
        (adds && !args->residual) || batch < 1 || batch > plan->shape->d.batch || (uintptr_t)args->packed % 64 ||
        (uintptr_t)args->workspace % 64 || (plan->float_result && (uintptr_t)args->dst % sizeof(float)))
        return CK_INVALID_ARGUMENT;
    ck_int8_args clean = *args;
    if (!adds) clean.residual = NULL;
    plan->algorithm->run(plan, &clean, batch);
    return CK_OK;
}
