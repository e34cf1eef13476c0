/* A team: one poster and workers that compute the parts of its jobs.
 *
 * The threads are made elsewhere (core/parallel.c opens an OpenMP region for them): worker 0 posts, the others serve
 * until they are dismissed. Between jobs a worker spins for some microseconds, then sleeps. */
#ifndef CK_TEAM_H
#define CK_TEAM_H

#include <stdint.h>

typedef struct ck_team ck_team;

/* Memory for a team of at most `threads`; NULL where there is none. */
ck_team *ck_team_create(int32_t threads);
void ck_team_destroy(ck_team *team);

/* Calls body(context, part, worker) once for each part, on at most `threads` of the team, and returns when all have
 * been computed. By worker 0 only. parts >= 1; worker < threads. Who computes what differs from run to run. */
void ck_team_post(ck_team *team, int32_t threads, int64_t parts,
                  void (*body)(void *context, int64_t part, int32_t worker), void *context);

/* The life of worker 1, 2, ...: parts of jobs until dismissed. */
void ck_team_serve(ck_team *team, int32_t worker);
/* Makes every ck_team_serve return, also one that is yet to be called. By worker 0, once, without a job. */
void ck_team_dismiss(ck_team *team);

#endif
