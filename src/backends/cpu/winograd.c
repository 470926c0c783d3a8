#include "backends/cpu/winograd.h"

#include <omp.h>

#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/winograd.h"

/* Chosen by measuring on a machine with 32 KB + 512 KB of inner caches: the weights of a pass stay in
 * the inner caches between the transform and the product, a narrow layer's inputs as well. */
#define CHANNELS_PER_PASS 80
#define FEW_TILES 24 /* up to here, passes of half as many channels, one panel a task */
#define TILES_PER_BLOCK 96
#define TILES_PER_NARROW_BLOCK 48
#define NARROW_CHANNELS 128
#define COLUMNS_PER_TASK 64
#define TASKS_PER_THREAD 3

/* Transformed inputs in the workspace: a share of the outer cache for each thread. */
#define ROUND_BYTES_PER_THREAD ((gsize)4 << 20)
#define MOST_ROUND_BYTES ((gsize)48 << 20)
#define MOST_BLOCK_BYTES ((gsize)16 << 20)

/* Parts of the largest group of rows. */
#define GROUP_PARTS 12

/* What padding pixels are read from. */
static const float zeros[CHANNELS_PER_PASS];

static gint64
ceil_div(gint64 a, gint64 b)
{
    return (a + b - 1) / b;
}

static gint64
round_up(gint64 a, gint64 step)
{
    return ceil_div(a, step) * step;
}

/* Of one image: what decides how sums are formed depends on it alone, so that an image has the same bits in
 * any batch. */
static gint64
image_tiles(const CpuPatches *s)
{
    return ceil_div(s->out_h, WINOGRAD_OUT) * ceil_div(s->out_w, WINOGRAD_OUT);
}

/* Blocks of a narrow layer fit the second-level cache with their inputs. */
static gint64
count_blocks(gint64 tiles, int in)
{
    return ceil_div(tiles, in <= NARROW_CHANNELS ? TILES_PER_NARROW_BLOCK : TILES_PER_BLOCK);
}

/* Cycles for each vector lane, with two multiply-adds a cycle; the transforms' costs were measured. */
bool
cpu_winograd_pays(const CpuPatches *s, int out)
{
    if (s->kernel != 3 || s->stride != 1)
        return false;
    int columns = cpu_gemm_kernels()->columns;
    double tiles = (double)image_tiles(s), in = s->in.c, outs = (double)round_up(out, columns);
    double in_lanes = (double)round_up(s->in.c, columns / 2);
    double direct = (double)s->out_h * s->out_w * 9 * in * outs / 2;
    double blocks = (double)count_blocks((gint64)tiles, s->in.c);
    double winograd =
        tiles * WINOGRAD_PARTS * in * outs / 2 + tiles * (in_lanes + outs) * 110 + blocks * in * outs * 45;
    return winograd < direct;
}

static void
choose_passes(CpuWinograd *g)
{
    int in = g->weights.in,
        most = image_tiles(&g->patches) <= FEW_TILES ? CHANNELS_PER_PASS / 2 : CHANNELS_PER_PASS;
    g->passes = (int)ceil_div(in, most);
    g->channels_per_pass = (int)round_up(ceil_div(in, g->passes), CPU_CHANNEL_BLOCK);
    g->passes = (int)ceil_div(in, g->channels_per_pass);
    /* an odd number of cache lines, so that rows do not compete for the same sets */
    g->row_stride = (int)round_up(g->channels_per_pass, 16);
    if (g->row_stride % 32 == 0)
        g->row_stride += 16;
}

static void
choose_blocks(CpuWinograd *g, int threads)
{
    const CpuGemmKernels *kernels = cpu_gemm_kernels();
    gsize tile_bytes = sizeof(float) * WINOGRAD_PARTS * (gsize)g->row_stride * (gsize)g->passes;
    gint64 blocks = MAX(count_blocks(g->tiles, g->weights.in),
                        ceil_div(g->tiles * (gint64)tile_bytes, (gint64)MOST_BLOCK_BYTES));
    g->tiles_per_block = (int)round_up(ceil_div(g->tiles, blocks), kernels->rows);
    gsize round_bytes = MIN(ROUND_BYTES_PER_THREAD * (gsize)threads, MOST_ROUND_BYTES);
    gint64 blocks_per_round = MAX(1, (gint64)(round_bytes / tile_bytes) / g->tiles_per_block);
    g->tiles_per_round =
        (int)MIN(round_up(g->tiles, g->tiles_per_block), blocks_per_round * g->tiles_per_block);
    gint64 tasks = (gint64)g->tiles_per_round / g->tiles_per_block * g->weights.panel_count;
    int most_panels = g->tiles <= FEW_TILES ? 1 : MAX(1, COLUMNS_PER_TASK / kernels->columns);
    g->panels_per_task = (int)CLAMP(tasks / (TASKS_PER_THREAD * threads), 1, most_panels);
}

