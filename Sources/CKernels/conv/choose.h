/* The choice of an algorithm. */
#ifndef CK_CHOOSE_H
#define CK_CHOOSE_H

#include "conv/algorithms.h"

/* Makes `plan`, whose description and sizes are filled in, one of an algorithm of the list: the one that wisdom names,
 * else the one with the least estimated cost, or the fastest one if measuring is asked. */
ck_status ck_choose_algorithm(ck_conv_plan *plan, ck_algorithm_list list);

#endif
