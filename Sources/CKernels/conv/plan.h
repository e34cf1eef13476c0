/* What the algorithms of a convolution share: the plan, the table entry of an algorithm, views of filters, and how
 * output channels are cut into panels.
 *
 * Words, here and in all files of conv/ and isa/
 *     V              floats of a vector of the instruction set, and channels of a channel block
 *     channel block  V channels that lie side by side: the c of NCHWc, (N, C/c, H, W, c). The last one may be filled up
 *                    with zeros. `in_blocks` and `out_blocks` count those of x and y
 *     group          of channels, as in a grouped convolution; nothing else
 *     panel          up to 4 adjacent output blocks that one kernel call computes, and their filters, packed
 *     register tile  pixels x output channels whose sums a kernel holds in registers
 *     tile           in Winograd algorithms: m x m outputs, made from (m + 2) x (m + 2) inputs
 *     point          in Winograd algorithms: one of the (m + 2)^2 products a tile is transformed to
 *     step           one input channel at one tap of the kernel: one multiply-add of every sum
 *     part           work that does not depend on other work of the same call, see core/parallel.h
 *     worker         the number of the thread that does it; tells only which memory it may use
 *     run (of rows, of tiles)  adjacent ones that are handled together */
#ifndef CK_PLAN_H
#define CK_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "ckernels.h"
#include "core/caches.h"
#include "core/parallel.h"
#include "isa/kernels.h"

typedef struct ck_conv_algorithm ck_conv_algorithm;

struct ck_conv_plan {
    ck_conv_desc d; /* every default filled in */
    const ck_kernels *kernels;
    ck_caches caches; /* as they were when the plan was made: block sizes never change afterwards */
    const ck_conv_algorithm *algorithm;
    int32_t block;                 /* V */
    int32_t in_blocks, out_blocks; /* channel blocks of x and y */
    int32_t out_height, out_width;
    int32_t threads;
    int32_t groups;       /* after merging, see ck_merge_groups */
    int32_t panel_blocks; /* output blocks of a panel */
    /* What only the algorithm itself knows: a struct of its own, see CK_PARAMETERS. */
    _Alignas(16) unsigned char parameters[64];
};

/* In the file of an algorithm: `own(plan)` reads its parameters, of the type given, and `set_own(plan, value)` sets
 * them in `choose`. They are zero before. */
#define CK_PARAMETERS(type)                                                                                            \
    _Static_assert(sizeof(type) <= sizeof((ck_conv_plan *)0)->parameters, "enlarge ck_conv_plan.parameters");          \
    static inline const type *own(const ck_conv_plan *plan) { return (const void *)plan->parameters; }                 \
    static inline void set_own(ck_conv_plan *plan, type value) { *(type *)(void *)plan->parameters = value; }

/* What a run hands to its parts. */
typedef struct ck_conv_job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int32_t batch; /* images of this run */
} ck_conv_job;

/* One algorithm. Sizes in bytes. */
struct ck_conv_algorithm {
    ck_algorithm id;  /* what users name it by; unique among those of its list */
    const char *name; /* in descriptions */
    int rounds;       /* less exact than direct sums: not with CK_ACCURACY_STRICT */
    int packs_bf16;   /* takes desc.packed_type CK_BF16 */
    int (*applicable)(const ck_conv_plan *plan);
    void (*choose)(ck_conv_plan *plan);       /* fills the plan's parameters, once `applicable` has said yes; or NULL */
    double (*cost)(const ck_conv_plan *plan); /* cycles of one thread for one full batch, roughly */
    size_t (*packed_size)(const ck_conv_plan *plan);
    size_t (*workspace_size)(const ck_conv_plan *plan);
    void (*pack)(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed); /* NULL: no weights */
    /* Which of several orders `pack` writes, beside what groups and panels say; NULL: there is one. */
    int32_t (*packing_order)(const ck_conv_plan *plan);
    ck_status (*run)(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch);
    void (*describe)(const ck_conv_plan *plan, char *text, size_t size); /* or NULL */
};

/* packed_size of what packs nothing. */
size_t ck_nothing_packed(const ck_conv_plan *plan);

/* Filters as four strides, so that one packing serves plain and flipped (data gradient) weights. */
typedef struct ck_filter_view {
    const float
        *base; /* w(k, c, y, x) of a real group: base[k * k_stride + c * c_stride + y * y_stride + x * x_stride] */
    ptrdiff_t group_stride, k_stride, c_stride, y_stride, x_stride;
    const float *scale;   /* (K), by output channel of the whole convolution, or NULL */
    int32_t groups, k, c; /* real groups, output and input channels of one */
    int32_t merged;       /* groups after merging */
} ck_filter_view;

ck_filter_view ck_view_filter(const ck_conv_plan *plan, const float *oihw, const float *scale);

/* Grouped convolutions whose groups are narrower than a channel block are merged until they fill whole blocks; the
 * merged filter has zeros between the groups. Returns the number of groups left, or 0 if that is impossible. */
int32_t ck_merge_groups(const ck_conv_desc *d, int32_t block);

/* A place in the filters: a merged group, output and input channel in it, kernel row and column. */
typedef struct ck_filter_place {
    int32_t group, k, c, y, x;
} ck_filter_place;

/* The scaled weight there; 0 for channels that are not there or of another real group. */
float ck_filter_at(const ck_filter_view *view, ck_filter_place at);
/* Those of output channels at.k ... at.k + width - 1, side by side: the inner loop of every packing. */
void ck_pack_outputs(const ck_filter_view *view, ck_filter_place at, int32_t width, float *dst);

/* What a part of packing gets as its context. */
typedef struct ck_packing {
    const ck_conv_plan *plan;
    ck_filter_view view;
    float *packed;
} ck_packing;
/* Packs in parts 0...parts-1, by the plan's threads; pack_part's context is a ck_packing. */
void ck_pack_parts(const ck_conv_plan *plan, const float *oihw, const float *scale, float *packed, int64_t parts,
                   ck_part pack_part);

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

/* Input blocks of a slice, with `taps` of the kernel: slices of equal size, whose weights for a panel fit half of L1.
 */
int32_t ck_slice_blocks(const ck_conv_plan *plan, int32_t taps);

/* Bytes of a packed weight. */
static inline int ck_packed_bytes(const ck_conv_plan *plan) { return plan->d.packed_type == CK_BF16 ? 2 : 4; }

/* Packs filters for panels, as floats or bfloat16: [group][panel][in block][y][x][V input channels][panel width * V],
 * zeros where there is nothing. Steps of a panel: in_blocks_of_group * kh * kw * V. */
void ck_pack_panels(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed);
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
