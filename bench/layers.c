/* layers.c: every distinct convolution of a network with every algorithm that applies.
 *
 *     layers [--batch N] [--threads N] [--seconds S] [--cold] [--algorithm NAME] shapes/resnet18.txt ...
 *
 * Prints milliseconds (median and fastest), GFLOP/s with the operations of a direct convolution counted whatever the
 * algorithm does, that as a share of the highest FMA peak measured so far, and the largest difference from the first
 * algorithm relative to the largest output. So a Winograd algorithm may show more than 100 %.
 *
 * The algorithms of one shape take turns. --cold touches 64 MiB on every thread before each run: the weights then come
 * from memory, as they do in a whole network at batch 1. CK_ISA chooses the instruction set as everywhere.
 */
#include "roofline.h"

#include <ckernels.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_RUNS 2000
#define MAX_WAYS 16
#define EVICT_BYTES ((size_t)64 << 20)

typedef struct shape {
    int count, c, h, w, k, kh, kw, stride, pad, groups;
} shape;

typedef struct options {
    int batch, threads, cold;
    double seconds;
    ck_algorithm only; /* CK_AUTO: all */
    char **files;      /* NULL after the last */
} options;

/* One way to compute a shape: an algorithm and a layout of the pictures (which differs for the first layer only). */
typedef struct way {
    ck_conv_plan *plan;
    ck_conv_desc desc;
    void *src, *packed, *workspace;
    float *dst;
    size_t src_bytes, packed_bytes, workspace_bytes, dst_bytes;
    ck_conv_args args;
    double ms[MAX_RUNS];
    int runs;
} way;

static float *evict_memory;

static void fail(const char *what, ck_status status) {
    fprintf(stderr, "layers: %s: %s\n", what, ck_status_string(status));
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = ck_alloc(bytes ? bytes : 64);
    if (!memory) fail("allocation", CK_OUT_OF_MEMORY);
    return memory;
}

