/* f8_kernels.h - launchers of f8.cu: float16 numbers to E4M3 (rounded to nearest even, at most 448). Rows and
 * counts are multiples of 16 numbers, addresses of 16 bytes. */
#pragma once
#include "backends/cuda/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A largest magnitude, in device memory: a float's bits. */
typedef struct {
    unsigned largest;
} CudaF8Note;

/* conv's x, resized as conv wants it, times `factor`: [n, up_h, up_w, c] of E4M3. */
cudaError_t cuda_f8_gather(const CudaConv *conv, void *to, float factor, cudaStream_t stream);
/* Each row is scaled by its own largest magnitude, or all of them by `all` if that is not NULL;
 * scales[row] * number is the weight times x_scale. */
cudaError_t cuda_f8_pack_rows(const void *from, int rows, int length, void *to, float *scales, float x_scale,
                              const CudaF8Note *all, cudaStream_t stream);

/* To E4M3 and back: rows as they are packed; activations by the note. */
cudaError_t cuda_f8_round_rows(const void *from, int rows, int length, void *to, const CudaF8Note *all,
                               cudaStream_t stream);
cudaError_t cuda_f8_round(const void *from, long long count, void *to, const CudaF8Note *note,
                          cudaStream_t stream);
/* Raises the note to the largest magnitude of x. */
cudaError_t cuda_f8_note_largest(const void *x, long long count, CudaF8Note *note, cudaStream_t stream);
/* Adds the squares of how far `got` is from conv's own result, and of that result without its addend. */
cudaError_t cuda_f8_compare(const CudaConv *conv, const void *got, double sums[2], cudaStream_t stream);
cudaError_t cuda_f8_fill_ones(float *to, int count, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
