/* What a careless or hostile host might pass: NULL, nothing, too much, off the boundary. Every call must come back with
 * a status, having touched nothing; most useful under AddressSanitizer and UBSan (make test-asan). */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { MOST = INT32_MAX, SIZE = 64 };

static float *f, *g; /* SIZE floats each; whatever is refused reads none of them */
static uint8_t *bytes;

static void layouts(void) {
    typedef ck_status convert(const float *, int32_t, int32_t, int32_t, int32_t, float *, int32_t);
    convert *const all[] = {ck_nchw_to_blocked, ck_blocked_to_nchw, ck_nhwc_to_blocked};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        REFUSED(all[i](NULL, 1, 1, 1, 1, g, 1));
        REFUSED(all[i](f, 1, 1, 1, 1, NULL, 1));
        REFUSED(all[i](f, 0, 1, 1, 1, g, 1));
        REFUSED(all[i](f, 1, -1, 1, 1, g, 1));
        REFUSED(all[i](f, 1, 0, 1, 1, g, 1));
        REFUSED(all[i](f, 1, 1, INT32_MIN, 1, g, 1));
        REFUSED(all[i](f, 1, 1, 1, 0, g, 1));
        REFUSED(all[i](f, 1, 1, 1, 1, g, -1));
        TOO_MUCH(all[i](f, MOST, MOST, MOST, MOST, g, 1));
    }
    REFUSED(ck_nhwc8_to_blocked(NULL, 1, 1, 1, 1, f, f, g, 1));
    REFUSED(ck_nhwc8_to_blocked(bytes, 1, 1, 1, 1, NULL, f, g, 1));
    REFUSED(ck_nhwc8_to_blocked(bytes, 1, 1, 1, 1, f, NULL, g, 1));
    REFUSED(ck_nhwc8_to_blocked(bytes, 1, 1, 1, 0, f, f, g, 1));
    REFUSED(ck_nhwc8_to_blocked(bytes, 1, 1, 1, -1, f, f, g, 1));
    check(ck_nchw_to_blocked(f, MOST, MOST, MOST, MOST, g, 1) == CK_OUT_OF_MEMORY, "2^124 floats to blocks");
    TOO_MUCH(ck_nhwc8_to_blocked(bytes, MOST, MOST, MOST, MOST, f, f, g, 1));
    check(ck_blocked_count(MOST, MOST, MOST, MOST) == 0 && ck_blocked_count(0, 1, 1, 1) == 0, "ck_blocked_count");
    check(ck_alloc(SIZE_MAX) == NULL && ck_alloc(SIZE_MAX / 2) == NULL, "memory that is not there");
    ck_free(NULL, 0);
    ck_free(ck_alloc(0), 0);
}

static void linear(void) {
    static const int32_t bad[] = {0, -1, INT32_MIN};
    REFUSED(ck_linear(NULL, 4, f, f, 1, 4, 4, g, 4, 0, 1));
    REFUSED(ck_linear(f, 4, NULL, f, 1, 4, 4, g, 4, 0, 1));
    REFUSED(ck_linear(f, 4, f, f, 1, 4, 4, NULL, 4, 0, 1));
    REFUSED(ck_linear(f, 3, f, f, 1, 4, 4, g, 4, 0, 1)); /* rows that overlap */
    REFUSED(ck_linear(f, 4, f, f, 1, 4, 4, g, 3, 0, 1));
    REFUSED(ck_linear(f, 4, f, f, 1, 4, 4, g, 4, 0, -1));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        REFUSED(ck_linear(f, 4, f, f, bad[i], 4, 4, g, 4, 0, 1));
        REFUSED(ck_linear(f, 4, f, f, 1, bad[i], 4, g, 4, 0, 1));
        REFUSED(ck_linear(f, 4, f, f, 1, 4, bad[i], g, 4, 0, 1));
    }
    check(ck_linear(f, SIZE_MAX / 2, f, NULL, 2, 4, 4, g, 4, 0, 1) == CK_OUT_OF_MEMORY, "rows of x too far apart");
    check(ck_linear(f, 4, f, NULL, 2, 4, 4, g, SIZE_MAX / 4, 0, 1) == CK_OUT_OF_MEMORY, "rows of y too far apart");
    TOO_MUCH(ck_linear(f, SIZE_MAX, f, f, MOST, MOST, MOST, g, SIZE_MAX, 0, 1));
    REFUSED(ck_linear_backward(f, 4, f, NULL, 4, 2, 4, 4, g, 4, NULL, NULL, 1));
    REFUSED(ck_linear_backward(f, 4, NULL, f, 4, 2, 4, 4, g, 4, NULL, NULL, 1)); /* dx needs w */
    REFUSED(ck_linear_backward(NULL, 4, f, f, 4, 2, 4, 4, NULL, 4, g, NULL, 1)); /* dw needs x */
    REFUSED(ck_linear_backward(f, 4, f, f, 4, 2, 4, 4, g, 3, NULL, NULL, 1));
    check(ck_linear_backward(NULL, 0, NULL, f, 4, 2, 4, 4, NULL, 0, NULL, g, 1) == CK_OK, "db needs neither");
    REFUSED(ck_softmax(NULL, 1, 1, g));
    REFUSED(ck_softmax(f, 1, 1, NULL));
    REFUSED(ck_softmax(f, 0, 1, g));
    REFUSED(ck_softmax(f, 1, 0, g));
    TOO_MUCH(ck_softmax(f, MOST, MOST, g));
}

