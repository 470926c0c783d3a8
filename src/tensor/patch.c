/* patch.c - weights that change after they were packed: the same memory is packed anew. */
#include <string.h>

#include "tensor/internal.h"

RvPacked *
rv_packed_new(const RvOp *op, RvPackFunc pack, void *memory, gsize bytes)
{
    RvPacked *packed = g_new0(RvPacked, 1);
    packed->memory = memory;
    packed->bytes = bytes;
    packed->pack = pack;
    packed->op = *op;
    packed->op.name = g_strdup(op->name);
    packed->op.state = packed->op.workspace_data = NULL;
    packed->op.feeder = packed->op.reader = NULL;
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        packed->op.weight[i].name = g_strdup(op->weight[i].name);
    for (int i = 0; i < RV_OP_INPUTS; i++)
        packed->op.in[i].data = NULL;
    packed->op.out.data = NULL;
    return packed;
}

void
rv_packed_free(gpointer data)
{
    RvPacked *packed = data;
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        g_free(packed->op.weight[i].name);
    g_free(packed->op.name);
    g_free(packed);
}

static void
forget_kept(RvWeightSet *set, const guint8 *memory)
{
    for (guint i = 0; i < set->chunks->len; i++) {
        RvChunk *chunk = &g_array_index(set->chunks, RvChunk, i);
        if (memory >= chunk->memory && memory < chunk->memory + chunk->bytes)
            chunk->is_kept = false;
    }
}

bool
rv_weight_set_pack(RvWeightSet *set, const RvPacked *packed, GError **error)
{
    RvOp op = packed->op;
    forget_kept(set, packed->memory);
    void *owned[RV_OP_WEIGHTS] = { NULL };
    bool ok = true;
    for (int i = 0; ok && set->patch.apply != NULL && i < RV_OP_WEIGHTS; i++)
        if (op.weight[i].array.data != NULL)
            ok = set->patch.apply(set->patch.self, op.weight[i].name, &op.weight[i].array, &owned[i], error);
    ok = ok && packed->pack(set->device->state, &op, packed->memory, packed->bytes, error);
    for (int i = 0; i < RV_OP_WEIGHTS; i++) {
        g_free(owned[i]);
        if (ok && set->source.done != NULL && packed->op.weight[i].array.data != NULL)
            set->source.done(set->source.self, &packed->op.weight[i].array);
    }
    return ok;
}

void
rv_weight_set_set_patch(RvWeightSet *set, RvWeightPatch patch)
{
    set->patch = patch;
}

static bool
is_wanted(const RvPacked *packed, RvWeightWanted wanted, void *user)
{
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        if (packed->op.weight[i].array.data != NULL && wanted(user, packed->op.weight[i].name))
            return true;
    return false;
}

bool
rv_weight_set_repack(RvWeightSet *set, RvWeightWanted wanted, void *user, GError **error)
{
    GHashTableIter iter;
    gpointer value;
    set->generation++;
    for (guint i = 0; i < set->chunks->len; i++)
        if (g_array_index(set->chunks, RvChunk, i).is_suspended)
            return rv_device_check_awake(set->device, error);
    g_hash_table_iter_init(&iter, set->packed);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        if (is_wanted(value, wanted, user) && !rv_weight_set_pack(set, value, error))
            return false;
    return true;
}

guint
rv_weight_set_generation(const RvWeightSet *set)
{
    return set->generation;
}
