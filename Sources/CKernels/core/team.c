/* Fork and join by a team of threads that stays.
 *
 *     poster    post: ranges, then `posted` ----- own parts ---- others' parts ---- wait until all are done
 *     worker    spin, then sleep on a futex ----- own parts ---- others' parts ---- add to `done`
 *
 * The parts of a job are dealt out evenly, a range a member, so that on a quiet machine everybody works where it
 * worked before and finds its data in its cache. A range is one atomic word: its owner takes parts from the front,
 * whoever has finished takes from the back. So a member that comes late, or not at all, holds nobody up; only parts
 * that are being computed are waited for. The word carries the job's generation: a worker that was asleep or
 * interrupted with an old job in mind fails to take anything.
 *
 * On a core that is shared with somebody else a member loses its turn with parts in hand, for milliseconds, while the
 * others have nothing left to do. Whoever waits then gives the holder its own core (core/cores.h). */
#define _GNU_SOURCE
#include "core/team.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/cores.h"
#include "core/float_mode.h"
#include "core/futex.h"
#include "core/parallel.h"
#include "core/spin.h"

enum {
    LINE = 128,            /* two cache lines, because processors fetch them in pairs */
    MOST_GRAINS = 65535,   /* of a job: a range's ends are 16 bits each */
    CHUNKS = 8,            /* a range is emptied in steps of an eighth of what is left */
    MOST_TAKEN = 256,      /* cores that a worker keeps away from */
    SPIN_NS = 50000,       /* waiting awake for the next job, or the last part */
    PATIENCE_NS = 10000,   /* waiting before asking whether a holder runs at all */
    LOOK_AGAIN_NS = 200000 /* a poster asleep asks that again */
};

typedef struct {
    _Alignas(LINE) _Atomic uint64_t range;  /* generation, begin, end: 32, 16, 16 bits */
    _Alignas(LINE) _Atomic uint32_t asleep; /* futex */
    _Atomic uint32_t busy;                  /* may hold grains of the open job */
    ck_core core;
} member;

struct ck_team {
    _Alignas(LINE) _Atomic uint64_t posted; /* generation, threads: 32 bits each; 0 threads dismiss everybody */
    _Alignas(LINE) _Atomic uint32_t done;   /* grains of the open job */
    /* The open job. A worker reads it only while it holds a grain, and so nobody writes. */
    _Alignas(LINE) void (*body)(void *, int64_t, int32_t);
    void *context;
    int64_t parts, parts_a_grain;
    uint32_t grains, float_mode;
    int32_t size;
    int is_spread; /* there is a core for each member */
    member members[];
};

/* ---------------------------------------------------------------- grains */

static uint64_t pack(uint32_t generation, uint32_t begin, uint32_t end) {
    return (uint64_t)generation << 32 | begin << 16 | end;
}

/* Takes some of the grains that are left in a range of the job `generation`: [*begin, *end). */
static int take(_Atomic uint64_t *range, uint32_t generation, int from_front, uint32_t *begin, uint32_t *end) {
    uint64_t now = atomic_load_explicit(range, memory_order_relaxed);
    while (now >> 32 == generation) {
        const uint32_t first = now >> 16 & 0xffff, last = now & 0xffff;
        if (first >= last) return 0;
        const uint32_t count = (last - first + CHUNKS - 1) / CHUNKS;
        *begin = from_front ? first : last - count;
        *end = *begin + count;
        const uint64_t left = from_front ? pack(generation, *end, last) : pack(generation, first, *begin);
        if (atomic_compare_exchange_weak_explicit(range, &now, left, memory_order_acquire, memory_order_relaxed))
            return 1;
    }
    return 0;
}

static void compute(const ck_team *team, int32_t worker, uint32_t begin, uint32_t end) {
    int64_t last = end * team->parts_a_grain;
    if (last > team->parts) last = team->parts;
    for (int64_t part = begin * team->parts_a_grain; part < last; part++) team->body(team->context, part, worker);
}

