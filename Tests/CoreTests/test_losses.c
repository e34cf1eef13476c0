/* Losses: against PyTorch's pinned results, against the reference, and at their edges. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "pinned_losses.h"

typedef struct {
    int kind; /* 0: cross entropy, 1: soft cross entropy, 2: binary cross entropy */
    const float *x, *targets, *weights;
    const int32_t *labels;
    int rows, n;
    double smoothing;
    int32_t ignored;
} loss_case;

static ck_status compute(const loss_case *o, double scale, ck_loss *loss, float *dx) {
    switch (o->kind) {
    case 0:
        return ck_cross_entropy(o->x, o->labels, o->rows, o->n, o->weights, o->smoothing, o->ignored, scale, loss, dx);
    case 1: return ck_soft_cross_entropy(o->x, o->targets, o->rows, o->n, o->weights, o->smoothing, scale, loss, dx);
    default: return ck_bce_with_logits(o->x, o->targets, o->rows, o->n, o->weights, scale, loss, dx);
    }
}

static double reference(const loss_case *o, double *dx) {
    switch (o->kind) {
    case 0: return cr_cross_entropy(o->x, o->labels, o->rows, o->n, o->weights, o->smoothing, o->ignored, dx);
    case 1: return cr_soft_cross_entropy(o->x, o->targets, o->rows, o->n, o->weights, o->smoothing, dx);
    default: return cr_bce_with_logits(o->x, o->targets, o->rows, o->n, o->weights, dx);
    }
}

/* The rows that count, by the weights of their labels; all values for what has no labels. */
static double weight_of(const loss_case *o) {
    if (o->kind) return o->kind == 1 ? o->rows : (double)o->rows * o->n;
    double sum = 0;
    for (int i = 0; i < o->rows; i++)
        if (o->labels[i] != o->ignored) sum += o->weights ? o->weights[o->labels[i]] : 1;
    return sum;
}

/* The loss to a double's precision; the gradient rounded once. */
static void check_loss(const loss_case *o, double scale, double value, double precision, const double *gradient,
                       double least) {
    static const char *const names[] = {"cross entropy", "soft cross entropy", "binary cross entropy"};
    const size_t count = (size_t)o->rows * o->n;
    ck_loss loss = {0};
    float *dx = floats(count);
    double *expected = doubles(count), *bound = doubles(count);
    char what[100];
    snprintf(what, sizeof what, "%s %dx%d, smoothing %g%s", names[o->kind], o->rows, o->n, o->smoothing,
             o->weights ? ", weights" : "");
    for (size_t i = 0; i < count; i++) bound[i] = fabs(expected[i] = gradient[i] * scale);
    check(compute(o, scale, &loss, dx) == CK_OK, "%s", what);
    check(fabs(loss.mean - value) <= precision, "%s: %.17g, expected %.17g", what, loss.mean, value);
    check(fabs(loss.weight - weight_of(o)) <= 1e-12 * weight_of(o), "%s: weight %g", what, loss.weight);
    check_close(dx, expected, count, bound, 1.01 * ROUNDOFF, least, what);
}

static void pinned(void) {
    for (size_t i = 0; i < COUNT_OF(pinned_losses); i++)
        for (int part = 0; part < 2; part++) {
            const pinned_loss *p = &pinned_losses[i];
            const loss_case o = {
                .kind = p->kind,
                .x = copied(p->logits, PINNED_ROWS * PINNED_CLASSES),
                .targets = p->targets,
                .weights = p->weighted ? p->weights : NULL,
                .labels = p->labels,
                .rows = PINNED_ROWS,
                .n = PINNED_CLASSES,
                .smoothing = p->smoothing,
                .ignored = -100,
            };
            check_loss(&o, part ? 0.25 : 1, p->loss, 1e-13 * fabs(p->loss), p->gradient, 1e-15);
            release_all();
        }
}

static void against_the_reference(int rows, int n, double size) {
    static const double smoothings[] = {0, 0.1, 1};
    const size_t count = (size_t)rows * n;
    const float *x = uniform(count, (uint64_t)n, -size, size), *targets = uniform(count, 2, 0, 1);
    const float *weights = uniform(n, 3, 0.5, 2);
    int32_t *labels = allocate(rows * sizeof *labels);
    for (int i = 0; i < rows; i++) labels[i] = i % 5 == 3 ? -1 : i * 7 % n;
    for (int variant = 0; variant < 18; variant++) {
        const loss_case o = {.kind = variant % 3,
                             .x = x,
                             .targets = targets,
                             .weights = variant / 3 % 2 ? weights : NULL,
                             .labels = labels,
                             .rows = rows,
                             .n = n,
                             .smoothing = smoothings[variant / 6],
                             .ignored = -1};
        double *gradient = doubles(count);
        const double value = reference(&o, gradient);
        check_loss(&o, 1, value, 1e-12 * fmax(1, fabs(value)), gradient, 1e-14);
    }
    release_all();
}

