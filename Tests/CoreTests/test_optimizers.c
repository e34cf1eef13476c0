/* Optimizers and arithmetic on flat arrays: against PyTorch's pinned results, against one step in double, element by
 * element, and at their edges; dropout. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "pinned_optimizers.h"

/* Every step rounds a handful of times relative to the parameter and to the step taken; both are float on both sides.
 */
static void pinned(const pinned_optimizer *o) {
    enum { COUNT = PINNED_COUNT };
    float *w = copied(o->start, COUNT), *first = integers(COUNT, 1, 0, 0), *second = integers(COUNT, 1, 0, 0);
    for (int step = 0; step < PINNED_STEPS; step++) {
        const float *grad = copied(o->gradients[step], COUNT);
        double *sizes = doubles(COUNT);
        for (int i = 0; i < COUNT; i++) sizes[i] = fabs(o->after[step][i]) + fabs(o->after[step][i] - w[i]);
        ck_status status;
        if (o->is_sgd) {
            ck_sgd settings = o->sgd;
            settings.first = step == 0;
            status = ck_sgd_step(&settings, w, grad, settings.momentum == 0 ? NULL : first, COUNT, 2);
        } else {
            ck_adam settings = o->adam;
            settings.step = step + 1;
            status = ck_adam_step(&settings, w, grad, first, second, COUNT, 2);
        }
        check(status == CK_OK, "%s", o->name);
        check_close(w, o->after[step], COUNT, sizes, 8 * (step + 1) * ROUNDOFF, 0, o->name);
    }
    release_all();
}

/* One step in double beside the kernels'. */
static void one_step(size_t count, int threads) {
    const float *start = uniform(count, 1, -1, 1), *grad = uniform(count, 2, -1, 1);
    double *want = doubles(count), *bound = doubles(count);
    for (size_t i = 0; i < count; i++) bound[i] = 3;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        float *w = uniform(count, 1, -1, 1), *velocity = uniform(count, 3, -1, 1);
        const ck_sgd sgd = {0.1, 0.9, nesterov ? 0 : 0.1, 0.01, nesterov, 0};
        for (size_t i = 0; i < count; i++) {
            const double g = grad[i] + 0.01 * start[i], v = 0.9 * velocity[i] + (1 - sgd.dampening) * g;
            want[i] = start[i] - 0.1 * (nesterov ? g + 0.9 * v : v);
        }
        check(ck_sgd_step(&sgd, w, grad, velocity, count, threads) == CK_OK, "sgd");
        check_close(w, want, count, bound, 4 * ROUNDOFF, 0, "sgd");
    }
    for (int decoupled = 0; decoupled < 2; decoupled++) {
        float *w = uniform(count, 1, -1, 1), *m = uniform(count, 3, -1, 1), *v = uniform(count, 4, 0.1, 1);
        const ck_adam adam = {0.01, 0.9, 0.99, 1e-8, 0.1, decoupled, 3};
        for (size_t i = 0; i < count; i++) {
            const double g = grad[i] + (decoupled ? 0 : 0.1 * start[i]), first = 0.9 * m[i] + 0.1 * g;
            const double second = 0.99 * v[i] + 0.01 * g * g, old = decoupled ? start[i] * (1 - 0.001) : start[i];
            want[i] = old - 0.01 / (1 - pow(0.9, 3)) * first / (sqrt(second / (1 - pow(0.99, 3))) + 1e-8);
        }
        check(ck_adam_step(&adam, w, grad, m, v, count, threads) == CK_OK, "adam");
        check_close(w, want, count, bound, 4 * ROUNDOFF, 0, "adam");
    }
    release_all();
}

/* w, m and v behind each other after a step on elements from...from + count of a seeded array. */
static float *adam_on(size_t from, size_t count, int32_t threads) {
    enum { ALL = 50003 };
    const float *start = uniform(ALL, 1, -1, 1), *grad = uniform(ALL, 2, -1, 1);
    float *state = floats(3 * count), *w = state, *m = state + count, *v = m + count;
    for (size_t i = 0; i < count; i++) {
        w[i] = start[from + i], m[i] = grad[from + i];
        v[i] = m[i] * m[i];
    }
    const ck_adam adam = {0.1, 0.9, 0.99, 1e-8, 0.1, 1, 3};
    check(ck_adam_step(&adam, w, grad + from, m, v, count, threads) == CK_OK, "adam");
    return state;
}

/* Long arrays give the same bits on any team, and every element the bits that it has alone. */
static void independent_elements(void) {
    enum { ALL = 50003 };
    static const int32_t teams[] = {2, 3, 7};
    const float *whole = adam_on(0, ALL, 1), *part = adam_on(ALL - 5, 5, 1);
    for (size_t i = 0; i < COUNT_OF(teams); i++)
        check(!memcmp(adam_on(0, ALL, teams[i]), whole, 3 * ALL * sizeof *whole), "adam on %d threads", teams[i]);
    for (int which = 0; which < 3; which++)
        check(!memcmp(part + 5 * which, whole + (which + 1) * ALL - 5, 5 * sizeof *whole), "five elements alone");
    release_all();
}

