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
} CudaView;

/* Set by the first kernel that finds a value it cannot work with (a token that the table lacks); pinned host
 * memory, read after the run. */
typedef struct {
    unsigned claimed;
    int index, value; /* of the element */
    uint64_t op;      /* the address of the host's RvOp */
} CudaFault;

/* Whether the module holds code for the current device. */
cudaError_t cuda_kernels_probe(void);

/* Converts `count` numbers to F32, F16 or BF16; with taps > 1 each row of `row` = channels * taps numbers
 * goes from [channels][taps] to [taps][channels]. */
void cuda_kernel_pack(const void *from, int from_type, void *to, int to_type, int64_t count, int64_t row,
                      int taps, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
