#include "tensor/internal.h"

#include <stdarg.h>
#include <string.h>

const char *
rv_op_kind_name(RvOpKind kind)
{
    static const char *const names[] = {
        [RV_OP_CONV2D] = "conv2d",
        [RV_OP_LINEAR] = "linear",
        [RV_OP_ATTENTION] = "attention",
        [RV_OP_GROUP_NORM] = "group_norm",
        [RV_OP_LAYER_NORM] = "layer_norm",
        [RV_OP_ACT] = "act",
        [RV_OP_GLU] = "glu",
        [RV_OP_ADD] = "add",
        [RV_OP_MIX] = "mix",
        [RV_OP_CONCAT] = "concat",
        [RV_OP_EMBED] = "embed",
        [RV_OP_PICK] = "pick",
        [RV_OP_SINUSOID] = "sinusoid",
        [RV_OP_CONVERT] = "convert",
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == RV_OP_KINDS);
    return names[kind];
}

RvProgram *
rv_program_new(RvWeightSet *weights)
{
    RvProgram *p = g_new0(RvProgram, 1);
    p->device = weights->device;
    p->weights = weights;
    p->compute = weights->compute;
    p->stage = "";
    p->values = g_array_new(FALSE, TRUE, sizeof(RvValue));
    p->storages = g_array_new(FALSE, TRUE, sizeof(RvStorage));
    p->records = g_array_new(FALSE, TRUE, sizeof(RvRecord));
    p->inputs = g_array_new(FALSE, TRUE, sizeof(RvSlot));
    p->outputs = g_array_new(FALSE, TRUE, sizeof(RvSlot));
    p->scope = g_string_new(NULL);
    p->scope_lengths = g_array_new(FALSE, FALSE, sizeof(gsize));
    g_array_set_size(p->values, 1);
    return p;
}

static void
slots_free(GArray *slots)
{
    for (guint i = 0; i < slots->len; i++)
        g_free(g_array_index(slots, RvSlot, i).name);
    g_array_free(slots, TRUE);
}

void
rv_program_free(RvProgram *p)
{
    if (p == NULL)
        return;
    const RvBackend *backend = p->device->backend;
    while (p->under_way > 0)
        rv_program_finish(p, NULL);
    if (p->exec != NULL)
        backend->drop(p->device->state, p->exec);
    for (guint i = 0; i < p->records->len; i++) {
        RvOp *op = g_array_index(p->records, RvRecord, i).op;
        backend->release(p->device->state, op);
        for (int j = 0; j < RV_OP_WEIGHTS; j++)
            g_free(op->weight[j].name);
        g_free(op->name);
        g_free(op);
    }
    for (guint i = 0; i < p->storages->len; i++) {
        RvStorage *storage = &g_array_index(p->storages, RvStorage, i);
        if (storage->is_slot && storage->memory != NULL)
            backend->free(p->device->state, storage->memory, storage->bytes);
    }
    g_array_free(p->values, TRUE);
    g_array_free(p->storages, TRUE);
    g_array_free(p->records, TRUE);
    slots_free(p->inputs);
    slots_free(p->outputs);
    g_string_free(p->scope, TRUE);
    g_array_free(p->scope_lengths, TRUE);
    g_clear_error(&p->failure);
    g_free(p);
}

void
rv_program_use(RvProgram *p, RvWeightSet *weights)
{
    g_assert(weights->device == p->device);
    p->weights = weights;
    p->compute = weights->compute;
}

void
rv_program_use_none(RvProgram *p, RvDType compute)
{
    p->weights = NULL;
    p->compute = compute;
}

RvDType
rv_program_compute(const RvProgram *p)
{
    return p->compute;
}

void
rv_program_stage(RvProgram *p, const char *name)
{
    p->stage = g_intern_string(name);
}

void
rv_program_set_circular(RvProgram *p, bool circular)
{
    p->circular = circular;
}

void
rv_program_enter(RvProgram *p, const char *scope_format, ...)
{
    gsize length = p->scope->len;
    g_array_append_val(p->scope_lengths, length);
    va_list args;
    va_start(args, scope_format);
    g_autofree char *scope = g_strdup_vprintf(scope_format, args);
    va_end(args);
    if (length > 0 && *scope != '\0')
        g_string_append_c(p->scope, '.');
    g_string_append(p->scope, scope);
}

void
rv_program_leave(RvProgram *p)
{
    g_assert(p->scope_lengths->len > 0);
    g_string_truncate(p->scope, g_array_index(p->scope_lengths, gsize, p->scope_lengths->len - 1));
    g_array_set_size(p->scope_lengths, p->scope_lengths->len - 1);
}

static void G_GNUC_PRINTF(4, 0)
    fail_with(RvProgram *p, const char *name, RvError code, const char *format, va_list args)
{
    if (p->failure != NULL)
        return;
    g_autofree char *what = g_strdup_vprintf(format, args);
    g_autofree char *where = p->scope->len > 0 && name != NULL ? g_strconcat(p->scope->str, ".", name, NULL)
                             : name != NULL                    ? g_strdup(name)
                                                               : g_strdup(p->scope->str);
    rv_error_set(&p->failure, code, where, NULL, "%s", what);
}

