/* The kernels for aarch64: 32 registers of 4 floats. */
#include "isa/kernels.h"

#if defined(__aarch64__)

#define CK_V 4
#define CK_REGISTERS 32
#define CK_SUFFIX neon
#define CK_THIS_ISA CK_ISA_NEON

#include "isa/all.inc"

#endif
