/* See library.h. */
#include "library.h"

#include <dlfcn.h>
#include <string.h>

int ci_load_library(const char *const *names, const ci_symbol *symbols, size_t count) {
    void *library = NULL;
    for (; !library && *names; names++) library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 0;
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(library, symbols[i].name);
        if (!address) return 0;
        /* POSIX lets an object pointer stand for a function; ISO C has no cast for it. */
        memcpy(symbols[i].target, &address, sizeof address);
    }
    return 1;
}
