/* Concatenation along the channels of NCHWc, a part at a time, and the way back. A part that starts at a whole block is
 * copied plane by plane; any other is shifted by s lanes, so that each of its blocks fills the end of one block and the
 * start of the next:
 *
 *     src block      | 0 1 2 3 |        c = 4, s = 1
 *     dst blocks   . 0 1 2 | 3 . . .
 *
 * Only the lanes of this part's channels are written, so parts may come in any order; the part that holds the last
 * channel also zeroes the surplus lanes behind it.
 */
#include <string.h>

#include "ops/ops.h"

/* `pixels` vectors: lanes to...to + count of dst from lanes from...from + count of src; src NULL: zeros. */
static void copy_lanes(const float *src, int32_t from, float *dst, int32_t to, int32_t count, int64_t pixels,
                       int32_t block) {
    if (count <= 0) return;
    if (src && count == block) {
        memcpy(dst, src, (size_t)pixels * block * sizeof *dst);
        return;
    }
    for (int64_t p = 0; p < pixels; p++)
        for (int32_t i = 0; i < count; i++) dst[p * block + to + i] = src ? src[p * block + from + i] : 0;
}

/* A part of c channels and the whole they are cut from or put into, channels offset...offset + c of it. */
typedef struct concat {
    const float *src;
    float *dst;
    int32_t c, whole_c, offset, block;
    int32_t part_blocks, whole_blocks;
    int64_t pixels; /* of a plane */
} concat;

/* Planes of the part are counted through all images. For one of them: its plane of the whole (the first of two where it
 * is shifted), its channels, and those of them that lie in that plane. */
typedef struct place {
    int64_t whole;
    int32_t valid, here;
} place;

static place place_at(const concat *j, int64_t plane) {
    const int32_t b = (int32_t)(plane % j->part_blocks), left = j->c - b * j->block;
    const int32_t valid = left < j->block ? left : j->block, room = j->block - j->offset % j->block;
    return (place){plane / j->part_blocks * j->whole_blocks + j->offset / j->block + b, valid,
                   valid < room ? valid : room};
}

static void copy_planes(void *context, int64_t begin, int64_t end) {
    const concat *j = context;
    const int32_t block = j->block;
    const int64_t floats = j->pixels * block;
    for (int64_t plane = begin; plane < end; plane++) {
        const place at = place_at(j, plane);
        const float *from = j->src + plane * floats;
        float *to = j->dst + at.whole * floats;
        copy_lanes(from, 0, to, j->offset % block, at.here, j->pixels, block);
        copy_lanes(from, at.here, to + floats, 0, at.valid - at.here, j->pixels, block);
        const int last = plane % j->part_blocks == j->part_blocks - 1 && j->offset + j->c == j->whole_c;
        if (last && j->whole_c % block)
            copy_lanes(NULL, 0, to + (at.valid > at.here ? floats : 0), j->whole_c % block, block - j->whole_c % block,
                       j->pixels, block);
    }
}

static void slice_planes(void *context, int64_t begin, int64_t end) {
    const concat *j = context;
    const int32_t block = j->block;
    const int64_t floats = j->pixels * block;
    for (int64_t plane = begin; plane < end; plane++) {
        const place at = place_at(j, plane);
        const float *from = j->src + at.whole * floats;
        float *to = j->dst + plane * floats;
        copy_lanes(from, j->offset % block, to, 0, at.here, j->pixels, block);
        copy_lanes(from + floats, 0, to, at.here, at.valid - at.here, j->pixels, block);
        copy_lanes(NULL, 0, to, at.valid, block - at.valid, j->pixels, block);
    }
}

static ck_status run(concat j, int32_t n, int32_t h, int32_t w, ck_range body, int32_t threads) {
    if (!j.src || !j.dst || j.offset < 0 || j.c < 1 || j.whole_c < j.c || j.offset > j.whole_c - j.c)
        return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, j.whole_c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    j.block = ck_block();
    j.part_blocks = ck_blocks(j.c, j.block);
    j.whole_blocks = ck_blocks(j.whole_c, j.block);
    j.pixels = (int64_t)h * w;
    ck_run_ranges(threads, (int64_t)n * j.part_blocks, j.pixels * j.block, body, &j);
    return CK_OK;
}

ck_status ck_concat_copy(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst, int32_t dst_c,
                         int32_t offset, int32_t threads) {
    return run((concat){.src = src, .dst = dst, .c = c, .whole_c = dst_c, .offset = offset}, n, h, w, copy_planes,
               threads);
}

ck_status ck_concat_slice(const float *src, int32_t n, int32_t src_c, int32_t h, int32_t w, int32_t offset, float *dst,
                          int32_t c, int32_t threads) {
    return run((concat){.src = src, .dst = dst, .c = c, .whole_c = src_c, .offset = offset}, n, h, w, slice_planes,
               threads);
}
