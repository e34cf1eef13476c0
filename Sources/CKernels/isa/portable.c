/* The kernels for any CPU: vectors of four, whatever the compiler makes of them. */
#include "isa/kernels.h"

#define CK_V 4
#define CK_REGISTERS 16
#define CK_SUFFIX portable
#define CK_THIS_ISA CK_ISA_PORTABLE

#include "isa/all.inc"
