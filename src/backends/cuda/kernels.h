/* kernels.h - what the host calls of the kernels: launchers that enqueue on a stream and return at once.
 * Plain C types; numbers are RvDType and RvAct (base/array.h, tensor/op.h). */
#pragma once
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An operand: pixels (tokens) of `channels` elements, `stride` elements from one pixel to the next. */
typedef struct {
    void *data; /* NULL when absent */
    int dtype;
    int channels;
    int64_t pixels;
    int64_t stride;
    float factor; /* of results in F8_E4M3 (norms, GLU): what they are multiplied by */
} CudaView;

/* Written by the first thread that finds a value it cannot work with (a token that the table lacks); pinned
 * host memory, read after the run. */
typedef struct {
    uint64_t op;      /* the address of the host's RvOp; 0: all is well */
    int index, value; /* of the element */
} CudaFault;

/* Where a kernel reports: `claim` is device memory, 0 until a thread has taken the right to write. */
typedef struct {
    CudaFault *fault;
    unsigned *claim;
    uint64_t op;
} CudaReport;

/* Whether the module holds code for the current device. */
cudaError_t cuda_kernels_probe(void);

/* Bytes, a multiple of 16, between pinned memory of the host and the device, either way. */
cudaError_t cuda_kernel_transfer(void *to, const void *from, size_t bytes, cudaStream_t stream);

/* Elementwise ops: views F32, F16 or BF16 (convert: U8 too) in any mixture; `out` has as many pixels and
 * channels as x unless said otherwise, and may be x itself. `is_exact`: transcendental functions to float32's
 * precision. */
void cuda_kernel_act(CudaView x, CudaView out, int act, int is_exact, cudaStream_t stream);
/* x has twice out's channels. */
void cuda_kernel_glu(CudaView x, CudaView out, int is_exact, cudaStream_t stream);
/* b has as many pixels as a, or one for each `plane` of a's pixels (per_image), or one plane that repeats. */
void cuda_kernel_add(CudaView a, CudaView b, CudaView out, int64_t plane, int per_image, cudaStream_t stream);
/* out = a * x + b * y; a and b: F32, one element or one for each of pixels that repeat, or absent (1). */
void cuda_kernel_mix(CudaView x, CudaView y, CudaView a, CudaView b, CudaView out, cudaStream_t stream);
void cuda_kernel_concat(CudaView a, CudaView b, CudaView out, cudaStream_t stream);
void cuda_kernel_convert(CudaView x, CudaView out, float scale, float shift, cudaStream_t stream);

/* Norms: weight and bias are F32 of x's channels each, 32-byte aligned. */
typedef struct {
    CudaView x, out;
    const float *weight, *bias;
    float eps;
    int act, is_exact;
} CudaNorm;

void cuda_kernel_layer_norm(const CudaNorm *norm, cudaStream_t stream);

/* How a group norm is cut up, a function of shape and variant alone, so that sums have the same bits in every
 * run. */
typedef struct {
    int cluster;               /* blocks that hold a tile of an image in shared memory; 0: two passes */
    int images, groups, width; /* width: elements of a vector, 8 or 1 */
    int64_t plane;             /* pixels of an image */
    int columns, tiles;        /* vectors of a tile; tiles side by side */
    int rows;                  /* pixels that a block reads at a time */
    int64_t piece;             /* pixels of a block */
    int pieces;                /* of an image */
    int threads;               /* of a block of the form that holds vectors in registers; 0: another form */
    int held, kept, reach;     /* vectors of a thread in registers, in shared memory; columns of a group */
} CudaGroupPlan;

typedef struct {
    int capability, multiprocessors, shared_memory; /* 90 for 9.0; bytes that a block may have */
} CudaLimits;

/* variant: 0, or up to CUDA_GROUP_VARIANTS another way where it takes this norm (plan.threads > 0), else as
 * 0. */
#define CUDA_GROUP_VARIANTS 15
CudaGroupPlan cuda_group_plan(const CudaNorm *norm, int images, int groups, const CudaLimits *limits,
                              int variant);
size_t cuda_group_workspace(const CudaGroupPlan *plan);
/* tickets: `ticket_count` numbers of device memory that are 0 before and after. */
void cuda_kernel_group_norm(const CudaNorm *norm, const CudaGroupPlan *plan, void *workspace,
                            unsigned *tickets, int ticket_count, cudaStream_t stream);

/* ids: I32 of one channel. Rows of the table (and of `positions`, which may be absent: [out's tokens a
 * prompt]) in F32, F16 or BF16. */
void cuda_kernel_embed(CudaView ids, CudaView table, CudaView positions, CudaView out, CudaReport report,
                       cudaStream_t stream);
void cuda_kernel_pick(CudaView x, CudaView index, CudaView out, CudaReport report, cudaStream_t stream);
void cuda_kernel_sinusoid(CudaView x, CudaView out, int flip, float shift, cudaStream_t stream);

/* Converts `count` numbers to F32, F16 or BF16; with taps > 1 each row of `row` = channels * taps numbers
 * goes from [channels][taps] to [taps][channels]. */
void cuda_kernel_pack(const void *from, int from_type, void *to, int to_type, int64_t count, int64_t row,
                      int taps, cudaStream_t stream);
/* Outputs `first` and so many more of 3x3 weights [out][in][3][3] into those of the same convolution behind a
 * resize to twice the size, as one that spreads: all of [in][4][4][out], or of [out][4][4][in] (inputs_last),
 * once every output was given. */
typedef struct {
    int first, count, outputs, channels, inputs_last;
} CudaSpread;

void cuda_kernel_pack_spread(const void *from, int from_type, void *to, int to_type, CudaSpread spread,
                             cudaStream_t stream);

#ifdef __cplusplus
}
#endif
