/* Panels of output channels: how wide, how packed, and how threads share them. */
#include <math.h>

#include "conv/plan.h"

ck_filter_view ck_view_filter(const ck_conv_plan *plan, const float *oihw, const float *scale) {
    const ck_conv_desc *d = &plan->d;
    const ptrdiff_t kh = d->kernel_height, kw = d->kernel_width;
    const int32_t k = d->out_channels / d->groups, c = d->in_channels / d->groups;
    ck_filter_view view = {.base = oihw, .scale = scale, .groups = d->groups, .k = k, .c = c, .merged = plan->groups};
    view.group_stride = (ptrdiff_t)k * c * kh * kw;
    if (d->pass == CK_DATA_GRADIENT) { /* plan->d is turned round already: k counts the forward input's channels */
        view.base += kh * kw - 1;
        view.k_stride = kh * kw;
        view.c_stride = k * kh * kw;
        view.y_stride = -kw;
        view.x_stride = -1;
    } else {
        view.k_stride = c * kh * kw;
        view.c_stride = kh * kw;
        view.y_stride = kw;
        view.x_stride = 1;
    }
    return view;
}

int32_t ck_merge_groups(const ck_conv_desc *d, int32_t block) {
    if (d->groups == 1) return 1;
    const int32_t k = d->out_channels / d->groups, c = d->in_channels / d->groups;
    for (int32_t merge = 1; merge <= d->groups; merge++)
        if (d->groups % merge == 0 && k * (int64_t)merge % block == 0 && c * (int64_t)merge % block == 0)
            return d->groups / merge;
    return 1; /* one dense group with zeros: right, if wasteful */
}

float ck_filter_at(const ck_filter_view *view, ck_filter_place at) {
    const int32_t merge = view->groups / view->merged;
    const int32_t k_group = at.k / view->k, c_group = at.c / view->c;
    if (k_group >= merge || k_group != c_group) return 0;
    const int32_t group = at.group * merge + k_group, own_k = at.k % view->k, own_c = at.c % view->c;
    const float value = view->base[group * view->group_stride + own_k * view->k_stride + own_c * view->c_stride +
                                   at.y * view->y_stride + at.x * view->x_stride];
    return view->scale ? value * view->scale[group * view->k + own_k] : value;
}

void ck_pack_outputs(const ck_filter_view *view, ck_filter_place at, int32_t width, float *dst) {
    if (view->groups > 1) {
        for (int32_t i = 0; i < width; i++, at.k++) dst[i] = ck_filter_at(view, at);
        return;
    }
    const int32_t left = at.c < view->c ? view->k - at.k : 0, real = left < 0 ? 0 : left < width ? left : width;
    const float *src =
        view->base + at.k * view->k_stride + at.c * view->c_stride + at.y * view->y_stride + at.x * view->x_stride;
    for (int32_t i = 0; i < real; i++)
        dst[i] = view->scale ? src[i * view->k_stride] * view->scale[at.k + i] : src[i * view->k_stride];
    for (int32_t i = real; i < width; i++) dst[i] = 0;
}

void ck_pack_parts(const ck_conv_plan *plan, const float *oihw, const float *scale, float *packed, int64_t parts,
                   ck_part pack_part) {
    ck_packing p = {plan, ck_view_filter(plan, oihw, scale), packed};
    ck_run_parts(plan->threads, parts, pack_part, &p);
}

/* Two FMA and two loads a cycle, and a latency of four: at least eight FMA in flight. */
static double tile_cycles(int32_t pixels, int32_t width) {
    return fmax(fmax(pixels * width, (pixels + width) * 1.05), 8) / 2;
}

/* Tiles as equal as they can be: `longer` of them have a pixel more. */
double ck_panel_cycles(const ck_kernels *kernels, int32_t pixels, int32_t width) {
    const int32_t most = ck_tile_pixels(kernels, width);
    const int32_t count = (pixels + most - 1) / most, each = pixels / count, longer = pixels % count;
    return longer * tile_cycles(each + 1, width) + (count - longer) * tile_cycles(each, width);
}

