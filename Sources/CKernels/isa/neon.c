/* The kernels for aarch64: 32 registers of 4 floats. */
#include "isa/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define CK_V 4
#define CK_REGISTERS 32
#define CK_SUFFIX neon
#define CK_THIS_ISA CK_ISA_NEON
#define CK_MULTIPLY_PAIRS(a, b) vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b))
/* Leave to assemble it: GNU's assembler takes the extension from ARMv8.2 on only, which the compiler may not have been
 * asked for. */
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define ALLOW_DOT ""
#elif defined(__clang__) || defined(__ARM_FEATURE_SVE) || defined(__ARM_FEATURE_FP16_SCALAR_ARITHMETIC)
#define ALLOW_DOT ".arch_extension i8mm\n\t"
#else
#define ALLOW_DOT ".arch armv8.2-a+i8mm\n\t"
#endif
#define CK_ADD_DOT(sum, weights, x) __asm__(ALLOW_DOT "usdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(x), "w"(weights))

#include "isa/all.inc"

#endif
