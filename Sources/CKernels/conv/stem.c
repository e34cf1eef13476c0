/* The first convolution, summed directly: few input channels, read from plain NCHW floats or from the NHWC bytes of
 * pictures.
 *
 * In planes of rows the kernel's columns are adjacent floats, and a panel walks (channel, kernel row) with runs of
 * kernel-width steps: 147 for 7x7 on RGB. */
#include "conv/algorithms.h"
#include "conv/stem.h"

enum { ROWS_A_RUN = 4 };

static int32_t steps(const ck_conv_plan *plan) {
    return plan->d.in_channels * plan->d.kernel_height * plan->d.kernel_width;
}

static void choose(ck_conv_plan *plan) {
    plan->panel_blocks = ck_panel_width(plan->kernels, plan->out_width, plan->out_blocks);
}

static double cost(const ck_conv_plan *plan) {
    return 1.2 * steps(plan) * ck_panel_cycles(plan->kernels, plan->out_width, plan->panel_blocks) /
           plan->panel_blocks * plan->out_blocks * plan->out_height * plan->d.batch;
}

static size_t packed_size(const ck_conv_plan *plan) { return (size_t)steps(plan) * plan->out_blocks * plan->block * 4; }

static size_t planes_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)plan->d.in_channels * ck_stem_rows(plan, ROWS_A_RUN) * ck_stem_width(plan), 16);
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const ck_filter_view view = ck_view_filter(plan, oihw, scale);
    const int32_t v = plan->block, panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    float *dst = packed;
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first, blocks;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &blocks);
        for (int32_t c = 0; c < plan->d.in_channels; c++)
            for (int32_t y = 0; y < plan->d.kernel_height; y++)
                for (int32_t x = 0; x < plan->d.kernel_width; x++, dst += blocks * v)
                    ck_pack_outputs(&view, (ck_filter_place){0, first * v, c, y, x}, blocks * v, dst);
    }
}

static void fill(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t rows,
                 float *planes) {
    ck_stem_fill(plan, args, image, first, rows, ck_stem_width(plan), planes);
}

/* One output row, all panels. */
static void run_row(const ck_conv_plan *plan, const ck_conv_args *args, const ck_stem_row *row) {
    const int32_t v = plan->block, wide = ck_stem_width(plan),
                  panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    ck_panel p = {.src = row->memory + (ptrdiff_t)row->index * plan->d.stride_height * wide,
                  .outer = {plan->d.in_channels, plan->d.kernel_height, 1},
                  .outer_stride = {(ptrdiff_t)row->rows * wide, wide, 0},
                  .run = plan->d.kernel_width,
                  .pixel_stride = plan->d.stride_width,
                  .pixels = plan->out_width,
                  .dst_block = row->block_stride,
                  .relu = !!(plan->d.epilogue & CK_RELU)};
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &p.blocks);
        p.weights = (const float *)args->packed + (ptrdiff_t)first * v * steps(plan);
        p.bias = args->bias ? args->bias + (ptrdiff_t)first * v : NULL;
        p.dst = row->dst + first * row->block_stride;
        p.residual = row->residual ? row->residual + first * row->block_stride : NULL;
        plan->kernels->panel(&p);
    }
}

static const ck_stem_method method = {ROWS_A_RUN, planes_floats, fill, run_row};

static size_t workspace_size(const ck_conv_plan *plan) { return ck_stem_workspace(plan, &method); }

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    return ck_stem_run(plan, args, batch, &method);
}

const ck_conv_algorithm ck_conv_stem = {.id = CK_STEM,
                                        .name = "stem",
                                        .applicable = ck_stem_applicable,
                                        .choose = choose,
                                        .cost = cost,
                                        .packed_size = packed_size,
                                        .workspace_size = workspace_size,
                                        .pack = pack,
                                        .run = run,
                                        .describe = ck_stem_describe};
