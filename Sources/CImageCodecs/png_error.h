/* libpng's errors, caught: it must not print, and its error function must not return. */
#ifndef CI_PNG_ERROR_H
#define CI_PNG_ERROR_H

#include <png.h>
#include <setjmp.h>

#include "decoder.h"

typedef struct {
    jmp_buf escape; /* set by the caller of libpng */
    char *message;  /* 200 characters */
    int32_t *warnings;
    ci_status status;
} png_trap;

/* For png_create_*_struct, with a png_trap as the error pointer. */
void ci_png_fail(png_structp png, png_const_charp text);
void ci_png_warn(png_structp png, png_const_charp text);

#endif
