/* What was measured on this machine: which algorithm is fastest for a convolution. */
#ifndef CK_WISDOM_H
#define CK_WISDOM_H

#include "conv/plan.h"

enum { CK_WISDOM_KEY = 256 };

/* The key of a planned description: CPU, ISA, threads, shapes, epilogue and all else that decides. */
void ck_wisdom_key(const ck_conv_plan *plan, char key[CK_WISDOM_KEY]);
/* CK_AUTO if nothing is known. Loads the file that CK_WISDOM names first, once; a bad one is an error each time. */
ck_status ck_wisdom_find(const char *key, ck_algorithm *algorithm);
ck_status ck_wisdom_add(const char *key, ck_algorithm algorithm);

#endif
