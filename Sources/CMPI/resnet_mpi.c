/* resnet_mpi.c: the few calls of MPI that training on several machines needs, as a shared library of its own.
 *
 *     mpicc -O2 -shared -fPIC Sources/CMPI/resnet_mpi.c -o libresnet_mpi.so          (make mpi)
 *
 * The program opens it with dlopen only when it was started by mpirun, so that it runs without MPI too, and so that
 * mpi.h, whose constants Swift cannot import, is seen here only. All calls come from the thread that called
 * resnet_mpi_start. An error inside MPI ends all processes, which is MPI's default.
 *
 * Sums are not MPI_Allreduce's: MPI leaves open in which order it adds, so the last bits change with the library, the
 * number of processes and the size. Here every process gets one piece of everybody's vector, adds the pieces in an
 * order of its own choice, and sends the sum to all: as many bytes as a ring sends. */
#include <mpi.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* Numbers of MPI are int. The most that one call moves. */
enum { MOST = 1 << 28 };

/* Waits for a collective and drives it. MPI's own waiting keeps a core busy, which the computing threads need: here it
 * sleeps between looks, after some without, so that short messages are answered at once. */
static int wait_for(MPI_Request request) {
    for (int looks = 0;; looks++) {
        int done = 0;
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE)) return 1;
        if (done) return 0;
        if (looks < 64)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = looks < 1024 ? 20000 : 100000}, NULL);
    }
}

/* Starts MPI. 0, or 1 where MPI does not start. */
int32_t resnet_mpi_start(int32_t *rank, int32_t *size) {
    int provided = 0, is_there = 0, own = 0, all = 0;
    if (MPI_Initialized(&is_there) || (!is_there && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided)))
        return 1;
    if (MPI_Comm_rank(MPI_COMM_WORLD, &own) || MPI_Comm_size(MPI_COMM_WORLD, &all)) return 1;
    /* Sleeps of microseconds instead of the usual 50 more. */
    prctl(PR_SET_TIMERSLACK, 1000);
    *rank = own;
    *size = all;
    return 0;
}

/* Ends MPI; waits for the other processes. */
void resnet_mpi_stop(void) {
    int is_over = 0;
    if (!MPI_Finalized(&is_over) && !is_over) MPI_Finalize();
}

/* Ends all processes, this one too. */
void resnet_mpi_abort(int32_t code) { MPI_Abort(MPI_COMM_WORLD, code); }

/* counts[i]: the number that process i gave. */
int32_t resnet_mpi_counts(int64_t own, int64_t *counts) {
    MPI_Request request;
    return MPI_Iallgather(&own, 1, MPI_INT64_T, counts, 1, MPI_INT64_T, MPI_COMM_WORLD, &request) || wait_for(request);
}

/* Everybody's bytes, one after the other; counts as resnet_mpi_counts gave them. 2 where all together are too many. */
int32_t resnet_mpi_gather(const void *own, const int64_t *counts, void *all) {
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int *lengths = calloc(2 * (size_t)size, sizeof *lengths), *starts = lengths ? lengths + size : NULL;
    if (!lengths) return 1;
    int64_t end = 0;
    for (int i = 0; i < size; i++) {
        if (counts[i] < 0 || end + counts[i] > MOST) {
            free(lengths);
            return 2;
        }
        starts[i] = (int)end;
        lengths[i] = (int)counts[i];
        end += counts[i];
    }
    MPI_Request request;
    const int failed =
        MPI_Iallgatherv(own, lengths[rank], MPI_BYTE, all, lengths, starts, MPI_BYTE, MPI_COMM_WORLD, &request) ||
        wait_for(request);
    free(lengths);
    return failed;
}

/* Process 0's bytes to everybody. */
int32_t resnet_mpi_broadcast(void *bytes, int64_t count) {
    for (int64_t done = 0; done < count; done += MOST) {
        const int64_t rest = count - done;
        MPI_Request request;
        if (MPI_Ibcast((char *)bytes + done, (int)(rest < MOST ? rest : MOST), MPI_BYTE, 0, MPI_COMM_WORLD, &request) ||
            wait_for(request))
            return 1;
    }
    return 0;
}

/* Everybody's bytes, as many from each, one after the other: one message each way, for a few numbers. */
int32_t resnet_mpi_share(const void *own, int64_t count, void *all) {
    if (count < 0 || count > MOST) return 2;
    MPI_Request request;
    return MPI_Iallgather(own, (int)count, MPI_BYTE, all, (int)count, MPI_BYTE, MPI_COMM_WORLD, &request) ||
           wait_for(request);
}

/* Piece i of `own`, whose bytes are lengths[i], goes to process i. `received`: everybody's piece for this process, in
 * the order of the processes, lengths[rank] bytes each. */
int32_t resnet_mpi_scatter(const void *own, const int32_t *lengths, void *received) {
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int *numbers = calloc(4 * (size_t)size, sizeof *numbers);
    if (!numbers) return 1;
    int *sent = numbers, *from = numbers + size, *got = numbers + 2 * size, *to = numbers + 3 * size;
    for (int i = 0, start = 0; i < size; start += lengths[i], i++) {
        sent[i] = lengths[i];
        from[i] = start;
        got[i] = lengths[rank];
        to[i] = i * lengths[rank];
    }
    MPI_Request request;
    const int failed =
        MPI_Ialltoallv(own, sent, from, MPI_BYTE, received, got, to, MPI_BYTE, MPI_COMM_WORLD, &request) ||
        wait_for(request);
    free(numbers);
    return failed;
}

/* The pieces of a vector, this process's own in its place, to everybody. Lengths in bytes. */
int32_t resnet_mpi_collect(void *vector, const int32_t *lengths) {
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int *starts = calloc((size_t)size, sizeof *starts);
    if (!starts) return 1;
    for (int i = 1; i < size; i++) starts[i] = starts[i - 1] + lengths[i - 1];
    MPI_Request request;
    const int failed = MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, vector, lengths, starts, MPI_BYTE,
                                       MPI_COMM_WORLD, &request) ||
                       wait_for(request);
    free(starts);
    return failed;
}
