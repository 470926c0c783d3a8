/* tune.h - the fastest of several ways of doing an op, found by running them on this GPU. */
#pragma once
#include "backends/cuda/internal.h"

/* Memory with random numbers, to time on: operands that stay in the cache as they do in a model, weights
 * rotating through more than the cache holds as they do there too. */
typedef struct {
    guint8 *memory;
    gsize bytes;
} CudaBench;

bool cuda_bench_open(CudaBench *bench, CudaDevice *device, gsize bytes, GError **error);
void cuda_bench_close(CudaBench *bench, CudaDevice *device);
/* Bytes for `count` rotating copies of weights of so many bytes, and the offset of the copy of a turn. */
gsize cuda_bench_rotating(gsize weight_bytes);
gsize cuda_bench_turn(gsize weight_bytes, int turn);

/* Enqueues candidate `index` once; false when it cannot run. */
typedef bool (*CudaTry)(void *user, int index, int turn, cudaStream_t stream);

/* Microseconds of one run, the best of several series; INFINITY when it cannot run. */
double cuda_time(CudaDevice *device, CudaTry try_once, void *user, int index);

/* For tests: with REVERIE_CUDA_WAY=N in the environment the N-th candidate (or the next one that runs) is
 * taken everywhere instead of the fastest, and choices are neither looked up nor kept. */

/* The fastest of `count` candidates, -1 when none runs. `microseconds` (may be NULL) receives its time. */
int cuda_fastest(CudaDevice *device, CudaTry try_once, void *user, int count, double *microseconds);

/* The choice kept under the key, or -1 (of another number of candidates than now: -1 too). */
int cuda_choice_find(CudaDevice *device, const char *key, int count);
void cuda_choice_store(CudaDevice *device, const char *key, int choice, int count);
/* Microseconds of what was chosen under the key; 0: not known. */
double cuda_kept_time(const CudaDevice *device, const char *key);
void cuda_keep_time(CudaDevice *device, const char *key, double microseconds);
