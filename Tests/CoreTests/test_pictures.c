/* Bytes: layout, floats, and resizing, whose pixels must be Pillow's, compared by hash. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

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

/* From Tests/Fixtures/pictures/index.json, written by Pillow 13.0.0. */
static const struct {
    int height, width, channels, seed, out_height, out_width;
    ck_filter filter;
    double box[4];
    uint64_t hash;
} resizes[] = {
    {4,
     4,
     3,
     0,
     53,
     2,
     CK_BILINEAR,
     {0.7516043186187744, 0.22058650851249695, 2.9142420291900635, 1.0998774766921997},
     0xc589ce9e087e7399},
    {58,
     7,
     4,
     9,
     114,
     18,
     CK_BICUBIC,
     {2.85036039352417, 9.963067054748535, 5.361183166503906, 11.37785530090332},
     0x9ed683f5f6670395},
    {108,
     1,
     4,
     18,
     3,
     15,
     CK_BILINEAR,
     {0.06402423232793808, 49.32577133178711, 0.18480268120765686, 72.2186050415039},
     0xf90c77016df336ad},
    {21,
     29,
     3,
     27,
     77,
     3,
     CK_BICUBIC,
     {4.4426350593566895, 11.945390701293945, 11.327601432800293, 20.171104431152344},
     0x720acdbbe27c02f2},
    {114,
     5,
     4,
     36,
     26,
     35,
     CK_BILINEAR,
     {0.0588190071284771, 19.406002044677734, 4.463079452514648, 109.03147888183594},
     0xd04abdc8495f4db3},
    {2,
     4,
     4,
     45,
     1,
     40,
     CK_BICUBIC,
     {1.4554520845413208, 0.04360038787126541, 2.623713493347168, 0.4344722032546997},
     0xd603a9d55f67a29c},
    {103,
     44,
     1,
     54,
     2,
     53,
     CK_BILINEAR,
     {15.096762657165527, 25.05108070373535, 35.932960510253906, 37.89462661743164},
     0xb3e78a6751e959e2},
    {88, 3, 4, 63, 2, 79, CK_BICUBIC, {0.0, 0.0, 3.0, 88.0}, 0x1618e5b200ea9684},
    {3,
     9,
     1,
     72,
     2,
     90,
     CK_BILINEAR,
     {0.8476983904838562, 1.1172090768814087, 1.7379661798477173, 2.4874582290649414},
     0x0e1c77bc3c61670d},
    {78, 2, 4, 81, 89, 7, CK_BICUBIC, {0.0, 0.0, 2.0, 78.0}, 0x80b697d7670f2bff},
    {6,
     60,
     4,
     90,
     29,
     13,
     CK_BILINEAR,
     {40.95561981201172, 4.659731864929199, 53.75843048095703, 5.802700042724609},
     0xf667e956b3a3bcbc},
    {52,
     2,
     3,
     99,
     30,
     39,
     CK_BICUBIC,
     {0.22267597913742065, 46.35862350463867, 0.42277398705482483, 47.67427444458008},
     0x7898b9da8f6424be},
    {18,
     118,
     4,
     108,
     23,
     18,
     CK_BILINEAR,
     {57.89067459106445, 9.71716594696045, 60.605918884277344, 12.196538925170898},
     0xcb4999d83a17ba23},
    {57, 2, 3, 117, 8, 18, CK_BICUBIC, {0.0, 0.0, 2.0, 57.0}, 0xc755a61a3672617d},
    {18,
     2,
     4,
     126,
     28,
     26,
     CK_BILINEAR,
     {0.389921635389328, 6.945096015930176, 1.273149847984314, 14.594874382019043},
     0x60ea2a90583f0a76},
    {36,
     128,
     4,
     135,
     37,
     5,
     CK_BICUBIC,
     {72.68804168701172, 3.288238286972046, 102.44428253173828, 13.047577857971191},
     0x6de18482db86f687},
    {90, 2, 4, 144, 37, 5, CK_BILINEAR, {0.0, 0.0, 2.0, 90.0}, 0x567126e6e02d9e52},
    {10,
     121,
     4,
     153,
     85,
     3,
     CK_BICUBIC,
     {16.051557540893555, 2.654048442840576, 82.75765991210938, 3.5990371704101562},
     0x903b8b3bbcd7bc05},
};

static void resize(void) {
    for (size_t i = 0; i < sizeof resizes / sizeof *resizes; i++) {
        const int h = resizes[i].height, w = resizes[i].width, c = resizes[i].channels;
        const int oh = resizes[i].out_height, ow = resizes[i].out_width;
        uint8_t *src = allocate((size_t)h * w * c), *dst = allocate((size_t)oh * ow * c);
        const double *box = resizes[i].box;
        pattern(src, (size_t)h * w * c, resizes[i].seed);
        check(ck_resize_u8(src, h, w, c, (size_t)w * c, box[0], box[1], box[2], box[3], dst, oh, ow, resizes[i].filter,
                           (int)(i % 4)) == CK_OK,
              "resize %zu", i);
        check(hash(dst, (size_t)oh * ow * c) == resizes[i].hash, "resize %zu: other pixels than Pillow's", i);
        release_all();
    }
}

static void bytes_to_floats(int n, int c, int h, int w) {
    const size_t plane = (size_t)h * w, count = n * c * plane;
    uint8_t *src = allocate(count);
    cr_fill_bytes(src, count, 5);
    float *scale = integers(c, 1, 1, 3), *shift = integers(c, 2, -9, 9), *dst = floats(count),
          *expected = floats(count);
    double *y = doubles(count);
    for (size_t i = 0; i < count; i++) {
        const size_t k = i % c, p = i / c % plane, image = i / c / plane, at = (image * c + k) * plane + p;
        y[at] = expected[at] = src[i] * scale[k] + shift[k];
    }
    check(ck_nhwc8_to_nchw(src, n, c, h, w, scale, shift, dst, 2) == CK_OK, "bytes to planes");
    check_equal(dst, y, count, "bytes to planes");
    float *blocks = poisoned(n, c, plane);
    check(ck_nhwc8_to_blocked(src, n, c, h, w, padded(scale, c), padded(shift, c), blocks, 2) == CK_OK,
          "bytes to blocks");
    check_equal(unblocked(blocks, n, c, plane), y, count, "bytes to blocks");
    check_surplus(blocks, n, c, plane, "bytes to blocks");
    release_all();
}

/* Orientations 2 to 8, each done and undone. */
static void orient(void) {
    enum { H = 37, W = 41, C = 3, COUNT = H * W * C };
    static const int undo[] = {0, 1, 2, 3, 4, 5, 8, 7, 6};
    uint8_t *src = allocate(COUNT), *turned = allocate(COUNT), *back = allocate(COUNT);
    pattern(src, COUNT, 1);
    for (int o = 1; o <= 8; o++) {
        check(ck_orient_u8(src, H, W, C, o, turned) == CK_OK, "orientation %d", o);
        check(ck_orient_u8(turned, o < 5 ? H : W, o < 5 ? W : H, C, undo[o], back) == CK_OK, "orientation %d", o);
        check(!memcmp(src, back, COUNT), "orientation %d undone", o);
        check(o == 1 || memcmp(src, turned, COUNT), "orientation %d does nothing", o);
    }
    release_all();
}

void test_pictures(void) {
    resize();
    bytes_to_floats(1, 3, 5, 7);
    bytes_to_floats(2, 1, 33, 2);
    bytes_to_floats(2, 5, 16, 17);
    orient();
}
