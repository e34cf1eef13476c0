/* The kernels for x86-64 with AVX2 and FMA: 16 registers of 8 floats. */
#include "isa/kernels.h"

#if defined(__x86_64__)

#define CK_V 8
#define CK_REGISTERS 16
#define CK_SUFFIX avx2
#define CK_THIS_ISA CK_ISA_AVX2
#define CK_MULTIPLY_PAIRS(a, b) __builtin_ia32_pmaddwd256(a, b)
#define CK_MULTIPLY_BYTES(weights, x) __builtin_ia32_pmaddubsw256(x, weights)
#define CK_MULTIPLY_BYTES_AT(weights, x) multiply_bytes_at(weights, x)
#define CK_TO_BYTES(t) to_eight_bytes(t)
#if !defined(__clang__)
#define CK_WIDEN_HALVES(v) __builtin_ia32_pmovzxwd256((shorts8)(v))
#endif
#define CK_ADD_DOT(sum, weights, x) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(weights))

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2,prfchw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2,prfchw")
#endif

typedef char bytes32 __attribute__((vector_size(32)));
typedef char bytes16 __attribute__((vector_size(16)));
typedef short shorts16 __attribute__((vector_size(32)));
typedef short shorts8 __attribute__((vector_size(16)));
typedef int ints8 __attribute__((vector_size(32)));
typedef int ints4 __attribute__((vector_size(16)));
typedef float floats8 __attribute__((vector_size(32)));
typedef uint8_t bytes8 __attribute__((vector_size(8)));

/* Products two by two in 16 bits, of weights in memory. */
static inline __attribute__((always_inline)) shorts16 multiply_bytes_at(const char *weights, bytes32 x) {
    shorts16 pairs;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(x), "m"(*(const bytes32 *)(const void *)weights));
    return pairs;
}

/* From 0 up; narrowing saturates, so what is above 255 need only be kept from leaving 32 bits. */
static inline __attribute__((always_inline)) bytes8 to_eight_bytes(floats8 t) {
    const floats8 most = {255, 255, 255, 255, 255, 255, 255, 255};
    const ints8 integers = __builtin_ia32_cvtps2dq256(__builtin_ia32_minps256(t, most));
    const ints4 low = __builtin_shufflevector(integers, integers, 0, 1, 2, 3);
    const ints4 high = __builtin_shufflevector(integers, integers, 4, 5, 6, 7);
    const shorts8 shorts = (shorts8)__builtin_ia32_packusdw128(low, high);
    const bytes16 bytes = (bytes16)__builtin_ia32_packuswb128(shorts, shorts);
    bytes8 result;
    __builtin_memcpy(&result, &bytes, sizeof result);
    return result;
}

#include "isa/all.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
