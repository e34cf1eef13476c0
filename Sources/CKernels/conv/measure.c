/* Timing a plan on made-up data. */
#define _GNU_SOURCE
#include "conv/measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPETITIONS = 5, EVICT_BYTES = 64 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double difference = *(const double *)a - *(const double *)b;
    return difference < 0 ? -1 : difference > 0;
}

typedef struct region {
    void *memory;
    size_t bytes;
} region;

static region take(size_t bytes) { return (region){ck_alloc(bytes), bytes}; }

typedef struct timing {
    const ck_conv_plan *plan;
    ck_conv_args args;
    void *evict;
    double times[REPETITIONS];
    int good;
} timing;

static void repeat(void *context) {
    timing *t = context;
    for (int i = -1; i < REPETITIONS && t->good; i++) { /* the first one only wakes the threads */
        memset(t->evict, i + 2, EVICT_BYTES);
        const double start = now();
        t->good = ck_conv_run(t->plan, &t->args) == CK_OK;
        if (i >= 0) t->times[i] = now() - start;
    }
}

double ck_measure_plan(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    const size_t block = (size_t)plan->block, batch = (size_t)d->batch;
    const size_t in = batch * plan->in_blocks * block * d->in_height * d->in_width * 4;
    const size_t out = batch * plan->out_blocks * block * plan->out_height * plan->out_width * 4;
    const size_t channels = (size_t)(plan->out_blocks + plan->in_blocks) * block * 4;
    region regions[] = {take(in),  take(ck_conv_packed_size(plan)),    take(channels),   take(out),
                        take(out), take(ck_conv_workspace_size(plan)), take(EVICT_BYTES)};
    enum { REGIONS = sizeof regions / sizeof *regions };
    timing t = {.plan = plan, .evict = regions[REGIONS - 1].memory, .good = 1};
    double result = -1;
    for (int i = 0; i < REGIONS; i++) t.good &= regions[i].memory != NULL;
    t.args = (ck_conv_args){.src = regions[0].memory,
                            .packed = regions[1].memory,
                            .bias = regions[2].memory,
                            .residual = regions[3].memory,
                            .src_scale = regions[2].memory,
                            .src_shift = regions[2].memory,
                            .dst = regions[4].memory,
                            .workspace = regions[5].memory};
    if (t.good && ck_with_team(plan->threads, repeat, &t) == CK_OK && t.good) {
        qsort(t.times, REPETITIONS, sizeof *t.times, ascending);
        result = t.times[REPETITIONS / 2];
    }
    for (int i = 0; i < REGIONS; i++) ck_free(regions[i].memory, regions[i].bytes);
    return result;
}
