#include "split_exchange.h"

#include <stdlib.h>
#include <string.h>

#include "split_kernels.h"

#define WARM_RUNS 20
#define WORD ((gsize)16)

typedef struct {
    int index;
    char name[sizeof((struct cudaDeviceProp *)0)->name];
    cudaStream_t stream;
    cudaEvent_t begin, end;
    unsigned *state; /* [0] the run's number, [1] failed, [2] wrong words */
    /* of the chain being measured */
    guint8 *from, *to;
    unsigned *flags;
    cudaGraphExec_t graph;
    double *us; /* of each run */
    int runs;
    GError *error;
} Side;

struct SplitPair {
    Side sides[2];
};

typedef struct {
    SplitWay way;
    const gsize *bytes;
    int count;
    gsize total;
} Chain;

static bool
check(cudaError_t status, const char *what, GError **error)
{
    if (status == cudaSuccess)
        return true;
    cudaGetLastError();
    return rv_error_set(error, RV_ERROR_DEVICE, what, NULL, "CUDA: %s", cudaGetErrorString(status));
}

static gsize
rounded(gsize bytes)
{
    return (bytes + WORD - 1) / WORD * WORD;
}

/* ---- the pair ---- */

static bool
check_pair(int first, int second, GError **error)
{
    int count = 0, forth = 0, back = 0;
    const char *todo = "run this where two GPUs reach each other's memory";
    if (cudaGetDeviceCount(&count) != cudaSuccess)
        count = 0;
    cudaGetLastError();
    if (first == second || first < 0 || second < 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--device", "give two GPUs, for example cuda:0,1",
                            "a frame is split over two GPUs");
    if (count <= MAX(first, second))
        return rv_error_set(error, RV_ERROR_DEVICE, "cuda", todo,
                            "two GPUs with peer access are needed, cuda:%d and cuda:%d; this machine has %d",
                            first, second, count);
    if (!check(cudaDeviceCanAccessPeer(&forth, first, second), "peer access", error) ||
        !check(cudaDeviceCanAccessPeer(&back, second, first), "peer access", error))
        return false;
    return (forth && back) ||
           rv_error_set(error, RV_ERROR_DEVICE, "cuda", todo,
                        "two GPUs with peer access are needed; cuda:%d and cuda:%d do not reach each other's "
                        "memory",
                        first, second);
}

static bool
open_side(Side *side, int index, int other, GError **error)
{
    struct cudaDeviceProp properties;
    side->index = index;
    if (!check(cudaSetDevice(index), "cuda", error) ||
        !check(cudaGetDeviceProperties(&properties, index), "cuda", error))
        return false;
    g_strlcpy(side->name, properties.name, sizeof side->name);
    cudaError_t status = cudaDeviceEnablePeerAccess(other, 0);
    if (status == cudaErrorPeerAccessAlreadyEnabled) {
        cudaGetLastError();
        status = cudaSuccess;
    }
    return check(status, side->name, error) &&
           check(cudaStreamCreateWithFlags(&side->stream, cudaStreamNonBlocking), side->name, error) &&
           check(cudaEventCreate(&side->begin), side->name, error) &&
           check(cudaEventCreate(&side->end), side->name, error) &&
           check(cudaMalloc((void **)&side->state, 3 * sizeof *side->state), side->name, error);
}

SplitPair *
split_pair_open(int first, int second, GError **error)
{
    if (!check_pair(first, second, error))
        return NULL;
    SplitPair *pair = g_new0(SplitPair, 1);
    if (open_side(&pair->sides[1], second, first, error) && open_side(&pair->sides[0], first, second, error))
        return pair;
    split_pair_close(pair);
    return NULL;
}

void
split_pair_close(SplitPair *pair)
{
    for (int i = 0; pair != NULL && i < 2; i++) {
        Side *side = &pair->sides[i];
        cudaSetDevice(side->index);
        cudaFree(side->state);
        if (side->begin != NULL)
            cudaEventDestroy(side->begin);
        if (side->end != NULL)
            cudaEventDestroy(side->end);
        if (side->stream != NULL)
            cudaStreamDestroy(side->stream);
    }
    g_free(pair);
}

const char *
split_pair_name(const SplitPair *pair, int side)
{
    return pair->sides[side].name;
}

/* ---- a chain ---- */

