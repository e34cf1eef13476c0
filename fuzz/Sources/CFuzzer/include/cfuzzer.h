/* libFuzzer as a library: the program keeps its own main. */
#ifndef CFUZZER_H
#define CFUZZER_H

#include <stddef.h>
#include <stdint.h>

/* Runs libFuzzer with its command line; `body` gets one input after the other. */
int cfuzzer_run(int count, char **arguments, int (*body)(const uint8_t *bytes, size_t count));

#endif
