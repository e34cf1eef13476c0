/* Parts of work on the threads that the caller has: a team that stays (core/team.h), else threads for the call.
 *
 * A region is some threads that run one function together and end together. A team's is of threads of our own: it is
 * opened once, and OpenMP's runtimes end the process where the system refuses a thread. OpenMP opens those for one
 * call, because it keeps its threads for the next; with CK_PTHREADS, or where its runtime cannot start, we do: the
 * library then needs none, so it cannot clash with another one in the process. With neither, the caller is the team. */
#define _GNU_SOURCE
#include "core/parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "core/rehearsal.h"
#include "core/team.h"
#include "core/threads.h"

#if defined(CK_PTHREADS) && defined(_OPENMP)
#error "CK_PTHREADS is for builds without OpenMP"
#endif
#if defined(_OPENMP)
/* Declared here, because the Swift toolchain's clang ships no <omp.h>. */
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
#endif

enum {
    THREADS_MOST = 1024,
    STACK_LEAST = 1 << 20,
    FLOATS_A_THREAD = 8192, /* waking a team costs about as much as one thread needs for some thousand floats */
    FLOATS_A_PART = 32768   /* 10 to 20 us */
};

static _Thread_local ck_rehearsal *rehearsing;

ck_rehearsal *ck_rehearsing(void) { return rehearsing; }

ck_rehearsal *ck_rehearse(ck_rehearsal *rehearsal) {
    ck_rehearsal *before = rehearsing;
    rehearsing = rehearsal;
    return before;
}

/* Every part to the imagined thread that is free first. */
static void rehearse(int32_t threads, int64_t parts, ck_part body, void *context) {
    ck_rehearsal *r = rehearsing;
    double busy[THREADS_MOST] = {0}, longest = 0;
    const int32_t team = threads < parts ? threads : (int32_t)parts;
    for (int64_t part = 0; part < parts; part++) {
        int32_t free = 0;
        for (int32_t i = 1; i < team; i++)
            if (busy[i] < busy[free]) free = i;
        r->cycles = 0;
        body(context, part, free);
        r->balance.work += r->cycles;
        busy[free] += r->cycles;
        if (busy[free] > longest) longest = busy[free];
    }
    r->balance.longest += longest;
    r->balance.regions++;
}

#if defined(_OPENMP) || defined(CK_PTHREADS)

/* What the threads of a region run. members: how many there are, at most as many as asked for. */
typedef void (*region_body)(void *context, int32_t worker, int32_t members);

typedef struct region {
    region_body body;
    void *context;
    int32_t members;
    pthread_mutex_t opening; /* held until `members` is known */
} region;

typedef struct region_member {
    region *region;
    pthread_t thread;
    int32_t worker;
} region_member;

static void *run_member(void *argument) {
    const region_member *self = argument;
    pthread_mutex_lock(&self->region->opening);
    const int32_t members = self->region->members;
    pthread_mutex_unlock(&self->region->opening);
    self->region->body(self->region->context, self->worker, members);
    return NULL;
}

/* Starts the thread of m, with the stack that kernels need whatever `ulimit -s` says. */
static int start_member(region_member *m) {
    pthread_attr_t attributes;
    size_t stack;
    if (pthread_attr_init(&attributes) != 0) return 0;
    if (pthread_attr_getstacksize(&attributes, &stack) != 0 || stack < STACK_LEAST) {
        pthread_attr_setstacksize(&attributes, STACK_LEAST);
    }
    const int error = pthread_create(&m->thread, &attributes, run_member, m);
    pthread_attr_destroy(&attributes);
    return error == 0;
}

/* A region of threads of our own. Those that the system refuses are left out. They take no signals: a handler of the
 * host must not run on a thread that it does not know. */
static void open_own_region(int32_t threads, region_body body, void *context) {
    region_member others[THREADS_MOST];
    region r = {.body = body, .context = context, .members = 1, .opening = PTHREAD_MUTEX_INITIALIZER};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_mutex_lock(&r.opening);
    for (; r.members < threads; r.members++) {
        region_member *m = &others[r.members];
        *m = (region_member){.region = &r, .worker = r.members};
        if (!start_member(m)) break;
    }
    const int32_t members = r.members;
    pthread_mutex_unlock(&r.opening);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    body(context, 0, members);
    for (int32_t i = 1; i < members; i++) pthread_join(others[i].thread, NULL);
}

/* A region for one call. */
#if defined(_OPENMP)

/* Not inlined: the compiler asks the runtime for the thread's number at the beginning of a function that opens a
 * region, and the runtime reads the environment then. */
__attribute__((noinline)) static void open_prepared_region(int32_t threads, region_body body, void *context) {
#pragma omp parallel num_threads(threads)
    body(context, omp_get_thread_num(), omp_get_num_threads());
}

static void open_region(int32_t threads, region_body body, void *context) {
    if (ck_prepare_openmp()) {
        open_prepared_region(threads, body, context);
    } else {
        open_own_region(threads, body, context);
    }
}

#else

