/* Convolutions as networks have them, with real channels and widths, large pictures, and batches. */
#ifndef LAYERS_H
#define LAYERS_H

#include "shapes.h"

/* Every distinct convolution of ResNet-18/34/50/101/152 behind the stem; heights are cut where the reference would take
 * long. */
static const cr_conv resnet_layers[] = {
    /* basic blocks */
    SQUARE(1, 64, 64, 9, 56, 3, 1, 1, 1, 1),
    SQUARE(1, 64, 128, 8, 56, 3, 2, 1, 1, 1),
    SQUARE(1, 64, 128, 8, 56, 1, 2, 0, 1, 1),
    SQUARE(1, 128, 128, 7, 28, 3, 1, 1, 1, 1),
    SQUARE(1, 128, 256, 8, 28, 3, 2, 1, 1, 1),
    SQUARE(1, 128, 256, 8, 28, 1, 2, 0, 1, 1),
    SQUARE(1, 256, 256, 7, 14, 3, 1, 1, 1, 1),
    SQUARE(1, 256, 512, 8, 14, 3, 2, 1, 1, 1),
    SQUARE(1, 256, 512, 14, 14, 1, 2, 0, 1, 1),
    SQUARE(1, 512, 512, 7, 7, 3, 1, 1, 1, 1),
    /* bottlenecks */
    SQUARE(1, 64, 64, 8, 56, 1, 1, 0, 1, 1),
    SQUARE(1, 64, 256, 8, 56, 1, 1, 0, 1, 1),
    SQUARE(1, 256, 64, 8, 56, 1, 1, 0, 1, 1),
    SQUARE(1, 256, 128, 8, 56, 1, 1, 0, 1, 1),
    SQUARE(1, 128, 128, 8, 56, 3, 2, 1, 1, 1),
    SQUARE(1, 128, 512, 7, 28, 1, 1, 0, 1, 1),
    SQUARE(1, 256, 512, 8, 56, 1, 2, 0, 1, 1),
    SQUARE(1, 512, 128, 7, 28, 1, 1, 0, 1, 1),
    SQUARE(1, 512, 256, 7, 28, 1, 1, 0, 1, 1),
    SQUARE(1, 256, 256, 8, 28, 3, 2, 1, 1, 1),
    SQUARE(1, 256, 1024, 7, 14, 1, 1, 0, 1, 1),
    SQUARE(1, 512, 1024, 8, 28, 1, 2, 0, 1, 1),
    SQUARE(1, 1024, 256, 7, 14, 1, 1, 0, 1, 1),
    SQUARE(1, 1024, 512, 7, 14, 1, 1, 0, 1, 1),
    SQUARE(1, 512, 512, 6, 14, 3, 2, 1, 1, 1),
    SQUARE(1, 512, 2048, 4, 7, 1, 1, 0, 1, 1),
    SQUARE(1, 1024, 2048, 6, 14, 1, 2, 0, 1, 1),
    SQUARE(1, 2048, 512, 4, 7, 1, 1, 0, 1, 1),
    /* where tiles or threads are split otherwise */
    SQUARE(3, 64, 64, 4, 56, 3, 1, 1, 1, 1),
    SQUARE(3, 512, 512, 2, 7, 3, 1, 1, 1, 1),
    SQUARE(3, 256, 256, 3, 14, 3, 1, 1, 1, 1),
    SQUARE(3, 512, 256, 2, 7, 1, 1, 0, 1, 1),
};

/* Pictures so large that a thread handles them in several pieces, whatever piece the caches suggest. */
static const cr_conv large_layers[] = {
    SQUARE(1, 64, 32, 40, 56, 3, 1, 1, 1, 1),   SQUARE(1, 256, 16, 20, 57, 3, 2, 1, 1, 1),
    SQUARE(1, 256, 32, 30, 14, 3, 1, 1, 1, 1),  SQUARE(1, 128, 48, 28, 28, 3, 1, 1, 1, 1),
    SQUARE(1, 1024, 32, 14, 14, 1, 1, 0, 1, 1), SQUARE(2, 512, 32, 14, 14, 1, 1, 0, 1, 1),
    SQUARE(1, 256, 32, 56, 56, 1, 2, 0, 1, 1),  SQUARE(1, 64, 64, 40, 40, 5, 1, 2, 1, 2),
};
static const cr_conv large_stems[] = {
    SQUARE(1, 3, 64, 100, 224, 7, 2, 3, 1, 1),
    SQUARE(2, 8, 32, 60, 64, 3, 1, 1, 1, 1),
    SQUARE(1, 3, 16, 227, 227, 11, 4, 2, 1, 1),
};

/* Batches below, at and above the number of threads, and the batch from which on tiles may span images. */
static const cr_conv batches[] = {
    SQUARE(2, 16, 32, 7, 7, 3, 1, 1, 1, 1),  SQUARE(3, 32, 48, 7, 7, 3, 1, 1, 1, 1),
    SQUARE(5, 17, 33, 6, 5, 3, 1, 1, 1, 1),  SQUARE(5, 16, 32, 7, 5, 3, 2, 1, 1, 1),
    SQUARE(3, 32, 64, 7, 7, 1, 1, 0, 1, 1),  SQUARE(5, 33, 17, 5, 7, 1, 2, 0, 1, 1),
    SQUARE(8, 64, 32, 3, 3, 1, 1, 0, 1, 1),  SQUARE(7, 16, 16, 4, 4, 3, 1, 1, 1, 1),
    SQUARE(16, 64, 64, 7, 7, 3, 1, 1, 1, 1), SQUARE(2, 3, 16, 9, 9, 5, 2, 2, 1, 1),
};

/* Plans for so many images are also run with fewer: 1, 2 and all but one. */
static const cr_conv fewer[] = {
    SQUARE(5, 16, 32, 7, 6, 3, 1, 1, 1, 1),  SQUARE(5, 32, 48, 5, 7, 1, 1, 0, 1, 1),
    SQUARE(5, 17, 33, 8, 7, 3, 2, 1, 1, 1),  SQUARE(5, 33, 17, 8, 7, 1, 2, 0, 1, 1),
    SQUARE(16, 64, 32, 7, 7, 3, 1, 1, 1, 1), SQUARE(5, 32, 32, 6, 5, 3, 1, 1, 1, 32),
};
static const cr_conv fewer_stem = SQUARE(5, 3, 64, 13, 12, 7, 2, 3, 1, 1);

#endif