void
rv_program_fail_at(RvProgram *p, const char *name, RvError code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_with(p, name, code, format, args);
    va_end(args);
}

void
rv_program_fail(RvProgram *p, RvError code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_with(p, NULL, code, format, args);
    va_end(args);
}

RvShape
rv_shape(const RvProgram *p, RvTensor t)
{
    return g_array_index(p->values, RvValue, t.index).shape;
}

RvTensor
rv_program_add_value(RvProgram *p, RvDType dtype, RvShape shape)
{
    RvStorage storage = {
        .bytes = (gsize)rv_shape_count(shape) * rv_dtype_size(dtype),
        .alias = (int)p->storages->len,
    };
    RvValue value = {
        .dtype = dtype, .shape = shape, .pixel_stride = shape.c, .storage = (int)p->storages->len
    };
    g_array_append_val(p->storages, storage);
    g_array_append_val(p->values, value);
    return (RvTensor) { (int)p->values->len - 1 };
}

RvTensor
rv_input_exact(RvProgram *p, const char *name, RvDType dtype, RvShape shape)
{
    if (p->failure != NULL)
        return (RvTensor) { 0 };
    if (rv_shape_count(shape) <= 0) {
        rv_program_fail_at(p, name, RV_ERROR_FAILED, "an input cannot be [%d,%d,%d,%d]", shape.n, shape.h,
                           shape.w, shape.c);
        return (RvTensor) { 0 };
    }
    RvTensor tensor = rv_program_add_value(p, dtype, shape);
    g_array_index(p->storages, RvStorage, p->storages->len - 1).is_slot = true;
    RvSlot slot = { g_strdup(name), tensor.index };
    g_array_append_val(p->inputs, slot);
    return tensor;
}

RvTensor
rv_input(RvProgram *p, const char *name, RvDType dtype, RvShape shape)
{
    RvTensor tensor = rv_input_exact(p, name, dtype, shape);
    if (dtype == RV_F32 && p->compute != RV_F32)
        tensor = rv_convert(p, tensor, (RvConvert) { .dtype = p->compute });
    return tensor;
}

/* The tensor's own storage becomes the slot, or a copy's when it cannot. */
static void
output_as(RvProgram *p, const char *name, RvTensor tensor, RvDType dtype)
{
    const RvValue *value = &g_array_index(p->values, RvValue, tensor.index);
    const RvStorage *storage = &g_array_index(p->storages, RvStorage, value->storage);
    gsize bytes = (gsize)rv_shape_count(value->shape) * rv_dtype_size(value->dtype);
    bool is_part = value->offset != 0 || value->pixel_stride != value->shape.c || storage->bytes != bytes;
    if (value->dtype != dtype || is_part || storage->is_slot) {
        tensor = rv_convert(p, tensor, (RvConvert) { .dtype = dtype });
        value = &g_array_index(p->values, RvValue, tensor.index);
    }
    if (p->failure != NULL)
        return;
    g_array_index(p->storages, RvStorage, value->storage).is_slot = true;
    RvSlot slot = { g_strdup(name), tensor.index };
    g_array_append_val(p->outputs, slot);
}

void
rv_output(RvProgram *p, const char *name, RvTensor tensor)
{
    if (p->failure != NULL || rv_is_none(tensor))
        return;
    RvDType dtype = g_array_index(p->values, RvValue, tensor.index).dtype;
    output_as(p, name, tensor, dtype == RV_U8 ? RV_U8 : RV_F32);
}

void
rv_output_exact(RvProgram *p, const char *name, RvTensor tensor)
{
    if (p->failure == NULL && !rv_is_none(tensor))
        output_as(p, name, tensor, g_array_index(p->values, RvValue, tensor.index).dtype);
}

/* Kinds that may write over their first input, element by element. */
static bool
runs_in_place(RvOpKind kind)
{
    return kind == RV_OP_ACT || kind == RV_OP_ADD || kind == RV_OP_MIX || kind == RV_OP_GROUP_NORM;
}

static void
share_dying_inputs(RvProgram *p)
{
    for (guint i = 0; i < p->records->len; i++) {
        RvRecord *record = &g_array_index(p->records, RvRecord, i);
        if (!runs_in_place(record->op->kind) || record->op->apart)
            continue;
        const RvValue *in = &g_array_index(p->values, RvValue, record->in[0]);
        const RvValue *out = &g_array_index(p->values, RvValue, record->out);
        RvStorage *from = &g_array_index(p->storages, RvStorage, in->storage);
        RvStorage *to = &g_array_index(p->storages, RvStorage, out->storage);
        bool twice = false;
        for (int j = 1; j < RV_OP_INPUTS; j++)
            twice |=
                record->in[j] != 0 && g_array_index(p->values, RvValue, record->in[j]).storage == in->storage;
        if (from->is_slot || to->is_slot || twice || from->last != (int)i || from->bytes != to->bytes ||
            in->offset != 0 || in->pixel_stride != in->shape.c || in->dtype != out->dtype)
            continue;
        to->alias = from->alias;
        RvStorage *root = &g_array_index(p->storages, RvStorage, from->alias);
        root->last = MAX(root->last, to->last);
    }
}

