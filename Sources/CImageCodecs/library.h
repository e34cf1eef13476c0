/* Libraries that are loaded when the first picture of their format is met.
 *
 * libtiff alone brings eight more libraries: linked, these three would make every start of every program 1.5 ms longer,
 * of 10 that `resnet --help` takes. So a reader declares the functions it calls as a struct of pointers, and the loader
 * fills it once. A library that is not installed makes its format CI_UNSUPPORTED, and nothing else.
 */
#ifndef CI_LIBRARY_H
#define CI_LIBRARY_H

#include <stddef.h>

/* A function's name and where its address goes. */
typedef struct {
    const char *name;
    void *target;
} ci_symbol;

/* Fills the targets from the first of `names` (ended by NULL) that can be loaded. 1 if all are found. Not thread-safe
 * by itself: call it under pthread_once. */
int ci_load_library(const char *const *names, const ci_symbol *symbols, size_t count);

/* The functions of a struct `table`, whose fields are called as the functions are. */
#define CI_FIELD(function) __typeof__(function) *function;
#define CI_SYMBOL(function) {#function, &table.function},

#endif
