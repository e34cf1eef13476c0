/* What a plan of a convolution refuses, what it says about itself, what running it checks, and that it passes on NaN
 * where the kernel reaches and nowhere else. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

static ck_conv_desc usual(void) {
    return (ck_conv_desc){.batch = 2,
                          .in_channels = 16,
                          .in_height = 8,
                          .in_width = 9,
                          .out_channels = 32,
                          .kernel_height = 3,
                          .kernel_width = 3,
                          .pad_height = 1,
                          .pad_width = 1,
                          .threads = 1};
}

static ck_status status_of(ck_conv_desc desc) {
    ck_conv_plan *plan = NULL;
    const ck_status status = ck_conv_plan_create(&desc, &plan);
    check((status == CK_OK) == (plan != NULL), "a plan comes with CK_OK, and only then");
    ck_conv_plan_destroy(plan);
    return status;
}

/* Zero means the usual. */
static void defaults(void) {
    ck_conv_desc d = usual();
    check(status_of(d) == CK_OK, "the usual");
    d.stride_height = d.stride_width = 1;
    check(status_of(d) == CK_OK, "stride 1");
    d.dilation_height = d.dilation_width = d.groups = 1;
    check(status_of(d) == CK_OK, "dilation and groups 1");
    d.threads = 0;
    check(status_of(d) == CK_OK, "threads 0");
}

