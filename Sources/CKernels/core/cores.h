/* Which thread runs on which core, and the exchange of cores between two threads of a team.
 *
 * Linux leaves a thread that has used up its share waiting for some milliseconds while another core idles: it takes the
 * thread for too recently run to be moved. Here the thread that has nothing to do moves it, by narrowing the affinity
 * mask for a moment. The mask is then as it was: nothing is pinned, and the system may move the thread again. */
#ifndef CK_CORES_H
#define CK_CORES_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* A thread as the others of its team see it. */
typedef struct {
    _Atomic int32_t thread; /* the system's number; 0 before it has come */
    _Atomic int32_t cpu;    /* where it ran when it last said so */
    _Atomic int32_t clock;  /* of the time it has run */
    atomic_flag moving;     /* somebody changes its mask: two at once could restore what the other has narrowed */
} ck_core;

void ck_core_init(ck_core *core);
/* CPUs that the calling thread may run on. */
int32_t ck_core_count(void);

/* The calling thread introduces itself, once. */
void ck_core_enter(ck_core *self);
/* The calling thread says where it runs, and gets to know it. */
int32_t ck_core_refresh(ck_core *self);
/* Whether a thread that has work does not get to do it: its clock stands still. Takes some microseconds. */
int ck_core_stalled(const ck_core *other);
/* Moves `other` to the caller's core, where it continues as soon as the caller leaves or sleeps. */
void ck_core_fetch(ck_core *other);
/* The calling thread goes to a core that is not among `taken`, if its mask has one. */
void ck_core_leave(ck_core *self, const int32_t *taken, int32_t count);

#endif