/* xorshift: the same numbers everywhere. */
static uint32_t next_random(void) {
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int output_size(int size, int kernel, int stride, int pad) { return (size + 2 * pad - kernel) / stride + 1; }

static size_t blocks(int channels) { return (size_t)((channels + ck_block() - 1) / ck_block()) * (size_t)ck_block(); }

/* Everything one shape's ways share: pictures as bytes, weights, bias. */
typedef struct data {
    uint8_t *bytes; /* (N, H, W, C) */
    float *nchw;    /* (N, C, H, W): the same pictures, byte / 128 - 1 */
    float *weights; /* (K, C/groups, KH, KW) */
    float *bias;    /* (K) in whole blocks */
    float *scale, *shift;
    size_t pixels, weight_count, bias_count, channel_count;
} data;

static data make_data(const shape *s, int batch) {
    data d;
    d.pixels = (size_t)batch * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    d.weight_count = (size_t)s->k * (size_t)(s->c / s->groups) * (size_t)s->kh * (size_t)s->kw;
    d.bias_count = blocks(s->k);
    d.channel_count = blocks(s->c);
    d.bytes = allocate(d.pixels);
    d.nchw = allocate(d.pixels * sizeof(float));
    d.weights = allocate(d.weight_count * sizeof(float));
    d.bias = allocate(d.bias_count * sizeof(float));
    d.scale = allocate(d.channel_count * sizeof(float));
    d.shift = allocate(d.channel_count * sizeof(float));
    size_t plane = (size_t)s->h * (size_t)s->w;
    for (size_t i = 0; i < d.pixels; i++) {
        size_t n = i / (plane * (size_t)s->c), p = i / (size_t)s->c % plane, c = i % (size_t)s->c;
        d.bytes[i] = (uint8_t)next_random();
        d.nchw[(n * (size_t)s->c + c) * plane + p] = (float)d.bytes[i] * (1.0f / 128) - 1;
    }
    float bound = sqrtf(6.0f / (float)(s->c / s->groups * s->kh * s->kw));
    for (size_t i = 0; i < d.weight_count; i++)
        d.weights[i] = bound * ((float)(next_random() >> 8) * (2.0f / 16777216) - 1);
    for (int i = 0; i < s->k; i++) d.bias[i] = 0.1f * ((float)(next_random() >> 8) * (2.0f / 16777216) - 1);
    for (int i = 0; i < s->c; i++) {
        d.scale[i] = 1.0f / 128;
        d.shift[i] = -1;
    }
    return d;
}

static void free_data(data *d) {
    ck_free(d->bytes, d->pixels);
    ck_free(d->nchw, d->pixels * sizeof(float));
    ck_free(d->weights, d->weight_count * sizeof(float));
    ck_free(d->bias, d->bias_count * sizeof(float));
    ck_free(d->scale, d->channel_count * sizeof(float));
    ck_free(d->shift, d->channel_count * sizeof(float));
}

/* 1 if the algorithm takes this shape and layout; then *w is ready to run. */
static int make_way(const shape *s, const options *o, const data *d, ck_algorithm algorithm, ck_layout layout,
                    uint32_t epilogue, way *w) {
    memset(w, 0, sizeof *w);
    w->desc = (ck_conv_desc){
        .batch = o->batch,
        .in_channels = s->c,
        .in_height = s->h,
        .in_width = s->w,
        .out_channels = s->k,
        .kernel_height = s->kh,
        .kernel_width = s->kw,
        .stride_height = s->stride,
        .stride_width = s->stride,
        .pad_height = s->pad,
        .pad_width = s->pad,
        .groups = s->groups,
        .threads = o->threads,
        .epilogue = epilogue,
        .src_layout = layout,
        .algorithm = algorithm,
    };
    ck_status status = ck_conv_plan_create(&w->desc, &w->plan);
    if (status == CK_UNSUPPORTED) return 0;
    if (status != CK_OK) fail("ck_conv_plan_create", status);
    int oh = output_size(s->h, s->kh, s->stride, s->pad), ow = output_size(s->w, s->kw, s->stride, s->pad);
    if (epilogue & CK_MAX_POOL_3X3_S2) {
        oh = output_size(oh, 3, 2, 1);
        ow = output_size(ow, 3, 2, 1);
    }
    w->packed_bytes = ck_conv_packed_size(w->plan);
    w->workspace_bytes = ck_conv_workspace_size(w->plan);
    w->dst_bytes = ck_blocked_count(o->batch, s->k, oh, ow) * sizeof(float);
    w->packed = allocate(w->packed_bytes);
    w->workspace = allocate(w->workspace_bytes);
    w->dst = allocate(w->dst_bytes);
    if (layout == CK_NCHWC) {
        w->src_bytes = ck_blocked_count(o->batch, s->c, s->h, s->w) * sizeof(float);
        w->src = allocate(w->src_bytes);
        status = ck_nchw_to_blocked(d->nchw, o->batch, s->c, s->h, s->w, w->src, o->threads);
        if (status != CK_OK) fail("ck_nchw_to_blocked", status);
    }
    status = ck_conv_pack(w->plan, d->weights, NULL, w->packed);
    if (status != CK_OK) fail("ck_conv_pack", status);
    w->args = (ck_conv_args){
        .src = layout == CK_NCHWC  ? w->src
               : layout == CK_NCHW ? (const void *)d->nchw
                                   : d->bytes,
        .packed = w->packed,
        .bias = d->bias,
        .src_scale = layout == CK_NHWC8 ? d->scale : NULL,
        .src_shift = layout == CK_NHWC8 ? d->shift : NULL,
        .dst = w->dst,
        .workspace = w->workspace_bytes ? w->workspace : NULL,
    };
    return 1;
}

static void free_way(way *w) {
    ck_conv_plan_destroy(w->plan);
    ck_free(w->packed, w->packed_bytes ? w->packed_bytes : 64);
    ck_free(w->workspace, w->workspace_bytes ? w->workspace_bytes : 64);
    ck_free(w->dst, w->dst_bytes);
    if (w->src) ck_free(w->src, w->src_bytes);
}

/* Rewrites 64 MiB for every thread of the team that computes: their L2 caches and the shared one hold nothing of ours
 * then. */
static void evict(int threads) { ck_scale(evict_memory, EVICT_BYTES / 4 * (size_t)threads, 1, threads); }

static double run(way *w, const options *o) {
    if (o->cold) evict(o->threads);
    double start = roofline_now();
    ck_status status = ck_conv_run(w->plan, &w->args);
    double ms = (roofline_now() - start) * 1e3;
    if (status != CK_OK) fail("ck_conv_run", status);
    return ms;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All ways in turns until each has had its time. */
static void measure(way *ways, int count, const options *o) {
    for (int i = 0; i < count; i++) run(&ways[i], o);
    double end = roofline_now() + o->seconds * count;
    for (int turn = 0; turn < MAX_RUNS && (turn < 3 || roofline_now() < end); turn++)
        for (int i = 0; i < count; i++) ways[i].ms[ways[i].runs++] = run(&ways[i], o);
    for (int i = 0; i < count; i++) qsort(ways[i].ms, (size_t)ways[i].runs, sizeof(double), ascending);
}

static double difference(const way *a, const way *b) {
    double worst = 0, largest = 0;
    for (size_t i = 0; i < a->dst_bytes / sizeof(float); i++) {
        worst = fmax(worst, fabs((double)a->dst[i] - (double)b->dst[i]));
        largest = fmax(largest, fabs((double)b->dst[i]));
    }
    return largest > 0 ? worst / largest : worst;
}

/* The highest peak seen so far: a peak is what nothing exceeds, and others may use the machine meanwhile. */
static double peak_now(const options *o) {
    roofline_width width = ck_isa_active() == CK_ISA_AVX512 ? ROOFLINE_512 : ROOFLINE_256;
    while (width > ROOFLINE_128 && !roofline_has(width)) width--;
    static double highest;
    return highest = fmax(highest, roofline_fma(width, o->threads, 0.5));
}

/* Prints the ways of one shape; returns the milliseconds of the best. */
static double shape_report(const shape *s, const options *o) {
    static way ways[MAX_WAYS];
    static const char *layout_names[] = {"", " nchw", " nhwc8"};
    data d = make_data(s, o->batch);
    int count = 0, first_layer = s->c <= 8;
    for (int a = CK_AUTO + 1; a < CK_ALGORITHM_COUNT; a++) {
        if (o->only != CK_AUTO && (ck_algorithm)a != o->only) continue;
        for (int layout = first_layer ? CK_NCHW : CK_NCHWC; layout <= (first_layer ? CK_NHWC8 : CK_NCHWC); layout++)
            for (int pool = 0; pool <= (a == CK_STEM); pool++) {
                uint32_t epilogue = CK_BIAS | CK_RELU | (pool ? CK_MAX_POOL_3X3_S2 : 0);
                if (count < MAX_WAYS && make_way(s, o, &d, (ck_algorithm)a, (ck_layout)layout, epilogue, &ways[count]))
                    count++;
            }
    }
    double peak = peak_now(o);
    measure(ways, count, o);
    double oh = output_size(s->h, s->kh, s->stride, s->pad), ow = output_size(s->w, s->kw, s->stride, s->pad);
    double operations = 2.0 * o->batch * s->k * oh * ow * (s->c / s->groups) * s->kh * s->kw;
    double best = INFINITY;
    printf("%d x  %dx%dx%d -> %d  %dx%d/%d", s->count, s->c, s->h, s->w, s->k, s->kh, s->kw, s->stride);
    if (s->groups > 1) printf(" in %d groups", s->groups);
    printf("  (%.1f MMAC, peak %.0f GFLOP/s)\n", operations / 2e6 / o->batch, peak);
    for (int i = 0; i < count; i++) {
        way *w = &ways[i];
        char text[200];
        double median = w->ms[w->runs / 2];
        int pooled = (w->desc.epilogue & CK_MAX_POOL_3X3_S2) != 0;
        ck_conv_plan_describe(w->plan, text, sizeof text);
        printf("    %-76s%-7s%9.3f ms  fastest %9.3f  %7.1f GFLOP/s  %5.1f %%", text, layout_names[w->desc.src_layout],
               median, w->ms[0], operations / median * 1e-6, operations / median * 1e-4 / peak);
        if (i > 0 && w->dst_bytes == ways[0].dst_bytes) printf("  differs by %.1e", difference(w, &ways[0]));
        printf("\n");
        if (median < best && !pooled) best = median;
    }
    if (count == 0) printf("    no algorithm applies\n");
    for (int i = 0; i < count; i++) free_way(&ways[i]);
    free_data(&d);
    return best;
}

static void file_report(const char *path, const options *o) {
    FILE *file = fopen(path, "r");
    char line[256];
    double total = 0;
    if (!file) {
        perror(path);
        exit(1);
    }
    printf("%s, batch %d, %d threads, %s%s\n", path, o->batch, o->threads, ck_isa_name(ck_isa_active()),
           o->cold ? ", cold" : "");
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        shape s = {.groups = 1};
        if (line[0] == '#' || line[0] == '\n') continue;
        const int found = sscanf(line, "%d %d %d %d %d %d %d %d %d %d", &s.count, &s.c, &s.h, &s.w, &s.k, &s.kh, &s.kw,
                                 &s.stride, &s.pad, &s.groups);
        if (found < 9 || s.groups < 1 || s.c % s.groups) {
            fprintf(stderr, "%s:%d: nine numbers expected, or ten with groups that divide the channels\n", path,
                    number);
            exit(1);
        }
        total += s.count * shape_report(&s, o);
        fflush(stdout);
    }
    fclose(file);
    if (isfinite(total))
        printf("all convolutions, each at its best: %.2f ms, %.1f images/s\n\n", total, o->batch / total * 1e3);
}

static ck_algorithm algorithm_named(const char *name) {
    for (int a = CK_AUTO + 1; a < CK_ALGORITHM_COUNT; a++)
        if (strcmp(name, ck_algorithm_name((ck_algorithm)a)) == 0) return (ck_algorithm)a;
    fprintf(stderr, "layers: no algorithm %s; there are:", name);
    for (int a = CK_AUTO + 1; a < CK_ALGORITHM_COUNT; a++) fprintf(stderr, " %s", ck_algorithm_name((ck_algorithm)a));
    fprintf(stderr, "\n");
    exit(2);
}

static void report_files(void *options_of_main) {
    const options *o = options_of_main;
    for (char **file = o->files; *file; file++) file_report(*file, o);
}

int main(int argc, char **argv) {
    ck_status status = ck_init();
    if (status != CK_OK) fail("ck_init", status);
    options o = {.batch = 1, .threads = ck_default_threads(), .seconds = 0.3};
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--cold") == 0) {
            o.cold = 1;
            continue;
        }
        if (strcmp(argv[i], "--batch") == 0)
            o.batch = atoi(value);
        else if (strcmp(argv[i], "--threads") == 0)
            o.threads = atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = atof(value);
        else if (strcmp(argv[i], "--algorithm") == 0)
            o.only = algorithm_named(value);
        else
            break;
        i++;
    }
    if (i >= argc || strncmp(argv[i], "--", 2) == 0 || o.batch < 1 || o.threads < 1 || o.threads > 256 ||
        !(o.seconds > 0)) {
        fprintf(stderr, "usage: layers [--batch N] [--threads N] [--seconds S] [--cold] [--algorithm NAME] FILE...\n");
        return 2;
    }
    o.files = argv + i;
    evict_memory = allocate(EVICT_BYTES * (size_t)o.threads);
    status = ck_with_team(o.threads, report_files, &o);
    if (status != CK_OK) fail("ck_with_team", status);
    ck_free(evict_memory, EVICT_BYTES * (size_t)o.threads);
    return 0;
}
