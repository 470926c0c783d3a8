#include <math.h>
#include <omp.h>

#include "backends/cpu/kernels/attention.h"
#include "backends/cpu/pixels.h"

/* The work is cut into pieces of (image, head, some queries). More queries share one packing of the
 * keys; fewer keep a thread's space small and give every thread something to do. */
#define MAX_ROWS 1032
#define MIN_ROWS 96
#define MAX_SPACE ((gsize)4 << 20)
#define PIECES_PER_THREAD 4
#define SERIAL_FLOPS 1e6

typedef struct {
    int rows, pieces; /* queries of a piece, pieces of a head */
    gsize space;      /* bytes for each thread */
} AttentionState;

static bool
attention_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    if (!cpu_wants_f32(op, error))
        return false;
    int queries = op->in[0].shape.h * op->in[0].shape.w, heads = op->attention.heads;
    int width = op->in[0].shape.c / heads;
    gint64 wanted = (gint64)device->threads * PIECES_PER_THREAD;
    gint64 rows = (gint64)queries * heads * op->in[0].shape.n / wanted;
    rows = CLAMP(rows, MIN_ROWS, MAX_ROWS);
    while (rows > MIN_ROWS && attention_kernels()->space(width, (int)rows) > MAX_SPACE)
        rows = MAX(MIN_ROWS, rows / 2);
    AttentionState *state = g_new0(AttentionState, 1);
    state->rows = (int)MIN(rows, queries);
    state->pieces = (queries + state->rows - 1) / state->rows;
    state->space = attention_kernels()->space(width, state->rows);
    op->workspace = state->space * (gsize)device->threads;
    op->state = state;
    return true;
}

static void
attention_piece(const RvOp *op, gint64 index)
{
    const AttentionState *state = op->state;
    const RvOperand *q = &op->in[0], *k = &op->in[1], *v = &op->in[2];
    int queries = q->shape.h * q->shape.w, keys = k->shape.h * k->shape.w;
    int width = q->shape.c / op->attention.heads;
    int head = (int)(index / state->pieces % op->attention.heads);
    gint64 n = index / state->pieces / op->attention.heads;
    int first = (int)(index % state->pieces) * state->rows;
    AttentionPart part = {
        .q = cpu_pixel(q, n * queries) + head * width,
        .k = cpu_pixel(k, n * keys) + head * width,
        .v = cpu_pixel(v, n * keys) + head * width,
        .out = cpu_pixel(&op->out, n * queries) + head * width,
        .q_stride = q->pixel_stride,
        .k_stride = k->pixel_stride,
        .v_stride = v->pixel_stride,
        .out_stride = op->out.pixel_stride,
        .width = width,
        .first = first,
        .rows = MIN(state->rows, queries - first),
        .keys = keys,
        .causal = op->attention.causal,
        .scale = op->attention.scale != 0.0f ? op->attention.scale : 1.0f / sqrtf((float)width),
    };
    attention_kernels()->run(&part,
                             (guint8 *)op->workspace_data + (gsize)omp_get_thread_num() * state->space);
}

static bool
attention_run(CpuDevice *device, const RvOp *op, GError **error)
{
    const AttentionState *state = op->state;
    gint64 pieces = (gint64)op->in[0].shape.n * op->attention.heads * state->pieces;
    if (op->flops < SERIAL_FLOPS) {
        for (gint64 i = 0; i < pieces; i++)
            attention_piece(op, i);
    } else {
#pragma omp parallel for schedule(dynamic)
        for (gint64 i = 0; i < pieces; i++)
            attention_piece(op, i);
    }
    return true;
}

static void
attention_release(RvOp *op)
{
    g_free(op->state);
}

const CpuOp cpu_attention = { attention_prepare, attention_run, attention_release };