static void elementwise(void) {
    REFUSED(ck_add(NULL, f, g, 4, 0, 1));
    REFUSED(ck_add(f, NULL, g, 4, 0, 1));
    REFUSED(ck_add(f, f, NULL, 4, 0, 1));
    REFUSED(ck_add(f, f, g, 0, 0, 1));
    REFUSED(ck_add(f, f, g, SIZE_MAX / 2, 0, 1));
    REFUSED(ck_add(f, f, g, 4, 0, -1));
    TOO_MUCH(ck_add(f, f, g, SIZE_MAX, 0, 1));
    REFUSED(ck_relu(NULL, g, 4, 1));
    REFUSED(ck_relu(f, NULL, 1, 1));
    REFUSED(ck_sigmoid(NULL, g, 1, 1));
    REFUSED(ck_sigmoid(f, NULL, 4, 1));
    REFUSED(ck_relu_backward(NULL, f, g, 1, 1));
    REFUSED(ck_relu_backward(f, f, NULL, 1, 1));
    REFUSED(ck_relu_backward(f, f, g, 0, 1));
    REFUSED(ck_sigmoid_backward(f, NULL, g, 1, 1));
    REFUSED(ck_scale_shift(f, NULL, f, 1, 1, 1, 1, g, 0, 1));
    REFUSED(ck_scale_shift(f, f, NULL, 1, 1, 1, 1, g, 0, 1));
    REFUSED(ck_scale_shift(f, f, f, 1, 0, 1, 1, g, 0, 1));
    check(ck_scale_shift(f, f, f, MOST, MOST, MOST, MOST, g, 0, 1) == CK_OUT_OF_MEMORY, "scale 2^124 floats");
    REFUSED(ck_concat_copy(NULL, 1, 1, 1, 1, g, 4, 0, 1));
    REFUSED(ck_concat_copy(f, 1, 3, 1, 1, g, 4, 2, 1)); /* beyond the last channel */
    REFUSED(ck_concat_copy(f, 1, 4, 1, 1, g, 4, 1, 1));
    REFUSED(ck_concat_copy(f, 1, 5, 1, 1, g, 4, 0, 1));
    REFUSED(ck_concat_copy(f, 1, 1, 1, 1, g, 4, -1, 1));
    REFUSED(ck_concat_copy(f, 1, 1, 1, 1, g, MOST, MOST, 1));
    REFUSED(ck_concat_copy(f, 1, MOST, 1, 1, g, MOST, MOST, 1));
    REFUSED(ck_concat_slice(f, 1, 4, 1, 1, 2, g, 3, 1));
    REFUSED(ck_concat_slice(f, 1, 4, 1, 1, -1, g, 3, 1));
    REFUSED(ck_concat_slice(f, 1, 4, 1, 1, -1, g, 4, 1));
    REFUSED(ck_bn_fold(f, f, NULL, f, 0, 1, g, g));
    REFUSED(ck_bn_fold(f, f, f, f, -1, 1, g, g));
    REFUSED(ck_bn_fold(f, f, f, f, (double)NAN, 1, g, g));
    REFUSED(ck_bn_fold(f, f, f, f, 0, 0, g, g));
}