static double squares_of(const float *x, size_t count) {
    double total = 0;
    /* In chunks: one running sum of 100 000 doubles is itself off by more than what is asked here. */
    for (size_t first = 0; first < count; first += 256) {
        double sum = 0;
        for (size_t i = first; i < count && i < first + 256; i++) sum += (double)x[i] * x[i];
        total += sum;
    }
    return total;
}

static void sums_and_combinations(size_t count) {
    static const int32_t teams[] = {2, 3, 7};
    const float *x = uniform(count, 1, -1, 1), *y = uniform(count, 2, -1, 1);
    double *want = doubles(count), *size = doubles(count), first = 0, sum = 0;
    const double squares = squares_of(x, count);
    check(ck_sum_of_squares(x, count, &first, 1) == CK_OK, "sum of squares");
    check(fabs(first - squares) <= 1e-13 * squares, "sum of squares: %.17g, expected %.17g", first, squares);
    for (size_t i = 0; i < COUNT_OF(teams); i++)
        check(ck_sum_of_squares(x, count, &sum, teams[i]) == CK_OK && sum == first, "the same sum on any team");
    for (int32_t threads = 0; threads < 4; threads++) {
        float *got = copied(y, count);
        for (size_t i = 0; i < count; i++) size[i] = fabs(want[i] = 0.3 * y[i]);
        for (size_t i = 0; i < count; i++) size[i] = fabs((double)y[i]);
        check(ck_scale(got, count, 0.3, threads) == CK_OK, "scale");
        check_close(got, want, count, size, 3 * ROUNDOFF, 0, "scale");
        got = copied(y, count);
        for (size_t i = 0; i < count; i++) {
            want[i] = y[i] - 0.7 * x[i];
            size[i] = fabs((double)y[i]) + fabs((double)x[i]);
        }
        check(ck_accumulate(x, got, count, -0.7, threads) == CK_OK, "accumulate");
        check_close(got, want, count, size, 3 * ROUNDOFF, 0, "accumulate");
        got = copied(y, count);
        for (size_t i = 0; i < count; i++) want[i] = 0.9 * y[i] + 0.1 * x[i];
        check(ck_moving_average(x, got, count, 0.9, threads) == CK_OK, "moving average");
        check_close(got, want, count, size, 3 * ROUNDOFF, 0, "moving average");
    }
    release_all();
}

static void edges_of_sums(void) {
    enum { MANY = 100 };
    const float with_nan[] = {1, NAN, 2}, with_infinity[] = {1, -INFINITY, 2};
    float *large = floats(MANY);
    double sum = 0;
    for (int i = 0; i < MANY; i++) large[i] = FLT_MAX;
    check(ck_sum_of_squares(with_nan, 3, &sum, 1) == CK_OK && isnan(sum), "a NaN is not lost");
    check(ck_sum_of_squares(with_infinity, 3, &sum, 1) == CK_OK && isinf(sum) && sum > 0, "infinity is not lost");
    check(ck_sum_of_squares(large, MANY, &sum, 1) == CK_OK && isfinite(sum), "finite values have a finite sum");
}

/* ---- dropout */

/* The published answer of Philox4x32-10 for counter 0 and key 0 decides about elements 0...3 of seed 0: an element is
 * dropped if its number is below p 2^32. */
static void philox(void) {
    static const uint32_t numbers[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    static const float ones[] = {1, 1, 1, 1};
    for (int i = 0; i < 4; i++)
        for (int above = 0; above < 2; above++) {
            float y[4];
            check(ck_dropout(ones, y, 4, ((double)numbers[i] + above) * 0x1p-32, 0, 0, 1) == CK_OK, "dropout");
            check((y[i] == 0) == above, "element %d of Philox", i);
        }
}

static size_t zeros_of(const float *a, const float *b, size_t count) {
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++) zeros += a[i] == 0 && b[i] == 0;
    return zeros;
}

