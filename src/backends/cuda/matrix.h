/* matrix.h - launchers of the matrix-like kernels (simt.cu, pass.cu, taps.cu, flash.cu, rows.cu ...): plain C
 * types, everything enqueued on `stream`, nothing allocated. `dtype` and `act` are RvDType's and RvAct's
 * numbers; dtype is F32, F16 or BF16 and accumulation is float32. Strides count elements. */
#pragma once
#include <cuda_runtime.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CUDA_ADD_NONE, CUDA_ADD_PIXEL, CUDA_ADD_IMAGE };
/* x and weight in `dtype`; in E4M3, one scale for all outputs or one for each. */
enum { CUDA_F8_NONE, CUDA_F8_ONE, CUDA_F8_EACH };

/* out = act(conv(resize(x), weight) + bias + add): x [n,h,w,c] with x_stride elements from pixel to pixel,
 * weight [out_c][kernel][kernel][c], bias [out_c] or NULL, out [n,out_h,out_w,out_c] contiguous. A linear
 * layer is kernel 1 with h 1. up_h, up_w: the size after the nearest-neighbour resize (h, w: none). */
typedef struct {
    const void *x, *weight, *bias, *add;
    void *out;
    int n, h, w, c, up_h, up_w, out_h, out_w, out_c;
    int kernel, stride, pad;
    int x_stride, add_stride, add_kind;
    int act, dtype;
    bool spreads;       /* transposed: out is `stride` times as large, weight [c][kernel][kernel][out_c] */
    int f8;             /* else NONE: the products are multiplied by scale[0] or scale[output] */
    const float *scale; /* device memory, [out_c] */
} CudaConv;

/* Any shape, stride and type; no matrix units: the float32 reference, and what no other kernel takes. */
cudaError_t cuda_simt_conv(const CudaConv *conv, cudaStream_t stream);

/* out[p, c] = act(out[p, c] + bias[c] + add), in place over `pixels` pixels of an image of `image` pixels. */
cudaError_t cuda_epilogue(const CudaConv *conv, cudaStream_t stream);

/* Nearest-neighbour resize of x [n,h,w,c] to [n,up_h,up_w,c] contiguous: `to`. */
cudaError_t cuda_resize(const CudaConv *conv, void *to, cudaStream_t stream);

/* A 3x3 convolution of a picture resized to twice its size is this one, spread with stride 2 and padding 1,
 * at 4/9 of the operations: each output sees only two by two pixels of x. */
static inline CudaConv
cuda_doubling(const CudaConv *conv)
{
    CudaConv spread = *conv;
    spread.up_h = spread.h;
    spread.up_w = spread.w;
    spread.kernel = 4;
    spread.stride = 2;
    spread.spreads = true;
    return spread;
}

/* Convolutions 3x3, stride 1, with at most 16 input channels (cuda_few_in) or at most 8 output channels
 * (cuda_few_out, c a multiple of 16): matrix units, read and written once. F16 and BF16, sm_80 and later. */
bool cuda_few_in_takes(const CudaConv *conv, int sm);
cudaError_t cuda_few_in(const CudaConv *conv, cudaStream_t stream);
bool cuda_few_out_takes(const CudaConv *conv, int sm);
cudaError_t cuda_few_out(const CudaConv *conv, cudaStream_t stream);

/* What cuda_few_in takes with at most four input channels, outputs a multiple of 8, no addend and no
 * activation, ReLU or SiLU. out 16-byte aligned. */
bool cuda_taps4_takes(const CudaConv *conv, int sm);
cudaError_t cuda_taps4(const CudaConv *conv, int multiprocessors, cudaStream_t stream);
/* What cuda_few_out takes with c a multiple of 64, on Hopper. x 16-byte aligned. */
bool cuda_taps_hopper_takes(const CudaConv *conv, int sm);
cudaError_t cuda_taps_hopper(const CudaConv *conv, int multiprocessors, cudaStream_t stream);

