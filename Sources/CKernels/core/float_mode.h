/* How the calling thread computes with subnormal numbers, and in which direction it rounds. */
#ifndef CK_FLOAT_MODE_H
#define CK_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__)
static inline uint32_t ck_float_mode(void) { return __builtin_ia32_stmxcsr(); }
static inline void ck_set_float_mode(uint32_t mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
static inline uint32_t ck_float_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (uint32_t)mode;
}
static inline void ck_set_float_mode(uint32_t mode) { __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)mode)); }
#else
static inline uint32_t ck_float_mode(void) { return 0; }
static inline void ck_set_float_mode(uint32_t mode) { (void)mode; }
#endif

#endif
