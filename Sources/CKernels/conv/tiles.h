/* The tiles of Winograd algorithms: m x m outputs each, numbered along the rows of one picture after the other. */
#ifndef CK_TILES_H
#define CK_TILES_H

#include "conv/plan.h"

static inline int32_t ck_tile_columns(const ck_conv_plan *plan, int32_t m) { return (plan->out_width + m - 1) / m; }
static inline int32_t ck_tile_rows(const ck_conv_plan *plan, int32_t m) { return (plan->out_height + m - 1) / m; }
static inline int64_t ck_tile_count(const ck_conv_plan *plan, int32_t m, int32_t batch) {
    return (int64_t)batch * ck_tile_rows(plan, m) * ck_tile_columns(plan, m);
}

/* A run of tiles in one tile row of one picture. */
typedef struct ck_tile_run {
    int32_t image, row, column, count;
} ck_tile_run;

static inline ck_tile_run ck_tile_run_at(const ck_conv_plan *plan, int32_t m, int64_t tile, int64_t end) {
    const int32_t columns = ck_tile_columns(plan, m), rows = ck_tile_rows(plan, m);
    ck_tile_run s = {.column = (int32_t)(tile % columns),
                     .row = (int32_t)(tile / columns % rows),
                     .image = (int32_t)(tile / columns / rows)};
    s.count = columns - s.column;
    if (s.count > end - tile) s.count = (int32_t)(end - tile);
    return s;
}

#endif
