/* A whole network in C: pictures in, classes and embeddings out.
 *
 *     cc -std=c11 classify.c $(pkg-config --cflags --libs resnet)
 *     ./a.out ../../demo/digits.safetensors ../../demo/digits/six_1.png ../../demo/digits/two_1.png */
#include <resnet.h>
#include <stdio.h>
#include <stdlib.h>

static void must(resnet_status status, const resnet_error *error) {
    if (status == RESNET_OK) return;
    fprintf(stderr, "%s\n", error->text);
    exit(1);
}

int main(int count, char **arguments) {
    if (count < 3) return fprintf(stderr, "usage: classify WEIGHTS PICTURE...\n"), 64;
    resnet_error error;
    resnet *network = NULL;
    must(resnet_open(arguments[1], NULL, &network, &error), &error);
    resnet_info info;
    resnet_describe(network, &info);

    const int files = count - 2, top = info.classes < 3 ? info.classes : 3;
    resnet_picture *pictures = calloc(files, sizeof *pictures);
    resnet_score *scores = calloc((size_t)files * top, sizeof *scores);
    resnet_error *each = calloc(files, sizeof *each);
    float *embedding = calloc((size_t)files * info.features, sizeof *embedding);
    if (!pictures || !scores || !each || !embedding) return 1;
    for (int i = 0; i < files; i++) pictures[i].path = arguments[2 + i];

    must(resnet_classify(network, pictures, files, top, scores, each, &error), &error);
    must(resnet_embed_pictures(network, pictures, files, embedding, each, &error), &error);
    int failed = 0;
    for (int i = 0; i < files; i++) {
        if (each[i].text[0]) {
            fprintf(stderr, "%s\n", each[i].text);
            failed = 1;
            continue;
        }
        printf("%s:", pictures[i].path);
        for (int j = 0; j < top; j++) {
            const resnet_score *score = &scores[i * top + j];
            const char *name = resnet_class_name(network, score->index);
            printf(" %s %.1f%%,", name ? name : "unnamed", 100 * score->probability);
        }
        printf(" embedding of %d floats begins with %.3f\n", info.features, embedding[i * info.features]);
    }
    free(embedding);
    free(each);
    free(scores);
    free(pictures);
    resnet_close(network);
    return failed;
}
