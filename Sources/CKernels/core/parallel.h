/* OpenMP without <omp.h>, which the Swift toolchain's clang does not ship, and the ways work is split. */
#ifndef CK_PARALLEL_H
#define CK_PARALLEL_H

#include <stdint.h>

#include "ckernels.h"

/* A statement behind CK_PARALLEL(threads) runs on a team of so many; without OpenMP the caller is the team. */
#if defined(_OPENMP)
#define CK_PRAGMA(text) _Pragma(#text)
#define CK_PARALLEL(threads) CK_PRAGMA(omp parallel num_threads(threads))
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
static inline int ck_thread(void) { return omp_get_thread_num(); }
static inline int ck_team(void) { return omp_get_num_threads(); }
#else
#define CK_PARALLEL(threads) for (int ck_once = ((void)(threads), 1); ck_once; ck_once = 0)
static inline int ck_thread(void) { return 0; }
static inline int ck_team(void) { return 1; }
#endif

/* The asked number of threads, at most as many as a plan takes, because an OpenMP library that cannot start a thread
 * ends the process; the default for 0; always 1 without OpenMP. */
static inline int32_t ck_threads(int32_t asked) {
    enum { MOST = 1024 };
#if defined(_OPENMP)
    return asked > MOST ? MOST : asked > 0 ? asked : ck_default_threads();
#else
    (void)asked;
    return 1;
#endif
}

/* Part `part` of `parts` of 0...count: [*begin, *end), sizes equal to within one. */
static inline void ck_split(int64_t count, int64_t part, int64_t parts, int64_t *begin, int64_t *end) {
    const int64_t base = count / parts, more = count % parts;
    *begin = part * base + (part < more ? part : more);
    *end = *begin + base + (part < more);
}

#endif
