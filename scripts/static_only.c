/* For the program that has the C library inside (scripts/build_standalone.sh --static). */
#include <dlfcn.h>
#include <stddef.h>

/* A library that it opened would bring a second, other C library along. So none is found, and WebP, GIF, TIFF and MPI
 * are refused in the words for machines that lack them. */
void *dlopen(const char *name, int mode) {
    (void)name, (void)mode;
    return NULL;
}

/* The Swift runtime looks for its folder in /proc and ends the process where that is not mounted, as in a bare chroot;
 * there is no such folder. These stand in for its file Paths.cpp. */
const char *swift_getRuntimeLibraryPath(void) { return NULL; }
const char *swift_getRootPath(void) { return NULL; }
const char *swift_copyAuxiliaryExecutablePath(const char *name) {
    (void)name;
    return NULL;
}

/* It reads the program's arguments there, too; the C library hands them to constructors. */
void _swift_stdlib_overrideUnsafeArgvArgc(char **arguments, int count);
__attribute__((constructor)) static void keep_arguments(int count, char **arguments) {
    _swift_stdlib_overrideUnsafeArgvArgc(arguments, count);
}
