/* What must be in order before the first OpenMP region. */
#ifndef CK_THREADS_H
#define CK_THREADS_H

/* Removes an OMP_NUM_THREADS that means nothing, such as the empty one that `OMP_NUM_THREADS= command` sets: LLVM's
 * OpenMP 14 ends the process over it. Cheap after the first call. */
void ck_prepare_openmp(void);

#endif
