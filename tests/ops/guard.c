#include "guard.h"

#include <string.h>

#define GUARD_BYTES ((gsize)256)
#define GUARD_VALUE 0xa5
#define POISON 0xff /* NaN in every float type */

typedef struct {
    guint8 *memory; /* of the device, guards included */
    gsize bytes;
    guint8 *seen; /* copy on the host */
} Region;

typedef struct {
    RvOp **ops;
    void **single; /* the inner back end's executable of each op */
    void *whole;
    int count;
    bool was_run;
} GuardExec;

static const RvBackend *inner;
static RvBackend wrapped;
static GArray *regions; /* of all devices: Region */
static Region scratch;

static void
fill(void *device, guint8 *memory, int value, gsize bytes)
{
    g_autofree guint8 *block = g_malloc(bytes);
    memset(block, value, bytes);
    g_assert_true(inner->upload(device, memory, block, bytes, NULL));
}

static void
check_fence(void *device, const guint8 *memory, const char *where)
{
    guint8 fence[GUARD_BYTES];
    g_assert_true(inner->download(device, fence, memory, GUARD_BYTES, NULL));
    for (gsize i = 0; i < GUARD_BYTES; i++)
        if (fence[i] != GUARD_VALUE)
            g_error("a byte %s device memory was overwritten", where);
}

static void *
fence_in(void *device, guint8 *memory, gsize bytes)
{
    Region region = { .memory = memory, .bytes = bytes + 2 * GUARD_BYTES };
    if (memory == NULL)
        return NULL;
    fill(device, region.memory, GUARD_VALUE, region.bytes);
    g_array_append_val(regions, region);
    return region.memory + GUARD_BYTES;
}

static void *
guard_alloc(void *device, gsize bytes, GError **error)
{
    return fence_in(device, inner->alloc(device, bytes + 2 * GUARD_BYTES, error), bytes);
}

static void *
guard_chunk(void *device, gsize bytes, GError **error)
{
    return fence_in(device, inner->chunk(device, bytes + 2 * GUARD_BYTES, error), bytes);
}

/* Suspended memory cannot be read: its fences are checked before, and anew afterwards. */
static void
check_fences(void *device, const Region *region)
{
    check_fence(device, region->memory, "before");
    check_fence(device, region->memory + region->bytes - GUARD_BYTES, "after");
}

static void
free_region(void *device, void *memory, gsize bytes, void (*give)(void *, void *, gsize))
{
    if (memory == NULL)
        return;
    for (guint i = 0; i < regions->len; i++) {
        Region region = g_array_index(regions, Region, i);
        if (region.memory + GUARD_BYTES != memory)
            continue;
        g_assert_cmpuint(region.bytes, ==, bytes + 2 * GUARD_BYTES);
        check_fences(device, &region);
        give(device, region.memory, region.bytes);
        g_array_remove_index(regions, i);
        return;
    }
    g_error("memory that was not allocated is freed");
}

static void
guard_free(void *device, void *memory, gsize bytes)
{
    free_region(device, memory, bytes, inner->free);
}

static void
guard_chunk_free(void *device, void *chunk, gsize bytes)
{
    free_region(device, chunk, bytes, inner->chunk_free);
}

static bool
guard_keep(void *device, void *chunk, gsize used, bool *is_kept, GError **error)
{
    return inner->keep(device, (guint8 *)chunk - GUARD_BYTES, used + GUARD_BYTES, is_kept, error);
}

static bool
guard_suspend(void *device, void *chunk, gsize bytes, GError **error)
{
    Region region = { .memory = (guint8 *)chunk - GUARD_BYTES, .bytes = bytes + 2 * GUARD_BYTES };
    check_fences(device, &region);
    return inner->suspend(device, region.memory, region.bytes, error);
}

static bool
guard_resume(void *device, void *chunk, gsize bytes, GError **error)
{
    guint8 *memory = (guint8 *)chunk - GUARD_BYTES;
    if (!inner->resume(device, memory, bytes + 2 * GUARD_BYTES, error))
        return false;
    fill(device, memory, GUARD_VALUE, GUARD_BYTES);
    fill(device, (guint8 *)chunk + bytes, GUARD_VALUE, GUARD_BYTES);
    return true;
}

static void *
guard_scratch(void *device, gsize bytes, GError **error)
{
    guint8 *memory = inner->scratch(device, bytes + 2 * GUARD_BYTES, error);
    if (memory == NULL)
        return NULL;
    if (scratch.memory != memory || scratch.bytes < bytes + 2 * GUARD_BYTES)
        scratch = (Region) { .memory = memory, .bytes = bytes + 2 * GUARD_BYTES };
    fill(device, memory, GUARD_VALUE, scratch.bytes);
    return memory + GUARD_BYTES;
}

static void
guard_close(void *device)
{
    scratch = (Region) { 0 };
    inner->close(device);
}