/* Size, max and average say the same. */
static ck_status pool_status(const ck_pool_desc *d, const float *src, float *dst) {
    int32_t height, width;
    const ck_status status = ck_pool_output_size(d, &height, &width);
    check(ck_max_pool(d, src, dst, NULL) == status, "max pool differs from the size");
    check(ck_average_pool(d, src, dst) == status, "average pool differs from the size");
    return status;
}

static void pool_fields(const ck_pool_desc *good) {
    static const struct {
        const char *name;
        size_t offset;
        int32_t values[5]; /* up to the first 1 */
    } fields[] = {
#define FIELD(name, ...)                                                                                               \
    {                                                                                                                  \
#name, offsetof(ck_pool_desc, name), { __VA_ARGS__, 1 }                                                        \
    }
        FIELD(batch, 0, -1),
        FIELD(channels, 0, -1),
        FIELD(in_height, 0, -1),
        FIELD(in_width, 0, -1),
        FIELD(kernel_height, 0, -1, 8, INT32_MAX),
        FIELD(kernel_width, 0, -1, 8, INT32_MAX),
        FIELD(stride_height, 0, -1),
        FIELD(stride_width, 0, -1, INT32_MAX),
        FIELD(pad_height, -1, 2, INT32_MAX),
        FIELD(pad_width, -1, 2, INT32_MAX),
        FIELD(ceil_mode, -1, 2),
        FIELD(threads, -1),
#undef FIELD
    };
    const float *src = integers(ck_blocked_count(1, 4, 4, 4), 1, 0, 0);
    float *dst = floats(ck_blocked_count(1, 4, 4, 4));
    check(pool_status(good, src, dst) == CK_OK, "a pool");
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        for (const int32_t *value = fields[i].values; *value != 1; value++) {
            ck_pool_desc bad = *good;
            *(int32_t *)((char *)&bad + fields[i].offset) = *value;
            check(pool_status(&bad, src, dst) == CK_INVALID_ARGUMENT, "pool with %s = %d", fields[i].name, *value);
        }
}

static void pooling(void) {
    const ck_pool_desc whole = {.batch = 1,
                                .channels = 4,
                                .in_height = 4,
                                .in_width = 4,
                                .kernel_height = 3,
                                .kernel_width = 3,
                                .stride_height = 2,
                                .stride_width = 2,
                                .pad_height = 1,
                                .pad_width = 1};
    static const int32_t places[SIZE];
    int32_t height, width;
    pool_fields(&whole);
    REFUSED(ck_pool_output_size(NULL, &height, &width));
    REFUSED(ck_pool_output_size(&whole, NULL, &width));
    REFUSED(ck_max_pool(NULL, f, g, NULL));
    REFUSED(ck_max_pool(&whole, NULL, g, NULL));
    REFUSED(ck_average_pool(&whole, f, NULL));
    REFUSED(ck_max_pool_backward(&whole, f, NULL, g));
    REFUSED(ck_max_pool_backward(NULL, f, places, g));
    REFUSED(ck_average_pool_backward(&whole, NULL, g));
    REFUSED(ck_global_average_pool(NULL, 1, 1, 1, 1, g, 1));
    REFUSED(ck_global_average_pool(f, 1, 1, 0, 1, g, 1));
    REFUSED(ck_global_average_pool_backward(NULL, 1, 1, 1, 1, g, 1));
    REFUSED(ck_global_average_pool_backward(f, 1, 0, 1, 1, g, 1));
    ck_pool_desc huge = whole;
    huge.batch = huge.channels = MOST, huge.in_height = huge.in_width = 40000;
    check(ck_max_pool(&huge, f, g, NULL) == CK_OUT_OF_MEMORY, "a pool of 2^93 floats");
    for (size_t i = 0; i < sizeof whole / sizeof(int32_t); i++) {
        ck_pool_desc bad = whole;
        ((int32_t *)&bad)[i] = INT32_MIN;
        REFUSED(ck_max_pool(&bad, f, g, NULL));
        REFUSED(ck_average_pool_backward(&bad, f, g));
        ((int32_t *)&bad)[i] = MOST;
        (void)ck_pool_output_size(&bad, &height, &width); /* may be fine; must return */
    }
}

static size_t bn_size(ck_bn_desc d) { return ck_bn_workspace_size(&d); }

