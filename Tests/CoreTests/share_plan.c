/* Many threads at once: eight share a plan, others make plans, choose the ISA and touch the wisdom meanwhile; teams of
 * 1 to 64 threads give what one gives; children of a fork compute. Under ThreadSanitizer in the serial build (make
 * test-tsan), where every thread is one that it sees. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ckernels.h"
#include "creference.h"

enum { SHARERS = 8, ROUNDS = 20, C = 48, SIZE = 14, FLOATS = C * SIZE * SIZE, MOST_TASKS = 512 };

static float x[FLOATS], w[C * C * 9], bias[64];
static float expected[FLOATS];

static void die(const char *what) {
    printf("FAILED: %s\n", what);
    exit(1);
}
static void must(ck_status status, const char *what) {
    if (status == CK_OK) return;
    printf("%s: %s\n", what, ck_status_string(status));
    exit(1);
}

static ck_conv_desc describe(ck_algorithm algorithm, int threads) {
    return (ck_conv_desc){.batch = 1,
                          .in_channels = C,
                          .in_height = SIZE,
                          .in_width = SIZE,
                          .out_channels = C,
                          .kernel_height = 3,
                          .kernel_width = 3,
                          .pad_height = 1,
                          .pad_width = 1,
                          .threads = threads,
                          .epilogue = CK_BIAS | CK_RELU,
                          .algorithm = algorithm};
}

typedef struct {
    const ck_conv_plan *plan;
    const void *packed;
    const float *src;
} shared;

/* One run of a shared plan with memory of its own; the result in plain layout. */
static void run(const shared *s, float *y) {
    const size_t bytes = ck_blocked_count(1, C, SIZE, SIZE) * sizeof(float), work = ck_conv_workspace_size(s->plan);
    float *dst = ck_alloc(bytes);
    void *workspace = ck_alloc(work);
    if (!dst || !workspace) die("memory");
    const ck_conv_args args = {.src = s->src, .packed = s->packed, .bias = bias, .dst = dst, .workspace = workspace};
    must(ck_conv_run(s->plan, &args), "run");
    must(ck_blocked_to_nchw(dst, 1, C, SIZE, SIZE, y, 1), "unblock");
    ck_free(workspace, work);
    ck_free(dst, bytes);
}

static void *share(void *argument) {
    float *y = malloc(sizeof expected);
    for (int i = 0; i < ROUNDS; i++) {
        run(argument, y);
        if (memcmp(y, expected, sizeof expected)) die("a thread got another result");
    }
    free(y);
    return NULL;
}

static void *make_plans(void *argument) {
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        const ck_conv_desc desc = describe(CK_AUTO, 1 + i % 3);
        ck_conv_plan *plan = NULL;
        must(ck_init(), "init");
        must(ck_conv_plan_create(&desc, &plan), "plan");
        ck_conv_plan_destroy(plan);
        if (i % 7 == 0) ck_wisdom_forget();
        (void)ck_wisdom_count();
        (void)ck_default_threads();
    }
    return NULL;
}

static shared prepare(ck_algorithm algorithm, int threads) {
    const ck_conv_desc desc = describe(algorithm, threads);
    ck_conv_plan *plan = NULL;
    must(ck_conv_plan_create(&desc, &plan), "plan");
    void *packed = ck_alloc(ck_conv_packed_size(plan));
    float *src = ck_alloc(ck_blocked_count(1, C, SIZE, SIZE) * sizeof *src);
    if (!packed || !src) die("memory");
    must(ck_nchw_to_blocked(x, 1, C, SIZE, SIZE, src, 1), "block");
    must(ck_conv_pack(plan, w, NULL, packed), "pack");
    return (shared){plan, packed, src};
}

static void finish(shared s) {
    ck_free((void *)s.packed, ck_conv_packed_size(s.plan));
    ck_free((void *)s.src, ck_blocked_count(1, C, SIZE, SIZE) * sizeof(float));
    ck_conv_plan_destroy((ck_conv_plan *)s.plan);
}

static void sharers(ck_algorithm algorithm) {
    shared s = prepare(algorithm, 2);
    pthread_t threads[SHARERS + 2];
    run(&s, expected);
    for (int i = 0; i < SHARERS + 2; i++)
        if (pthread_create(&threads[i], NULL, i < SHARERS ? share : make_plans, &s)) die("no thread");
    for (int i = 0; i < SHARERS + 2; i++) pthread_join(threads[i], NULL);
    finish(s);
}

/* Where a sum is cut does not depend on the team in the forward convolution. */
static void teams(ck_algorithm algorithm) {
    float *y = malloc(sizeof expected);
    for (int threads = 1; threads <= 64; threads++) {
        const shared s = prepare(algorithm, threads);
        run(&s, threads == 1 ? expected : y);
        if (threads > 1) {
            float worst = 0;
            for (int i = 0; i < FLOATS; i++) {
                const float d = y[i] > expected[i] ? y[i] - expected[i] : expected[i] - y[i];
                if (!(d <= worst)) worst = d;
            }
            if (worst > 1e-3f) die("a team got another result");
        }
        finish(s);
    }
    free(y);
}

