/* Wisdom, after FFTW: what measuring taught, in memory and in a file of lines
 *
 *     ckernels wisdom 1
 *     <algorithm number> <key>
 *
 * A key names everything that the choice depends on, so a file can travel: lines of other machines never match. */
#define _GNU_SOURCE
#include "conv/wisdom.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cpu.h"

typedef struct entry {
    char key[CK_WISDOM_KEY];
    ck_algorithm algorithm;
} entry;

static const char header[] = "ckernels wisdom 1\n";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry *entries;
static size_t count, capacity;

void ck_wisdom_key(const ck_conv_plan *plan, char key[CK_WISDOM_KEY]) {
    const ck_conv_desc *d = &plan->d;
    char cpu[64];
    ck_cpu_name(cpu, sizeof cpu);
    snprintf(key, CK_WISDOM_KEY, "%s|%s %s t%d n%d c%d %dx%d k%d f%dx%d s%dx%d p%dx%d d%dx%d g%d e%u l%d a%d b%d%s",
             cpu, CK_VERSION_STRING, ck_isa_name(plan->kernels->isa), plan->threads, d->batch, d->in_channels,
             d->in_height, d->in_width, d->out_channels, d->kernel_height, d->kernel_width, d->stride_height,
             d->stride_width, d->pad_height, d->pad_width, d->dilation_height, d->dilation_width, d->groups,
             (unsigned)d->epilogue, (int)d->src_layout, (int)d->accuracy, (int)d->pass,
             d->packed_type == CK_BF16 ? " bf16" : "");
}

static entry *find(const char *key) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(entries[i].key, key)) return &entries[i];
    return NULL;
}

static ck_status add(const char *key, ck_algorithm algorithm) {
    entry *known = find(key);
    if (!known) {
        if (count == capacity) {
            const size_t wanted = capacity ? 2 * capacity : 64;
            entry *grown = realloc(entries, wanted * sizeof *grown);
            if (!grown) return CK_OUT_OF_MEMORY;
            entries = grown;
            capacity = wanted;
        }
        known = &entries[count++];
        snprintf(known->key, sizeof known->key, "%s", key);
    }
    known->algorithm = algorithm;
    return CK_OK;
}

/* Reads the whole file before anything is taken over, so that a bad one changes nothing. */
static ck_status load(const char *path) {
    enum { MOST = 16 << 20 };
    FILE *file = fopen(path, "rb");
    if (!file) return CK_FILE_ERROR;
    char line[CK_WISDOM_KEY + 16];
    ck_status status = fgets(line, sizeof line, file) && !strcmp(line, header) ? CK_OK : CK_BAD_WISDOM;
    if (ferror(file)) status = CK_FILE_ERROR; /* a directory opens, but does not read */
    for (int pass = 0; pass < 2 && status == CK_OK; pass++) {
        if (fseek(file, (long)sizeof header - 1, SEEK_SET) != 0) status = CK_FILE_ERROR;
        size_t read = 0;
        while (status == CK_OK && fgets(line, sizeof line, file)) {
            char *rest, *end = strchr(line, '\n');
            const long algorithm = strtol(line, &rest, 10);
            read += strlen(line);
            if (!end || rest == line || *rest != ' ' || algorithm <= CK_AUTO || algorithm >= CK_ALGORITHM_COUNT ||
                strlen(rest + 1) >= CK_WISDOM_KEY || read > MOST) {
                status = CK_BAD_WISDOM;
            } else if (pass == 1) {
                *end = 0;
                status = add(rest + 1, (ck_algorithm)algorithm);
            }
        }
        if (ferror(file)) status = CK_FILE_ERROR;
    }
    fclose(file);
    return status;
}

/* CK_WISDOM, once; a file that is not there yet is an empty one. */
static ck_status load_environment(void) {
    static int done;
    static ck_status status;
    if (done) return status;
    done = 1;
    const char *path = getenv("CK_WISDOM");
    if (path && *path && (access(path, F_OK) == 0 || errno != ENOENT)) status = load(path);
    return status;
}

ck_status ck_wisdom_find(const char *key, ck_algorithm *algorithm) {
    *algorithm = CK_AUTO;
    pthread_mutex_lock(&lock);
    const ck_status status = load_environment();
    const entry *known = find(key);
    if (known) *algorithm = known->algorithm;
    pthread_mutex_unlock(&lock);
    return status;
}

ck_status ck_wisdom_add(const char *key, ck_algorithm algorithm) {
    pthread_mutex_lock(&lock);
    const ck_status status = add(key, algorithm);
    pthread_mutex_unlock(&lock);
    return status;
}

ck_status ck_wisdom_load(const char *path) {
    if (!path) return CK_INVALID_ARGUMENT;
    pthread_mutex_lock(&lock);
    const ck_status status = load(path);
    pthread_mutex_unlock(&lock);
    return status;
}

ck_status ck_wisdom_save(const char *path) {
    if (!path) return CK_INVALID_ARGUMENT;
    char temporary[4096];
    const int length = snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary) return CK_INVALID_ARGUMENT;
    FILE *file = fopen(temporary, "wb");
    if (!file) return CK_FILE_ERROR;
    pthread_mutex_lock(&lock);
    int good = fputs(header, file) >= 0;
    for (size_t i = 0; i < count && good; i++)
        good = fprintf(file, "%d %s\n", (int)entries[i].algorithm, entries[i].key) > 0;
    pthread_mutex_unlock(&lock);
    good = fflush(file) == 0 && fsync(fileno(file)) == 0 && good;
    good = fclose(file) == 0 && good;
    if (good && rename(temporary, path) == 0) return CK_OK;
    unlink(temporary);
    return CK_FILE_ERROR;
}

size_t ck_wisdom_count(void) {
    pthread_mutex_lock(&lock);
    const size_t known = count;
    pthread_mutex_unlock(&lock);
    return known;
}

void ck_wisdom_forget(void) {
    pthread_mutex_lock(&lock);
    free(entries);
    entries = NULL;
    count = capacity = 0;
    pthread_mutex_unlock(&lock);
}
