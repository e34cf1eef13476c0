/* resnet.h with pictures: every way to give one leads to the same answer, one that cannot be read is reported and the
 * rest done, and networks open from memory, by name, and without their last layer. scripts/test_libresnet.sh runs it.
 *
 *     pictures WEIGHTS DIGITS ONNX      (the demo's digits: safetensors, the folder of their pictures; an ONNX file) */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checks.h"

static char *contents(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(2);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    if (!bytes || fread(bytes, 1, *size, file) != *size) exit(2);
    fclose(file);
    return bytes;
}

enum { DIGITS = 4 };
static const char *const names[DIGITS] = {"six", "two", "nine", "three"};
static char paths[DIGITS][4096];
static const char *weights, *onnx;

static resnet *opened(const resnet_options *options) {
    resnet *network = NULL;
    check(resnet_open(weights, options, &network, &error) == RESNET_OK, "open");
    return network;
}

static int is_named(const resnet *network, const resnet_score *score, const char *name) {
    const char *found = resnet_class_name(network, score->index);
    return found && !strcmp(found, name);
}

/* Files, bytes and pixels; scores from pictures, from arrays that were read, and from logits. */
static void every_way(resnet_input input) {
    const resnet_options options = {.input = input, .batch = 3};
    resnet *network = opened(&options);
    resnet_info info;
    check(resnet_describe(network, &info) == RESNET_OK, "describe");
    const size_t size = (size_t)info.channels * info.height * info.width * (input == RESNET_FLOATS ? 4 : 1);
    resnet_picture files[DIGITS] = {{0}}, bytes[DIGITS] = {{0}}, pixels[DIGITS] = {{0}};
    resnet_score scores[4][DIGITS * 3];
    char *arrays = malloc(DIGITS * size), *prepared = malloc(DIGITS * (size_t)info.height * info.width);
    float *logits = malloc(DIGITS * info.classes * sizeof *logits),
          *again = malloc(DIGITS * info.classes * sizeof *logits);
    float *h = malloc(DIGITS * info.features * sizeof *h), *same_h = malloc(DIGITS * info.features * sizeof *h);
    if (!arrays || !prepared || !logits || !again || !h || !same_h) exit(2);
    for (int i = 0; i < DIGITS; i++) {
        files[i].path = paths[i];
        bytes[i].bytes = contents(paths[i], &bytes[i].size);
    }
    check(resnet_classify(network, files, DIGITS, 3, scores[0], NULL, &error) == RESNET_OK, "classify files");
    check(resnet_classify(network, bytes, DIGITS, 3, scores[1], NULL, &error) == RESNET_OK, "classify bytes");
    check(!memcmp(scores[0], scores[1], sizeof *scores), "files and bytes");
    for (int i = 0; i < DIGITS; i++) {
        check(is_named(network, &scores[0][3 * i], names[i]), names[i]);
        check(scores[0][3 * i].probability >= scores[0][3 * i + 1].probability && scores[0][3 * i].present == -1,
              "order");
    }

    check(resnet_read_pictures(network, files, DIGITS, arrays, NULL, &error) == RESNET_OK, "read");
    check(resnet_predict(network, arrays, DIGITS, logits, &error) == RESNET_OK, "predict");
    check(resnet_predict_pictures(network, files, DIGITS, again, NULL, &error) == RESNET_OK, "predict pictures");
    check(!memcmp(logits, again, DIGITS * info.classes * sizeof *logits), "arrays and pictures");
    check(resnet_top(network, logits, DIGITS, 3, scores[2], &error) == RESNET_OK, "top");
    check(!memcmp(scores[0], scores[2], sizeof *scores), "pictures and logits");
    check(resnet_embed(network, arrays, DIGITS, h, &error) == RESNET_OK, "embed");
    check(resnet_embed_pictures(network, bytes, DIGITS, same_h, NULL, &error) == RESNET_OK, "embed pictures");
    check(!memcmp(h, same_h, DIGITS * info.features * sizeof *h), "embeddings");

    /* Pixels of the network's size go through the transform unchanged. */
    const resnet_options as_bytes = {.input = RESNET_BYTES};
    resnet *reader = opened(&as_bytes);
    check(resnet_read_pictures(reader, files, DIGITS, prepared, NULL, &error) == RESNET_OK, "read bytes");
    for (int i = 0; i < DIGITS; i++) {
        pixels[i].bytes = prepared + (size_t)i * info.height * info.width;
        pixels[i].height = info.height;
        pixels[i].width = info.width;
        pixels[i].channels = 1;
    }
    check(resnet_classify(network, pixels, DIGITS, 3, scores[3], NULL, &error) == RESNET_OK, "classify pixels");
    check(!memcmp(scores[0], scores[3], sizeof *scores), "files and pixels");
    resnet_close(reader);

    float mean = 0, std = 0;
    check(resnet_normalization(network, &mean, &std, &error) == RESNET_OK && fabsf(mean - 0.5f) < 1e-6f &&
              fabsf(std - 0.5f) < 1e-6f,
          "mean and std are those that the digits were trained with");
    check(isnan(resnet_threshold(network, 0)), "one class a picture");
    check(strstr(resnet_transform(network), "\"resize\"") != NULL, "transform");
    for (int i = 0; i < DIGITS; i++) free((void *)bytes[i].bytes);
    free(same_h), free(h), free(again), free(logits), free(prepared), free(arrays);
    resnet_close(network);
}

