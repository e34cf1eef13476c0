/* The first convolution at stride 2 with 7 columns, by Winograd along the rows.
 *
 *     y[i] = sum over k of w[k] x[2 i + k] = sum over e of w[2 e] x[2 (i + e)] + sum over e of w[2 e + 1] x[2 (i + e) +
 * 1]
 *
 * Two convolutions at stride 1, one of 4 taps on the even columns and one of 3 on the odd ones. By F(4, 4) with the
 * points 0,
 * +-1/2, +-2, infinity and 1, and F(4, 3) with the first six of them, four outputs take 7 + 6 multiplications instead
 * of 28; and as an output is made of points in the same way in both, the two are added before that. The kernel's rows
 * and the channels are summed as they are. At 7x7 on RGB the rounding error is 2.3 times that of direct sums.
 *
 * Every input row becomes [channel][point][tile][even, odd] once for a filling of rows; a panel then walks (channel,
 * kernel row, even and odd) for one point and all tiles of a row. */
#include "conv/algorithms.h"
#include "conv/stem.h"

enum { TILE = 4, POINTS = 7, ROWS_A_RUN = 8 };

/* In the kernels' order; the last one is of the even columns alone. */
static const double points[POINTS] = {0, 0 /* infinity */, 0.5, -0.5, 2, -2, 1};
enum { INFINITY_POINT = 1, EVEN_POINT = 6 };

static int32_t tiles(const ck_conv_plan *plan) { return (plan->out_width + TILE - 1) / TILE; }
static int32_t rounded_tiles(const ck_conv_plan *plan) {
    return (tiles(plan) + plan->block - 1) / plan->block * plan->block;
}
/* Transforms a point belongs to: that of the even columns, and that of the odd ones but for the last point. */
static int32_t parities(int32_t point) { return point == EVEN_POINT ? 1 : 2; }
/* Steps of the panel of a point, and of all of them. */
static int32_t point_steps(const ck_conv_plan *plan, int32_t point) {
    return plan->d.in_channels * plan->d.kernel_height * parities(point);
}
static int32_t steps(const ck_conv_plan *plan) {
    return plan->d.in_channels * plan->d.kernel_height * (2 * POINTS - 1);
}

static int applicable(const ck_conv_plan *plan) {
    return ck_stem_applicable(plan) && plan->d.kernel_width == 7 && plan->d.stride_width == 2;
}

static void choose(ck_conv_plan *plan) {
    plan->panel_blocks = ck_panel_width(plan->kernels, tiles(plan), plan->out_blocks);
}

static double cost(const ck_conv_plan *plan) {
    const double rows = (double)plan->out_height * plan->d.batch;
    const double product = 1.2 * steps(plan) * ck_panel_cycles(plan->kernels, tiles(plan), plan->panel_blocks) /
                           plan->panel_blocks * plan->out_blocks;
    const double output = 20.0 * tiles(plan) * plan->out_blocks;
    const double input = 50.0 * plan->d.in_channels * plan->d.stride_height * rounded_tiles(plan) / plan->block;
    return rows * (product + output + input);
}

static size_t packed_size(const ck_conv_plan *plan) { return (size_t)steps(plan) * plan->out_blocks * plan->block * 4; }

/* ---- packing: [panel][point][channel][kernel row][even, odd][panel width * V] */

/* Row `point` of G for taps w[0], w[2] ... (parity 0) or w[1], w[3], w[5]: the denominator is the product of the
 * differences to the other points of that transform. */
static float filter_point(const float w[7], int32_t parity, int32_t point) {
    const int32_t last = parity == 0 ? 3 : 2;
    if (point == INFINITY_POINT) return w[2 * last + parity];
    double sum = 0, denominator = 1;
    for (int32_t e = last; e >= 0; e--) sum = sum * points[point] + w[2 * e + parity];
    for (int32_t q = 0; q < POINTS - parity; q++)
        if (q != point && q != INFINITY_POINT) denominator *= points[point] - points[q];
    return (float)(sum / denominator);
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const ck_filter_view view = ck_view_filter(plan, oihw, scale);
    const int32_t v = plan->block, panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    const int32_t kh = plan->d.kernel_height, rows = plan->d.in_channels * kh;
    float *dst = packed;
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first, blocks;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &blocks);
        const ptrdiff_t width = blocks * v;
        for (int32_t row = 0; row < rows; row++)
            for (int32_t k = 0; k < width; k++) {
                float w[7] = {0};
                for (int32_t x = 0; x < 7 && first * v + k < view.k; x++)
                    w[x] = ck_filter_at(&view, (ck_filter_place){0, first * v + k, row / kh, row % kh, x});
                for (int32_t point = 0; point < POINTS; point++)
                    for (int32_t parity = 0; parity < parities(point); parity++)
                        dst[(2 * rows * point + parities(point) * row + parity) * width + k] =
                            filter_point(w, parity, point);
            }
        dst += steps(plan) * width;
    }
}

