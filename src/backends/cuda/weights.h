/* weights.h - the weights of convolutions and linear layers in device memory: [out][taps][in] in the compute
 * type, then the biases; several names stacked along the outputs. Made once for each weight set. */
#pragma once
#include "backends/cuda/internal.h"
#include "backends/cuda/matrix.h"

/* Takes op's weights [2i] and biases [2i + 1]; sets conv's addresses, bias NULL when the op has none. */
bool cuda_pack(CudaDevice *device, RvOp *op, CudaConv *conv, GError **error);

/* The weights of cuda_doubling() of the op, [in][4][4][out] or [out][4][4][in] (inputs_last); NULL after an
 * error. */
const void *cuda_pack_doubling(CudaDevice *device, RvOp *op, bool inputs_last, GError **error);

/* The op as a convolution (bias only says whether there is one), and its addresses once they are final
 * (weights excepted). */
void cuda_conv_describe(CudaConv *conv, const RvOp *op);
void cuda_conv_address(CudaConv *conv, const RvOp *op);
