#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backends/cpu/internal.h"

/* Address space, not memory: no plan on a machine that we know comes near it. */
#define ARENA_RESERVED ((gsize)1 << 40)
#define ARENA_SMALLEST ((gsize)1 << 24)

static const CpuOp *const cpu_ops[RV_OP_KINDS] = {
    [RV_OP_CONV2D] = &cpu_conv2d,
    [RV_OP_LINEAR] = &cpu_linear,
    [RV_OP_ATTENTION] = &cpu_attention,
    [RV_OP_GROUP_NORM] = &cpu_group_norm,
    [RV_OP_LAYER_NORM] = &cpu_layer_norm,
    [RV_OP_ACT] = &cpu_act,
    [RV_OP_GLU] = &cpu_glu,
    [RV_OP_ADD] = &cpu_add,
    [RV_OP_MIX] = &cpu_mix,
    [RV_OP_CONCAT] = &cpu_concat,
    [RV_OP_EMBED] = &cpu_embed,
    [RV_OP_PICK] = &cpu_pick,
    [RV_OP_SINUSOID] = &cpu_sinusoid,
    [RV_OP_CONVERT] = &cpu_convert,
};

typedef struct {
    RvOp **ops;
    int count;
    int finished; /* starts that ran and were not asked for yet */
} CpuExec;

static int
usable_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static void *
reserve(gsize bytes)
{
    void *range = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return range != MAP_FAILED ? range : NULL;
}

/* Where address space is limited (ulimit -v) weights, pictures and threads get at least half of what is left.
 */
static bool
reserve_arena(CpuDevice *cpu, GError **error)
{
    gsize bytes = ARENA_RESERVED;
    cpu->arena = reserve(bytes);
    while (cpu->arena == NULL && bytes > ARENA_SMALLEST) {
        bytes /= 2;
        void *most = reserve(bytes);
        if (most == NULL)
            continue;
        munmap(most, bytes);
        bytes /= 2;
        cpu->arena = reserve(bytes);
    }
    cpu->arena_reserved = bytes;
    return cpu->arena != NULL ||
           rv_error_set(error, RV_ERROR_NO_MEMORY, "cpu", "raise the limit on virtual memory (ulimit -v)",
                        "cannot reserve address space for scratch memory");
}

static void *
wait_for_unlock(void *mutex)
{
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

/* OpenMP ends the process when it cannot start its threads: try first whether they can all exist at once,
 * then have it start them. */
static bool
start_threads(int count, GError **error)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    g_autofree pthread_t *threads = g_new(pthread_t, (gsize)count);
    int started = 0;
    pthread_mutex_lock(&mutex);
    while (started < count - 1 && pthread_create(&threads[started], NULL, wait_for_unlock, &mutex) == 0)
        started++;
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started < count - 1)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, "cpu",
                            "give fewer with --threads, or raise the limits (ulimit -v, -u)",
                            "cannot start %d threads", count);
    int running = 0;
#pragma omp parallel num_threads(count) reduction(+ : running)
    running++;
    return running > 0;
}

static bool
cpu_open(const RvDeviceOptions *options, void **device, GError **error)
{
    if (options->compute != RV_F32)
        return rv_error_set(error, RV_ERROR_DEVICE, "cpu", "use --precision fp32",
                            "the CPU computes in float32 only, not %s", rv_dtype_name(options->compute));
    if (options->index != 0)
        return rv_error_set(error, RV_ERROR_DEVICE, "cpu", "use --device cpu",
                            "there is only one CPU device, not number %d", options->index);
    CpuDevice *cpu = g_new0(CpuDevice, 1);
    cpu->threads = options->threads > 0 ? options->threads : usable_cores();
    if (!start_threads(cpu->threads, error) || !reserve_arena(cpu, error)) {
        g_free(cpu);
        return false;
    }
    *device = cpu;
    return true;
}

static void
cpu_close(void *device)
{
    CpuDevice *cpu = device;
    munmap(cpu->arena, cpu->arena_reserved);
    g_free(cpu);
}