static bool
guard_build(void *device, const RvPlan *plan, void **exec, GError **error)
{
    GuardExec *guard = g_new0(GuardExec, 1);
    guard->count = plan->count;
    guard->ops = g_memdup2(plan->ops, sizeof *plan->ops * (gsize)plan->count);
    guard->single = g_new0(void *, (gsize)plan->count);
    bool ok = inner->build(device, plan, &guard->whole, error);
    for (int i = 0; ok && i < plan->count; i++) {
        RvPlan one = { &guard->ops[i], 1 };
        ok = inner->build(device, &one, &guard->single[i], error);
    }
    g_assert_true(ok);
    *exec = guard;
    return true;
}

static void
guard_drop(void *device, void *exec)
{
    GuardExec *guard = exec;
    for (int i = 0; i < guard->count; i++)
        inner->drop(device, guard->single[i]);
    inner->drop(device, guard->whole);
    g_free(guard->ops);
    g_free(guard->single);
    g_free(guard);
}

static gsize
operand_bytes(const RvOperand *operand)
{
    gint64 pixels = rv_shape_pixels(operand->shape);
    if (operand->data == NULL || pixels == 0)
        return 0;
    return (gsize)((pixels - 1) * operand->pixel_stride + operand->shape.c) * rv_dtype_size(operand->dtype);
}

static bool
runs_in_place(const RvOp *op)
{
    for (int i = 0; i < RV_OP_INPUTS; i++) {
        const guint8 *in = op->in[i].data, *out = op->out.data;
        if (in != NULL && in < out + operand_bytes(&op->out) && out < in + operand_bytes(&op->in[i]))
            return true;
    }
    return false;
}

static void
look(void *device, Region *region)
{
    g_free(region->seen);
    region->seen = g_malloc(region->bytes);
    g_assert_true(inner->download(device, region->seen, region->memory, region->bytes, NULL));
}

static void
allow(Region *region, const guint8 *now, const guint8 *from, gsize bytes)
{
    if (bytes > 0 && from >= region->memory && from + bytes <= region->memory + region->bytes)
        memcpy(region->seen + (from - region->memory), now + (from - region->memory), bytes);
}

/* Nothing changed since look() but the op's output and workspace. */
static void
check_region(void *device, Region *region, const RvOp *op)
{
    g_autofree guint8 *now = g_malloc(region->bytes);
    g_assert_true(inner->download(device, now, region->memory, region->bytes, NULL));
    gsize size = rv_dtype_size(op->out.dtype), row = (gsize)op->out.shape.c * size;
    for (gint64 p = 0; p < rv_shape_pixels(op->out.shape); p++)
        allow(region, now, (const guint8 *)op->out.data + (gsize)p * (gsize)op->out.pixel_stride * size, row);
    allow(region, now, op->workspace_data, op->workspace);
    if (memcmp(now, region->seen, region->bytes) != 0)
        g_error("op %s (%s) wrote outside its output", op->name, rv_op_kind_name(op->kind));
    g_clear_pointer(&region->seen, g_free);
}

static bool
run_guarded(void *device, RvOp *op, void *exec, GError **error)
{
    if (!runs_in_place(op) && op->out.pixel_stride == op->out.shape.c)
        fill(device, op->out.data, POISON, operand_bytes(&op->out));
    if (op->workspace > 0)
        fill(device, op->workspace_data, POISON, op->workspace);
    for (guint i = 0; i < regions->len; i++)
        look(device, &g_array_index(regions, Region, i));
    look(device, &scratch);
    bool ok = inner->run(device, exec, NULL, NULL, NULL, error);
    for (guint i = 0; i < regions->len; i++)
        check_region(device, &g_array_index(regions, Region, i), op);
    check_region(device, &scratch, op);
    return ok;
}

static bool
guard_run(void *device, void *exec, const int *cancel, RvObserver observer, void *user, GError **error)
{
    GuardExec *guard = exec;
    if (guard->was_run)
        return inner->run(device, guard->whole, cancel, observer, user, error);
    guard->was_run = true;
    for (int i = 0; i < guard->count; i++)
        if (!run_guarded(device, guard->ops[i], guard->single[i], error))
            return false;
    return true;
}

static bool
guard_start(void *device, void *exec, const int *cancel, const RvTransfer *in, int ins, const RvTransfer *out,
            int outs, GError **error)
{
    return inner->start(device, ((GuardExec *)exec)->whole, cancel, in, ins, out, outs, error);
}

static bool
guard_finish(void *device, void *exec, GError **error)
{
    return inner->finish(device, ((GuardExec *)exec)->whole, error);
}

const RvBackend *
guard_wrap(const RvBackend *backend)
{
    inner = backend;
    regions = g_array_new(FALSE, TRUE, sizeof(Region));
    wrapped = *backend;
    wrapped.close = guard_close;
    wrapped.alloc = guard_alloc;
    wrapped.free = guard_free;
    wrapped.scratch = guard_scratch;
    wrapped.chunk = guard_chunk;
    wrapped.chunk_free = guard_chunk_free;
    wrapped.keep = guard_keep;
    wrapped.suspend = guard_suspend;
    wrapped.resume = guard_resume;
    wrapped.build = guard_build;
    wrapped.drop = guard_drop;
    wrapped.run = guard_run;
    wrapped.start = guard_start;
    wrapped.finish = guard_finish;
    return &wrapped;
}
