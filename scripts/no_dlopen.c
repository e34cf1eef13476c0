/* For the program that has the C library inside: a library that it opened would bring a second, other C library along. So none
 * is found, and WebP, GIF, TIFF and MPI are refused in the words for machines that lack them. */
#include <dlfcn.h>
#include <stddef.h>

void *dlopen(const char *name, int mode) {
    (void)name, (void)mode;
    return NULL;
}
