/* A run that only counts: see conv/balance.c. While a thread has one, ck_run_parts imagines the team. */
#ifndef CK_REHEARSAL_H
#define CK_REHEARSAL_H

#include "isa/kernels.h"

typedef struct ck_rehearsal {
    const ck_kernels *kernels; /* what would compute */
    double cycles;             /* counted by kernels since the last part began */
    ck_balance balance;        /* of the regions so far */
} ck_rehearsal;

/* The calling thread's, or NULL. */
ck_rehearsal *ck_rehearsing(void);
/* Gives the calling thread one, or takes it away; returns what it had before. */
ck_rehearsal *ck_rehearse(ck_rehearsal *rehearsal);

#endif
