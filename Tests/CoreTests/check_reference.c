/* check_reference: the oracle itself. Values worked out by hand, each gradient against its definition, and the
 * comparison that all other tests trust. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

static void check_doubles(const double *got, const double *expected, size_t count, const char *what) {
    for (size_t i = 0; i < count; i++)
        check(got[i] == expected[i], "%s: %.17g at %zu, expected %.17g", what, got[i], i, expected[i]);
}

static void check_near(double got, double expected, double error, const char *what) {
    check(fabs(got - expected) <= error, "%s: %.17g, expected %.17g", what, got, expected);
}

#define EXPECT(got, what, ...)                                                                                         \
    do {                                                                                                               \
        const double expected_[] = {__VA_ARGS__};                                                                      \
        check_doubles(got, expected_, COUNT_OF(expected_), what);                                                      \
    } while (0)

static const float one_to_nine[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void convolution_by_hand(void) {
    double y[4], spread[4];
    cr_conv s = {1, 1, 3, 3, 1, 2, 2, 1, 1, 0, 0, 1, 1, 1};
    cr_conv_forward(&s, one_to_nine, (const float[]){1, 0, 0, -1}, y, spread);
    EXPECT(y, "2x2", -4, -4, -4, -4);
    check_near(spread[0], sqrt(1 + 25), 1e-12, "spread");

    s = (cr_conv){1, 1, 3, 3, 1, 3, 3, 2, 2, 1, 1, 1, 1, 1};
    cr_conv_forward(&s, one_to_nine, (const float[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, y, NULL);
    EXPECT(y, "sums of the corners of the padded picture", 12, 16, 24, 28);

    s = (cr_conv){1, 1, 3, 3, 1, 2, 2, 1, 1, 0, 0, 2, 2, 1};
    cr_conv_forward(&s, one_to_nine, (const float[]){1, 2, 3, 4}, y, NULL);
    EXPECT(y, "1 + 2 * 3 + 3 * 7 + 4 * 9", 64);

    s = (cr_conv){1, 2, 1, 2, 2, 1, 1, 1, 1, 0, 0, 1, 1, 2};
    cr_conv_forward(&s, one_to_nine, (const float[]){10, 100}, y, NULL);
    EXPECT(y, "groups", 10, 20, 300, 400);
}

static double dot(const double *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

/* <conv(x, w), dy> = <x, dx> = <w, dw>: what makes them gradients, because convolution is linear in both. */
static void gradients_are_adjoints(void) {
    static const cr_conv shapes[] = {
        {2, 3, 7, 6, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {2, 4, 8, 9, 6, 3, 3, 2, 2, 1, 1, 1, 1, 2},
        {1, 5, 6, 7, 5, 5, 5, 1, 1, 2, 2, 1, 1, 5}, {1, 3, 9, 9, 2, 3, 3, 1, 1, 2, 2, 2, 2, 1},
        {3, 2, 5, 8, 3, 1, 3, 2, 3, 0, 2, 1, 1, 1},
    };
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        const cr_conv *s = &shapes[i];
        const size_t inputs = (size_t)s->n * s->c * s->h * s->w;
        const size_t weights = (size_t)s->k * (s->c / s->groups) * s->kernel_h * s->kernel_w;
        const size_t outputs = (size_t)s->n * s->k * cr_conv_out_h(s) * cr_conv_out_w(s);
        const float *x = uniform(inputs, i, -1, 1), *w = uniform(weights, 50, -1, 1), *dy = uniform(outputs, 60, -1, 1);
        double *y = doubles(outputs), *dx = doubles(inputs), *dw = doubles(weights);
        cr_conv_forward(s, x, w, y, NULL);
        cr_conv_data_gradient(s, dy, w, dx, NULL);
        cr_conv_weight_gradient(s, x, dy, dw, NULL);
        check_near(dot(dx, x, inputs), dot(y, dy, outputs), 1e-10, shape_text(s));
        check_near(dot(dw, w, weights), dot(y, dy, outputs), 1e-10, shape_text(s));
        release_all();
    }
}

