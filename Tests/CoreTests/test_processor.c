/* Status texts, instruction sets, threads, memory, and wisdom: measured choices are remembered, travel through a file,
 * and a damaged file changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

/* ---- the processor */

static void statuses(void) {
    for (int a = 0; a <= 9; a++) {
        const char *text = ck_status_string((ck_status)(a == 9 ? 99 : a));
        const size_t length = strlen(text);
        check(length > 0 && text[length - 1] != '.', "the text of status %d: \"%s\"", a, text);
        for (int b = 0; b < a && a < 9; b++)
            check(strcmp(text, ck_status_string((ck_status)b)) != 0, "statuses %d and %d say the same", a, b);
    }
    check(!strcmp(ck_version(), CK_VERSION_STRING), "version %s of a header %s", ck_version(), CK_VERSION_STRING);
}

static void instruction_sets(void) {
    static const char *const names[] = {"portable", "neon", "avx2", "avx512"};
    static const int32_t blocks[] = {4, 4, 8, 16};
    const ck_isa active = ck_isa_active();
    check(ck_init() == CK_OK, "ck_init");
    check(ck_isa_available(CK_ISA_PORTABLE) == CK_OK, "portable is everywhere");
    check(ck_isa_available(CK_ISA_COUNT) == CK_UNKNOWN_ISA, "there is no fifth");
    check(ck_isa_force(CK_ISA_COUNT) == CK_UNKNOWN_ISA, "there is no fifth");
#if defined(__x86_64__)
    check(ck_isa_force(CK_ISA_NEON) == CK_ISA_NOT_AVAILABLE, "NEON on x86-64");
#elif defined(__aarch64__)
    check(ck_isa_force(CK_ISA_AVX2) == CK_ISA_NOT_AVAILABLE, "AVX2 on aarch64");
#endif
    check(ck_isa_active() == active, "what is refused changes nothing");
    check(ck_block() == blocks[active], "a block of %d", ck_block());
    for (int isa = 0; isa < CK_ISA_COUNT; isa++)
        check(!strcmp(ck_isa_name((ck_isa)isa), names[isa]), "%s is named %s", names[isa], ck_isa_name((ck_isa)isa));
    check(ck_default_threads() >= 1 && ck_default_threads() <= 1024, "%d threads", ck_default_threads());
}

/* Aligned and zero, huge pages included; all of it can be written. */
static void memory(void) {
    const size_t huge = 2 << 20, sizes[] = {0, 1, 63, 64, 65, 4096, 1 << 20, huge - 1, huge, (5 << 20) + 1};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        unsigned char *bytes = ck_alloc(sizes[i]);
        if (!check(bytes != NULL, "%zu bytes", sizes[i])) continue;
        check((uintptr_t)bytes % 64 == 0, "%zu bytes off a cache line", sizes[i]);
        check(sizes[i] < huge || (uintptr_t)bytes % huge == 0, "%zu bytes off a huge page", sizes[i]);
        size_t others = 0;
        for (size_t b = 0; b < sizes[i]; b++) others += bytes[b] != 0;
        check(others == 0, "%zu of %zu bytes are not zero", others, sizes[i]);
        memset(bytes, 1, sizes[i]);
        ck_free(bytes, sizes[i]);
    }
    ck_free(NULL, 100);
    check(ck_alloc(SIZE_MAX / 2) == NULL, "nothing is that large");
}

void test_processor(void) {
    statuses();
    instruction_sets();
    memory();
}

/* ---- wisdom */

static ck_algorithm planned(int32_t channels, ck_selection selection) {
    const cr_conv s = {1, channels, 9, 9, channels, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    ck_conv_desc d = description(&s, 1);
    d.selection = selection;
    ck_conv_plan *plan = NULL;
    check(ck_conv_plan_create(&d, &plan) == CK_OK, "a plan");
    const ck_algorithm chosen = ck_conv_plan_algorithm(plan);
    ck_conv_plan_destroy(plan);
    return chosen;
}

static void check_count(size_t expected, const char *what) {
    check(ck_wisdom_count() == expected, "%s: %zu lines of wisdom, expected %zu", what, ck_wisdom_count(), expected);
}

static void measured(void) {
    planned(16, CK_ESTIMATE);
    check_count(0, "an estimate is not remembered");
    const ck_algorithm first = planned(16, CK_MEASURE);
    check_count(1, "a measured choice is remembered");
    check(planned(16, CK_MEASURE) == first, "a measured choice stands");
    check(planned(16, CK_ESTIMATE) == first, "an estimate asks wisdom first");
    check_count(1, "once");
    planned(32, CK_MEASURE);
    check_count(2, "another shape");
    ck_wisdom_forget();
    check_count(0, "forgotten");
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!check(file != NULL, "%s can be written", path)) return;
    fputs(text, file);
    fclose(file);
}

/* Whatever was fastest: the file then says im2col and GEMM, which the estimate would never choose. */
static void a_file_decides(const char *path) {
    char text[2000] = "", first[100], changed[2100];
    planned(16, CK_MEASURE);
    check(ck_wisdom_save(path) == CK_OK, "saved");
    FILE *file = fopen(path, "r");
    if (!check(file != NULL, "%s is there", path)) return;
    const size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char *line = strchr(text, '\n'), *key = line ? strchr(line, ' ') : NULL;
    if (!check(key != NULL && strchr(key, '\n') == text + length - 1, "two lines: %s", text)) return;
    snprintf(first, sizeof first, "%.*s", (int)(line - text), text);
    snprintf(changed, sizeof changed, "%s\n%d%s", first, CK_GEMM, key);
    write_file(path, changed);
    ck_wisdom_forget();
    check(planned(16, CK_ESTIMATE) != CK_GEMM, "the estimate");
    check(ck_wisdom_load(path) == CK_OK, "loaded");
    check(planned(16, CK_ESTIMATE) == CK_GEMM, "the file decides");
    ck_wisdom_forget();
}

static void damaged_files(const char *path) {
#define GOOD "ckernels wisdom 1\n1 some key\n"
    char long_key[400] = GOOD "1 ";
    memset(long_key + strlen(GOOD) + 2, 'k', 300);
    strcpy(long_key + strlen(GOOD) + 302, "\n");
    const char *const bad[] = {
        "",
        "ckernels",
        "something else\n1 key\n",
        GOOD "99 key\n",
        GOOD "x key\n",
        GOOD "1key\n",
        GOOD "1 unfinished",
        GOOD "0 key\n",
        long_key,
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        write_file(path, bad[i]);
        check(ck_wisdom_load(path) == CK_BAD_WISDOM, "\"%s\" is no wisdom", bad[i]);
        check_count(0, "a damaged file changes nothing");
    }
    write_file(path, GOOD);
    check(ck_wisdom_load(path) == CK_OK, "the same undamaged");
    check_count(1, "the same undamaged");
    ck_wisdom_forget();
#undef GOOD
}

void test_wisdom(void) {
    char folder[] = "/tmp/check_core.XXXXXX", path[40];
    if (!check(mkdtemp(folder) != NULL, "a folder for wisdom")) return;
    snprintf(path, sizeof path, "%s/w", folder);
    ck_wisdom_forget();
    measured();
    a_file_decides(path);
    damaged_files(path);
    unlink(path);
    snprintf(path, sizeof path, "%s/none", folder);
    check(ck_wisdom_load(path) == CK_FILE_ERROR, "no such file");
    snprintf(path, sizeof path, "%s/no/w", folder);
    check(ck_wisdom_save(path) == CK_FILE_ERROR, "no such folder");
    REFUSED(ck_wisdom_load(NULL));
    rmdir(folder);
}
