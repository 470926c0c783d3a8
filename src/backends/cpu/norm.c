#include <math.h>
#include <string.h>

#include "backends/cpu/kernels/norm.h"
#include "backends/cpu/pixels.h"

/* An image is summed in at most this many pieces, whatever the number of threads, so that results have
 * the same bits on every machine of one instruction set. */
#define MAX_PIECES 128
#define MIN_PIECE_PIXELS 32

typedef struct {
    const float *weight, *bias;   /* [c] each, borrowed from the weight set */
    gint64 pixels, piece, pieces; /* group norm: of one image */
} NormState;

static bool
pack_f32(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    gsize channels = (gsize)op->in[0].shape.c;
    for (int i = 0; i < 2; i++)
        rv_convert_to_f32(op->weight[i].array.dtype, op->weight[i].array.data,
                          (float *)memory + (gsize)i * channels, channels);
    return true;
}

static NormState *
norm_state(RvOp *op, GError **error)
{
    if (!cpu_wants_f32(op, error))
        return NULL;
    gsize channels = (gsize)op->in[0].shape.c;
    g_autofree char *key = g_strconcat("norm:", op->weight[0].name, NULL);
    const float *memory =
        rv_weight_set_get(op->weights, key, 2 * channels * sizeof(float), op, pack_f32, error);
    if (memory == NULL)
        return NULL;
    NormState *state = g_new0(NormState, 1);
    state->weight = memory;
    state->bias = memory + channels;
    op->state = state;
    return state;
}

static void
norm_release(RvOp *op)
{
    g_free(op->state);
}

/* Workspace of a group norm: for each piece of each image the channels' moments, then for each image
 * the channels' mean, scale and shift. */
typedef struct {
    double *moments; /* [n][pieces][mean c, squares c] */
    float *affine;   /* [n][mean c, scale c, shift c] */
    float *scratch;  /* [n][pieces][2 c] */
} GroupSpace;

static GroupSpace
group_space(const RvOp *op)
{
    const NormState *state = op->state;
    gsize n = (gsize)op->in[0].shape.n, c = (gsize)op->in[0].shape.c, pieces = n * (gsize)state->pieces;
    GroupSpace space = { .moments = op->workspace_data };
    space.scratch = (float *)(space.moments + pieces * 2 * c);
    space.affine = space.scratch + pieces * 2 * c;
    return space;
}

static bool
group_norm_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    NormState *state = norm_state(op, error);
    if (state == NULL)
        return false;
    RvShape shape = op->in[0].shape;
    state->pixels = (gint64)shape.h * shape.w;
    state->piece = MAX(MIN_PIECE_PIXELS, (state->pixels + MAX_PIECES - 1) / MAX_PIECES);
    state->pieces = (state->pixels + state->piece - 1) / state->piece;
    gsize n = (gsize)shape.n, c = (gsize)shape.c, pieces = n * (gsize)state->pieces;
    op->workspace = pieces * 2 * c * (sizeof(double) + sizeof(float)) + n * 3 * c * sizeof(float);
    return true;
}

static void
piece_moments(const RvOp *op, const GroupSpace *space, gint64 index)
{
    const NormState *state = op->state;
    gsize c = (gsize)op->in[0].shape.c;
    gint64 n = index / state->pieces, start = index % state->pieces * state->piece;
    double *mean = space->moments + (gsize)index * 2 * c, *squares = mean + c;
    memset(mean, 0, 2 * c * sizeof *mean);
    norm_kernels()->moments(cpu_pixel(&op->in[0], n * state->pixels + start),
                            MIN(state->piece, state->pixels - start), (int)c, op->in[0].pixel_stride, 0.0,
                            mean, squares, space->scratch + (gsize)index * 2 * c);
}

/* Mean and sum of squared deviations of one group of channels: all pieces of all its channels. */
static void
group_moments(const NormState *state, const double *moments, int channels, int first, int count, double *mean,
              double *squares)
{
    double seen = 0.0;
    *mean = *squares = 0.0;
    for (gint64 i = 0; i < state->pieces; i++) {
        const double *piece = moments + (gsize)i * 2 * (gsize)channels;
        double weight = (double)MIN(state->piece, state->pixels - i * state->piece);
        for (int c = first; c < first + count; c++) {
            double d = piece[c] - *mean;
            *mean += d * weight / (seen + weight);
            *squares += piece[channels + c] + d * d * seen * weight / (seen + weight);
            seen += weight;
        }
    }
}

static void
image_affine(const RvOp *op, const GroupSpace *space, int n)
{
    const NormState *state = op->state;
    int channels = op->in[0].shape.c, width = channels / op->norm.groups;
    const double *moments = space->moments + (gsize)n * (gsize)state->pieces * 2 * (gsize)channels;
    float *means = space->affine + (gsize)n * 3 * (gsize)channels, *scales = means + channels,
          *shifts = scales + channels;
    for (int group = 0; group < op->norm.groups; group++) {
        double mean, squares;
        group_moments(state, moments, channels, group * width, width, &mean, &squares);
        double variance = squares / ((double)state->pixels * width);
        double scale = 1.0 / sqrt(variance + (double)op->norm.eps);
        for (int c = group * width; c < (group + 1) * width; c++) {
            means[c] = (float)mean;
            scales[c] = (float)(scale * (double)state->weight[c]);
            /* what rounding kept out of the mean is in the shift */
            shifts[c] = (float)((double)state->bias[c] - (mean - (double)means[c]) * (double)scales[c]);
        }
    }
}

static void
group_norm_pixels(const RvOp *op, gint64 from, gint64 to)
{
    const NormState *state = op->state;
    GroupSpace space = group_space(op);
    int channels = op->in[0].shape.c;
    for (gint64 p = from; p < to; p++) {
        const float *means = space.affine + p / state->pixels * 3 * channels;
        norm_kernels()->normalize(op->norm.act, cpu_pixel(&op->in[0], p), means, means + channels,
                                  means + 2 * channels, cpu_pixel(&op->out, p), channels);
    }
}

static bool
group_norm_run(CpuDevice *device, const RvOp *op, GError **error)
{
    const NormState *state = op->state;
    GroupSpace space = group_space(op);
    gint64 pieces = op->in[0].shape.n * state->pieces;
    bool is_small = rv_shape_count(op->in[0].shape) <= CPU_SERIAL_ELEMENTS;
    if (is_small) {
        for (gint64 i = 0; i < pieces; i++)
            piece_moments(op, &space, i);
    } else {
#pragma omp parallel for schedule(static)
        for (gint64 i = 0; i < pieces; i++)
            piece_moments(op, &space, i);
    }
    for (int n = 0; n < op->in[0].shape.n; n++)
        image_affine(op, &space, n);
    cpu_for_pixels(op, group_norm_pixels);
    return true;
}

static bool
layer_norm_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    return norm_state(op, error) != NULL;
}

static void
layer_norm_pixels(const RvOp *op, gint64 from, gint64 to)
{
    const NormState *state = op->state;
    for (gint64 p = from; p < to; p++)
        norm_kernels()->layer_norm(op->norm.act, cpu_pixel(&op->in[0], p), state->weight, state->bias,
                                   op->norm.eps, cpu_pixel(&op->out, p), op->in[0].shape.c);
}

static bool
layer_norm_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, layer_norm_pixels);
    return true;
}

const CpuOp cpu_group_norm = { group_norm_prepare, group_norm_run, norm_release };
const CpuOp cpu_layer_norm = { layer_norm_prepare, layer_norm_run, norm_release };
