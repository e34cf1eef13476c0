/* Bytes: resizing, whose pixels must be Pillow's, compared by hash; turning, interleaving, and what the color changes
 * refuse (their pixels are checked with the transforms that use them, Tests/ResNetSwiftTests). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "pinned_resizes.h"

/* The pattern and hash of scripts/make_picture_fixtures.py. */
static void pattern(uint8_t *bytes, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        uint32_t value = ((uint32_t)i + seed) * 2654435761u;
        value ^= value >> 15;
        bytes[i] = (uint8_t)((value * 2246822519u) >> 24);
    }
}

static uint64_t hash(const uint8_t *bytes, size_t count) {
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) value = (value ^ bytes[i]) * 0x100000001b3u;
    return value;
}

/* Every second source has five more bytes in each row, which must not matter. */
static void like_pillow(void) {
    check(COUNT_OF(resizes) == 32 + 160, "%zu resizes are pinned", COUNT_OF(resizes));
    for (size_t i = 0; i < COUNT_OF(resizes); i++) {
        const int h = resizes[i].height, w = resizes[i].width, c = resizes[i].channels;
        const int oh = resizes[i].out_height, ow = resizes[i].out_width;
        const size_t row = (size_t)w * c, stride = row + i % 2 * 5;
        uint8_t *plain = allocate(h * row), *src = allocate((h - 1) * stride + row);
        uint8_t *dst = allocate((size_t)oh * ow * c);
        const double *box = resizes[i].box;
        pattern(plain, h * row, (uint32_t)resizes[i].seed);
        for (int y = 0; y < h; y++) memcpy(src + y * stride, plain + y * row, row);
        check(ck_resize_u8(src, h, w, c, stride, box[0], box[1], box[2], box[3], dst, oh, ow, resizes[i].filter,
                           (int)(i % 4)) == CK_OK,
              "resize %zu", i);
        check(hash(dst, (size_t)oh * ow * c) == resizes[i].hash, "resize %zu: other pixels than Pillow's", i);
        release_all();
    }
}

/* The whole picture (h, w, c) to (oh, ow, c). */
static uint8_t *resized(const uint8_t *src, int h, int w, int c, int oh, int ow, ck_filter filter, int32_t threads) {
    uint8_t *dst = allocate((size_t)oh * ow * c);
    check(ck_resize_u8(src, h, w, c, (size_t)w * c, 0, 0, w, h, dst, oh, ow, filter, threads) == CK_OK, "resize");
    return dst;
}

static void teams(int oh, int ow) {
    enum { H = 300, W = 250, C = 3 };
    static const int32_t counts[] = {0, 2, 3, 16};
    uint8_t *src = allocate(H * W * C);
    pattern(src, H * W * C, 1);
    const uint8_t *one = resized(src, H, W, C, oh, ow, CK_BICUBIC, 1);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        check(!memcmp(resized(src, H, W, C, oh, ow, CK_BICUBIC, counts[i]), one, (size_t)oh * ow * C),
              "resize to %dx%d on %d threads", oh, ow, counts[i]);
    release_all();
}

/* Any number of channels is resized one by one. */
static void many_channels(int c) {
    enum { H = 13, W = 17, OH = 6, OW = 30 };
    uint8_t *src = allocate((size_t)H * W * c), *plane = allocate(H * W);
    pattern(src, (size_t)H * W * c, (uint32_t)c);
    const uint8_t *together = resized(src, H, W, c, OH, OW, CK_BICUBIC, 1);
    for (int k = 0; k < c; k++) {
        for (int i = 0; i < H * W; i++) plane[i] = src[i * c + k];
        const uint8_t *alone = resized(plane, H, W, 1, OH, OW, CK_BICUBIC, 1);
        int others = 0;
        for (int i = 0; i < OH * OW; i++) others += alone[i] != together[i * c + k];
        check(others == 0, "channel %d of %d: %d other pixels", k, c, others);
    }
    release_all();
}