/* Logits of several views are means of those of each. */
static void views(void) {
    printf("views:\n");
    enum { SIDE = 32, CLASSES = 10 };
    const resnet_options options = {.input = RESNET_BYTES};
    resnet *network = opened(&options), *flipped = NULL;
    unsigned char pixels[2][SIDE * SIDE];
    float logits[2][CLASSES], means[CLASSES];
    const resnet_picture picture = {.path = paths[0]};
    check(resnet_read_pictures(network, &picture, 1, pixels[0], NULL, &error) == RESNET_OK, "read");
    for (int i = 0; i < SIDE * SIDE; i++) pixels[1][i] = pixels[0][i / SIDE * SIDE + SIDE - 1 - i % SIDE];
    check(resnet_predict(network, pixels, 2, logits[0], &error) == RESNET_OK, "both sides");
    check(resnet_with_views(network, "flip", &flipped, &error) == RESNET_OK, "with views");
    expect(RESNET_UNSUPPORTED, resnet_predict(flipped, pixels, 1, means, &error), "flip", "arrays");
    resnet_close(network);
    check(resnet_predict_pictures(flipped, &picture, 1, means, NULL, &error) == RESNET_OK, "the first one is closed");
    for (int i = 0; i < CLASSES; i++)
        check(fabsf(means[i] - (logits[0][i] + logits[1][i]) / 2) < 1e-4f && fabsf(means[i] - logits[0][i]) > 1e-4f,
              "the mean of two views");
    resnet *other = flipped;
    expect(RESNET_INVALID_ARGUMENT, resnet_with_views(flipped, "flop", &other, &error), "five-crop", "'flop'");
    check(other == NULL, "no network after a failure");
    expect(RESNET_INVALID_ARGUMENT, resnet_with_views(flipped, "ten-crop", &other, &error), "ten-crop", "centerCrop");
    expect(RESNET_INVALID_ARGUMENT, resnet_with_views(flipped, NULL, &other, &error), "views", "NULL");
    expect(RESNET_INVALID_ARGUMENT, resnet_with_views(flipped, "flip", NULL, &error), "result", "NULL");
    expect(RESNET_INVALID_ARGUMENT, resnet_with_views(network, "flip", &other, &error), "network", "closed");
    resnet_close(flipped);
}

