/* im2col, for the convolution and for its weight gradient. */
#ifndef CK_GEMM_H
#define CK_GEMM_H

#include "conv/plan.h"

/* Pixels first...first+count of y of one image and group: column (C/g * KH * KW, count) gets the values of x that meet
 * each filter tap there, from whatever layout x has. */
void ck_im2col(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t group, int64_t first,
               int32_t count, float *column);

#endif