/* A constant picture stays constant at any ratio, whatever the filter: its weights sum to one. */
static void huge_ratios(int h, int w, int oh, int ow) {
    uint8_t *src = allocate((size_t)h * w);
    memset(src, 201, (size_t)h * w);
    for (int filter = 0; filter < 2; filter++) {
        const uint8_t *dst = resized(src, h, w, 1, oh, ow, (ck_filter)filter, 1);
        int others = 0;
        for (int i = 0; i < oh * ow; i++) others += dst[i] != 201;
        check(others == 0, "%dx%d to %dx%d: %d other pixels", h, w, oh, ow, others);
    }
    release_all();
}

/* Which row and column of the stored picture is shown at (y, x): EXIF's table. */
static size_t stored_at(int orientation, int h, int w, int y, int x) {
    switch (orientation) {
    case 1: return (size_t)y * w + x;
    case 2: return (size_t)y * w + w - 1 - x;
    case 3: return (size_t)(h - 1 - y) * w + w - 1 - x;
    case 4: return (size_t)(h - 1 - y) * w + x;
    case 5: return (size_t)x * w + y;
    case 6: return (size_t)(h - 1 - x) * w + y;
    case 7: return (size_t)(h - 1 - x) * w + w - 1 - y;
    default: return (size_t)x * w + w - 1 - y;
    }
}

static void orient(int h, int w, int c) {
    const size_t count = (size_t)h * w * c;
    uint8_t *src = allocate(count);
    pattern(src, count, 1);
    for (int orientation = 1; orientation <= 8; orientation++) {
        uint8_t *turned = allocate(count);
        check(ck_orient_u8(src, h, w, c, orientation, turned) == CK_OK, "orientation %d", orientation);
        const int rows = orientation > 4 ? w : h, columns = orientation > 4 ? h : w;
        int others = 0;
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++)
                others += memcmp(turned + ((size_t)y * columns + x) * c, src + stored_at(orientation, h, w, y, x) * c,
                                 c) != 0;
        check(others == 0, "orientation %d of %dx%d: %d other pixels", orientation, h, w, others);
    }
    release_all();
}

static void interleave(void) {
    static const uint8_t a[] = {1, 2, 3}, b[] = {10, 11, 20, 21, 30, 31}, all[] = {1, 10, 11, 2, 20, 21, 3, 30, 31};
    uint8_t *dst = allocate(sizeof all);
    check(ck_interleave_u8(a, 3, 1, dst, 3) == CK_OK && ck_interleave_u8(b, 3, 2, dst + 1, 3) == CK_OK, "interleave");
    check(!memcmp(dst, all, sizeof all), "parts stand side by side");
}

static ck_status resize_of(int h, int w, int c, size_t stride, const double *box, int oh, int ow, int filter,
                           int32_t threads) {
    uint8_t src[4 * 5 * 3] = {0}, dst[64];
    return ck_resize_u8(src, h, w, c, stride, box[0], box[1], box[2], box[3], dst, oh, ow, (ck_filter)filter, threads);
}

static void refuse_resizes(void) {
    static const double whole[] = {0, 0, 5, 4};
    static const double boxes[][4] = {
        {-0.1, 0, 5, 4}, {0, 0, 5.1, 4},         {0, 0, 5, 4.1},         {3, 0, 3, 4},
        {0, 3, 5, 2},    {0, (double)NAN, 5, 4}, {0, 0, (double)NAN, 4}, {0, 0, (double)INFINITY, 4}};
    uint8_t src[60] = {0}, dst[64];
    check(resize_of(4, 5, 3, 15, whole, 2, 2, 0, 1) == CK_OK, "resize");
    REFUSED(resize_of(0, 5, 3, 15, whole, 2, 2, 0, 1));
    REFUSED(resize_of(4, -1, 3, 15, whole, 2, 2, 0, 1));
    REFUSED(resize_of(4, 5, 0, 15, whole, 2, 2, 0, 1));
    REFUSED(resize_of(4, 5, 3, 14, whole, 2, 2, 0, 1));
    REFUSED(resize_of(4, 5, 3, 15, whole, 0, 2, 0, 1));
    REFUSED(resize_of(4, 5, 3, 15, whole, 2, 0, 0, 1));
    REFUSED(resize_of(4, 5, 3, 15, whole, 2, 2, 2, 1));
    REFUSED(resize_of(4, 5, 3, 15, whole, 2, 2, 0, -1));
    for (size_t i = 0; i < COUNT_OF(boxes); i++) {
        const double *b = boxes[i];
        check(resize_of(4, 5, 3, 15, b, 2, 2, 0, 1) == CK_INVALID_ARGUMENT, "a box of %g, %g, %g, %g", b[0], b[1], b[2],
              b[3]);
    }
    REFUSED(ck_resize_u8(NULL, 4, 5, 3, 15, 0, 0, 5, 4, dst, 2, 2, CK_BILINEAR, 1));
    REFUSED(ck_resize_u8(src, 4, 5, 3, 15, 0, 0, 5, 4, NULL, 2, 2, CK_BILINEAR, 1));
}

