/* Pictures in tiles of two sizes, `big` squared outputs and one less in either direction: 14 = 4 + 4 + 3 + 3, 7 = 4
 * + 3.
 *
 * The small tile's points are a part of the big one's (isa/kernels.h, ck_points), so both share filters, and a point
 * meets the tiles of some kinds only. Tiles are numbered along the rows of one picture after the other. A block of them
 * lies in memory by kind, in an order in which every point's tiles are neighbors:
 *
 *     small rows x big columns | big x big | big rows x small columns | small x small
 */
#ifndef CK_TILING_H
#define CK_TILING_H

#include "conv/plan.h"

enum { CK_TILE_KINDS = 4 };

/* One dimension: `bigs` tiles of `big`, then smaller ones, `count` in all. */
typedef struct ck_tile_line {
    int32_t big, bigs, count;
} ck_tile_line;

typedef struct ck_tiling {
    ck_tile_line rows, columns;
} ck_tiling;

ck_tiling ck_tiling_of(int32_t height, int32_t width, int32_t big);
static inline int64_t ck_tiling_count(const ck_tiling *t, int32_t batch) {
    return (int64_t)batch * t->rows.count * t->columns.count;
}
static inline int32_t ck_tile_size(const ck_tile_line *line, int32_t index) {
    return line->big - (index >= line->bigs);
}
static inline int32_t ck_tile_start(const ck_tile_line *line, int32_t index) {
    return index * line->big - (index > line->bigs ? index - line->bigs : 0);
}

/* Whether the rows and columns of a kind are small. */
static inline int ck_kind_small_rows(int32_t kind) { return kind == 0 || kind == 3; }
static inline int ck_kind_small_columns(int32_t kind) { return kind >= 2; }

/* Tiles begin...end, and where in the block the tiles of each kind start; start[4]: how many there are. */
typedef struct ck_tile_block {
    const ck_tiling *tiling;
    int64_t begin, end;
    int64_t before[CK_TILE_KINDS]; /* tiles of each kind that come before `begin` */
    int32_t start[CK_TILE_KINDS + 1];
} ck_tile_block;

ck_tile_block ck_tile_block_at(const ck_tiling *tiling, int64_t begin, int64_t end);

/* Neighboring tiles of one kind in one tile row of one picture. */
typedef struct ck_tile_run {
    int32_t image, row, column, count, kind;
    int32_t slot; /* of the first in the block */
} ck_tile_run;

/* The longest run from `tile` on that ends before `end`. */
ck_tile_run ck_tile_run_at(const ck_tile_block *block, int64_t tile, int64_t end);

#endif
