/* Sleeping on a word and waking those that sleep on it (man 2 futex). Elsewhere than on Linux a sleeper only yields. */
#ifndef CK_FUTEX_H
#define CK_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *word is `value`, until woken, and if `nanoseconds` is not 0 at most so long; may return early. */
static inline void ck_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t nanoseconds) {
    const struct timespec most = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nanoseconds ? &most : NULL, NULL, 0);
}
static inline void ck_futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
#else
#include <sched.h>
static inline void ck_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t nanoseconds) {
    (void)nanoseconds;
    if (atomic_load(word) == value) sched_yield();
}
static inline void ck_futex_wake(_Atomic uint32_t *word) { (void)word; }
#endif

#endif
