#include "backends/cuda/weights.h"

#define ALIGNMENT 256

static gsize
matrix_bytes(const RvOp *op, RvDType dtype)
{
    gint64 count = 0;
    for (int i = 0; i < RV_OP_WEIGHTS; i += 2)
        if (op->weight[i].array.data != NULL)
            count += rv_array_count(&op->weight[i].array);
    return ((gsize)count * rv_dtype_size(dtype) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool
pack(void *user, RvOp *op, void *memory, gsize bytes, GError **error)
{
    CudaDevice *device = user;
    guint8 *weight = memory, *bias = weight + matrix_bytes(op, op->out.dtype);
    CudaLayout layout = op->kind == RV_OP_CONV2D && op->conv2d.kernel > 1 ? CUDA_OIHW_TO_OHWI : CUDA_PLAIN;
    for (int i = 0; i < RV_OP_WEIGHTS; i += 2) {
        const RvArray *from = &op->weight[i].array, *add = &op->weight[i + 1].array;
        if (from->data == NULL)
            continue;
        if (!cuda_load_weight(device, from, layout, op->out.dtype, weight, error))
            return false;
        weight += (gsize)rv_array_count(from) * rv_dtype_size(op->out.dtype);
        if (add->data == NULL)
            continue;
        if (!cuda_load_weight(device, add, CUDA_PLAIN, op->out.dtype, bias, error))
            return false;
        bias += (gsize)rv_array_count(add) * rv_dtype_size(op->out.dtype);
    }
    return true;
}

bool
cuda_pack(CudaDevice *device, RvOp *op, CudaConv *conv, GError **error)
{
    GString *key = g_string_new("matrix");
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        if (op->weight[i].array.data != NULL)
            g_string_append_printf(key, " %s", op->weight[i].name);
    gsize matrix = matrix_bytes(op, op->out.dtype);
    bool has_bias = op->weight[1].array.data != NULL;
    gsize bytes = matrix + (has_bias ? (gsize)conv->out_c * rv_dtype_size(op->out.dtype) : 0);
    guint8 *memory = rv_weight_set_get(op->weights, key->str, bytes, op, pack, error);
    g_string_free(key, TRUE);
    conv->weight = memory;
    conv->bias = has_bias && memory != NULL ? memory + matrix : NULL;
    return memory != NULL;
}

static bool
pack_spread(void *user, RvOp *op, void *memory, gsize bytes, GError **error)
{
    return cuda_load_weight(user, &op->weight[0].array, CUDA_OIHW_TO_SPREAD, op->out.dtype, memory, error);
}

static bool
pack_twice(void *user, RvOp *op, void *memory, gsize bytes, GError **error)
{
    return cuda_load_weight(user, &op->weight[0].array, CUDA_OIHW_TO_TWICE, op->out.dtype, memory, error);
}

const void *
cuda_pack_doubling(CudaDevice *device, RvOp *op, bool inputs_last, GError **error)
{
    g_autofree char *key = g_strdup_printf("%s %s", inputs_last ? "twice" : "spread", op->weight[0].name);
    gsize taps = (gsize)op->in[0].shape.c * (gsize)op->out.shape.c * 16;
    return rv_weight_set_get(op->weights, key, taps * rv_dtype_size(op->out.dtype), op,
                             inputs_last ? pack_twice : pack_spread, error);
}

static void
describe_add(CudaConv *conv, const RvOp *op)
{
    const RvOperand *add = &op->in[1];
    if (rv_shape_count(add->shape) == 0)
        return;
    bool is_pixel = add->shape.h == op->out.shape.h && add->shape.w == op->out.shape.w;
    conv->add_kind = is_pixel ? CUDA_ADD_PIXEL : CUDA_ADD_IMAGE;
    conv->add_stride = add->pixel_stride;
}

void
cuda_conv_describe(CudaConv *conv, const RvOp *op)
{
    RvShape in = op->in[0].shape, out = op->out.shape;
    *conv = (CudaConv) { .n = in.n,
                         .h = in.h,
                         .w = in.w,
                         .c = in.c,
                         .up_h = in.h,
                         .up_w = in.w,
                         .out_h = out.h,
                         .out_w = out.w,
                         .out_c = out.c,
                         .kernel = 1,
                         .stride = 1,
                         .x_stride = op->in[0].pixel_stride,
                         .dtype = (int)op->out.dtype };
    if (op->kind == RV_OP_CONV2D) {
        const RvConv2d *o = &op->conv2d;
        conv->kernel = o->kernel;
        conv->stride = o->stride;
        conv->pad = o->pad_end ? 0 : (o->kernel - 1) / 2;
        conv->up_h = o->up_h > 0 ? o->up_h : in.h;
        conv->up_w = o->up_w > 0 ? o->up_w : in.w;
        conv->act = (int)o->act;
    } else {
        conv->act = (int)op->linear.act;
    }
    describe_add(conv, op);
    /* Until the weights are packed: that there is one. */
    conv->bias = op->weight[1].array.data;
}

void
cuda_conv_address(CudaConv *conv, const RvOp *op)
{
    conv->x = op->in[0].data;
    conv->add = op->in[1].data;
    conv->out = op->out.data;
}