static void
cpu_describe(void *device, RvDeviceInfo *info)
{
    CpuDevice *cpu = device;
    g_strlcpy(info->name, "cpu", sizeof info->name);
    g_autofree char *text = NULL;
    if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
        const char *model = strstr(text, "model name");
        const char *colon = model != NULL ? strchr(model, ':') : NULL;
        if (colon != NULL)
            g_snprintf(info->name, sizeof info->name, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    long page = sysconf(_SC_PAGESIZE);
    info->compute = RV_F32;
    info->threads = cpu->threads;
    info->memory_total = (gint64)sysconf(_SC_PHYS_PAGES) * page;
    info->memory_free = (gint64)sysconf(_SC_AVPHYS_PAGES) * page;
}

void *
cpu_alloc(gsize bytes)
{
    if (bytes == 0)
        bytes = 64;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (bytes >= (gsize)4 << 20)
        madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

void
cpu_free(void *memory, gsize bytes)
{
    if (memory != NULL)
        munmap(memory, bytes == 0 ? 64 : bytes);
}

static void *
cpu_backend_alloc(void *device, gsize bytes, GError **error)
{
    void *memory = cpu_alloc(bytes);
    if (memory == NULL)
        rv_error_set(error, RV_ERROR_NO_MEMORY, "cpu", "use a smaller size or batch, or free memory",
                     "out of memory: %.1f MB more are needed", (double)bytes / 1e6);
    return memory;
}

static void
cpu_backend_free(void *device, void *memory, gsize bytes)
{
    cpu_free(memory, bytes);
}

static void *
cpu_scratch(void *device, gsize bytes, GError **error)
{
    CpuDevice *cpu = device;
    gsize page = 2 << 20;
    bytes = (bytes + page - 1) / page * page;
    if (bytes > cpu->arena_bytes) {
        if (bytes > cpu->arena_reserved || mprotect(cpu->arena, bytes, PROT_READ | PROT_WRITE) != 0) {
            rv_error_set(error, RV_ERROR_NO_MEMORY, "cpu", "use a smaller size or batch, or free memory",
                         "out of memory: %.1f MB of scratch memory are needed", (double)bytes / 1e6);
            return NULL;
        }
        madvise(cpu->arena, bytes, MADV_HUGEPAGE);
        cpu->arena_bytes = bytes;
    }
    return cpu->arena;
}

static gint runs, lost; /* atomic, of the process */

static bool
cpu_is_lost(void *device)
{
    return g_atomic_int_get(&lost) != 0;
}

/* For tests: REVERIE_CPU_FAULT=N has the N-th run of a program lose the device for the whole process, as a
 * GPU can be lost. */
static void
inject_fault(void)
{
    const char *wish = g_getenv("REVERIE_CPU_FAULT");
    if (wish != NULL && g_atomic_int_add(&runs, 1) + 1 == atoi(wish))
        g_atomic_int_set(&lost, 1);
}

/* Whole pages; a program that reads them afterwards finds zeros. */
static bool
give_pages(void *memory, gsize bytes, GError **error)
{
    return bytes == 0 || madvise(memory, bytes, MADV_DONTNEED) == 0 ||
           rv_error_set(error, RV_ERROR_FAILED, "cpu", NULL, "memory cannot be given back");
}

static bool
cpu_trim(void *device, GError **error)
{
    CpuDevice *cpu = device;
    return give_pages(cpu->arena, cpu->arena_bytes, error);
}

/* A copy on the host would be where the weights are already: they are packed anew instead. */
static bool
cpu_keep(void *device, void *chunk, gsize used, bool *is_kept, GError **error)
{
    *is_kept = false;
    return true;
}

static bool
cpu_suspend(void *device, void *chunk, gsize bytes, GError **error)
{
    return give_pages(chunk, bytes, error);
}

static bool
cpu_resume(void *device, void *chunk, gsize bytes, GError **error)
{
    return true;
}

static bool
cpu_copy(void *device, void *to, const void *from, gsize bytes, GError **error)
{
    memcpy(to, from, bytes);
    return true;
}

/* Nothing multiplies 8-bit floats here, nothing wants to be known. */
static bool
cpu_calibrate(void *device, const char *calibration, RvCalibrationStep step, bool *is_known, GError **error)
{
    if (is_known != NULL)
        *is_known = true;
    return true;
}

static bool
cpu_prepare(void *device, RvOp *op, GError **error)
{
    CpuDevice *cpu = device;
    omp_set_num_threads(cpu->threads);
    const CpuOp *kind = cpu_ops[op->kind];
    if (kind == NULL)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, NULL, "the CPU back end has no %s",
                            rv_op_kind_name(op->kind));
    return kind->prepare == NULL || kind->prepare(cpu, op, error);
}

static void
cpu_release(void *device, RvOp *op)
{
    const CpuOp *kind = cpu_ops[op->kind];
    if (kind != NULL && kind->release != NULL && op->state != NULL)
        kind->release(op);
    op->state = NULL;
}

static bool
cpu_build(void *device, const RvPlan *plan, void **exec, GError **error)
{
    CpuExec *cpu_exec = g_new0(CpuExec, 1);
    cpu_exec->ops = g_memdup2(plan->ops, sizeof *plan->ops * (gsize)plan->count);
    cpu_exec->count = plan->count;
    *exec = cpu_exec;
    return true;
}

static void
cpu_drop(void *device, void *exec)
{
    CpuExec *cpu_exec = exec;
    g_free(cpu_exec->ops);
    g_free(cpu_exec);
}

static bool
cpu_run(void *device, void *exec, const int *cancel, RvObserver observer, void *user, GError **error)
{
    CpuDevice *cpu = device;
    CpuExec *cpu_exec = exec;
    omp_set_num_threads(cpu->threads);
    inject_fault();
    if (cpu_is_lost(device))
        return rv_error_set(error, RV_ERROR_DEVICE, "cpu", NULL, "lost, as REVERIE_CPU_FAULT wishes");
    for (int i = 0; i < cpu_exec->count; i++) {
        const RvOp *op = cpu_exec->ops[i];
        if (cancel != NULL && g_atomic_int_get(cancel) != 0)
            return rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
        gint64 start = observer != NULL ? g_get_monotonic_time() : 0;
        if (!cpu_ops[op->kind]->run(cpu, op, error))
            return false;
        if (observer != NULL)
            observer(op, (double)(g_get_monotonic_time() - start) * 1e-6, user);
    }
    return true;
}

static bool
cpu_start(void *device, void *exec, const int *cancel, const RvTransfer *in, int ins, const RvTransfer *out,
          int outs, GError **error)
{
    for (int i = 0; i < ins; i++)
        memcpy(in[i].device, in[i].host, in[i].bytes);
    if (!cpu_run(device, exec, cancel, NULL, NULL, error))
        return false;
    for (int i = 0; i < outs; i++)
        memcpy(out[i].host, out[i].device, out[i].bytes);
    ((CpuExec *)exec)->finished++;
    return true;
}

static bool
cpu_finish(void *device, void *exec, GError **error)
{
    CpuExec *cpu_exec = exec;
    g_assert(cpu_exec->finished > 0);
    cpu_exec->finished--;
    return true;
}

const RvBackend rv_cpu_backend = {
    .abi = RV_BACKEND_ABI,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .is_lost = cpu_is_lost,
    .alloc = cpu_backend_alloc,
    .free = cpu_backend_free,
    .scratch = cpu_scratch,
    .trim = cpu_trim,
    .chunk = cpu_backend_alloc,
    .chunk_free = cpu_backend_free,
    .keep = cpu_keep,
    .suspend = cpu_suspend,
    .resume = cpu_resume,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .prepare = cpu_prepare,
    .calibrate = cpu_calibrate,
    .release = cpu_release,
    .build = cpu_build,
    .drop = cpu_drop,
    .run = cpu_run,
    .start = cpu_start,
    .finish = cpu_finish,
};
