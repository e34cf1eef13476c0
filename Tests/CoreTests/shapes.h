/* The convolutions that both passes are checked with: channels around the blocks of 4, 8 and 16, odd sizes, every kind
 * of kernel, stride, padding, dilation and groups, and layers of the networks with their heights cut. */
#ifndef SHAPES_H
#define SHAPES_H

#include <stddef.h>

#include "creference.h"

#define SQUARE(n, c, k, h, w, kernel, stride, pad, dilation, groups)                                                   \
    { n, c, h, w, k, kernel, kernel, stride, stride, pad, pad, dilation, dilation, groups }

static const cr_conv shapes[] = {
    /* 3x3 */
    SQUARE(1, 16, 32, 7, 6, 3, 1, 1, 1, 1),
    SQUARE(2, 17, 33, 5, 9, 3, 1, 1, 1, 1),
    SQUARE(1, 15, 31, 9, 5, 3, 1, 1, 1, 1),
    SQUARE(1, 1, 1, 1, 1, 3, 1, 1, 1, 1),
    SQUARE(3, 5, 9, 8, 13, 3, 1, 0, 1, 1),
    SQUARE(1, 48, 64, 14, 14, 3, 1, 1, 1, 1),
    SQUARE(1, 64, 64, 7, 7, 3, 1, 1, 1, 1),
    SQUARE(5, 33, 17, 4, 4, 3, 1, 1, 1, 1),
    SQUARE(1, 16, 16, 6, 7, 3, 1, 2, 1, 1),
    SQUARE(2, 33, 20, 9, 11, 3, 2, 1, 1, 1),
    SQUARE(1, 16, 32, 8, 30, 3, 2, 1, 1, 1),
    SQUARE(2, 40, 48, 14, 13, 3, 2, 1, 1, 1),
    SQUARE(3, 24, 17, 7, 10, 3, 2, 2, 1, 1),
    SQUARE(1, 9, 24, 12, 5, 3, 2, 0, 1, 1),
    SQUARE(1, 32, 16, 15, 15, 3, 2, 1, 1, 1),
    SQUARE(1, 20, 12, 9, 10, 3, 1, 2, 2, 1),
    SQUARE(1, 128, 48, 6, 28, 3, 1, 1, 1, 1),
    /* 1x1 */
    SQUARE(1, 16, 32, 5, 7, 1, 1, 0, 1, 1),
    SQUARE(3, 33, 17, 6, 5, 1, 1, 0, 1, 1),
    SQUARE(2, 64, 96, 7, 7, 1, 1, 0, 1, 1),
    SQUARE(2, 17, 31, 7, 6, 1, 2, 0, 1, 1),
    SQUARE(1, 32, 64, 1, 57, 1, 1, 0, 1, 1),
    SQUARE(1, 7, 9, 9, 9, 1, 3, 1, 1, 1),
    SQUARE(1, 256, 64, 4, 14, 1, 1, 0, 1, 1),
    /* the rest */
    SQUARE(1, 16, 20, 9, 8, 5, 1, 2, 1, 1),
    SQUARE(1, 5, 16, 11, 12, 5, 2, 2, 1, 1),
    SQUARE(1, 16, 20, 12, 13, 4, 3, 2, 2, 1),
    SQUARE(1, 16, 8, 5, 5, 2, 1, 0, 1, 1),
    {1, 16, 9, 8, 32, 1, 7, 1, 1, 0, 3, 1, 1, 1},
    {2, 17, 11, 10, 16, 3, 5, 2, 1, 1, 2, 1, 1, 1},
    {1, 16, 11, 10, 17, 3, 3, 2, 1, 0, 1, 2, 1, 1},
    /* groups */
    SQUARE(1, 32, 64, 6, 7, 3, 1, 1, 1, 2),
    SQUARE(1, 128, 128, 5, 6, 3, 1, 1, 1, 32),
    SQUARE(2, 16, 16, 6, 7, 3, 1, 1, 1, 16),
    SQUARE(1, 33, 33, 6, 7, 3, 2, 1, 1, 33),
    SQUARE(1, 6, 9, 6, 7, 3, 1, 1, 1, 3),
    SQUARE(1, 64, 64, 5, 7, 1, 1, 0, 1, 4),
    /* groups narrower than a block, as wide out as in */
    SQUARE(1, 20, 20, 5, 30, 3, 1, 1, 1, 10),
    SQUARE(2, 24, 24, 7, 15, 3, 2, 1, 1, 3),
    SQUARE(1, 36, 36, 9, 8, 3, 1, 2, 2, 9),
    SQUARE(1, 40, 40, 6, 11, 5, 1, 2, 1, 40),
    /* groups of whole blocks and of parts of blocks, with more and fewer channels out; depthwise with a multiplier */
    SQUARE(1, 64, 64, 6, 7, 3, 1, 1, 1, 4),
    SQUARE(1, 64, 32, 6, 7, 3, 2, 1, 1, 2),
    SQUARE(1, 256, 256, 5, 6, 3, 2, 1, 1, 32),
    SQUARE(1, 34, 6, 6, 7, 3, 1, 1, 1, 2),
    SQUARE(1, 24, 48, 6, 7, 3, 1, 1, 1, 2),
    SQUARE(1, 16, 32, 6, 7, 3, 1, 1, 1, 16),
    SQUARE(1, 32, 32, 9, 8, 5, 1, 2, 1, 32),
    SQUARE(1, 32, 32, 5, 5, 1, 1, 0, 1, 32),
    SQUARE(2, 64, 128, 5, 6, 1, 2, 0, 1, 2),
};

