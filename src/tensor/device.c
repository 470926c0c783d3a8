#include "tensor/internal.h"

#define CHUNK_ALIGNMENT ((gsize)4096)
#define MIN_CHUNK ((gsize)2 << 20)
#define MAX_CHUNK ((gsize)128 << 20)

RvDevice *
rv_device_open(const RvBackend *backend, const RvDeviceOptions *options, GError **error)
{
    if (backend->abi != RV_BACKEND_ABI) {
        rv_error_set(error, RV_ERROR_DEVICE, backend->name,
                     "install the module of the same version as the program",
                     "the back end speaks version %d of the interface, this program version %d", backend->abi,
                     RV_BACKEND_ABI);
        return NULL;
    }
    void *state = NULL;
    if (!backend->open(options, &state, error))
        return NULL;
    RvDevice *device = g_new0(RvDevice, 1);
    device->backend = backend;
    device->state = state;
    device->compute = options->compute;
    RvDeviceInfo info;
    rv_device_describe(device, &info);
    if (info.overlaps)
        device->turn = options->turn;
    device->sets = g_ptr_array_new();
    return device;
}

void
rv_device_close(RvDevice *device)
{
    if (device == NULL)
        return;
    device->backend->close(device->state);
    g_ptr_array_unref(device->sets);
    g_free(device);
}

void
rv_device_describe(RvDevice *device, RvDeviceInfo *info)
{
    *info = (RvDeviceInfo) { .memory_free = -1, .memory_total = -1 };
    device->backend->describe(device->state, info);
}

static gint has_lost; /* atomic */

bool
rv_device_is_lost(RvDevice *device)
{
    bool is_lost = device->backend->is_lost(device->state);
    if (is_lost)
        g_atomic_int_set(&has_lost, 1);
    return is_lost;
}

bool
rv_device_needs_new_process(void)
{
    return g_atomic_int_get(&has_lost) != 0;
}

const char *
rv_device_backend(const RvDevice *device)
{
    return device->backend->name;
}

gsize
rv_device_scratch(const RvDevice *device)
{
    return device->scratch;
}

void
rv_device_set_cancel(RvDevice *device, const int *cancel)
{
    device->cancel = cancel;
}

void
rv_device_set_observer(RvDevice *device, RvObserver observer, void *user)
{
    device->observer = observer;
    device->observer_user = user;
}

bool
rv_device_calibrate(RvDevice *device, const char *calibration, RvCalibrationStep step, bool *is_known,
                    GError **error)
{
    return device->backend->calibrate(device->state, calibration, step, is_known, error);
}

RvWeightSet *
rv_weight_set_new(RvDevice *device, RvWeightSource source)
{
    return rv_weight_set_new_typed(device, source, device->compute);
}

RvWeightSet *
rv_weight_set_new_typed(RvDevice *device, RvWeightSource source, RvDType compute)
{
    RvWeightSet *set = g_new0(RvWeightSet, 1);
    set->device = device;
    set->compute = compute;
    set->source = source;
    set->packed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, rv_packed_free);
    set->chunks = g_array_new(FALSE, FALSE, sizeof(RvChunk));
    g_ptr_array_add(device->sets, set);
    return set;
}

void
rv_weight_set_free(RvWeightSet *set)
{
    if (set == NULL)
        return;
    for (guint i = 0; i < set->chunks->len; i++) {
        RvChunk *chunk = &g_array_index(set->chunks, RvChunk, i);
        set->device->backend->chunk_free(set->device->state, chunk->memory, chunk->bytes);
    }
    g_ptr_array_remove(set->device->sets, set);
    g_array_free(set->chunks, TRUE);
    g_hash_table_destroy(set->packed);
    g_free(set->calibration);
    g_free(set);
}

void
rv_weight_set_set_calibration(RvWeightSet *set, const char *calibration)
{
    g_free(set->calibration);
    set->calibration = g_strdup(calibration);
}

const char *
rv_weight_set_calibration(const RvWeightSet *set)
{
    return set->calibration;
}

RvDType
rv_weight_set_compute(const RvWeightSet *set)
{
    return set->compute;
}

gsize
rv_weight_set_bytes(const RvWeightSet *set)
{
    return set->bytes;
}

/* Thousands of small allocations would each fault their pages in one by one; chunks grow with the set, so a
 * small model takes little. */
static void *
take_memory(RvWeightSet *set, gsize bytes, GError **error)
{
    gsize rounded = (bytes + CHUNK_ALIGNMENT - 1) / CHUNK_ALIGNMENT * CHUNK_ALIGNMENT;
    RvChunk *last = set->chunks->len > 0 ? &g_array_index(set->chunks, RvChunk, set->chunks->len - 1) : NULL;
    if (last == NULL || last->bytes - last->used < rounded) {
        RvChunk chunk = { .bytes = MAX(rounded, CLAMP(set->bytes, MIN_CHUNK, MAX_CHUNK)) };
        chunk.memory = set->device->backend->chunk(set->device->state, chunk.bytes, error);
        if (chunk.memory == NULL)
            return NULL;
        g_array_append_val(set->chunks, chunk);
        last = &g_array_index(set->chunks, RvChunk, set->chunks->len - 1);
    }
    void *memory = last->memory + last->used;
    last->used += rounded;
    return memory;
}

/* Undoes the last take_memory of so many bytes. */
static void
give_memory_back(RvWeightSet *set, gsize bytes)
{
    RvChunk *last = &g_array_index(set->chunks, RvChunk, set->chunks->len - 1);
    last->used -= (bytes + CHUNK_ALIGNMENT - 1) / CHUNK_ALIGNMENT * CHUNK_ALIGNMENT;
}

void *
rv_weight_set_get(RvWeightSet *set, const char *key, gsize bytes, RvOp *op, RvPackFunc pack, GError **error)
{
    RvPacked *packed = g_hash_table_lookup(set->packed, key);
    if (packed != NULL) {
        g_assert(packed->bytes == bytes);
        return packed->memory;
    }
    if (!rv_device_check_awake(set->device, error))
        return NULL;
    void *memory = take_memory(set, bytes, error);
    if (memory == NULL)
        return NULL;
    packed = rv_packed_new(op, pack, memory, bytes);
    if (!rv_weight_set_pack(set, packed, error)) {
        rv_packed_free(packed);
        give_memory_back(set, bytes);
        return NULL;
    }
    g_hash_table_insert(set->packed, g_strdup(key), packed);
    set->bytes += bytes;
    return memory;
}
