/* A process finds its groups in three steps (man 7 cgroups):
 *
 *     /proc/self/cgroup       4:cpu,cpuacct:/system.slice/a.service      version 1, a line a hierarchy
 *                             0::/system.slice/a.service                 version 2, one hierarchy for everything
 *     /proc/self/mountinfo    31 23 0:28 /ROOT /sys/fs/cgroup/cpu ... - cgroup cgroup rw,cpu,cpuacct
 *     the directory           MOUNT + (path without ROOT), and each above it up to MOUNT
 *
 * A quota binds the groups below it, so the smallest on the way up counts. ROOT is the group that a container sees as
 * its own root; what lies above it cannot be seen. */
#include "core/cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 4096 };

typedef struct {
    int version;
    char path[TEXT];  /* of the process in the hierarchy */
    char mount[TEXT]; /* where the hierarchy is mounted */
    char above[TEXT]; /* ROOT */
} hierarchy;

static FILE *open_under(const char *root, const char *path) {
    char name[2 * TEXT];
    if (snprintf(name, sizeof name, "%s%s", root, path) >= (int)sizeof name) return NULL;
    return fopen(name, "r");
}

/* Whether `word` is one of a list with commas. */
static int has_word(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; at && *at; at = strchr(at, ','), at += at != NULL)
        if (!strncmp(at, word, length) && (at[length] == ',' || at[length] == 0)) return 1;
    return 0;
}

/* Copies a text that fits. */
static int keep(char *to, const char *text) { return snprintf(to, TEXT, "%s", text) < TEXT; }

/* The process's path in the hierarchy of one version that manages CPU time. */
static int find_path(const char *root, hierarchy *h) {
    char line[TEXT + 64];
    FILE *file = open_under(root, "/proc/self/cgroup");
    int found = 0;
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        controllers++;
        if (h->version == 2 ? *controllers == 0 : has_word(controllers, "cpu")) found = keep(h->path, path);
    }
    fclose(file);
    return found;
}

/* Where that hierarchy is mounted, and what of it. */
static int find_mount(const char *root, hierarchy *h) {
    char line[2 * TEXT], above[TEXT], mount[TEXT], type[64], options[TEXT];
    FILE *file = open_under(root, "/proc/self/mountinfo");
    int found = 0;
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %*s %4095s %4095s", above, mount) != 2) continue;
        if (sscanf(rest, " - %63s %*s %4095s", type, options) != 2) continue;
        if (h->version == 2 ? !strcmp(type, "cgroup2") : !strcmp(type, "cgroup") && has_word(options, "cpu"))
            found = keep(h->mount, mount) && keep(h->above, above);
    }
    fclose(file);
    return found;
}

/* The first numbers of a file; returns how many. */
static int read_numbers(const char *root, const char *directory, const char *name, double *a, double *b) {
    char path[2 * TEXT];
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) return 0;
    FILE *file = open_under(root, path);
    if (!file) return 0;
    const int count = fscanf(file, "%lf %lf", a, b); /* "max 100000" has none: no limit */
    fclose(file);
    return count;
}

/* The quota of one group; 0 where it has none. */
static double quota_of(const char *root, const char *directory, int version) {
    double quota = 0, period = 0, unused;
    const int both = version == 2 ? read_numbers(root, directory, "cpu.max", &quota, &period) == 2
                                  : read_numbers(root, directory, "cpu.cfs_quota_us", &quota, &unused) >= 1 &&
                                        read_numbers(root, directory, "cpu.cfs_period_us", &period, &unused) >= 1;
    return both && quota > 0 && period > 0 ? quota / period : 0;
}

static double smallest_quota(const char *root, int version) {
    hierarchy h = {.version = version};
    char directory[2 * TEXT];
    if (!find_path(root, &h) || !find_mount(root, &h)) return 0;
    const char *path = h.path;
    const size_t above = strcmp(h.above, "/") ? strlen(h.above) : 0;
    if (above && !strncmp(path, h.above, above) && (path[above] == '/' || path[above] == 0)) path += above;
    if (!strncmp(path, "/..", 3)) path = ""; /* a group outside of what this process sees */
    snprintf(directory, sizeof directory, "%s%s", h.mount, strcmp(path, "/") ? path : "");
    const size_t mount = strlen(h.mount);
    double smallest = 0;
    for (;;) {
        const double quota = quota_of(root, directory, version);
        if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
        char *last = strrchr(directory, '/');
        if (!last || strlen(directory) <= mount) return smallest;
        *last = 0;
    }
}

double ck_cgroup_cpus(const char *root) {
    const double v2 = smallest_quota(root, 2), v1 = smallest_quota(root, 1);
    return v1 > 0 && (v2 == 0 || v1 < v2) ? v1 : v2;
}