static void pooling_by_hand(void) {
    static const float x[] = {1, 9, 3, 4, 5, 6, 7, 8, 2};
    cr_pool s = {1, 3, 3, 2, 2, 2, 2, 0, 0, 1};
    double y[4], dx[9];
    int32_t places[4];
    cr_max_pool(&s, x, y, places);
    EXPECT(y, "max", 9, 6, 8, 2);
    check(!memcmp(places, (const int32_t[]){1, 5, 7, 8}, sizeof places), "places of the maxima");
    cr_average_pool(&s, x, y);
    EXPECT(y, "cut windows divide by what is left of them", 19.0 / 4, 9.0 / 2, 15.0 / 2, 2);
    s.pad_h = s.pad_w = 1, s.ceil_mode = 0;
    cr_average_pool(&s, x, y);
    EXPECT(y, "padding counts", 1.0 / 4, 12.0 / 4, 11.0 / 4, 21.0 / 4);
    cr_max_pool_backward(&s, (const int32_t[]){0, 1, 1, 8}, (const float[]){1, 2, 4, 8}, dx);
    EXPECT(dx, "max backward", 1, 6, 0, 0, 0, 0, 0, 0, 8);
    cr_average_pool_backward(&s, (const float[]){4, 0, 0, 8}, dx);
    EXPECT(dx, "average backward", 1, 0, 0, 0, 2, 2, 0, 2, 2);
}

/* ---- gradients as differences
 *
 * Central differences of a loss <y, dy> in each input. Values are multiples of 2^-10 and the step is 2^-8, so that
 * nothing is rounded; the error is that of the difference, h^2 / 6 times a third derivative. */

typedef double loss_of(const float *x, const void *context);

static void check_gradient(const float *at, size_t count, const double *gradient, const char *what, loss_of *loss,
                           const void *context) {
    const float h = 0x1p-8f;
    float x[64];
    double scale = 0;
    memcpy(x, at, count * sizeof *x);
    for (size_t i = 0; i < count; i++) scale = fmax(scale, fabs(gradient[i]));
    for (size_t i = 0; i < count; i++) {
        x[i] = at[i] + h;
        const double up = loss(x, context);
        x[i] = at[i] - h;
        const double down = loss(x, context);
        x[i] = at[i];
        check_near((up - down) / (2 * (double)h), gradient[i], 1e-3 * scale, what);
    }
}

static float *dyadic(size_t count, uint64_t seed) {
    float *made = integers(count, seed, -1024, 1024);
    for (size_t i = 0; i < count; i++) made[i] /= 1024;
    return made;
}

enum { BN_N = 3, BN_C = 2, BN_PLANE = 4, BN_COUNT = BN_N * BN_C * BN_PLANE };
static const float bn_mean[] = {0.25f, -0.5f}, bn_var[] = {0.5f, 2};

typedef struct {
    const float *x, *gamma, *beta, *dy;
    int training;
} bn_problem;

static double bn_loss(const bn_problem *p) {
    double y[BN_COUNT], mean[BN_C], var[BN_C];
    if (p->training)
        cr_bn_training(p->x, BN_N, BN_C, BN_PLANE, p->gamma, p->beta, 1e-5, 0, y, mean, var, NULL, NULL);
    else
        cr_bn_inference(p->x, BN_N, BN_C, BN_PLANE, p->gamma, p->beta, bn_mean, bn_var, 1e-5, y);
    return dot(y, p->dy, BN_COUNT);
}

static double bn_in_x(const float *x, const void *context) {
    bn_problem p = *(const bn_problem *)context;
    p.x = x;
    return bn_loss(&p);
}
static double bn_in_gamma(const float *gamma, const void *context) {
    bn_problem p = *(const bn_problem *)context;
    p.gamma = gamma;
    return bn_loss(&p);
}
static double bn_in_beta(const float *beta, const void *context) {
    bn_problem p = *(const bn_problem *)context;
    p.beta = beta;
    return bn_loss(&p);
}

