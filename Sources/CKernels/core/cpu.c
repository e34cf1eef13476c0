/* CPU detection. CPUID says what the core can do; XGETBV says which registers the operating system saves when it
 * switches threads. Without the second check AVX code crashes on systems that do not (Intel SDM vol. 1, 14.3). */
#include "core/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xgetbv0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

int ck_cpu_supports(ck_isa isa) {
    if (isa == CK_ISA_PORTABLE) return 1;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const int osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1;
    if (!osxsave || !avx || !fma) return 0;
    const uint64_t saved = xgetbv0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const int avx2 = b >> 5 & 1;
    const int avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1); /* F, DQ, BW, VL */
    if (isa == CK_ISA_AVX2) return avx2 && (saved & 0x6) == 0x6;                         /* xmm, ymm */
    if (isa == CK_ISA_AVX512) return avx512 && (saved & 0xe6) == 0xe6; /* and opmask, zmm low, zmm high */
    return 0;
}

/* Of CPUID's leaf 7: VNNI with 512 bits is bit 11 of ECX, with 256 bits and the encoding of AVX2 bit 4 of EAX of its
 * second part, where there is one. */
static int read_dot(ck_isa isa) {
    unsigned a, b, c, d;
    if (!ck_cpu_supports(isa) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (isa == CK_ISA_AVX512) return c >> 11 & 1;
    if (isa != CK_ISA_AVX2 || a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return 0;
    return a >> 4 & 1;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

int ck_cpu_supports(ck_isa isa) { return isa == CK_ISA_PORTABLE || isa == CK_ISA_NEON; }

/* Linux's HWCAP2_I8MM. */
static int read_dot(ck_isa isa) { return isa == CK_ISA_NEON && (getauxval(AT_HWCAP2) >> 13 & 1); }

#else

int ck_cpu_supports(ck_isa isa) { return isa == CK_ISA_PORTABLE; }
static int read_dot(ck_isa isa) { return 0 * (int)isa; }

#endif

int ck_cpu_has_dot(ck_isa isa) {
    /* 1 + the answer; every plan asks. */
    static _Atomic(signed char) known[CK_ISA_COUNT];
    signed char answer = atomic_load(&known[isa]);
    if (!answer) atomic_store(&known[isa], answer = (signed char)(1 + read_dot(isa)));
    return answer - 1;
}

static char brand[49];

/* Once: CPUID costs a virtual machine tens of microseconds. */
static void read_brand(void) {
#if defined(__x86_64__)
    unsigned words[12] = {0};
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3])) break;
    memcpy(brand, words, sizeof words);
#endif
    for (char *c = brand; *c; c++)
        if (*c < ' ' || *c == '|') *c = ' ';
}

void ck_cpu_name(char *name, size_t size) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_brand);
    snprintf(name, size, "%s", brand[0] ? brand : "unknown");
}
