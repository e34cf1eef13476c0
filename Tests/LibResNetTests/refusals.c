/* resnet.h as a careless or hostile host uses it: every mistake must come back as a status and a sentence that names
 * what was wrong, and no call may end the process. scripts/test_libresnet.sh runs it.
 *
 *     refusals WEIGHTS FOLDER      (safetensors of a small network; an empty folder to write in) */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checks.h"

static const char *weights, *folder;

static const char *in_folder(const char *name) {
    static char paths[4][4096];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static const char *file(const char *name, const void *contents, size_t bytes) {
    const char *path = in_folder(name);
    FILE *made = fopen(path, "wb");
    if (!made || fwrite(contents, 1, bytes, made) != bytes || fclose(made)) exit(2);
    return path;
}

enum { ALL = 1 << 30, NONE = -1, LAST = -2 };

/* The first `keep` bytes of a file (less than 0: all but so many), with one bit of byte `flip` changed. */
static const char *damaged(const char *from, const char *name, long keep, long flip) {
    FILE *whole = fopen(from, "rb");
    if (!whole || fseek(whole, 0, SEEK_END)) exit(2);
    const long size = ftell(whole), count = keep < 0 ? size + keep : keep < size ? keep : size;
    rewind(whole);
    char *contents = malloc((size_t)size);
    if (!contents || fread(contents, 1, (size_t)size, whole) != (size_t)size) exit(2);
    fclose(whole);
    if (flip == LAST) flip = size - 1;
    if (flip != NONE) contents[flip] ^= 1;
    const char *path = file(name, contents, (size_t)count);
    free(contents);
    return path;
}

static void refuse(resnet_status wanted, const char *path, const resnet_options *options, const char *word,
                   const char *second) {
    resnet *network = (resnet *)&error;
    const resnet_status status = resnet_open(path, options, &network, &error);
    expect(wanted, status, word, second);
    check(network == NULL, "*network is NULL after a failure");
}

static void files(void) {
    printf("files that are none, or not these:\n");
    refuse(RESNET_BAD_FILE, "/nowhere/x.pth", NULL, "/nowhere/x.pth", "No such file");
    refuse(RESNET_BAD_FILE, "", NULL, "No such file", "");
    refuse(RESNET_BAD_FILE, folder, NULL, folder, "directory");
    refuse(RESNET_BAD_FILE, "/dev/zero", NULL, "not a regular file", "");
    refuse(RESNET_INVALID_ARGUMENT, "/tmp/\xff\xfe.npz", NULL, "weights", "UTF-8");
    refuse(RESNET_BAD_FILE, file("empty.npz", "", 0), NULL, "empty", "");
    refuse(RESNET_BAD_FILE, file("text.npz", "Hello, this is text.", 20), NULL, "not a weight file", "text.npz");
    if (mkfifo(in_folder("pipe"), 0600) == 0)
        refuse(RESNET_BAD_FILE, in_folder("pipe"), NULL, "not a regular file", "pipe");
    const char *cut = damaged(weights, "cut.safetensors", -1000, NONE);
    refuse(RESNET_BAD_FILE, cut, NULL, "cut.safetensors", "bytes");
    refuse(RESNET_BAD_FILE, damaged(weights, "head.safetensors", 100, NONE), NULL, "head.safetensors", "bytes");
    /* Root may read everything, so as somebody else. */
    const char *secret = damaged(weights, "secret.safetensors", ALL, NONE);
    chmod(secret, 0);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534)) _exit(0);
        refuse(RESNET_BAD_FILE, secret, NULL, "secret.safetensors", "Permission denied");
        fflush(stdout);
        _exit(failures != 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "an unreadable file");
}

