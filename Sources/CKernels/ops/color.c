/* Brightness, contrast, saturation, sharpness and hue of byte pictures, and tables of colors, as augmentation uses
 * them.
 *
 * Each of the first four blends the picture with a poorer version of itself: black, the flat gray of its mean luma, its
 * own luma, or a smooth one: out = poor + factor * (pixel - poor). Hue goes to HSV in bytes, turns H by a byte, and
 * comes back. The roundings are Pillow's, so that training sees the pixels that torchvision's ColorJitter and
 * RandAugment make.
 */
#include <math.h>
#include <string.h>

#include "ops/ops.h"

/* poor + factor * (pixel - poor), cut to a byte; truncated, not rounded. */
static inline uint8_t blend(int poor, int pixel, float factor) {
    const float value = (float)poor + factor * (float)(pixel - poor);
    return (uint8_t)(value <= 0.0f ? 0 : value >= 255.0f ? 255 : (int)value);
}

static inline int luma(const uint8_t *rgb) {
    return (int)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

/* Blends every byte with one gray: 256 answers, looked up. */
static void blend_all(uint8_t *pixels, size_t bytes, int poor, float factor) {
    uint8_t table[256];
    for (int value = 0; value < 256; value++) table[value] = blend(poor, value, factor);
    for (size_t i = 0; i < bytes; i++) pixels[i] = table[pixels[i]];
}

ck_status ck_brightness_u8(uint8_t *pixels, size_t bytes, float factor) {
    if (!pixels || !(factor >= 0.0f)) return CK_INVALID_ARGUMENT;
    if (factor != 1.0f) blend_all(pixels, bytes, 0, factor);
    return CK_OK;
}

ck_status ck_contrast_u8(uint8_t *pixels, size_t count, int32_t channels, float factor) {
    if (!pixels || count < 1 || !(factor >= 0.0f) || (channels != 1 && channels != 3)) return CK_INVALID_ARGUMENT;
    if (factor == 1.0f) return CK_OK;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += (uint64_t)(channels == 1 ? pixels[i] : luma(pixels + 3 * i));
    const int mean = (int)((double)sum / (double)count + 0.5);
    blend_all(pixels, count * (size_t)channels, mean, factor);
    return CK_OK;
}

ck_status ck_saturation_u8(uint8_t *rgb, size_t count, float factor) {
    if (!rgb || !(factor >= 0.0f)) return CK_INVALID_ARGUMENT;
    if (factor == 1.0f) return CK_OK;
    for (size_t i = 0; i < count; i++, rgb += 3) {
        const int gray = luma(rgb);
        for (int c = 0; c < 3; c++) rgb[c] = blend(gray, rgb[c], factor);
    }
    return CK_OK;
}

static inline int cut(int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

/* One pixel to HSV bytes and back with H moved by `shift` modulo 256. */
static inline void turn_pixel(uint8_t *rgb, uint8_t shift) {
    const int r = rgb[0], g = rgb[1], b = rgb[2];
    const int most = r > g ? (r > b ? r : b) : (g > b ? g : b);
    const int least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    if (most == least) return; /* gray: no saturation, and hue means nothing */
    const float range = (float)(most - least);
    const float red = (float)(most - r) / range, green = (float)(most - g) / range, blue = (float)(most - b) / range;
    float sixth; /* -1...5, in sixths of the circle */
    if (r == most)
        sixth = blue - green;
    else if (g == most)
        sixth = (float)(2.0 + red - blue);
    else
        sixth = (float)(4.0 + green - red);
    const float turn = (float)fmod(sixth / 6.0 + 1.0, 1.0);
    const uint8_t hue = (uint8_t)(cut((int)(turn * 255.0)) + shift);
    const int saturation = cut((int)(range / (float)most * 255.0));
    if (saturation == 0) {
        rgb[0] = rgb[1] = rgb[2] = (uint8_t)most;
        return;
    }
    const int side = (int)((float)hue * 6.0 / 255.0);
    const float part = (float)((float)hue * 6.0 / 255.0 - (float)side);
    const float share = (float)((float)saturation / 255.0);
    const uint8_t low = (uint8_t)cut((int)round((float)most * (1.0 - share)));
    const uint8_t falling = (uint8_t)cut((int)round((float)most * (1.0 - share * part)));
    const uint8_t rising = (uint8_t)cut((int)round((float)most * (1.0 - share * (1.0 - part))));
    const uint8_t high = (uint8_t)most;
    const uint8_t colors[6][3] = {{high, rising, low},  {falling, high, low}, {low, high, rising},
                                  {low, falling, high}, {rising, low, high},  {high, low, falling}};
    for (int c = 0; c < 3; c++) rgb[c] = colors[side % 6][c];
}

ck_status ck_hue_u8(uint8_t *rgb, size_t count, double turn) {
    if (!rgb || !(turn >= -0.5 && turn <= 0.5)) return CK_INVALID_ARGUMENT;
    const uint8_t shift = (uint8_t)(int)(turn * 255.0);
    /* Even a turn by nothing goes through HSV and loses a little, as it does in torchvision. */
    for (size_t i = 0; i < count; i++) turn_pixel(rgb + 3 * i, shift);
    return CK_OK;
}

/* Pillow's SMOOTH: weights 1, and 5 in the middle, of 13. The quotient is never halfway between two bytes. */
static inline int smooth(const uint8_t *at, size_t row, size_t pixel) {
    int sum = 4 * at[0];
    for (const uint8_t *from = at - row; from <= at + row; from += row) sum += *(from - pixel) + from[0] + from[pixel];
    return (2 * sum + 13) / 26;
}

ck_status ck_sharpness_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, float factor,
                          uint8_t *dst) {
    if (!src || !dst || height < 1 || width < 1 || channels < 1 || !(factor >= 0.0f)) return CK_INVALID_ARGUMENT;
    if (!ck_addressable(1, channels, height, width, 1)) return CK_OUT_OF_MEMORY;
    const size_t pixel = (size_t)channels, row = (size_t)width * pixel;
    memcpy(dst, src, (size_t)height * row);
    if (factor == 1.0f || width < 3) return CK_OK;
    for (int32_t y = 1; y < height - 1; y++) {
        const size_t start = (size_t)y * row;
        for (size_t i = start + pixel; i < start + row - pixel; i++)
            dst[i] = blend(smooth(src + i, row, pixel), src[i], factor);
    }
    return CK_OK;
}

ck_status ck_histogram_u8(const uint8_t *pixels, size_t count, int32_t channels, uint64_t *counts) {
    if (!pixels || !counts || channels < 1) return CK_INVALID_ARGUMENT;
    if (channels > INT32_MAX / 256) return CK_OUT_OF_MEMORY;
    memset(counts, 0, (size_t)channels * 256 * sizeof *counts);
    for (size_t i = 0; i < count; i++)
        for (int32_t c = 0; c < channels; c++) counts[256 * c + *pixels++]++;
    return CK_OK;
}

ck_status ck_lookup_u8(uint8_t *pixels, size_t count, int32_t channels, const uint8_t *tables) {
    if (!pixels || !tables || channels < 1) return CK_INVALID_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        for (int32_t c = 0; c < channels; c++, pixels++) *pixels = tables[(size_t)256 * (size_t)c + *pixels];
    return CK_OK;
}
