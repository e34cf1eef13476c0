/* The algorithms, each named once: X(name) stands for ck_conv_name, which its file defines. Within a list they come in
 * order of preference where the estimates tie. */
#ifndef CK_ALGORITHMS_H
#define CK_ALGORITHMS_H

#include "conv/plan.h"

#define CK_FORWARD_ALGORITHMS(X)                                                                                       \
    X(stem_winograd)                                                                                                   \
    X(stem) X(pointwise) X(winograd54) X(winograd43) X(winograd4) X(winograd2) X(winograd_stride2) X(direct) X(gemm)
/* The data gradient where it is no forward convolution. */
#define CK_DATA_GRADIENT_ALGORITHMS(X) X(data_stride2) X(data_direct) X(data_gemm)
#define CK_WEIGHT_GRADIENT_ALGORITHMS(X) X(weight_stem) X(weight_winograd) X(weight_direct) X(weight_gemm)

#define CK_DECLARE(name) extern const ck_conv_algorithm ck_conv_##name;
CK_FORWARD_ALGORITHMS(CK_DECLARE)
CK_DATA_GRADIENT_ALGORITHMS(CK_DECLARE)
CK_WEIGHT_GRADIENT_ALGORITHMS(CK_DECLARE)
#undef CK_DECLARE

/* The lists as arrays that end with NULL. */
typedef const ck_conv_algorithm *const *ck_algorithm_list;
extern const ck_conv_algorithm *const ck_forward_algorithms[], *const ck_data_gradient_algorithms[],
                                                                   *const ck_weight_gradient_algorithms[];

#endif
