#include "backends/cuda/dnn.h"

#define MOST_NODES 64
#define MOST_OPERATIONS 8
#define MOST_ENGINES 16
#define ALIGNMENT 16

struct CudaGraph {
    CudaDevice *device;
    CudaNode nodes[MOST_NODES]; /* all that was made, freed together */
    CudaNode operations[MOST_OPERATIONS];
    CudaNode engines[MOST_ENGINES];
    int node_count, operation_count, engine_count;
    bool failed;
};

CudaGraph *
cuda_graph_new(CudaDevice *device)
{
    CudaGraph *graph = g_new0(CudaGraph, 1);
    graph->device = device;
    return graph;
}

void
cuda_graph_free(CudaGraph *graph)
{
    if (graph == NULL)
        return;
    for (int i = graph->node_count - 1; i >= 0; i--)
        cudnnBackendDestroyDescriptor(graph->nodes[i]);
    g_free(graph);
}

static CudaNode
make(CudaGraph *graph, cudnnBackendDescriptorType_t type)
{
    CudaNode node = NULL;
    if (graph->node_count == MOST_NODES ||
        cudnnBackendCreateDescriptor(type, &node) != CUDNN_STATUS_SUCCESS) {
        graph->failed = true;
        return NULL;
    }
    graph->nodes[graph->node_count++] = node;
    return node;
}

static void
set(CudaGraph *graph, CudaNode node, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    gint64 count, const void *values)
{
    if (!graph->failed && cudnnBackendSetAttribute(node, name, type, count, values) != CUDNN_STATUS_SUCCESS)
        graph->failed = true;
}

