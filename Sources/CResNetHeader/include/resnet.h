/* resnet.h: whole networks from C, and from whatever calls C.
 *
 *     #include <resnet.h>
 *     #include <stdio.h>
 *
 *     int main(int count, char **arguments) {
 *         resnet_error error;
 *         resnet *network;
 *         if (count < 3) return puts("usage: example WEIGHTS PICTURE"), 64;
 *         if (resnet_open(arguments[1], NULL, &network, &error) != RESNET_OK) return puts(error.text), 1;
 *         const resnet_picture picture = {.path = arguments[2]};
 *         resnet_score best;
 *         const int failed = resnet_classify(network, &picture, 1, 1, &best, NULL, &error) != RESNET_OK;
 *         const char *name = failed ? NULL : resnet_class_name(network, best.index);
 *         if (failed) puts(error.text);
 *         if (!failed) printf("%s, %.1f%%\n", name ? name : "unnamed", 100 * best.probability);
 *         resnet_close(network);
 *         return failed;
 *     }
 *
 *     cc -std=c11 example.c $(pkg-config --cflags --libs resnet) && ./a.out resnet50.safetensors photo.jpg
 *
 * Weights are safetensors, npz, or PyTorch's .pth in all three of its containers, as a file, in memory, or a folder as
 * Hugging Face and timm write it; the network is inferred from names and shapes. ONNX files, on disk or in memory,
 * bring their network. Pictures are JPEG, PNG, WebP, GIF, BMP and TIFF, as files, in memory, or decoded. Resizing,
 * cropping, normalization and class names come with the weights, or are ImageNet's.
 *
 * Errors: nothing here prints, exits or throws. Every function that can fail returns a status and puts one sentence
 * into `error`, which may be NULL. Texts are UTF-8.
 *
 * Memory: arguments and results are the caller's, aligned to their type, and nothing keeps a pointer to them beyond the
 * call. A network belongs to the caller from resnet_open to resnet_close; the file of packed weights, where there is
 * one, is mapped until then and must not be overwritten in place. Texts that a network returns live as long as it does.
 *
 * Threads: a network is immutable: any number of threads may use one at once, and each call gets memory of its own,
 * kept for the next. A handle that was closed, or is none, is refused with RESNET_INVALID_ARGUMENT; it is never given
 * out again. A call computes on options.threads threads; 0 means OMP_NUM_THREADS if set, else the physical cores that
 * the process may use. They are the library's own and sleep between calls.
 *
 * Forks: a child made by fork may go on using a network: it makes threads of its own at its first call. Do not fork
 * while a call runs in another thread.
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
    RESNET_BAD_FILE = 2,      /* weights, packed weights or a picture that cannot be read or are not what was asked */
    RESNET_UNSUPPORTED = 3,   /* the network does not run on such pictures, has no classes, or no embedding */
    RESNET_OUT_OF_MEMORY = 4, /* memory, or threads */
    RESNET_FAILED = 5         /* anything else; error.text says what */
} resnet_status;

typedef struct resnet_error {
    char text[512]; /* one sentence, NUL-terminated and cut; empty after a success */
} resnet_error;

/* "0.1.0". */
const char *resnet_version(void);
/* The instruction set of the kernels: "avx512", "avx2", "neon" or "portable"; NULL if CK_ISA names no such one. */
const char *resnet_instruction_set(void);
/* The networks that options.model may name, from 0 on: "resnet18"...; NULL after the last. */
const char *resnet_model_name(int32_t index);

/* ------------------------------------------------- opening ------------------------------------------------- */

typedef enum resnet_input {
    RESNET_FLOATS = 0, /* (N, channels, height, width) float, normalized as the network was trained */
    RESNET_BYTES = 1   /* (N, height, width, channels) uint8, as decoded; normalized while they are read */
} resnet_input;

/* Zero means the usual. */
typedef struct resnet_options {
    resnet_input input;    /* what resnet_predict and resnet_embed take */
    int32_t height, width; /* of the pictures; 0: what the weights say, else the model's usual size */
    int32_t batch;         /* pictures that run at once; 0: 8. Calls may bring any number */
    int32_t threads;
    int32_t strict;    /* 1: no Winograd, nearest to a plain sum */
    const char *model; /* such as "resnet50"; NULL: inferred from the names and shapes of the weights */
    /* A file of packed weights, made if it is not there: later processes map it, start faster and share its memory. It
     * belongs to these weights and options and is refused (RESNET_BAD_FILE) with others. NULL: none. */
    const char *packed;
    /* "float32", "int8" (weights of `resnet quantize` only) or "bf16" (weights of 1x1 convolutions and linear layers in
     * bfloat16). NULL: int8 for quantized weights, float32 for all others. */
    const char *precision;
} resnet_options;

/* Where weights come from, and what replaces the facts stored with them. Zero means the usual. */
typedef struct resnet_source {
    const char *path;    /* a weight file or a folder; NULL: */
    const void *weights; /* the bytes of a weight file, copied; NULL: random weights of options.model */
    size_t weights_size; /* bytes */
    int32_t classes;     /* of random weights; 0: the model's usual number */
    uint64_t seed;       /* of random weights */
    /* Where a file holds several networks: the key of the one to read, such as "model_ema", and what stands before its
     * names, such as "backbone". */
    const char *key, *prefix;
    /* How a picture becomes input: "imagenet", "imagenet-v2", "inception", "cifar", "digits", or a transform as JSON.
     * NULL: as the weights say, else as usual for the network. */
    const char *transform;
    /* Names of the classes, one for each. NULL: as the weights say, else ImageNet's for 1000 classes, else none. */
    const char *const *class_names;
    int32_t class_name_count;
    const void *reserved[4]; /* NULL */
} resnet_source;

