/* What must be in order before the first OpenMP region. */
#ifndef CK_THREADS_H
#define CK_THREADS_H

/* Removes variables that LLVM's OpenMP 14 ends the process over: an OMP_NUM_THREADS that means nothing, such as the
 * empty one that `OMP_NUM_THREADS= command` sets, and an OMP_STACKSIZE below 256 KiB or above 8 GiB. Cheap after the
 * first call, which must come before the runtime starts.
 * Returns 0 where that runtime would end the process as it starts: it keeps a note in shared memory (/dev/shm), which
 * may be missing, read-only or full, or forbidden by `ulimit -f`. */
int ck_prepare_openmp(void);

#endif
