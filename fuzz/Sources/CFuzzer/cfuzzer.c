#include "cfuzzer.h"

/* From libclang_rt.fuzzer_no_main, which run.sh links. */
extern int LLVMFuzzerRunDriver(int *count, char ***arguments, int (*body)(const uint8_t *, size_t));

int cfuzzer_run(int count, char **arguments, int (*body)(const uint8_t *, size_t)) {
    return LLVMFuzzerRunDriver(&count, &arguments, body);
}
