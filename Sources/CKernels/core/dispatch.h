/* The kernels of the active ISA. */
#ifndef CK_DISPATCH_H
#define CK_DISPATCH_H

#include "isa/kernels.h"

/* The active table, choosing it first if need be; NULL with *status set when CK_ISA is wrong. */
const ck_kernels *ck_active(ck_status *status);

#endif
