#include <math.h>
#include <string.h>

#include "backends/cpu/pixels.h"

/* Tables keep the type they were stored in: a token's row is converted when it is looked up, which
 * halves a vocabulary of half floats. */
static bool
pack_table(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    memcpy(memory, op->weight[0].array.data, bytes);
    return true;
}

static bool
pack_positions(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    memcpy(memory, op->weight[1].array.data, bytes);
    return true;
}

typedef struct {
    const guint8 *table, *positions; /* positions may be NULL */
} EmbedState;

static const guint8 *
packed(RvOp *op, int weight, RvPackFunc pack, GError **error)
{
    const RvArray *array = &op->weight[weight].array;
    g_autofree char *key = g_strconcat("embed:", op->weight[weight].name, NULL);
    gsize bytes = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    return rv_weight_set_get(op->weights, key, bytes, op, pack, error);
}

static bool
embed_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    if (op->in[0].dtype != RV_I32)
        return cpu_refuse_dtype(op, op->in[0].dtype, error);
    EmbedState state = { packed(op, 0, pack_table, error), NULL };
    if (state.table == NULL)
        return false;
    if (op->weight[1].array.data != NULL) {
        state.positions = packed(op, 1, pack_positions, error);
        if (state.positions == NULL)
            return false;
    }
    op->workspace = (gsize)op->out.shape.c * sizeof(float);
    op->state = g_memdup2(&state, sizeof state);
    return true;
}

static bool
embed_run(CpuDevice *device, const RvOp *op, GError **error)
{
    const EmbedState *state = op->state;
    RvDType table_type = op->weight[0].array.dtype, position_type = op->weight[1].array.dtype;
    gsize width = (gsize)op->out.shape.c;
    gint64 tokens = op->out.shape.w, rows = rv_array_count(&op->weight[0].array) / (gint64)width;
    const gint32 *ids = op->in[0].data;
    float *position = op->workspace_data;
    for (gint64 i = 0; i < rv_shape_pixels(op->out.shape); i++) {
        gint32 id = ids[i * op->in[0].pixel_stride];
        if (id < 0 || id >= rows)
            return rv_error_set(error, RV_ERROR_INVALID, op->name, "use the tokenizer of the same model",
                                "token %d of the prompt has id %d, but the table has %" G_GINT64_FORMAT
                                " rows",
                                (int)(i % tokens), id, rows);
        float *out = cpu_pixel(&op->out, i);
        rv_convert_to_f32(table_type, state->table + (gsize)id * width * rv_dtype_size(table_type), out,
                          width);
        if (state->positions == NULL)
            continue;
        gsize offset = (gsize)(i % tokens) * width * rv_dtype_size(position_type);
        rv_convert_to_f32(position_type, state->positions + offset, position, width);
        for (gsize c = 0; c < width; c++)
            out[c] += position[c];
    }
    return true;
}

static void
embed_release(RvOp *op)
{
    g_free(op->state);
}

static bool
pick_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    if (op->in[0].dtype != RV_F32)
        return cpu_refuse_dtype(op, op->in[0].dtype, error);
    return op->in[1].dtype == RV_I32 || cpu_refuse_dtype(op, op->in[1].dtype, error);
}

static bool
pick_run(CpuDevice *device, const RvOp *op, GError **error)
{
    RvShape shape = op->in[0].shape;
    gint64 tokens = (gint64)shape.h * shape.w;
    for (int n = 0; n < shape.n; n++) {
        gint32 index = ((const gint32 *)op->in[1].data)[n * op->in[1].pixel_stride];
        if (index < 0 || index >= tokens)
            return rv_error_set(error, RV_ERROR_INVALID, op->name, NULL,
                                "token %d of image %d was asked for, but there are %" G_GINT64_FORMAT, index,
                                n, tokens);
        memcpy(cpu_pixel(&op->out, n), cpu_pixel(&op->in[0], n * tokens + index),
               (gsize)shape.c * sizeof(float));
    }
    return true;
}

static bool
sinusoid_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    return cpu_wants_f32(op, error);
}

static bool
sinusoid_run(CpuDevice *device, const RvOp *op, GError **error)
{
    int half = op->sinusoid.width / 2;
    int sines = op->sinusoid.flip_sin_to_cos ? half : 0;
    for (gint64 p = 0; p < rv_shape_pixels(op->out.shape); p++) {
        double x = *cpu_pixel(&op->in[0], p);
        float *out = cpu_pixel(&op->out, p);
        for (int i = 0; i < half; i++) {
            double angle = x * exp(-log(10000.0) * i / ((double)half - (double)op->sinusoid.shift));
            out[sines + i] = (float)sin(angle);
            out[half - sines + i] = (float)cos(angle);
        }
    }
    return true;
}

const CpuOp cpu_embed = { embed_prepare, embed_run, embed_release };
const CpuOp cpu_pick = { pick_prepare, pick_run, NULL };
const CpuOp cpu_sinusoid = { sinusoid_prepare, sinusoid_run, NULL };