/* Memory, flags at zero, and the words that are sent. */
static bool
ready_side(Side *side, const Chain *chain, GError **error)
{
    gsize flags = ((gsize)chain->count + 1) * SPLIT_MOST_BLOCKS * sizeof *side->flags;
    return check(cudaSetDevice(side->index), side->name, error) &&
           check(cudaMalloc((void **)&side->from, chain->total), side->name, error) &&
           check(cudaMalloc((void **)&side->to, chain->total), side->name, error) &&
           check(cudaMalloc((void **)&side->flags, flags), side->name, error) &&
           check(cudaMemsetAsync(side->flags, 0, flags, side->stream), side->name, error) &&
           check(cudaMemsetAsync(side->state, 0, 3 * sizeof *side->state, side->stream), side->name, error) &&
           check(split_fill(side->from, chain->total, side->index, side->stream), side->name, error) &&
           check(cudaStreamSynchronize(side->stream), side->name, error);
}

static cudaError_t
enqueue_exchange(Side *side, const Side *other, SplitWay way, int number, gsize offset, gsize bytes)
{
    const Side *to = way == SPLIT_ALONE ? side : other;
    SplitExchange exchange = { .from = side->from + offset,
                               .to = to->to + offset,
                               .bytes = bytes,
                               .own = side->flags + number * SPLIT_MOST_BLOCKS,
                               .peer = to->flags + number * SPLIT_MOST_BLOCKS,
                               .run = side->state,
                               .failed = side->state + 1 };
    if (way == SPLIT_COPIES && bytes > 0) {
        cudaError_t status =
            cudaMemcpyAsync(exchange.to, exchange.from, bytes, cudaMemcpyDefault, side->stream);
        if (status != cudaSuccess)
            return status;
        exchange.bytes = 0;
    }
    return split_exchange(&exchange, side->stream);
}

/* A first exchange of no bytes has both start together. */
static cudaError_t
enqueue_chain(Side *side, const Side *other, const Chain *chain)
{
    SplitWay meeting = chain->way == SPLIT_ALONE ? SPLIT_ALONE : SPLIT_STORES;
    gsize offset = 0;
    cudaError_t status = split_next_run(side->state, side->stream);
    if (status == cudaSuccess)
        status = enqueue_exchange(side, other, meeting, chain->count, 0, 0);
    if (status == cudaSuccess)
        status = cudaEventRecordWithFlags(side->begin, side->stream, cudaEventRecordExternal);
    for (int i = 0; i < chain->count && status == cudaSuccess; i++) {
        status = enqueue_exchange(side, other, chain->way, i, offset, rounded(chain->bytes[i]));
        offset += rounded(chain->bytes[i]);
    }
    return status != cudaSuccess ? status
                                 : cudaEventRecordWithFlags(side->end, side->stream, cudaEventRecordExternal);
}

static bool
capture_side(Side *side, const Side *other, const Chain *chain, GError **error)
{
    cudaGraph_t graph = NULL;
    if (!check(cudaSetDevice(side->index), side->name, error) ||
        !check(cudaStreamBeginCapture(side->stream, cudaStreamCaptureModeThreadLocal), side->name, error))
        return false;
    bool ok = check(enqueue_chain(side, other, chain), side->name, error);
    cudaError_t status = cudaStreamEndCapture(side->stream, &graph);
    ok = ok && check(status, side->name, error) &&
         check(cudaGraphInstantiate(&side->graph, graph, 0), side->name, error) &&
         check(cudaGraphUpload(side->graph, side->stream), side->name, error) &&
         check(cudaStreamSynchronize(side->stream), side->name, error);
    if (graph != NULL)
        cudaGraphDestroy(graph);
    return ok;
}

static void
clear_side(Side *side)
{
    cudaSetDevice(side->index);
    if (side->graph != NULL)
        cudaGraphExecDestroy(side->graph);
    cudaFree(side->from);
    cudaFree(side->to);
    cudaFree(side->flags);
    cudaGetLastError();
    side->graph = NULL;
    side->from = side->to = NULL;
    side->flags = NULL;
    g_clear_pointer(&side->us, g_free);
    g_clear_error(&side->error);
}

/* ---- runs ---- */