static void unreadable(void) {
    printf("pictures that cannot be read:\n");
    resnet *network = opened(NULL);
    resnet_info info;
    check(resnet_describe(network, &info) == RESNET_OK, "describe");
    const resnet_picture mixed[] = {
        {.path = paths[0]}, {.path = "/nowhere.png"}, {.bytes = "text", .size = 4}, {.path = paths[1]}};
    enum { COUNT = sizeof mixed / sizeof *mixed };
    resnet_score scores[COUNT * 2];
    resnet_error each[COUNT];
    float *h = malloc(COUNT * info.features * sizeof *h);
    float *arrays = malloc(COUNT * (size_t)info.channels * info.height * info.width * sizeof *arrays);
    if (!h || !arrays) exit(2);
    expect(RESNET_BAD_FILE, resnet_classify(network, mixed, COUNT, 2, scores, NULL, &error), "/nowhere.png",
           "no such file");
    check(resnet_classify(network, mixed, COUNT, 2, scores, each, &error) == RESNET_OK && !error.text[0],
          "with `each`");
    check(!each[0].text[0] && !each[3].text[0], "what was read has no error");
    check(strstr(each[1].text, "/nowhere.png: no such file") && strstr(each[2].text, "pictures[2]: is not a"),
          each[1].text);
    check(is_named(network, &scores[0], names[0]) && is_named(network, &scores[6], names[1]),
          "the others are answered");
    check(scores[2].index == -1 && isnan(scores[2].probability) && scores[5].index == -1, "no answer");
    check(resnet_embed_pictures(network, mixed, COUNT, h, each, &error) == RESNET_OK, "embed");
    check(!isnan(h[0]) && isnan(h[info.features]) && isnan(h[3 * info.features - 1]) && !isnan(h[3 * info.features]),
          "rows of NaN");
    check(resnet_read_pictures(network, mixed, COUNT, arrays, each, &error) == RESNET_OK && each[1].text[0], "read");
    check(!isnan(arrays[0]) && isnan(arrays[(size_t)info.height * info.width]), "arrays of NaN");
#define REFUSE(status, call, word) expect(status, call, word, "")
    const resnet_picture none = {0}, empty = {.bytes = "", .size = 0},
                         flat = {.bytes = "x", .height = 1, .channels = 1},
                         four = {.bytes = "abcd", .height = 1, .width = 1, .channels = 4},
                         vast = {.bytes = "x", .height = INT32_MAX, .width = INT32_MAX, .channels = 3},
                         foreign = {.path = "/tmp/\xff.png"};
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, &none, 1, 1, scores, NULL, &error), "pictures[0]");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, &empty, 1, 1, scores, NULL, &error), "pictures[0].size");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, &flat, 1, 1, scores, NULL, &error), "(1, 0, 1)");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, &four, 1, 1, scores, NULL, &error), "(1, 1, 4)");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, &vast, 1, 1, scores, NULL, &error), "pixels");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, &foreign, 1, 1, scores, each, &error), "UTF-8");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, mixed, 1, 0, scores, NULL, &error), "k: expected 1...10");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, mixed, 1, 11, scores, NULL, &error), "k: expected 1...10");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, mixed, 0, 1, scores, NULL, &error), "count");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, NULL, 1, 1, scores, NULL, &error), "pictures");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(network, mixed, 1, 1, NULL, NULL, &error), "scores");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_classify(NULL, mixed, 1, 1, scores, NULL, &error), "network");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_top(network, NULL, 1, 1, scores, &error), "logits");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_top(network, arrays, -1, 1, scores, &error), "count");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_normalization(network, NULL, arrays, &error), "mean");
    REFUSE(RESNET_INVALID_ARGUMENT, resnet_read_pictures(network, mixed, 1, (char *)arrays + 1, NULL, &error),
           "arrays");
    check(!resnet_transform(NULL) && isnan(resnet_threshold(NULL, 0)) && isnan(resnet_threshold(network, -1)), "NULL");
    resnet_close(network);
    /* The stored transform is scaled to the size that the network was opened for. */
    const resnet_options large = {.height = 48, .width = 48};
    network = opened(&large);
    check(resnet_classify(network, mixed, 1, 1, scores, NULL, &error) == RESNET_OK, "a larger size");
    resnet_close(network);
    free(arrays), free(h);
}

static void refuse_source(resnet_status wanted, resnet_source source, const char *model, const char *word) {
    const resnet_options options = {.model = model};
    resnet *network = (resnet *)&error;
    expect(wanted, resnet_open_source(&source, &options, &network, &error), word, "");
    check(network == NULL, "*network is NULL after a failure");
}

