/* Linear layers: cuBLASLt, a kernel of our own for a few rows, and the one without matrix units for what is
 * left. */
#include "backends/cuda/gemm.h"
#include "backends/cuda/weights.h"

typedef struct {
    CudaConv conv;
    CudaGemm *gemm; /* NULL where the library has nothing */
} Linear;

static void
release(CudaDevice *device, RvOp *op)
{
    Linear *linear = op->state;
    cuda_gemm_free(linear->gemm);
    g_free(linear);
    op->state = NULL;
}

static bool
prepare(CudaDevice *device, RvOp *op, GError **error)
{
    if (op->in[0].dtype != op->out.dtype)
        return cuda_refuse_dtype(op, op->in[0].dtype, error);
    Linear *linear = g_new0(Linear, 1);
    op->state = linear;
    cuda_conv_describe(&linear->conv, op);
    if (!cuda_pack(device, op, &linear->conv, error))
        return false;
    CudaConv *conv = &linear->conv;
    return cuda_few_rows_takes(conv) || cuda_gemm_new(&linear->gemm, device, conv, error);
}

static bool
run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    const Linear *linear = op->state;
    CudaConv conv = linear->conv;
    cuda_conv_address(&conv, op);
    if (linear->gemm != NULL && cuda_gemm_takes(&conv))
        return cuda_gemm_run(linear->gemm, device, &conv, stream, error);
    cudaError_t status =
        cuda_few_rows_takes(&conv) ? cuda_few_rows(&conv, stream) : cuda_simt_conv(&conv, stream);
    return cuda_check(status, op->name, error);
}

const CudaOp cuda_linear = { .prepare = prepare, .run = run, .release = release };