static void
set_node(CudaGraph *graph, CudaNode node, cudnnBackendAttributeName_t name, CudaNode value)
{
    set(graph, node, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void
finalize(CudaGraph *graph, CudaNode node)
{
    if (!graph->failed && cudnnBackendFinalize(node) != CUDNN_STATUS_SUCCESS)
        graph->failed = true;
}

static void
finish_operation(CudaGraph *graph, CudaNode operation)
{
    finalize(graph, operation);
    if (graph->operation_count == MOST_OPERATIONS)
        graph->failed = true;
    else
        graph->operations[graph->operation_count++] = operation;
}

static cudnnDataType_t
data_type(RvDType dtype)
{
    return dtype == RV_F32 ? CUDNN_DATA_FLOAT : dtype == RV_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
}

CudaNode
cuda_graph_tensor(CudaGraph *graph, gint64 id, CudaTensorKind kind, RvDType dtype, const gint64 *dims,
                  const gint64 *strides)
{
    CudaNode node = make(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    cudnnDataType_t type = kind == CUDA_TENSOR_STORED ? data_type(dtype) : CUDNN_DATA_FLOAT;
    gint64 alignment = kind == CUDA_TENSOR_VALUE ? (gint64)sizeof(float) : ALIGNMENT;
    bool yes = true;
    set(graph, node, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(graph, node, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(graph, node, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(graph, node, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(graph, node, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    if (kind == CUDA_TENSOR_VIRTUAL)
        set(graph, node, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (kind == CUDA_TENSOR_VALUE)
        set(graph, node, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    finalize(graph, node);
    return node;
}

static CudaNode
convolution_descriptor(CudaGraph *graph, int stride, const gint64 *before, const gint64 *after)
{
    CudaNode node = make(graph, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    gint64 spatial = 2, strides[2] = { stride, stride }, dilations[2] = { 1, 1 };
    set(graph, node, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(graph, node, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(graph, node, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial);
    set(graph, node, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    set(graph, node, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    set(graph, node, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    set(graph, node, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations);
    finalize(graph, node);
    return node;
}

void
cuda_graph_convolution(CudaGraph *graph, CudaNode x, CudaNode weight, CudaNode y, int stride,
                       const gint64 *before, const gint64 *after)
{
    CudaNode convolution = convolution_descriptor(graph, stride, before, after);
    CudaNode node = make(graph, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    float alpha = 1.0f, beta = 0.0f;
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution);
    set(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &alpha);
    set(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &beta);
    finish_operation(graph, node);
}

void
cuda_graph_spread(CudaGraph *graph, CudaNode x, CudaNode weight, CudaNode y, int stride, const gint64 *before,
                  const gint64 *after)
{
    CudaNode convolution = convolution_descriptor(graph, stride, before, after);
    CudaNode node = make(graph, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    float alpha = 1.0f, beta = 0.0f;
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, x);
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, weight);
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, y);
    set_node(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, convolution);
    set(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1, &alpha);
    set(graph, node, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1, &beta);
    finish_operation(graph, node);
}

void
cuda_graph_pointwise(CudaGraph *graph, cudnnPointwiseMode_t mode, CudaNode x, CudaNode b, CudaNode y,
                     float beta)
{
    CudaNode function = make(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    double swish = beta;
    set(graph, function, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(graph, function, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    if (mode == CUDNN_POINTWISE_SWISH_FWD)
        set(graph, function, CUDNN_ATTR_POINTWISE_SWISH_BETA, CUDNN_TYPE_DOUBLE, 1, &swish);
    finalize(graph, function);
    CudaNode node = make(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_node(graph, node, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function);
    set_node(graph, node, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b != NULL)
        set_node(graph, node, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_node(graph, node, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finish_operation(graph, node);
}

void
cuda_graph_attention(CudaGraph *graph, CudaNode q, CudaNode k, CudaNode v, CudaNode out, CudaNode scale)
{
    CudaNode node = make(graph, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    set_node(graph, node, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    set_node(graph, node, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
    set_node(graph, node, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    set_node(graph, node, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, out);
    set_node(graph, node, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
    finish_operation(graph, node);
}

/* The heuristics fill descriptors that are made beforehand. */
static void
take_engines(CudaGraph *graph, CudaNode heuristics)
{
    gint64 count = 0;
    for (int i = 0; i < MOST_ENGINES; i++)
        if (graph->engines[i] == NULL)
            graph->engines[i] = make(graph, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!graph->failed &&
        cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 MOST_ENGINES, &count, graph->engines) == CUDNN_STATUS_SUCCESS)
        graph->engine_count = (int)MIN(count, MOST_ENGINES);
}

int
cuda_graph_engines(CudaGraph *graph)
{
    CudaNode whole = make(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    cudnnHandle_t handle = graph->device->dnn;
    set(graph, whole, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    set(graph, whole, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph->operation_count,
        graph->operations);
    finalize(graph, whole);
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };
    for (gsize i = 0; i < G_N_ELEMENTS(modes) && !graph->failed && graph->engine_count == 0; i++) {
        CudaNode heuristics = make(graph, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        set_node(graph, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, whole);
        set(graph, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &modes[i]);
        if (!graph->failed && cudnnBackendFinalize(heuristics) == CUDNN_STATUS_SUCCESS)
            take_engines(graph, heuristics);
    }
    return graph->failed ? 0 : graph->engine_count;
}

/* Whether the engine gives the same bits every time. */
static bool
is_deterministic(CudaGraph *graph, int engine)
{
    CudaNode node = make(graph, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    gint64 count = 0;
    if (node == NULL ||
        cudnnBackendGetAttribute(graph->engines[engine], CUDNN_ATTR_ENGINECFG_ENGINE,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &node) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(node, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes) != CUDNN_STATUS_SUCCESS)
        return true;
    for (gint64 i = 0; i < count; i++)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)
            return false;
    return true;
}

bool
cuda_graph_plan(CudaGraph *graph, int engine, gsize most, CudaPlan *plan)
{
    cudnnHandle_t handle = graph->device->dnn;
    gint64 workspace = 0, count = 0;
    *plan = (CudaPlan) { 0 };
    if (!is_deterministic(graph, engine))
        return false;
    bool ok = cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan) ==
                  CUDNN_STATUS_SUCCESS &&
              cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                       &handle) == CUDNN_STATUS_SUCCESS &&
              cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                       &graph->engines[engine]) == CUDNN_STATUS_SUCCESS &&
              cudnnBackendFinalize(plan->plan) == CUDNN_STATUS_SUCCESS &&
              cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                       1, &count, &workspace) == CUDNN_STATUS_SUCCESS &&
              (gsize)workspace <= most;
    plan->workspace = (gsize)workspace;
    if (!ok)
        cuda_plan_free(plan);
    return ok;
}

void
cuda_plan_free(CudaPlan *plan)
{
    if (plan->plan != NULL)
        cudnnBackendDestroyDescriptor(plan->plan);
    plan->plan = NULL;
}

cudnnStatus_t
cuda_plan_run(const CudaPlan *plan, CudaDevice *device, int count, const gint64 *ids,
              const void *const *addresses, void *workspace, cudaStream_t stream)
{
    cudnnBackendDescriptor_t pack;
    cudnnStatus_t status = cudnnSetStream(device->dnn, stream);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                          count, addresses);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                          &workspace);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendFinalize(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendExecute(device->dnn, plan->plan, pack);
    cudnnBackendDestroyDescriptor(pack);
    return status;
}
