#include "split_points.h"

#include <string.h>

typedef struct {
    SplitFrame *frame;
    int run;
    const void *norm; /* the group norm's result that is still there; NULL: none */
    guint norm_point; /* its point */
} Reader;

static gsize
element_size(const RvOperand *operand)
{
    return rv_dtype_size(operand->dtype);
}

/* Groups' sums and sums of squares in float32. */
static void
add_norm(Reader *reader, const RvOp *op)
{
    SplitPoint point = { .kind = SPLIT_SUMS,
                         .bytes = (gsize)op->out.shape.n * (gsize)op->norm.groups * 2 * sizeof(float),
                         .stage = op->stage };
    g_snprintf(point.what, sizeof point.what, "sums of a group norm");
    reader->norm = op->out.data;
    reader->norm_point = reader->frame->points->len;
    g_array_append_val(reader->frame->points, point);
}

static void
add_conv2d(Reader *reader, const RvOp *op)
{
    int kernel = op->conv2d.kernel > 0 ? op->conv2d.kernel : 3;
    const RvOperand *x = &op->in[0];
    if (kernel == 1)
        return;
    gsize row = (gsize)x->shape.n * (gsize)((kernel - 1) / 2) * (gsize)x->shape.w * (gsize)x->shape.c *
                element_size(x);
    if (reader->norm != NULL && reader->norm == x->data) {
        SplitPoint *point = &g_array_index(reader->frame->points, SplitPoint, reader->norm_point);
        if (point->kind == SPLIT_SUMS) {
            point->kind = SPLIT_SUMS_AND_HALO;
            point->bytes += row;
            g_snprintf(point->what, sizeof point->what, "sums of a group norm and a row of %d x %d",
                       x->shape.w, x->shape.c);
        }
        return;
    }
    SplitPoint point = { .kind = SPLIT_HALO, .bytes = row, .stage = op->stage };
    g_snprintf(point.what, sizeof point.what, "a row of %d x %d", x->shape.w, x->shape.c);
    g_array_append_val(reader->frame->points, point);
}

static void
count_attention(SplitFrame *frame, int heads, int tokens, int width)
{
    for (guint i = 0; i < frame->attentions->len; i++) {
        SplitAttention *known = &g_array_index(frame->attentions, SplitAttention, i);
        if (known->heads == heads && known->tokens == tokens && known->width == width) {
            known->count++;
            return;
        }
    }
    SplitAttention attention = { heads, tokens, width, 1 };
    g_array_append_val(frame->attentions, attention);
}

/* The prompt's keys, whose number differs from the pixels', are on both GPUs. */
static void
add_attention(Reader *reader, const RvOp *op)
{
    RvShape q = op->in[0].shape, k = op->in[1].shape;
    int tokens = q.h * q.w;
    if (k.h * k.w != tokens)
        return;
    SplitPoint point = { .kind = SPLIT_KEYS,
                         .bytes = (gsize)q.n * (gsize)tokens * (gsize)q.c * element_size(&op->in[1]),
                         .stage = op->stage };
    g_snprintf(point.what, sizeof point.what, "keys and values of %d tokens x %d", tokens / 2, q.c);
    g_array_append_val(reader->frame->points, point);
    count_attention(reader->frame, op->attention.heads, tokens, q.c / op->attention.heads);
}

static void
on_op(const RvOp *op, double seconds, void *user)
{
    Reader *reader = user;
    reader->frame->seconds[op->kind] += seconds;
    if (reader->run > 0)
        return;
    reader->frame->ops++;
    if (op->kind == RV_OP_CONV2D)
        add_conv2d(reader, op);
    else if (op->kind == RV_OP_ATTENTION)
        add_attention(reader, op);
    if (op->out.data == reader->norm)
        reader->norm = NULL;
    if (op->kind == RV_OP_GROUP_NORM)
        add_norm(reader, op);
}

bool
split_frame_read(RvDevice *device, RvProgram *program, int runs, SplitFrame *frame, GError **error)
{
    Reader reader = { .frame = frame };
    *frame = (SplitFrame) { .points = g_array_new(FALSE, FALSE, sizeof(SplitPoint)),
                            .attentions = g_array_new(FALSE, FALSE, sizeof(SplitAttention)) };
    bool ok = true;
    for (int i = -1; ok && i < runs; i++) { /* the first one warms up, unless it is to be the only one */
        if (i < 0 && runs == 1)
            continue;
        reader.run = i;
        rv_device_set_observer(device, i < 0 ? NULL : on_op, &reader);
        ok = rv_program_run(program, error);
    }
    rv_device_set_observer(device, NULL, NULL);
    for (int i = 0; i < RV_OP_KINDS; i++)
        frame->seconds[i] /= runs;
    return ok;
}

void
split_frame_clear(SplitFrame *frame)
{
    g_clear_pointer(&frame->points, g_array_unref);
    g_clear_pointer(&frame->attentions, g_array_unref);
}
