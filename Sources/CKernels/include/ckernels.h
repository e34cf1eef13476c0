/* ckernels.h: convolution and its companions for convolutional networks on CPUs. C11 and C++ clean.
 *
 * A 3x3 convolution with ReLU on a picture of 64 channels, from start to end:
 *
 *     #include <ckernels.h>
 *     #include <stdio.h>
 *
 *     enum { C = 64, K = 128, SIZE = 28 };
 *     static float x[C * SIZE * SIZE], w[K * C * 9], y[K * SIZE * SIZE];
 *
 *     int main(void) {
 *         const ck_conv_desc desc = {.batch = 1,
 *                                    .in_channels = C,
 *                                    .in_height = SIZE,
 *                                    .in_width = SIZE,
 *                                    .out_channels = K,
 *                                    .kernel_height = 3,
 *                                    .kernel_width = 3,
 *                                    .pad_height = 1,
 *                                    .pad_width = 1,
 *                                    .epilogue = CK_RELU};
 *         for (int i = 0; i < C * SIZE * SIZE; i++) x[i] = 1;
 *         for (int i = 0; i < K * C * 9; i++) w[i] = 1;
 *
 *         ck_conv_plan *plan;
 *         const ck_status status = ck_conv_plan_create(&desc, &plan);
 *         if (status != CK_OK) return puts(ck_status_string(status)), 1;
 *         const size_t packed_size = ck_conv_packed_size(plan), work_size = ck_conv_workspace_size(plan);
 *         const size_t x_size = ck_blocked_count(1, C, SIZE, SIZE) * sizeof(float);
 *         const size_t y_size = ck_blocked_count(1, K, SIZE, SIZE) * sizeof(float);
 *         void *packed = ck_alloc(packed_size), *work = ck_alloc(work_size);
 *         float *blocked_x = ck_alloc(x_size), *blocked_y = ck_alloc(y_size);
 *         if (!packed || !work || !blocked_x || !blocked_y) return puts("out of memory"), 1;
 *
 *         const ck_conv_args args = {.src = blocked_x, .packed = packed, .dst = blocked_y, .workspace = work};
 *         if (ck_conv_pack(plan, w, NULL, packed) || ck_nchw_to_blocked(x, 1, C, SIZE, SIZE, blocked_x, 0) ||
 *             ck_conv_run(plan, &args) || ck_blocked_to_nchw(blocked_y, 1, K, SIZE, SIZE, y, 0))
 *             return puts("failed"), 1;
 *         const float corner = y[0], middle = y[SIZE * SIZE / 2 + SIZE / 2];
 *         printf("corner %.2f, middle %.2f\n", corner, middle); // 4 and 9 taps of 64 channels: 256 and 576
 *
 *         ck_free(blocked_y, y_size), ck_free(blocked_x, x_size);
 *         ck_free(work, work_size), ck_free(packed, packed_size);
 *         ck_conv_plan_destroy(plan);
 *         return corner > 255.9f && corner < 256.1f && middle > 575.9f && middle < 576.1f ? 0 : 1;
 *     }
 *
 *     cc -std=c11 example.c $(pkg-config --cflags --libs ckernels)
 *
 * A network keeps its activations blocked from the first layer to the last; only its ends are converted. The stem reads
 * NCHW floats or NHWC bytes by itself (CK_STEM).
 *
 * Errors
 *     Every function that can fail returns a ck_status and says so nowhere else: there is no error state, and nothing
 *     here prints, aborts or exits. Arguments are checked, pointers for NULL and those of a convolution for
 *     alignment, before anything is written; that a buffer is as long as its shape says only the caller can know.
 *     After CK_OUT_OF_MEMORY the contents of dst are undefined.
 *
 * Memory
 *     Buffers are the caller's, always: nothing here keeps a pointer beyond the call that it came with. A plan
 *     belongs to the caller from ck_conv_plan_create to ck_conv_plan_destroy, and copies its description. Packed
 *     weights may outlive the plan or lie in a file (ck_conv_packed_format). Workspace holds nothing between runs:
 *     one serves all layers, as large as the largest needs. ck_conv_run allocates nothing; of the others only
 *     ck_conv_plan_create, ck_resize_u8 and the wisdom functions do.
 *     Alignment: packed weights and workspace 64 bytes; blocked buffers of a convolution a channel block, 4 *
 *     ck_block() bytes; all else that of its type. ck_alloc suits everything, and memory from elsewhere is as good.
 *     Overlap: dst must not overlap a source unless the function's comment allows it; then pointers are equal, and
 *     buffers never overlap in part.
 *
 * Layouts
 *     NCHW    float, plain: the layout of NumPy and PyTorch.
 *     NHWC8   uint8, plain, channels last: the layout of decoded pictures.
 *     NCHWc   float, (N, C/c, H, W, c): channels in blocks of c = ck_block() floats (16 AVX-512, 8 AVX2, 4 others).
 *             C is rounded up to whole blocks; the surplus channels of a buffer must hold zeros, and every function
 *             here keeps them zero.
 *     Sizes are int32_t and at least 1; buffers may be larger than 4 GiB.
 *
 * Threads
 *     All functions but ck_isa_force and ck_caches_force may be called from any thread at any time. A plan is immutable
 *     and may run in many threads at once, each with a workspace and a dst of its own. Functions take a thread count; 0
 *     means ck_default_threads(), 1024 is the most. Work runs on the team of ck_with_team, whose threads are the
 *     library's own, else on the OpenMP team of the calling thread, which OpenMP keeps for it: call from few,
 *     long-lived threads. Where the system gives no thread, the OpenMP library ends the process; ck_with_team does with
 *     fewer. The same arguments and thread count give the same bits, whoever computes which part. In a child of a fork
 *     one thread always works, and so does ck_with_team; else more are up to the OpenMP library (LLVM's can, GNU's
 *     hangs). OpenBLAS, where it is used, is set to one thread for the process. Subnormal numbers are computed as the
 *     calling thread's floating-point mode says; flushing them to zero is the caller's choice.
 *
 * Environment
 *     CK_ISA           portable, neon, avx2 or avx512, instead of the best there is
 *     CK_CACHES        sizes of the caches to plan for, L1, L2 and L3, e.g. 32K,512K,32M, instead of the machine's;
 *                      with the cores that share one: 32K/1,512K/1,32M/8
 *     CK_WISDOM        a file of wisdom, read before the first plan (ck_wisdom_load)
 *     OMP_NUM_THREADS  the default number of threads; read once. A value that is no number of 1 to 1024, or list of
 *                      numbers, counts as not set, and is removed before the first team: LLVM's OpenMP 14 ends the
 *                      process over an empty one
 *     OMP_STACKSIZE    the stack of each OpenMP thread; below 256 KiB or above 8 GiB it counts as not set, too
 *
 * Versions
 *     Fill structs from zero, by an initializer or memset: a field that is added later means at zero what was before.
 *     Before 1.0 a program must be compiled with the header of the library that it runs with; the soname has the
 *     major version.
 *
 * Depends on libc, libm, OpenMP and OpenBLAS; builds may leave out the last two (CK_OPENMP and CK_OPENBLAS of
 * CMakeLists.txt).
 */
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CK_API __attribute__((visibility("default")))
#else
#define CK_API
#endif

