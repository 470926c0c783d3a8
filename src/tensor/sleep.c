/* sleep.c - a device that gives its memory to others for a while: weights and scratch, at addresses that
 * stay, so that compiled programs are good again afterwards. */
#include "tensor/internal.h"

static RvChunk *
chunk_of(RvWeightSet *set, guint i)
{
    return &g_array_index(set->chunks, RvChunk, i);
}

static bool
keep_set(RvWeightSet *set, bool *all, GError **error)
{
    const RvBackend *backend = set->device->backend;
    for (guint i = 0; i < set->chunks->len; i++) {
        RvChunk *chunk = chunk_of(set, i);
        if (!chunk->is_suspended && !chunk->is_kept &&
            !backend->keep(set->device->state, chunk->memory, chunk->used, &chunk->is_kept, error))
            return false;
        *all &= chunk->is_kept;
    }
    return true;
}

bool
rv_device_keep(RvDevice *device, bool *all, GError **error)
{
    *all = true;
    for (guint i = 0; i < device->sets->len; i++)
        if (!keep_set(g_ptr_array_index(device->sets, i), all, error))
            return false;
    return true;
}

gsize
rv_device_unkept(const RvDevice *device)
{
    gsize bytes = 0;
    for (guint i = 0; i < device->sets->len; i++) {
        RvWeightSet *set = g_ptr_array_index(device->sets, i);
        for (guint k = 0; k < set->chunks->len; k++)
            bytes += chunk_of(set, k)->is_kept ? 0 : chunk_of(set, k)->used;
    }
    return bytes;
}

static bool
suspend_set(RvWeightSet *set, GError **error)
{
    const RvBackend *backend = set->device->backend;
    for (guint i = 0; i < set->chunks->len; i++) {
        RvChunk *chunk = chunk_of(set, i);
        if (chunk->is_suspended)
            continue;
        if (!backend->suspend(set->device->state, chunk->memory, chunk->bytes, error))
            return false;
        chunk->is_suspended = true;
    }
    return true;
}

/* The first failure stays; the rest is tried nevertheless. */
static bool
suspend_all(RvDevice *device, GError **error)
{
    bool ok = device->backend->trim(device->state, error);
    for (guint i = 0; i < device->sets->len; i++)
        ok = suspend_set(g_ptr_array_index(device->sets, i), ok ? error : NULL) && ok;
    return ok;
}

bool
rv_device_sleep(RvDevice *device, GError **error)
{
    device->is_asleep = true;
    return suspend_all(device, error);
}

static bool
want_all(void *user, const char *name)
{
    return true;
}

/* What the back end did not keep is packed from its source, as when it was loaded. */
static bool
resume_set(RvWeightSet *set, GError **error)
{
    const RvBackend *backend = set->device->backend;
    bool is_lost = false;
    for (guint i = 0; i < set->chunks->len; i++) {
        RvChunk *chunk = chunk_of(set, i);
        if (chunk->is_suspended && !backend->resume(set->device->state, chunk->memory, chunk->bytes, error))
            return false;
        is_lost |= chunk->is_suspended && !chunk->is_kept && chunk->used > 0;
        chunk->is_suspended = false;
        set->is_lost |= is_lost;
    }
    if (set->is_lost && !rv_weight_set_repack(set, want_all, NULL, error))
        return false;
    set->is_lost = false;
    return true;
}

bool
rv_device_wake(RvDevice *device, GError **error)
{
    if (!device->is_asleep)
        return true;
    bool ok = device->scratch == 0 || device->backend->scratch(device->state, device->scratch, error) != NULL;
    for (guint i = 0; ok && i < device->sets->len; i++)
        ok = resume_set(g_ptr_array_index(device->sets, i), error);
    if (ok)
        device->is_asleep = false;
    else
        suspend_all(device, NULL);
    return ok;
}

bool
rv_device_is_asleep(const RvDevice *device)
{
    return device->is_asleep;
}

bool
rv_device_check_awake(const RvDevice *device, GError **error)
{
    return !device->is_asleep || rv_error_set(error, RV_ERROR_FAILED, device->backend->name,
                                              "wake it with rv_device_wake()", "the device is asleep");
}
