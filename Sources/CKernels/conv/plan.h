/* What the convolution's algorithms share: the plan, the table entry of an algorithm, views of filters, and the
 * division of output channels into panels. */
#ifndef CK_PLAN_H
#define CK_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "ckernels.h"
#include "core/caches.h"
#include "core/parallel.h"
#include "isa/kernels.h"

typedef struct ck_conv_algorithm ck_conv_algorithm;

/* How a team shares a weight gradient: the product of the three is at most the number of threads. */
typedef struct ck_weight_split {
    int32_t images; /* parts, each with a dw of its own, which are added in order at the end */
    int32_t panels; /* of output channels */
    int32_t blocks; /* of input channels */
} ck_weight_split;

struct ck_conv_plan {
    ck_conv_desc d; /* every default filled in */
    const ck_kernels *kernels;
    ck_caches caches; /* as they were when the plan was made: block sizes never change afterwards */
    const ck_conv_algorithm *algorithm;
    int32_t block;                 /* V */
    int32_t in_blocks, out_blocks; /* channel blocks of x and y */
    int32_t out_height, out_width;
    int32_t threads;
    int32_t groups;        /* after merging, see ck_merge_groups */
    int32_t panel_blocks;  /* output blocks of a panel */
    int32_t narrow;        /* direct: channels of a group, where a block holds several groups; 0 otherwise */
    int32_t tile;          /* Winograd: m; 0 otherwise */
    int32_t on_the_fly;    /* Winograd: filters are transformed in run */
    int32_t chunk_blocks;  /* Winograd on the fly: input blocks transformed at once */
    int32_t tiles_a_block; /* Winograd: tiles whose transforms are held at once */
    ck_weight_split split; /* weight gradient */
};

/* What a run hands to its parts. */
typedef struct ck_conv_job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int32_t batch; /* images of this run */
} ck_conv_job;

/* One algorithm. `choose` fills the plan's parameters and may be NULL; it comes after `applicable`. Sizes in bytes. */
struct ck_conv_algorithm {
    ck_algorithm id;
    int (*applicable)(const ck_conv_plan *plan);
    void (*choose)(ck_conv_plan *plan);
    double (*cost)(const ck_conv_plan *plan); /* cycles of one thread for one full batch, roughly */
    size_t (*packed_size)(const ck_conv_plan *plan);
    size_t (*workspace_size)(const ck_conv_plan *plan);
    void (*pack)(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed);
    ck_status (*run)(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch);
    void (*describe)(const ck_conv_plan *plan, char *text, size_t size);
};

extern const ck_conv_algorithm ck_conv_direct, ck_conv_pointwise, ck_conv_stem, ck_conv_stem_winograd,
    ck_conv_winograd2, ck_conv_winograd4, ck_conv_gemm;
/* The data gradient where it is no forward convolution, and the weight gradient. */
extern const ck_conv_algorithm ck_conv_data_direct, ck_conv_data_gemm, ck_conv_weight_direct, ck_conv_weight_gemm,
    ck_conv_weight_stem, ck_conv_weight_winograd;

/* packed_size of what packs nothing. */
size_t ck_nothing_packed(const ck_conv_plan *plan);

/* Filters as four strides, so that one packing serves plain and flipped (data gradient) weights.
 * Within a group: w(k, c, y, x) = base[k * k_stride + c * c_stride + y * y_stride + x * x_stride] * scale[k]. */
typedef struct ck_filter_view {
    const float *base;
    ptrdiff_t group_stride, k_stride, c_stride, y_stride, x_stride;
    const float *scale;   /* by output channel of the whole convolution, or NULL */
    int32_t groups, k, c; /* real groups, output and input channels of one */
} ck_filter_view;

ck_filter_view ck_view_filter(const ck_conv_plan *plan, const float *oihw, const float *scale);

/* Grouped convolutions whose groups are narrower than a channel block are merged until they fill whole blocks; the
 * merged filter has zeros between the groups. Returns the number of groups left, or 0 if that is impossible. */
int32_t ck_merge_groups(const ck_conv_desc *d, int32_t block);

/* w(k, c, y, x) of merged group g; 0 for channels that are not there or of another group. */
float ck_filter_at(const ck_filter_view *view, int32_t merged_groups, int32_t g, int32_t k, int32_t c, int32_t y,
                   int32_t x);

/* Panels: `blocks` output blocks in panels of `width`, the rest in panels of falling powers of two. */
static inline int32_t ck_panel_count(int32_t blocks, int32_t width) {
    return blocks / width + __builtin_popcount((unsigned)(blocks % width));
}
static inline void ck_panel_at(int32_t blocks, int32_t width, int32_t index, int32_t *first, int32_t *count) {
    const int32_t full = blocks / width;
    *count = width;
    *first = index * width;
    if (index < full) return;
    int32_t rest = blocks % width;
    *first = full * width;
    for (int32_t bit = width / 2; bit; bit /= 2) {
        if (!(rest & bit)) continue;
        *count = bit;
        if (index-- == full) return;
        *first += bit;
    }
}

/* The panel width (1, 2 or 4) with the fewest idle cycles for rows of `pixels` pixels; at most `blocks`. */
int32_t ck_panel_width(const ck_kernels *kernels, int32_t pixels, int32_t blocks);
/* Pixels of the register tile of a panel of `width` blocks. */
static inline int32_t ck_tile_pixels(const ck_kernels *kernels, int32_t width) {
    return width == 4 ? kernels->tile_pixels4 : width == 2 ? kernels->tile_pixels2 : kernels->tile_pixels1;
}
/* Cycles a step of `pixels` pixels takes with panels of `width` blocks. */
double ck_panel_cycles(const ck_kernels *kernels, int32_t pixels, int32_t width);

/* Packs filters for panels: [group][panel][in block][y][x][V input channels][panel width * V], zeros where there is
 * nothing. Steps of a panel: in_blocks_of_group * kh * kw * V. */
void ck_pack_panels(const ck_conv_plan *plan, const float *oihw, const float *scale, float *packed);
size_t ck_pack_panels_size(const ck_conv_plan *plan);

/* Input rows first...first+count of one image and group to [block][row][wide columns][V], column 0 of the picture at
 * `left`, zeros outside: what lets the panel kernel never meet an edge (conv/direct.c). */
void ck_pad_rows(const ck_conv_plan *plan, const float *src, int32_t first, int32_t count, int32_t left, int32_t wide,
                 float *buffer);

/* A team of threads as `across` groups over items times `deep` over panels, and what one thread of it does. */
typedef struct ck_grid {
    int32_t across, deep;
} ck_grid;
ck_grid ck_choose_grid(int32_t threads, int64_t items, int32_t panels, size_t weight_bytes);

static inline size_t ck_round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

#endif
