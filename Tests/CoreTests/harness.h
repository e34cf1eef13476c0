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

/* The unit roundoff of float. */
#define ROUNDOFF 0x1p-24

/* Counts a check and, if it failed, prints what (printf) and the ISA. Returns `passed`. */
int check(int passed, const char *what, ...) __attribute__((format(printf, 2, 3)));
/* actual within relative[i] * factor + absolute of expected; relative may be NULL. */
void check_close(const float *actual, const double *expected, size_t count, const double *relative, double factor,
                 double absolute, const char *what);
void check_equal(const float *actual, const double *expected, size_t count, const char *what);

/* Memory that lives until release_all and ends at a page that may not be touched; aligned as far as its size is a
 * multiple of 64 bytes. Floats start as NaN, doubles as 0. */
void *allocate(size_t bytes);
float *floats(size_t count);
double *doubles(size_t count);
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
void release_all(void);

/* What the kernels are asked for; the rest is theirs to choose. */
ck_conv_desc description(const cr_conv *s, int32_t threads);

/* The groups of checks; each is called once under every instruction set. */
void test_forward(void);
void test_gradients(void);
void test_pooling(void);
void test_elementwise(void);
void test_linear(void);
void test_layer_norm(void);
void test_gelu(void);
void test_attention(void);
void test_pictures(void);
void test_batch_norm(void);
void test_losses(void);
void test_optimizers(void);
void test_refusals(void);
void test_swept_forward(void);
void test_swept_gradients(void);

#endif
