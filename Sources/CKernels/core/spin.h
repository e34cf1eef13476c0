/* Waiting without the operating system, and the clock that says for how long. */
#ifndef CK_SPIN_H
#define CK_SPIN_H

#include <stdint.h>
#include <time.h>

static inline void ck_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static inline int64_t ck_nanoseconds(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Spins until `condition` holds or so many nanoseconds have passed; the value is the condition's. The clock is read
 * every 16 looks: it costs as much as one. */
#define CK_SPIN_UNTIL(condition, nanoseconds)                                                                          \
    __extension__({                                                                                                    \
        int ck_holds = (condition);                                                                                    \
        if (!ck_holds) {                                                                                               \
            const int64_t ck_end = ck_nanoseconds(CLOCK_MONOTONIC) + (nanoseconds);                                    \
            for (int ck_looks = 1; !(ck_holds = (condition)); ck_looks++) {                                            \
                ck_pause();                                                                                            \
                if (ck_looks % 16 == 0 && ck_nanoseconds(CLOCK_MONOTONIC) >= ck_end) break;                            \
            }                                                                                                          \
        }                                                                                                              \
        ck_holds;                                                                                                      \
    })

#endif
