/* The convolution's front door: checks the description, chooses the algorithm, and guards pack and run. */
#include "conv/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv/wisdom.h"
#include "core/dispatch.h"

/* In order of preference where the estimates tie; NULL ends a list. */
static const ck_conv_algorithm *const forward[] = {
    &ck_conv_stem_winograd, &ck_conv_stem,   &ck_conv_pointwise, &ck_conv_winograd4,
    &ck_conv_winograd2,     &ck_conv_direct, &ck_conv_gemm,      NULL};
static const ck_conv_algorithm *const data_gradient[] = {&ck_conv_data_direct, &ck_conv_data_gemm, NULL};
static const ck_conv_algorithm *const weight_gradient[] = {&ck_conv_weight_stem, &ck_conv_weight_winograd,
                                                           &ck_conv_weight_direct, &ck_conv_weight_gemm, NULL};

const char *ck_algorithm_name(ck_algorithm algorithm) {
    static const char *const names[CK_ALGORITHM_COUNT] = {
        "auto", "direct", "pointwise", "stem", "winograd f2x2", "winograd f4x4", "gemm", "stem winograd"};
    return (unsigned)algorithm < CK_ALGORITHM_COUNT ? names[algorithm] : "unknown";
}

static void or_one(int32_t *value) {
    if (*value == 0) *value = 1;
}

static int in_range(int32_t value, int32_t low, int32_t high) { return value >= low && value <= high; }

static ck_status check(const ck_conv_desc *d) {
    enum { MOST = 1 << 20, KERNEL_MOST = 1 << 10 };
    const uint32_t known = CK_BIAS | CK_RESIDUAL | CK_RELU | CK_MAX_POOL_3X3_S2 | CK_GLOBAL_AVERAGE;
    if (!in_range(d->batch, 1, MOST) || !in_range(d->in_channels, 1, MOST) || !in_range(d->out_channels, 1, MOST) ||
        !in_range(d->in_height, 1, MOST) || !in_range(d->in_width, 1, MOST) ||
        !in_range(d->kernel_height, 1, KERNEL_MOST) || !in_range(d->kernel_width, 1, KERNEL_MOST) ||
        !in_range(d->stride_height, 1, KERNEL_MOST) || !in_range(d->stride_width, 1, KERNEL_MOST) ||
        !in_range(d->pad_height, 0, KERNEL_MOST) || !in_range(d->pad_width, 0, KERNEL_MOST) ||
        !in_range(d->dilation_height, 1, KERNEL_MOST) || !in_range(d->dilation_width, 1, KERNEL_MOST) ||
        !in_range(d->groups, 1, MOST) || !in_range(d->threads, 0, 1024) || (d->epilogue & ~known) ||
        (unsigned)d->src_layout > CK_NHWC8 || (unsigned)d->pass > CK_WEIGHT_GRADIENT ||
        (unsigned)d->accuracy > CK_ACCURACY_FAST || (unsigned)d->selection > CK_MEASURE ||
        (unsigned)d->algorithm >= CK_ALGORITHM_COUNT)
        return CK_INVALID_ARGUMENT;
    if (d->in_channels % d->groups || d->out_channels % d->groups) return CK_INVALID_ARGUMENT;
    const int64_t height = (int64_t)d->in_height + 2 * d->pad_height, width = (int64_t)d->in_width + 2 * d->pad_width;
    if (height < (int64_t)d->dilation_height * (d->kernel_height - 1) + 1 ||
        width < (int64_t)d->dilation_width * (d->kernel_width - 1) + 1)
        return CK_INVALID_ARGUMENT;
    const uint32_t allowed = d->pass == CK_FORWARD ? known : d->pass == CK_DATA_GRADIENT ? CK_RESIDUAL : 0;
    if (d->epilogue & ~allowed) return CK_INVALID_ARGUMENT;
    const int pools = !!(d->epilogue & CK_MAX_POOL_3X3_S2) + !!(d->epilogue & CK_GLOBAL_AVERAGE);
    if (pools > 1 || (pools && (d->epilogue & CK_RESIDUAL))) return CK_UNSUPPORTED;
    return CK_OK;
}

/* Whether buffers of such a convolution can exist at all. It keeps every product of index arithmetic far within its
 * type: pixels of a plane in int32_t, bytes of packed filters and of a workspace for 1024 threads in size_t. `reach` is
 * what the data gradient may pad. */
