/* Aligned memory. Large blocks are mapped on huge-page boundaries and advised for huge pages: packed weights and
 * activations are streamed through, and with 4-KiB pages the TLB misses cost more than 10 %. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ckernels.h"

enum { HUGE_PAGE = 2 << 20 };

static size_t mapped_size(size_t bytes) { return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE; }

static void *map_huge(size_t bytes) {
    const size_t size = mapped_size(bytes), reserve = size + HUGE_PAGE;
    if (reserve < bytes) return NULL;
    char *raw = mmap(NULL, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *aligned = (char *)(((uintptr_t)raw + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    const size_t head = (size_t)(aligned - raw), tail = HUGE_PAGE - head;
    if (head) munmap(raw, head);
    if (tail) munmap(aligned + size, tail);
#if defined(MADV_HUGEPAGE)
    madvise(aligned, size, MADV_HUGEPAGE); /* advice: without it things are slower, not wrong */
#endif
    return aligned;
}

void *ck_alloc(size_t bytes) {
    if (bytes >= HUGE_PAGE) return map_huge(bytes);
    void *memory = NULL;
    const size_t size = bytes ? (bytes + 63) / 64 * 64 : 64;
    if (posix_memalign(&memory, 64, size) != 0) return NULL;
    return memset(memory, 0, size);
}

void ck_free(void *memory, size_t bytes) {
    if (!memory) return;
    if (bytes >= HUGE_PAGE)
        munmap(memory, mapped_size(bytes));
    else
        free(memory);
}