static void sources(void) {
    printf("where weights come from:\n");
    resnet *network = NULL;
    size_t size = 0;
    char *file = contents(weights, &size);
    resnet_source source = {.weights = file, .weights_size = size};
    check(resnet_open_source(&source, NULL, &network, &error) == RESNET_OK, "weights in memory");
    const resnet_picture picture = {.path = paths[0]};
    resnet_score score;
    check(resnet_classify(network, &picture, 1, 1, &score, NULL, &error) == RESNET_OK &&
              is_named(network, &score, names[0]),
          "weights in memory");
    resnet_close(network);

    /* Names and a transform instead of the file's. */
    const char *letters[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    source = (resnet_source){.path = weights, .class_names = letters, .class_name_count = 10, .transform = "digits"};
    check(resnet_open_source(&source, NULL, &network, &error) == RESNET_OK, "names");
    check(resnet_classify(network, &picture, 1, 1, &score, NULL, &error) == RESNET_OK && is_named(network, &score, "g"),
          "g");
    resnet_close(network);

    /* By name, with random weights: the same seed gives the same. */
    const resnet_options small = {.model = "cifar_resnet14"};
    float values[2][3] = {{0}}, *zeros = calloc(3 * 32 * 32, sizeof *zeros);
    resnet_info info;
    for (int i = 0; i < 2; i++) {
        source = (resnet_source){.classes = 3, .seed = 7};
        check(resnet_open_source(&source, &small, &network, &error) == RESNET_OK, "random weights");
        check(resnet_describe(network, &info) == RESNET_OK && info.classes == 3 && info.channels == 3 &&
                  info.height == 32 && !info.has_class_names && !strcmp(info.model, "cifar_resnet14"),
              "random weights");
        check(resnet_predict(network, zeros, 1, values[i], &error) == RESNET_OK, "random weights");
        resnet_close(network);
    }
    check(!memcmp(values[0], values[1], sizeof *values), "one seed, one network");
    int models = 0, known = 0;
    for (const char *name; (name = resnet_model_name(models)); models++) known |= !strcmp(name, "resnet50");
    check(models > 10 && known && !resnet_model_name(-1) && resnet_instruction_set(), "the library describes itself");

    /* Without its last layer: what a file has of it becomes a counter that nobody reads. */
    char *begin = strstr(file + 8, "\"fc.bias\""), *end = strstr(file + 8, "\"layer1.0.bn1.bias\"");
    if (!begin || !end) exit(2);
    char entry[256];
    memset(begin, ' ', (size_t)(end - begin));
    const int length = snprintf(entry, sizeof entry,
                                "\"x.num_batches_tracked\":{\"dtype\":\"F32\",\"shape\":[650],"
                                "\"data_offsets\":[832,3432]},");
    if (length > end - begin) exit(2);
    memcpy(begin, entry, (size_t)length);
    source = (resnet_source){.weights = file, .weights_size = size};
    check(resnet_open_source(&source, NULL, &network, &error) == RESNET_OK, "without a head");
    check(resnet_describe(network, &info) == RESNET_OK && info.classes == 0 && info.features == 64 &&
              !info.has_class_names,
          "no classes");
    resnet *whole = opened(NULL);
    float h[2][64];
    check(resnet_embed_pictures(network, &picture, 1, h[0], NULL, &error) == RESNET_OK &&
              resnet_embed_pictures(whole, &picture, 1, h[1], NULL, &error) == RESNET_OK &&
              !memcmp(h[0], h[1], sizeof *h),
          "the same embedding");
    resnet_close(whole);
    expect(RESNET_UNSUPPORTED, resnet_classify(network, &picture, 1, 1, &score, NULL, &error), "with a classifier",
           "embed");
    expect(RESNET_UNSUPPORTED, resnet_predict(network, zeros, 1, h[0], &error), "with a classifier", "embed");
    expect(RESNET_UNSUPPORTED, resnet_top(network, h[0], 1, 1, &score, &error), "with a classifier", "embed");
    resnet_close(network);

    check(resnet_open_source(NULL, NULL, &network, &error) == RESNET_INVALID_ARGUMENT, "NULL");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){0}, NULL, "source: expected path, weights");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){.weights = file}, NULL, "source.weights");
    refuse_source(RESNET_BAD_FILE, (resnet_source){.weights = file, .weights_size = 100}, NULL, "weights in memory");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){.classes = -1}, "resnet18", "classes");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){.path = weights, .transform = "imagnet"}, NULL, "'imagnet'");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){.path = weights, .transform = "{}"}, NULL,
                  "source.transform");
    refuse_source(RESNET_INVALID_ARGUMENT,
                  (resnet_source){.path = weights, .class_names = letters, .class_name_count = 2}, NULL,
                  "source.class_names: expected 10 class names for cifar_resnet8, found 2");
    refuse_source(RESNET_INVALID_ARGUMENT,
                  (resnet_source){.path = weights, .class_names = letters, .class_name_count = -2}, NULL, "found -2");
    const char *holes[10] = {"a"};
    refuse_source(RESNET_INVALID_ARGUMENT,
                  (resnet_source){.path = weights, .class_names = holes, .class_name_count = 10}, NULL,
                  "source.class_names[1]");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){.path = weights, .reserved = {"x"}}, NULL,
                  "source.reserved");
    refuse_source(RESNET_BAD_FILE, (resnet_source){.path = weights, .key = "model_ema"}, NULL, "model_ema");
    refuse_source(RESNET_BAD_FILE, (resnet_source){.path = weights, .prefix = "backbone"}, NULL, "backbone");
    free(zeros);
    free(file);
}

