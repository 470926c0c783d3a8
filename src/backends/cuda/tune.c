#include "backends/cuda/tune.h"

#include <math.h>

#include "backends/cuda/counters.h"
#include "backends/cuda/matrix.h"

#define CACHE_BYTES ((gsize)160 << 20) /* more than any second-level cache of today */
/* Each candidate runs so often; every run of a series has weights of its own while they fit. */
#define SERIES 3
#define TURNS 24
G_STATIC_ASSERT(TURNS <= CUDA_COUNTER_TURNS);

gsize
cuda_bench_rotating(gsize weight_bytes)
{
    return cuda_bench_turn(weight_bytes, -1);
}

gsize
cuda_bench_turn(gsize weight_bytes, int turn)
{
    gsize pitch = (weight_bytes + 255) & ~(gsize)255;
    gsize copies = CLAMP(CACHE_BYTES / MAX(pitch, 1), 1, TURNS);
    return turn < 0 ? pitch * copies : pitch * ((gsize)turn % copies);
}

bool
cuda_bench_open(CudaBench *bench, CudaDevice *device, gsize bytes, GError **error)
{
    bench->bytes = bytes;
    bench->memory = cuda_alloc(device, bytes, error);
    if (bench->memory == NULL)
        return false;
    int dtype = device->compute == RV_F32 ? RV_F32 : device->compute;
    if (cuda_check(cuda_fill(bench->memory, bytes / rv_dtype_size(device->compute), dtype, device->stream),
                   "filling memory to time on", error))
        return true;
    cuda_bench_close(bench, device);
    return false;
}

void
cuda_bench_close(CudaBench *bench, CudaDevice *device)
{
    if (bench->memory == NULL)
        return;
    cudaStreamSynchronize(device->stream);
    cuda_free(device, bench->memory);
    bench->memory = NULL;
}

/* TURNS runs as one graph: as they run in a program, and however long the host takes to enqueue them. */
static bool
capture(CudaDevice *device, CudaTry try_once, void *user, int index, cudaGraphExec_t *exec)
{
    cudaGraph_t graph = NULL;
    if (cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess)
        return false;
    bool ok = true;
    for (int turn = 0; ok && turn < TURNS; turn++)
        ok = try_once(user, index, turn, device->stream);
    ok = cudaStreamEndCapture(device->stream, &graph) == cudaSuccess && ok &&
         cuda_counters_hoist(device, graph, NULL) && cudaGraphInstantiate(exec, graph, 0) == cudaSuccess;
    if (graph != NULL)
        cudaGraphDestroy(graph);
    return ok;
}

static double
time_alone(CudaDevice *device, CudaTry try_once, void *user, int index)
{
    cudaEvent_t start = NULL, end = NULL;
    cudaGraphExec_t exec = NULL;
    double best = INFINITY;
    bool ok =
        cudaEventCreate(&start) == cudaSuccess && cudaEventCreate(&end) == cudaSuccess &&
        try_once(user, index, 0, device->stream) && cudaStreamSynchronize(device->stream) == cudaSuccess &&
        capture(device, try_once, user, index, &exec) && cudaGraphUpload(exec, device->stream) == cudaSuccess;
    for (int series = 0; ok && series < SERIES; series++) {
        float milliseconds = INFINITY;
        ok = cudaEventRecord(start, device->stream) == cudaSuccess &&
             cudaGraphLaunch(exec, device->stream) == cudaSuccess &&
             cudaEventRecord(end, device->stream) == cudaSuccess &&
             cudaEventSynchronize(end) == cudaSuccess &&
             cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess;
        if (ok)
            best = MIN(best, milliseconds * 1e3 / TURNS);
    }
    if (exec != NULL)
        cudaGraphExecDestroy(exec);
    if (start != NULL)
        cudaEventDestroy(start);
    if (end != NULL)
        cudaEventDestroy(end);
    cudaStreamSynchronize(device->stream);
    cudaGetLastError(); /* a candidate that does not run is no error */
    return ok ? best : INFINITY;
}

double
cuda_time(CudaDevice *device, CudaTry try_once, void *user, int index)
{
    const RvTurn *turn = &device->turn;
    bool has_turn = turn->begin != NULL && turn->begin(turn->user);
    double microseconds = time_alone(device, try_once, user, index);
    if (has_turn)
        turn->end(turn->user);
    return microseconds;
}

/* The candidate that REVERIE_CUDA_WAY names, or the next one that runs. */
static int
wished_way(CudaDevice *device, CudaTry try_once, void *user, int count, double *microseconds)
{
    int wish = (int)(g_ascii_strtoull(g_getenv("REVERIE_CUDA_WAY"), NULL, 10) % (guint64)count);
    for (int i = 0; i < count; i++) {
        *microseconds = cuda_time(device, try_once, user, (wish + i) % count);
        if (*microseconds < INFINITY)
            return (wish + i) % count;
    }
    return -1;
}

int
cuda_fastest(CudaDevice *device, CudaTry try_once, void *user, int count, double *microseconds)
{
    int fastest = -1;
    double best = INFINITY, ignored;
    if (g_getenv("REVERIE_CUDA_WAY") != NULL)
        return wished_way(device, try_once, user, count, microseconds != NULL ? microseconds : &ignored);
    for (int i = 0; i < count; i++) {
        double time = cuda_time(device, try_once, user, i);
        if (time < best)
            best = time, fastest = i;
    }
    if (microseconds != NULL)
        *microseconds = best;
    return fastest;
}

typedef struct {
    gint32 choice, count;
} Choice;

int
cuda_choice_find(CudaDevice *device, const char *key, int count)
{
    const Choice *kept = device->tuning == NULL ? NULL : cuda_tuning_find(device->tuning, key, sizeof *kept);
    return kept != NULL && kept->choice >= 0 && kept->choice < count && kept->count == count ? kept->choice
                                                                                             : -1;
}

void
cuda_choice_store(CudaDevice *device, const char *key, int choice, int count)
{
    Choice kept = { choice, count };
    if (device->tuning != NULL && choice >= 0)
        cuda_tuning_store(device->tuning, key, &kept, sizeof kept);
}

double
cuda_kept_time(const CudaDevice *device, const char *key)
{
    g_autofree char *name = g_strconcat("time ", key, NULL);
    const double *kept = device->tuning == NULL ? NULL : cuda_tuning_find(device->tuning, name, sizeof *kept);
    return kept != NULL ? *kept : 0.0;
}

void
cuda_keep_time(CudaDevice *device, const char *key, double microseconds)
{
    g_autofree char *name = g_strconcat("time ", key, NULL);
    if (device->tuning != NULL)
        cuda_tuning_store(device->tuning, name, &microseconds, sizeof microseconds);
}
