#include "backends/cpu/weights.h"

#include <string.h>

#include "backends/cpu/kernels/gemm.h"

/* Channels that are converted at a time: a divisor of the block. */
#define CHUNK 8

typedef struct {
    int out, in, taps, columns, panel_count;
    bool has_bias;
} Layout;

static int
stacked_count(const RvOp *op)
{
    int count = 0;
    while (2 * count < RV_OP_WEIGHTS && op->weight[2 * count].array.data != NULL)
        count++;
    return count;
}

static Layout
layout_of(const RvOp *op, int out, int in, int taps)
{
    Layout layout = { .out = out, .in = in, .taps = taps, .columns = cpu_gemm_kernels()->columns };
    layout.panel_count = (out + layout.columns - 1) / layout.columns;
    for (int i = 0; i < stacked_count(op); i++)
        layout.has_bias |= op->weight[2 * i + 1].array.data != NULL;
    return layout;
}

static gsize
panel_floats(const Layout *l)
{
    return (gsize)l->taps * (gsize)l->in * (gsize)l->columns;
}

/* Values [from, from + count) of output `row` of the stacked weights. */
static void
read_row(const RvOp *op, const Layout *l, int row, gsize from, gsize count, float *to)
{
    int each = l->out / stacked_count(op);
    const RvArray *array = &op->weight[2 * (row / each)].array;
    gsize start = (gsize)(row % each) * (gsize)l->in * (gsize)l->taps + from;
    rv_convert_to_f32(array->dtype, (const guint8 *)array->data + start * rv_dtype_size(array->dtype), to,
                      count);
}

static void
pack_panel(const RvOp *op, const Layout *l, int panel, float *to)
{
    float rows[CPU_MAX_COLUMNS][CHUNK * CPU_MAX_TAPS] = { 0 };
    int columns = l->columns, taps = l->taps;
    for (int from = 0; from < l->in; from += CHUNK) {
        int channels = MIN(CHUNK, l->in - from);
        int block = from / CPU_CHANNEL_BLOCK * CPU_CHANNEL_BLOCK,
            width = MIN(CPU_CHANNEL_BLOCK, l->in - block);
        for (int j = 0; j < columns && panel * columns + j < l->out; j++)
            read_row(op, l, panel * columns + j, (gsize)from * (gsize)taps, (gsize)channels * (gsize)taps,
                     rows[j]);
        for (int tap = 0; tap < taps; tap++)
            for (int i = 0; i < channels; i++) {
                float *at = to + (gsize)(block * taps + tap * width + from - block + i) * (gsize)columns;
                for (int j = 0; j < columns; j++)
                    at[j] = rows[j][i * taps + tap];
            }
    }
}

static void
pack_bias(const RvOp *op, const Layout *l, float *to)
{
    memset(to, 0, sizeof *to * (gsize)l->panel_count * (gsize)l->columns);
    int count = stacked_count(op);
    for (int i = 0; i < count; i++) {
        const RvArray *array = &op->weight[2 * i + 1].array;
        if (array->data != NULL)
            rv_convert_to_f32(array->dtype, array->data, to + i * (l->out / count), (gsize)(l->out / count));
    }
}

static bool
pack(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    bool is_conv = op->kind == RV_OP_CONV2D;
    int kernel = is_conv ? op->conv2d.kernel : 1;
    Layout l = layout_of(op, op->out.shape.c, op->in[0].shape.c, kernel * kernel);
    float *to = memory;
#pragma omp parallel for schedule(static)
    for (int panel = 0; panel < l.panel_count; panel++)
        pack_panel(op, &l, panel, to + (gsize)panel * panel_floats(&l));
    if (l.has_bias)
        pack_bias(op, &l, to + (gsize)l.panel_count * panel_floats(&l));
    return true;
}

bool
cpu_weights_get(CpuWeights *weights, RvOp *op, int out, int in, int taps, GError **error)
{
    Layout l = layout_of(op, out, in, taps);
    gsize panels = (gsize)l.panel_count * panel_floats(&l);
    gsize bias = l.has_bias ? (gsize)l.panel_count * (gsize)l.columns : 0;
    g_autoptr(GString) key = g_string_new("panels");
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        if (op->weight[i].array.data != NULL)
            g_string_append_printf(key, " %s", op->weight[i].name);
    const float *memory =
        rv_weight_set_get(op->weights, key->str, (panels + bias) * sizeof *memory, op, pack, error);
    if (memory == NULL)
        return false;
    *weights = (CpuWeights) {
        .panels = memory,
        .bias = l.has_bias ? memory + panels : NULL,
        .out = out,
        .in = in,
        .taps = taps,
        .columns = l.columns,
        .panel_count = l.panel_count,
    };
    return true;
}
