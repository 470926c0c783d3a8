#include "backends/cuda/lost.h"

/* What is needed is the library's secret. */
static bool
out_of_memory(const char *what, GError **error)
{
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    cudaGetLastError();
    return rv_error_set(error, RV_ERROR_NO_MEMORY, what, "use a smaller size or batch, or free memory",
                        "the GPU is out of memory: %.1f of %.1f MB are free", (double)available / 1e6,
                        (double)total / 1e6);
}

bool
cuda_check(cudaError_t status, const char *what, GError **error)
{
    if (status == cudaSuccess)
        return true;
    cudaGetLastError(); /* errors that do not stick are done with once reported */
    cuda_lost_note(status);
    if (status == cudaErrorMemoryAllocation)
        return out_of_memory(what, error);
    return rv_error_set(error, RV_ERROR_DEVICE, what, NULL, "CUDA: %s", cudaGetErrorString(status));
}

bool
cuda_check_cublas(cublasStatus_t status, const char *what, GError **error)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return true;
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        return cuda_check(cudaErrorMemoryAllocation, what, error);
    cuda_lost_note(cudaPeekAtLastError());
    return rv_error_set(error, RV_ERROR_DEVICE, what, NULL, "cuBLASLt: %s", cublasLtGetStatusString(status));
}

bool
cuda_check_cudnn(cudnnStatus_t status, const char *what, GError **error)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return true;
    if (status == CUDNN_STATUS_ALLOC_FAILED)
        return cuda_check(cudaErrorMemoryAllocation, what, error);
    cuda_lost_note(cudaPeekAtLastError());
    return rv_error_set(error, RV_ERROR_DEVICE, what, NULL, "cuDNN: %s", cudnnGetErrorString(status));
}

bool
cuda_check_launch(const RvOp *op, GError **error)
{
    return cuda_check(cudaGetLastError(), op->name, error);
}

bool
cuda_refuse_dtype(const RvOp *op, RvDType dtype, GError **error)
{
    return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, NULL, "the CUDA back end has no %s of %s",
                        rv_op_kind_name(op->kind), rv_dtype_name(dtype));
}

bool
cuda_wants_floats(const RvOp *op, GError **error)
{
    for (int i = 0; i < RV_OP_INPUTS; i++) {
        RvDType dtype = op->in[i].dtype;
        bool is_present = rv_shape_count(op->in[i].shape) > 0;
        if (is_present && dtype != RV_F32 && dtype != RV_F16 && dtype != RV_BF16)
            return cuda_refuse_dtype(op, dtype, error);
    }
    return true;
}

CudaView
cuda_view(const RvOperand *operand)
{
    return (CudaView) { operand->data, (int)operand->dtype, operand->shape.c, rv_shape_pixels(operand->shape),
                        operand->pixel_stride };
}