static bool
run_once(Side *side, double *us, GError **error)
{
    float milliseconds = 0.0f;
    unsigned state[3] = { 0 };
    if (!check(cudaGraphLaunch(side->graph, side->stream), side->name, error) ||
        !check(cudaMemcpyAsync(state, side->state, sizeof state, cudaMemcpyDeviceToHost, side->stream),
               side->name, error) ||
        !check(cudaStreamSynchronize(side->stream), side->name, error) ||
        !check(cudaEventElapsedTime(&milliseconds, side->begin, side->end), side->name, error))
        return false;
    *us = (double)milliseconds * 1e3;
    return state[1] == 0 || rv_error_set(error, RV_ERROR_FAILED, side->name, NULL,
                                         "an exchange waited for the other GPU for a second, in vain");
}

static gpointer
run_side(gpointer data)
{
    Side *side = data;
    bool ok = check(cudaSetDevice(side->index), side->name, &side->error);
    for (int i = -WARM_RUNS; ok && i < side->runs; i++)
        ok = run_once(side, &side->us[MAX(i, 0)], &side->error);
    return NULL;
}

/* Both GPUs at the same time; the first error. */
static bool
run_sides(SplitPair *pair, int runs, GError **error)
{
    GThread *threads[2];
    for (int i = 0; i < 2; i++) {
        pair->sides[i].runs = runs;
        threads[i] = g_thread_new("split", run_side, &pair->sides[i]);
    }
    for (int i = 0; i < 2; i++)
        g_thread_join(threads[i]);
    for (int i = 0; i < 2; i++)
        if (pair->sides[i].error != NULL) {
            g_propagate_error(error, g_steal_pointer(&pair->sides[i].error));
            return false;
        }
    return true;
}

static bool
compare_side(Side *side, int from, const Chain *chain, GError **error)
{
    unsigned wrong = 1;
    if (!check(cudaSetDevice(side->index), side->name, error) ||
        !check(split_compare(side->to, chain->total, from, side->state + 2, side->stream), side->name,
               error) ||
        !check(cudaMemcpyAsync(&wrong, side->state + 2, sizeof wrong, cudaMemcpyDeviceToHost, side->stream),
               side->name, error) ||
        !check(cudaStreamSynchronize(side->stream), side->name, error))
        return false;
    return wrong == 0 || rv_error_set(error, RV_ERROR_FAILED, side->name, NULL,
                                      "%u words of 16 bytes arrived wrong", wrong);
}

/* Wipes what arrived, runs, and compares. */
static bool
try_chain(SplitPair *pair, const Chain *chain, GError **error)
{
    for (int i = 0; i < 2; i++) {
        Side *side = &pair->sides[i];
        if (!check(cudaSetDevice(side->index), side->name, error) ||
            !check(cudaMemsetAsync(side->to, 0xff, chain->total, side->stream), side->name, error) ||
            !check(cudaStreamSynchronize(side->stream), side->name, error))
            return false;
    }
    if (!run_sides(pair, 1, error))
        return false;
    for (int i = 0; i < 2; i++) {
        int from = pair->sides[chain->way == SPLIT_ALONE ? i : 1 - i].index;
        if (!compare_side(&pair->sides[i], from, chain, error))
            return false;
    }
    return true;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static SplitTimes
times_of(const SplitPair *pair, int runs)
{
    g_autofree double *us = g_new(double, (gsize)runs);
    for (int i = 0; i < runs; i++)
        us[i] = MAX(pair->sides[0].us[i], pair->sides[1].us[i]);
    qsort(us, (gsize)runs, sizeof *us, by_value);
    return (SplitTimes) { us[runs / 2], us[MIN(runs - 1, runs * 99 / 100)], us[runs - 1] };
}

bool
split_pair_measure(SplitPair *pair, SplitWay way, const gsize *bytes, int count, int runs, SplitTimes *times,
                   GError **error)
{
    Chain chain = { .way = way, .bytes = bytes, .count = count };
    bool ok = true;
    for (int i = 0; i < count; i++)
        chain.total += rounded(bytes[i]);
    for (int i = 0; ok && i < 2; i++) {
        pair->sides[i].us = g_new0(double, (gsize)runs);
        ok = ready_side(&pair->sides[i], &chain, error);
    }
    for (int i = 0; ok && i < 2; i++)
        ok = capture_side(&pair->sides[i], &pair->sides[1 - i], &chain, error);
    ok = ok && try_chain(pair, &chain, error) && run_sides(pair, runs, error);
    if (ok)
        *times = times_of(pair, runs);
    ok = ok && try_chain(pair, &chain, error);
    for (int i = 0; i < 2; i++)
        clear_side(&pair->sides[i]);
    cudaSetDevice(pair->sides[0].index);
    return ok;
}
