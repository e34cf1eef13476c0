/* One layer of a ResNet in C: a 3x3 Winograd convolution with bias, residual and ReLU in its epilogue, checked against
 * the definition.
 *
 *     cc -std=c11 convolution.c $(pkg-config --cflags --libs ckernels) -lm && ./a.out */
#include <ckernels.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHANNELS = 64, SIZE = 56, PIXELS = SIZE * SIZE, FLOATS = CHANNELS * PIXELS, TAPS = CHANNELS * CHANNELS * 9 };

static void must(ck_status status, const char *what) {
    if (status == CK_OK) return;
    fprintf(stderr, "%s: %s\n", what, ck_status_string(status));
    exit(1);
}

static float *random_floats(size_t count) {
    float *x = ck_alloc(count * sizeof *x);
    if (!x) must(CK_OUT_OF_MEMORY, "ck_alloc");
    for (size_t i = 0; i < count; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

/* What the layer is by definition, at output channel k and pixel (row, column). */
static double defined(const float *x, const float *w, const float *bias, const float *residual, int k, int row,
                      int column) {
    double sum = bias[k] + residual[k * PIXELS + row * SIZE + column];
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < 9; i++) {
            const int y = row + i / 3 - 1, at = column + i % 3 - 1;
            if (y < 0 || y >= SIZE || at < 0 || at >= SIZE) continue;
            sum += (double)x[c * PIXELS + y * SIZE + at] * w[(k * CHANNELS + c) * 9 + i];
        }
    return sum > 0 ? sum : 0;
}

int main(void) {
    const ck_conv_desc desc = {.batch = 1,
                               .in_channels = CHANNELS,
                               .in_height = SIZE,
                               .in_width = SIZE,
                               .out_channels = CHANNELS,
                               .kernel_height = 3,
                               .kernel_width = 3,
                               .pad_height = 1,
                               .pad_width = 1,
                               .epilogue = CK_BIAS | CK_RESIDUAL | CK_RELU,
                               .algorithm = CK_WINOGRAD_4};
    ck_conv_plan *plan = NULL;
    must(ck_conv_plan_create(&desc, &plan), "ck_conv_plan_create");
    char text[128];
    ck_conv_plan_describe(plan, text, sizeof text);

    float *x = random_floats(FLOATS), *residual = random_floats(FLOATS), *y = random_floats(FLOATS);
    float *w = random_floats(TAPS), *bias = random_floats(CHANNELS);
    /* Activations travel in blocks of channels; weights are packed once. */
    const size_t blocked = ck_blocked_count(1, CHANNELS, SIZE, SIZE) * sizeof(float);
    float *blocked_x = ck_alloc(blocked), *blocked_y = ck_alloc(blocked);
    const size_t packed_size = ck_conv_packed_size(plan), workspace_size = ck_conv_workspace_size(plan);
    void *packed = ck_alloc(packed_size), *workspace = ck_alloc(workspace_size);
    if (!blocked_x || !blocked_y || !packed || !workspace) must(CK_OUT_OF_MEMORY, "ck_alloc");
    must(ck_nchw_to_blocked(x, 1, CHANNELS, SIZE, SIZE, blocked_x, 0), "ck_nchw_to_blocked");
    must(ck_nchw_to_blocked(residual, 1, CHANNELS, SIZE, SIZE, blocked_y, 0), "ck_nchw_to_blocked");
    must(ck_conv_pack(plan, w, NULL, packed), "ck_conv_pack");

    /* The residual lies where the result goes. */
    const ck_conv_args args = {.src = blocked_x,
                               .packed = packed,
                               .bias = bias,
                               .residual = blocked_y,
                               .dst = blocked_y,
                               .workspace = workspace};
    must(ck_conv_run(plan, &args), "ck_conv_run");
    must(ck_blocked_to_nchw(blocked_y, 1, CHANNELS, SIZE, SIZE, y, 0), "ck_blocked_to_nchw");

    double worst = 0;
    for (int i = 0; i < FLOATS; i += 97) {
        const int k = i / PIXELS, row = i % PIXELS / SIZE, column = i % SIZE;
        worst = fmax(worst, fabs(y[i] - defined(x, w, bias, residual, k, row, column)));
    }
    printf("%s: largest error %.1e\n", text, worst);

    ck_free(workspace, workspace_size);
    ck_free(packed, packed_size);
    ck_free(blocked_y, blocked);
    ck_free(blocked_x, blocked);
    ck_free(bias, CHANNELS * sizeof *bias);
    ck_free(w, TAPS * sizeof *w);
    ck_free(y, FLOATS * sizeof *y);
    ck_free(residual, FLOATS * sizeof *residual);
    ck_free(x, FLOATS * sizeof *x);
    ck_conv_plan_destroy(plan);
    return worst < 1e-4 ? 0 : 1;
}
