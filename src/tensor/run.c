/* run.c - what happens to a program once it is compiled: bytes to its inputs, runs, bytes from its outputs.
 */
#include <string.h>

#include "tensor/internal.h"

static const RvStorage *
find_slot(const RvProgram *p, GArray *slots, const char *name, gsize bytes, GError **error)
{
    for (guint i = 0; i < slots->len; i++) {
        const RvSlot *slot = &g_array_index(slots, RvSlot, i);
        if (strcmp(slot->name, name) != 0)
            continue;
        const RvValue *value = &g_array_index(p->values, RvValue, slot->value);
        const RvStorage *storage = &g_array_index(p->storages, RvStorage, value->storage);
        if (storage->bytes == bytes)
            return storage;
        rv_error_set(error, RV_ERROR_FAILED, name, NULL, "a slot of %zu bytes was given %zu", storage->bytes,
                     bytes);
        return NULL;
    }
    rv_error_set(error, RV_ERROR_FAILED, name, NULL, "the program has no such slot");
    return NULL;
}

static gsize
slot_bytes(const RvProgram *p, const GArray *slots, const char *name)
{
    for (guint i = 0; i < slots->len; i++) {
        const RvSlot *slot = &g_array_index(slots, RvSlot, i);
        if (strcmp(slot->name, name) == 0)
            return g_array_index(p->storages, RvStorage,
                                 g_array_index(p->values, RvValue, slot->value).storage)
                .bytes;
    }
    return 0;
}

gsize
rv_program_slot_bytes(const RvProgram *p, const char *name)
{
    gsize bytes = slot_bytes(p, p->inputs, name);
    return bytes > 0 ? bytes : slot_bytes(p, p->outputs, name);
}

bool
rv_program_write(RvProgram *p, const char *input, const void *data, gsize bytes, GError **error)
{
    g_assert(p->is_compiled);
    const RvStorage *slot = find_slot(p, p->inputs, input, bytes, error);
    return slot != NULL && p->device->backend->upload(p->device->state, slot->memory, data, bytes, error);
}

bool
rv_program_read(RvProgram *p, const char *output, void *data, gsize bytes, GError **error)
{
    g_assert(p->is_compiled);
    const RvStorage *slot = find_slot(p, p->outputs, output, bytes, error);
    return slot != NULL && p->device->backend->download(p->device->state, data, slot->memory, bytes, error);
}

/* An input, or, when there is none of that name, an output. */
static const RvStorage *
find_any_slot(const RvProgram *p, const char *name, GError **error)
{
    gsize bytes = slot_bytes(p, p->inputs, name);
    if (bytes > 0)
        return find_slot(p, p->inputs, name, bytes, error);
    return find_slot(p, p->outputs, name, slot_bytes(p, p->outputs, name), error);
}

bool
rv_program_copy(const RvProgram *from, const char *slot, RvProgram *to, const char *input, GError **error)
{
    g_assert(from->is_compiled && to->is_compiled && from->device->backend == to->device->backend);
    const RvStorage *source = find_any_slot(from, slot, error);
    const RvStorage *target = source != NULL ? find_slot(to, to->inputs, input, source->bytes, error) : NULL;
    return target != NULL &&
           to->device->backend->copy(to->device->state, target->memory, source->memory, source->bytes, error);
}

static bool
find_transfers(const RvProgram *p, GArray *slots, const RvSlotBytes *named, int count, RvTransfer *transfers,
               GError **error)
{
    for (int i = 0; i < count; i++) {
        const RvStorage *slot = find_slot(p, slots, named[i].slot, named[i].bytes, error);
        if (slot == NULL)
            return false;
        transfers[i] = (RvTransfer) { slot->memory, named[i].host, named[i].bytes };
    }
    return true;
}

/* Whoever hears of the failure may ask at once whether a device was lost. */
static bool
note_failure(RvDevice *device)
{
    rv_device_is_lost(device);
    return false;
}

bool
rv_program_start(RvProgram *p, const RvSlotBytes *in, int ins, const RvSlotBytes *out, int outs,
                 GError **error)
{
    g_assert(p->is_compiled && p->under_way < RV_STARTS_UNDER_WAY);
    RvDevice *device = p->device;
    g_autofree RvTransfer *transfers = g_new(RvTransfer, (gsize)(ins + outs) + 1);
    if (!rv_device_check_awake(device, error) || !find_transfers(p, p->inputs, in, ins, transfers, error) ||
        !find_transfers(p, p->outputs, out, outs, transfers + ins, error))
        return false;
    if (!device->backend->start(device->state, p->exec, device->cancel, transfers, ins, transfers + ins, outs,
                                error))
        return note_failure(device);
    p->under_way++;
    return true;
}

bool
rv_program_finish(RvProgram *p, GError **error)
{
    g_assert(p->under_way > 0);
    p->under_way--;
    return p->device->backend->finish(p->device->state, p->exec, error) || note_failure(p->device);
}

/* Without a turn. */
static bool
run(RvProgram *p, GError **error)
{
    RvDevice *device = p->device;
    return rv_device_check_awake(device, error) &&
           (device->backend->run(device->state, p->exec, device->cancel, device->observer,
                                 device->observer_user, error) ||
            note_failure(device));
}

/* A device that only enqueues may have left it alone. */
static bool
was_cancelled(const RvDevice *device, GError **error)
{
    if (device->cancel == NULL || g_atomic_int_get(device->cancel) == 0)
        return false;
    rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
    return true;
}

static bool
run_and_read(RvProgram *p, const char *output, void *data, gsize bytes, GError **error)
{
    RvSlotBytes out = { output, data, bytes };
    if (p->device->observer != NULL)
        return run(p, error) && rv_program_read(p, output, data, bytes, error);
    return rv_program_start(p, NULL, 0, &out, 1, error) && rv_program_finish(p, error) &&
           !was_cancelled(p->device, error);
}

static bool
begin_turn(const RvDevice *device, GError **error)
{
    return device->turn.begin == NULL || device->turn.begin(device->turn.user) ||
           rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
}

static void
end_turn(const RvDevice *device)
{
    if (device->turn.end != NULL)
        device->turn.end(device->turn.user);
}

bool
rv_program_run(RvProgram *p, GError **error)
{
    g_assert(p->is_compiled && p->under_way == 0);
    if (!begin_turn(p->device, error))
        return false;
    bool ok = run(p, error);
    end_turn(p->device);
    return ok;
}

bool
rv_program_run_and_read(RvProgram *p, const char *output, void *data, gsize bytes, GError **error)
{
    if (!begin_turn(p->device, error))
        return false;
    bool ok = run_and_read(p, output, data, bytes, error);
    end_turn(p->device);
    return ok;
}