/* 3x3 convolutions of 64 to 64 channels, stride 1, with no activation or ReLU, on Hopper; addresses 16-byte
 * aligned. */
bool cuda_conv64_takes(const CudaConv *conv, int sm);
cudaError_t cuda_conv64(const CudaConv *conv, int multiprocessors, cudaStream_t stream);
/* The same behind a resize to twice the size, x not resized, without an addend for each pixel: weight
 * [64][4][4][64] as cuda_doubling() has its taps. */
bool cuda_conv64_twice_takes(const CudaConv *conv, int sm);
cudaError_t cuda_conv64_twice(const CudaConv *conv, int multiprocessors, cudaStream_t stream);

/* 3x3 convolutions of E4M3, stride 1, with no activation, on Hopper; x contiguous, addresses 16-byte aligned.
 */
#define CUDA_CONV_F8_VARIANTS 2
bool cuda_conv_f8_takes(const CudaConv *conv, int variant, int sm);
cudaError_t cuda_conv_f8(const CudaConv *conv, int variant, cudaStream_t stream);

/* One op of attention: head i of q is at q + i * width; an image's tokens follow each other. */
typedef struct {
    const void *q, *k, *v;
    void *out;
    int n, heads, width, queries, keys;
    int q_stride, k_stride, v_stride, out_stride; /* token to token */
    float scale;
    int causal, dtype;
    float out_factor; /* not 0: the result times this, in E4M3, by kernels that say so; q, k, v F16 */
} CudaAttention;

/* Any shape, stride and type, one warp for each query. */
cudaError_t cuda_plain_attention(const CudaAttention *attention, cudaStream_t stream);
/* Flash attention on the matrix units; widths that are multiples of 8 up to 160, 16-byte aligned rows. */
bool cuda_flash_takes(const CudaAttention *attention, int sm);
cudaError_t cuda_flash_attention(const CudaAttention *attention, int variant, cudaStream_t stream);
#define CUDA_FLASH_VARIANTS 2
#define CUDA_HOPPER_VARIANTS 2
/* The same on Hopper for heads up to 64 wide, not causal; knows out_factor for widths of 16, 32, 48 and 64.
 */
bool cuda_flash_hopper_takes(const CudaAttention *attention, int sm);
/* variant: 0 for blocks of 192 queries, 1 for blocks of 64. */
cudaError_t cuda_flash_hopper(const CudaAttention *attention, int variant, cudaStream_t stream);
/* Of those, in F16, with long rows of keys: blocks of equal work for so many multiprocessors. */
bool cuda_flash_balanced_takes(const CudaAttention *attention, int sm);
cudaError_t cuda_flash_balanced(const CudaAttention *attention, int multiprocessors, cudaStream_t stream);

/* Softmax over rows [rows, keys] of float32 scores times `scale`, written as `dtype` to `out`; row r is query
 * first + r: with `causal` it sees keys up to its own number. */
typedef struct {
    const float *scores;
    void *out;
    int rows, keys, first, causal, dtype;
    float scale;
} CudaSoftmax;
cudaError_t cuda_softmax_rows(const CudaSoftmax *softmax, cudaStream_t stream);

/* Linear layers in F16 and BF16 with no activation or ReLU on Hopper, cut into blocks in several ways;
 * addresses 16-byte aligned. */
#define CUDA_LINEAR_CUTS 11
bool cuda_linear_hopper_takes(const CudaConv *conv, int cut, int sm);
cudaError_t cuda_linear_hopper(const CudaConv *conv, int cut, cudaStream_t stream);

/* out[r, o] = act(x[r] . weight[o] + bias[o] + add), for up to 8 rows: reads the weights once. */
bool cuda_few_rows_takes(const CudaConv *conv);
cudaError_t cuda_few_rows(const CudaConv *conv, cudaStream_t stream);

/* Random numbers in [-0.5, 0.5): what candidates are timed on. */
cudaError_t cuda_fill(void *to, size_t count, int dtype, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