int32_t ck_panel_width(const ck_kernels *kernels, int32_t pixels, int32_t blocks) {
    int32_t best = 1;
    double least = ck_panel_cycles(kernels, pixels, 1);
    for (int32_t width = 2; width <= 4 && width <= blocks; width *= 2) {
        const double cycles = ck_panel_cycles(kernels, pixels, width) / width;
        /* Four wide reads the weights twice as often as two: only where the rows are too short for two. */
        const int better =
            width == 2 ? cycles <= least * 1.02 : cycles < least * 0.98 || pixels <= kernels->tile_pixels4 - 2;
        if (!better) continue;
        least = cycles;
        best = width;
    }
    return best;
}

size_t ck_pack_panels_size(const ck_conv_plan *plan) {
    const size_t in_blocks = (size_t)plan->in_blocks / plan->groups;
    return in_blocks * plan->block * plan->d.kernel_height * plan->d.kernel_width * plan->out_blocks * plan->block *
           ck_packed_bytes(plan);
}

/* One panel of one group. */
static void pack_panel(const ck_conv_plan *plan, const ck_filter_view *view, int32_t g, int32_t first, int32_t count,
                       void *dst) {
    const int32_t v = plan->block, width = count * v, channels = plan->in_blocks / plan->groups * v;
    const int bf16 = plan->d.packed_type == CK_BF16;
    float row[4 * 16];
    char *to = dst;
    for (int32_t b = 0; b < channels; b += v)
        for (int32_t y = 0; y < plan->d.kernel_height; y++)
            for (int32_t x = 0; x < plan->d.kernel_width; x++)
                for (int32_t c = b; c < b + v; c++, to += width * ck_packed_bytes(plan)) {
                    ck_pack_outputs(view, (ck_filter_place){g, first * v, c, y, x}, width,
                                    bf16 ? row : (float *)(void *)to);
                    if (bf16) ck_to_bf16(row, (size_t)width, (uint16_t *)(void *)to);
                }
}

static void pack_part(void *context, int64_t part, int32_t worker) {
    const ck_packing *p = context;
    const ck_conv_plan *plan = p->plan;
    const int32_t blocks = plan->out_blocks / plan->groups, panels = ck_panel_count(blocks, plan->panel_blocks);
    const ptrdiff_t steps =
        (ptrdiff_t)(plan->in_blocks / plan->groups) * plan->block * plan->d.kernel_height * plan->d.kernel_width;
    const int32_t g = (int32_t)(part / panels);
    int32_t first, count;
    (void)worker;
    ck_panel_at(blocks, plan->panel_blocks, (int32_t)(part % panels), &first, &count);
    pack_panel(plan, &p->view, g, first, count,
               (char *)p->packed + ((ptrdiff_t)g * blocks + first) * plan->block * steps * ck_packed_bytes(plan));
}

void ck_pack_panels(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const int32_t panels = ck_panel_count(plan->out_blocks / plan->groups, plan->panel_blocks);
    ck_pack_parts(plan, oihw, scale, packed, (int64_t)panels * plan->groups, pack_part);
}

ck_grid ck_choose_grid(int32_t threads, int64_t items, int32_t panels, size_t weight_bytes) {
    ck_grid best = {1, 1};
    double least = 1e300;
    for (int32_t deep = 1; deep <= threads && deep <= panels; deep++) {
        int32_t across = threads / deep;
        if (across > items) across = (int32_t)items;
        const double slowest = (double)((items + across - 1) / across) * ((panels + deep - 1) / deep);
        /* Weights that outgrow the L2 cache are read once by the team instead of once by each thread. */
        const double streams = weight_bytes > 512 << 10 ? 1 + 0.2 / deep : 1 + 0.01 * deep;
        if (slowest * streams >= least) continue;
        least = slowest * streams;
        best = (ck_grid){across, deep};
    }
    return best;
}

int32_t ck_slice_blocks(const ck_conv_plan *plan, int32_t taps) {
    const int64_t block_bytes = (int64_t)taps * plan->panel_blocks * plan->block * plan->block * 4;
    const int64_t most = (int64_t)plan->caches.l1.bytes / 2 / block_bytes;
    const int64_t slices = most < 1 ? plan->in_blocks : (plan->in_blocks + most - 1) / most;
    return (int32_t)((plan->in_blocks + slices - 1) / slices);
}
