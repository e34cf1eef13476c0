/* Byte pictures moved by an affine map: shears, shifts and turns, as augmentation uses them.
 *
 * Each pixel of the result is the one nearest to where the map says it comes from. Coordinates are 16.16 fixed point
 * and are summed along rows and columns, as Pillow does for its NEAREST filter, so the pixels are the same. (Pillow
 * leaves fixed point for pictures with coordinates of 32768 or more; sums of 64 bits have no need to.)
 */
#include <math.h>
#include <string.h>

#include "ops/ops.h"

/* A map may send a pixel this far, in pixels: its fixed point and the sums of it stay within 64 bits. */
#define FARTHEST 0x1p40

static int64_t fixed(double value) { return (int64_t)floor(value * 65536.0 + 0.5); }

ck_status ck_affine_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, const double *map,
                       uint8_t *dst) {
    if (!src || !dst || !map || height < 1 || width < 1 || channels < 1) return CK_INVALID_ARGUMENT;
    for (int i = 0; i < 6; i++)
        if (!(fabs(map[i]) <= (i % 3 == 2 ? FARTHEST : 256.0))) return CK_INVALID_ARGUMENT;
    if (!ck_addressable(1, channels, height, width, 1)) return CK_OUT_OF_MEMORY;
    const size_t pixel = (size_t)channels;
    const int64_t right_x = fixed(map[0]), down_x = fixed(map[1]), right_y = fixed(map[3]), down_y = fixed(map[4]);
    /* From middle to middle of pixels. */
    int64_t row_x = fixed(map[2] + map[0] * 0.5 + map[1] * 0.5), row_y = fixed(map[5] + map[3] * 0.5 + map[4] * 0.5);
    memset(dst, 0, (size_t)height * (size_t)width * pixel);
    for (int32_t y = 0; y < height; y++, row_x += down_x, row_y += down_y) {
        int64_t at_x = row_x, at_y = row_y;
        for (int32_t x = 0; x < width; x++, dst += pixel, at_x += right_x, at_y += right_y) {
            const int64_t from_x = at_x >> 16, from_y = at_y >> 16;
            if (from_x < 0 || from_x >= width || from_y < 0 || from_y >= height) continue;
            const uint8_t *from = src + ((size_t)from_y * (size_t)width + (size_t)from_x) * pixel;
            for (size_t k = 0; k < pixel; k++) dst[k] = from[k];
        }
    }
    return CK_OK;
}
