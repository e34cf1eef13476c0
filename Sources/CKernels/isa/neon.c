/* The kernels for aarch64: 32 registers of 4 floats. */
#include "isa/kernels.h"

#if defined(__aarch64__)

#define CK_V 4
#define CK_REGISTERS 32
#define CK_SUFFIX neon
#define CK_THIS_ISA CK_ISA_NEON

#include "isa/simd.inc"

#include "isa/narrow.inc"
#include "isa/norm.inc"
#include "isa/ops.inc"
#include "isa/outer.inc"
#include "isa/panel.inc"
#include "isa/rows.inc"
#include "isa/stem.inc"
#include "isa/training.inc"
#include "isa/winograd.inc"
#include "isa/winograd_gradient.inc"

#include "isa/table.inc"

#endif
