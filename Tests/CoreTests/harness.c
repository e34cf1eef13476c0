#include "harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long checks, failures;

int check(int passed, const char *what, ...) {
    checks++;
    if (passed) return 1;
    if (failures++ < 40) {
        va_list arguments;
        va_start(arguments, what);
        printf("FAILED %s: ", ck_isa_name(ck_isa_active()));
        vprintf(what, arguments);
        printf("\n");
        va_end(arguments);
    }
    return 0;
}

void check_close(const float *actual, const double *expected, size_t count, const double *relative, double factor,
                 double absolute, const char *what) {
    const cr_difference d = cr_compare(actual, expected, count, relative, factor, absolute);
    check(d.worst <= 1, "%s: %g at %zu, expected %g: %g times the bound", what, d.actual, d.index, d.expected, d.worst);
}

void check_equal(const float *actual, const double *expected, size_t count, const char *what) {
    check_close(actual, expected, count, NULL, 0, 0, what);
}

void let_threads_sleep(char **arguments) {
    if (getenv("OMP_WAIT_POLICY")) return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", arguments); /* where it cannot (qemu), they spin */
}

long checks_so_far(void) { return checks; }

int end_of_checks(const char *program) {
    printf("%s %s: %ld checks, %ld failed\n", program, ck_version(), checks, failures);
    return failures != 0 || checks == 0;
}

/* ---- memory
 *
 *     | no access | slack | bytes | no access |        or        | no access | bytes | slack | no access |
 *
 * Whoever reads or writes beyond a buffer ends the test; whoever writes into the slack fails it. A buffer that ends at
 * the second page starts as far from a cache line as its size leaves: at one for multiples of 64 bytes (packed weights
 * and workspaces), at a whole channel block for blocked pictures, which is all that the library asks for. Released
 * mappings of few pages are kept for the next buffer of the same size. */

typedef struct {
    char *room; /* between the two pages */
    size_t room_bytes, bytes;
    int at_start;
} piece;

enum { MOST_PIECES = 1 << 14, KEPT_PAGES = 64, KEPT_EACH = 64 };
static piece pieces[MOST_PIECES];
static size_t held;
static int starts;
static char *kept[KEPT_PAGES + 1][KEPT_EACH];
static size_t kept_count[KEPT_PAGES + 1];

static size_t page_size(void) {
    static size_t page;
    if (!page) page = (size_t)sysconf(_SC_PAGESIZE);
    return page;
}

static char *map_room(size_t room) {
    const size_t page = page_size(), pages = room / page;
    if (pages <= KEPT_PAGES && kept_count[pages]) return kept[pages][--kept_count[pages]];
    char *all = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, room, PROT_READ | PROT_WRITE)) return NULL;
    return all + page;
}

static void unmap_room(char *room, size_t bytes) {
    const size_t page = page_size(), pages = bytes / page;
    if (pages <= KEPT_PAGES && kept_count[pages] < KEPT_EACH)
        kept[pages][kept_count[pages]++] = room;
    else
        munmap(room - page, bytes + 2 * page);
}

int place_at_start(int yes) {
    const int before = starts;
    starts = yes;
    return before;
}

void *allocate(size_t bytes) {
    const size_t page = page_size(), room = (bytes + page - 1) / page * page + (bytes == 0) * page;
    char *start = held < MOST_PIECES ? map_room(room) : NULL;
    if (!start) {
        printf("the tests ran out of memory at %zu bytes\n", bytes);
        exit(2);
    }
    cr_poison(start, room);
    pieces[held++] = (piece){start, room, bytes, starts};
    return starts ? start : start + room - bytes;
}

size_t mark(void) { return held; }

void release(size_t to_mark) {
    while (held > to_mark) {
        const piece *p = &pieces[--held];
        const size_t slack = p->room_bytes - p->bytes;
        check(cr_count_poison(p->at_start ? p->room + p->bytes : p->room, slack) == slack,
              "something was written beside a buffer of %zu bytes", p->bytes);
        unmap_room(p->room, p->room_bytes);
    }
}

void release_all(void) { release(0); }

float *floats(size_t count) { return allocate(count * sizeof(float)); }

double *doubles(size_t count) { return memset(allocate(count * sizeof(double)), 0, count * sizeof(double)); }

float *copied(const float *x, size_t count) { return memcpy(floats(count), x, count * sizeof *x); }

float *uniform(size_t count, uint64_t seed, double low, double high) {
    float *made = floats(count);
    cr_fill_uniform(made, count, seed, low, high);
    return made;
}

float *integers(size_t count, uint64_t seed, int low, int high) {
    float *made = floats(count);
    cr_fill_integers(made, count, seed, low, high);
    return made;
}

float *poisoned(int n, int c, size_t plane) { return floats(cr_blocked_count(n, c, plane, ck_block())); }

float *blocked(const float *x, int n, int c, size_t plane) {
    float *made = poisoned(n, c, plane);
    cr_to_blocked(x, n, c, plane, ck_block(), made);
    return made;
}

float *unblocked(const float *x, int n, int c, size_t plane) {
    float *made = floats((size_t)n * c * plane);
    cr_from_blocked(x, n, c, plane, ck_block(), made);
    return made;
}

float *padded(const float *x, int c) { return blocked(x, 1, c, 1); }

void check_surplus(const float *x, int n, int c, size_t plane, const char *what) {
    check(cr_surplus_nonzero(x, n, c, plane, ck_block()) == 0, "%s: surplus channels are not zero", what);
}

/* ---- convolutions */

ck_conv_desc description(const cr_conv *s, int32_t threads) {
    return (ck_conv_desc){.batch = s->n,
                          .in_channels = s->c,
                          .in_height = s->h,
                          .in_width = s->w,
                          .out_channels = s->k,
                          .kernel_height = s->kernel_h,
                          .kernel_width = s->kernel_w,
                          .stride_height = s->stride_h,
                          .stride_width = s->stride_w,
                          .pad_height = s->pad_h,
                          .pad_width = s->pad_w,
                          .dilation_height = s->dilation_h,
                          .dilation_width = s->dilation_w,
                          .groups = s->groups,
                          .threads = threads};
}

const char *shape_text(const cr_conv *s) {
    static char text[160];
    snprintf(text, sizeof text, "%dx%dx%dx%d -> %d, %dx%d/%d,%d pad %d,%d dilation %d,%d groups %d", s->n, s->c, s->h,
             s->w, s->k, s->kernel_h, s->kernel_w, s->stride_h, s->stride_w, s->pad_h, s->pad_w, s->dilation_h,
             s->dilation_w, s->groups);
    return text;
}

double error_multiple(ck_algorithm algorithm) {
    switch (algorithm) {
    case CK_WINOGRAD_2: return 2;
    case CK_STEM_WINOGRAD: return 3;
    case CK_WINOGRAD_4:
    case CK_WINOGRAD_4_3: return 5;
    case CK_WINOGRAD_STRIDE_2: return 6;
    case CK_WINOGRAD_5_4: return 10;
    default: return 1;
    }
}