static void batch_norm_gradients(void) {
    static const float gamma[] = {1.5f, -0.75f}, beta[] = {0.25f, 1};
    bn_problem p = {dyadic(BN_COUNT, 1), gamma, beta, dyadic(BN_COUNT, 2), 1};
    double y[BN_COUNT], mean[BN_C], var[BN_C], dx[BN_COUNT], dgamma[BN_C], dbeta[BN_C];
    cr_bn_training(p.x, BN_N, BN_C, BN_PLANE, gamma, beta, 1e-5, 0, y, mean, var, NULL, NULL);
    cr_bn_training_backward(p.x, p.dy, BN_N, BN_C, BN_PLANE, gamma, mean, var, 1e-5, dx, dgamma, dbeta);
    check_gradient(p.x, BN_COUNT, dx, "training dx", bn_in_x, &p);
    check_gradient(gamma, BN_C, dgamma, "training dgamma", bn_in_gamma, &p);
    check_gradient(beta, BN_C, dbeta, "training dbeta", bn_in_beta, &p);
    p.training = 0;
    cr_bn_inference_backward(p.x, p.dy, BN_N, BN_C, BN_PLANE, gamma, bn_mean, bn_var, 1e-5, dx, dgamma, dbeta);
    check_gradient(p.x, BN_COUNT, dx, "inference dx", bn_in_x, &p);
    check_gradient(gamma, BN_C, dgamma, "inference dgamma", bn_in_gamma, &p);
    check_gradient(beta, BN_C, dbeta, "inference dbeta", bn_in_beta, &p);
    release_all();
}

static void batch_norm_statistics(void) {
    double y[4], mean, var, running_mean = 1, running_var = 1;
    const float gamma = 2, beta = 1;
    cr_bn_training((const float[]){1, 2, 3, 6}, 2, 1, 2, &gamma, &beta, 0, 0.5, y, &mean, &var, &running_mean,
                   &running_var);
    check(mean == 3 && var == 3.5 && running_mean == 2, "mean %g, variance %g, running mean %g", mean, var,
          running_mean);
    check_near(running_var, 1 + 0.5 * (14.0 / 3 - 1), 1e-12, "unbiased: 14 / 3");
    check_near(y[3], 1 + 2 * 3 / sqrt(3.5), 1e-12, "normalized");
}

typedef struct {
    const float *x, *w, *b, *dy;
} linear_problem;

static double linear_loss(const linear_problem *p) {
    double y[8];
    cr_linear(p->x, p->w, p->b, 2, 3, 4, y, NULL);
    return dot(y, p->dy, 8);
}
static double linear_in_x(const float *x, const void *context) {
    linear_problem p = *(const linear_problem *)context;
    p.x = x;
    return linear_loss(&p);
}
static double linear_in_w(const float *w, const void *context) {
    linear_problem p = *(const linear_problem *)context;
    p.w = w;
    return linear_loss(&p);
}
static double linear_in_b(const float *b, const void *context) {
    linear_problem p = *(const linear_problem *)context;
    p.b = b;
    return linear_loss(&p);
}

static void linear_gradients(void) {
    const linear_problem p = {dyadic(6, 3), dyadic(12, 4), dyadic(4, 5), dyadic(8, 6)};
    double dx[6], dw[12], db[4];
    cr_linear_backward(p.x, p.w, p.dy, 2, 3, 4, dx, dw, db);
    check_gradient(p.x, 6, dx, "linear dx", linear_in_x, &p);
    check_gradient(p.w, 12, dw, "linear dw", linear_in_w, &p);
    check_gradient(p.b, 4, db, "linear db", linear_in_b, &p);
    release_all();
}

typedef struct {
    int kind;
    const float *weights, *targets;
    double smoothing;
} loss_problem;

static double loss_in_x(const float *x, const void *context) {
    static const int32_t labels[] = {2, -100, 4};
    const loss_problem *p = context;
    switch (p->kind) {
    case 0: return cr_cross_entropy(x, labels, 3, 5, p->weights, p->smoothing, -100, NULL);
    case 1: return cr_bce_with_logits(x, p->targets, 3, 5, p->weights, NULL);
    default: return cr_soft_cross_entropy(x, p->targets, 3, 5, p->weights, p->smoothing, NULL);
    }
}

