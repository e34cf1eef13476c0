/* roofline.h: what this machine can do at most: fp32 fused multiply-adds and reads from main memory. */
#ifndef ROOFLINE_H
#define ROOFLINE_H

#include <stddef.h>

typedef enum roofline_width {
    ROOFLINE_128 = 0,
    ROOFLINE_256 = 1,
    ROOFLINE_512 = 2,
    ROOFLINE_WIDTHS = 3
} roofline_width;

/* 1 if the CPU has fused multiply-adds of this width. */
int roofline_has(roofline_width width);
/* Bits: 128, 256, 512. */
int roofline_bits(roofline_width width);
/* Fused multiply-adds on `threads` threads for about `seconds`, in GFLOP/s (two operations each): the fastest of ten
 * slices, a peak being what nothing exceeds. 0 if the CPU lacks the width. One caller at a time. */
double roofline_fma(roofline_width width, int threads, double seconds);
/* Reads of main memory on `threads` threads, in GB/s: the median of the passes that fit in `seconds`, each over 256 MiB
 * a thread. 0 if memory is short. */
double roofline_read(int threads, double seconds);
/* Seconds from an arbitrary moment. */
double roofline_now(void);

#endif