/* First layers, from planes and from bytes too. */
static const cr_conv stems[] = {
    SQUARE(1, 3, 64, 32, 30, 7, 2, 3, 1, 1),  SQUARE(3, 3, 64, 15, 17, 7, 2, 3, 1, 1),
    SQUARE(1, 1, 20, 12, 13, 7, 2, 3, 1, 1),  SQUARE(1, 8, 33, 9, 14, 7, 2, 3, 1, 1),
    SQUARE(1, 4, 16, 16, 17, 3, 1, 1, 1, 1),  SQUARE(2, 2, 15, 9, 31, 3, 2, 1, 1, 1),
    SQUARE(1, 3, 31, 37, 40, 11, 4, 2, 1, 1), SQUARE(1, 3, 64, 1, 1, 7, 2, 3, 1, 1),
    SQUARE(1, 3, 16, 9, 9, 4, 4, 0, 1, 1),    SQUARE(1, 3, 64, 32, 32, 7, 2, 3, 1, 1),
    SQUARE(2, 3, 64, 33, 47, 7, 2, 3, 1, 1),  SQUARE(1, 4, 64, 11, 10, 7, 2, 3, 1, 1),
    SQUARE(1, 3, 17, 21, 19, 7, 2, 3, 1, 1),  SQUARE(1, 3, 16, 32, 32, 3, 1, 1, 1, 1),
    SQUARE(1, 3, 64, 57, 60, 11, 4, 2, 1, 1), SQUARE(1, 3, 96, 40, 41, 13, 3, 0, 1, 1),
    SQUARE(1, 5, 31, 7, 7, 5, 1, 2, 1, 1),    SQUARE(1, 3, 64, 8, 224, 7, 2, 3, 1, 1),
    SQUARE(4, 3, 64, 2, 3, 7, 2, 3, 1, 1),    {1, 3, 12, 11, 32, 3, 5, 2, 1, 0, 2, 1, 1, 1},
    SQUARE(1, 3, 32, 14, 13, 3, 1, 2, 2, 1),
};

/* Many more, made by rules: sweep.c. */
enum { SWEEP_MOST = 600 };
typedef struct sweep {
    cr_conv shapes[SWEEP_MOST];
    size_t count;
    /* Where the kinds begin: sizes and channels around the edges of blocks and tiles first. */
    size_t kernels, random;
} sweep;
const sweep *all_of_sweep(void);

#endif