#define NO_WORKSPACE(changes)                                                                                          \
    do {                                                                                                               \
        ck_bn_desc d = good;                                                                                           \
        changes;                                                                                                       \
        check(bn_size(d) == 0, "a workspace for %s", #changes);                                                        \
    } while (0)

static void batch_norm_fields(void) {
    static const int32_t bad[] = {0, -1, INT32_MIN};
    const ck_bn_desc good = {2, 3, 4, 5, 1, 0, 1e-5, 0.1, 1};
    check(bn_size(good) > 0, "a workspace");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        NO_WORKSPACE(d.batch = bad[i]);
        NO_WORKSPACE(d.channels = bad[i]);
        NO_WORKSPACE(d.height = bad[i]);
        NO_WORKSPACE(d.width = bad[i]);
    }
    NO_WORKSPACE(d.threads = -1);
    NO_WORKSPACE(d.training = 2);
    NO_WORKSPACE(d.relu = -1);
    NO_WORKSPACE(d.eps = -1);
    NO_WORKSPACE(d.eps = (double)NAN);
    NO_WORKSPACE(d.momentum = -1);
    NO_WORKSPACE(d.momentum = (double)NAN);
    NO_WORKSPACE(d.momentum = 1.5);
    NO_WORKSPACE(d.batch = d.height = d.width = 1); /* one value a channel has no variance */
    const ck_bn_forward_args forward = {0};
    const ck_bn_backward_args backward = {0};
    REFUSED(ck_bn_forward(&good, NULL));
    REFUSED(ck_bn_forward(&good, &forward));
    REFUSED(ck_bn_forward(NULL, &forward));
    REFUSED(ck_bn_backward(&good, NULL));
    REFUSED(ck_bn_backward(&good, &backward));
}

static void batch_norm_ranges(void) {
    static const int32_t ranges[][2] = {{0, 0}, {0, 3}, {1, 2}, {-1, 1}, {2, 1}};
    const ck_bn_desc d = {2, 3, 2, 2, 1, 0, 1e-5, 0.1, 1};
    float *map = poisoned(2, 3, 4);
    const ck_bn_forward_args args = {
        .x = map, .y = map, .workspace = allocate((ck_bn_workspace_size(&d) + 63) / 64 * 64)};
    const ck_bn_backward_args backward = {0};
    for (size_t i = 0; i < COUNT_OF(ranges); i++)
        check(ck_bn_forward_sums(&d, &args, ranges[i][0], ranges[i][1]) == CK_INVALID_ARGUMENT, "sums of %d from %d",
              ranges[i][1], ranges[i][0]);
    REFUSED(ck_bn_forward_apply(&d, &args, 1)); /* which reads mean and invstd */
    REFUSED(ck_bn_forward_finish(NULL, &args));
    REFUSED(ck_bn_backward_sums(&d, &backward, 0, 1));
    REFUSED(ck_bn_backward_finish(&d, &backward));
    REFUSED(ck_bn_backward_apply(&d, &backward, 1));
}

static void training(void) {
    const ck_bn_desc bn = {.batch = 2, .channels = 4, .height = 2, .width = 2, .training = 1, .momentum = 0.1};
    ck_bn_forward_args forward = {.x = f, .y = g, .workspace = f};
    REFUSED(ck_bn_forward(NULL, &forward));
    REFUSED(ck_bn_forward(&bn, NULL));
    forward.workspace = (char *)f + 4;
    REFUSED(ck_bn_forward(&bn, &forward));
    ck_bn_desc huge = bn;
    huge.batch = huge.channels = huge.height = huge.width = MOST;
    check(ck_bn_workspace_size(&huge) == 0 && ck_bn_workspace_size(NULL) == 0, "ck_bn_workspace_size");
    REFUSED(ck_bn_backward(&bn, NULL));
    const int32_t labels[] = {7};
    ck_loss loss;
    REFUSED(ck_cross_entropy(f, labels, 1, 4, NULL, 0, -100, 1, &loss, g)); /* no such class */
    REFUSED(ck_cross_entropy(f, NULL, 1, 4, NULL, 0, -100, 1, &loss, g));
    REFUSED(ck_soft_cross_entropy(f, f, 1, 4, NULL, 2, 1, &loss, g));
    REFUSED(ck_bce_with_logits(f, f, 1, 0, NULL, 1, &loss, g));
    REFUSED(ck_sgd_step(NULL, f, f, f, 1, 1));
    const ck_adam adam = {.lr = 1, .beta1 = 0.9, .beta2 = 0.99, .step = 0};
    REFUSED(ck_adam_step(&adam, f, f, f, f, 1, 1));
    REFUSED(ck_dropout(f, g, 1, 2, 0, 0, 1));
    double sum;
    TOO_MUCH(ck_sum_of_squares(f, SIZE_MAX, &sum, 1));
    TOO_MUCH(ck_linear_backward(f, SIZE_MAX, f, f, SIZE_MAX, MOST, MOST, MOST, g, SIZE_MAX, g, g, 1));
}