/* Floats of one thread's weights (one group of parts) and products (all parts). */
static gsize
weight_floats(const CpuWinograd *g)
{
    return (gsize)GROUP_PARTS * (gsize)g->channels_per_pass *
           (gsize)(g->panels_per_task * g->weights.columns);
}

static gsize
product_floats(const CpuWinograd *g)
{
    return (gsize)WINOGRAD_PARTS * (gsize)g->tiles_per_block *
           (gsize)(g->panels_per_task * g->weights.columns);
}

static gsize
input_floats(const CpuWinograd *g)
{
    return (gsize)WINOGRAD_PARTS * (gsize)g->tiles_per_round * (gsize)g->row_stride * (gsize)g->passes;
}

bool
cpu_winograd_prepare(CpuWinograd *g, CpuDevice *device, RvOp *op, GError **error)
{
    if (!cpu_weights_get(&g->weights, op, op->out.shape.c, g->patches.in.c, 9, error))
        return false;
    g->tiles_high = (int)ceil_div(g->patches.out_h, WINOGRAD_OUT);
    g->tiles_wide = (int)ceil_div(g->patches.out_w, WINOGRAD_OUT);
    g->tiles = g->patches.in.n * image_tiles(&g->patches);
    choose_passes(g);
    choose_blocks(g, device->threads);
    op->workspace =
        (input_floats(g) + (gsize)device->threads * (weight_floats(g) + product_floats(g))) * sizeof(float);
    return true;
}

typedef struct {
    int image, row, column; /* of the tile's first output */
} TilePlace;

static TilePlace
place_of(const CpuWinograd *g, gint64 tile)
{
    int per_image = g->tiles_high * g->tiles_wide, inside = (int)(tile % per_image);
    return (TilePlace) {
        .image = (int)(tile / per_image),
        .row = inside / g->tiles_wide * WINOGRAD_OUT,
        .column = inside % g->tiles_wide * WINOGRAD_OUT,
    };
}

/* Transformed inputs are [pass][part][tile of the round][row_stride]. */
static gsize
input_at(const CpuWinograd *g, int pass, int part, gint64 tile)
{
    return (((gsize)pass * WINOGRAD_PARTS + (gsize)part) * (gsize)g->tiles_per_round + (gsize)tile) *
           (gsize)g->row_stride;
}

static void
transform_input(const CpuWinograd *g, const RvOp *op, gint64 first, gint64 tile, int pass, float *inputs)
{
    TilePlace place = place_of(g, first + tile);
    int from = pass * g->channels_per_pass, channels = MIN(g->channels_per_pass, g->weights.in - from);
    const float *pixels[WINOGRAD_PARTS];
    for (int i = 0; i < WINOGRAD_PARTS; i++) {
        const float *pixel = cpu_patches_pixel(&g->patches, &op->in[0], place.image,
                                               place.row + i / WINOGRAD_SIDE - g->patches.pad,
                                               place.column + i % WINOGRAD_SIDE - g->patches.pad);
        pixels[i] = pixel != NULL ? pixel + from : zeros;
    }
    winograd_kernels()->input(pixels, channels, inputs + input_at(g, pass, 0, tile),
                              (gint64)g->tiles_per_round * g->row_stride);
}

typedef struct {
    gint64 first;    /* tile of the round */
    int tile, tiles; /* within the round */
    int panel, panels;
    const float *inputs;
    float *weights;  /* [panel][part of the group][channels][columns] */
    float *products; /* [part][tile][panels * columns] */
} Task;

/* One group of parts of `channels` weights of a panel: to[part][channels][columns]. */
static void
transform_weights(const CpuWeights *w, int panel, int group, int from, int channels, float *to)
{
    gint64 each = (gint64)channels * w->columns;
    for (int i = 0; i < channels; i += CPU_CHANNEL_BLOCK) {
        int count = MIN(CPU_CHANNEL_BLOCK, channels - i) * w->columns;
        const float *taps = cpu_weights_panel(w, panel) + (gsize)(from + i) * (gsize)(w->taps * w->columns);
        winograd_kernels()->weights(taps, count, group, count, to + (gsize)i * (gsize)w->columns, each);
    }
}

