#include "engine/upscale.h"

#include <math.h>
#include <string.h>

#include <glib/gstdio.h>

#include "engine/programs.h"
#include "engine/upscaler_file.h"

#define TILE 192   /* pixels a side, at most */
#define OVERLAP 16 /* pixels that neighbours share, of which each keeps half */
#define KEPT 2
#define PROGRAMS 8
#define MOST_PASSES 3

typedef struct {
    RvUpscalerFile *file;
    RvWeightSet *weights;
    RvPrograms *programs;
    char *path;
    gint64 bytes, modified;
} Network;

struct RvUpscalers {
    RvEngine *engine;
    const RvLibrary *library;
    GPtrArray *networks; /* Network, the last used at the end */
};

static void
network_free(gpointer data)
{
    Network *network = data;
    rv_programs_free(network->programs);
    rv_weight_set_free(network->weights);
    rv_upscaler_file_close(network->file);
    g_free(network->path);
    g_free(network);
}

RvUpscalers *
rv_upscalers_new(RvEngine *engine, const RvLibrary *library)
{
    RvUpscalers *upscalers = g_new0(RvUpscalers, 1);
    upscalers->engine = engine;
    upscalers->library = library;
    upscalers->networks = g_ptr_array_new_with_free_func(network_free);
    return upscalers;
}

void
rv_upscalers_free(RvUpscalers *upscalers)
{
    if (upscalers == NULL)
        return;
    g_ptr_array_unref(upscalers->networks);
    g_free(upscalers);
}

gsize
rv_upscalers_bytes(const RvUpscalers *upscalers)
{
    gsize bytes = 0;
    for (guint i = 0; i < upscalers->networks->len; i++)
        bytes += rv_weight_set_bytes(((const Network *)g_ptr_array_index(upscalers->networks, i))->weights);
    return bytes;
}

static bool
find_filter(const char *name, RvFilter *filter)
{
    *filter = g_ascii_strcasecmp(name, "nearest") == 0 ? RV_FILTER_NEAREST : RV_FILTER_LANCZOS;
    return g_ascii_strcasecmp(name, "none") == 0 || g_ascii_strcasecmp(name, "lanczos") == 0 ||
           *filter == RV_FILTER_NEAREST;
}

bool
rv_upscalers_know(const RvUpscalers *upscalers, const char *name)
{
    RvFilter filter;
    g_autofree char *path = rv_library_find(upscalers->library, RV_NETWORK_UPSCALER, name, NULL);
    return find_filter(name, &filter) || path != NULL;
}

static Network *
network_for(RvUpscalers *u, const char *name, GError **error)
{
    g_autofree char *path = rv_library_resolve(u->library, RV_NETWORK_UPSCALER, name, error);
    GStatBuf status = { 0 };
    if (path == NULL)
        return NULL;
    g_stat(path, &status);
    for (guint i = 0; i < u->networks->len; i++) {
        Network *known = g_ptr_array_index(u->networks, i);
        if (strcmp(known->path, path) != 0 || known->bytes != (gint64)status.st_size ||
            known->modified != (gint64)status.st_mtime)
            continue;
        g_ptr_array_add(u->networks, g_ptr_array_steal_index(u->networks, i));
        return known;
    }
    RvUpscalerFile *file = rv_upscaler_file_open(path, error);
    if (file == NULL)
        return NULL;
    Network *network = g_new0(Network, 1);
    network->file = file;
    network->weights = rv_weight_set_new(rv_engine_device(u->engine), rv_upscaler_file_weights(file));
    network->programs = rv_programs_new(PROGRAMS);
    network->path = g_steal_pointer(&path);
    network->bytes = (gint64)status.st_size;
    network->modified = (gint64)status.st_mtime;
    g_ptr_array_add(u->networks, network);
    if (u->networks->len > KEPT)
        g_ptr_array_remove_index(u->networks, 0);
    return network;
}

/* ---- one tile ---- */

