/* Gates and the convolution along channels, forward and backward, against loops in double. */
#include <math.h>

#include "harness.h"

/* The gate, with and without residual and ReLU, and its gradients. */
static void gate(int n, int c, int h, int w, int relu, int threads) {
    const size_t plane = (size_t)h * w, count = n * c * plane, gates = (size_t)n * c;
    const float *x = uniform(count, 1, -1, 1), *g = uniform(gates, 2, 0, 1), *r = uniform(count, 3, -1, 1);
    const float *dy = uniform(count, 4, -1, 1);
    double *y = doubles(count), *sum = doubles(count), *dx = doubles(count), *dgate = doubles(gates),
           *size = doubles(gates);
    for (size_t i = 0; i < count; i++) {
        y[i] = (double)x[i] * g[i / plane];
        sum[i] = y[i] + r[i];
        if (relu && y[i] < 0) y[i] = 0;
        if (relu && sum[i] < 0) sum[i] = 0;
        dx[i] = (double)dy[i] * g[i / plane];
        dgate[i / plane] += (double)dy[i] * x[i];
        size[i / plane] += fabs((double)dy[i] * x[i]);
    }
    float *src = blocked(x, n, c, plane), *factors = blocked(g, n, c, 1), *dst = poisoned(n, c, plane);
    check(ck_gate(src, factors, NULL, n, c, h, w, dst, relu, threads) == CK_OK, "gate");
    check_close(unblocked(dst, n, c, plane), y, count, NULL, 0, 2 * ROUNDOFF, "gate");
    check_surplus(dst, n, c, plane, "gate");
    float *in_place = blocked(r, n, c, plane);
    check(ck_gate(src, factors, in_place, n, c, h, w, in_place, relu, threads) == CK_OK, "gate and residual");
    check_close(unblocked(in_place, n, c, plane), sum, count, NULL, 0, 4 * ROUNDOFF, "gate and residual");
    check_surplus(in_place, n, c, plane, "gate and residual");
    float *back = blocked(dy, n, c, plane), *got = poisoned(n, c, 1);
    check(ck_gate_backward(src, factors, back, n, c, h, w, back, got, threads) == CK_OK, "gate backward");
    check_close(unblocked(back, n, c, plane), dx, count, NULL, 0, ROUNDOFF, "gate dx");
    check_close(unblocked(got, n, c, 1), dgate, gates, size, 2 * ROUNDOFF, 0, "gate dgate");
    check_surplus(back, n, c, plane, "gate dx");
    check_surplus(got, n, c, 1, "gate dgate");
    release_all();
}

static void channel_conv(int n, int c, int kernel) {
    const float *x = uniform(n * c, 1, -1, 1), *weight = uniform(kernel, 2, -1, 1), *dy = uniform(n * c, 3, -1, 1);
    double *y = doubles(n * c), *dx = doubles(n * c), *dweight = doubles(kernel);
    for (int image = 0; image < n; image++)
        for (int i = 0; i < c; i++)
            for (int k = 0; k < kernel; k++) {
                const int at = i + k - kernel / 2;
                if (at < 0 || at >= c) continue;
                y[image * c + i] += (double)weight[k] * x[image * c + at];
                dx[image * c + at] += (double)weight[k] * dy[image * c + i];
                dweight[k] += (double)dy[image * c + i] * x[image * c + at];
            }
    float *src = blocked(x, n, c, 1), *dst = poisoned(n, c, 1), *got = floats(kernel);
    const size_t stride = ck_blocked_count(1, c, 1, 1);
    check(ck_channel_conv(src, stride, weight, n, c, kernel, dst, stride) == CK_OK, "channel conv");
    check_close(unblocked(dst, n, c, 1), y, n * c, NULL, 0, 2 * kernel * ROUNDOFF, "channel conv");
    check_surplus(dst, n, c, 1, "channel conv");
    check(ck_channel_conv_backward(src, stride, weight, blocked(dy, n, c, 1), stride, n, c, kernel, dst, stride, got) ==
              CK_OK,
          "channel conv dx");
    check_close(unblocked(dst, n, c, 1), dx, n * c, NULL, 0, 2 * kernel * ROUNDOFF, "channel conv dx");
    check_surplus(dst, n, c, 1, "channel conv dx");
    check_close(got, dweight, kernel, NULL, 0, (n * c + 1) * ROUNDOFF, "channel conv dw");
    release_all();
}

void test_gates(void) {
    gate(1, 1, 1, 1, 0, 1);
    gate(2, 17, 7, 7, 1, 2);
    gate(3, 64, 5, 9, 0, 3);
    gate(1, 33, 40, 41, 1, 2);
    channel_conv(1, 1, 3);
    channel_conv(3, 17, 3);
    channel_conv(2, 64, 5);
    channel_conv(2, 2, 7);
}