/* A forked child computes the same. */
static void must_exit_well(const shared *s) {
    const pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        float *y = malloc(sizeof expected);
        alarm(60); /* a hang is a failure */
        run(s, y);
        _exit(memcmp(y, expected, sizeof expected) != 0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status)) die("a forked child");
}

/* With one thread, as a forked worker runs: a team of the parent does not exist in the child. */
static void forks(int threads) {
    const shared s = prepare(CK_DIRECT, threads);
    run(&s, expected);
    for (int i = 0; i < 4; i++) must_exit_well(&s);
    finish(s);
}

/* What a plan for so many threads computes, with no team at hand. */
static void expect(int threads) {
    const shared s = prepare(CK_DIRECT, threads);
    run(&s, expected);
    finish(s);
}

typedef struct {
    int threads, children;
} request;

/* Runs with a team at hand, in this process and in children of it, whose team is gone. A team within a team is the
 * same. */
static void lead(void *argument) {
    const request *r = argument;
    const shared s = prepare(CK_DIRECT, r->threads);
    float *y = malloc(sizeof expected);
    request inner = {r->threads, 0};
    for (int i = 0; i < 3; i++) {
        run(&s, y);
        if (memcmp(y, expected, sizeof expected)) die("a team that stays got another result");
        if (r->children > 0 && i == 0) must(ck_with_team(2 * r->threads, lead, &inner), "a team within a team");
        if (i < r->children) must_exit_well(&s);
    }
    free(y);
    finish(s);
}

typedef struct {
    int count, threads[MOST_TASKS];
    cpu_set_t masks[MOST_TASKS];
} tasks;

/* The threads of this process and their masks. */
static void look(tasks *t) {
    DIR *directory = opendir("/proc/self/task");
    t->count = 0;
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory)) && t->count < MOST_TASKS;) {
        const int thread = atoi(entry->d_name);
        if (thread == 0 || sched_getaffinity(thread, sizeof *t->masks, &t->masks[t->count]) != 0) continue;
        t->threads[t->count++] = thread;
    }
    closedir(directory);
}

static int differ(const tasks *a, const tasks *b) {
    for (int i = 0; i < a->count; i++)
        for (int j = 0; j < b->count; j++)
            if (a->threads[i] == b->threads[j] && !CPU_EQUAL(&a->masks[i], &b->masks[j])) return 1;
    return 0;
}

/* A mask may be narrowed while a worker waits to run elsewhere: what counts is that it comes back. */
static void lead_and_check_masks(void *argument) {
    (void)argument;
    static tasks before, after;
    request r = {4, 0};
    int looks = 0;
    look(&before);
    expect(4);
    for (int i = 0; i < 20; i++) lead(&r);
    for (look(&after); differ(&before, &after); look(&after)) {
        if (++looks == 1000) die("a team changed a mask");
        usleep(10000);
    }
}

static void *lead_with_masks(void *unused) {
    (void)unused;
    must(ck_with_team(4, lead_and_check_masks, NULL), "a team");
    return NULL;
}

/* Teams on all CPUs, and on one that they must share, leave every mask as it was. */
static void masks(void) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    cpu_set_t *sets[] = {&all, &one, &all};
    for (int m = 0; m < 3; m++) {
        pthread_t
            thread; /* a new one: OpenMP keeps the threads of an old one, with the mask that they were born with */
        if (sched_setaffinity(0, sizeof one, sets[m]) != 0) die("an affinity mask");
        if (pthread_create(&thread, NULL, lead_with_masks, NULL)) die("no thread");
        pthread_join(thread, NULL);
    }
}

int main(void) {
    static const ck_algorithm algorithms[] = {CK_DIRECT, CK_WINOGRAD_2, CK_WINOGRAD_4, CK_GEMM};
    cr_fill_uniform(x, FLOATS, 1, -1, 1);
    cr_fill_uniform(w, C * C * 9, 2, -1, 1);
    cr_fill_uniform(bias, C, 3, -1, 1);
    forks(1); /* before any team exists */
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        sharers(algorithms[i]);
        teams(algorithms[i]);
    }
    request requests[] = {{1, 1}, {2, 3}, {5, 1}, {0, 0}};
    for (int i = 0; i < 4; i++) {
        expect(requests[i].threads);
        must(ck_with_team(requests[i].threads, lead, &requests[i]), "a team");
    }
    if (ck_with_team(-1, lead, NULL) != CK_INVALID_ARGUMENT || ck_with_team(2, NULL, NULL) != CK_INVALID_ARGUMENT)
        die("a team of nothing");
    masks();
    forks(1);
    printf("8 threads on one plan, teams of 1 to 64, forks before and after: the same results\n");
    return 0;
}
