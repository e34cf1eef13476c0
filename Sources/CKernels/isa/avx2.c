/* The kernels for x86-64 with AVX2 and FMA: 16 registers of 8 floats. */
#include "isa/kernels.h"

#if defined(__x86_64__)

#define CK_V 8
#define CK_REGISTERS 16
#define CK_SUFFIX avx2
#define CK_THIS_ISA CK_ISA_AVX2
#define CK_MULTIPLY_PAIRS(a, b) __builtin_ia32_pmaddwd256(a, b)
#define CK_MULTIPLY_BYTES(weights, x) __builtin_ia32_pmaddubsw256(x, weights)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2,prfchw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2,prfchw")
#endif
#include "isa/all.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