#define CK_VERSION_STRING "0.1.0"

/* ---------------------------------------------------------------- status */

typedef enum ck_status {
    CK_OK = 0,
    CK_INVALID_ARGUMENT = 1,  /* a NULL pointer, a size below 1, a shape that does not fit */
    CK_UNSUPPORTED = 2,       /* valid, but this algorithm or build does not do it */
    CK_OUT_OF_MEMORY = 3,     /* an allocation failed, or a size does not fit in size_t */
    CK_UNKNOWN_ISA = 4,       /* CK_ISA (or the name given) is no ISA this build knows */
    CK_ISA_NOT_AVAILABLE = 5, /* the ISA is known, but this CPU or operating system lacks it */
    CK_FILE_ERROR = 6,        /* a file could not be read or written; errno says why */
    CK_BAD_WISDOM = 7,        /* a wisdom file (or what CK_WISDOM names) is none; nothing was taken from it */
    CK_BAD_CACHES = 8         /* CK_CACHES is not three sizes of caches */
} ck_status;

/* One English sentence without a full stop; never NULL, also for numbers that are no status. Static: do not free. */
CK_API const char *ck_status_string(ck_status status);
/* CK_VERSION_STRING of the library, which may be another than that of the header. Static. */
CK_API const char *ck_version(void);

