/* What the processor and the operating system offer. */
#ifndef CK_CPU_H
#define CK_CPU_H

#include "ckernels.h"

/* 1 if code of this ISA may run: the CPU has it and the operating system saves its registers. */
int ck_cpu_supports(ck_isa isa);

/* 1 if dot_panel of this ISA may run, which ck_cpu_supports: AVX-VNNI, AVX512-VNNI, I8MM. */
int ck_cpu_has_dot(ck_isa isa);

/* The processor's name, e.g. "AMD EPYC 9755", NUL-terminated and cut to size; "unknown" where it does not say. */
void ck_cpu_name(char *name, size_t size);

#endif
