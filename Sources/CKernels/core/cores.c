#define _GNU_SOURCE
#include "core/cores.h"

#include <pthread.h>
#include <sched.h>

#include "core/spin.h"

void ck_core_init(ck_core *core) {
    atomic_init(&core->thread, 0);
    atomic_init(&core->cpu, -1);
    atomic_init(&core->clock, 0);
    atomic_flag_clear(&core->moving);
}

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

enum { STANDSTILL_NS = 2000 };

int32_t ck_core_count(void) {
    cpu_set_t mask;
    return sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
}

void ck_core_enter(ck_core *self) {
    clockid_t clock = 0;
    pthread_getcpuclockid(pthread_self(), &clock);
    atomic_store_explicit(&self->clock, (int32_t)clock, memory_order_relaxed);
    ck_core_refresh(self);
    atomic_store_explicit(&self->thread, (int32_t)syscall(SYS_gettid), memory_order_release);
}

int32_t ck_core_refresh(ck_core *self) {
    const int32_t cpu = sched_getcpu();
    if (cpu != atomic_load_explicit(&self->cpu, memory_order_relaxed))
        atomic_store_explicit(&self->cpu, cpu, memory_order_relaxed);
    return cpu;
}

int ck_core_stalled(const ck_core *other) {
    if (atomic_load_explicit(&other->thread, memory_order_acquire) == 0) return 0;
    const clockid_t clock = atomic_load_explicit(&other->clock, memory_order_relaxed);
    const int64_t before = ck_nanoseconds(clock);
    CK_SPIN_UNTIL(0, STANDSTILL_NS);
    return ck_nanoseconds(clock) == before;
}

void ck_core_fetch(ck_core *other) {
    const pid_t thread = atomic_load_explicit(&other->thread, memory_order_acquire);
    const int mine = sched_getcpu();
    cpu_set_t mask, one;
    if (thread == 0 || mine < 0 || mine >= CPU_SETSIZE) return;
    if (atomic_flag_test_and_set_explicit(&other->moving, memory_order_acquire)) return;
    CPU_ZERO(&one);
    CPU_SET(mine, &one);
    if (sched_getaffinity(thread, sizeof mask, &mask) == 0 && CPU_ISSET(mine, &mask) &&
        sched_setaffinity(thread, sizeof one, &one) == 0) {
        atomic_store_explicit(&other->cpu, mine, memory_order_relaxed);
        sched_setaffinity(thread, sizeof mask, &mask);
    }
    atomic_flag_clear_explicit(&other->moving, memory_order_release);
}

void ck_core_leave(ck_core *self, const int32_t *taken, int32_t count) {
    cpu_set_t mask, others;
    if (atomic_flag_test_and_set_explicit(&self->moving, memory_order_acquire)) return;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
        others = mask;
        for (int32_t i = 0; i < count; i++)
            if (taken[i] >= 0 && taken[i] < CPU_SETSIZE) CPU_CLR(taken[i], &others);
        if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
            sched_setaffinity(0, sizeof mask, &mask);
    }
    atomic_flag_clear_explicit(&self->moving, memory_order_release);
    ck_core_refresh(self);
}

#else

int32_t ck_core_count(void) { return 1; }
void ck_core_enter(ck_core *self) { (void)self; }
int32_t ck_core_refresh(ck_core *self) { return (void)self, -1; }
int ck_core_stalled(const ck_core *other) { return (void)other, 0; }
void ck_core_fetch(ck_core *other) { (void)other; }
void ck_core_leave(ck_core *self, const int32_t *taken, int32_t count) { (void)self, (void)taken, (void)count; }

#endif