/* Cross entropy of two logits and one label. */
static ck_loss of_two(float a, float b, int32_t label, float *dx) {
    const float x[] = {a, b};
    ck_loss loss = {0};
    check(ck_cross_entropy(x, &label, 1, 2, NULL, 0, -100, 1, &loss, dx) == CK_OK, "cross entropy of %g, %g", a, b);
    return loss;
}

static void edges(void) {
    float dx[2] = {9, 9};
    ck_loss loss = of_two(1000, -1000, 1, dx);
    check(loss.mean == 2000 && dx[0] == 1 && dx[1] == -1, "large logits: %g", loss.mean);
    loss = of_two(1, 2, -100, dx);
    check(isnan(loss.mean) && loss.weight == 0 && dx[0] == 0 && dx[1] == 0, "a mean over nothing: %g", loss.mean);
    loss = of_two(NAN, 2, 0, dx);
    check(isnan(loss.mean) && isnan(dx[0]), "a NaN of the label is not lost");
    loss = of_two(2, NAN, 0, dx);
    check(isnan(loss.mean) && isnan(dx[0]), "a NaN of another class is not lost");
    of_two(1, 2, 1, NULL); /* the loss alone */
    const float x[] = {-800, 800}, targets[] = {1, 0};
    check(ck_bce_with_logits(x, targets, 1, 2, NULL, 1, &loss, dx) == CK_OK, "binary cross entropy");
    check(loss.mean == 800 && dx[0] == -0.5f && dx[1] == 0.5f, "large binary logits: %g", loss.mean);
}

static void refusals(void) {
    static const int32_t bad_labels[] = {2, -1, INT32_MAX, INT32_MIN}, label = 1;
    static const double bad_smoothings[] = {-0.1, 1.1, (double)NAN};
    static const int32_t bad_sizes[][2] = {{0, 2}, {1, 0}, {-1, 2}};
    static const float x[] = {1, 2}, targets[] = {0, 1};
    ck_loss loss;
    float dx[2] = {9, 9};
    for (size_t i = 0; i < COUNT_OF(bad_labels); i++)
        REFUSED(ck_cross_entropy(x, &bad_labels[i], 1, 2, NULL, 0, -100, 1, &loss, dx));
    check(dx[0] == 9 && dx[1] == 9, "nothing is written before the labels are checked");
    for (size_t i = 0; i < COUNT_OF(bad_smoothings); i++) {
        REFUSED(ck_cross_entropy(x, &label, 1, 2, NULL, bad_smoothings[i], -1, 1, &loss, dx));
        REFUSED(ck_soft_cross_entropy(x, targets, 1, 2, NULL, bad_smoothings[i], 1, &loss, dx));
    }
    for (size_t i = 0; i < COUNT_OF(bad_sizes); i++) {
        const int32_t rows = bad_sizes[i][0], n = bad_sizes[i][1];
        REFUSED(ck_cross_entropy(x, &label, rows, n, NULL, 0, -1, 1, &loss, dx));
        REFUSED(ck_soft_cross_entropy(x, targets, rows, n, NULL, 0, 1, &loss, dx));
        REFUSED(ck_bce_with_logits(x, targets, rows, n, NULL, 1, &loss, dx));
    }
    REFUSED(ck_bce_with_logits(x, targets, 1, 2, NULL, (double)INFINITY, &loss, dx));
    REFUSED(ck_bce_with_logits(NULL, targets, 1, 2, NULL, 1, &loss, dx));
    REFUSED(ck_bce_with_logits(x, targets, 1, 2, NULL, 1, NULL, dx));
}

void test_losses(void) {
    static const int sizes[][2] = {{1, 1}, {3, 2}, {7, 10}, {33, 100}, {33, 1000}};
    pinned();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        against_the_reference(sizes[i][0], sizes[i][1], 1);
        against_the_reference(sizes[i][0], sizes[i][1], 40);
    }
    edges();
    refusals();
}
