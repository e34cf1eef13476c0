/* Parts of work on the threads that the caller has: a team that stays (core/team.h), else an OpenMP region for the
 * call; without OpenMP the caller is the team. */
#include "core/parallel.h"

#include <stdlib.h>

#include "core/team.h"
#include "core/threads.h"

#if defined(_OPENMP)
/* Declared here, because the Swift toolchain's clang ships no <omp.h>. */
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
#endif

enum {
    THREADS_MOST = 1024,
    FLOATS_A_THREAD = 8192, /* waking a team costs about as much as one thread needs for some thousand floats */
    FLOATS_A_PART = 32768   /* 10 to 20 us */
};

#if defined(_OPENMP)

/* The team that the calling thread leads, and whether it computes a part: then it has no threads to spare. */
static _Thread_local ck_team *led;
static _Thread_local int computes;

/* For a caller without a team. */
static void run_region(int32_t threads, int64_t parts, ck_part body, void *context) {
    ck_prepare_openmp();
#pragma omp parallel num_threads(threads)
    {
        const int32_t worker = omp_get_thread_num();
        int64_t part, end;
        computes = 1;
        ck_split(parts, worker, omp_get_num_threads(), &part, &end);
        for (; part < end; part++) body(context, part, worker);
        computes = 0;
    }
}

void ck_run_parts(int32_t threads, int64_t parts, ck_part body, void *context) {
    const int32_t team = threads < parts ? threads : (int32_t)parts;
    if (team <= 1 || computes) {
        for (int64_t part = 0; part < parts; part++) body(context, part, 0);
    } else if (!led) {
        run_region(team, parts, body, context);
    } else {
        computes = 1;
        ck_team_post(led, team, parts, body, context);
        computes = 0;
    }
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
    ck_prepare_openmp();
#pragma omp parallel num_threads(threads)
    {
        if (omp_get_thread_num() == 0) {
            led = team;
            body(context);
            led = NULL;
            ck_team_dismiss(team);
        } else {
            computes = 1;
            ck_team_serve(team, omp_get_thread_num());
            computes = 0;
        }
    }
    ck_team_destroy(team);
    return CK_OK;
}

#else

void ck_run_parts(int32_t threads, int64_t parts, ck_part body, void *context) {
    (void)threads;
    for (int64_t part = 0; part < parts; part++) body(context, part, 0);
}

ck_status ck_with_team(int32_t threads, void (*body)(void *context), void *context) {
    if (!body || threads < 0) return CK_INVALID_ARGUMENT;
    body(context);
    return CK_OK;
}

#endif

int32_t ck_threads(int32_t asked) {
#if defined(_OPENMP)
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