/* ---------------------------------------------------------------- CPU */

/* The instruction sets, best last. Detected once, with CPUID and XGETBV; the environment variable CK_ISA
 * (portable, avx2, avx512, neon) forces one. A wrong CK_ISA makes ck_init, and all that needs kernels, fail. */
typedef enum ck_isa {
    CK_ISA_PORTABLE = 0,
    CK_ISA_NEON = 1,
    CK_ISA_AVX2 = 2,
    CK_ISA_AVX512 = 3,
    CK_ISA_COUNT = 4
} ck_isa;

/* Chooses the ISA if none is chosen yet. Other functions call it themselves; call it to see the error early. */
CK_API ck_status ck_init(void);
/* Switches the process to another ISA (tests, comparisons). Not while anything runs; plans, packed weights and blocked
 * buffers made before keep the old block size: destroy them first. CK_UNKNOWN_ISA or CK_ISA_NOT_AVAILABLE change
 * nothing. */
CK_API ck_status ck_isa_force(ck_isa isa);
/* CK_OK if this CPU and build can run it. */
CK_API ck_status ck_isa_available(ck_isa isa);
/* CK_ISA_PORTABLE also where ck_init fails. */
CK_API ck_isa ck_isa_active(void);
/* As CK_ISA names it; "unknown" for what is none. Static. */
CK_API const char *ck_isa_name(ck_isa isa);
/* Floats in a channel block of NCHWc under the active ISA. */
CK_API int32_t ck_block(void);
/* One level of the data caches. */
typedef struct ck_cache_level {
    size_t bytes;  /* of one instance; 0: there is none (L3 only) */
    int32_t cores; /* that share one instance, at least 1 */
} ck_cache_level;

typedef struct ck_caches {
    ck_cache_level l1, l2, l3;
} ck_caches;

/* The caches that plans choose their block sizes for: those of the machine, or what CK_CACHES pretends. A wrong
 * CK_CACHES (CK_BAD_CACHES) makes ck_init and every plan fail. */
CK_API ck_status ck_caches_active(ck_caches *caches);
/* Pretends others for the plans made from now on (tests, comparisons). Not while anything runs. L1 and L2 of 1 KiB to
 * 1 TiB, L3 likewise or 0; CK_INVALID_ARGUMENT changes nothing. */
CK_API ck_status ck_caches_force(const ck_caches *caches);

/* Threads used when 0 is asked: OMP_NUM_THREADS if set, else the physical cores in the affinity mask, held to the
 * cgroup CPU quota. At least 1; always 1 in a build without OpenMP. */
CK_API int32_t ck_default_threads(void);
/* Calls body(context) on the calling thread, with `threads` (0: ck_default_threads()) at hand for all that is called in
 * it. The threads are there before the first call and sleep between calls; parts of the work go to whoever has
 * time for them. Without it every call opens an OpenMP region of its own, which costs microseconds more, and
 * milliseconds where other programs want the same cores. Within body a function that is asked for more threads takes
 * these. Within another team it just calls. body must return in the process that it was called in: a forked child
 * ends by _exit. */
CK_API ck_status ck_with_team(int32_t threads, void (*body)(void *context), void *context);
/* Does nothing: a team looks after its own threads. Kept for programs that call it. */
CK_API void ck_spread_threads(int32_t threads);

/* ---------------------------------------------------------------- memory */

/* 64-byte aligned, zeroed; from 2 MiB on aligned to and advised for huge pages. NULL when memory is short, and only
 * then: 0 bytes are 64. */
CK_API void *ck_alloc(size_t bytes);
/* For memory of ck_alloc only; NULL is fine. `bytes` is the size that was asked for: it decides how it is freed. */
CK_API void ck_free(void *memory, size_t bytes);

/* ---------------------------------------------------------------- layout */