/* Places storages and workspaces in the device's scratch region; slots get memory of their own. */
static bool
place_memory(RvProgram *p, GError **error)
{
    const RvBackend *backend = p->device->backend;
    guint storages = p->storages->len, ops = p->records->len;
    g_autofree RvSpan *spans = g_new0(RvSpan, storages + ops + 1);
    for (guint i = 0; i < storages; i++) {
        RvStorage *storage = &g_array_index(p->storages, RvStorage, i);
        if (storage->is_slot) {
            storage->memory = backend->alloc(p->device->state, storage->bytes, error);
            if (storage->memory == NULL)
                return false;
        } else if (storage->alias == (int)i) {
            spans[i] = (RvSpan) { storage->bytes, storage->first, storage->last, 0 };
        } else {
            spans[i].first = -1, spans[i].last = -1;
        }
    }
    for (guint i = 0; i < ops; i++)
        spans[storages + i] =
            (RvSpan) { g_array_index(p->records, RvRecord, i).op->workspace, (int)i, (int)i, 0 };
    p->scratch = rv_plan_place(spans, (int)(storages + ops));

    guint8 *scratch = backend->scratch(p->device->state, p->scratch, error);
    if (scratch == NULL)
        return false;
    p->device->scratch = MAX(p->device->scratch, p->scratch);
    for (guint i = 0; i < storages; i++) {
        RvStorage *storage = &g_array_index(p->storages, RvStorage, i);
        if (!storage->is_slot)
            storage->memory = scratch + spans[storage->alias].offset;
    }
    for (guint i = 0; i < ops; i++)
        g_array_index(p->records, RvRecord, i).op->workspace_data = scratch + spans[storages + i].offset;
    return true;
}

static RvOperand
operand(const RvProgram *p, int index, bool with_address)
{
    if (index == 0)
        return (RvOperand) { 0 };
    const RvValue *value = &g_array_index(p->values, RvValue, index);
    guint8 *memory = g_array_index(p->storages, RvStorage, value->storage).memory;
    return (RvOperand) { value->dtype, value->shape, value->pixel_stride,
                         with_address ? memory + value->offset : NULL };
}

static void
set_operands(RvProgram *p, bool with_address)
{
    for (guint i = 0; i < p->records->len; i++) {
        RvRecord *record = &g_array_index(p->records, RvRecord, i);
        for (int j = 0; j < RV_OP_INPUTS; j++)
            record->op->in[j] = operand(p, record->in[j], with_address);
        record->op->out = operand(p, record->out, with_address);
    }
}

static bool
prepare_ops(RvProgram *p, gint64 until_us, GError **error)
{
    const RvBackend *backend = p->device->backend;
    if (p->prepared == 0) {
        set_operands(p, false);
        rv_program_pair(p);
    }
    while (p->prepared < p->records->len) {
        if (!backend->prepare(p->device->state, g_array_index(p->records, RvRecord, p->prepared).op, error))
            return false;
        p->prepared++;
        if (until_us < G_MAXINT64 && g_get_monotonic_time() >= until_us)
            break;
    }
    return true;
}

static bool
build(RvProgram *p, GError **error)
{
    const RvBackend *backend = p->device->backend;
    share_dying_inputs(p);
    if (!place_memory(p, error))
        return false;
    set_operands(p, true);
    g_autofree RvOp **ops = g_new(RvOp *, p->records->len + 1);
    for (guint i = 0; i < p->records->len; i++)
        ops[i] = g_array_index(p->records, RvRecord, i).op;
    RvPlan plan = { ops, (int)p->records->len };
    if (!backend->build(p->device->state, &plan, &p->exec, error))
        return false;
    p->is_compiled = true;
    return true;
}

bool
rv_program_compile_some(RvProgram *p, gint64 until_us, bool *is_done, GError **error)
{
    g_assert(!p->is_compiled);
    if (p->failure != NULL) {
        g_propagate_error(error, g_error_copy(p->failure));
        return false;
    }
    if (!rv_device_check_awake(p->device, error))
        return false;
    bool was_prepared = p->prepared == p->records->len;
    if (!was_prepared && !prepare_ops(p, until_us, error))
        return false;
    /* The plan gets a piece of its own, unless nobody waits. */
    *is_done = p->prepared == p->records->len && (was_prepared || until_us == G_MAXINT64);
    return !*is_done || build(p, error);
}

bool
rv_program_compile(RvProgram *p, GError **error)
{
    bool is_done;
    return rv_program_compile_some(p, G_MAXINT64, &is_done, error);
}

double
rv_program_flops(const RvProgram *p)
{
    double flops = 0.0;
    for (guint i = 0; i < p->records->len; i++)
        flops += g_array_index(p->records, RvRecord, i).op->flops;
    return flops;
}

gsize
rv_program_scratch(const RvProgram *p)
{
    return p->scratch;
}
