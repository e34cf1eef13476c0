/* harness.h: what the C tests of the core share. No Swift and no XCTest, so that the same program checks every build:
 * gcc and clang, with and without OpenMP and OpenBLAS, natively and under qemu for another CPU.
 *
 * Every kernel of every instruction set runs against CReference. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stddef.h>
#include <stdint.h>

#include "ckernels.h"
#include "creference.h"

/* The unit roundoff of float: half the distance from 1 to the next number. */
#define ROUNDOFF 0x1p-24

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Counts a check and, if it failed, prints what (printf) and the ISA. Returns `passed`. */
int check(int passed, const char *what, ...) __attribute__((format(printf, 2, 3)));
/* actual within relative[i] * factor + absolute of expected; relative may be NULL. A NaN must meet a NaN. */
void check_close(const float *actual, const double *expected, size_t count, const double *relative, double factor,
                 double absolute, const char *what);
void check_equal(const float *actual, const double *expected, size_t count, const char *what);
/* The call refuses its arguments. */
#define REFUSED(call) check((call) == CK_INVALID_ARGUMENT, "%s is not refused", #call)
/* A size that no buffer has: which of the two it is called does not matter. */
#define TOO_MUCH(call)                                                                                                 \
    do {                                                                                                               \
        const ck_status status_ = (call);                                                                              \
        check(status_ == CK_INVALID_ARGUMENT || status_ == CK_OUT_OF_MEMORY, "%s: %s", #call,                          \
              ck_status_string(status_));                                                                              \
    } while (0)
/* Starts the program again with OpenMP's waiting threads asleep: they read their setting before main, and would
 * otherwise spin away the time of a machine with fewer cores than threads, or with other work to do. */
void let_threads_sleep(char **arguments);
long checks_so_far(void);
/* Prints how many checks were made and how many failed; the program's exit code. */
int end_of_checks(const char *program);

/* Memory that lives until it is released, between two pages that may not be touched. It ends at the second one and is
 * aligned as far as its size is a multiple of 64 bytes, or, after place_at_start(1), begins behind the first. What is
 * left of its pages is checked when it is released: nothing may have been written there. All bytes begin as 0xFF:
 * floats as NaN; doubles as 0. */
void *allocate(size_t bytes);
/* Returns what held before. */
int place_at_start(int yes);
/* Releases what was allocated after mark(), or everything. */
size_t mark(void);
void release(size_t to_mark);
void release_all(void);
float *floats(size_t count);
double *doubles(size_t count);
float *copied(const float *x, size_t count);
float *uniform(size_t count, uint64_t seed, double low, double high);
float *integers(size_t count, uint64_t seed, int low, int high);
/* NCHW -> NCHWc of the active block and back; `poisoned` is a blocked buffer of NaN. */
float *blocked(const float *x, int n, int c, size_t plane);
float *unblocked(const float *x, int n, int c, size_t plane);
float *poisoned(int n, int c, size_t plane);
/* (C) with zeros up to whole blocks. */
float *padded(const float *x, int c);
/* Fails unless the surplus channels of x are zero. */
void check_surplus(const float *x, int n, int c, size_t plane, const char *what);

/* Switches to the i-th instruction set that is checked and returns 1; behind the last back to the first and returns 0:
 *     for (int i = 0; use_isa(i); i++)
 * for tests whose reference takes longer than the kernels. */
int use_isa(int i);
enum { MOST_ISAS = CK_ISA_COUNT };
/* Long tables are checked at each row with a number divisible by this: 1, or what --every says. */
size_t table_step(void);
/* Whether the plans are made for the machine's own caches: then tables run in full. */
int own_caches(void);

/* An algorithm's rounding error in those of direct sums; above 1 it is Winograd, which mixes the outputs of a tile. */
double error_multiple(ck_algorithm algorithm);

/* What the kernels are asked for; the rest is theirs to choose. */
ck_conv_desc description(const cr_conv *s, int32_t threads);
/* A convolution's shape in words, in static memory. */
const char *shape_text(const cr_conv *s);

/* The groups of checks. Those of convolutions go through the instruction sets by themselves; the others are called once
 * under each. */
void test_forward(void);
void test_gradients(void);
void test_swept_forward(void);
void test_swept_gradients(void);
void test_layers_forward(void);
void test_layers_gradients(void);

void test_plans(void);
void test_wisdom(void);
void test_processor(void);
void test_layouts(void);
void test_bf16(void);
void test_int8(void);
void test_pooling(void);
void test_elementwise(void);
void test_gates(void);
void test_linear(void);
void test_layer_norm(void);
void test_group_norm(void);
void test_gelu(void);
void test_attention(void);
void test_pictures(void);
void test_batch_norm(void);
void test_losses(void);
void test_optimizers(void);
void test_refusals(void);

#endif
