/* The lists of algorithms, and their names. */
#include "conv/algorithms.h"

#define CK_ADDRESS(name) &ck_conv_##name,
const ck_conv_algorithm *const ck_forward_algorithms[] = {CK_FORWARD_ALGORITHMS(CK_ADDRESS) NULL};
const ck_conv_algorithm *const ck_data_gradient_algorithms[] = {CK_DATA_GRADIENT_ALGORITHMS(CK_ADDRESS) NULL};
const ck_conv_algorithm *const ck_weight_gradient_algorithms[] = {CK_WEIGHT_GRADIENT_ALGORITHMS(CK_ADDRESS) NULL};
#undef CK_ADDRESS

const char *ck_algorithm_name(ck_algorithm algorithm) {
    if (algorithm == CK_AUTO) return "auto";
    for (ck_algorithm_list at = ck_forward_algorithms; *at; at++)
        if ((*at)->id == algorithm) return (*at)->name;
    return "unknown";
}