static void options(void) {
    printf("options:\n");
    refuse(RESNET_INVALID_ARGUMENT, NULL, NULL, "weights", "NULL");
    check(resnet_open(weights, NULL, NULL, &error) == RESNET_INVALID_ARGUMENT && strstr(error.text, "network"),
          "nowhere to put it");
    check(resnet_open(NULL, NULL, NULL, NULL) == RESNET_INVALID_ARGUMENT, "all NULL");
    const struct {
        resnet_options options;
        resnet_status status;
        const char *word, *second;
    } bad[] = {
        {{.height = -1}, RESNET_INVALID_ARGUMENT, "options.height", "found -1"},
        {{.width = 1 << 20}, RESNET_INVALID_ARGUMENT, "options.width", "1048576"},
        {{.batch = INT32_MIN}, RESNET_INVALID_ARGUMENT, "options.batch", "-2147483648"},
        {{.threads = 5000}, RESNET_INVALID_ARGUMENT, "options.threads", "5000"},
        {{.input = (resnet_input)7}, RESNET_INVALID_ARGUMENT, "options.input", "7"},
        {{.model = "resnet51"}, RESNET_INVALID_ARGUMENT, "resnet51", "resnet50"},
        {{.model = "\xff"}, RESNET_INVALID_ARGUMENT, "model", ""},
        {{.model = "resnet50"}, RESNET_BAD_FILE, weights, ""},
        {{.packed = "/nowhere/x.packed"}, RESNET_BAD_FILE, "/nowhere/x.packed", "No such file"},
        {{.packed = "/tmp/\xff"}, RESNET_INVALID_ARGUMENT, "options.packed", "UTF-8"},
        {{.packed = folder}, RESNET_BAD_FILE, folder, "directory"},
        {{.precision = "fp8"}, RESNET_INVALID_ARGUMENT, "options.precision", "bf16"},
        {{.precision = "\xff"}, RESNET_INVALID_ARGUMENT, "options.precision", "UTF-8"},
        {{.precision = "int8"}, RESNET_UNSUPPORTED, "not quantized", ""},
        {{.packed = weights}, RESNET_BAD_FILE, weights, "not a file of packed weights"},
        /* 2^32 pixels a picture: more than a convolution takes, and than there is memory for. */
        {{.height = 65536, .width = 65536, .batch = 65536}, RESNET_OUT_OF_MEMORY, "", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(bad[i].status, weights, &bad[i].options, bad[i].word, bad[i].second);
}

static void packed_files(const char *self) {
    printf("packed weights:\n");
    char path[4096];
    snprintf(path, sizeof path, "%s", in_folder("own.packed"));
    resnet_options made = {.packed = path};
    for (int i = 0; i < 2; i++) { /* made, then mapped */
        resnet *network = NULL;
        check(resnet_open(weights, &made, &network, &error) == RESNET_OK, "packed weights");
        resnet_close(network);
    }
    const resnet_options larger = {.packed = path, .height = 48, .width = 48, .strict = 1};
    refuse(RESNET_BAD_FILE, weights, &larger, "packed for", "needed is");
    refuse(RESNET_BAD_FILE, damaged(weights, "other.safetensors", ALL, LAST), &made, "packed for", "needed is");
    made.packed = damaged(path, "cut.packed", -1, NONE);
    refuse(RESNET_BAD_FILE, weights, &made, "cut.packed", "bytes long instead of");
    made.packed = damaged(path, "page.packed", 4000, NONE);
    refuse(RESNET_BAD_FILE, weights, &made, "4000 bytes long instead of 4096", "");
    made.packed = damaged(path, "format.packed", ALL, 8);
    refuse(RESNET_BAD_FILE, weights, &made, "format.packed", "this version reads");
    made.packed = damaged(path, "key.packed", ALL, 16);
    refuse(RESNET_BAD_FILE, weights, &made, "packed for another network", "");
    made.packed = file("empty.packed", "", 0);
    refuse(RESNET_BAD_FILE, weights, &made, "empty.packed", "empty");
    /* On another instruction set: this program again, with CK_ISA. */
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        setenv("CK_ISA", "portable", 1);
        execl(self, self, "--packed-elsewhere", weights, path, (char *)NULL);
        _exit(3);
    }
    int status = 0;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "packed on another instruction set");
}

typedef struct {
    resnet *network;
    const unsigned char *pictures;
    int32_t classes;
} job;

static void *predict_or_be_refused(void *argument) {
    const job *j = argument;
    float *logits = malloc(8 * (size_t)j->classes * sizeof *logits);
    resnet_status status = RESNET_OK;
    for (int i = 0; i < 50 && status == RESNET_OK; i++)
        status = resnet_predict(j->network, j->pictures, 8, logits, NULL);
    free(logits);
    /* Closed meanwhile: refused from then on. */
    return status == RESNET_OK || status == RESNET_INVALID_ARGUMENT ? NULL : argument;
}