static void refuse_the_rest(void) {
    static const int32_t orientations[] = {0, 9, -1};
    static const float factors[] = {-0.1f, NAN}, one[] = {1, 1, 1};
    uint8_t src[12] = {0}, dst[12] = {0};
    float planes[12];
    for (size_t i = 0; i < COUNT_OF(orientations); i++) REFUSED(ck_orient_u8(src, 2, 2, 3, orientations[i], dst));
    REFUSED(ck_orient_u8(src, 0, 2, 3, 2, dst));
    REFUSED(ck_orient_u8(NULL, 2, 2, 3, 2, dst));
    REFUSED(ck_nhwc8_to_nchw(src, 1, 3, 2, 2, NULL, one, planes, 1));
    REFUSED(ck_nhwc8_to_nchw(src, 1, 3, 0, 2, one, one, planes, 1));
    REFUSED(ck_interleave_u8(src, 3, 4, dst, 3));
    REFUSED(ck_grey_u8(NULL, 3, dst));
    for (size_t i = 0; i < COUNT_OF(factors); i++) {
        REFUSED(ck_brightness_u8(dst, 12, factors[i]));
        REFUSED(ck_contrast_u8(dst, 4, 3, factors[i]));
        REFUSED(ck_saturation_u8(dst, 4, factors[i]));
    }
    REFUSED(ck_contrast_u8(dst, 6, 2, 0.5f));
    REFUSED(ck_hue_u8(dst, 4, 0.51));
    REFUSED(ck_hue_u8(dst, 4, (double)NAN));
}

/* A shift, a quarter turn, and a map that leaves the picture everywhere. */
static void affine(void) {
    static const double right[] = {1, 0, -1, 0, 1, 0}, quarter[] = {0, 1, 0, -1, 0, 3},
                        away[] = {1, 0, 0x1p40, 0, 1, 0};
    static const uint8_t src[18] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}; /* (3, 3, 2) */
    static const uint8_t shifted[18] = {0, 0, 1, 2, 3, 4, 0, 0, 7, 8, 9, 10, 0, 0, 13, 14, 15, 16};
    static const uint8_t turned[18] = {13, 14, 7, 8, 1, 2, 15, 16, 9, 10, 3, 4, 17, 18, 11, 12, 5, 6}, none[18] = {0};
    const double *maps[] = {right, quarter, away};
    const uint8_t *expected[] = {shifted, turned, none};
    for (size_t i = 0; i < COUNT_OF(maps); i++) {
        uint8_t *from = allocate(sizeof src), *to = allocate(sizeof src);
        memcpy(from, src, sizeof src);
        check(ck_affine_u8(from, 3, 3, 2, maps[i], to) == CK_OK, "affine map %zu", i);
        check(!memcmp(to, expected[i], sizeof src), "affine map %zu: other pixels", i);
        release_all();
    }
}

static void refuse_affine(void) {
    static const double wrong[][6] = {{NAN, 0, 0, 0, 1, 0}, {1, 0, 0x1p41, 0, 1, 0}, {257, 0, 0, 0, 1, 0}};
    static const double same[] = {1, 0, 0, 0, 1, 0};
    uint8_t src[12] = {0}, dst[12];
    for (size_t i = 0; i < COUNT_OF(wrong); i++) REFUSED(ck_affine_u8(src, 2, 2, 3, wrong[i], dst));
    REFUSED(ck_affine_u8(src, 2, 2, 3, NULL, dst));
    REFUSED(ck_affine_u8(src, 0, 2, 3, same, dst));
    REFUSED(ck_affine_u8(NULL, 2, 2, 3, same, dst));
}

