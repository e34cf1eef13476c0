/* How many threads to use when nobody says: never more than this process may have. Containers limit CPU time by a
 * cgroup quota, which neither the affinity mask nor the core count shows; ignoring it makes threads wait for each
 * other's slices. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <stdatomic.h>

#include "ckernels.h"

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

static double read_ratio(const char *path) {
    FILE *file = fopen(path, "r");
    double quota = 0, period = 0;
    if (!file) return 0;
    const int read = fscanf(file, "%lf %lf", &quota, &period); /* "max 100000" reads nothing: no limit */
    fclose(file);
    return read == 2 && quota > 0 && period > 0 ? quota / period : 0;
}

static double read_number(const char *path) {
    FILE *file = fopen(path, "r");
    double value = 0;
    if (!file) return 0;
    if (fscanf(file, "%lf", &value) != 1) value = 0;
    fclose(file);
    return value;
}

/* CPUs that the cgroup (v2, then v1) grants; 0: no limit. */
static double cgroup_cpus(void) {
    const double v2 = read_ratio("/sys/fs/cgroup/cpu.max");
    if (v2 > 0) return v2;
    const double quota = read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    const double period = read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    return quota > 0 && period > 0 ? quota / period : 0;
}

static int32_t count_threads(void) {
    const char *asked = getenv("OMP_NUM_THREADS");
    if (asked) {
        const long count = strtol(asked, NULL, 10);
        if (count > 0 && count <= 1024) return (int32_t)count;
    }
    int cores = physical_cores();
    const double quota = cgroup_cpus();
    if (quota > 0 && quota < cores) cores = quota < 1 ? 1 : (int)quota;
    return cores;
}

int32_t ck_default_threads(void) {
#if !defined(_OPENMP)
    return 1;
#endif
    static _Atomic int32_t known; /* asking costs a file a core */
    int32_t count = atomic_load(&known);
    if (count == 0) atomic_store(&known, count = count_threads());
    return count;
}
