/* Control groups as they are found in the wild (core/cgroup.h): small trees of files under a temporary root. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cgroup.h"

static char root[] = "/tmp/check_cgroup_XXXXXX";

static void die(const char *what) {
    printf("FAILED: %s\n", what);
    exit(1);
}

/* A file under the root, with the directories above it. */
static void put(const char *path, const char *text) {
    char name[512];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(name, 0755);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) die("writing a file");
}

static void clean(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", root);
    if (system(command) != 0) die("removing files");
}

static void expect(const char *what, double cpus) {
    const double found = ck_cgroup_cpus(root);
    clean();
    if (fabs(found - cpus) < 1e-9) return;
    printf("FAILED: %s: expected %g CPUs, found %g\n", what, cpus, found);
    exit(1);
}

static const char V1[] =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
static const char V2[] = "29 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

int main(void) {
    if (!mkdtemp(root)) die("a temporary directory");
    expect("nothing there", 0);

    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", V2);
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect("version 2, a container that sees its group as the root", 1.5);

    put("/proc/self/cgroup", "0::/system.slice/a.service\n");
    put("/proc/self/mountinfo", V2);
    put("/sys/fs/cgroup/system.slice/a.service/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
    expect("version 2, a service below the root", 2);

    put("/proc/self/cgroup", "0::/system.slice/a.service\n");
    put("/proc/self/mountinfo", V2);
    put("/sys/fs/cgroup/system.slice/a.service/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n");
    expect("version 2, the group above binds", 0.5);

    put("/proc/self/cgroup", "9:name=systemd:/x\n4:cpuset:/wrong\n3:cpuacct,cpu:/docker/1:2\n0::/\n");
    put("/proc/self/mountinfo", V1);
    put("/sys/fs/cgroup/cpu,cpuacct/docker/1:2/cpu.cfs_quota_us", "300000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/docker/1:2/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
    expect("version 1, a path with a colon, no limit above", 3);

    put("/proc/self/cgroup", "3:cpu,cpuacct:/docker/12ab\n");
    put("/proc/self/mountinfo", "32 31 0:29 /docker/12ab /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    expect("version 1, a mounted part of the hierarchy", 2.5);

    put("/proc/self/cgroup", "3:cpu:/../outside\n0::/\n");
    put("/proc/self/mountinfo", "32 31 0:29 /../.. /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    expect("a group outside of what is mounted", 4);

    put("/proc/self/cgroup", "3:cpu:/a\n0::/b\n");
    put("/proc/self/mountinfo", "1 2 0:1 / /c1 rw - cgroup cgroup rw,cpu\n1 2 0:2 / /c2 rw - cgroup2 none rw\n");
    put("/c1/a/cpu.cfs_quota_us", "100000\n");
    put("/c1/a/cpu.cfs_period_us", "100000\n");
    put("/c2/b/cpu.max", "20000 10000\n");
    expect("both versions: the smaller", 1);

    put("/proc/self/cgroup", "nonsense\n:\n0:\n0::\n3:cpu:\n");
    put("/proc/self/mountinfo", "nonsense\n - \n32 31 0:29 / - cgroup\n");
    expect("nonsense", 0);

    rmdir(root);
    printf("control groups of both versions, at and below the root, mounted in part, missing: as expected\n");
    return 0;
}
