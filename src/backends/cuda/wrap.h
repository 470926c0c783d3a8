/* wrap.h - what circular convolutions read: the picture with its own other edges around it. */
#pragma once
#include "backends/cuda/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x, resized as conv says and continued by `margin` pixels on every side with those of the opposite side
 * (several times over when the picture is smaller than that): `to`, [n, up_h + 2 margin, up_w + 2 margin, c]
 * contiguous. */
cudaError_t cuda_wrap(const CudaConv *conv, int margin, void *to, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
