/* The sizes of the caches: from CK_CACHES if that is set, else as Linux tells them (sysfs), else from CPUID, else those
 * of a common core. Asked of the first CPU in the affinity mask; where a machine has cores of several kinds, that is
 * the kind that counts. */
#define _GNU_SOURCE
#include "core/caches.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { LEVELS = 3 };

/* Below and above these a size is a mistake, and products of it might overflow. */
static const size_t LEAST = 1 << 10, MOST = (size_t)1 << 40;
enum { MOST_CORES = 1 << 16 };

static const ck_caches common = {.l1 = {32 << 10, 1}, .l2 = {512 << 10, 1}, .l3 = {8 << 20, 4}};

static ck_caches active;
static ck_status known;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static ck_cache_level *level_of(ck_caches *caches, int level) {
    return level == 1 ? &caches->l1 : level == 2 ? &caches->l2 : &caches->l3;
}

static int valid(const ck_caches *c) {
    const ck_cache_level levels[LEVELS] = {c->l1, c->l2, c->l3};
    for (int i = 0; i < LEVELS; i++) {
        const int absent = i == 2 && levels[i].bytes == 0;
        if (!absent && (levels[i].bytes < LEAST || levels[i].bytes > MOST)) return 0;
        if (levels[i].cores < 1 || levels[i].cores > MOST_CORES) return 0;
    }
    return 1;
}

/* ---- CK_CACHES: "32K,512K,32M", each with the number of cores that share it if it is not the machine's: "32M/8" */

static const char *parse_level(const char *text, ck_cache_level *level) {
    char *end;
    if (*text < '0' || *text > '9') return NULL;
    const unsigned long long number = strtoull(text, &end, 10);
    int shift = 0;
    if (*end == 'K' || *end == 'M' || *end == 'G') shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30, end++;
    if (number > MOST >> shift) return NULL;
    level->bytes = (size_t)number << shift;
    if (*end != '/') return end;
    text = end + 1;
    if (*text < '0' || *text > '9') return NULL;
    const long cores = strtol(text, &end, 10);
    if (cores > MOST_CORES) return NULL;
    level->cores = (int32_t)cores;
    return end;
}

static int parse(const char *text, ck_caches *caches) {
    for (int level = 1; level <= LEVELS; level++) {
        text = parse_level(text, level_of(caches, level));
        if (!text || *text != (level < LEVELS ? ',' : 0)) return 0;
        text++;
    }
    return valid(caches);
}

/* ---- sysfs */

/* One line of a file below the directory of this CPU; 0 if there is none. */
static int read_line(int cpu, const char *name, char *line, size_t size) {
    char path[112];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, name);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    const ssize_t got = read(file, line, size - 1);
    close(file);
    if (got <= 0) return 0;
    line[got] = 0;
    return 1;
}

/* CPUs in a list such as "0-3,8,10-11"; at least 1. */
static int32_t list_length(const char *list) {
    int32_t count = 0;
    while (*list >= '0' && *list <= '9') {
        char *end;
        const long first = strtol(list, &end, 10);
        const long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (last < first || last - first >= MOST_CORES) break;
        count += (int32_t)(last - first + 1);
        list = *end == ',' ? end + 1 : end;
    }
    return count < 1 ? 1 : count > MOST_CORES ? MOST_CORES : count;
}

static size_t size_of(const char *text) {
    char *end;
    const unsigned long long number = strtoull(text, &end, 10);
    const int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
    return number > MOST >> shift ? 0 : (size_t)number << shift;
}

static int32_t cores_of(int32_t cpus, int32_t siblings) { return cpus > siblings ? cpus / siblings : 1; }

/* Fills in the levels that sysfs knows. */
static void ask_sysfs(int cpu, ck_caches *caches) {
    char line[256], name[64];
    const int32_t siblings = read_line(cpu, "topology/thread_siblings_list", line, sizeof line) ? list_length(line) : 1;
    for (int index = 0; index < 8; index++) {
        snprintf(name, sizeof name, "cache/index%d/type", index);
        if (!read_line(cpu, name, line, sizeof line)) return;
        if (line[0] == 'I') continue; /* Instruction; the others are Data and Unified */
        snprintf(name, sizeof name, "cache/index%d/level", index);
        const int level = read_line(cpu, name, line, sizeof line) ? atoi(line) : 0;
        snprintf(name, sizeof name, "cache/index%d/size", index);
        if (level < 1 || level > LEVELS || !read_line(cpu, name, line, sizeof line)) continue;
        ck_cache_level *found = level_of(caches, level);
        found->bytes = size_of(line);
        snprintf(name, sizeof name, "cache/index%d/shared_cpu_list", index);
        found->cores = read_line(cpu, name, line, sizeof line) ? cores_of(list_length(line), siblings) : 1;
    }
}

/* ---- CPUID: leaf 4 (Intel), leaf 0x8000001D of the same form (AMD) */

static void ask_cpuid(ck_caches *caches) {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    static const unsigned leaves[] = {4, 0x8000001D};
    for (int i = 0; i < 2 && !caches->l1.bytes; i++)
        for (unsigned index = 0; index < 8; index++) {
            if (!__get_cpuid_count(leaves[i], index, &a, &b, &c, &d) || (a & 31) == 0) break;
            const unsigned type = a & 31, level = a >> 5 & 7;
            if (type == 2 || level < 1 || level > LEVELS) continue; /* 2: instructions */
            ck_cache_level *found = level_of(caches, (int)level);
            found->bytes = (size_t)((b >> 22) + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) * ((size_t)c + 1);
            found->cores = (int32_t)(a >> 14 & 4095) + 1; /* logical ones: without the topology no better is known */
        }
#else
    (void)caches;
#endif
}

static int first_cpu(void) {
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 0;
    int cpu = 0;
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &mask)) cpu++;
    return cpu;
}

static void detect(ck_caches *caches) {
    *caches = (ck_caches){0};
    ask_sysfs(first_cpu(), caches);
    if (!caches->l1.bytes || !caches->l2.bytes) {
        *caches = (ck_caches){0};
        ask_cpuid(caches);
    }
    if (!caches->l1.bytes || !caches->l2.bytes) *caches = common;
    if (caches->l3.cores < 1) caches->l3.cores = 1; /* there is none */
    if (!valid(caches)) *caches = common;
}

static void prepare(void) {
    detect(&active);
    const char *wanted = getenv("CK_CACHES");
    ck_caches asked = active;
    if (!wanted || !*wanted) return;
    if (parse(wanted, &asked))
        active = asked;
    else
        known = CK_BAD_CACHES;
}

ck_status ck_caches_prepare(void) {
    pthread_once(&once, prepare);
    return known;
}

ck_status ck_caches_active(ck_caches *caches) {
    if (!caches) return CK_INVALID_ARGUMENT;
    const ck_status status = ck_caches_prepare();
    if (status == CK_OK) *caches = active;
    return status;
}

ck_status ck_caches_force(const ck_caches *caches) {
    if (!caches || !valid(caches)) return CK_INVALID_ARGUMENT;
    const ck_status status = ck_caches_prepare();
    if (status == CK_OK) active = *caches;
    return status;
}
