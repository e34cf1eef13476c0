/* The data caches that block sizes are chosen for. */
#ifndef CK_CACHES_H
#define CK_CACHES_H

#include "ckernels.h"

/* Reads CK_CACHES or asks the machine, once. */
ck_status ck_caches_prepare(void);

/* What a thread may count on of one level when every core that shares it works: its part, in bytes. */
static inline size_t ck_cache_share(ck_cache_level level, int32_t threads) {
    const int32_t sharing = threads < level.cores ? threads : level.cores;
    return level.bytes / (size_t)(sharing > 1 ? sharing : 1);
}

#endif