static void pictures(void) {
    REFUSED(ck_resize_u8(NULL, 1, 1, 1, 1, 0, 0, 1, 1, bytes, 1, 1, CK_BILINEAR, 1));
    REFUSED(ck_resize_u8(bytes, 2, 2, 1, 1, 0, 0, 1, 1, bytes, 1, 1, CK_BILINEAR, 1)); /* rows that overlap */
    REFUSED(ck_resize_u8(bytes, 2, 2, 1, 2, 0, 0, 3, 1, bytes, 1, 1, CK_BILINEAR, 1)); /* outside */
    REFUSED(ck_resize_u8(bytes, 2, 2, 1, 2, 0, 0, (double)NAN, 1, bytes, 1, 1, CK_BILINEAR, 1));
    REFUSED(ck_resize_u8(bytes, 2, 2, 1, 2, 0, 0, 1, 1, bytes, 1, 1, (ck_filter)7, 1));
    TOO_MUCH(ck_resize_u8(bytes, MOST, MOST, MOST, SIZE_MAX, 0, 0, MOST, MOST, bytes, MOST, MOST, CK_BICUBIC, 1));
    REFUSED(ck_orient_u8(bytes, 1, 1, 1, 9, bytes));
    TOO_MUCH(ck_orient_u8(bytes, MOST, MOST, MOST, 1, bytes));
    TOO_MUCH(ck_nhwc8_to_nchw(bytes, MOST, MOST, MOST, MOST, f, f, g, 1));
    REFUSED(ck_interleave_u8(bytes, 1, 4, bytes, 3));
    REFUSED(ck_brightness_u8(bytes, 1, (float)NAN));
    REFUSED(ck_hue_u8(bytes, 1, 1));
    const double same[] = {1, 0, 0, 0, 1, 0};
    TOO_MUCH(ck_affine_u8(bytes, MOST, MOST, MOST, same, bytes));
    TOO_MUCH(ck_sharpness_u8(bytes, MOST, MOST, MOST, 1, bytes));
    uint64_t counts[256];
    TOO_MUCH(ck_histogram_u8(bytes, 1, MOST, counts));
}

static ck_conv_desc usual(void) {
    return (ck_conv_desc){.batch = 1,
                          .in_channels = 16,
                          .in_height = 4,
                          .in_width = 4,
                          .out_channels = 16,
                          .kernel_height = 3,
                          .kernel_width = 3,
                          .pad_height = 1,
                          .pad_width = 1,
                          .threads = 1};
}

static void convolutions(void) {
    ck_conv_desc desc = usual();
    ck_conv_plan *plan = NULL;
    REFUSED(ck_conv_plan_create(NULL, &plan));
    REFUSED(ck_conv_plan_create(&desc, NULL));
    ck_conv_args args = {0};
    REFUSED(ck_conv_run(NULL, &args));
    REFUSED(ck_conv_pack(NULL, f, NULL, g));
    check(ck_conv_packed_size(NULL) == 0 && ck_conv_workspace_size(NULL) == 0 && ck_conv_packed_format(NULL) == 0,
          "NULL");
    check(ck_conv_plan_describe(NULL, NULL, 0) == 0 && ck_conv_plan_algorithm(NULL) == CK_AUTO, "NULL");
    ck_conv_plan_destroy(NULL);

    check(ck_conv_plan_create(&desc, &plan) == CK_OK, "a plan");
    float *src = poisoned(1, 16, 16), *dst = poisoned(1, 16, 16), *weights = uniform(16 * 16 * 9, 1, -1, 1);
    void *packed = allocate(ck_conv_packed_size(plan)), *workspace = allocate(ck_conv_workspace_size(plan) + 64);
    memset(src, 0, 16 * 16 * sizeof *src);
    REFUSED(ck_conv_pack(plan, weights, NULL, (char *)packed + 4));
    check(ck_conv_pack(plan, weights, NULL, packed) == CK_OK, "packed");
    const ck_conv_args whole = {.src = src, .packed = packed, .dst = dst, .workspace = workspace};
    check(ck_conv_run(plan, &whole) == CK_OK, "runs");
    args = whole, args.src = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.dst = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.packed = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.batch = 2, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.batch = -1, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.dst = (float *)((char *)dst + 4), REFUSED(ck_conv_run(plan, &args));
    args = whole, args.src = (char *)src + 1, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.workspace = (char *)workspace + 4, REFUSED(ck_conv_run(plan, &args));
    ck_conv_plan_destroy(plan);
}

