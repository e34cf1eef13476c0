/* Threads: the one way in which this library runs work on several of them.
 *
 * A driver cuts its work into parts that do not depend on each other, and ck_run_parts has a team of threads do them,
 * in any order and by any thread. So what a part computes must depend on its number alone; `worker` serves only to find
 * memory that no other thread uses at the same time. What must be complete before the next step starts goes into a call
 * of its own. */
#ifndef CK_PARALLEL_H
#define CK_PARALLEL_H

#include <stddef.h>
#include <stdint.h>

#include "ckernels.h"

/* One part of the work. worker: 0...threads-1, one thread at a time. */
typedef void (*ck_part)(void *context, int64_t part, int32_t worker);

/* Runs body(context, part, worker) for part 0...parts-1 on at most `threads` threads, worker < threads; returns when
 * all are done. Within a part, and where parts or threads is 1, the caller computes alone. Allocates nothing. */
void ck_run_parts(int32_t threads, int64_t parts, ck_part body, void *context);

/* Items begin...end-1. */
typedef void (*ck_range)(void *context, int64_t begin, int64_t end);

/* Runs body over ranges that together make 0...items, where an item is about as much work as copying `floats` floats:
 * on the caller's thread for little work, otherwise on at most `threads` threads (0: the default), several ranges each.
 * Where the ranges begin must not matter to the result. */
void ck_run_ranges(int32_t threads, int64_t items, int64_t floats, ck_range body, void *context);

/* The same for an array of `count` floats, each as much work as copying `weight` of them. Ranges begin at whole cache
 * lines, so at whole vectors. */
void ck_run_flat(int32_t threads, size_t count, int64_t weight, ck_range body, void *context);

/* The asked number of threads, at most as many as a plan takes, because an OpenMP library that cannot start a thread
 * ends the process; the default for 0; always 1 without OpenMP. */
int32_t ck_threads(int32_t asked);

/* Threads for `items` units of `floats` each: as asked, but no thread without an item, and none for too little work. */
int32_t ck_threads_for(int32_t asked, int64_t items, int64_t floats);

/* Parts for each thread where their number is free: whose core is slower at the moment leaves some to the others. */
enum { CK_PARTS_A_THREAD = 8 };

/* What each worker of a small team has made for a part and may find there for its next one, zeroed at first. */
enum { CK_KEEPERS = 4 };
typedef struct ck_kept {
    int64_t next[CK_KEEPERS]; /* the item after the one that is kept */
} ck_kept;

/* Whether the worker has that item; from now on it has. */
static inline int ck_keeps(ck_kept *kept, int32_t worker, int64_t item) {
    const int has = kept->next[worker] == item + 1;
    kept->next[worker] = item + 1;
    return has;
}

/* Part `part` of `parts` of 0...count: [*begin, *end), sizes equal to within one. */
static inline void ck_split(int64_t count, int64_t part, int64_t parts, int64_t *begin, int64_t *end) {
    const int64_t base = count / parts, more = count % parts;
    *begin = part * base + (part < more ? part : more);
    *end = *begin + base + (part < more);
}

#endif
