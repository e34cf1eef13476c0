/* See tiff_library.h. */
#include "tiff_library.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static ci_tiff_library table;
static int is_loaded;

static void load(void) {
#if TIFFLIB_VERSION >= 20221213
    static const char *const names[] = {"libtiff.so.6", "libtiff.so", NULL};
#else
    static const char *const names[] = {"libtiff.so.5", "libtiff.so", NULL};
#endif
    const ci_symbol symbols[] = {CI_TIFF_FUNCTIONS(CI_SYMBOL)};
    is_loaded = ci_load_library(names, symbols, sizeof symbols / sizeof *symbols);
}

const ci_tiff_library *ci_tiff_load(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return is_loaded ? &table : NULL;
}

static tmsize_t take(thandle_t handle, void *target, tmsize_t count) {
    ci_tiff_source *source = handle;
    const uint64_t left = source->at < source->size ? source->size - source->at : 0;
    const uint64_t given = count < 0 ? 0 : (uint64_t)count < left ? (uint64_t)count : left;
    memcpy(target, source->bytes + source->at, given);
    source->at += given;
    return (tmsize_t)given;
}

static tmsize_t refuse(thandle_t handle, void *bytes, tmsize_t count) {
    (void)handle, (void)bytes, (void)count;
    return -1;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    ci_tiff_source *source = handle;
    source->at = offset + (whence == SEEK_CUR ? source->at : whence == SEEK_END ? source->size : 0);
    return source->at;
}

static int stay(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t length(thandle_t handle) { return ((ci_tiff_source *)handle)->size; }

/* libtiff then reads compressed data where they lie. */
static int map(thandle_t handle, void **base, toff_t *size) {
    ci_tiff_source *source = handle;
    *base = (void *)source->bytes;
    *size = source->size;
    return 1;
}

static void unmap(thandle_t handle, void *base, toff_t size) { (void)handle, (void)base, (void)size; }

#if TIFFLIB_VERSION >= 20221213

/* More than any row, tile or strip of a picture within the pixel limit needs. */
static const tmsize_t ALLOCATION_LIMIT = (tmsize_t)1 << 30;

static int keep(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
    (void)tiff, (void)module;
    ci_tiff_source *source = user;
    if (source->error[0] == '\0') vsnprintf(source->error, sizeof source->error, format, arguments);
    return 1;
}

/* Most warnings are of tags that are unknown, which do no harm. */
static int ignore(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
    (void)tiff, (void)user, (void)module, (void)format, (void)arguments;
    return 1;
}

TIFF *ci_tiff_open(const ci_tiff_library *library, ci_tiff_source *source) {
    TIFFOpenOptions *options = library->TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    library->TIFFOpenOptionsSetErrorHandlerExtR(options, keep, source);
    library->TIFFOpenOptionsSetWarningHandlerExtR(options, ignore, NULL);
    library->TIFFOpenOptionsSetMaxSingleMemAlloc(options, ALLOCATION_LIMIT);
    TIFF *tiff =
        library->TIFFClientOpenExt("picture", "r", source, take, refuse, seek, stay, length, map, unmap, options);
    library->TIFFOpenOptionsFree(options);
    return tiff;
}

#else

TIFF *ci_tiff_open(const ci_tiff_library *library, ci_tiff_source *source) {
    library->TIFFSetErrorHandler(NULL);
    library->TIFFSetWarningHandler(NULL);
    return library->TIFFClientOpen("picture", "r", source, take, refuse, seek, stay, length, map, unmap);
}

#endif
