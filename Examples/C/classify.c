/* A whole network in C: weights in, classes out.
 *
 *     cc -std=c11 classify.c $(pkg-config --cflags --libs resnet) && ./a.out ../../demo/digits.safetensors
 *
 * The picture is a gradient, so the answer means nothing; with your own, fill `pictures` from a decoder. */
#include <resnet.h>
#include <stdio.h>
#include <stdlib.h>

static void must(resnet_status status, const resnet_error *error) {
    if (status == RESNET_OK) return;
    fprintf(stderr, "%s\n", error->text);
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: classify WEIGHTS\n"), 64;
    resnet_error error;
    resnet *network = NULL;
    const resnet_options options = {.input = RESNET_BYTES};
    must(resnet_open(arguments[1], &options, &network, &error), &error);
    resnet_info info;
    resnet_describe(network, &info);

    enum { PICTURES = 2 };
    const size_t bytes = (size_t)info.height * info.width * info.channels;
    unsigned char *pictures = malloc(PICTURES * bytes);
    float *logits = malloc(PICTURES * info.classes * sizeof *logits);
    float *embedding = malloc(PICTURES * info.features * sizeof *embedding);
    if (!pictures || !logits || !embedding) return 1;
    for (size_t i = 0; i < PICTURES * bytes; i++) pictures[i] = (unsigned char)(i * 255 / (PICTURES * bytes));
    must(resnet_predict(network, pictures, PICTURES, logits, &error), &error);
    must(resnet_embed(network, pictures, PICTURES, embedding, &error), &error);

    for (int picture = 0; picture < PICTURES; picture++) {
        const float *row = logits + picture * info.classes;
        int best = 0;
        for (int i = 1; i < info.classes; i++)
            if (row[i] > row[best]) best = i;
        const char *name = resnet_class_name(network, best);
        printf("%s, %dx%dx%d: picture %d is %s (%.3f), embedding of %d floats begins with %.3f\n", info.model,
               info.height, info.width, info.channels, picture, name ? name : "unnamed", row[best], info.features,
               embedding[picture * info.features]);
    }
    free(embedding);
    free(logits);
    free(pictures);
    resnet_close(network);
    return 0;
}
