/* dnn_conv.h - convolutions by cuDNN: one operation graph with bias, addend and activation where an engine
 * takes it, or the bare convolution and a pass; whichever was faster when both were timed. F16 and BF16. */
#pragma once
#include "backends/cuda/dnn.h"
#include "backends/cuda/matrix.h"

typedef struct CudaDnnConv CudaDnnConv;

/* `shape` without addresses (bias only tells whether there is one), x contiguous and as large as the
 * convolution wants it. *conv is NULL when the library has nothing for it, which is no error. */
bool cuda_dnn_conv_new(CudaDnnConv **conv, CudaDevice *device, const CudaConv *shape, GError **error);
void cuda_dnn_conv_free(CudaDnnConv *conv); /* accepts NULL */
/* When it was chosen; on a device with fp8 always known, else perhaps 0. */
double cuda_dnn_conv_microseconds(const CudaDnnConv *conv);
gsize cuda_dnn_conv_workspace(const CudaDnnConv *conv);
bool cuda_dnn_conv_run(const CudaDnnConv *conv, CudaDevice *device, const CudaConv *op, void *workspace,
                       cudaStream_t stream, GError **error);