static void dropout(double p) {
    enum { COUNT = 100000, PART = 1000 };
    static const size_t firsts[] = {1, 2, 3, 17, 4096, COUNT / 2};
    const float *x = uniform(COUNT, 1, 1, 2);
    float *whole = floats(COUNT), *other = floats(COUNT);
    double *kept = doubles(COUNT);
    check(ck_dropout(x, whole, COUNT, p, 7, 0, 1) == CK_OK, "dropout");
    /* Five standard deviations of a binomial count. */
    const double dropped = (double)zeros_of(whole, whole, COUNT);
    check(fabs(dropped - p * COUNT) <= 5 * sqrt(COUNT * p * (1 - p)), "%g dropped with p %g", dropped, p);
    for (size_t i = 0; i < COUNT; i++) kept[i] = whole[i] == 0 ? 0 : (float)(x[i] * (float)(1 / (1 - p)));
    check_equal(whole, kept, COUNT, "what is kept is scaled");
    for (int32_t threads = 2; threads <= 3; threads++) {
        float *again = copied(x, COUNT);
        check(ck_dropout(again, again, COUNT, p, 7, 0, threads) == CK_OK, "in place");
        check(!memcmp(again, whole, COUNT * sizeof *whole), "dropout on %d threads, in place", threads);
    }
    for (size_t i = 0; i < COUNT_OF(firsts); i++) {
        float *part = floats(PART);
        check(ck_dropout(x + firsts[i], part, PART, p, 7, firsts[i], 1) == CK_OK, "a part");
        check(!memcmp(part, whole + firsts[i], PART * sizeof *part), "the same decisions from %zu on", firsts[i]);
    }
    check(ck_dropout(x, other, COUNT, p, 8, 0, 1) == CK_OK, "another seed");
    const double both = (double)zeros_of(whole, other, COUNT);
    if (p > 0 && p < 1)
        check(fabs(both - p * p * COUNT) <= 5 * sqrt(COUNT * p * p), "%g dropped by both seeds with p %g", both, p);
    release_all();
}

/* ---- refusals */

static void refuse_steps(void) {
    float w[] = {1, 2}, m[2] = {0}, v[2] = {0};
    const float g[] = {1, 1};
    ck_sgd sgd = {.lr = 0.1, .momentum = 0.9, .first = 1};
    REFUSED(ck_sgd_step(&sgd, w, g, NULL, 2, 1)); /* momentum needs a velocity */
    REFUSED(ck_sgd_step(&sgd, w, NULL, m, 2, 1));
    REFUSED(ck_sgd_step(NULL, w, g, m, 2, 1));
    REFUSED(ck_sgd_step(&sgd, w, g, m, 0, 1));
    REFUSED(ck_sgd_step(&sgd, w, g, m, 2, -1));
    sgd.nesterov = 1, sgd.dampening = 0.1;
    REFUSED(ck_sgd_step(&sgd, w, g, m, 2, 1)); /* Nesterov takes no dampening */
    sgd.lr = (double)NAN;
    REFUSED(ck_sgd_step(&sgd, w, g, m, 2, 1));
    const ck_adam good = {0.1, 0.9, 0.99, 1e-8, 0, 0, 1};
    ck_adam bad = good;
    bad.step = 0, REFUSED(ck_adam_step(&bad, w, g, m, v, 2, 1));
    bad = good, bad.beta1 = 1, REFUSED(ck_adam_step(&bad, w, g, m, v, 2, 1));
    bad = good, bad.beta2 = -0.1, REFUSED(ck_adam_step(&bad, w, g, m, v, 2, 1));
    bad = good, bad.eps = -1, REFUSED(ck_adam_step(&bad, w, g, m, v, 2, 1));
    bad = good, bad.lr = (double)INFINITY, REFUSED(ck_adam_step(&bad, w, g, m, v, 2, 1));
    check(w[0] == 1 && w[1] == 2, "a refused step wrote");
}

static void refuse_arithmetic(void) {
    float w[] = {1, 2};
    const float g[] = {1, 1};
    double sum;
    REFUSED(ck_scale(w, 2, (double)NAN, 1));
    REFUSED(ck_scale(NULL, 2, 1, 1));
    REFUSED(ck_accumulate(NULL, w, 2, 1, 1));
    REFUSED(ck_moving_average(g, w, 2, 1.5, 1));
    REFUSED(ck_sum_of_squares(g, 2, NULL, 1));
    REFUSED(ck_sum_of_squares(NULL, 2, &sum, 1));
    REFUSED(ck_dropout(g, w, 1, -0.1, 0, 0, 1));
    REFUSED(ck_dropout(g, w, 1, 1.1, 0, 0, 1));
    REFUSED(ck_dropout(g, w, 1, (double)NAN, 0, 0, 1));
    check(w[0] == 1 && w[1] == 2, "a refused call wrote");
}

void test_optimizers(void) {
    static const size_t counts[] = {1, 5, 16, 17, 4099, 50003, 100001};
    static const double shares[] = {0, 0.1, 0.5, 0.9, 1};
    check(COUNT_OF(pinned_optimizers) == 9, "nine optimizers are pinned");
    for (size_t i = 0; i < COUNT_OF(pinned_optimizers); i++) pinned(&pinned_optimizers[i]);
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        one_step(counts[i], 1 + (int)i % 3);
        sums_and_combinations(counts[i]);
    }
    independent_elements();
    edges_of_sums();
    philox();
    for (size_t i = 0; i < COUNT_OF(shares); i++) dropout(shares[i]);
    refuse_steps();
    refuse_arithmetic();
}
