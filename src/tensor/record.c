/* record.c - one function per op: checks operands, works out the result's shape, appends a record. */
#include <string.h>

#include "tensor/internal.h"

static const RvValue *
value_of(const RvProgram *p, RvTensor t)
{
    return &g_array_index(p->values, RvValue, t.index);
}

static bool
same_shape(RvShape a, RvShape b)
{
    return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

static RvOp *
op_new(RvProgram *p, RvOpKind kind, const char *name)
{
    RvOp *op = g_new0(RvOp, 1);
    op->kind = kind;
    op->weights = p->weights;
    op->stage = p->stage;
    op->name = p->scope->len > 0 ? g_strconcat(p->scope->str, ".", name, NULL) : g_strdup(name);
    return op;
}

/* Looks the weight up and keeps it in slot `slot` of the op; false after a failure. */
static bool
op_take_weight(RvProgram *p, RvOp *op, int slot, const char *layer, const char *suffix, int rank,
               const gint64 *shape)
{
    char *name = p->scope->len > 0 ? g_strconcat(p->scope->str, ".", layer, suffix, NULL)
                                   : g_strconcat(layer, suffix, NULL);
    GError *error = NULL;
    op->weight[slot].name = name;
    if (p->weights == NULL) {
        rv_program_fail_at(p, layer, RV_ERROR_FAILED, "no weight set is in use");
        return false;
    }
    RvWeightSource *source = &p->weights->source;
    if (!source->find(source->self, name, rank, shape, &op->weight[slot].array, &error)) {
        if (p->failure == NULL)
            p->failure = error;
        else
            g_error_free(error);
        return false;
    }
    return true;
}

static void
op_free(RvOp *op)
{
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        g_free(op->weight[i].name);
    g_free(op->name);
    g_free(op);
}

/* Appends the op and gives its result; takes ownership of the op also on failure. */
static RvTensor
append(RvProgram *p, RvOp *op, const RvTensor *in, int inputs, RvDType dtype, RvShape shape)
{
    if (p->failure != NULL || rv_shape_count(shape) <= 0) {
        if (p->failure == NULL)
            rv_program_fail_at(p, op->name, RV_ERROR_FAILED, "the result of %s would be [%d,%d,%d,%d]",
                               rv_op_kind_name(op->kind), shape.n, shape.h, shape.w, shape.c);
        op_free(op);
        return (RvTensor) { 0 };
    }
    RvRecord record = { .op = op };
    int index = (int)p->records->len;
    for (int i = 0; i < inputs; i++) {
        record.in[i] = in[i].index;
        if (in[i].index != 0) {
            RvStorage *storage = &g_array_index(p->storages, RvStorage, value_of(p, in[i])->storage);
            storage->last = MAX(storage->last, index);
        }
    }
    RvTensor out = rv_program_add_value(p, dtype, shape);
    record.out = out.index;
    RvStorage *storage = &g_array_index(p->storages, RvStorage, value_of(p, out)->storage);
    storage->first = storage->last = index;
    g_array_append_val(p->records, record);
    return out;
}

/* False (and a failure) when an operand is none or an earlier mistake stuck. */
static bool
operands_ok(RvProgram *p, const char *what, const RvTensor *in, int inputs)
{
    if (p->failure != NULL)
        return false;
    g_assert(!p->is_compiled);
    for (int i = 0; i < inputs; i++)
        if (in[i].index <= 0 || in[i].index >= (int)p->values->len) {
            rv_program_fail_at(p, what, RV_ERROR_FAILED, "operand %d is missing", i);
            return false;
        }
    return true;
}

/* Operands of an op that computes have the type that it computes in; none are skipped. */
static bool
types_ok(RvProgram *p, const char *what, const RvTensor *in, int inputs)
{
    for (int i = 0; i < inputs; i++)
        if (!rv_is_none(in[i]) && value_of(p, in[i])->dtype != p->compute) {
            rv_program_fail_at(p, what, RV_ERROR_FAILED, "operand %d is %s and the part computes in %s", i,
                               rv_dtype_name(value_of(p, in[i])->dtype), rv_dtype_name(p->compute));
            return false;
        }
    return true;
}

static bool
addend_fits(RvProgram *p, const char *name, RvTensor add, RvShape out)
{
    if (rv_is_none(add))
        return true;
    RvShape s = value_of(p, add)->shape;
    if (same_shape(s, out) || (s.n == out.n && s.h == 1 && s.w == 1 && s.c == out.c))
        return true;
    rv_program_fail_at(p, name, RV_ERROR_FAILED, "cannot add [%d,%d,%d,%d] to [%d,%d,%d,%d]", s.n, s.h, s.w,
                       s.c, out.n, out.h, out.w, out.c);
    return false;
}

RvTensor
rv_conv2d(RvProgram *p, RvTensor x, const char *name, RvConv2d o)
{
    if (!operands_ok(p, name, &x, 1) || !types_ok(p, name, (RvTensor[]) { x, o.add }, 2))
        return (RvTensor) { 0 };
    o.kernel = o.kernel == 0 ? 3 : o.kernel;
    o.stride = o.stride == 0 ? 1 : o.stride;
    if (o.circular && o.pad_end)
        rv_program_fail_at(p, name, RV_ERROR_FAILED, "a circular convolution pads all around");
    o.circular = (o.circular || p->circular) && !o.pad_end && o.kernel > 1;
    RvShape in = value_of(p, x)->shape;
    int h = o.up_h > 0 ? o.up_h : in.h, w = o.up_w > 0 ? o.up_w : in.w;
    int padding = o.pad_end ? 1 : 2 * ((o.kernel - 1) / 2);
    RvShape out = { in.n, (h + padding - o.kernel) / o.stride + 1, (w + padding - o.kernel) / o.stride + 1,
                    o.out };
    if (h + padding < o.kernel || w + padding < o.kernel)
        out.h = 0;
    if (!addend_fits(p, name, o.add, out))
        return (RvTensor) { 0 };
    RvOp *op = op_new(p, RV_OP_CONV2D, name);
    op->calibration = p->weights != NULL ? p->weights->calibration : NULL;
    op->conv2d = o;
    op->flops = 2.0 * (double)rv_shape_count(out) * in.c * o.kernel * o.kernel;
    const gint64 shape[4] = { o.out, in.c, o.kernel, o.kernel };
    if (op_take_weight(p, op, 0, name, ".weight", 4, shape) && !o.no_bias)
        op_take_weight(p, op, 1, name, ".bias", 1, shape);
    return append(p, op, (RvTensor[]) { x, o.add }, 2, p->compute, out);
}

RvTensor
rv_linear(RvProgram *p, RvTensor x, const char *names, RvLinear o)
{
    if (!operands_ok(p, names, &x, 1) || !types_ok(p, names, (RvTensor[]) { x, o.add }, 2))
        return (RvTensor) { 0 };
    g_auto(GStrv) parts = g_strsplit(names, "|", -1);
    int count = (int)g_strv_length(parts);
    RvShape out = value_of(p, x)->shape;
    const gint64 shape[2] = { o.out, out.c };
    double in_width = out.c;
    out.c = o.out * count;
    if (count < 1 || 2 * count > RV_OP_WEIGHTS) {
        rv_program_fail_at(p, names, RV_ERROR_FAILED, "at most %d weights can be stacked", RV_OP_WEIGHTS / 2);
        return (RvTensor) { 0 };
    }
    if (!addend_fits(p, names, o.add, out))
        return (RvTensor) { 0 };
    RvOp *op = op_new(p, RV_OP_LINEAR, names);
    op->calibration = p->weights != NULL ? p->weights->calibration : NULL;
    op->linear = o;
    op->flops = 2.0 * (double)rv_shape_count(out) * in_width;
    for (int i = 0; i < count; i++)
        if (op_take_weight(p, op, 2 * i, parts[i], ".weight", 2, shape) && !o.no_bias)
            op_take_weight(p, op, 2 * i + 1, parts[i], ".bias", 1, shape);
    return append(p, op, (RvTensor[]) { x, o.add }, 2, p->compute, out);
}

RvTensor
rv_attention(RvProgram *p, RvTensor q, RvTensor k, RvTensor v, RvAttention o)
{
    const RvTensor in[] = { q, k, v };
    if (!operands_ok(p, "attention", in, 3) || !types_ok(p, "attention", in, 3))
        return (RvTensor) { 0 };
    RvShape sq = value_of(p, q)->shape, sk = value_of(p, k)->shape, sv = value_of(p, v)->shape;
    if (o.heads <= 0 || sq.c % o.heads != 0 || !same_shape(sk, sv) || sk.n != sq.n || sk.c != sq.c) {
        rv_program_fail_at(p, "attention", RV_ERROR_FAILED,
                           "%d heads do not fit q [%d,%d,%d,%d], k [%d,%d,%d,%d]", o.heads, sq.n, sq.h, sq.w,
                           sq.c, sk.n, sk.h, sk.w, sk.c);
        return (RvTensor) { 0 };
    }
    RvOp *op = op_new(p, RV_OP_ATTENTION, "attention");
    op->attention = o;
    op->flops = 4.0 * (double)rv_shape_count(sq) * sk.h * sk.w;
    return append(p, op, in, 3, p->compute, sq);
}

static RvTensor
record_norm(RvProgram *p, RvOpKind kind, RvTensor x, const char *name, RvNorm o)
{
    if (!operands_ok(p, name, &x, 1) || !types_ok(p, name, &x, 1))
        return (RvTensor) { 0 };
    RvShape shape = value_of(p, x)->shape;
    o.eps = o.eps == 0.0f ? 1e-5f : o.eps;
    if (kind == RV_OP_GROUP_NORM && (o.groups <= 0 || shape.c % o.groups != 0)) {
        rv_program_fail_at(p, name, RV_ERROR_INVALID, "%d channels do not divide into %d groups", shape.c,
                           o.groups);
        return (RvTensor) { 0 };
    }
    RvOp *op = op_new(p, kind, name);
    op->norm = o;
    const gint64 width = shape.c;
    if (op_take_weight(p, op, 0, name, ".weight", 1, &width))
        op_take_weight(p, op, 1, name, ".bias", 1, &width);
    return append(p, op, &x, 1, p->compute, shape);
}

RvTensor
rv_group_norm(RvProgram *p, RvTensor x, const char *name, RvNorm o)
{
    return record_norm(p, RV_OP_GROUP_NORM, x, name, o);
}

RvTensor
rv_layer_norm(RvProgram *p, RvTensor x, const char *name, RvNorm o)
{
    return record_norm(p, RV_OP_LAYER_NORM, x, name, o);
}

RvTensor
rv_act(RvProgram *p, RvTensor x, RvAct act)
{
    if (!operands_ok(p, "act", &x, 1) || !types_ok(p, "act", &x, 1))
        return (RvTensor) { 0 };
    RvOp *op = op_new(p, RV_OP_ACT, "act");
    op->act = act;
    return append(p, op, &x, 1, p->compute, value_of(p, x)->shape);
}

RvTensor
rv_glu(RvProgram *p, RvTensor x)
{
    if (!operands_ok(p, "glu", &x, 1) || !types_ok(p, "glu", &x, 1))
        return (RvTensor) { 0 };
    RvShape shape = value_of(p, x)->shape;
    if (shape.c % 2 != 0) {
        rv_program_fail_at(p, "glu", RV_ERROR_FAILED, "%d channels do not divide into two halves", shape.c);
        return (RvTensor) { 0 };
    }
    shape.c /= 2;
    return append(p, op_new(p, RV_OP_GLU, "glu"), &x, 1, p->compute, shape);
}

RvTensor
rv_add(RvProgram *p, RvTensor a, RvTensor b)
{
    const RvTensor in[] = { a, b };
    if (!operands_ok(p, "add", in, 2) || !types_ok(p, "add", in, 2))
        return (RvTensor) { 0 };
    RvShape sa = value_of(p, a)->shape, sb = value_of(p, b)->shape;
    bool per_image = sb.n == sa.n && sb.h == 1 && sb.w == 1 && sb.c == sa.c;
    bool per_batch = sb.n == 1 && sb.h == sa.h && sb.w == sa.w && sb.c == sa.c;
    if (!same_shape(sa, sb) && !per_image && !per_batch) {
        rv_program_fail_at(p, "add", RV_ERROR_FAILED, "cannot add [%d,%d,%d,%d] to [%d,%d,%d,%d]", sb.n, sb.h,
                           sb.w, sb.c, sa.n, sa.h, sa.w, sa.c);
        return (RvTensor) { 0 };
    }
    return append(p, op_new(p, RV_OP_ADD, "add"), in, 2, p->compute, sa);
}

static bool
factor_fits(RvProgram *p, RvTensor factor, RvShape x)
{
    if (rv_is_none(factor))
        return true;
    const RvValue *value = value_of(p, factor);
    RvShape s = value->shape;
    if (value->dtype == RV_F32 && s.c == 1 &&
        (rv_shape_count(s) == 1 || ((s.n == 1 || s.n == x.n) && s.h == x.h && s.w == x.w)))
        return true;
    rv_program_fail_at(p, "mix", RV_ERROR_FAILED,
                       "a factor must be one F32 number or a mask, not [%d,%d,%d,%d]", s.n, s.h, s.w, s.c);
    return false;
}

RvTensor
rv_mix(RvProgram *p, RvTensor a, RvTensor x, RvTensor b, RvTensor y)
{
    const RvTensor in[] = { x, y, a, b };
    if (!operands_ok(p, "mix", in, 2) || !types_ok(p, "mix", in, 2))
        return (RvTensor) { 0 };
    RvShape shape = value_of(p, x)->shape;
    if (!same_shape(shape, value_of(p, y)->shape)) {
        rv_program_fail_at(p, "mix", RV_ERROR_FAILED, "the two tensors differ in shape");
        return (RvTensor) { 0 };
    }
    if (!factor_fits(p, a, shape) || !factor_fits(p, b, shape))
        return (RvTensor) { 0 };
    return append(p, op_new(p, RV_OP_MIX, "mix"), in, 4, p->compute, shape);
}

RvTensor
rv_concat(RvProgram *p, RvTensor a, RvTensor b)
{
    const RvTensor in[] = { a, b };
    if (!operands_ok(p, "concat", in, 2) || !types_ok(p, "concat", in, 2))
        return (RvTensor) { 0 };
    RvShape sa = value_of(p, a)->shape, sb = value_of(p, b)->shape;
    if (sa.n != sb.n || sa.h != sb.h || sa.w != sb.w) {
        rv_program_fail_at(p, "concat", RV_ERROR_FAILED, "cannot join [%d,%d,%d,%d] and [%d,%d,%d,%d]", sa.n,
                           sa.h, sa.w, sa.c, sb.n, sb.h, sb.w, sb.c);
        return (RvTensor) { 0 };
    }
    sa.c += sb.c;
    return append(p, op_new(p, RV_OP_CONCAT, "concat"), in, 2, p->compute, sa);
}

RvTensor
rv_embed(RvProgram *p, RvTensor ids, const char *table, int rows, int width, const char *positions)
{
    if (!operands_ok(p, table, &ids, 1))
        return (RvTensor) { 0 };
    const RvValue *value = value_of(p, ids);
    RvShape shape = value->shape;
    if (value->dtype != RV_I32 || shape.c != 1 || shape.h != 1) {
        rv_program_fail_at(p, table, RV_ERROR_FAILED, "ids must be I32 [n,1,tokens,1]");
        return (RvTensor) { 0 };
    }
    RvOp *op = op_new(p, RV_OP_EMBED, table);
    const gint64 table_shape[2] = { rows, width }, position_shape[2] = { shape.w, width };
    shape.c = width;
    if (op_take_weight(p, op, 0, table, ".weight", 2, table_shape) && positions != NULL)
        op_take_weight(p, op, 1, positions, ".weight", 2, position_shape);
    return append(p, op, &ids, 1, p->compute, shape);
}

RvTensor
rv_pick(RvProgram *p, RvTensor x, RvTensor index)
{
    const RvTensor in[] = { x, index };
    if (!operands_ok(p, "pick", in, 2) || !types_ok(p, "pick", in, 1))
        return (RvTensor) { 0 };
    RvShape shape = value_of(p, x)->shape, si = value_of(p, index)->shape;
    if (value_of(p, index)->dtype != RV_I32 || rv_shape_count(si) != shape.n) {
        rv_program_fail_at(p, "pick", RV_ERROR_FAILED, "the index must be I32 [n,1,1,1]");
        return (RvTensor) { 0 };
    }
    shape.h = shape.w = 1;
    return append(p, op_new(p, RV_OP_PICK, "pick"), in, 2, p->compute, shape);
}

RvTensor
rv_sinusoid(RvProgram *p, RvTensor x, RvSinusoid o)
{
    if (!operands_ok(p, "sinusoid", &x, 1))
        return (RvTensor) { 0 };
    const RvValue *value = value_of(p, x);
    RvShape shape = value->shape;
    if (value->dtype != RV_F32 || shape.c != 1 || o.width <= 0 || o.width % 2 != 0) {
        rv_program_fail_at(p, "sinusoid", RV_ERROR_FAILED, "wants F32 [n,h,w,1] and an even width, not %d",
                           o.width);
        return (RvTensor) { 0 };
    }
    RvOp *op = op_new(p, RV_OP_SINUSOID, "sinusoid");
    op->sinusoid = o;
    shape.c = o.width;
    return append(p, op, &x, 1, p->compute, shape);
}

RvTensor
rv_convert(RvProgram *p, RvTensor x, RvConvert o)
{
    if (!operands_ok(p, "convert", &x, 1))
        return (RvTensor) { 0 };
    o.scale = o.scale == 0.0f ? 1.0f : o.scale;
    RvOp *op = op_new(p, RV_OP_CONVERT, "convert");
    op->convert = o;
    return append(p, op, &x, 1, o.dtype, value_of(p, x)->shape);
}

/* A view of x's storage; channel slices keep the parent's pixel stride. */
static RvTensor
view(RvProgram *p, RvTensor x, RvShape shape, int pixel_stride, gsize offset)
{
    RvValue value = *value_of(p, x);
    value.shape = shape;
    value.pixel_stride = pixel_stride;
    value.offset += offset;
    g_array_append_val(p->values, value);
    return (RvTensor) { (int)p->values->len - 1 };
}

RvTensor
rv_slice(RvProgram *p, RvTensor x, int from, int count)
{
    if (!operands_ok(p, "slice", &x, 1))
        return (RvTensor) { 0 };
    const RvValue *value = value_of(p, x);
    RvShape shape = value->shape;
    if (from < 0 || count <= 0 || from > shape.c - count) {
        rv_program_fail_at(p, "slice", RV_ERROR_FAILED, "channels %d to %d lie outside 0 to %d", from,
                           from + count, shape.c);
        return (RvTensor) { 0 };
    }
    shape.c = count;
    return view(p, x, shape, value->pixel_stride, (gsize)from * rv_dtype_size(value->dtype));
}

RvTensor
rv_image(RvProgram *p, RvTensor x, int index)
{
    if (!operands_ok(p, "image", &x, 1))
        return (RvTensor) { 0 };
    const RvValue *value = value_of(p, x);
    RvShape shape = value->shape;
    if (index < 0 || index >= shape.n) {
        rv_program_fail_at(p, "image", RV_ERROR_FAILED, "there is no image %d in a batch of %d", index,
                           shape.n);
        return (RvTensor) { 0 };
    }
    shape.n = 1;
    gsize elements = (gsize)index * (gsize)rv_shape_pixels(shape) * (gsize)value->pixel_stride;
    return view(p, x, shape, value->pixel_stride, elements * rv_dtype_size(value->dtype));
}

RvTensor
rv_reshape(RvProgram *p, RvTensor x, RvShape shape)
{
    if (!operands_ok(p, "reshape", &x, 1))
        return (RvTensor) { 0 };
    const RvValue *value = value_of(p, x);
    bool is_slice = value->pixel_stride != value->shape.c;
    if (rv_shape_count(shape) != rv_shape_count(value->shape) || (is_slice && shape.c != value->shape.c)) {
        rv_program_fail_at(p, "reshape", RV_ERROR_FAILED, "[%d,%d,%d,%d] cannot become [%d,%d,%d,%d]",
                           value->shape.n, value->shape.h, value->shape.w, value->shape.c, shape.n, shape.h,
                           shape.w, shape.c);
        return (RvTensor) { 0 };
    }
    return view(p, x, shape, is_slice ? value->pixel_stride : shape.c, 0);
}