/* One group of parts of the task's products, summed over one pass's channels. */
static void
multiply_group(const CpuWinograd *g, const Task *t, int group, int pass)
{
    const CpuWeights *w = &g->weights;
    int columns = w->columns, width = t->panels * columns;
    int from = pass * g->channels_per_pass, channels = MIN(g->channels_per_pass, w->in - from);
    int first = winograd_rows[group] * WINOGRAD_SIDE, end = winograd_rows[group + 1] * WINOGRAD_SIDE;
    gsize each = (gsize)channels * (gsize)columns;
    for (int j = 0; j < t->panels; j++)
        transform_weights(w, t->panel + j, group, from, channels, t->weights + (gsize)j * GROUP_PARTS * each);
    for (int part = first; part < end; part++) {
        float *products = t->products + (gsize)part * (gsize)t->tiles * (gsize)width;
        for (int j = 0; j < t->panels; j++)
            cpu_gemm_kernels()->panel(t->tiles, columns, channels,
                                      t->inputs + input_at(g, pass, part, t->tile), g->row_stride,
                                      t->weights + (gsize)(j * GROUP_PARTS + part - first) * each,
                                      products + j * columns, width, pass > 0);
    }
}

static void
write_tile(const CpuWinograd *g, const RvOp *op, const Task *t, int tile)
{
    const RvOperand *out = &op->out;
    int columns = g->weights.columns, width = t->panels * columns, from = t->panel * columns;
    int channels = MIN(width, g->weights.out - from);
    TilePlace place = place_of(g, t->first + t->tile + tile);
    gint64 pixel = ((gint64)place.image * out->shape.h + place.row) * out->shape.w + place.column;
    WinogradTile to = {
        .out = (float *)out->data + pixel * out->pixel_stride + from,
        .row_stride = (gint64)out->shape.w * out->pixel_stride,
        .pixel_stride = out->pixel_stride,
        .rows = MIN(WINOGRAD_OUT, out->shape.h - place.row),
        .columns = MIN(WINOGRAD_OUT, out->shape.w - place.column),
    };
    winograd_kernels()->output(t->products + (gsize)tile * (gsize)width, (gint64)t->tiles * width, channels,
                               &to);
    for (int y = 0; y < to.rows; y++)
        cpu_product_finish(op, &g->weights, g->act, pixel + (gint64)y * out->shape.w, to.columns, from,
                           channels);
}

static void
run_task(const CpuWinograd *g, const RvOp *op, const Task *t)
{
    for (int pass = 0; pass < g->passes; pass++)
        for (int group = 0; group < WINOGRAD_GROUPS; group++)
            multiply_group(g, t, group, pass);
    for (int tile = 0; tile < t->tiles; tile++)
        write_tile(g, op, t, tile);
}

/* Tiles [first, first + tiles), at most tiles_per_round. */
static void
run_round(const CpuWinograd *g, CpuDevice *device, const RvOp *op, gint64 first, gint64 tiles)
{
    float *inputs = op->workspace_data;
    gsize each = weight_floats(g) + product_floats(g);
    int blocks = (int)ceil_div(tiles, g->tiles_per_block);
    int groups = (int)ceil_div(g->weights.panel_count, g->panels_per_task);
#pragma omp parallel num_threads(device->threads)
    {
        float *own = inputs + input_floats(g) + (gsize)omp_get_thread_num() * each;
#pragma omp for collapse(2) schedule(dynamic, 4)
        for (int pass = 0; pass < g->passes; pass++)
            for (gint64 tile = 0; tile < tiles; tile++)
                transform_input(g, op, first, tile, pass, inputs);
#pragma omp for collapse(2) schedule(dynamic)
        for (int i = 0; i < blocks; i++)
            for (int j = 0; j < groups; j++) {
                int tile = i * g->tiles_per_block, panel = j * g->panels_per_task;
                Task task = {
                    .first = first,
                    .tile = tile,
                    .tiles = (int)MIN(tiles - tile, g->tiles_per_block),
                    .panel = panel,
                    .panels = MIN(g->panels_per_task, g->weights.panel_count - panel),
                    .inputs = inputs,
                    .weights = own,
                    .products = own + weight_floats(g),
                };
                run_task(g, op, &task);
            }
    }
}

void
cpu_winograd_run(const CpuWinograd *g, CpuDevice *device, const RvOp *op)
{
    for (gint64 first = 0; first < g->tiles; first += g->tiles_per_round)
        run_round(g, device, op, first, MIN(g->tiles - first, g->tiles_per_round));
}