/* ---- running */

/* A thread's memory, in floats: planes of input rows, their transform, what the transform needs, products of a panel.
 */
typedef struct parts {
    size_t planes, v, scratch, m;
} parts;

/* Columns of a plane: whole vectors of tiles, and what the last of them reads of the next. */
static int32_t plane_width(const ck_conv_plan *plan) { return 8 * (rounded_tiles(plan) + 1); }
static ptrdiff_t v_point(const ck_conv_plan *plan) { return 2 * (ptrdiff_t)rounded_tiles(plan); }
static ptrdiff_t v_row(const ck_conv_plan *plan) { return plan->d.in_channels * POINTS * v_point(plan); }
static ptrdiff_t m_block(const ck_conv_plan *plan) { return (ptrdiff_t)tiles(plan) * plan->block; }

static parts sizes(const ck_conv_plan *plan) {
    const size_t rows = (size_t)ck_stem_rows(plan, ROWS_A_RUN);
    return (parts){.planes = ck_round_up(rows * plan->d.in_channels * plane_width(plan), 16),
                   .v = ck_round_up(rows * v_row(plan), 16),
                   .scratch = ck_round_up(8 * (size_t)(rounded_tiles(plan) + plan->block), 16),
                   .m = ck_round_up((size_t)POINTS * plan->panel_blocks * m_block(plan), 16)};
}

static size_t memory_floats(const ck_conv_plan *plan) {
    const parts p = sizes(plan);
    return p.planes + p.v + p.scratch + p.m;
}

static void fill(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t rows,
                 float *memory) {
    const parts p = sizes(plan);
    const int32_t wide = plane_width(plan);
    ck_stem_fill(plan, args, image, first, rows, wide, memory);
    ck_stem_input in = {
        .src = memory, .tiles = tiles(plan), .dst_point = v_point(plan), .scratch = memory + p.planes + p.v};
    for (int32_t c = 0; c < plan->d.in_channels; c++)
        for (int32_t r = 0; r < rows; r++, in.src += wide) {
            in.dst = memory + p.planes + r * v_row(plan) + c * POINTS * v_point(plan);
            plan->kernels->stem_input(&in);
        }
}

static void run_row(const ck_conv_plan *plan, const ck_conv_args *args, const ck_stem_row *row) {
    const parts sizes_ = sizes(plan);
    const int32_t v = plan->block, panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    const float *source = row->memory + sizes_.planes + row->index * plan->d.stride_height * v_row(plan);
    float *m = row->memory + sizes_.planes + sizes_.v + sizes_.scratch;
    ck_panel p = {.outer = {plan->d.in_channels, plan->d.kernel_height, 1},
                  .outer_stride = {POINTS * v_point(plan), v_row(plan), 0},
                  .pixel_stride = 2,
                  .pixels = tiles(plan),
                  .dst_block = m_block(plan)};
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &p.blocks);
        const ptrdiff_t m_point = p.blocks * m_block(plan);
        p.weights = (const float *)args->packed + (ptrdiff_t)first * v * steps(plan);
        for (int32_t point = 0; point < POINTS; point++) {
            p.src = source + point * v_point(plan);
            p.dst = m + point * m_point;
            p.run = parities(point);
            p.bias = args->bias && points[point] == 1 ? args->bias + (ptrdiff_t)first * v : NULL;
            plan->kernels->panel(&p);
            p.weights += (ptrdiff_t)point_steps(plan, point) * p.blocks * v;
        }
        for (int32_t b = 0; b < p.blocks; b++) {
            const ptrdiff_t at = (first + b) * row->block_stride;
            const ck_stem_output out = {.src = m + b * m_block(plan),
                                        .src_point = m_point,
                                        .width = plan->out_width,
                                        .dst = row->dst + at,
                                        .residual = row->residual ? row->residual + at : NULL,
                                        .relu = !!(plan->d.epilogue & CK_RELU)};
            plan->kernels->stem_output(&out);
        }
    }
}

static const ck_stem_method method = {ROWS_A_RUN, memory_floats, fill, run_row};

static size_t workspace_size(const ck_conv_plan *plan) { return ck_stem_workspace(plan, &method); }

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    return ck_stem_run(plan, args, batch, &method);
}

const ck_conv_algorithm ck_conv_stem_winograd = {.id = CK_STEM_WINOGRAD,
                                                 .name = "stem winograd",
                                                 .rounds = 1,
                                                 .applicable = applicable,
                                                 .choose = choose,
                                                 .cost = cost,
                                                 .packed_size = packed_size,
                                                 .workspace_size = workspace_size,
                                                 .pack = pack,
                                                 .run = run,
                                                 .describe = ck_stem_describe};