static void open_region(int32_t threads, region_body body, void *context) { open_own_region(threads, body, context); }

#endif

/* The team that the calling thread leads, and whether it computes a part: then it has no threads to spare. */
static _Thread_local ck_team *led;
static _Thread_local int computes;

typedef struct parts_region {
    int64_t parts;
    ck_part body;
    void *context;
} parts_region;

static void run_share(void *context, int32_t worker, int32_t members) {
    const parts_region *r = context;
    int64_t part, end;
    computes = 1;
    ck_split(r->parts, worker, members, &part, &end);
    for (; part < end; part++) r->body(r->context, part, worker);
    computes = 0;
}

void ck_run_parts(int32_t threads, int64_t parts, ck_part body, void *context) {
    const int32_t team = threads < parts ? threads : (int32_t)parts;
    if (rehearsing) {
        rehearse(threads, parts, body, context);
    } else if (team <= 1 || computes) {
        for (int64_t part = 0; part < parts; part++) body(context, part, 0);
    } else if (!led) {
        open_region(team, run_share, &(parts_region){.parts = parts, .body = body, .context = context});
    } else {
        computes = 1;
        ck_team_post(led, team, parts, body, context);
        computes = 0;
    }
}

typedef struct team_region {
    ck_team *team;
    void (*body)(void *context);
    void *context;
} team_region;

static void run_team(void *context, int32_t worker, int32_t members) {
    const team_region *r = context;
    (void)members;
    if (worker > 0) {
        computes = 1;
        ck_team_serve(r->team, worker);
        computes = 0;
        return;
    }
    led = r->team;
    r->body(r->context);
    led = NULL;
    ck_team_dismiss(r->team);
}

ck_status ck_with_team(int32_t threads, void (*body)(void *context), void *context) {
    if (!body || threads < 0) return CK_INVALID_ARGUMENT;
    threads = ck_threads(threads);
    if (threads == 1 || led || computes) {
        body(context);
        return CK_OK;
    }
    ck_team *team = ck_team_create(threads);
    if (!team) return CK_OUT_OF_MEMORY;
    open_own_region(threads, run_team, &(team_region){.team = team, .body = body, .context = context});
    ck_team_destroy(team);
    return CK_OK;
}

#else

void ck_run_parts(int32_t threads, int64_t parts, ck_part body, void *context) {
    if (rehearsing) {
        rehearse(threads, parts, body, context);
        return;
    }
    for (int64_t part = 0; part < parts; part++) body(context, part, 0);
}

ck_status ck_with_team(int32_t threads, void (*body)(void *context), void *context) {
    if (!body || threads < 0) return CK_INVALID_ARGUMENT;
    body(context);
    return CK_OK;
}

#endif

int32_t ck_threads(int32_t asked) {
#if defined(_OPENMP) || defined(CK_PTHREADS)
    return asked > THREADS_MOST ? THREADS_MOST : asked > 0 ? asked : ck_default_threads();
#else
    (void)asked;
    return 1;
#endif
}

/* items * floats, held to int64_t. */
static int64_t work_of(int64_t items, int64_t floats) {
    int64_t work;
    return __builtin_mul_overflow(items, floats, &work) ? INT64_MAX : work;
}

int32_t ck_threads_for(int32_t asked, int64_t items, int64_t floats) {
    const int64_t worth = work_of(items, floats) / FLOATS_A_THREAD + 1, most = items < worth ? items : worth;
    const int32_t threads = most > 1 ? ck_threads(asked) : 1;
    return threads < most ? threads : (int32_t)most;
}

typedef struct ranges {
    int64_t items, parts, unit, most; /* a range is cut at whole units and ends at `most` */
    ck_range body;
    void *context;
} ranges;

static void run_range(void *context, int64_t part, int32_t worker) {
    const ranges *r = context;
    int64_t begin, end;
    (void)worker;
    ck_split(r->items, part, r->parts, &begin, &end);
    begin *= r->unit;
    end = end * r->unit < r->most ? end * r->unit : r->most;
    if (begin < end) r->body(r->context, begin, end);
}

static void run_ranges(int32_t threads, int64_t floats, ranges r) {
    const int32_t team = ck_threads_for(threads, r.items, floats);
    const int64_t wanted = work_of(r.items, floats) / FLOATS_A_PART, possible = wanted < r.items ? wanted : r.items;
    r.parts = team == 1 ? 1 : possible > team ? possible : team;
    ck_run_parts(team, r.parts, run_range, &r);
}

void ck_run_ranges(int32_t threads, int64_t items, int64_t floats, ck_range body, void *context) {
    run_ranges(threads, floats, (ranges){.items = items, .unit = 1, .most = items, .body = body, .context = context});
}

void ck_run_flat(int32_t threads, size_t count, int64_t weight, ck_range body, void *context) {
    enum { LINE = 16 };
    const int64_t most = (int64_t)count, lines = most / LINE + (most % LINE != 0);
    run_ranges(threads, LINE * weight,
               (ranges){.items = lines, .unit = LINE, .most = most, .body = body, .context = context});
}