/* Every field at its edges, several at a time: a plan comes at once or is refused, and says a size that can be had. */
static void absurd_plans(void) {
    static const int32_t edges[] = {INT32_MIN, -1,   0,    1,    2,     3,     15,      17,   64,  1000,
                                    1023,      1024, 1025, 4097, 46341, 65536, 1 << 20, MOST, 224, 7};
    uint64_t state = 1;
    long made = 0;
    for (int i = 0; i < 4000; i++) {
        ck_conv_desc desc = usual();
        int32_t *fields = (int32_t *)&desc;
        for (int changes = 1 + i % 6; changes > 0; changes--) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            /* All fields up to `groups`; the choices behind it at times. */
            fields[(state >> 33) % (i % 4 ? 14 : sizeof desc / 4)] =
                edges[(state >> 50) % (sizeof edges / sizeof *edges)];
        }
        desc.selection = CK_ESTIMATE;
        ck_conv_plan *plan = NULL;
        const ck_status status = ck_conv_plan_create(&desc, &plan);
        check((status == CK_OK) == (plan != NULL), "a plan without a status");
        if (!plan) continue;
        made++;
        const size_t room = (size_t)1 << 60;
        check(ck_conv_packed_size(plan) < room && ck_conv_workspace_size(plan) < room, "a size that went round");
        ck_conv_plan_destroy(plan);
    }
    check(made > 400, "only %ld of the descriptions gave a plan", made);
}

static void wisdom(void) {
    REFUSED(ck_wisdom_load(NULL));
    REFUSED(ck_wisdom_save(NULL));
    check(ck_wisdom_load("/") == CK_FILE_ERROR, "a directory is no wisdom");
    check(ck_wisdom_load("/nowhere") == CK_FILE_ERROR && errno == ENOENT, "a file that is not there");
    check(ck_wisdom_load("/dev/zero") == CK_BAD_WISDOM, "zeros without end");
    check(ck_wisdom_save("/nowhere/wisdom") == CK_FILE_ERROR, "a folder that is not there");
    check(ck_isa_force((ck_isa)77) == CK_UNKNOWN_ISA && ck_isa_available((ck_isa)-1) == CK_UNKNOWN_ISA, "no such ISA");
    check(strlen(ck_status_string((ck_status)99)) > 0 && strlen(ck_isa_name((ck_isa)99)) > 0,
          "unknown values have names");
}

static void caches(void) {
    ck_caches now, later, bad;
    REFUSED(ck_caches_active(NULL));
    REFUSED(ck_caches_force(NULL));
    check(ck_caches_active(&now) == CK_OK, "caches");
    check(now.l1.bytes >= 1 << 10 && now.l1.cores >= 1 && now.l2.cores >= 1 && now.l3.cores >= 1, "caches of a core");
    const size_t sizes[] = {0, 1, 1023, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int level = 1; level <= 3; level++) {
            bad = now;
            (level == 1 ? &bad.l1 : level == 2 ? &bad.l2 : &bad.l3)->bytes = sizes[i];
            if (sizes[i] || level < 3) REFUSED(ck_caches_force(&bad));
        }
    bad = now;
    bad.l3.cores = 0;
    REFUSED(ck_caches_force(&bad));
    check(ck_caches_active(&later) == CK_OK && later.l1.bytes == now.l1.bytes && later.l3.cores == now.l3.cores,
          "a refused size changed the caches");
}

void test_refusals(void) {
    f = uniform(SIZE, 1, 0, 1);
    g = uniform(SIZE, 2, 0, 1);
    bytes = allocate(SIZE);
    memset(bytes, 0, SIZE);
    layouts();
    linear();
    elementwise();
    pooling();
    batch_norm_fields();
    batch_norm_ranges();
    training();
    pictures();
    convolutions();
    absurd_plans();
    wisdom();
    caches();
}