static void onnx_files(void) {
    printf("ONNX:\n");
    size_t size = 0;
    char *file = contents(onnx, &size);
    const resnet_source places[2] = {{.path = onnx}, {.weights = file, .weights_size = size}};
    float *logits[2] = {NULL, NULL};
    resnet_info info = {0};
    for (int i = 0; i < 2; i++) {
        resnet *network = NULL;
        check(resnet_open_source(&places[i], NULL, &network, &error) == RESNET_OK, "an ONNX file");
        check(resnet_describe(network, &info) == RESNET_OK && info.classes > 0, "an ONNX file has classes");
        float *picture = calloc((size_t)info.channels * info.height * info.width, sizeof *picture);
        logits[i] = calloc((size_t)info.classes, sizeof **logits);
        if (!picture || !logits[i]) exit(2);
        check(resnet_predict(network, picture, 1, logits[i], &error) == RESNET_OK, "an ONNX file");
        free(picture);
        resnet_close(network);
    }
    check(!memcmp(logits[0], logits[1], (size_t)info.classes * sizeof **logits), "on disk and in memory");
    refuse_source(RESNET_INVALID_ARGUMENT, (resnet_source){.path = onnx, .key = "model_ema"}, NULL, "model_ema");
    refuse_source(RESNET_INVALID_ARGUMENT, places[0], "resnet18", "describes its network");
    refuse_source(RESNET_BAD_FILE, (resnet_source){.weights = file, .weights_size = size / 2}, NULL,
                  "weights in memory");
    free(logits[0]), free(logits[1]), free(file);
}

static void *classify_often(void *network) {
    resnet_picture pictures[DIGITS] = {{0}};
    resnet_score scores[DIGITS];
    for (int i = 0; i < DIGITS; i++) pictures[i].path = paths[i];
    for (int round = 0; round < 5; round++) {
        if (resnet_classify(network, pictures, DIGITS, 1, scores, NULL, NULL) != RESNET_OK) return network;
        for (int i = 0; i < DIGITS; i++)
            if (!is_named(network, &scores[i], names[i])) return network;
    }
    return NULL;
}

static void threads_and_forks(void) {
    resnet *network = opened(NULL);
    pthread_t made[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&made[i], NULL, classify_often, network)) exit(2);
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(made[i], &bad);
        check(bad == NULL, "four threads at once");
    }
    /* A forked child goes on with the parent's network. */
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60); /* a hang is a failure */
        _exit(classify_often(network) != NULL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child");
    check(classify_often(network) == NULL, "after the fork");
    resnet_close(network);
}

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "usage: pictures WEIGHTS DIGITS ONNX\n"), 64;
    weights = arguments[1];
    onnx = arguments[3];
    for (int i = 0; i < DIGITS; i++) snprintf(paths[i], sizeof *paths, "%s/%s_1.png", arguments[2], names[i]);
    every_way(RESNET_FLOATS);
    every_way(RESNET_BYTES);
    views();
    unreadable();
    sources();
    onnx_files();
    threads_and_forks();
    printf("pictures through resnet.h: %d checks, %d failed\n", checks, failures);
    return failures != 0;
}
