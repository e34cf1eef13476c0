/* Which algorithm a convolution gets: what is known of this machine, what the cost models say, what measuring shows. */
#include "conv/choose.h"

#include "conv/measure.h"
#include "conv/wisdom.h"

/* Makes `plan` one of `algorithm`, if that applies. */
static int adopt(ck_conv_plan *plan, const ck_conv_algorithm *algorithm) {
    if (plan->d.algorithm != CK_AUTO && plan->d.algorithm != algorithm->id) return 0;
    if (plan->d.algorithm == CK_AUTO && plan->d.accuracy == CK_ACCURACY_STRICT && algorithm->rounds) return 0;
    if (plan->d.packed_type == CK_BF16 && !algorithm->packs_bf16) return 0;
    plan->algorithm = algorithm;
    if (!algorithm->applicable(plan)) return 0;
    if (algorithm->choose) algorithm->choose(plan);
    return 1;
}

/* The estimate decides; a tie goes to the earlier one in the list. */
static ck_status estimate(ck_conv_plan *plan, ck_algorithm_list list) {
    double best = 0;
    ck_conv_plan chosen = *plan;
    for (; *list; list++) {
        ck_conv_plan candidate = *plan;
        if (!adopt(&candidate, *list)) continue;
        const double cost = candidate.algorithm->cost(&candidate);
        if (chosen.algorithm && cost >= best) continue;
        best = cost;
        chosen = candidate;
    }
    if (!chosen.algorithm) return CK_UNSUPPORTED;
    *plan = chosen;
    return CK_OK;
}

/* Times the candidates that the estimate does not rule out. `plan` holds the estimate's choice and gets the fastest. */
static void measure(ck_conv_plan *plan, const ck_conv_plan *bare, ck_algorithm_list list) {
    enum { HOPELESS = 3 };
    const double estimated = plan->algorithm->cost(plan);
    double best = -1;
    for (; *list; list++) {
        ck_conv_plan candidate = *bare;
        if (!adopt(&candidate, *list) || candidate.algorithm->cost(&candidate) > HOPELESS * estimated) continue;
        const double seconds = ck_measure_plan(&candidate);
        if (seconds < 0 || (best >= 0 && seconds >= best)) continue;
        best = seconds;
        *plan = candidate;
    }
}

ck_status ck_choose_algorithm(ck_conv_plan *plan, ck_algorithm_list list) {
    if (plan->d.algorithm != CK_AUTO || plan->d.pass == CK_WEIGHT_GRADIENT) return estimate(plan, list);
    char key[CK_WISDOM_KEY];
    ck_wisdom_key(plan, key);
    ck_algorithm known;
    ck_status status = ck_wisdom_find(key, &known);
    if (status != CK_OK) return status;
    for (ck_algorithm_list at = list; *at && known != CK_AUTO; at++) {
        ck_conv_plan candidate = *plan;
        if ((*at)->id != known || !adopt(&candidate, *at)) continue;
        *plan = candidate;
        return CK_OK;
    }
    const ck_conv_plan bare = *plan;
    status = estimate(plan, list);
    if (status != CK_OK || plan->d.selection != CK_MEASURE) return status;
    measure(plan, &bare, list);
    return ck_wisdom_add(key, plan->algorithm->id);
}