static RvProgram *
program_for(Network *network, int width, int height, GError **error)
{
    const RvUpscalerConfig *c = rv_upscaler_file_config(network->file);
    g_autofree char *key = g_strdup_printf("%dx%d", width, height);
    RvProgram *p = rv_programs_find(network->programs, key);
    if (p != NULL)
        return p;
    p = rv_program_new(network->weights);
    RvShape one = { 1, 1, 1, 1 };
    RvUpscalerInputs in = {
        .x = rv_input(p, "x", RV_F32, (RvShape) { 1, height, width, 3 * c->unshuffle * c->unshuffle }),
        .leak = rv_input_exact(p, "leak", RV_F32, one),
    };
    if (c->kind == RV_UPSCALER_RRDB)
        in.keep = rv_input_exact(p, "keep", RV_F32, one);
    else
        in.minus = rv_input_exact(p, "minus", RV_F32, one);
    rv_output(p, "y", rv_upscaler_record(p, c, &in));
    p = rv_programs_add(network->programs, key, p, error);
    const float leak = 0.2f, keep = 0.8f, minus = -1.0f;
    if (p != NULL &&
        (!rv_program_write(p, "leak", &leak, sizeof leak, error) ||
         !(c->kind == RV_UPSCALER_RRDB ? rv_program_write(p, "keep", &keep, sizeof keep, error)
                                       : rv_program_write(p, "minus", &minus, sizeof minus, error))))
        return NULL;
    return p;
}

/* torch's pixel_unshuffle in the order of channels: [h, w, (c, dy, dx)]. Sizes are multiples of `fold`. */
static float *
fold_pixels(const RvPicture *tile, int fold)
{
    int width = tile->width / fold, height = tile->height / fold, channels = 3 * fold * fold;
    float *to = g_new(float, (gsize)width *(gsize)height *(gsize)channels);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int k = 0; k < channels; k++) {
                int c = k / (fold * fold), dy = k / fold % fold, dx = k % fold;
                gsize from = (gsize)(y * fold + dy) * (gsize)tile->width + (gsize)(x * fold + dx);
                to[((gsize)y * (gsize)width + (gsize)x) * (gsize)channels + (gsize)k] =
                    (float)tile->rgb[3 * from + (gsize)c] / 255.0f;
            }
    return to;
}

static guint8
to_byte(float value)
{
    return (guint8)lrintf(CLAMP(value, 0.0f, 1.0f) * 255.0f);
}

/* The network's answer as a picture of the tile's size times the scale. */
static RvPicture *
unfold(const RvUpscalerConfig *c, const RvPicture *tile, const float *y, GError **error)
{
    int scale = c->scale;
    RvPicture *out = rv_picture_new(tile->width * scale, tile->height * scale, false, error);
    for (int row = 0; out != NULL && row < out->height; row++)
        for (int column = 0; column < out->width; column++)
            for (int k = 0; k < 3; k++) {
                gsize at = (gsize)row * (gsize)out->width + (gsize)column,
                      from = (gsize)(row / scale) * (gsize)tile->width + (gsize)(column / scale);
                float value = c->kind == RV_UPSCALER_RRDB
                                  ? y[3 * at + (gsize)k]
                                  : y[from * (gsize)(3 * scale * scale) +
                                      (gsize)((k * scale + row % scale) * scale + column % scale)] +
                                        (float)tile->rgb[3 * from + (gsize)k] / 255.0f;
                out->rgb[3 * at + (gsize)k] = to_byte(value);
            }
    return out;
}

