/* Layout conversion by the index formula, seeded test data, and the comparison that every test uses. */
#include "creference.h"
#include <math.h>
#include <string.h>

/* (n, c, p) of NCHW sits at [n][c / block][p][c % block]. */
static size_t blocked_index(int n, int c, size_t p, int channels, size_t plane, int block) {
    int blocks = (channels + block - 1) / block;
    return (((size_t)n * blocks + c / block) * plane + p) * block + c % block;
}

size_t cr_blocked_count(int n, int c, size_t plane, int block) {
    return (size_t)n * ((c + block - 1) / block) * block * plane;
}

void cr_to_blocked(const float *x, int n, int c, size_t plane, int block, float *y) {
    memset(y, 0, cr_blocked_count(n, c, plane, block) * sizeof *y);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            for (size_t p = 0; p < plane; p++)
                y[blocked_index(i, j, p, c, plane, block)] = x[((size_t)i * c + j) * plane + p];
}

void cr_from_blocked(const float *x, int n, int c, size_t plane, int block, float *y) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            for (size_t p = 0; p < plane; p++)
                y[((size_t)i * c + j) * plane + p] = x[blocked_index(i, j, p, c, plane, block)];
}

size_t cr_surplus_nonzero(const float *x, int n, int c, size_t plane, int block) {
    size_t found = 0;
    int padded = (c + block - 1) / block * block;
    for (int i = 0; i < n; i++)
        for (int j = c; j < padded; j++)
            for (size_t p = 0; p < plane; p++) found += x[blocked_index(i, j, p, c, plane, block)] != 0;
    return found;
}

/* splitmix64 (Steele, Lea, Flood 2014) of the element's number: any element can be made alone. */
static uint64_t hash(uint64_t seed, size_t i) {
    uint64_t z = seed * 0xD1342543DE82EF95u + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void cr_fill_uniform(float *x, size_t count, uint64_t seed, double low, double high) {
    for (size_t i = 0; i < count; i++) x[i] = (float)(low + (high - low) * (double)(hash(seed, i) >> 40) * 0x1p-24);
}

void cr_fill_integers(float *x, size_t count, uint64_t seed, int low, int high) {
    for (size_t i = 0; i < count; i++) x[i] = (float)(low + (int)((hash(seed, i) >> 32) % (uint64_t)(high - low + 1)));
}

void cr_fill_bytes(uint8_t *x, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) x[i] = (uint8_t)(hash(seed, i) >> 56);
}

void cr_poison(void *x, size_t bytes) { memset(x, 0xFF, bytes); }

size_t cr_count_poison(const void *x, size_t bytes) {
    size_t found = 0;
    for (size_t i = 0; i < bytes; i++) found += ((const uint8_t *)x)[i] == 0xFF;
    return found;
}

void cr_round(const double *x, size_t count, float *y) {
    for (size_t i = 0; i < count; i++) y[i] = (float)x[i];
}

void cr_error_scale(double *spread, const double *y, int n, int k, size_t plane, const float *bias,
                    const float *residual) {
    for (size_t i = 0; i < (size_t)n * k * plane; i++) {
        double added = (bias ? fabs(bias[i / plane % k]) : 0) + (residual ? fabs(residual[i]) : 0);
        spread[i] = 3 * (spread[i] + added) + 2 * fabs(y[i]);
    }
}

void cr_plane_max(const double *x, int planes, size_t plane, double *y) {
    for (int i = 0; i < planes; i++) {
        y[i] = x[i * plane];
        for (size_t p = 1; p < plane; p++) y[i] = fmax(y[i], x[i * plane + p]);
    }
}

void cr_repeat(const double *x, int planes, size_t plane, double *y) {
    for (size_t i = 0; i < planes * plane; i++) y[i] = x[i / plane];
}

cr_difference cr_compare(const float *actual, const double *expected, size_t count, const double *relative,
                         double factor, double absolute) {
    cr_difference d = {0, 0, 0, 0, 0};
    for (size_t i = 0; i < count; i++) {
        if (actual[i] == expected[i] || (isnan(actual[i]) && isnan(expected[i]))) continue;
        double bound = (relative ? relative[i] * factor : 0) + absolute;
        double ratio = fabs(actual[i] - expected[i]) / bound;
        if (isnan(ratio)) ratio = INFINITY;
        if (ratio > d.worst) d = (cr_difference){ratio, i, actual[i], expected[i], bound};
    }
    return d;
}
