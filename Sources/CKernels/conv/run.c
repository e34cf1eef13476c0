/* What users do with a plan: sizes, packing, running, descriptions. Arguments are checked here, once for all
 * algorithms. */
#include <stdio.h>

#include "conv/plan.h"

/* With the global average the convolution itself goes to workspace first. */
static size_t averaged_bytes(const ck_conv_plan *plan) {
    if (!(plan->d.epilogue & CK_GLOBAL_AVERAGE)) return 0;
    return ck_round_up((size_t)plan->d.batch * plan->out_blocks * plan->out_height * plan->out_width * plan->block * 4,
                       64);
}

size_t ck_nothing_packed(const ck_conv_plan *plan) { return 0 * (size_t)plan->threads; }

size_t ck_conv_packed_size(const ck_conv_plan *plan) {
    return plan ? ck_round_up(plan->algorithm->packed_size(plan), 64) : 0;
}

size_t ck_conv_workspace_size(const ck_conv_plan *plan) {
    return plan ? ck_round_up(plan->algorithm->workspace_size(plan), 64) + averaged_bytes(plan) : 0;
}

ck_status ck_conv_pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    if (!plan || !oihw || !packed || (uintptr_t)packed % 64) return CK_INVALID_ARGUMENT;
    if (!plan->algorithm->pack || (scale && plan->d.pass != CK_FORWARD)) return CK_UNSUPPORTED;
    plan->algorithm->pack(plan, oihw, scale, packed);
    return CK_OK;
}

/* What the description asks for is there; blocked buffers are aligned to a vector, because an image of a larger buffer
 * may start at any of them. */
static int bad_args(const ck_conv_plan *plan, const ck_conv_args *a, int32_t batch) {
    const uint32_t epilogue = plan->d.epilogue;
    const int weights = plan->d.pass == CK_WEIGHT_GRADIENT;
    const size_t vector = (size_t)plan->block * sizeof(float);
    return !a->src || !a->dst || batch < 1 || batch > plan->d.batch ||
           (weights ? !a->grad || (uintptr_t)a->grad % vector : (uintptr_t)a->dst % vector) ||
           (uintptr_t)a->workspace % 64 || (uintptr_t)a->packed % 64 || (!weights && !a->packed) ||
           ((epilogue & CK_BIAS) && !a->bias) || ((epilogue & CK_RESIDUAL) && !a->residual) ||
           (plan->d.src_layout == CK_NCHWC && (uintptr_t)a->src % vector) ||
           (plan->d.src_layout == CK_NHWC8 && (!a->src_scale || !a->src_shift)) ||
           (ck_conv_workspace_size(plan) && !a->workspace);
}

/* Raise it whenever any algorithm's `pack` orders its values differently. */
enum { PACKED_REVISION = 3 };

/* FNV-1a, a 32-bit word at a time. */
static uint64_t hash(uint64_t value, const int32_t *words, size_t count) {
    for (size_t i = 0; i < count; i++) value = (value ^ (uint32_t)words[i]) * 0x100000001b3u;
    return value;
}

uint64_t ck_conv_packed_format(const ck_conv_plan *plan) {
    if (!plan) return 0;
    const ck_conv_desc *d = &plan->d;
    const int32_t order = plan->algorithm->packing_order ? plan->algorithm->packing_order(plan) : 0;
    const int32_t weights[] = {d->groups, d->in_channels, d->out_channels, d->kernel_height, d->kernel_width};
    const int32_t order_of[] = {
        plan->algorithm->id, plan->kernels->isa, plan->block, plan->panel_blocks, plan->groups, order, d->pass,
        d->src_layout,       d->packed_type};
    uint64_t value = hash(0xcbf29ce484222325u ^ PACKED_REVISION, weights, sizeof weights / sizeof *weights);
    value = hash(value, order_of, sizeof order_of / sizeof *order_of);
    return value ? value : 1;
}

ck_status ck_conv_run(const ck_conv_plan *plan, const ck_conv_args *args) {
    if (!plan || !args) return CK_INVALID_ARGUMENT;
    const uint32_t epilogue = plan->d.epilogue;
    const int32_t batch = args->batch ? args->batch : plan->d.batch;
    if (bad_args(plan, args, batch)) return CK_INVALID_ARGUMENT;
    ck_conv_args clean = *args;
    if (!(epilogue & CK_BIAS)) clean.bias = NULL;
    if (!(epilogue & CK_RESIDUAL)) clean.residual = NULL;
    const size_t averaged = averaged_bytes(plan);
    if (!averaged) return plan->algorithm->run(plan, &clean, batch);
    clean.dst = args->workspace;
    clean.workspace = (char *)args->workspace + averaged;
    const ck_status status = plan->algorithm->run(plan, &clean, batch);
    if (status != CK_OK) return status;
    return ck_global_average_pool(clean.dst, batch, plan->d.out_channels, plan->out_height, plan->out_width, args->dst,
                                  plan->threads);
}

ck_algorithm ck_conv_plan_algorithm(const ck_conv_plan *plan) { return plan ? plan->algorithm->id : CK_AUTO; }

size_t ck_conv_plan_describe(const ck_conv_plan *plan, char *text, size_t size) {
    if (!plan) {
        if (text && size) *text = 0;
        return 0;
    }
    char details[96] = "";
    if (plan->algorithm->describe) plan->algorithm->describe(plan, details, sizeof details);
    const int length =
        snprintf(text, text ? size : 0, "%s %s%s, %d thread%s", plan->algorithm->name, ck_isa_name(plan->kernels->isa),
                 details, (int)plan->threads, plan->threads == 1 ? "" : "s");
    return length < 0 ? 0 : (size_t)length;
}
