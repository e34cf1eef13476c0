/* Pictures in tiles of two sizes: see tiling.h. */
#include "conv/tiling.h"

static ck_tile_line line_of(int32_t size, int32_t big) {
    ck_tile_line line = {.big = big, .count = (size + big - 1) / big};
    const int32_t surplus = line.count * big - size;
    line.bigs = surplus < line.count ? line.count - surplus : 0;
    return line;
}

ck_tiling ck_tiling_of(int32_t height, int32_t width, int32_t big) {
    return (ck_tiling){.rows = line_of(height, big), .columns = line_of(width, big)};
}

static int32_t kind_of(int small_rows, int small_columns) {
    return small_rows ? (small_columns ? 3 : 0) : (small_columns ? 2 : 1);
}

/* Adds `rows` rows of which each has `columns` tiles, big ones first. */
static void add(int64_t counts[CK_TILE_KINDS], int small_rows, int64_t rows, const ck_tile_line *line,
                int32_t columns) {
    const int32_t bigs = columns < line->bigs ? columns : line->bigs;
    counts[kind_of(small_rows, 0)] += rows * bigs;
    counts[kind_of(small_rows, 1)] += rows * (columns - bigs);
}

/* How many of the first `tiles` tiles are of each kind. */
static void count_kinds(const ck_tiling *t, int64_t tiles, int64_t counts[CK_TILE_KINDS]) {
    const int64_t a_picture = (int64_t)t->rows.count * t->columns.count, pictures = tiles / a_picture;
    const int32_t rest = (int32_t)(tiles % a_picture), row = rest / t->columns.count, column = rest % t->columns.count;
    const int32_t bigs = row < t->rows.bigs ? row : t->rows.bigs;
    for (int32_t kind = 0; kind < CK_TILE_KINDS; kind++) counts[kind] = 0;
    add(counts, 0, pictures * t->rows.bigs + bigs, &t->columns, t->columns.count);
    add(counts, 1, pictures * (t->rows.count - t->rows.bigs) + row - bigs, &t->columns, t->columns.count);
    add(counts, row >= t->rows.bigs, 1, &t->columns, column);
}

ck_tile_block ck_tile_block_at(const ck_tiling *tiling, int64_t begin, int64_t end) {
    ck_tile_block block = {.tiling = tiling, .begin = begin, .end = end};
    int64_t after[CK_TILE_KINDS];
    count_kinds(tiling, begin, block.before);
    count_kinds(tiling, end, after);
    for (int32_t kind = 0; kind < CK_TILE_KINDS; kind++)
        block.start[kind + 1] = block.start[kind] + (int32_t)(after[kind] - block.before[kind]);
    return block;
}

ck_tile_run ck_tile_run_at(const ck_tile_block *block, int64_t tile, int64_t end) {
    const ck_tiling *t = block->tiling;
    const int32_t columns = t->columns.count, rows = t->rows.count;
    ck_tile_run run = {.column = (int32_t)(tile % columns),
                       .row = (int32_t)(tile / columns % rows),
                       .image = (int32_t)(tile / columns / rows)};
    const int small = run.column >= t->columns.bigs;
    run.kind = kind_of(run.row >= t->rows.bigs, small);
    run.count = (small ? columns : t->columns.bigs) - run.column;
    if (run.count > end - tile) run.count = (int32_t)(end - tile);
    int64_t counts[CK_TILE_KINDS];
    count_kinds(t, tile, counts);
    run.slot = block->start[run.kind] + (int32_t)(counts[run.kind] - block->before[run.kind]);
    return run;
}
