#include "harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long checks, failures;
static struct {
    void *pages;
    size_t bytes; /* with the guard page */
} memory[1 << 12];
static size_t held;

int check(int passed, const char *what, ...) {
    checks++;
    if (passed) return 1;
    if (failures++ < 40) {
        va_list arguments;
        va_start(arguments, what);
        printf("FAILED %s: ", ck_isa_name(ck_isa_active()));
        vprintf(what, arguments);
        printf("\n");
        va_end(arguments);
    }
    return 0;
}

void check_close(const float *actual, const double *expected, size_t count, const double *relative, double factor,
                 double absolute, const char *what) {
    const cr_difference d = cr_compare(actual, expected, count, relative, factor, absolute);
    check(d.worst <= 1, "%s: %g at %zu, expected %g: %g times the bound", what, d.actual, d.index, d.expected, d.worst);
}

void check_equal(const float *actual, const double *expected, size_t count, const char *what) {
    check_close(actual, expected, count, NULL, 0, 0, what);
}

/* The last byte lies before a page that nobody may touch, so whoever reads or writes beyond a buffer ends the test. A
 * buffer then starts as far from a cache line as its size leaves: at one for multiples of 64 bytes (packed weights and
 * workspaces), at a whole channel block for blocked pictures, which is all that the library asks for. */
void *allocate(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    char *pages = MAP_FAILED;
    if (held < sizeof memory / sizeof *memory)
        pages = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + room, page, PROT_NONE)) {
        printf("the tests ran out of memory at %zu bytes\n", bytes);
        exit(2);
    }
    memory[held].pages = pages;
    memory[held++].bytes = room + page;
    return pages + room - bytes;
}

void release_all(void) {
    while (held--) munmap(memory[held].pages, memory[held].bytes);
    held = 0;
}

float *floats(size_t count) {
    float *made = allocate(count * sizeof *made);
    cr_poison(made, count * sizeof *made);
    return made;
}

double *doubles(size_t count) { return memset(allocate(count * sizeof(double)), 0, count * sizeof(double)); }

float *uniform(size_t count, uint64_t seed, double low, double high) {
    float *made = floats(count);
    cr_fill_uniform(made, count, seed, low, high);
    return made;
}

float *integers(size_t count, uint64_t seed, int low, int high) {
    float *made = floats(count);
    cr_fill_integers(made, count, seed, low, high);
    return made;
}

float *poisoned(int n, int c, size_t plane) { return floats(cr_blocked_count(n, c, plane, ck_block())); }

float *blocked(const float *x, int n, int c, size_t plane) {
    float *made = poisoned(n, c, plane);
    cr_to_blocked(x, n, c, plane, ck_block(), made);
    return made;
}

float *unblocked(const float *x, int n, int c, size_t plane) {
    float *made = floats((size_t)n * c * plane);
    cr_from_blocked(x, n, c, plane, ck_block(), made);
    return made;
}

float *padded(const float *x, int c) { return blocked(x, 1, c, 1); }

void check_surplus(const float *x, int n, int c, size_t plane, const char *what) {
    check(cr_surplus_nonzero(x, n, c, plane, ck_block()) == 0, "%s: surplus channels are not zero", what);
}

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {{"convolution", test_forward},     {"gradients", test_gradients}, {"pooling", test_pooling},
              {"elementwise", test_elementwise}, {"linear", test_linear},       {"pictures", test_pictures},
              {"layer norm", test_layer_norm},   {"gelu", test_gelu},           {"attention", test_attention},
              {"batch norm", test_batch_norm},   {"losses", test_losses},       {"optimizers", test_optimizers},
              {"refusals", test_refusals},       {"sweep", test_swept_forward}, {"sweep back", test_swept_gradients}};

/* Caches to plan for: the machine's, and some so small or so large that every block size is another. CK_CACHES holds
 * the test to its own. */
static const ck_caches pretended[] = {{.l1 = {4 << 10, 1}, .l2 = {24 << 10, 1}, .l3 = {0, 1}},
                                      {.l1 = {2 << 20, 1}, .l2 = {256 << 20, 1}, .l3 = {(size_t)4 << 30, 2}}};

static const char *only = "";

static void run_group(size_t group, ck_isa isa, const char *caches) {
    const long before = checks;
    if (strncmp(groups[group].name, only, strlen(only))) return;
    groups[group].run();
    release_all();
    printf("%-8s %-12s %6ld checks%s\n", ck_isa_name(isa), groups[group].name, checks - before, caches);
    fflush(stdout);
}

/* The groups whose kernels are planned, once more under the pretended caches. */
static int run_with_other_caches(ck_isa isa) {
    static const char *const names[] = {", small caches", ", large caches"};
    ck_caches own;
    if (ck_caches_active(&own) != CK_OK) return 0;
    for (size_t c = 0; c < sizeof pretended / sizeof *pretended; c++) {
        if (ck_caches_force(&pretended[c]) != CK_OK) return 0;
        for (size_t i = 0; i < 2; i++) run_group(i, isa, names[c]);
    }
    return ck_caches_force(&own) == CK_OK;
}

/* check_core [--version | group]: all groups, or the one whose name begins so, under every instruction set of this
 * machine, or under the one that CK_ISA names. */
int main(int count, char **arguments) {
    if (count == 2 && !strcmp(arguments[1], "--version")) {
        printf("%s\n", ck_version());
        return 0;
    }
    if (count == 2) only = arguments[1];
    const ck_status status = ck_init();
    if (status != CK_OK) {
        printf("%s\n", ck_status_string(status));
        return 2;
    }
    const char *wanted = getenv("CK_ISA");
    const ck_isa chosen = ck_isa_active();
    for (int isa = CK_ISA_COUNT - 1; isa >= 0; isa--) {
        if (ck_isa_available((ck_isa)isa) != CK_OK || (wanted && *wanted && isa != (int)chosen)) continue;
        if (ck_isa_force((ck_isa)isa) != CK_OK) return 2;
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) run_group(i, (ck_isa)isa, "");
        const char *caches = getenv("CK_CACHES");
        if (!(caches && *caches) && !run_with_other_caches((ck_isa)isa)) return 2;
    }
    printf("ckernels %s: %ld checks, %ld failed\n", ck_version(), checks, failures);
    return failures != 0 || checks == 0;
}

ck_conv_desc description(const cr_conv *s, int32_t threads) {
    return (ck_conv_desc){.batch = s->n,
                          .in_channels = s->c,
                          .in_height = s->h,
                          .in_width = s->w,
                          .out_channels = s->k,
                          .kernel_height = s->kernel_h,
                          .kernel_width = s->kernel_w,
                          .stride_height = s->stride_h,
                          .stride_width = s->stride_w,
                          .pad_height = s->pad_h,
                          .pad_width = s->pad_w,
                          .dilation_height = s->dilation_h,
                          .dilation_width = s->dilation_w,
                          .groups = s->groups,
                          .threads = threads};
}