static void bad_fields(void) {
    static const struct {
        const char *name;
        size_t offset;
        int32_t values[6]; /* up to the first 1, which no field refuses */
    } fields[] = {
#define FIELD(name, ...)                                                                                               \
    {                                                                                                                  \
#name, offsetof(ck_conv_desc, name), { __VA_ARGS__, 1 }                                                        \
    }
        FIELD(batch, 0, -1, INT32_MIN),
        FIELD(in_channels, 0, -1, INT32_MIN),
        FIELD(in_height, 0, -5, INT32_MIN),
        FIELD(in_width, 0, -5, INT32_MIN),
        FIELD(out_channels, 0, -1, INT32_MIN),
        FIELD(kernel_height, 0, -3, 11, INT32_MAX),
        FIELD(kernel_width, 0, -3, 12, INT32_MAX),
        FIELD(stride_height, -1, INT32_MIN),
        FIELD(stride_width, -1, INT32_MIN),
        FIELD(pad_height, -1, INT32_MIN),
        FIELD(pad_width, -1, INT32_MIN),
        FIELD(dilation_height, -1, 5, INT32_MAX),
        FIELD(dilation_width, -1, 6, INT32_MAX),
        FIELD(groups, -1, 3, 5, 32, INT32_MIN),
        FIELD(threads, -1, INT32_MIN),
#undef FIELD
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        for (const int32_t *value = fields[i].values; *value != 1; value++) {
            ck_conv_desc d = usual();
            *(int32_t *)((char *)&d + fields[i].offset) = *value;
            check(status_of(d) == CK_INVALID_ARGUMENT, "%s = %d is not refused", fields[i].name, *value);
        }
}

#define WITH(d, ...)                                                                                                   \
    ck_conv_desc d = usual();                                                                                          \
    __VA_ARGS__

static void bad_choices(void) {
    {
        WITH(d, d.in_channels = 18, d.groups = 4);
        check(status_of(d) == CK_INVALID_ARGUMENT, "input channels that are no multiple of the groups");
    }
    {
        WITH(d, d.out_channels = 30, d.groups = 4);
        check(status_of(d) == CK_INVALID_ARGUMENT, "output channels that are no multiple of the groups");
    }
    const uint32_t unknown[] = {32, 1u << 31};
    for (int i = 0; i < 2; i++) {
        WITH(d, d.epilogue = unknown[i]);
        check(status_of(d) == CK_INVALID_ARGUMENT, "unknown epilogue %u", unknown[i]);
    }
    {
        WITH(d, d.src_layout = (ck_layout)3);
        check(status_of(d) == CK_INVALID_ARGUMENT, "unknown layout");
    }
    {
        WITH(d, d.pass = (ck_pass)3);
        check(status_of(d) == CK_INVALID_ARGUMENT, "unknown pass");
    }
    {
        WITH(d, d.accuracy = (ck_accuracy)3);
        check(status_of(d) == CK_INVALID_ARGUMENT, "unknown accuracy");
    }
    {
        WITH(d, d.algorithm = CK_ALGORITHM_COUNT);
        check(status_of(d) == CK_INVALID_ARGUMENT, "unknown algorithm");
    }
    const uint32_t excluded[] = {CK_RESIDUAL | CK_GLOBAL_AVERAGE, CK_RESIDUAL | CK_MAX_POOL_3X3_S2,
                                 CK_MAX_POOL_3X3_S2 | CK_GLOBAL_AVERAGE};
    for (int algorithm = 0; algorithm < CK_ALGORITHM_COUNT; algorithm++)
        for (int i = 0; i < 3; i++) {
            WITH(d, d.epilogue = excluded[i] | CK_BIAS | CK_RELU, d.algorithm = (ck_algorithm)algorithm);
            check(status_of(d) == CK_UNSUPPORTED, "%s: epilogue %u excludes itself",
                  ck_algorithm_name((ck_algorithm)algorithm), d.epilogue);
        }
}

/* Sizes that fit their fields but whose buffers or products do not fit in memory's address range. */
static void overflows(void) {
    enum { BIG = INT32_MAX };
    {
        WITH(d, d.batch = d.in_height = d.in_width = BIG);
        TOO_MUCH(status_of(d));
    }
    {
        WITH(d, d.in_channels = d.in_height = d.in_width = BIG);
        TOO_MUCH(status_of(d));
    }
    {
        WITH(d, d.in_channels = d.out_channels = BIG);
        TOO_MUCH(status_of(d));
    }
    {
        WITH(d, d.pad_height = d.pad_width = BIG);
        TOO_MUCH(status_of(d));
    }
    {
        WITH(d, d.in_height = d.in_width = d.pad_height = d.pad_width = BIG);
        TOO_MUCH(status_of(d));
    }
    {
        WITH(d, d.kernel_height = d.dilation_height = d.in_height = BIG);
        TOO_MUCH(status_of(d));
    }
}

static void forced_algorithms(void) {
    {
        WITH(d, d.algorithm = CK_POINTWISE);
        check(status_of(d) == CK_UNSUPPORTED, "pointwise 3x3");
    }
    {
        WITH(d, d.algorithm = CK_WINOGRAD_4, d.stride_width = 2);
        check(status_of(d) == CK_UNSUPPORTED, "Winograd with a stride");
    }
    {
        WITH(d, d.algorithm = CK_WINOGRAD_2, d.dilation_width = 2);
        check(status_of(d) == CK_UNSUPPORTED, "Winograd with a dilation");
    }
    {
        WITH(d, d.algorithm = CK_WINOGRAD_2, d.kernel_width = 5);
        check(status_of(d) == CK_UNSUPPORTED, "Winograd 3x5");
    }
    {
        WITH(d, d.algorithm = CK_WINOGRAD_4, d.groups = 16);
        check(status_of(d) == CK_UNSUPPORTED, "Winograd in groups of one channel");
    }
    {
        WITH(d, d.algorithm = CK_STEM);
        check(status_of(d) == CK_UNSUPPORTED, "a stem of 16 channels");
    }
}

static ck_conv_plan *made(ck_conv_desc desc) {
    ck_conv_plan *plan = NULL;
    check(ck_conv_plan_create(&desc, &plan) == CK_OK, "a plan");
    return plan;
}

/* describe names the algorithm, the instruction set and the threads, and is cut to size. */
static void describe(void) {
    WITH(d, d.algorithm = CK_GEMM);
    ck_conv_plan *plan = made(d);
    char *whole = allocate(256), *cut = allocate(5);
    const size_t length = ck_conv_plan_describe(plan, whole, 256);
    check(strlen(whole) == length, "describe returns %zu for \"%s\"", length, whole);
    check(strstr(whole, ck_algorithm_name(CK_GEMM)) != NULL, "the algorithm in \"%s\"", whole);
    check(strstr(whole, ck_isa_name(ck_isa_active())) != NULL, "the instruction set in \"%s\"", whole);
    check(strstr(whole, "1 thread") != NULL, "the threads in \"%s\"", whole);
    check(ck_conv_plan_describe(plan, cut, 5) == length, "the whole length of what is cut");
    check(strlen(cut) == 4 && !strncmp(cut, whole, 4), "\"%s\" is cut to \"%s\"", whole, cut);
    check(ck_conv_plan_describe(plan, NULL, 0) == length, "the length alone");
    ck_conv_plan_destroy(plan);
    for (int a = 0; a < CK_ALGORITHM_COUNT; a++) {
        check(strlen(ck_algorithm_name((ck_algorithm)a)) > 0, "algorithm %d has a name", a);
        for (int b = 0; b < a; b++)
            check(strcmp(ck_algorithm_name((ck_algorithm)a), ck_algorithm_name((ck_algorithm)b)) != 0,
                  "algorithms %d and %d are named alike", a, b);
    }
    check(strlen(ck_algorithm_name(CK_ALGORITHM_COUNT)) > 0, "what is no algorithm has a name");
}

/* Everything that the epilogue needs must be there; a refused run writes nothing. */
static void run_arguments(void) {
    WITH(d, d.epilogue = CK_BIAS | CK_RESIDUAL, d.algorithm = CK_GEMM);
    ck_conv_plan *plan = made(d);
    const size_t in = ck_blocked_count(2, 16, 8, 9), out = ck_blocked_count(2, 32, 8, 9);
    void *packed = allocate(ck_conv_packed_size(plan)), *workspace = allocate(ck_conv_workspace_size(plan));
    const float *weights = uniform(32 * 16 * 9, 1, -1, 1);
    REFUSED(ck_conv_pack(plan, NULL, NULL, packed));
    REFUSED(ck_conv_pack(plan, weights, NULL, NULL));
    REFUSED(ck_conv_pack(NULL, weights, NULL, packed));
    check(ck_conv_pack(plan, weights, NULL, packed) == CK_OK, "pack");

    float *src = integers(in, 1, 0, 0), *residual = integers(out, 1, 0, 0), *bias = integers(32, 1, 0, 0);
    float *dst = floats(out);
    const ck_conv_args whole = {
        .src = src, .packed = packed, .bias = bias, .residual = residual, .dst = dst, .workspace = workspace};
    ck_conv_args args;
    args = whole, args.batch = 3, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.batch = -1, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.src = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.packed = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.bias = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.residual = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.dst = NULL, REFUSED(ck_conv_run(plan, &args));
    args = whole, args.workspace = NULL;
    if (ck_conv_workspace_size(plan) > 0) REFUSED(ck_conv_run(plan, &args));
    REFUSED(ck_conv_run(plan, NULL));
    check(cr_count_poison(dst, out * sizeof *dst) == out * sizeof *dst, "a refused run wrote");
    check(ck_conv_run(plan, &whole) == CK_OK, "run");
    check_equal(dst, doubles(out), out, "nothing but zeros");
    ck_conv_plan_destroy(plan);
}

static void not_a_number(void) {
    enum { C = 16, SIZE = 9, PLANE = SIZE * SIZE };
    const cr_conv s = {1, C, SIZE, SIZE, C, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    static const ck_algorithm local[] = {CK_GEMM, CK_DIRECT};
    for (size_t a = 0; a < COUNT_OF(local); a++) {
        ck_conv_desc d = description(&s, 1);
        d.algorithm = local[a];
        d.epilogue = CK_RELU;
        ck_conv_plan *plan = made(d);
        float *x = integers(C * PLANE, 1, 1, 1);
        x[3 * PLANE + 4 * SIZE + 4] = NAN;
        void *packed = allocate(ck_conv_packed_size(plan)), *workspace = allocate(ck_conv_workspace_size(plan));
        check(ck_conv_pack(plan, integers(C * C * 9, 1, 1, 1), NULL, packed) == CK_OK, "pack");
        float *dst = poisoned(1, C, PLANE);
        const ck_conv_args args = {
            .src = blocked(x, 1, C, PLANE), .packed = packed, .dst = dst, .workspace = workspace};
        check(ck_conv_run(plan, &args) == CK_OK, "run");
        const float *y = unblocked(dst, 1, C, PLANE);
        for (int i = 0; i < C * PLANE; i++) {
            const int row = i % PLANE / SIZE, column = i % SIZE;
            const int reached = row >= 3 && row <= 5 && column >= 3 && column <= 5;
            check(isnan(y[i]) ? reached : !reached, "%s: a NaN at %d, %d: %g", ck_algorithm_name(local[a]), row, column,
                  y[i]);
        }
        ck_conv_plan_destroy(plan);
    }
}

/* Every algorithm's work divides among imagined threads: none is lost, none does more than all. */
static void balance(void) {
    static const cr_conv layers[] = {{1, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1},
                                     {1, 256, 14, 14, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1},
                                     {1, 512, 14, 14, 512, 3, 3, 2, 2, 1, 1, 1, 1, 1},
                                     {1, 512, 7, 7, 256, 1, 1, 1, 1, 0, 0, 1, 1, 1},
                                     {1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, 1, 16}};
    int counted = 0;
    for (size_t i = 0; i < COUNT_OF(layers); i++)
        for (int algorithm = CK_AUTO + 1; algorithm < CK_ALGORITHM_COUNT; algorithm++) {
            ck_balance alone = {0};
            for (int32_t threads = 1; threads <= 64; threads *= 4) {
                ck_conv_desc d = description(&layers[i], threads);
                d.algorithm = (ck_algorithm)algorithm;
                ck_conv_plan *plan = NULL;
                if (ck_conv_plan_create(&d, &plan) != CK_OK) break;
                ck_balance b = {0};
                const ck_status status = ck_conv_balance(plan, 1, &b);
                check((status == CK_UNSUPPORTED) == (algorithm == CK_GEMM), "balance of %s: %d",
                      ck_algorithm_name((ck_algorithm)algorithm), status);
                if (threads == 1) alone = b;
                if (status == CK_OK) {
                    counted++;
                    check(b.regions > 0 && b.longest <= b.work * 1.0001 && b.longest * threads >= b.work * 0.9999 &&
                              b.work >= alone.work * 0.9999 && (threads > 1 || b.longest >= b.work * 0.9999),
                          "%s on %d threads: %g, at most %g, %d regions", ck_algorithm_name((ck_algorithm)algorithm),
                          threads, b.work, b.longest, b.regions);
                }
                REFUSED(ck_conv_balance(plan, 2, &b));
                REFUSED(ck_conv_balance(plan, 0, &b));
                REFUSED(ck_conv_balance(plan, 1, NULL));
                ck_conv_plan_destroy(plan);
            }
        }
    check(counted >= 30, "%d balances", counted);
    REFUSED(ck_conv_balance(NULL, 1, &(ck_balance){0}));
}

void test_plans(void) {
    defaults();
    bad_fields();
    bad_choices();
    overflows();
    forced_algorithms();
    describe();
    run_arguments();
    balance();
    not_a_number();
}
