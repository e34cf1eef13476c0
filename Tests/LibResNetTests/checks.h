/* What the programs that test resnet.h share: checks that are counted, and the last error. */
#ifndef CHECKS_H
#define CHECKS_H

#include <resnet.h>
#include <stdio.h>
#include <string.h>

static int failures, checks;
static resnet_error error;

static void check(int passed, const char *what) {
    checks++;
    if (passed) return;
    failures++;
    printf("FAILED: %s (%s)\n", what, error.text);
}

/* The status, and a sentence that has the two words in it. */
static void expect(resnet_status wanted, resnet_status status, const char *word, const char *second) {
    checks++;
    printf("  %d %s\n", status, error.text);
    if (status == wanted && strstr(error.text, word) && strstr(error.text, second)) return;
    failures++;
    printf("FAILED: expected status %d with '%s' and '%s', found %d\n", wanted, word, second, status);
}

#endif
