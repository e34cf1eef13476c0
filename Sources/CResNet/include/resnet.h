/* resnet.h: whole networks from C, and from whatever calls C.
 *
 *     #include <resnet.h>
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     int main(int count, char **arguments) {
 *         resnet_error error;
 *         resnet *network;
 *         if (count < 2 || resnet_open(arguments[1], NULL, &network, &error) != RESNET_OK)
 *             return puts(count < 2 ? "usage: example WEIGHTS" : error.text), 1;
 *         resnet_info info;
 *         resnet_describe(network, &info);
 *         // One picture of zeros, and its logits.
 *         float *picture = calloc((size_t)info.channels * info.height * info.width, sizeof *picture);
 *         float *logits = calloc((size_t)info.classes, sizeof *logits);
 *         int failed = !picture || !logits;
 *         if (!failed) failed = resnet_predict(network, picture, 1, logits, &error) != RESNET_OK;
 *         if (!failed) printf("%s: the first of %d logits is %g\n", info.model, (int)info.classes, logits[0]);
 *         free(logits);
 *         free(picture);
 *         resnet_close(network);
 *         return failed;
 *     }
 *
 *     cc -std=c11 example.c $(pkg-config --cflags --libs resnet) && ./a.out resnet50.safetensors
 *
 * Weights are safetensors, npz, or PyTorch's .pth in all three of its containers; the model is inferred from the file.
 * Nothing here prints, exits or throws: every function that can fail returns a status and puts one sentence into
 * `error`, which may be NULL.
 *
 * Memory: pictures and results are the caller's, aligned to their type, and nothing keeps a pointer to them beyond the
 * call. A network belongs to the caller from resnet_open to resnet_close; the file of packed weights, where there is
 * one, is mapped until then and must not be overwritten in place. A network is immutable: any number of threads may use
 * one at once, and each call gets memory of its own, kept for the next. A handle that was closed, or is none, is
 * refused with RESNET_INVALID_ARGUMENT; it is never given out again.
 *
 * Threads: options.threads; 0 means OMP_NUM_THREADS if set, else the physical cores that the process may use. They are
 * the library's own and sleep between calls. A child made by fork may go on using a network: it makes threads of its
 * own at its first call. Do not fork while a call runs in another thread.
 */
#ifndef RESNET_H
#define RESNET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum resnet_status {
    RESNET_OK = 0,
    RESNET_INVALID_ARGUMENT = 1, /* NULL, a closed network, a count below 1, misaligned floats, an unknown name */
    RESNET_BAD_FILE = 2,      /* the weights, or the file of packed weights, cannot be read or are not what was asked */
    RESNET_UNSUPPORTED = 3,   /* the network does not run on such pictures, or has no embedding */
    RESNET_OUT_OF_MEMORY = 4, /* memory, or threads */
    RESNET_FAILED = 5         /* anything else; error.text says what */
} resnet_status;

typedef struct resnet_error {
    char text[512]; /* one sentence, NUL-terminated and cut; empty after a success */
} resnet_error;

typedef enum resnet_input {
    RESNET_FLOATS = 0, /* (N, channels, height, width) float, normalized as the network was trained */
    RESNET_BYTES = 1   /* (N, height, width, channels) uint8, as decoded; normalized while they are read */
} resnet_input;

/* Zero means the usual. */
typedef struct resnet_options {
    resnet_input input;
    int32_t height, width; /* of the pictures; 0: what the weights say, else the model's usual size */
    int32_t batch;         /* pictures that run at once; 0: 8. Calls may bring any number */
    int32_t threads;
    int32_t strict;    /* 1: no Winograd, nearest to a plain sum */
    const char *model; /* such as "resnet50"; NULL: inferred from the file */
    /* A file of packed weights, made if it is not there: later processes map it, start faster and share its memory. It
     * belongs to these weights and options and is refused (RESNET_BAD_FILE) with others. NULL: none. */
    const char *packed;
} resnet_options;

typedef struct resnet_info {
    resnet_input input;
    int32_t channels, height, width; /* of a picture */
    int32_t classes;                 /* floats of a picture's logits */
    int32_t features;                /* floats of a picture's embedding; 0: the network has none */
    int32_t threads;
    int32_t has_class_names;
    char model[64]; /* such as "resnet50" */
} resnet_info;

typedef struct resnet resnet;

/* "0.1.0". */
const char *resnet_version(void);
/* weights: a path, in UTF-8. options may be NULL. On failure *network is NULL. */
resnet_status resnet_open(const char *weights, const resnet_options *options, resnet **network, resnet_error *error);
resnet_status resnet_describe(const resnet *network, resnet_info *info);
/* The name of a class, NULL where the weights bring none or there is no such class; lives as long as the network. */
const char *resnet_class_name(const resnet *network, int32_t index);
/* pictures: `count` of them, one after the other, as options.input says. logits (count, classes), before softmax or
 * sigmoid. After a failure the contents of logits are undefined. */
resnet_status resnet_predict(const resnet *network, const void *pictures, int64_t count, float *logits,
                             resnet_error *error);
/* embedding (count, features): what the last layer reads. */
resnet_status resnet_embed(const resnet *network, const void *pictures, int64_t count, float *embedding,
                           resnet_error *error);
/* NULL and a closed network are fine. Calls that run in other threads end as they would. */
void resnet_close(resnet *network);

#ifdef __cplusplus
}
#endif
#endif
