/* Many small convolutions: every size around the edges of blocks and tiles, kernels x strides x dilations, and random
 * ones. */
#include "shapes.h"

#include <stdlib.h>

static void append(sweep *s, cr_conv shape) {
    if (s->count < SWEEP_MOST) s->shapes[s->count++] = shape;
}

static cr_conv square(int c, int k, int h, int w, int kernel, int stride, int pad) {
    return (cr_conv)SQUARE(1, c, k, h, w, kernel, stride, pad, 1, 1);
}

/* Channels around the edges of every block (4, 8, 16) and of two and four blocks. */
static void channels(sweep *s) {
    static const int edges[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64};
    append(s, square(80, 96, 5, 7, 3, 1, 1));
    append(s, square(96, 112, 5, 7, 1, 1, 0));
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        const int edge = edges[i];
        append(s, square(edge, 32, 6, 7, 3, 1, 1));
        append(s, square(17, edge, 6, 7, 3, 1, 1));
        append(s, square(edge, edge, 5, 9, 3, 2, 1));
        append(s, square(edge, edge, 5, 7, 1, 1, 0));
        append(s, square(33, edge, 6, 5, 1, 2, 0));
        append(s, square(edge, 19, 7, 6, 1, 2, 0));
    }
}

/* Every height from 1 to 17 against another width: partial register tiles and partial Winograd tiles. */
static void sizes(sweep *s) {
    append(s, square(16, 32, 5, 30, 3, 1, 1));
    append(s, square(16, 32, 30, 5, 3, 1, 1));
    append(s, square(16, 32, 7, 11, 3, 1, 0));
    append(s, square(16, 32, 7, 11, 3, 1, 2));
    append(s, square(32, 64, 1, 300, 1, 1, 0));
    append(s, square(32, 64, 300, 1, 1, 1, 0));
    for (int h = 1; h <= 17; h++) {
        const int w = h * 5 % 17 + 1;
        append(s, square(16, 32, h, w, 3, 1, 1));
        append(s, square(16, 33, w, h, 3, 2, 1));
        append(s, square(16, 32, h, w, 1, 1, 0));
        append(s, square(17, 16, w, h, 1, 2, 0));
    }
}

/* Kernels 1...13 x strides x dilations, the padding going round from 0 to 6. */
static void kernels(sweep *s) {
    static const int all[] = {1, 2, 3, 4, 5, 7, 13};
    int pad = 0;
    for (int i = 0; i < 7 * 6; i++, pad = (pad + 1) % 7) {
        const int kernel = all[i / 6], stride = i / 2 % 3 + 1, dilation = i % 2 + 1, span = dilation * (kernel - 1) + 1;
        const int least = span - 2 * pad > 1 ? span - 2 * pad : 1;
        append(s, (cr_conv)SQUARE(1, 16, 20, span + 5, span + 4, kernel, stride, pad, dilation, 1));
        append(s, (cr_conv)SQUARE(1, 5, 16, least, span + 3, kernel, stride, pad, dilation, 1));
    }
    static const cr_conv oblong[] = {
        {1, 16, 9, 8, 32, 1, 7, 1, 1, 0, 3, 1, 1, 1},  {1, 16, 9, 8, 32, 7, 1, 1, 1, 3, 0, 1, 1, 1},
        {1, 17, 9, 10, 16, 3, 5, 1, 2, 1, 2, 1, 1, 1}, {1, 16, 11, 10, 17, 3, 3, 2, 1, 0, 1, 2, 1, 1},
        {1, 16, 6, 7, 16, 3, 3, 1, 1, 1, 0, 1, 1, 1},  {1, 16, 7, 9, 16, 1, 1, 1, 2, 0, 0, 1, 1, 1},
        {1, 16, 7, 9, 16, 1, 1, 2, 2, 1, 1, 1, 1, 1},  {1, 16, 7, 9, 16, 1, 1, 3, 3, 0, 0, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof oblong / sizeof *oblong; i++) append(s, oblong[i]);
}

static uint64_t state;

/* A number of low...high. */
static int pick(int low, int high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((state >> 33) % (uint64_t)(high - low + 1));
}

/* Random shapes, half of them square except for the picture. */
static void random_shapes(sweep *s, int count) {
    state = 12;
    while (count--) {
        const int same = pick(0, 1), groups = pick(0, 3) ? 1 : pick(1, 8);
        cr_conv o = {.n = pick(1, 4), .groups = groups};
        o.c = groups * pick(1, 40 / groups);
        o.k = groups * pick(1, 72 / groups);
        o.kernel_h = pick(1, 5), o.kernel_w = same ? o.kernel_h : pick(1, 5);
        o.stride_h = pick(1, 3), o.stride_w = same ? o.stride_h : pick(1, 3);
        o.pad_h = pick(0, 4), o.pad_w = same ? o.pad_h : pick(0, 4);
        o.dilation_h = pick(1, 2), o.dilation_w = same ? o.dilation_h : pick(1, 2);
        const int least_h = o.dilation_h * (o.kernel_h - 1) + 1 - 2 * o.pad_h;
        const int least_w = o.dilation_w * (o.kernel_w - 1) + 1 - 2 * o.pad_w;
        o.h = (least_h > 1 ? least_h : 1) + pick(0, 16);
        o.w = (least_w > 1 ? least_w : 1) + pick(0, 33);
        append(s, o);
    }
}

const sweep *all_of_sweep(void) {
    static sweep made;
    if (made.count == 0) {
        channels(&made);
        sizes(&made);
        made.kernels = made.count;
        kernels(&made);
        made.random = made.count;
        random_shapes(&made, 250);
    }
    return &made;
}
