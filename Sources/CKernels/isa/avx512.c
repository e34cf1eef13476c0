/* The kernels for x86-64 with AVX-512: 32 registers of 16 floats. */
#include "isa/kernels.h"

#if defined(__x86_64__)

#define CK_V 16
#define CK_REGISTERS 32
#define CK_SUFFIX avx512
#define CK_THIS_ISA CK_ISA_AVX512
#if defined(__clang__)
#define CK_MULTIPLY_PAIRS(a, b) __builtin_ia32_pmaddwd512(a, b)
#else
#define CK_MULTIPLY_PAIRS(a, b) __builtin_ia32_pmaddwd512_mask(a, b, (vi){0}, 0xffff)
#define CK_WIDEN_HALVES(v) __builtin_ia32_pmovzxwd512_mask((shorts16)(v), (vi){0}, 0xffff)
#endif
#define CK_ADD_DOT(sum, weights, x) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weights))

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c,bmi2,prfchw"))),  \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c,bmi2,prfchw")
#endif
typedef short shorts16 __attribute__((vector_size(32)));

#include "isa/all.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
