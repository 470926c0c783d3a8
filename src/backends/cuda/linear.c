/* Linear layers: cuBLASLt, a kernel of our own for a few rows, and the one without matrix units for what is
 * left. */
#include "backends/cuda/f8.h"
#include "backends/cuda/gemm.h"
#include "backends/cuda/weights.h"

typedef struct {
    CudaLayer layer;
    CudaConv conv;
    CudaGemm *gemm; /* NULL where the library has nothing */
} Linear;

static void
release(CudaDevice *device, RvOp *op)
{
    Linear *linear = op->state;
    cuda_f8_free(linear->layer.f8);
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
    CudaConv *conv = &linear->conv;
    if (!cuda_few_rows_takes(conv) && !cuda_gemm_new(&linear->gemm, device, conv, error))
        return false;
    if (linear->gemm != NULL &&
        !cuda_f8_new(&linear->layer.f8, device, op, conv, cuda_gemm_microseconds(linear->gemm), error))
        return false;
    return linear->layer.f8 != NULL || (cuda_pack(device, op, conv, error) &&
                                        cuda_f8_take_notes(&linear->layer, device, op, conv, error));
}

static bool
run_as_it_is(CudaDevice *device, const RvOp *op, const CudaConv *conv, cudaStream_t stream, GError **error)
{
    const Linear *linear = op->state;
    if (linear->gemm != NULL && cuda_gemm_takes(conv))
        return cuda_gemm_run(linear->gemm, device, conv, stream, error);
    cudaError_t status =
        cuda_few_rows_takes(conv) ? cuda_few_rows(conv, stream) : cuda_simt_conv(conv, stream);
    return cuda_check(status, op->name, error);
}

static bool
run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    const Linear *linear = op->state;
    CudaConv conv = linear->conv;
    cuda_conv_address(&conv, op);
    if (linear->layer.f8 != NULL)
        return cuda_f8_run(linear->layer.f8, device, op, &conv, stream, error);
    return run_as_it_is(device, op, &conv, stream, error) &&
           (linear->layer.notes == NULL ||
            cuda_f8_note(&linear->layer, device, op, &conv, run_as_it_is, stream, error));
}

const CudaOp cuda_linear = { .prepare = prepare, .run = run, .release = release };