/* The middle of 3x3 against (sum + 4 * middle) / 13 by hand; thin pictures have no middle. */
static void sharpness(void) {
    static const uint8_t src[9] = {10, 20, 30, 40, 250, 60, 70, 80, 90};
    static const float factors[] = {0, 0.5f, 1, 1.5f};
    static const uint8_t middle[] = {127, 188, 250, 255}; /* 1650 / 13 = 126.9; 127 + 123 / 2, cut; as it is; 311 */
    for (size_t i = 0; i < COUNT_OF(factors); i++) {
        uint8_t *from = allocate(9), *to = allocate(9);
        memcpy(from, src, 9);
        check(ck_sharpness_u8(from, 3, 3, 1, factors[i], to) == CK_OK, "sharpness");
        check(to[4] == middle[i], "sharpness by %g: %d, expected %d", (double)factors[i], to[4], middle[i]);
        to[4] = src[4];
        check(!memcmp(to, src, 9), "sharpness: the border stays");
        for (int width = 1; width < 3; width++) {
            check(ck_sharpness_u8(from, 4, width, 1, factors[i], to) == CK_OK, "sharpness of a thin picture");
            check(!memcmp(to, src, 4 * (size_t)width), "a thin picture stays");
        }
        release_all();
    }
    uint8_t dst[9];
    REFUSED(ck_sharpness_u8(src, 3, 3, 1, -1, dst));
    REFUSED(ck_sharpness_u8(src, 3, 3, 1, NAN, dst));
    REFUSED(ck_sharpness_u8(src, 3, 0, 1, 1, dst));
    REFUSED(ck_sharpness_u8(src, 3, 3, 1, 1, NULL));
}

static void tables(void) {
    enum { PIXELS = 1000, C = 3 };
    uint8_t *pixels = allocate(PIXELS * C), *table = allocate(256 * C);
    uint64_t *counts = allocate(256 * C * sizeof *counts), sum = 0, wrong = 0;
    pattern(pixels, PIXELS * C, 7);
    for (int i = 0; i < 256 * C; i++) table[i] = (uint8_t)(i % 256 / 2 + i / 256);
    check(ck_histogram_u8(pixels, PIXELS, C, counts) == CK_OK, "histogram");
    for (int i = 0; i < 256 * C; i++) {
        uint64_t found = 0;
        for (int k = i / 256; k < PIXELS * C; k += C) found += pixels[k] == i % 256;
        wrong += found != counts[i];
        sum += counts[i];
    }
    check(sum == PIXELS * C && wrong == 0, "%d wrong counts, %d in all", (int)wrong, (int)sum);
    check(ck_lookup_u8(pixels, PIXELS, C, table) == CK_OK, "lookup");
    uint8_t *again = allocate(PIXELS * C);
    pattern(again, PIXELS * C, 7);
    for (int i = 0; i < PIXELS * C; i++) wrong += pixels[i] != again[i] / 2 + i % C;
    check(wrong == 0, "%d wrong bytes looked up", (int)wrong);
    REFUSED(ck_histogram_u8(pixels, 1, 0, counts));
    REFUSED(ck_histogram_u8(NULL, 1, 1, counts));
    REFUSED(ck_lookup_u8(pixels, 1, 0, table));
    REFUSED(ck_lookup_u8(pixels, 1, 1, NULL));
    release_all();
}

void test_pictures(void) {
    like_pillow();
    teams(128, 341);
    teams(500, 100);
    many_channels(2);
    many_channels(5);
    many_channels(7);
    huge_ratios(1, 100000, 1, 1);
    huge_ratios(100000, 1, 1, 1);
    huge_ratios(1, 1, 300, 300);
    huge_ratios(3000, 2, 2, 3);
    /* 70 and 33 pass the edge of a tile. */
    orient(1, 1, 3);
    orient(2, 3, 1);
    orient(5, 4, 3);
    orient(37, 41, 3);
    orient(70, 33, 3);
    orient(33, 70, 4);
    interleave();
    affine();
    refuse_affine();
    sharpness();
    tables();
    refuse_resizes();
    refuse_the_rest();
}
