/* roofline_main.c: `roofline [threads [seconds]]` prints the roofline as one JSON object. */
#include "roofline.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    double seconds = argc > 2 ? atof(argv[2]) : 0.5;
    if (threads < 1 || threads > 256 || !(seconds > 0 && seconds <= 60)) {
        fprintf(stderr, "usage: roofline [threads 1...256 [seconds]]\n");
        return 2;
    }
    printf("{\"threads\": %d", threads);
    for (int width = 0; width < ROOFLINE_WIDTHS; width++)
        if (roofline_has((roofline_width)width))
            printf(", \"fma_%d_gflops\": %.1f", roofline_bits((roofline_width)width),
                   roofline_fma((roofline_width)width, threads, seconds));
    printf(", \"read_gb_s\": %.1f}\n", roofline_read(threads, seconds));
    return 0;
}
