#include "backends/cuda/counters.h"

#define SLOTS 512

struct CudaCounters {
    guint8 *memory; /* SLOTS, then those of trials */
    bool is_taken[SLOTS];
};

CudaCounters *
cuda_counters_new(CudaDevice *device, GError **error)
{
    CudaCounters *counters = g_new0(CudaCounters, 1);
    counters->memory = cuda_alloc(device, (SLOTS + CUDA_COUNTER_TURNS) * CUDA_COUNTER_BYTES, error);
    if (counters->memory == NULL)
        g_clear_pointer(&counters, g_free);
    return counters;
}

void
cuda_counters_free(CudaDevice *device, CudaCounters *counters)
{
    if (counters == NULL)
        return;
    cuda_free(device, counters->memory);
    g_free(counters);
}

void *
cuda_counter_take(CudaDevice *device, gsize bytes)
{
    CudaCounters *counters = device->counters;
    for (gsize i = 0; bytes > 0 && bytes <= CUDA_COUNTER_BYTES && i < SLOTS; i++)
        if (!counters->is_taken[i]) {
            counters->is_taken[i] = true;
            return counters->memory + i * CUDA_COUNTER_BYTES;
        }
    return NULL;
}

void
cuda_counter_give(CudaDevice *device, void *counter)
{
    if (counter != NULL)
        device->counters
            ->is_taken[(gsize)((guint8 *)counter - device->counters->memory) / CUDA_COUNTER_BYTES] = false;
}

void *
cuda_counter_of_turn(CudaDevice *device, gsize bytes, int turn)
{
    gsize slot = SLOTS + (gsize)turn % CUDA_COUNTER_TURNS;
    return bytes > 0 && bytes <= CUDA_COUNTER_BYTES ? device->counters->memory + slot * CUDA_COUNTER_BYTES
                                                    : NULL;
}

/* ---- graphs ---- */

typedef struct {
    guint8 *from, *to;
} Range;

static bool
clears_counter(const CudaCounters *counters, cudaGraphNode_t node, Range *range)
{
    enum cudaGraphNodeType type;
    struct cudaMemsetParams memset;
    if (cudaGraphNodeGetType(node, &type) != cudaSuccess || type != cudaGraphNodeTypeMemset ||
        cudaGraphMemsetNodeGetParams(node, &memset) != cudaSuccess || memset.value != 0 || memset.height != 1)
        return false;
    range->from = memset.dst;
    range->to = range->from + memset.width * memset.elementSize;
    return range->from >= counters->memory &&
           range->to <= counters->memory + (SLOTS + CUDA_COUNTER_TURNS) * CUDA_COUNTER_BYTES;
}

/* What comes after the node waits for what comes before it; the node goes. */
static cudaError_t
bypass(cudaGraph_t graph, cudaGraphNode_t node)
{
    size_t befores = 0, afters = 0;
    cudaError_t status = cudaGraphNodeGetDependencies(node, NULL, NULL, &befores);
    if (status == cudaSuccess)
        status = cudaGraphNodeGetDependentNodes(node, NULL, NULL, &afters);
    g_autofree cudaGraphNode_t *before = g_new0(cudaGraphNode_t, befores + 1);
    g_autofree cudaGraphNode_t *after = g_new0(cudaGraphNode_t, afters + 1);
    g_autofree cudaGraphEdgeData *edges = g_new0(cudaGraphEdgeData, MAX(befores, afters) + 1);
    if (status == cudaSuccess && befores > 0)
        status = cudaGraphNodeGetDependencies(node, before, edges, &befores);
    if (status == cudaSuccess && afters > 0)
        status = cudaGraphNodeGetDependentNodes(node, after, edges, &afters);
    for (size_t i = 0; i < befores; i++)
        for (size_t k = 0; status == cudaSuccess && k < afters; k++)
            status = cudaGraphAddDependencies(graph, &before[i], &after[k], NULL, 1);
    return status == cudaSuccess ? cudaGraphDestroyNode(node) : status;
}

static cudaError_t
clear_first(cudaGraph_t graph, Range range)
{
    size_t count = 0;
    cudaError_t status = cudaGraphGetRootNodes(graph, NULL, &count);
    g_autofree cudaGraphNode_t *roots = g_new0(cudaGraphNode_t, count + 1);
    if (status == cudaSuccess)
        status = cudaGraphGetRootNodes(graph, roots, &count);
    struct cudaMemsetParams memset = {
        .dst = range.from, .elementSize = 1, .width = (size_t)(range.to - range.from), .height = 1
    };
    cudaGraphNode_t first;
    if (status == cudaSuccess)
        status = cudaGraphAddMemsetNode(&first, graph, NULL, 0, &memset);
    for (size_t i = 0; status == cudaSuccess && i < count; i++)
        status = cudaGraphAddDependencies(graph, &first, &roots[i], NULL, 1);
    return status;
}

bool
cuda_counters_hoist(CudaDevice *device, cudaGraph_t graph, GError **error)
{
    size_t count = 0;
    cudaError_t status = cudaGraphGetNodes(graph, NULL, &count);
    g_autofree cudaGraphNode_t *nodes = g_new0(cudaGraphNode_t, count + 1);
    if (status == cudaSuccess)
        status = cudaGraphGetNodes(graph, nodes, &count);
    Range all = { NULL, NULL }, range;
    for (size_t i = 0; status == cudaSuccess && i < count; i++) {
        if (!clears_counter(device->counters, nodes[i], &range))
            continue;
        all.from = all.from == NULL ? range.from : MIN(all.from, range.from);
        all.to = MAX(all.to, range.to);
        status = bypass(graph, nodes[i]);
    }
    if (status == cudaSuccess && all.from != NULL)
        status = clear_first(graph, all);
    return cuda_check(status, "the graph of a program", error);
}
