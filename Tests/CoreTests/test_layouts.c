/* Layout conversion against the index formula, at every channel count around the edges of blocks. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* Whole blocks, and nothing for what does not fit. */
static void counts(void) {
    const int32_t block = ck_block(), bad[] = {0, -1, INT32_MIN};
    check(ck_blocked_count(2, 1, 3, 5) == 2 * (size_t)block * 15, "one channel takes a block");
    check(ck_blocked_count(2, block, 3, 5) == 2 * (size_t)block * 15, "a block");
    check(ck_blocked_count(2, block + 1, 3, 5) == 4 * (size_t)block * 15, "one more takes two");
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        check(ck_blocked_count(bad[i], 1, 1, 1) == 0 && ck_blocked_count(1, bad[i], 1, 1) == 0 &&
                  ck_blocked_count(1, 1, bad[i], 1) == 0 && ck_blocked_count(1, 1, 1, bad[i]) == 0,
              "sizes of %d", bad[i]);
    check(ck_blocked_count(INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX) == 0, "2^124 floats");
    check(ck_blocked_count(INT32_MAX, INT32_MAX, 1, 1) == 0, "2^62 floats have no address");
    check(ck_blocked_count(1, INT32_MAX, 1, 1) >= INT32_MAX, "2^31 floats have one");
}

static void check_bits(const float *got, const float *expected, size_t count, const char *how, const int *s) {
    check(!memcmp(got, expected, count * sizeof *got), "%s, %dx%dx%dx%d", how, s[0], s[1], s[2], s[3]);
}

static void planes(const int *s, int32_t threads) {
    const int n = s[0], c = s[1], h = s[2], w = s[3];
    const size_t plane = (size_t)h * w, count = n * c * plane, whole = ck_blocked_count(n, c, h, w);
    const float *x = uniform(count, (uint64_t)c, -1, 1);
    float *dst = poisoned(n, c, plane), *back = floats(count);
    check(ck_nchw_to_blocked(x, n, c, h, w, dst, threads) == CK_OK, "planes to blocks");
    check_bits(dst, blocked(x, n, c, plane), whole, "planes to blocks", s);
    check(ck_blocked_to_nchw(dst, n, c, h, w, back, threads) == CK_OK, "blocks to planes");
    check_bits(back, x, count, "blocks to planes", s);
}

/* Scales and shifts whose products are exact with and without a fused multiply-add. */
static void pixels(const int *s, int32_t threads) {
    const int n = s[0], c = s[1], h = s[2], w = s[3];
    const size_t plane = (size_t)h * w, count = n * c * plane, whole = ck_blocked_count(n, c, h, w);
    uint8_t *bytes = allocate(count);
    float *values = floats(count), *planar = floats(count), *scaled = floats(count), *scale = floats(c);
    float *shift = floats(c);
    cr_fill_bytes(bytes, count, (uint64_t)c);
    for (int k = 0; k < c; k++) {
        scale[k] = (float)(k % 3 + 1) * 0x1p-7f;
        shift[k] = (float)(k % 5) * -0.25f;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t k = i % c, at = (i / c / plane * c + k) * plane + i / c % plane;
        values[i] = planar[at] = bytes[i];
        scaled[at] = bytes[i] * scale[k] + shift[k];
    }
    float *dst = poisoned(n, c, plane);
    check(ck_nhwc_to_blocked(values, n, c, h, w, dst, threads) == CK_OK, "pixels to blocks");
    check_bits(dst, blocked(planar, n, c, plane), whole, "pixels to blocks", s);
    dst = poisoned(n, c, plane);
    check(ck_nhwc8_to_blocked(bytes, n, c, h, w, scale, shift, dst, threads) == CK_OK, "bytes to blocks");
    check_bits(dst, blocked(scaled, n, c, plane), whole, "bytes to blocks", s);
    dst = floats(count);
    check(ck_nhwc8_to_nchw(bytes, n, c, h, w, scale, shift, dst, threads) == CK_OK, "bytes to planes");
    check_bits(dst, scaled, count, "bytes to planes", s);
}

void test_layouts(void) {
    static const int channels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48};
    static const int sizes[][3] = {{1, 1, 1}, {2, 3, 5}, {3, 4, 4}, {1, 7, 13}};
    static const int large[][4] = {{1, 3, 65, 67}, {2, 20, 33, 31}, {2, 3, 120, 110}, {2, 33, 40, 41}};
    int32_t number = 0;
    counts();
    for (size_t i = 0; i < COUNT_OF(channels) * COUNT_OF(sizes) + COUNT_OF(large); i++, number++) {
        const size_t rest = i - COUNT_OF(channels) * COUNT_OF(sizes);
        const int *size = sizes[i % COUNT_OF(sizes)];
        const int small[] = {size[0], channels[i / COUNT_OF(sizes) % COUNT_OF(channels)], size[1], size[2]};
        const int *s = i < COUNT_OF(channels) * COUNT_OF(sizes) ? small : large[rest];
        place_at_start(number % 2);
        planes(s, number % 4);
        pixels(s, number % 6);
        release_all();
    }
}