/* All that can be had of the job `generation`, own grains first; returns how many. */
static uint32_t work(ck_team *team, int32_t worker, uint32_t generation, int32_t threads) {
    uint32_t count = 0, begin, end;
    for (int32_t i = 0; i < threads; i++) {
        const int32_t owner = worker + i < threads ? worker + i : worker + i - threads;
        while (take(&team->members[owner].range, generation, i == 0, &begin, &end)) {
            if (count == 0 && worker > 0) ck_set_float_mode(team->float_mode);
            compute(team, worker, begin, end);
            count += end - begin;
        }
    }
    return count;
}

/* ---------------------------------------------------------------- cores */

/* Goes to a core where none of the team is, also to one that somebody else uses: two of the team on one core would
 * take turns. The core of `except` counts as free. */
static void go_elsewhere(ck_team *team, member *self, int32_t threads, const member *except) {
    int32_t taken[MOST_TAKEN], count = 0;
    taken[count++] = ck_core_refresh(&self->core);
    for (int32_t i = 0; i < threads && count < MOST_TAKEN; i++) {
        const member *other = &team->members[i];
        if (other != self && other != except)
            taken[count++] = atomic_load_explicit(&other->core.cpu, memory_order_relaxed);
    }
    ck_core_leave(&self->core, taken, count);
}

/* A worker keeps away from the poster's core. */
static void keep_apart(ck_team *team, member *self, int32_t threads) {
    const int32_t cpu = ck_core_refresh(&self->core);
    if (team->is_spread && cpu == atomic_load_explicit(&team->members[0].core.cpu, memory_order_relaxed))
        go_elsewhere(team, self, threads, NULL);
}

/* Looks for a member that may hold grains and does not run, and brings it here. */
static member *fetch_holder(ck_team *team, int32_t self, int32_t threads) {
    for (int32_t i = 0; i < threads; i++) {
        member *other = &team->members[i];
        if (i == self || !atomic_load_explicit(&other->busy, memory_order_relaxed)) continue;
        if (!ck_core_stalled(&other->core) || !atomic_load_explicit(&other->busy, memory_order_relaxed)) continue;
        ck_core_fetch(&other->core);
        return other;
    }
    return NULL;
}

/* ---------------------------------------------------------------- waiting */

static int is_done(const ck_team *team) {
    return atomic_load_explicit(&team->done, memory_order_acquire) == team->grains;
}

/* Sleeps until woken, or for some time if that is not 0, unless `condition` holds already. */
#define SLEEP_UNLESS(condition, member, nanoseconds)                                                                   \
    do {                                                                                                               \
        atomic_store(&(member)->asleep, 1);                                                                            \
        if (!(condition)) ck_futex_wait(&(member)->asleep, 1, nanoseconds);                                            \
        atomic_store(&(member)->asleep, 0);                                                                            \
    } while (0)

static void wake(member *m) {
    if (atomic_load(&m->asleep) && atomic_exchange(&m->asleep, 0)) ck_futex_wake(&m->asleep);
}

/* The poster has nothing left to take. A holder that does not run gets its core while it sleeps. */
static void wait_until_done(ck_team *team, int32_t threads) {
    for (int64_t waited = 0;; waited += PATIENCE_NS) {
        if (CK_SPIN_UNTIL(is_done(team), PATIENCE_NS)) return;
        if (fetch_holder(team, 0, threads) || waited >= SPIN_NS)
            SLEEP_UNLESS(is_done(team), &team->members[0], LOOK_AGAIN_NS);
    }
}

/* A worker has nothing left to take. A holder that does not run gets its core; it goes where that one was. */
static uint64_t wait_for_job(ck_team *team, int32_t worker, uint64_t last) {
    const int32_t threads = (int32_t)(uint32_t)last;
    member *self = &team->members[worker];
    uint64_t now = last;
#define NEW_JOB ((now = atomic_load(&team->posted)) != last)
    for (int64_t waited = 0; waited < SPIN_NS; waited += PATIENCE_NS) {
        if (CK_SPIN_UNTIL(NEW_JOB, PATIENCE_NS)) return now;
        const member *holder = fetch_holder(team, worker, threads);
        if (holder) go_elsewhere(team, self, threads, holder);
    }
    while (!NEW_JOB) SLEEP_UNLESS(NEW_JOB, self, 0);
    return now;
#undef NEW_JOB
}

