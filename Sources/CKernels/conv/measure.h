/* Timing. */
#ifndef CK_MEASURE_H
#define CK_MEASURE_H

#include "conv/plan.h"

/* Seconds of one run of a plan, the median of a few, with the caches emptied before each: warm caches choose algorithms
 * that lose in a network, where every layer finds the last one's data. Negative if memory is short. */
double ck_measure_plan(const ck_conv_plan *plan);

#endif
