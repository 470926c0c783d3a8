/* counters.h - cuBLASLt's persistent kernels take a few bytes that are zero when they start, and enqueue a
 * memset before each. In a graph such a memset stands between two kernels and costs more than both their
 * launches. So each product with such a workspace has one of its own, and one memset at the graph's start
 * clears them all. */
#pragma once
#include "backends/cuda/internal.h"

#define CUDA_COUNTER_BYTES ((gsize)16 << 10) /* of each */
#define CUDA_COUNTER_TURNS 32

CudaCounters *cuda_counters_new(CudaDevice *device, GError **error);
void cuda_counters_free(CudaDevice *device, CudaCounters *counters); /* accepts NULL */

/* A workspace of so many bytes that nobody else uses; NULL when it would be too large or none is left. */
void *cuda_counter_take(CudaDevice *device, gsize bytes);
void cuda_counter_give(CudaDevice *device, void *counter); /* accepts NULL */
/* The same for trials, which use them in turn: CUDA_COUNTER_TURNS of them. NULL when it would be too large.
 */
void *cuda_counter_of_turn(CudaDevice *device, gsize bytes, int turn);

/* Before a captured graph is instantiated. Each of these workspaces is cleared once in it at most. */
bool cuda_counters_hoist(CudaDevice *device, cudaGraph_t graph, GError **error);
