/* Threads of a team on CPUs of their own.
 *
 * OpenMP's waiting threads spin, and to Linux two spinning threads on one CPU both look too recently run to be moved: a
 * team may share a CPU for half a second after its first region while another CPU idles, at half the speed. Here each
 * thread that shares moves to a free CPU by narrowing its affinity mask for a moment. The mask is then as it was:
 * nothing is pinned, and the system may move the thread again. */
#define _GNU_SOURCE
#include <sched.h>

#include "core/parallel.h"

#if defined(_OPENMP) && defined(__linux__)

enum { MOST = 256 };

typedef struct places {
    int cpu[MOST];    /* where each thread of the team runs; -1: unknown */
    int target[MOST]; /* where it shall; -1: it stays */
} places;

static void look(void *context, int64_t part, int32_t worker) {
    (void)part;
    ((places *)context)->cpu[worker] = sched_getcpu();
}

/* Marks in `target` with 0 the threads whose CPU an earlier one has, and with -1 those that stay: their CPUs are
 * `taken`. */
static int mark_sharing(int32_t team, const int *cpu, int *target, cpu_set_t *taken) {
    int sharing = 0;
    CPU_ZERO(taken);
    for (int32_t i = 0; i < team; i++) {
        const int known = cpu[i] >= 0 && cpu[i] < CPU_SETSIZE;
        target[i] = known && CPU_ISSET(cpu[i], taken) ? 0 : -1;
        sharing += target[i] == 0;
        if (known) CPU_SET(cpu[i], taken);
    }
    return sharing;
}

/* A free CPU for each marked thread while there are any. */
static void choose_targets(int32_t team, const cpu_set_t *allowed, const cpu_set_t *taken, int *target) {
    int next = 0;
    for (int32_t i = 0; i < team; i++) {
        if (target[i] < 0) continue;
        while (next < CPU_SETSIZE && (!CPU_ISSET(next, allowed) || CPU_ISSET(next, taken))) next++;
        target[i] = next < CPU_SETSIZE ? next++ : -1;
    }
}

static void move_to(int cpu) {
    cpu_set_t before, one;
    if (sched_getaffinity(0, sizeof before, &before) != 0 || !CPU_ISSET(cpu, &before)) return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) sched_setaffinity(0, sizeof before, &before);
}

static void move(void *context, int64_t part, int32_t worker) {
    const places *p = context;
    (void)part;
    if (p->target[worker] >= 0) move_to(p->target[worker]);
}

void ck_spread_threads(int32_t threads) {
    threads = ck_threads(threads);
    if (threads < 2 || threads > MOST) return;
    places p;
    for (int32_t i = 0; i < threads; i++) p.cpu[i] = -1;
    ck_run_each(threads, look, &p);
    cpu_set_t allowed, taken;
    if (mark_sharing(threads, p.cpu, p.target, &taken) == 0) return;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < threads) return;
    choose_targets(threads, &allowed, &taken, p.target);
    ck_run_each(threads, move, &p);
}

#else

void ck_spread_threads(int32_t threads) { (void)threads; }

#endif
