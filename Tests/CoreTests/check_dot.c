/* check_dot: the panels whose instruction adds dot products of bytes (isa/int8_dot.inc), where the CPU has AVX2 and may
 * lack that instruction. Then each vpdpbusd is an illegal instruction, and the handler below does what Intel's manual
 * says it does: so the very code that other CPUs run is tested, its encoding and the order of its operands included.
 * On NEON check_core runs it, under qemu. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa/kernels.h"

#if defined(__x86_64__)
#include <ucontext.h>

#include "core/cpu.h"

static long emulated;

/* A register of 32 bytes as the kernel saved it: the lower half in the legacy area, the upper one 576 bytes behind its
 * start (Intel's manual, volume 1, 13.4). `to` or `from` is NULL. */
static void transfer(ucontext_t *context, int index, uint8_t *to, const uint8_t *from) {
    uint8_t *saved = (uint8_t *)context->uc_mcontext.fpregs,
            *halves[] = {saved + 160 + 16 * index, saved + 576 + 16 * index};
    for (int half = 0; half < 2; half++) {
        if (to) memcpy(to + 16 * half, halves[half], 16);
        if (from) memcpy(halves[half], from + 16 * half, 16);
    }
}

/* VEX.256.66.0F38.W0 50 /r between registers: vpdpbusd ymm1, ymm2, ymm3. Four unsigned bytes of ymm2 times four signed
 * ones of ymm3 are added to each 32-bit number of ymm1. */
static void emulate(int number, siginfo_t *info, void *data) {
    (void)info;
    ucontext_t *context = data;
    greg_t *next = &context->uc_mcontext.gregs[REG_RIP];
    const uint8_t *code = (const uint8_t *)*next;
    const uint64_t states = *(const uint64_t *)((const uint8_t *)context->uc_mcontext.fpregs + 512);
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x87) != 5 || code[3] != 0x50 || code[4] < 0xc0 ||
        (states & 4) == 0) {
        signal(number, SIG_DFL); /* something else: it is met again, and ends the program */
        return;
    }
    const int first = (code[4] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8), third = (code[4] & 7) | (code[1] & 0x20 ? 0 : 8);
    uint32_t sums[8];
    uint8_t bytes[32];
    int8_t weights[32];
    transfer(context, first, (uint8_t *)sums, NULL);
    transfer(context, ~(code[2] >> 3) & 15, bytes, NULL);
    transfer(context, third, (uint8_t *)weights, NULL);
    for (int i = 0; i < 32; i++) sums[i / 4] += (uint32_t)(bytes[i] * weights[i]);
    transfer(context, first, NULL, (const uint8_t *)sums);
    *next += 5;
    emulated++;
}

static uint32_t state = 1;
static uint32_t next_number(void) {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* Extremes make pairs that saturate 16 bits, and many of the largest products leave 32. */
typedef enum { RANDOM, EXTREME, LARGEST } pattern;

static void fill(uint8_t *x, size_t x_count, int8_t *w, size_t w_count, pattern kind) {
    static const int8_t edges[] = {127, -127, -128, 0};
    for (size_t i = 0; i < x_count; i++)
        x[i] = kind == LARGEST ? 255 : (uint8_t)(kind == EXTREME ? (next_number() % 4 ? 255 : 0) : next_number());
    for (size_t i = 0; i < w_count; i++)
        w[i] = kind == LARGEST ? 127 : kind == EXTREME ? edges[next_number() % 4] : (int8_t)next_number();
}

/* `rows` x `run` words of a picture of `pixels` pixels, two in a row, against plain sums. */
static int wrong_sums(const ck_kernels *kernels, int blocks, int pixels, int run, int rows, pattern kind) {
    enum { COLUMNS = 2 };
    const int v = kernels->block, row = (COLUMNS + 1) * run, lines = (pixels + 1) / COLUMNS + rows;
    const size_t x_count = 4 * (size_t)row * lines, w_count = (size_t)rows * run * blocks * v * 4;
    uint8_t *x = malloc(x_count);
    int8_t *w = malloc(w_count);
    int32_t *sums = malloc((size_t)blocks * pixels * v * sizeof *sums);
    if (!x || !w || !sums) exit(2);
    fill(x, x_count, w, w_count, kind);
    const ck_word_panel panel = {.src = x,
                                 .outer = {rows, 1},
                                 .outer_stride = {row, 0},
                                 .run = run,
                                 .pixels = pixels,
                                 .columns = COLUMNS,
                                 .pixel_stride = run,
                                 .row_stride = row,
                                 .blocks = blocks,
                                 .weights = w,
                                 .sums = sums,
                                 .dst_block = (ptrdiff_t)pixels * v};
    kernels->dot_panel(&panel);
    int wrong = 0;
    for (int k = 0; k < blocks * v; k++)
        for (int p = 0; p < pixels; p++) {
            int64_t sum = 0;
            for (int o = 0; o < rows; o++)
                for (int j = 0; j < 4 * run; j++)
                    sum += x[4 * ((p / COLUMNS + o) * row + p % COLUMNS * run) + j] *
                           w[4 * (((size_t)o * run + j / 4) * blocks * v + k) + j % 4];
            wrong += sums[k / v * panel.dst_block + p * v + k % v] != (int32_t)(uint32_t)(uint64_t)sum;
        }
    free(x), free(w), free(sums);
    return wrong;
}

int main(void) {
    if (!ck_cpu_supports(CK_ISA_AVX2)) return puts("dot products of bytes: no AVX2 here, nothing checked"), 0;
    const struct sigaction action = {.sa_sigaction = emulate, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGILL, &action, NULL) != 0) return 2;
    const ck_kernels *kernels = &ck_kernels_avx2;
    int checks = 0, failed = 0;
    for (pattern kind = RANDOM; kind < LARGEST; kind++)
        for (int blocks = 1; blocks <= 2; blocks++)
            for (int pixels = 1; pixels <= 2 * kernels->word_pixels + 1; pixels++, checks += 3)
                failed += (wrong_sums(kernels, blocks, pixels, 1, 1, kind) > 0) +
                          (wrong_sums(kernels, blocks, pixels, 2, 3, kind) > 0) +
                          (wrong_sums(kernels, blocks, pixels, 37, 1, kind) > 0);
    failed += wrong_sums(kernels, 1, 1, 20000, 1, LARGEST) > 0, checks++; /* 255 * 127 * 4 * 20000 > 2^31 */
    if (!ck_cpu_has_dot(CK_ISA_AVX2) && emulated == 0) failed++, puts("vpdpbusd was never met");
    printf("dot products of bytes: %d checks, %d failed; %ld instructions %s\n", checks, failed, emulated,
           emulated ? "emulated" : "on this CPU");
    return failed != 0;
}

#else

int main(void) { return puts("dot products of bytes: nothing to check here"), 0; }

#endif