static void calls(void) {
    printf("calls:\n");
    resnet *network = NULL;
    resnet_info info;
    check(resnet_open(weights, NULL, &network, &error) == RESNET_OK, "open");
    check(resnet_describe(network, &info) == RESNET_OK, "describe");
    const size_t floats = (size_t)info.channels * info.height * info.width;
    float *pictures = calloc(8 * floats + 1, sizeof *pictures), *logits = calloc(8 * info.classes + 1, sizeof *logits);
    float *embedding = calloc(8 * info.features + 1, sizeof *embedding);
    if (!pictures || !logits || !embedding) exit(2);
#define REFUSE(call, word) expect(RESNET_INVALID_ARGUMENT, call, word, "")
    REFUSE(resnet_predict(NULL, pictures, 1, logits, &error), "network");
    REFUSE(resnet_predict((resnet *)1, pictures, 1, logits, &error), "never opened");
    REFUSE(resnet_predict((resnet *)pictures, pictures, 1, logits, &error), "never opened");
    REFUSE(resnet_predict(network, NULL, 1, logits, &error), "pictures");
    REFUSE(resnet_predict(network, pictures, 1, NULL, &error), "logits");
    REFUSE(resnet_predict(network, pictures, 0, logits, &error), "found 0");
    REFUSE(resnet_predict(network, pictures, INT64_MIN, logits, &error), "count");
    REFUSE(resnet_predict(network, pictures, INT64_MAX, logits, &error), "count");
    REFUSE(resnet_predict(network, (char *)pictures + 1, 1, logits, &error), "pictures");
    REFUSE(resnet_predict(network, pictures, 1, (float *)((char *)logits + 2), &error), "logits");
    REFUSE(resnet_embed(network, pictures, 1, NULL, &error), "embedding");
    check(resnet_predict(network, NULL, 1, NULL, NULL) == RESNET_INVALID_ARGUMENT, "no place for the error");
    check(resnet_describe(NULL, &info) && resnet_describe(network, NULL), "describe with NULL");
    check(!resnet_class_name(NULL, 0) && !resnet_class_name(network, -1) && !resnet_class_name(network, 1 << 30),
          "no such class");
    check(resnet_predict(network, pictures, 8, logits, &error) == RESNET_OK && !error.text[0], "a sound call");
    check(resnet_embed(network, pictures, 8, embedding, NULL) == RESNET_OK, "a sound call");

    /* Forked: predict, close and open in the child, then go on in the parent. */
    fflush(stdout);
    for (int i = 0; i < 3; i++) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(60); /* a hang is a failure */
            float *mine = calloc(8 * info.classes, sizeof *mine);
            int good = resnet_predict(network, pictures, 8, mine, &error) == RESNET_OK &&
                       !memcmp(mine, logits, 8 * info.classes * sizeof *mine);
            resnet_close(network);
            good = good && resnet_open(weights, NULL, &network, NULL) == RESNET_OK &&
                   resnet_predict(network, pictures, 8, mine, NULL) == RESNET_OK;
            _exit(!good);
        }
        int status = 0;
        waitpid(child, &status, 0);
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child");
    }
    check(resnet_predict(network, pictures, 8, logits, &error) == RESNET_OK, "after the forks");

    /* Closed while 8 threads use it. */
    pthread_t threads[8];
    job shared = {network, (const unsigned char *)pictures, info.classes};
    for (int i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, predict_or_be_refused, &shared)) exit(2);
    usleep(2000);
    resnet_close(network);
    for (int i = 0; i < 8; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        check(bad == NULL, "a thread while the network is closed");
    }
    REFUSE(resnet_predict(network, pictures, 1, logits, &error), "closed");
    REFUSE(resnet_embed(network, pictures, 1, embedding, &error), "closed");
    check(resnet_describe(network, &info) == RESNET_INVALID_ARGUMENT && !resnet_class_name(network, 0), "closed");
    resnet_close(network);
    resnet_close(NULL);
    resnet_close((resnet *)pictures);
    resnet *again = NULL;
    check(resnet_open(weights, NULL, &again, &error) == RESNET_OK && again != network,
          "a handle is never given out again");
    resnet_close(again);
    free(pictures);
    free(logits);
    free(embedding);
}

int main(int count, char **arguments) {
    if (count == 4 && !strcmp(arguments[1], "--packed-elsewhere")) {
        const resnet_options options = {.packed = arguments[3]};
        refuse(RESNET_BAD_FILE, arguments[2], &options, "packed for", "needed is");
        return failures != 0;
    }
    if (count != 3) return fprintf(stderr, "usage: refusals WEIGHTS FOLDER\n"), 64;
    weights = arguments[1];
    folder = arguments[2];
    check(strlen(resnet_version()) > 0, "version");
    files();
    options();
    packed_files(arguments[0]);
    calls();
    printf("resnet.h: %d checks, %d failed\n", checks, failures);
    return failures != 0;
}
