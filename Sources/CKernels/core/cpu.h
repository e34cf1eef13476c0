/* What the processor and the operating system offer. */
#ifndef CK_CPU_H
#define CK_CPU_H

#include "ckernels.h"

/* 1 if code of this ISA may run: the CPU has it and the operating system saves its registers. */
int ck_cpu_supports(ck_isa isa);

#endif
