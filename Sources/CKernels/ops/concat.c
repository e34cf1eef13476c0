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

ck_status ck_concat_copy(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst, int32_t dst_c,
                         int32_t offset, int32_t threads) {
    if (!src || !dst || offset < 0 || c < 1 || dst_c < c || offset > dst_c - c) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, dst_c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    const int32_t block = ck_block(), src_blocks = ck_blocks(c, block), dst_blocks = ck_blocks(dst_c, block);
    const int32_t shift = offset % block, first = offset / block;
    const int64_t pixels = (int64_t)h * w, floats = pixels * block, planes = (int64_t)n * src_blocks;
    const int team = ck_threads_for(threads, planes, floats);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(planes, ck_thread(), ck_team(), &begin, &end);
        for (int64_t plane = begin; plane < end; plane++) {
            const int32_t b = (int32_t)(plane % src_blocks), left = c - b * block;
            const int32_t valid = left < block ? left : block;
            const int32_t here = valid < block - shift ? valid : block - shift;
            const float *from = src + plane * floats;
            float *to = dst + (plane / src_blocks * dst_blocks + first + b) * floats;
            copy_lanes(from, 0, to, shift, here, pixels, block);
            copy_lanes(from, here, to + floats, 0, valid - here, pixels, block);
            if (b == src_blocks - 1 && offset + c == dst_c && dst_c % block)
                copy_lanes(NULL, 0, to + (valid > here ? floats : 0), dst_c % block, block - dst_c % block, pixels,
                           block);
        }
    }
    return CK_OK;
}

ck_status ck_concat_slice(const float *src, int32_t n, int32_t src_c, int32_t h, int32_t w, int32_t offset, float *dst,
                          int32_t c, int32_t threads) {
    if (!src || !dst || offset < 0 || c < 1 || src_c < c || offset > src_c - c) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, src_c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    const int32_t block = ck_block(), src_blocks = ck_blocks(src_c, block), dst_blocks = ck_blocks(c, block);
    const int32_t shift = offset % block, first = offset / block;
    const int64_t pixels = (int64_t)h * w, floats = pixels * block, planes = (int64_t)n * dst_blocks;
    const int team = ck_threads_for(threads, planes, floats);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(planes, ck_thread(), ck_team(), &begin, &end);
        for (int64_t plane = begin; plane < end; plane++) {
            const int32_t b = (int32_t)(plane % dst_blocks), left = c - b * block;
            const int32_t valid = left < block ? left : block;
            const int32_t here = valid < block - shift ? valid : block - shift;
            const float *from = src + (plane / dst_blocks * src_blocks + first + b) * floats;
            float *to = dst + plane * floats;
            copy_lanes(from, shift, to, 0, here, pixels, block);
            copy_lanes(from + floats, 0, to, here, valid - here, pixels, block);
            copy_lanes(NULL, 0, to, valid, block - valid, pixels, block);
        }
    }
    return CK_OK;
}