/* Floats in an NCHWc buffer of this shape; 0 if a size is below 1 or the product overflows. */
CK_API size_t ck_blocked_count(int32_t n, int32_t c, int32_t h, int32_t w);
/* src (N, C, H, W) -> dst (N, C/c, H, W, c); the surplus channels of dst become zero, here and below. */
CK_API ck_status ck_nchw_to_blocked(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                                    int32_t threads);
/* src (N, C/c, H, W, c) -> dst (N, C, H, W). */
CK_API ck_status ck_blocked_to_nchw(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                                    int32_t threads);
/* src (N, H, W, C) float -> dst (N, C/c, H, W, c). */
CK_API ck_status ck_nhwc_to_blocked(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                                    int32_t threads);
/* src (N, H, W, C) bytes -> dst (N, C/c, H, W, c), value * scale[c] + shift[c]. */
CK_API ck_status ck_nhwc8_to_blocked(const uint8_t *src, int32_t n, int32_t c, int32_t h, int32_t w, const float *scale,
                                     const float *shift, float *dst, int32_t threads);

/* ---------------------------------------------------------------- convolution */

typedef enum ck_pass { CK_FORWARD = 0, CK_DATA_GRADIENT = 1, CK_WEIGHT_GRADIENT = 2 } ck_pass;

typedef enum ck_algorithm {
    CK_AUTO = 0,
    CK_DIRECT = 1,        /* NCHWc, any kernel, stride, dilation; channels of a group in whole blocks, or groups 1 */
    CK_POINTWISE = 2,     /* 1x1, no padding, stride 1 or 2 */
    CK_STEM = 3,          /* few input channels (up to 8): NCHW float or NHWC bytes in, NCHWc out */
    CK_WINOGRAD_2 = 4,    /* F(2x2, 3x3), stride 1 */
    CK_WINOGRAD_4 = 5,    /* F(4x4, 3x3), stride 1, points 0, +-5/8, +-3/2, infinity */
    CK_GEMM = 6,          /* im2col and OpenBLAS: any kernel, stride, padding, dilation, groups and src_layout */
    CK_STEM_WINOGRAD = 7, /* CK_STEM by F(4, 4) along the rows: 7 columns at stride 2 */
    CK_WINOGRAD_4_3 = 8,  /* the same with tiles of F(3x3, 3x3) at the far edges: 7 = 4 + 3 */
    CK_WINOGRAD_5_4 = 9, /* F(5x5, 3x3), stride 1, points +-9/32, +-7/8, +-15/8, infinity, and F(4x4, 3x3) on the finite
                            ones: 14 = 5 + 5 + 4 */
    CK_WINOGRAD_STRIDE_2 = 10, /* 3x3, stride 2: F(4x4, 2x2) on even pixels and F(4x4, 1x1) on odd ones, points +-1/2,
                                  +-3/2, infinity */
    CK_ALGORITHM_COUNT = 11
} ck_algorithm;

typedef enum ck_layout { CK_NCHWC = 0, CK_NCHW = 1, CK_NHWC8 = 2 } ck_layout;

/* strict: no Winograd. default: up to F(4). fast: the same today. */
typedef enum ck_accuracy { CK_ACCURACY_DEFAULT = 0, CK_ACCURACY_STRICT = 1, CK_ACCURACY_FAST = 2 } ck_accuracy;

/* How CK_AUTO chooses where no wisdom answers. estimate: a cost model, at once. measure: the applicable algorithms are
 * timed on this machine, some tens of milliseconds a convolution, and the result becomes wisdom. */
typedef enum ck_selection { CK_ESTIMATE = 0, CK_MEASURE = 1 } ck_selection;

/* What happens to a result before it is stored, in this order. The two pools exclude each other and CK_RESIDUAL
 * (CK_UNSUPPORTED). */
enum {
    CK_BIAS = 1,            /* + bias[k] */
    CK_RESIDUAL = 2,        /* + residual at the same place; NCHWc like dst, and may be dst itself */
    CK_RELU = 4,            /* max(x, 0) */
    CK_MAX_POOL_3X3_S2 = 8, /* then max pool 3x3, stride 2, padding 1: dst has the pooled size (CK_STEM only) */
    CK_GLOBAL_AVERAGE = 16  /* then the mean over H and W: dst is (N, K/c, c) */
};

