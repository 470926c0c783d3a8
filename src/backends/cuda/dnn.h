/* dnn.h - operation graphs of cuDNN 9's backend interface: tensors and operations are described, the
 * library's heuristics name engines, each engine becomes a plan that can run. Mistakes stick to the graph. */
#pragma once
#include "backends/cuda/internal.h"

typedef struct CudaGraph CudaGraph;
typedef cudnnBackendDescriptor_t CudaNode;

typedef struct {
    cudnnBackendDescriptor_t plan; /* NULL: none */
    gsize workspace;
} CudaPlan;

typedef enum {
    CUDA_TENSOR_STORED,  /* in device memory, 16-byte aligned */
    CUDA_TENSOR_VIRTUAL, /* between two operations, float32 */
    CUDA_TENSOR_VALUE,   /* one float32 on the host */
} CudaTensorKind;

CudaGraph *cuda_graph_new(CudaDevice *device);
void cuda_graph_free(CudaGraph *graph); /* not before its plans are made; accepts NULL */
/* Four dimensions and strides in elements; `id` names it when the plan runs. */
CudaNode cuda_graph_tensor(CudaGraph *graph, gint64 id, CudaTensorKind kind, RvDType dtype,
                           const gint64 *dims, const gint64 *strides);
/* Cross-correlation: padding before and after, stride; float32 accumulation. */
void cuda_graph_convolution(CudaGraph *graph, CudaNode x, CudaNode weight, CudaNode y, int stride,
                            const gint64 *before, const gint64 *after);
/* The transposed convolution: each pixel of x is spread over a window of y. weight [x's channels, y's
 * channels, h, w]. */
void cuda_graph_spread(CudaGraph *graph, CudaNode x, CudaNode weight, CudaNode y, int stride,
                       const gint64 *before, const gint64 *after);
/* y = f(x) or f(x, b) in float32; b NULL for functions of one; `beta` is the factor in swish's sigmoid. */
void cuda_graph_pointwise(CudaGraph *graph, cudnnPointwiseMode_t mode, CudaNode x, CudaNode b, CudaNode y,
                          float beta);
/* out = softmax(q k^T * scale) v over [n, heads, tokens, width]. */
void cuda_graph_attention(CudaGraph *graph, CudaNode q, CudaNode k, CudaNode v, CudaNode out, CudaNode scale);
/* Ends the description. How many engines the heuristics name; 0 when the library has none. */
int cuda_graph_engines(CudaGraph *graph);
/* False when the engine does not take the graph after all, wants more than `most` bytes to work in, or gives
 * other bits in every run. */
bool cuda_graph_plan(CudaGraph *graph, int engine, gsize most, CudaPlan *plan);
void cuda_plan_free(CudaPlan *plan);
cudnnStatus_t cuda_plan_run(const CudaPlan *plan, CudaDevice *device, int count, const gint64 *ids,
                            const void *const *addresses, void *workspace, cudaStream_t stream);
