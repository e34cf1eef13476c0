/* How many threads to use when nobody says: never more than this process may have. Containers limit CPU time by a
 * cgroup quota, which neither the affinity mask nor the core count shows; ignoring it makes threads wait for each
 * other's slices. */
#define _GNU_SOURCE
#include "core/threads.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ckernels.h"
#include "core/cgroup.h"

static int affinity_cores(cpu_set_t *mask) {
    if (sched_getaffinity(0, sizeof *mask, mask) != 0) return 1;
    const int count = CPU_COUNT(mask);
    return count > 0 ? count : 1;
}

/* Physical cores in the mask: a hyper-thread whose lower sibling is in the mask too adds no multiplier of its own. */
static int physical_cores(void) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    const int logical = affinity_cores(&mask);
    int cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &mask)) continue;
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        FILE *file = fopen(path, "r");
        int first = cpu;
        if (file) {
            if (fscanf(file, "%d", &first) != 1) first = cpu;
            fclose(file);
        }
        cores += first == cpu || first < 0 || first >= CPU_SETSIZE || !CPU_ISSET(first, &mask);
    }
    return cores > 0 ? cores : logical;
}

/* The number of threads that OMP_NUM_THREADS asks for: a list of numbers, for regions within regions, of which the
 * first counts. 0 where it is not set or means nothing. */
static int32_t asked_by_environment(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    if (!text || text[strspn(text, "0123456789, \t")]) return 0;
    const long count = strtol(text, NULL, 10);
    return count > 0 && count <= 1024 ? (int32_t)count : 0;
}

static int32_t count_threads(void) {
    const int32_t asked = asked_by_environment();
    if (asked > 0) return asked;
    int cores = physical_cores();
    const double quota = ck_cgroup_cpus("");
    if (quota > 0 && quota < cores) cores = quota < 1 ? 1 : (int)quota;
    return cores;
}

int32_t ck_default_threads(void) {
#if !defined(_OPENMP) && !defined(CK_PTHREADS)
    return 1;
#endif
    static _Atomic int32_t known; /* asking costs a file a core */
    int32_t count = atomic_load(&known);
    if (count == 0) atomic_store(&known, count = count_threads());
    return count;
}

/* The bytes that a stack size asks for, "512" or " 4 M" with the units B, K, M, G and T; 0 where it means nothing. */
static double stack_bytes(const char *text, char plain_unit) {
    char *end;
    text += strspn(text, " \t");
    if (!*text || !strchr("0123456789", *text)) return 0;
    const double count = (double)strtoull(text, &end, 10);
    end += strspn(end, " \t");
    static const char units[] = "BKMGT";
    const char unit = *end ? *end & ~0x20 : plain_unit; /* in upper case */
    double bytes = count;
    for (const char *u = units; *u; u++, bytes *= 1024) {
        if (unit == *u) return bytes;
    }
    return 0;
}

static void forget_nonsense(void) {
    if (asked_by_environment() == 0) unsetenv("OMP_NUM_THREADS");
    /* Threads with a smaller stack are refused by the system or overflow it; for a larger one it may lack the memory.
     */
    const double least = 256 << 10, most = 8.0 * (1 << 30);
    static const struct {
        const char *name;
        char unit; /* of a plain number */
    } stacks[] = {{"OMP_STACKSIZE", 'K'}, {"GOMP_STACKSIZE", 'K'}, {"KMP_STACKSIZE", 'B'}};
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        const char *text = getenv(stacks[i].name);
        const double bytes = text ? stack_bytes(text, stacks[i].unit) : least;
        if (bytes < least || bytes > most) unsetenv(stacks[i].name);
    }
}

/* Whether a kilobyte of shared memory can be had, which is what LLVM's runtime takes without looking. */
static int has_shared_memory(void) {
    enum { BYTES = 1024 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < BYTES) return 0; /* to try would raise SIGXFSZ */
    const int file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0) return 0;
    const int had = posix_fallocate(file, 0, BYTES) == 0;
    close(file);
    return had;
}

static int openmp_can_start;

static void prepare_openmp(void) {
    forget_nonsense();
    openmp_can_start = has_shared_memory();
}

int ck_prepare_openmp(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_openmp);
    return openmp_can_start;
}

void ck_spread_threads(int32_t threads) { (void)threads; }
