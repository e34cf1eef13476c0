/* The CPU time that the control group of this process grants. */
#ifndef CK_CGROUP_H
#define CK_CGROUP_H

/* CPUs by quota: the smallest quota of the process's group and the groups above it, as far as they can be seen; 0 means
 * no limit. `root` goes before /proc and the mounted hierarchies: "" except in tests. */
double ck_cgroup_cpus(const char *root);

#endif