/* What ck_conv_pack writes and a run reads. The sums and all else are floats. */
typedef enum ck_packed_type {
    CK_FLOAT32 = 0,
    /* bfloat16, the upper half of a float: half the bytes to read. Rounded to the nearest, halves to even, scale and
     * all; a run gives the bits that weights rounded beforehand give. Of 1x1 convolutions without padding, groups or a
     * stride above 2 (CK_POINTWISE); others are CK_UNSUPPORTED. */
    CK_BF16 = 1
} ck_packed_type;

/* Shapes of one convolution. Zero means the usual: stride, dilation and groups 1, padding 0, everything else off.
 * out_height = (in_height + 2 pad_height - dilation_height (kernel_height - 1) - 1) / stride_height + 1.
 * The desc always describes the forward convolution; a gradient's buffers follow from `pass`.
 * Limits: sizes and channels up to 2^20; kernel, stride, padding, dilation and threads up to 1024; channels are
 * multiples of groups; the kernel fits into the padded picture. Anything else is CK_INVALID_ARGUMENT. */
typedef struct ck_conv_desc {
    int32_t batch; /* the most images one run takes */
    int32_t in_channels, in_height, in_width;
    int32_t out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t pad_height, pad_width;
    int32_t dilation_height, dilation_width;
    int32_t groups;
    int32_t threads;
    uint32_t epilogue;
    ck_layout src_layout; /* of the forward input; the output is NCHWc */
    ck_pass pass;
    ck_accuracy accuracy;
    ck_algorithm algorithm;
    ck_selection selection;
    ck_packed_type packed_type;
} ck_conv_desc;

/* Buffers of one run. Blocked buffers: aligned to a channel block, ck_block() floats, so that any image of a larger
 * buffer may be one.
 *     forward:          src = x (N, C/c, H, W, c) or as src_layout says; dst = y (N, K/c, OH, OW, c)
 *     data gradient:    src = dy; dst = dx; packed holds the weights; no epilogue but CK_RESIDUAL (dx += residual)
 *     weight gradient:  src = x; grad = dy; dst = dw (K, C/groups, KH, KW) plain float, overwritten, or added to if
 *                       `accumulate` is 1
 * dst must not overlap src; residual may equal dst. */
typedef struct ck_conv_args {
    int32_t batch; /* images in this run, 1...desc.batch; 0 means desc.batch */
    const void *src;
    const void *packed; /* from ck_conv_pack */
    const float *bias;  /* (K) rounded up to whole blocks with zeros */
    const float *residual;
    const float *grad;
    const float *src_scale; /* CK_NHWC8: x = byte * src_scale[c] + src_shift[c]; padding is 0 after that */
    const float *src_shift;
    float *dst;
    void *workspace;    /* ck_conv_workspace_size bytes, 64-byte aligned; NULL if that is 0 */
    int32_t accumulate; /* weight gradient: dw += */
} ck_conv_args;

typedef struct ck_conv_plan ck_conv_plan;

/* Checks the description and chooses the algorithm. CK_UNSUPPORTED when a forced algorithm does not apply,
 * CK_OUT_OF_MEMORY for what no buffer can hold (over 2^31 pixels in a picture with its padding, over 2^46 floats); on
 * any error *plan is NULL. Give it back with ck_conv_plan_destroy. */
CK_API ck_status ck_conv_plan_create(const ck_conv_desc *desc, ck_conv_plan **plan);
/* Bytes that ck_conv_pack writes; 0 for weight gradients, which pack nothing, and for NULL. */
CK_API size_t ck_conv_packed_size(const ck_conv_plan *plan);
/* Bytes that ck_conv_run needs besides; 0: none. */
CK_API size_t ck_conv_workspace_size(const ck_conv_plan *plan);
/* oihw (K, C/groups, KH, KW); scale (K) or NULL multiplies each output channel's filter (BN folding; forward only);
 * packed: ck_conv_packed_size bytes, 64-byte aligned. Packs on the plan's threads. */
CK_API ck_status ck_conv_pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed);
/* A number that plans share only if each may run what another packed: it stands for the filter's shape, the algorithm,
 * the ISA and the order of the packed values, and changes when a release packs differently. For packed filters in
 * files; 0 for NULL. */
