/* Winograd with tiles of two sizes: what the front (tiled.c) and the run (tiled_run.c) share.
 *
 *     V[plane][in block][tile][V]           transformed input; a plane is a pair of points of a pair of phases
 *     M[point][block of a panel][tile][V]   products of one output panel
 *     U[filter row][filter column][in][panel width * V]  transformed filters, stored or a row at a time on the fly
 */
#ifndef CK_TILED_H
#define CK_TILED_H

#include "conv/algorithms.h"
#include "conv/tiling.h"

/* Pixels of one parity of a strided convolution, in one dimension; at stride 1 there is one phase. Points count in the
 * family's order; a small tile lacks the first one. */
typedef struct ck_tile_phase {
    ck_points big, small;
    int32_t first; /* the first point of `big` */
    int32_t points;
    int32_t filter; /* row and column of U that belongs to point `first` */
    int32_t step;   /* rows and columns from there to the next point's: 0 if all share one */
} ck_tile_phase;

/* A way to cut pictures into tiles, and to multiply them. */
typedef struct ck_tile_scheme {
    int32_t big; /* outputs of the big tile's side */
    int32_t stride;
    int32_t points;   /* of a big tile's side */
    int32_t filters;  /* rows and columns of U */
    int32_t groups;   /* of rows of U, see ck_tile_filter; the last one may be that of the second phase */
    int32_t group[5]; /* the first row of each, and the end */
    int32_t planes;   /* rows and columns of V: the phases' points */
    int32_t phases;
    int32_t transposed; /* the data gradient: phases are those of the result and have points of their own */
    ck_tile_phase phase[2];
} ck_tile_scheme;

typedef struct ck_tiled_params {
    const ck_tile_scheme *scheme;
    int32_t on_the_fly;    /* filters are transformed in run */
    int32_t chunk_blocks;  /* input blocks whose filters are transformed at once */
    int32_t tiles_a_block; /* tiles whose transforms are held at once */
    int32_t unit;          /* blocks begin at multiples of so many tiles */
} ck_tiled_params;
CK_PARAMETERS(ck_tiled_params)

/* A run of points of one row, for neighboring tiles: one call of the product kernel. */
typedef struct ck_tile_product {
    int32_t column, points; /* first point in the row, how many */
    int32_t tile, tiles;
    int32_t adds; /* to what an earlier one of the same points began */
    int32_t segments;
    int32_t plane[4];      /* of V, for the first point */
    int32_t filter_row[4]; /* of U: row, column and columns from point to point */
    int32_t filter_column[4];
    int32_t filter_step[4];
} ck_tile_product;

/* The products of one row of points for a block of tiles, in the order in which they must run. */
enum { CK_TILE_PRODUCTS = 12 };
int32_t ck_tile_products(const ck_conv_plan *plan, const ck_tile_block *block, int32_t row,
                         ck_tile_product products[CK_TILE_PRODUCTS]);

static inline const ck_tile_scheme *ck_tiled_scheme(const ck_conv_plan *plan) { return own(plan)->scheme; }
static inline int32_t ck_tiled_channels(const ck_conv_plan *plan) { return plan->in_blocks * plan->block; }
static inline int32_t ck_squared(int32_t side) { return side * side; }
/* Pixels of the result between neighboring outputs of a tile. */
static inline int32_t ck_tiled_spread(const ck_conv_plan *plan) {
    return own(plan)->scheme->transposed ? own(plan)->scheme->stride : 1;
}
static inline ck_tiling ck_tiled_tiling(const ck_conv_plan *plan) {
    const int32_t spread = ck_tiled_spread(plan);
    return ck_tiling_of((plan->out_height + spread - 1) / spread, (plan->out_width + spread - 1) / spread,
                        own(plan)->scheme->big);
}

/* Planes start an odd number of vectors apart: at a power of two they would all fall into the same cache sets. */
static inline ptrdiff_t ck_odd_vectors(ptrdiff_t vectors, int32_t v) { return (vectors | 1) * v; }
static inline ptrdiff_t ck_tiled_v_plane(const ck_conv_plan *plan) {
    return ck_odd_vectors((ptrdiff_t)plan->in_blocks * own(plan)->tiles_a_block, plan->block);
}
static inline ptrdiff_t ck_tiled_m_point(const ck_conv_plan *plan) {
    return ck_odd_vectors((ptrdiff_t)plan->panel_blocks * own(plan)->tiles_a_block, plan->block);
}
static inline ptrdiff_t ck_tiled_u_point(const ck_conv_plan *plan) {
    return ck_odd_vectors((ptrdiff_t)own(plan)->chunk_blocks * plan->block * plan->panel_blocks, plan->block);
}

/* A thread's buffers, in floats. */
typedef struct ck_tiled_buffers {
    size_t v, m, u, scratch;
} ck_tiled_buffers;
ck_tiled_buffers ck_tiled_sizes(const ck_conv_plan *plan);

/* Whether every thread transforms the input of all tiles for itself. That repeats work, but with few tiles little, and
 * saves the barrier and the fetching of half of V from the other thread's cache. */
int ck_tiled_owns_input(const ck_conv_plan *plan);

/* Input block b of tiles first...end to V. */
void ck_tiled_input(const ck_conv_plan *plan, const ck_conv_args *args, int32_t b, const ck_tile_block *block,
                    int64_t first, int64_t end, float *v, float *scratch);

ck_status ck_tiled_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch);

#endif