/* ---------------------------------------------------------------- jobs */

void ck_team_post(ck_team *team, int32_t threads, int64_t parts, void (*body)(void *, int64_t, int32_t),
                  void *context) {
    if (threads > team->size) threads = team->size;
    team->body = body, team->context = context, team->parts = parts;
    team->parts_a_grain = (parts - 1) / MOST_GRAINS + 1;
    team->grains = (uint32_t)((parts - 1) / team->parts_a_grain + 1);
    team->float_mode = ck_float_mode();
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    const uint32_t generation = (uint32_t)(atomic_load_explicit(&team->posted, memory_order_relaxed) >> 32) + 1;
    for (int32_t i = 0; i < threads; i++) {
        int64_t begin, end;
        ck_split(team->grains, i, threads, &begin, &end);
        atomic_store_explicit(&team->members[i].range, pack(generation, (uint32_t)begin, (uint32_t)end),
                              memory_order_relaxed);
    }
    member *self = &team->members[0];
    atomic_store_explicit(&self->busy, 1, memory_order_relaxed);
    ck_core_refresh(&self->core);
    atomic_store(&team->posted, (uint64_t)generation << 32 | (uint32_t)threads);
    for (int32_t i = 1; i < threads; i++) wake(&team->members[i]);
    const uint32_t count = work(team, 0, generation, threads);
    atomic_fetch_add(&team->done, count);
    atomic_store_explicit(&self->busy, 0, memory_order_relaxed);
    wait_until_done(team, threads);
}

void ck_team_serve(ck_team *team, int32_t worker) {
    member *self = &team->members[worker];
    ck_core_enter(&self->core);
    for (uint64_t job = 0;;) {
        job = wait_for_job(team, worker, job);
        const int32_t threads = (int32_t)(uint32_t)job;
        if (threads == 0) return;
        if (worker >= threads) continue;
        keep_apart(team, self, threads);
        atomic_store_explicit(&self->busy, 1, memory_order_relaxed);
        const uint32_t count = work(team, worker, (uint32_t)(job >> 32), threads);
        if (count > 0) {
            const uint32_t grains = team->grains; /* the last to add wakes; then the job may be gone */
            if (atomic_fetch_add(&team->done, count) + count == grains) wake(&team->members[0]);
        }
        atomic_store_explicit(&self->busy, 0, memory_order_relaxed);
        keep_apart(team, self, threads);
    }
}

void ck_team_dismiss(ck_team *team) {
    const uint64_t last = atomic_load_explicit(&team->posted, memory_order_relaxed);
    atomic_store(&team->posted, ((last >> 32) + 1) << 32);
    for (int32_t i = 1; i < team->size; i++) wake(&team->members[i]);
}

ck_team *ck_team_create(int32_t threads) {
    void *memory = NULL;
    const size_t size = sizeof(ck_team) + (size_t)threads * sizeof(member);
    if (posix_memalign(&memory, LINE, (size + LINE - 1) / LINE * LINE) != 0) return NULL;
    ck_team *team = memory;
    atomic_init(&team->posted, 1); /* nothing yet: generation 0, for the poster alone */
    atomic_init(&team->done, 0);
    team->size = threads;
    team->is_spread = ck_core_count() >= threads;
    for (int32_t i = 0; i < threads; i++) {
        member *m = &team->members[i];
        atomic_init(&m->range, 0);
        atomic_init(&m->asleep, 0);
        atomic_init(&m->busy, 0);
        ck_core_init(&m->core);
    }
    ck_core_enter(&team->members[0].core);
    return team;
}

void ck_team_destroy(ck_team *team) { free(team); }