static RvPicture *
run_tile(RvUpscalers *u, Network *network, const RvPicture *tile, GError **error)
{
    const RvUpscalerConfig *c = rv_upscaler_file_config(network->file);
    if (!rv_engine_pause(u->engine, error))
        return NULL;
    RvProgram *p = program_for(network, tile->width / c->unshuffle, tile->height / c->unshuffle, error);
    if (p == NULL)
        return NULL;
    g_autofree float *x = fold_pixels(tile, c->unshuffle);
    gsize bytes = rv_program_slot_bytes(p, "y");
    g_autofree float *y = g_malloc(bytes);
    if (!rv_program_write(p, "x", x, rv_program_slot_bytes(p, "x"), error) || !rv_program_run(p, error) ||
        !rv_program_read(p, "y", y, bytes, error))
        return NULL;
    for (gsize i = 0; i < bytes / sizeof *y; i++)
        if (!isfinite(y[i])) {
            rv_error_set(error, RV_ERROR_FAILED, network->path, "get the file again",
                         "the upscaler gave numbers that are not finite");
            return NULL;
        }
    return unfold(c, tile, y, error);
}

/* ---- a picture ---- */

/* Copies from the tile's answer what lies nearer to it than to its neighbours. */
static void
place(const RvPicture *from, int scale, int x, int y, int left, int top, RvPicture *to)
{
    for (int row = top * scale; row < from->height; row++)
        memcpy(to->rgb + 3 * ((gsize)(y * scale + row) * (gsize)to->width + (gsize)((x + left) * scale)),
               from->rgb + 3 * ((gsize)row * (gsize)from->width + (gsize)(left * scale)),
               3 * (gsize)(from->width - left * scale));
}

static int
step_back(int at, int size, int tile)
{
    return MAX(MIN(at, size - tile), 0);
}

static RvPicture *
enlarge(RvUpscalers *u, Network *network, const RvPicture *picture, GError **error)
{
    const RvUpscalerConfig *c = rv_upscaler_file_config(network->file);
    int width = (picture->width + c->unshuffle - 1) / c->unshuffle * c->unshuffle,
        height = (picture->height + c->unshuffle - 1) / c->unshuffle * c->unshuffle;
    g_autoptr(RvPicture) even = width == picture->width && height == picture->height
                                    ? rv_picture_copy(picture, error)
                                    : rv_picture_resize(picture, width, height, RV_FILTER_LANCZOS, error);
    g_autoptr(RvPicture) out =
        even != NULL ? rv_picture_new(width * c->scale, height * c->scale, false, error) : NULL;
    int tile_width = MIN(TILE, width), tile_height = MIN(TILE, height);
    for (int y = 0; out != NULL; y += TILE - OVERLAP) {
        int top = step_back(y, height, tile_height);
        for (int x = 0;; x += TILE - OVERLAP) {
            int left = step_back(x, width, tile_width);
            g_autoptr(RvPicture) tile = rv_picture_crop(even, left, top, tile_width, tile_height, error);
            g_autoptr(RvPicture) large = tile != NULL ? run_tile(u, network, tile, error) : NULL;
            if (large == NULL)
                return NULL;
            place(large, c->scale, left, top, left > 0 ? OVERLAP / 2 : 0, top > 0 ? OVERLAP / 2 : 0, out);
            if (left + tile_width >= width)
                break;
        }
        if (top + tile_height >= height)
            break;
    }
    return g_steal_pointer(&out);
}

RvPicture *
rv_upscalers_run(RvUpscalers *u, const RvPicture *picture, const char *name, int width, int height,
                 GError **error)
{
    RvFilter filter;
    if (find_filter(name, &filter))
        return rv_picture_resize(picture, width, height, filter, error);
    Network *network = network_for(u, name, error);
    g_autoptr(RvPicture) large = network != NULL ? rv_picture_copy(picture, error) : NULL;
    if (large == NULL)
        return NULL;
    g_clear_pointer(&large->alpha, g_free);
    for (int i = 0; i < MOST_PASSES && (large->width < width || large->height < height); i++) {
        if (i > 0 && rv_upscaler_file_config(network->file)->scale == 1)
            break;
        RvPicture *larger = enlarge(u, network, large, error);
        if (larger == NULL)
            return NULL;
        rv_picture_free(large);
        large = larger;
    }
    return rv_picture_resize(large, width, height, RV_FILTER_LANCZOS, error);
}
