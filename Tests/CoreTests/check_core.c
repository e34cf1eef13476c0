/* check_core: every kernel of every instruction set of this machine against the reference.
 *
 *     check_core [--every N] [group]      all groups, those whose names begin so, or "others": all but convolutions
 *     check_core --version
 *
 * --every N takes each N-th row of the long tables only, for machines on which the whole takes long (qemu, sanitizers).
 * CK_ISA holds it to one instruction set, CK_CACHES to one idea of the caches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const struct {
    const char *name;
    void (*run)(void);
} convolutions[] = {{"convolution", test_forward},   {"gradients", test_gradients},
                    {"layers", test_layers_forward}, {"layers back", test_layers_gradients},
                    {"sweep", test_swept_forward},   {"sweep back", test_swept_gradients}},
  groups[] = {{"plans", test_plans},
              {"wisdom", test_wisdom},
              {"processor", test_processor},
              {"layouts", test_layouts},
              {"pooling", test_pooling},
              {"gates", test_gates},
              {"elementwise", test_elementwise},
              {"linear", test_linear},
              {"bf16", test_bf16},
              {"int8", test_int8},
              {"pictures", test_pictures},
              {"layer norm", test_layer_norm},
              {"group norm", test_group_norm},
              {"gelu", test_gelu},
              {"attention", test_attention},
              {"batch norm", test_batch_norm},
              {"losses", test_losses},
              {"optimizers", test_optimizers},
              {"refusals", test_refusals}};

/* Caches to plan for: the machine's, and some so small or so large that every block size is another. */
static const ck_caches pretended[] = {{.l1 = {4 << 10, 1}, .l2 = {24 << 10, 1}, .l3 = {0, 1}},
                                      {.l1 = {2 << 20, 1}, .l2 = {256 << 20, 1}, .l3 = {(size_t)4 << 30, 2}}};

static const char *only = "";
static size_t every = 1;
static int pretending;
static ck_isa isas[MOST_ISAS];
static int isa_count;

size_t table_step(void) { return every; }
int own_caches(void) { return !pretending; }

int use_isa(int i) {
    const ck_status status = ck_isa_force(isas[i < isa_count ? i : 0]);
    if (status != CK_OK) {
        printf("%s\n", ck_status_string(status));
        exit(2);
    }
    return i < isa_count;
}

static int chosen(const char *name, int convolution) {
    return strcmp(only, "others") ? !strncmp(name, only, strlen(only)) : !convolution;
}

static void run_group(const char *name, void (*run)(void), const char *isa, const char *caches) {
    const long before = checks_so_far();
    if (!chosen(name, strcmp(isa, "all") == 0)) return;
    run();
    place_at_start(0);
    release_all();
    printf("%-8s %-12s %7ld checks%s\n", isa, name, checks_so_far() - before, caches);
    fflush(stdout);
}

static void run_convolutions(size_t count, const char *caches) {
    for (size_t i = 0; i < count; i++) run_group(convolutions[i].name, convolutions[i].run, "all", caches);
}

/* The first two groups of convolutions once more under the pretended caches. */
static int run_with_other_caches(void) {
    static const char *const names[] = {", small caches", ", large caches"};
    ck_caches own;
    if (ck_caches_active(&own) != CK_OK) return 0;
    pretending = 1;
    for (size_t c = 0; c < COUNT_OF(pretended); c++) {
        if (ck_caches_force(&pretended[c]) != CK_OK) return 0;
        run_convolutions(2, names[c]);
    }
    pretending = 0;
    return ck_caches_force(&own) == CK_OK;
}

static int usage(void) {
    fprintf(stderr, "usage: check_core [--every N] [group], or check_core --version\n");
    return 64;
}

int main(int count, char **arguments) {
    let_threads_sleep(arguments);
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--version")) return printf("%s\n", ck_version()) < 0;
        if (!strcmp(arguments[i], "--every")) {
            const int number = i + 1 < count ? atoi(arguments[++i]) : 0;
            if (number < 1) return usage();
            every = (size_t)number;
        } else if (*only || arguments[i][0] == '-') {
            return usage();
        } else {
            only = arguments[i];
        }
    }
    const ck_status status = ck_init();
    if (status != CK_OK) {
        printf("%s\n", ck_status_string(status));
        return 2;
    }
    const char *wanted = getenv("CK_ISA"), *caches = getenv("CK_CACHES");
    const ck_isa active = ck_isa_active();
    for (int isa = CK_ISA_COUNT - 1; isa >= 0; isa--)
        if (ck_isa_available((ck_isa)isa) == CK_OK && (!wanted || !*wanted || isa == (int)active))
            isas[isa_count++] = (ck_isa)isa;
    run_convolutions(COUNT_OF(convolutions), "");
    if (!(caches && *caches) && !run_with_other_caches()) return 2;
    for (int i = 0; use_isa(i); i++)
        for (size_t g = 0; g < COUNT_OF(groups); g++)
            run_group(groups[g].name, groups[g].run, ck_isa_name(isas[i]), "");
    return end_of_checks("ckernels");
}
