/* roofline.c: the FMA peak and the read bandwidth of main memory, measured rather than looked up.
 *
 * FMA: each thread keeps COUNT independent accumulators in registers and does nothing but multiply-add on them: more
 * than latency times throughput of any current core (4 cycles, 2 a cycle). The kernel is one macro; each width compiles
 * it in a function of its own with its own target attribute, so one binary serves every CPU.
 *
 * Reads: each thread sums 256 MiB of its own in vectors, over and over; 256 MiB is past any last-level cache's share.
 */
#define _GNU_SOURCE
#include "roofline.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_THREADS 256
#define SLICES 10
#define COUNT 12
#define MAX_PASSES 64
#define READ_BYTES ((size_t)256 << 20)

#define TARGET(isa) __attribute__((target(isa), noinline))

typedef float f4 __attribute__((vector_size(16)));
typedef float f8 __attribute__((vector_size(32)));
typedef float f16 __attribute__((vector_size(64)));

static volatile float sink;

double roofline_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Each thread's multiply-adds: COUNT accumulators of vector type V. The array has a constant length and the loop over
 * it a constant count, so -O3 turns it into registers (more than 14 would be spilled). Accumulators start apart, or the
 * compiler would see that they are all one; a and b come from volatile memory, or it would compute the result itself.
 */
#define FMA_KERNEL(NAME, ATTRIBUTE, V)                                                                                 \
    ATTRIBUTE static void NAME(long iterations) {                                                                      \
        volatile float va = 0.999f, vb = 0.001f;                                                                       \
        V a = (V){0} + va, b = (V){0} + vb, x[COUNT], sum = {0};                                                       \
        for (int j = 0; j < COUNT; j++) x[j] = (V){0} + (float)j;                                                      \
        for (long i = 0; i < iterations; i += COUNT)                                                                   \
            for (int j = 0; j < COUNT; j++) x[j] = x[j] * a + b;                                                       \
        for (int j = 0; j < COUNT; j++) sum += x[j];                                                                   \
        sink = sum[0];                                                                                                 \
    }

#if defined(__x86_64__)
FMA_KERNEL(fma_512, TARGET("avx512f,fma"), f16)
FMA_KERNEL(fma_256, TARGET("avx2,fma"), f8)
FMA_KERNEL(fma_128, TARGET("fma"), f4)

int roofline_has(roofline_width width) {
    __builtin_cpu_init();
    int fma = __builtin_cpu_supports("fma") != 0;
    if (width == ROOFLINE_512) return __builtin_cpu_supports("avx512f") != 0;
    return width == ROOFLINE_256 ? fma && __builtin_cpu_supports("avx2") : fma;
}

static void (*const kernels[ROOFLINE_WIDTHS])(long) = {fma_128, fma_256, fma_512};
#else
FMA_KERNEL(fma_128, , f4)

int roofline_has(roofline_width width) { return width == ROOFLINE_128; }

static void (*const kernels[ROOFLINE_WIDTHS])(long) = {fma_128, NULL, NULL};
#endif

int roofline_bits(roofline_width width) { return 128 << width; }

typedef struct job {
    pthread_t thread;
    pthread_barrier_t *barrier;
    int index;
    void (*kernel)(long);
    long iterations;
    const char *bytes; /* READ_BYTES of this thread, or NULL when multiplying */
    int passes;
    double start[MAX_PASSES], end[MAX_PASSES];
} job;

/* Reading needs no more than 256-bit loads to saturate memory; eight sums hide the latency of the additions. */
static float read_all(const char *bytes) {
    const f4 *p = (const f4 *)(const void *)bytes;
    f4 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (size_t i = 0; i < READ_BYTES / sizeof(f4); i += 4) {
        s0 += p[i];
        s1 += p[i + 1];
        s2 += p[i + 2];
        s3 += p[i + 3];
    }
    s0 += s1 + s2 + s3;
    return s0[0] + s0[1] + s0[2] + s0[3];
}

/* A thread a CPU: the system may leave two on one for longer than a measurement takes. */
static void pin(int index) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    index %= CPU_COUNT(&all);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all) || index-- > 0) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void *work(void *argument) {
    job *j = argument;
    pin(j->index);
    for (int pass = 0; pass < j->passes; pass++) {
        pthread_barrier_wait(j->barrier);
        j->start[pass] = roofline_now();
        if (j->bytes)
            sink = read_all(j->bytes);
        else
            j->kernel(j->iterations);
        j->end[pass] = roofline_now();
    }
    return NULL;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs the jobs `passes` times together and writes the seconds of each pass, fastest first, from the first thread's
 * start to the last one's end. The threads read the clock themselves: the caller may wait for a core. */
static void time_passes(job *jobs, int threads, int passes, double *seconds) {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        jobs[i].barrier = &barrier;
        jobs[i].index = i;
        jobs[i].passes = passes;
        pthread_create(&jobs[i].thread, NULL, work, &jobs[i]);
    }
    for (int i = 0; i < threads; i++) pthread_join(jobs[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
    for (int pass = 0; pass < passes; pass++) {
        double start = jobs[0].start[pass], end = jobs[0].end[pass];
        for (int i = 1; i < threads; i++) {
            start = jobs[i].start[pass] < start ? jobs[i].start[pass] : start;
            end = jobs[i].end[pass] > end ? jobs[i].end[pass] : end;
        }
        seconds[pass] = end - start;
    }
    qsort(seconds, (size_t)passes, sizeof(double), ascending);
}

double roofline_fma(roofline_width width, int threads, double seconds) {
    if (!roofline_has(width) || threads < 1 || threads > MAX_THREADS) return 0;
    void (*kernel)(long) = kernels[width];
    kernel(40000000); /* wakes the wide units and the clock */
    double start = roofline_now();
    kernel(4000000);
    double one = (roofline_now() - start) / 4000000;
    /* whole rounds: the operations counted are the operations done */
    long iterations = ((long)(seconds / SLICES / one) / COUNT + 1) * COUNT;
    static job jobs[MAX_THREADS];
    memset(jobs, 0, sizeof jobs);
    for (int i = 0; i < threads; i++) {
        jobs[i].kernel = kernel;
        jobs[i].iterations = iterations;
    }
    double operations = (double)iterations * 2 * (roofline_bits(width) / 32) * threads;
    double slices[SLICES];
    time_passes(jobs, threads, SLICES, slices);
    return operations / slices[0] * 1e-9;
}

double roofline_read(int threads, double seconds) {
    if (threads < 1 || threads > MAX_THREADS) return 0;
    char *memory = aligned_alloc((size_t)2 << 20, READ_BYTES * (size_t)threads);
    if (!memory) return 0;
    memset(memory, 1, READ_BYTES * (size_t)threads);
    static job jobs[MAX_THREADS];
    memset(jobs, 0, sizeof jobs);
    for (int i = 0; i < threads; i++) jobs[i].bytes = memory + READ_BYTES * (size_t)i;
    double pass[MAX_PASSES];
    time_passes(jobs, threads, 1, pass);
    int passes = (int)(seconds / pass[0]) + 1;
    passes = passes > MAX_PASSES ? MAX_PASSES : passes;
    time_passes(jobs, threads, passes, pass);
    free(memory);
    return (double)READ_BYTES * threads / pass[passes / 2] * 1e-9;
}
