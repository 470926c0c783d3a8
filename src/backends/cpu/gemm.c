#include "backends/cpu/gemm.h"

#include <omp.h>
#include <string.h>

#include "backends/cpu/kernels/gemm.h"

/* A pass's rows (kernel rows * 320 floats) and one panel of B share the first-level cache; a task's
 * gathered rows fill about half of a 512 KB second level. 16 more floats a row keep rows from
 * competing for the same cache sets. */
#define K_PER_PASS 320
#define ROW_STRIDE (K_PER_PASS + 16)
#define ROWS_PER_TASK 144
#define TASKS_PER_THREAD 4

bool
cpu_unsupported(const RvOp *op, const char *what, GError **error)
{
    return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, NULL, "the CPU back end cannot do %s: %s",
                        rv_op_kind_name(op->kind), what);
}

static int
ceil_div(gint64 a, gint64 b)
{
    return (int)((a + b - 1) / b);
}

/* The smallest multiple of `step` that splits `total` into `parts`. */
static int
even_part(gint64 total, int parts, int step)
{
    return ceil_div(ceil_div(total, parts), step) * step;
}

static int
round_up(int value, int step)
{
    return ceil_div(value, step) * step;
}

static void
choose_blocks(CpuProduct *p, gint64 rows, int threads)
{
    int kernel_rows = cpu_gemm_kernels()->rows, k = p->weights.taps * p->weights.in;
    p->k_per_pass = even_part(k, ceil_div(k, K_PER_PASS), 1);
    int row_parts = ceil_div(rows, ROWS_PER_TASK), column_parts = 1;
    if (row_parts >= TASKS_PER_THREAD * threads)
        row_parts = round_up(row_parts, threads);
    else
        column_parts =
            MIN(p->weights.panel_count, round_up(ceil_div(TASKS_PER_THREAD * threads, row_parts), threads));
    p->rows_per_task = even_part(rows, row_parts, kernel_rows);
    p->columns_per_task = even_part(p->weights.panel_count, column_parts, 1) * p->weights.columns;
}

bool
cpu_product_prepare(CpuProduct *p, CpuDevice *device, RvOp *op, GError **error)
{
    const CpuPatches *s = &p->patches;
    if (!cpu_weights_get(&p->weights, op, op->out.shape.c, s->in.c, s->kernel * s->kernel, error))
        return false;
    choose_blocks(p, rv_shape_pixels(op->out.shape), device->threads);
    op->workspace = (gsize)device->threads * (gsize)p->rows_per_task * ROW_STRIDE * sizeof(float);
    return true;
}

static int
wrap(int at, int size)
{
    at %= size;
    return at < 0 ? at + size : at;
}

const float *
cpu_patches_pixel(const CpuPatches *s, const RvOperand *x, int image, int row, int column)
{
    if (row < 0 || row >= s->h || column < 0 || column >= s->w) {
        if (!s->circular)
            return NULL;
        row = wrap(row, s->h);
        column = wrap(column, s->w);
    }
    gint64 y = (gint64)row * s->in.h / s->h, from = (gint64)column * s->in.w / s->w;
    gint64 pixel = ((gint64)image * s->in.h + y) * s->in.w + from;
    return (const float *)x->data + pixel * x->pixel_stride;
}

/* Values [from, from + count) of what output pixel `row` sees, in the weights' order (weights.h). */
static void
gather_row(const CpuPatches *s, const RvOperand *x, gint64 row, int from, int count, float *to)
{
    int column = (int)(row % s->out_w), line = (int)(row / s->out_w % s->out_h);
    int image = (int)(row / s->out_w / s->out_h), c = s->in.c, taps = s->kernel * s->kernel;
    int block_width = taps == 1 ? c : CPU_CHANNEL_BLOCK;
    while (count > 0) {
        int block = from / (block_width * taps) * block_width, width = MIN(block_width, c - block);
        int tap = (from - block * taps) / width, channel = (from - block * taps) % width;
        int length = MIN(width - channel, count);
        const float *pixel = cpu_patches_pixel(s, x, image, line * s->stride + tap / s->kernel - s->pad,
                                               column * s->stride + tap % s->kernel - s->pad);
        if (pixel != NULL)
            memcpy(to, pixel + block + channel, sizeof *to * (gsize)length);
        else
            memset(to, 0, sizeof *to * (gsize)length);
        to += length;
        from += length;
        count -= length;
    }
}

void
cpu_product_finish(const RvOp *op, const CpuWeights *w, RvAct act, gint64 row, gint64 rows, int from,
                   int columns)
{
    const RvOperand *out = &op->out, *add = &op->in[1];
    gint64 image_rows = (gint64)out->shape.h * out->shape.w;
    bool is_shared = add->data != NULL && (gint64)add->shape.h * add->shape.w != image_rows;
    while (rows > 0) {
        gint64 part = is_shared ? MIN(rows, image_rows - row % image_rows) : rows;
        gint64 add_row = is_shared ? row / image_rows : row;
        CpuFinish finish = {
            .bias = w->bias != NULL ? w->bias + from : NULL,
            .add = add->data != NULL ? (const float *)add->data + add_row * add->pixel_stride + from : NULL,
            .add_stride = is_shared ? 0 : add->pixel_stride,
            .act = act,
        };
        cpu_gemm_kernels()->finish((float *)out->data + row * out->pixel_stride + from, out->pixel_stride,
                                   part, columns, &finish);
        row += part;
        rows -= part;
    }
}

static void
run_task(const CpuProduct *p, const RvOp *op, int row_part, int column_part, float *gathered)
{
    const CpuWeights *w = &p->weights;
    const CpuGemmKernels *kernels = cpu_gemm_kernels();
    gint64 row = (gint64)row_part * p->rows_per_task;
    int rows = (int)MIN(rv_shape_pixels(op->out.shape) - row, p->rows_per_task);
    int from = column_part * p->columns_per_task, to = MIN(from + p->columns_per_task, w->out);
    int k = w->taps * w->in;
    gint64 stride = op->out.pixel_stride;
    float *out = (float *)op->out.data + row * stride;
    if (rows <= 0 || from >= to)
        return;
    for (int i = 0; i < k; i += p->k_per_pass) {
        int depth = MIN(k - i, p->k_per_pass);
        for (int r = 0; r < rows; r++)
            gather_row(&p->patches, &op->in[0], row + r, i, depth, gathered + (gsize)r * ROW_STRIDE);
        for (int j = from; j < to; j += w->columns)
            kernels->panel(rows, MIN(w->columns, to - j), depth, gathered, ROW_STRIDE,
                           cpu_weights_panel(w, j / w->columns) + (gsize)i * (gsize)w->columns, out + j,
                           stride, i > 0);
    }
    cpu_product_finish(op, w, p->act, row, rows, from, to - from);
}

void
cpu_product_run(const CpuProduct *p, CpuDevice *device, const RvOp *op)
{
    int row_parts = ceil_div(rv_shape_pixels(op->out.shape), p->rows_per_task);
    int column_parts = ceil_div(p->weights.out, p->columns_per_task);
    gsize each = (gsize)p->rows_per_task * ROW_STRIDE;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(device->threads)
    for (int i = 0; i < row_parts; i++)
        for (int j = 0; j < column_parts; j++)
            run_task(p, op, i, j, (float *)op->workspace_data + (gsize)omp_get_thread_num() * each);
}