CK_API uint64_t ck_conv_packed_format(const ck_conv_plan *plan);
/* CK_INVALID_ARGUMENT for a NULL that the description needs, a batch out of range, or memory that is not aligned. */
CK_API ck_status ck_conv_run(const ck_conv_plan *plan, const ck_conv_args *args);
/* What was chosen; CK_AUTO for NULL. */
CK_API ck_algorithm ck_conv_plan_algorithm(const ck_conv_plan *plan);
/* Writes one line such as "winograd f4x4 avx512 14x32, 2 threads", NUL-terminated and cut to size; returns the whole
 * length without the NUL. */
CK_API size_t ck_conv_plan_describe(const ck_conv_plan *plan, char *text, size_t size);
/* Such as "winograd f4x4"; "unknown" for what is none. Static. */
CK_API const char *ck_algorithm_name(ck_algorithm algorithm);
/* How evenly a run divides among the plan's threads, computed without them: cycles of all threads together, and of the
 * thread that has most, summed over the regions at whose ends threads wait for each other. longest * threads / work is
 * 1 where all have as much. Roughly: multiply-adds are counted as they fill registers, memory is not. */
typedef struct ck_balance {
    double work, longest;
    int32_t regions;
} ck_balance;
/* For the first `batch` images, at most as many as the plan takes. Allocates what a run needs, frees it again, and runs
 * no kernel. CK_UNSUPPORTED for weight gradients and CK_GEMM. */
CK_API ck_status ck_conv_balance(const ck_conv_plan *plan, int32_t batch, ck_balance *balance);
/* NULL is fine. No run of the plan may be going on. */
CK_API void ck_conv_plan_destroy(ck_conv_plan *plan);

/* Wisdom: which algorithm measured fastest, by CPU, ISA, threads and shape; kept for the process. The file that the
 * environment variable CK_WISDOM names is loaded before the first plan, if it exists. load adds to what is known; a bad
 * file changes nothing (CK_BAD_WISDOM; CK_FILE_ERROR if it cannot be read, and errno says why). save writes a whole new
 * file and then renames it. count is that of the lines known. */
CK_API ck_status ck_wisdom_load(const char *path);
CK_API ck_status ck_wisdom_save(const char *path);
CK_API size_t ck_wisdom_count(void);
CK_API void ck_wisdom_forget(void);

/* ---------------------------------------------------------------- pooling (NCHWc in and out) */

/* Padding up to half the kernel. threads as everywhere. */
typedef struct ck_pool_desc {
    int32_t batch, channels, in_height, in_width;
    int32_t kernel_height, kernel_width, stride_height, stride_width, pad_height, pad_width;
    int32_t ceil_mode; /* 1: the output size is rounded up, as PyTorch does it */
    int32_t threads;
} ck_pool_desc;

/* (in + 2 pad - kernel) / stride + 1, or rounded up as ceil_mode says, but no window begins in the padding behind. */
CK_API ck_status ck_pool_output_size(const ck_pool_desc *desc, int32_t *out_height, int32_t *out_width);
/* Padding counts as -infinity. argmax (N, C/c, OH, OW, c) gets the offset y * W + x of each maximum; NULL: not kept. */
CK_API ck_status ck_max_pool(const ck_pool_desc *desc, const float *src, float *dst, int32_t *argmax);
/* Padding counts as zero and, as PyTorch's default, in the divisor. */
CK_API ck_status ck_average_pool(const ck_pool_desc *desc, const float *src, float *dst);
/* The same with a divisor that counts no padding. */
CK_API ck_status ck_average_pool_inside(const ck_pool_desc *desc, const float *src, float *dst);
/* Each channel blurred with (1, 2, 1)^T (1, 2, 1) / 16, the map reflected at its edges, at every `stride`th pixel both
 * ways: (N, C/c, H, W, c) -> (N, C/c, OH, OW, c) with OH = (H - 1) / stride + 1. H and W at least 2. */
CK_API ck_status ck_blur_pool(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, int32_t stride, float *dst,
                              int32_t threads);
