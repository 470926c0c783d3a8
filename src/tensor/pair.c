/* pair.c - ops of which the second alone reads what the first one writes. */
#include "tensor/internal.h"

/* Whether the value is all of a storage that the host does not see. */
static bool
is_whole(const RvProgram *p, const RvValue *value)
{
    const RvStorage *storage = &g_array_index(p->storages, RvStorage, value->storage);
    gsize bytes = (gsize)rv_shape_count(value->shape) * rv_dtype_size(value->dtype);
    return !storage->is_slot && value->offset == 0 && value->pixel_stride == value->shape.c &&
           storage->bytes == bytes;
}

void
rv_program_pair(RvProgram *p)
{
    g_autofree RvOp **writers = g_new0(RvOp *, p->storages->len),
                    **readers = g_new0(RvOp *, p->storages->len);
    g_autofree int *reads = g_new0(int, p->storages->len);
    for (guint i = 0; i < p->records->len; i++) {
        RvRecord *record = &g_array_index(p->records, RvRecord, i);
        for (int j = 0; j < RV_OP_INPUTS; j++) {
            if (record->in[j] == 0)
                continue;
            const RvValue *in = &g_array_index(p->values, RvValue, record->in[j]);
            reads[in->storage]++;
            readers[in->storage] = j == 0 && is_whole(p, in) ? record->op : NULL;
        }
        const RvValue *out = &g_array_index(p->values, RvValue, record->out);
        writers[out->storage] = is_whole(p, out) ? record->op : NULL;
    }
    for (guint i = 0; i < p->storages->len; i++) {
        if (writers[i] == NULL || readers[i] == NULL || reads[i] != 1)
            continue;
        writers[i]->reader = readers[i];
        readers[i]->feeder = writers[i];
    }
}