static int addressable(const ck_conv_desc *d, int32_t block) {
    const double most = 0x1p46; /* floats: more bytes than a process can address */
    const double reach_height = (double)d->dilation_height * (d->kernel_height - 1);
    const double reach_width = (double)d->dilation_width * (d->kernel_width - 1);
    const double plane =
        (d->in_height + 2.0 * d->pad_height + reach_height) * (d->in_width + 2.0 * d->pad_width + reach_width);
    const double in = d->in_channels + block, out = d->out_channels + block;
    const double taps = (double)d->kernel_height * d->kernel_width;
    return plane <= INT32_MAX - (1 << 16) && plane * d->batch * (in > out ? in : out) <= most &&
           in * out * taps <= most && taps * (in > out ? in : out) <= INT32_MAX;
}

static int32_t output_size(int32_t in, int32_t pad, int32_t dilation, int32_t kernel, int32_t stride) {
    return (int32_t)(((int64_t)in + 2 * pad - (int64_t)dilation * (kernel - 1) - 1) / stride + 1);
}

/* The data gradient of a stride-1 convolution is a forward convolution of dy with the filters turned round and the
 * channels exchanged: returns 1. Where it is not (a larger stride, padding beyond the kernel's reach) returns 0; then
 * only shapes and channels are exchanged, and stride and padding stay those of the convolution. */
static int turn_round(ck_conv_desc *d, int32_t out_height, int32_t out_width) {
    const int32_t pad_height = d->dilation_height * (d->kernel_height - 1) - d->pad_height;
    const int32_t pad_width = d->dilation_width * (d->kernel_width - 1) - d->pad_width;
    const int32_t channels = d->in_channels;
    d->in_channels = d->out_channels;
    d->out_channels = channels;
    d->in_height = out_height;
    d->in_width = out_width;
    d->src_layout = CK_NCHWC;
    if (d->stride_height != 1 || d->stride_width != 1 || pad_height < 0 || pad_width < 0) return 0;
    d->pad_height = pad_height;
    d->pad_width = pad_width;
    return 1;
}

/* Makes `plan` one of `algorithm`, if that applies. */
static int adopt(ck_conv_plan *plan, const ck_conv_algorithm *algorithm) {
    const int winograd =
        algorithm->id == CK_WINOGRAD_2 || algorithm->id == CK_WINOGRAD_4 || algorithm->id == CK_STEM_WINOGRAD;
    if (plan->d.algorithm != CK_AUTO && plan->d.algorithm != algorithm->id) return 0;
    if (plan->d.algorithm == CK_AUTO && plan->d.accuracy == CK_ACCURACY_STRICT && winograd) return 0;
    plan->algorithm = algorithm;
    if (!algorithm->applicable(plan)) return 0;
    if (algorithm->choose) algorithm->choose(plan);
    return 1;
}

/* The estimate decides; a tie goes to the earlier one in the list. */
static ck_status choose(ck_conv_plan *plan, const ck_conv_algorithm *const *list) {
    double best = 0;
    ck_conv_plan chosen = *plan;
    for (; *list; list++) {
        ck_conv_plan candidate = *plan;
        if (!adopt(&candidate, *list)) continue;
        const double cost = candidate.algorithm->cost(&candidate);
        if (chosen.algorithm && cost >= best) continue;
        best = cost;
        chosen = candidate;
    }
    if (!chosen.algorithm) return CK_UNSUPPORTED;
    *plan = chosen;
    return CK_OK;
}

/* Times the candidates that the estimate does not rule out. `plan` holds the estimate's choice and gets the fastest. */
static void measure(ck_conv_plan *plan, const ck_conv_plan *bare, const ck_conv_algorithm *const *list) {
    enum { HOPELESS = 3 };
    const double estimate = plan->algorithm->cost(plan);
    double best = -1;
    for (; *list; list++) {
        ck_conv_plan candidate = *bare;
        if (!adopt(&candidate, *list) || candidate.algorithm->cost(&candidate) > HOPELESS * estimate) continue;
        const double seconds = ck_measure_plan(&candidate);
        if (seconds < 0 || (best >= 0 && seconds >= best)) continue;
        best = seconds;
        *plan = candidate;
    }
}

