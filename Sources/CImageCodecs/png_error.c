/* See png_error.h. */
#include "png_error.h"

void ci_png_fail(png_structp png, png_const_charp text) {
    png_trap *trap = png_get_error_ptr(png);
    trap->message[0] = '\0';
    ci_say(trap->message, text);
    if (trap->status == CI_OK) trap->status = CI_CORRUPT;
    longjmp(trap->escape, 1);
}

void ci_png_warn(png_structp png, png_const_charp text) {
    png_trap *trap = png_get_error_ptr(png);
    ++*trap->warnings;
    ci_say(trap->message, text);
}
