/* Layout conversion between plain tensors and NCHWc.
 *
 *     NCHW   [n][channel][pixel]                 one channel after the other
 *     NHWC   [n][pixel][channel]                 one pixel after the other
 *     NCHWc  [n][channel / c][pixel][channel % c]
 *
 * NCHW <-> NCHWc transposes (c x pixels) matrices, four by four in 128-bit vectors, which every CPU in question has;
 * the rest is bound by memory. A thread takes a range of (image, channel block) planes, cut at any pixel.
 */
#include <string.h>

#include "ops/ops.h"

typedef float four __attribute__((vector_size(16)));

static inline four load4(const float *p) {
    four v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store4(float *p, four v) { memcpy(p, &v, sizeof v); }

/* Rows a, b, c, d become columns. */
static inline void transpose4(four *a, four *b, four *c, four *d) {
    const four ab01 = __builtin_shufflevector(*a, *b, 0, 4, 1, 5), ab23 = __builtin_shufflevector(*a, *b, 2, 6, 3, 7);
    const four cd01 = __builtin_shufflevector(*c, *d, 0, 4, 1, 5), cd23 = __builtin_shufflevector(*c, *d, 2, 6, 3, 7);
    *a = __builtin_shufflevector(ab01, cd01, 0, 1, 4, 5);
    *b = __builtin_shufflevector(ab01, cd01, 2, 3, 6, 7);
    *c = __builtin_shufflevector(ab23, cd23, 0, 1, 4, 5);
    *d = __builtin_shufflevector(ab23, cd23, 2, 3, 6, 7);
}

/* to[q * to_row + p] = from[p * from_row + q] for p < rows, q < columns. */
static void transpose(const float *from, size_t from_row, int64_t rows, int64_t columns, float *to, size_t to_row) {
    const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (int64_t q = 0; q < whole_columns; q += 4)
        for (int64_t p = 0; p < whole_rows; p += 4) {
            const float *f = from + p * from_row + q;
            four a = load4(f), b = load4(f + from_row), c = load4(f + 2 * from_row), d = load4(f + 3 * from_row);
            transpose4(&a, &b, &c, &d);
            float *t = to + q * to_row + p;
            store4(t, a), store4(t + to_row, b), store4(t + 2 * to_row, c), store4(t + 3 * to_row, d);
        }
    for (int64_t q = 0; q < columns; q++)
        for (int64_t p = q < whole_columns ? whole_rows : 0; p < rows; p++) to[q * to_row + p] = from[p * from_row + q];
}

/* One conversion: pixels are counted through all (image, channel block) planes. `convert` does pixels p...p + count of
 * the channels first...first + valid of image n; `at` is their place in NCHWc. */
typedef struct conversion {
    int32_t channels, blocks, block;
    int64_t plane;
    const void *src;
    float *dst;
    const float *scale, *shift;
    void (*convert)(const struct conversion *, int64_t n, int32_t first, int32_t valid, int64_t p, int64_t count,
                    int64_t at);
} conversion;

static void from_nchw(const conversion *job, int64_t n, int32_t first, int32_t valid, int64_t p, int64_t count,
                      int64_t at) {
    float *dst = job->dst + at;
    if (valid < job->block) memset(dst, 0, count * job->block * sizeof *dst);
    transpose((const float *)job->src + (n * job->channels + first) * job->plane + p, job->plane, valid, count, dst,
              job->block);
}

static void to_nchw(const conversion *job, int64_t n, int32_t first, int32_t valid, int64_t p, int64_t count,
                    int64_t at) {
    transpose((const float *)job->src + at, job->block, count, valid,
              job->dst + (n * job->channels + first) * job->plane + p, job->plane);
}

static void from_nhwc(const conversion *job, int64_t n, int32_t first, int32_t valid, int64_t p, int64_t count,
                      int64_t at) {
    for (int64_t i = 0; i < count; i++) {
        const float *src = (const float *)job->src + (n * job->plane + p + i) * job->channels + first;
        float *dst = job->dst + at + i * job->block;
        for (int32_t c = 0; c < job->block; c++) dst[c] = c < valid ? src[c] : 0;
    }
}

static void from_nhwc8(const conversion *job, int64_t n, int32_t first, int32_t valid, int64_t p, int64_t count,
                       int64_t at) {
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *src = (const uint8_t *)job->src + (n * job->plane + p + i) * job->channels + first;
        float *dst = job->dst + at + i * job->block;
        for (int32_t c = 0; c < job->block; c++)
            dst[c] = c < valid ? src[c] * job->scale[first + c] + job->shift[first + c] : 0;
    }
}

/* Pixels begin...end, plane by plane. */
static void convert_range(void *context, int64_t begin, int64_t end) {
    const conversion *job = context;
    while (begin < end) {
        const int64_t plane = begin / job->plane, p = begin % job->plane;
        const int64_t count = end - begin < job->plane - p ? end - begin : job->plane - p;
        const int32_t first = (int32_t)(plane % job->blocks) * job->block;
        const int32_t left = job->channels - first, valid = left < job->block ? left : job->block;
        job->convert(job, plane / job->blocks, first, valid, p, count, begin * job->block);
        begin += count;
    }
}

static ck_status run(conversion job, int32_t n, int32_t c, int32_t h, int32_t w, int32_t threads) {
    if (!job.src || !job.dst) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    job.channels = c;
    job.block = ck_block();
    job.blocks = ck_blocks(c, job.block);
    job.plane = (int64_t)h * w;
    ck_run_ranges(threads, job.plane * job.blocks * n, job.block, convert_range, &job);
    return CK_OK;
}

size_t ck_blocked_count(int32_t n, int32_t c, int32_t h, int32_t w) {
    if (n < 1 || c < 1 || h < 1 || w < 1) return 0;
    const int32_t block = ck_block();
    size_t count = (size_t)ck_blocks(c, block) * block, bytes;
    if (__builtin_mul_overflow(count, (size_t)h, &count) || __builtin_mul_overflow(count, (size_t)w, &count) ||
        __builtin_mul_overflow(count, (size_t)n, &count) || __builtin_mul_overflow(count, sizeof(float), &bytes))
        return 0;
    return bytes <= PTRDIFF_MAX ? count : 0;
}

ck_status ck_nchw_to_blocked(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                             int32_t threads) {
    return run((conversion){.convert = from_nchw, .src = src, .dst = dst}, n, c, h, w, threads);
}

ck_status ck_blocked_to_nchw(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                             int32_t threads) {
    return run((conversion){.convert = to_nchw, .src = src, .dst = dst}, n, c, h, w, threads);
}

ck_status ck_nhwc_to_blocked(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                             int32_t threads) {
    return run((conversion){.convert = from_nhwc, .src = src, .dst = dst}, n, c, h, w, threads);
}

ck_status ck_nhwc8_to_blocked(const uint8_t *src, int32_t n, int32_t c, int32_t h, int32_t w, const float *scale,
                              const float *shift, float *dst, int32_t threads) {
    if (!scale || !shift) return CK_INVALID_ARGUMENT;
    return run((conversion){.convert = from_nhwc8, .src = src, .dst = dst, .scale = scale, .shift = shift}, n, c, h, w,
               threads);
}
