/* The kernels for any CPU: vectors of four, whatever the compiler makes of them. */
#include "isa/kernels.h"

#define CK_V 4
#define CK_REGISTERS 16
#define CK_SUFFIX portable
#define CK_THIS_ISA CK_ISA_PORTABLE

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