static void loss_gradients(void) {
    static const int32_t labels[] = {2, -100, 4};
    static const float weights[] = {1, 2, 0.5f, 1, 3}, three[] = {0, 1, 0.25f}, even[] = {0.5f, 0.5f, 0.5f, 0.5f};
    const float *x = dyadic(15, 7);
    float targets[15];
    double dx[15];
    for (int i = 0; i < 15; i++) targets[i] = three[i % 3];
    for (int variant = 0; variant < 4; variant++) {
        loss_problem p = {0, variant & 1 ? weights : NULL, targets, variant & 2 ? 0.1 : 0};
        cr_cross_entropy(x, labels, 3, 5, p.weights, p.smoothing, -100, dx);
        check_gradient(x, 15, dx, "cross entropy", loss_in_x, &p);
        p.kind = 1;
        cr_bce_with_logits(x, targets, 3, 5, p.weights, dx);
        check_gradient(x, 15, dx, "binary cross entropy", loss_in_x, &p);
        p.kind = 2;
        cr_soft_cross_entropy(x, targets, 3, 5, p.weights, p.smoothing, dx);
        check_gradient(x, 15, dx, "soft cross entropy", loss_in_x, &p);
    }
    check_near(cr_cross_entropy(even, (const int32_t[]){3}, 1, 4, NULL, 0, -100, NULL), log(4), 1e-12, "even logits");
    check_near(cr_bce_with_logits((const float[]){0, 0}, (const float[]){0, 1}, 1, 2, NULL, NULL), log(2), 1e-12,
               "binary logits of 0");
    release_all();
}

static double sigmoid_in_x(const float *x, const void *dy) {
    double y[9];
    cr_sigmoid(x, 9, y);
    return dot(y, dy, 9);
}

static void sigmoid_gradient(void) {
    const float *x = dyadic(9, 8), *dy = dyadic(9, 9);
    float rounded[9];
    double y[9], dx[9];
    cr_sigmoid(x, 9, y);
    cr_round(y, 9, rounded);
    cr_sigmoid_backward(rounded, dy, 9, dx);
    check_gradient(x, 9, dx, "sigmoid", sigmoid_in_x, dy);
    release_all();
}

/* ---- what the tests compare with */

static cr_difference compare(float a, float b, double c, double d, const double *relative, double factor,
                             double absolute) {
    return cr_compare((const float[]){a, b}, (const double[]){c, d}, 2, relative, factor, absolute);
}

static void comparison(void) {
    const double nan = (double)NAN, infinity = (double)INFINITY, relative[] = {1, 4};
    check(compare(1, 2, 1, 2, NULL, 0, 0).worst == 0, "equal");
    check(compare(1, 2.5f, 1, 2, NULL, 0, 0.25).worst == 2, "twice the absolute bound");
    check(compare(1, 2.5f, 1, 2, relative, 0.25, 0).worst == 0.5, "half the relative bound");
    check(compare(1.001f, 1, 1, 1, NULL, 0, 0).worst == infinity, "a difference where none is allowed");
    check(compare(1, NAN, 1, 2, NULL, 0, 1e9).index == 1, "where the NaN is");
    check(compare(1, NAN, 1, 2, NULL, 0, 1e9).worst == infinity, "a NaN that is not expected");
    check(compare(1, 2, nan, 2, NULL, 0, 1e9).worst == infinity, "a NaN that is missing");
    check(compare(NAN, -INFINITY, nan, -infinity, NULL, 0, 0).worst == 0, "a NaN and infinity that are expected");
}

static void layout_by_hand(void) {
    static const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const float blocks[] = {1, 3, 5, 7, 2, 4, 6, 8, 9, 0, 0, 0, 10, 0, 0, 0};
    float y[16];
    cr_to_blocked(x, 1, 5, 2, 4, y);
    check(!memcmp(y, blocks, sizeof y), "five channels in blocks of four");
    check(cr_surplus_nonzero(y, 1, 5, 2, 4) == 0, "surplus channels of zeros");
    y[9] = 1;
    check(cr_surplus_nonzero(y, 1, 5, 2, 4) == 1, "a surplus value");
}

int main(void) {
    convolution_by_hand();
    gradients_are_adjoints();
    pooling_by_hand();
    batch_norm_gradients();
    batch_norm_statistics();
    linear_gradients();
    loss_gradients();
    sigmoid_gradient();
    comparison();
    layout_by_hand();
    release_all();
    return end_of_checks("creference");
}
