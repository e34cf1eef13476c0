/* slow_link.c: a cable with a speed and a delay between two network devices that it makes, until it is ended.
 *
 *     cc -O2 -o slow_link bench/slow_link.c && sudo ./slow_link slow0 slow1 1000 1        (Mbit/s, ms, each way)
 *
 * What `tc qdisc add ... netem rate ... delay ...` does, for kernels without netem (bench/network.py puts the devices
 * into two network namespaces). A packet leaves when those before it have passed at the given rate and arrives after
 * the delay; none is lost; the directions are independent. TCP hands over up to 64 KiB at a time, as to a network card
 * that cuts them into frames itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER = 10, /* struct virtio_net_hdr before each packet */
    LARGEST = HEADER + (1 << 16),
    PLACES = 1024 /* packets that are on their way at most; those behind wait in the sender's queue */
};

typedef struct {
    int64_t arrival;
    ssize_t length;
    char *bytes;
} packet;

/* Packets from one device to the other: a ring, and a stack of memory that is free, so that the same is used again. */
typedef struct {
    int source, target;
    int64_t free; /* when the cable can take the next packet */
    unsigned first, last;
    packet ring[PLACES];
    char *memory[PLACES];
} direction;

static direction ways[2];

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int open_device(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    const int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (device < 0 || ioctl(device, TUNSETIFF, &request) ||
        ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) {
        perror(name);
        exit(1);
    }
    return device;
}

static void take(direction *way, double nanoseconds_a_byte, int64_t delay) {
    while (way->last - way->first < PLACES) {
        const unsigned used = way->last - way->first;
        packet *next = &way->ring[way->last % PLACES];
        if (!way->memory[used] && !(way->memory[used] = malloc(LARGEST))) exit(1);
        const ssize_t length = read(way->source, way->memory[used], LARGEST);
        if (length < HEADER) return;
        const int64_t time = now();
        if (way->free < time) way->free = time;
        way->free += (int64_t)((double)(length - HEADER) * nanoseconds_a_byte);
        *next = (packet){way->free + delay, length, way->memory[used]};
        way->last++;
    }
}

static void give(direction *way) {
    for (; way->first != way->last; way->first++) {
        const packet *next = &way->ring[way->first % PLACES];
        if (next->arrival > now()) return;
        /* Fails while the device is down: as if nobody listened. */
        if (write(way->target, next->bytes, (size_t)next->length) < 0 && errno == EBADF) exit(1);
        way->memory[way->last - way->first - 1] = next->bytes;
    }
}

int main(int count, char **words) {
    if (count != 5 || atof(words[3]) <= 0 || atof(words[4]) < 0) {
        fprintf(stderr, "usage: slow_link DEVICE DEVICE MBIT_PER_SECOND MILLISECONDS\n");
        return 64;
    }
    const double nanoseconds_a_byte = 8e3 / atof(words[3]);
    const int64_t delay = (int64_t)(1e6 * atof(words[4]));
    const int devices[2] = {open_device(words[1]), open_device(words[2])};
    for (int i = 0; i < 2; i++) {
        ways[i].source = devices[i];
        ways[i].target = devices[1 - i];
    }
    /* A packet is late where this process waits for a core. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    puts("ready");
    fflush(stdout);
    for (;;) {
        int64_t due = INT64_MAX;
        struct pollfd ends[2];
        for (int i = 0; i < 2; i++) {
            const direction *way = &ways[i];
            if (way->first != way->last && way->ring[way->first % PLACES].arrival < due)
                due = way->ring[way->first % PLACES].arrival;
            ends[i] = (struct pollfd){.fd = way->source, .events = way->last - way->first < PLACES ? POLLIN : 0};
        }
        const int64_t rest = due == INT64_MAX ? 0 : due - now() > 0 ? due - now() : 0;
        ppoll(ends, 2, due == INT64_MAX ? NULL : &(struct timespec){rest / 1000000000, rest % 1000000000}, NULL);
        for (int i = 0; i < 2; i++) {
            take(&ways[i], nanoseconds_a_byte, delay);
            give(&ways[i]);
        }
    }
}