/* A frame of so many pixels around maps of height x width. */
typedef struct ck_pad_desc {
    int32_t batch, channels, height, width;
    int32_t top, left, bottom, right;
    int32_t threads;
} ck_pad_desc;
/* src (N, C/c, H, W, c) -> dst, larger by the frame, which is filled with `value`. */
CK_API ck_status ck_pad(const ck_pad_desc *desc, const float *src, float value, float *dst);
/* The way back: dst (N, C/c, H, W, c) is src without the frame. */
CK_API ck_status ck_crop(const ck_pad_desc *desc, const float *src, float *dst);
/* (N, C/c, H, W, c) -> (N, C/c, 1, 1, c). */
CK_API ck_status ck_global_average_pool(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst,
                                        int32_t threads);

/* ---------------------------------------------------------------- linear, softmax, elementwise (plain layouts) */

/* y (N, out) = x (N, in) w^T + b; w (out, in), b (out) or NULL. x_stride, y_stride: floats between rows.
 * relu: 1 applies max(x, 0). */
CK_API ck_status ck_linear(const float *x, size_t x_stride, const float *w, const float *b, int32_t n, int32_t in,
                           int32_t out, float *y, size_t y_stride, int32_t relu, int32_t threads);
/* The same with w in bfloat16: the bits that the same numbers give as floats. */
CK_API ck_status ck_linear_bf16(const float *x, size_t x_stride, const uint16_t *w, const float *b, int32_t n,
                                int32_t in, int32_t out, float *y, size_t y_stride, int32_t relu, int32_t threads);
/* `count` floats to bfloat16, to the nearest, halves to even; NaN stays NaN. On the calling thread. */
CK_API ck_status ck_to_bf16(const float *x, size_t count, uint16_t *y);
/* x, y (rows, n): exp(x) / sum of exp(x) over each row, without overflow; y may be x. On the calling thread. */
CK_API ck_status ck_softmax(const float *x, int32_t rows, int32_t n, float *y);
/* y = a + b, then ReLU if asked; y may be a or b. count floats. */
CK_API ck_status ck_add(const float *a, const float *b, float *y, size_t count, int32_t relu, int32_t threads);
/* y = max(x, 0), NaN stays NaN; y may be x. */
CK_API ck_status ck_relu(const float *x, float *y, size_t count, int32_t threads);
/* y = x held between low and high, NaN stays NaN; y may be x. */
CK_API ck_status ck_clip(const float *x, float low, float high, float *y, size_t count, int32_t threads);
/* y = 1 / (1 + exp(-x)); y may be x. */
CK_API ck_status ck_sigmoid(const float *x, float *y, size_t count, int32_t threads);
/* y = x * scale[c] + shift[c] on (N, C/c, H, W, c); scale and shift rounded up to whole blocks; y may be x. */
CK_API ck_status ck_scale_shift(const float *x, const float *scale, const float *shift, int32_t n, int32_t c, int32_t h,
                                int32_t w, float *y, int32_t relu, int32_t threads);
/* y = x * gate [+ residual], then ReLU if asked, on (N, C/c, H, W, c): each channel of each image by its own factor,
 * gate (N, C/c, 1, 1, c). residual may be NULL; y may be x or residual. */
CK_API ck_status ck_gate(const float *x, const float *gate, const float *residual, int32_t n, int32_t c, int32_t h,
                         int32_t w, float *y, int32_t relu, int32_t threads);
/* Along the channels of x (N, C/c, 1, 1, c), one filter of an odd number of taps, zeros beyond both ends:
 * y[i] = sum of weight[k] x[i + k - kernel / 2]. x_stride, y_stride: floats between images. On the calling thread. */
CK_API ck_status ck_channel_conv(const float *x, size_t x_stride, const float *weight, int32_t n, int32_t c,
                                 int32_t kernel, float *y, size_t y_stride);
/* Copies all channels of src (N, C/c, H, W, c) to channels offset... of dst with dst_c channels: concat, a part at a
 * time. Any offset. */
CK_API ck_status ck_concat_copy(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst, int32_t dst_c,
                                int32_t offset, int32_t threads);
/* Inference BN as y = x * scale + shift: scale = gamma / sqrt(var + eps), shift = beta - mean * scale. gamma and
 * beta may be NULL (1 and 0). Computed in double, stored in float. All (c). */
CK_API ck_status ck_bn_fold(const float *gamma, const float *beta, const float *mean, const float *var, double eps,
                            int32_t c, float *scale, float *shift);

