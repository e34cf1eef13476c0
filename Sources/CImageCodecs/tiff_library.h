/* The functions of libtiff that the reader calls, found when the first TIFF is met, on bytes in memory. */
#ifndef CI_TIFF_LIBRARY_H
#define CI_TIFF_LIBRARY_H

#include <tiffio.h>

#include "decoder.h"
#include "library.h"

#define CI_TIFF_COMMON(X)                                                                                              \
    X(TIFFClose)                                                                                                       \
    X(TIFFGetField)                                                                                                    \
    X(TIFFGetFieldDefaulted)                                                                                           \
    X(TIFFSetField)                                                                                                    \
    X(TIFFIsTiled)                                                                                                     \
    X(TIFFIsCODECConfigured)                                                                                           \
    X(TIFFScanlineSize64)                                                                                              \
    X(TIFFReadScanline)                                                                                                \
    X(TIFFTileRowSize64)                                                                                               \
    X(TIFFTileSize64)                                                                                                  \
    X(TIFFReadTile)                                                                                                    \
    X(TIFFReadRGBAImageOriented)

/* From 4.5 on a handle has error handlers of its own and a limit for what it allocates. */
#if TIFFLIB_VERSION >= 20221213
#define CI_TIFF_FUNCTIONS(X)                                                                                           \
    CI_TIFF_COMMON(X)                                                                                                  \
    X(TIFFClientOpenExt)                                                                                               \
    X(TIFFOpenOptionsAlloc)                                                                                            \
    X(TIFFOpenOptionsFree)                                                                                             \
    X(TIFFOpenOptionsSetErrorHandlerExtR)                                                                              \
    X(TIFFOpenOptionsSetWarningHandlerExtR)                                                                            \
    X(TIFFOpenOptionsSetMaxSingleMemAlloc)
#else
#define CI_TIFF_FUNCTIONS(X)                                                                                           \
    CI_TIFF_COMMON(X)                                                                                                  \
    X(TIFFClientOpen)                                                                                                  \
    X(TIFFSetErrorHandler)                                                                                             \
    X(TIFFSetWarningHandler)
#endif

typedef struct {
    CI_TIFF_FUNCTIONS(CI_FIELD)
} ci_tiff_library;

/* What libtiff reads, where it is, and the first thing it complained of. */
typedef struct {
    const uint8_t *bytes;
    uint64_t size, at;
    char error[200];
} ci_tiff_source;

/* NULL if libtiff is not installed. */
const ci_tiff_library *ci_tiff_load(void);

/* NULL if that fails; source->error has libtiff's words. Nothing is printed. */
TIFF *ci_tiff_open(const ci_tiff_library *library, ci_tiff_source *source);

#endif