typedef struct resnet resnet;

/* weights: the path of a file or folder. options may be NULL. On failure *network is NULL. */
resnet_status resnet_open(const char *weights, const resnet_options *options, resnet **network, resnet_error *error);
/* The same for weights from anywhere: {.path = ...}, {.weights = ..., .weights_size = ...}, or {0} and
 * options.model. */
resnet_status resnet_open_source(const resnet_source *source, const resnet_options *options, resnet **network,
                                 resnet_error *error);
/* The same network for pictures of which it sees several views, whose logits and embeddings are averaged (test-time
 * augmentation): "flip": the picture and its mirror image; "five-crop": corners and middle in place of the transform's
 * crop; "ten-crop": those and their mirror images; "none". It shares the weights and is closed by itself, before or
 * after the one it was made from. resnet_predict and resnet_embed, whose arrays have been through the transform
 * already, refuse it; resnet_read_pictures gives what the transform gives. */
resnet_status resnet_with_views(const resnet *network, const char *views, resnet **result, resnet_error *error);
/* NULL and a closed network are fine. Calls that run in other threads end as they would. */
void resnet_close(resnet *network);

/* ------------------------------------------------ what it is ----------------------------------------------- */

typedef struct resnet_info {
    resnet_input input;
    int32_t channels, height, width; /* of a picture */
    int32_t classes;                 /* floats of a picture's logits; 0: the weights came without a classifier */
    int32_t features;                /* floats of a picture's embedding; 0: the network has none */
    int32_t threads;
    int32_t has_class_names;
    char model[64];     /* such as "resnet50" */
    char precision[16]; /* "float32", "int8" or "bf16" */
} resnet_info;

resnet_status resnet_describe(const resnet *network, resnet_info *info);
/* The name of a class, NULL where the classes have no names or there is no such class; lives as long as the network. */
const char *resnet_class_name(const resnet *network, int32_t index);
/* Where a picture may have several labels: from which probability on this one is present. NaN where each picture has
 * one class, and for an index that is none. */
float resnet_threshold(const resnet *network, int32_t index);
/* mean (channels) and std (channels), in 0...1: the network sees (byte / 255 - mean) / std. */
resnet_status resnet_normalization(const resnet *network, float *mean, float *std, resnet_error *error);
/* How a picture becomes input, as JSON: {"channels": 3, "exif": "apply", "steps": [...]}; NULL for no open network. */
const char *resnet_transform(const resnet *network);

/* -------------------------------------------------- arrays ------------------------------------------------- */

/* pictures: `count` of them, one after the other, as options.input says. logits (count, classes), before softmax or
 * sigmoid. After a failure the contents of logits are undefined. */
resnet_status resnet_predict(const resnet *network, const void *pictures, int64_t count, float *logits,
                             resnet_error *error);
/* embedding (count, features): what the last layer reads. */
resnet_status resnet_embed(const resnet *network, const void *pictures, int64_t count, float *embedding,
                           resnet_error *error);

typedef struct resnet_score {
    int32_t index;     /* of the class; -1 for a picture that could not be read */
    float probability; /* 0...1; NaN for a picture that could not be read */
    int32_t present;   /* 1 from the label's threshold on, else 0; -1 where each picture has one class */
} resnet_score;

/* scores (count, k): the k most probable classes of each row of logits (count, classes), the best first; 1 <= k <=
 * classes. By softmax, or by each label's sigmoid where a picture may have several. */
resnet_status resnet_top(const resnet *network, const float *logits, int64_t count, int32_t k, resnet_score *scores,
                         resnet_error *error);

/* ------------------------------------------------- pictures ------------------------------------------------ */

/* {.path = "photo.jpg"}, {.bytes = file, .size = file_size}, or {.bytes = pixels, .height = h, .width = w,
 * .channels = c}. */
typedef struct resnet_picture {
    const char *path;  /* a picture file of any supported format; NULL: */
    const void *bytes; /* the contents of one, or, where height is not 0, pixels (height, width, channels), uint8 */
    size_t size;       /* bytes of the contents of a file; not read for pixels */
    int32_t height, width, channels; /* of pixels, with 1 (gray) or 3 (RGB) channels; 0 for files */
} resnet_picture;

/* Each of these takes any number of pictures, decodes them on several threads ahead of the network, and takes them
 * through the network's transform. Without `each`, a picture that cannot be read ends the call with its error. With
 * `each` (count), the call goes on: each[i] is empty for a picture that was read and says why for one that was not,
 * whose results are NaN (scores: index -1). */

/* scores (count, k): the k most probable classes of each picture, the best first; 1 <= k <= classes. */
resnet_status resnet_classify(const resnet *network, const resnet_picture *pictures, int64_t count, int32_t k,
                              resnet_score *scores, resnet_error *each, resnet_error *error);
/* embedding (count, features). */
resnet_status resnet_embed_pictures(const resnet *network, const resnet_picture *pictures, int64_t count,
                                    float *embedding, resnet_error *each, resnet_error *error);
/* logits (count, classes). */
resnet_status resnet_predict_pictures(const resnet *network, const resnet_picture *pictures, int64_t count,
                                      float *logits, resnet_error *each, resnet_error *error);
/* arrays: the pictures resized, cropped and, as floats, normalized: what resnet_predict takes. A picture that was not
 * read has bytes of 0 or floats of NaN. */
resnet_status resnet_read_pictures(const resnet *network, const resnet_picture *pictures, int64_t count, void *arrays,
                                   resnet_error *each, resnet_error *error);

#ifdef __cplusplus
}
#endif
#endif