/* ---------------------------------------------------------------- pictures */

typedef enum ck_filter { CK_BILINEAR = 0, CK_BICUBIC = 1 } ck_filter;

/* Resizes the box (x0, y0)...(x1, y1) of src (H, W, C) bytes, rows src_stride bytes apart, to dst (OH, OW, C) bytes
 * with Pillow's antialiased filter in Pillow's fixed point: equal pixels. The box is in source pixels, kept as floats.
 * From Pillow 13 on the vertical pass comes first where the height shrinks by more than twice the pixels that the width
 * does, and so it does here. Allocates its taps and one picture between the passes; dst must not overlap src. */
CK_API ck_status ck_resize_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, size_t src_stride,
                              double x0, double y0, double x1, double y1, uint8_t *dst, int32_t out_height,
                              int32_t out_width, ck_filter filter, int32_t threads);

/* src (N, H, W, C) bytes -> dst (N, C, H, W) float, value * scale[c] + shift[c]. */
CK_API ck_status ck_nhwc8_to_nchw(const uint8_t *src, int32_t n, int32_t c, int32_t h, int32_t w, const float *scale,
                                  const float *shift, float *dst, int32_t threads);
/* Turns src (H, W, C) bytes as EXIF's orientation 1...8 asks: 1 copies, 2 mirrors left to right, 3 turns by 180
 * degrees, 4 mirrors top to bottom, 5 transposes, 6 turns clockwise, 7 transposes about the other diagonal, 8 turns
 * counterclockwise. dst is (W, H, C) from 5 on and must not overlap src. */
CK_API ck_status ck_orient_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, int32_t orientation,
                              uint8_t *dst);
/* Copies (count, channels) bytes of src to the first `channels` of every `total` bytes of dst: one part of each pixel.
 */
CK_API ck_status ck_interleave_u8(const uint8_t *src, size_t count, int32_t channels, uint8_t *dst, int32_t total);
/* ITU-R 601 luma of `count` RGB pixels, as Pillow's convert("L"). */
CK_API ck_status ck_grey_u8(const uint8_t *rgb, size_t count, uint8_t *gray);

/* Color changes in place, with the pixels of Pillow's ImageEnhance and of torchvision's adjust_hue on PIL pictures.
 * factor: at least 0; 1 changes nothing; 0 is black, flat gray, colorless. */
CK_API ck_status ck_brightness_u8(uint8_t *pixels, size_t bytes, float factor);
/* channels: 1 or 3. */
CK_API ck_status ck_contrast_u8(uint8_t *pixels, size_t count, int32_t channels, float factor);
CK_API ck_status ck_saturation_u8(uint8_t *rgb, size_t count, float factor);
/* turn: -0.5...0.5 of the color circle. */
CK_API ck_status ck_hue_u8(uint8_t *rgb, size_t count, double turn);
/* src (H, W, C) to dst of the same shape: 0 is smooth, more than 1 is sharper. The outermost pixels stay. dst must not
 * overlap src. */
CK_API ck_status ck_sharpness_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, float factor,
                                 uint8_t *dst);
/* counts (channels, 256): how often each channel of `count` pixels has each value. */
CK_API ck_status ck_histogram_u8(const uint8_t *pixels, size_t count, int32_t channels, uint64_t *counts);
/* Every byte of `count` pixels becomes tables[channel][byte], in place; tables (channels, 256). */
CK_API ck_status ck_lookup_u8(uint8_t *pixels, size_t count, int32_t channels, const uint8_t *tables);
/* src (H, W, C) to dst of the same shape, zeros where nothing comes from: pixel (x, y) of dst is the pixel of src at
 * (map[0] x + map[1] y + map[2], map[3] x + map[4] y + map[5]), coordinates of pixels' middles, nearest, with the
 * pixels of Pillow's Image.transform. Factors are at most 256, shifts 2^40. dst must not overlap src. */
CK_API ck_status ck_affine_u8(const uint8_t *src, int32_t height, int32_t width, int32_t channels, const double *map,
                              uint8_t *dst);

#ifdef __cplusplus
}
#endif

#include "ckernels_attention.h"
#include "ckernels_training.h"
#include "ckernels_int8.h"

#endif
