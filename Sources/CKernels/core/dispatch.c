/* Chooses the ISA once: the best that this CPU runs, or the one that CK_ISA names. */
#include "core/dispatch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/caches.h"
#include "core/cpu.h"

static const ck_kernels *const tables[CK_ISA_COUNT] = {
    [CK_ISA_PORTABLE] = &ck_kernels_portable,
#if defined(__aarch64__)
    [CK_ISA_NEON] = &ck_kernels_neon,
#endif
#if defined(__x86_64__)
    [CK_ISA_AVX2] = &ck_kernels_avx2,
    [CK_ISA_AVX512] = &ck_kernels_avx512,
#endif
};

static const char *const names[CK_ISA_COUNT] = {"portable", "neon", "avx2", "avx512"};

static _Atomic(const ck_kernels *) active;

const char *ck_isa_name(ck_isa isa) { return (unsigned)isa < CK_ISA_COUNT ? names[isa] : "unknown"; }

ck_status ck_isa_available(ck_isa isa) {
    if ((unsigned)isa >= CK_ISA_COUNT) return CK_UNKNOWN_ISA;
    return tables[isa] && ck_cpu_supports(isa) ? CK_OK : CK_ISA_NOT_AVAILABLE;
}

ck_status ck_isa_force(ck_isa isa) {
    const ck_status status = ck_isa_available(isa);
    if (status == CK_OK) atomic_store(&active, tables[isa]);
    return status;
}

ck_status ck_init(void) {
    if (atomic_load(&active)) return CK_OK;
    const ck_status caches = ck_caches_prepare();
    if (caches != CK_OK) return caches;
    const char *wanted = getenv("CK_ISA");
    if (wanted && *wanted) {
        for (int isa = 0; isa < CK_ISA_COUNT; isa++)
            if (!strcmp(wanted, names[isa])) return ck_isa_force((ck_isa)isa);
        return CK_UNKNOWN_ISA;
    }
    for (int isa = CK_ISA_COUNT - 1; isa > 0; isa--)
        if (ck_isa_force((ck_isa)isa) == CK_OK) return CK_OK;
    return ck_isa_force(CK_ISA_PORTABLE);
}

const ck_kernels *ck_active(ck_status *status) {
    *status = ck_init();
    return *status == CK_OK ? atomic_load(&active) : NULL;
}

ck_isa ck_isa_active(void) {
    ck_status status;
    const ck_kernels *table = ck_active(&status);
    return table ? table->isa : CK_ISA_PORTABLE;
}

int32_t ck_block(void) {
    ck_status status;
    const ck_kernels *table = ck_active(&status);
    return table ? table->block : ck_kernels_portable.block;
}
