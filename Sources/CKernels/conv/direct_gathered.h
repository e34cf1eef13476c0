/* Direct convolution of small results; see conv/direct_gathered.c. */
#ifndef CK_DIRECT_GATHERED_H
#define CK_DIRECT_GATHERED_H

#include "conv/plan.h"

/* Whether the plan's result is one of few pixels. Weights are packed for that, and costs estimated, whatever the number
 * of threads: a file of packed weights serves any. */
int ck_direct_has_few_pixels(const ck_conv_plan *plan);
/* Whether conv/direct.c leaves the plan to the functions below. */
int ck_direct_gathers(const ck_conv_plan *plan);
double ck_gathered_cost(const ck_conv_plan *plan);
/* Floats of a thread's workspace. */
size_t ck_gathered_floats(const ck_conv_plan *plan);
void ck_gathered_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch);

#endif