/* Wisdom if there is any, else the estimate, then measured if that is asked. */
static ck_status choose_wisely(ck_conv_plan *plan, const ck_conv_algorithm *const *list) {
    if (plan->d.algorithm != CK_AUTO || plan->d.pass == CK_WEIGHT_GRADIENT) return choose(plan, list);
    char key[CK_WISDOM_KEY];
    ck_wisdom_key(plan, key);
    ck_algorithm known;
    ck_status status = ck_wisdom_find(key, &known);
    if (status != CK_OK) return status;
    for (const ck_conv_algorithm *const *at = list; *at && known != CK_AUTO; at++) {
        ck_conv_plan candidate = *plan;
        if ((*at)->id != known || !adopt(&candidate, *at)) continue;
        *plan = candidate;
        return CK_OK;
    }
    const ck_conv_plan bare = *plan;
    status = choose(plan, list);
    if (status != CK_OK || plan->d.selection != CK_MEASURE) return status;
    measure(plan, &bare, list);
    return ck_wisdom_add(key, plan->algorithm->id);
}

ck_status ck_conv_plan_create(const ck_conv_desc *desc, ck_conv_plan **plan) {
    if (!desc || !plan) return CK_INVALID_ARGUMENT;
    *plan = NULL;
    ck_status status;
    ck_conv_plan p = {.d = *desc, .kernels = ck_active(&status)};
    if (!p.kernels) return status;
    status = ck_caches_active(&p.caches);
    if (status != CK_OK) return status;
    ck_conv_desc *d = &p.d;
    or_one(&d->stride_height), or_one(&d->stride_width), or_one(&d->dilation_height), or_one(&d->dilation_width);
    or_one(&d->groups);
    status = check(d);
    if (status != CK_OK) return status;
    if (!addressable(d, p.kernels->block)) return CK_OUT_OF_MEMORY;
    p.out_height = output_size(d->in_height, d->pad_height, d->dilation_height, d->kernel_height, d->stride_height);
    p.out_width = output_size(d->in_width, d->pad_width, d->dilation_width, d->kernel_width, d->stride_width);
    const ck_conv_algorithm *const *list = d->pass == CK_WEIGHT_GRADIENT ? weight_gradient : forward;
    if (d->pass == CK_DATA_GRADIENT) {
        const int32_t in_height = d->in_height, in_width = d->in_width;
        if (!turn_round(d, p.out_height, p.out_width)) list = data_gradient;
        p.out_height = in_height;
        p.out_width = in_width;
    }
    p.block = p.kernels->block;
    p.in_blocks = (d->in_channels + p.block - 1) / p.block;
    p.out_blocks = (d->out_channels + p.block - 1) / p.block;
    p.threads = ck_threads(d->threads);
    p.groups = d->groups;
    status = choose_wisely(&p, list);
    if (status != CK_OK) return status;
    ck_conv_plan *made = malloc(sizeof *made);
    if (!made) return CK_OUT_OF_MEMORY;
    *made = p;
    *plan = made;
    return CK_OK;
}

void ck_conv_plan_destroy(ck_conv_plan *plan) { free(plan); }

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
enum { PACKED_REVISION = 2 };

uint64_t ck_conv_packed_format(const ck_conv_plan *plan) {
    if (!plan) return 0;
    const ck_conv_desc *d = &plan->d;
    const int32_t parts[] = {PACKED_REVISION,    plan->algorithm->id, plan->kernels->isa, plan->block,
                             plan->panel_blocks, plan->tile,          plan->on_the_fly,   plan->groups,
                             plan->narrow,       (int32_t)d->pass,    d->groups,          d->in_channels,
                             d->out_channels,    d->kernel_height,    d->kernel_width,    (int32_t)d->src_layout};
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, a 32-bit word at a time */
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) hash = (hash ^ (uint32_t)parts[i]) * 0x100000001b3u;
    return hash ? hash : 1;
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
        snprintf(text, text ? size : 0, "%s %s%s, %d thread%s", ck_algorithm_name(plan->algorithm->id),
                 ck_isa_name(plan->kernels->isa), details, (int)plan->threads, plan->threads == 1 ? "" : "s");
    return length < 0 ? 0 : (size_t)length;
}
