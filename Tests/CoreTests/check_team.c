/* The team (core/team.h) under threads of this program's own, which ThreadSanitizer sees: every part of every job is
 * computed once, whoever comes, sleeps or is late. Nothing here depends on time. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/team.h"

enum { POSTERS = 3, MOST_THREADS = 5, MOST_PARTS = 1000 };

static void die(const char *what) {
    printf("FAILED: %s\n", what);
    exit(1);
}

/* Not atomic on purpose: a part that two threads compute is a race that ThreadSanitizer reports, and a part whose
 * result the poster cannot see yet is one too. */
typedef struct {
    int times[MOST_PARTS];
    int32_t threads;
    int spins;
} tally;

static void count_part(void *context, int64_t part, int32_t worker) {
    tally *t = context;
    if (worker < 0 || worker >= t->threads) die("a worker beyond the asked threads");
    for (volatile int i = 0; i < t->spins; i++) continue;
    t->times[part]++;
}

static void check(const tally *t, int64_t parts) {
    for (int64_t i = 0; i < MOST_PARTS; i++)
        if (t->times[i] != (i < parts)) die("a part was not computed once");
}

typedef struct {
    ck_team *team;
    int32_t worker;
} member;

static void *serve(void *argument) {
    const member *m = argument;
    ck_team_serve(m->team, m->worker);
    return NULL;
}

/* Jobs of all sizes for teams of all sizes, with pauses in which the workers fall asleep. */
static void post_jobs(ck_team *team, int32_t threads, unsigned seed) {
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 64, 100, 333, 999, 1000};
    tally *t = malloc(sizeof *t);
    if (!t) die("memory");
    for (int round = 0; round < 150; round++) {
        seed = seed * 1664525u + 1013904223u;
        const int64_t parts = sizes[(seed >> 16) % (sizeof sizes / sizeof *sizes)];
        *t = (tally){.threads = 1 + (int32_t)(seed >> 8) % threads, .spins = (seed >> 24) % 4 * 50};
        ck_team_post(team, t->threads, parts, count_part, t);
        check(t, parts);
        if (round % 15 == 0) usleep(300);
    }
    free(t);
}

/* A team's whole life: workers that come before, between and after the jobs. */
static void *lead(void *argument) {
    const unsigned seed = *(const unsigned *)argument;
    for (int32_t threads = 1; threads <= MOST_THREADS; threads++) {
        pthread_t handles[MOST_THREADS];
        member members[MOST_THREADS];
        ck_team *team = ck_team_create(threads);
        if (!team) die("memory");
        for (int32_t i = 1; i < threads; i++) {
            members[i] = (member){team, i};
            if (i == threads - 1) post_jobs(team, threads, seed + 1); /* the last comes late */
            if (pthread_create(&handles[i], NULL, serve, &members[i])) die("no thread");
        }
        post_jobs(team, threads, seed);
        ck_team_dismiss(team);
        for (int32_t i = 1; i < threads; i++) pthread_join(handles[i], NULL);
        ck_team_destroy(team);
    }
    return NULL;
}

static void several_posters(void) {
    pthread_t handles[POSTERS];
    unsigned seeds[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        seeds[i] = 100 * i;
        if (pthread_create(&handles[i], NULL, lead, &seeds[i])) die("no thread");
    }
    for (int i = 0; i < POSTERS; i++) pthread_join(handles[i], NULL);
}

/* More parts than a range counts: they go by several at a time. */
static void add_one(void *context, int64_t part, int32_t worker) {
    (void)worker;
    ((unsigned char *)context)[part]++;
}

static void many_parts(void) {
    enum { PARTS = 200001 };
    unsigned char *times = calloc(PARTS, 1);
    pthread_t handle;
    ck_team *team = ck_team_create(2);
    if (!times || !team) die("memory");
    member second = {team, 1};
    if (pthread_create(&handle, NULL, serve, &second)) die("no thread");
    for (int round = 1; round <= 3; round++) {
        ck_team_post(team, 2, PARTS, add_one, times);
        for (int i = 0; i < PARTS; i++)
            if (times[i] != round) die("one of many parts was not computed once");
    }
    ck_team_dismiss(team);
    pthread_join(handle, NULL);
    ck_team_destroy(team);
    free(times);
}

int main(void) {
    several_posters();
    many_parts();
    printf("teams of 1 to %d threads, jobs of 1 to %d parts, late and sleeping workers: each part once\n", MOST_THREADS,
           MOST_PARTS);
    return 0;
}
