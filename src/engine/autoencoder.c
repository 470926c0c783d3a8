#include "engine/autoencoder.h"

#include <math.h>
#include <string.h>

#include "engine/layout.h"
#include "engine/programs.h"
#include "models/taesd.h"
#include "models/vae.h"

/* Beyond these a picture is worked in tiles: the KL decoder needs some 2.2 KB of scratch memory per pixel,
 * the tiny one 0.8 KB. */
#define KL_PIXELS ((gint64)1100 * 1000)
#define TINY_PIXELS ((gint64)4400 * 1000)
#define TILE 96    /* latents */
#define OVERLAP 24 /* latents: further than the decoders see, but for attention and norms */
#define PROGRAMS 4

struct RvAutoencoder {
    RvEngine *engine;
    bool is_tiny;
    RvVaeConfig vae;
    RvTaesdConfig taesd;
    RvWeightSet *weights;
    RvPrograms *programs;
    int factor, channels;
    float scale, shift;
    gint64 limit; /* pixels in one piece */
    int tile;     /* latents a side */
    bool tiling;
    RvAutoencoderCosts costs;
};

RvAutoencoder *
rv_autoencoder_new(RvEngine *engine, const RvVaeConfig *vae, const RvTaesdConfig *taesd,
                   RvWeightSource source, RvDType compute)
{
    RvAutoencoder *a = g_new0(RvAutoencoder, 1);
    a->engine = engine;
    a->is_tiny = taesd != NULL;
    if (a->is_tiny)
        a->taesd = *taesd;
    else
        a->vae = *vae;
    a->factor = 1 << ((a->is_tiny ? taesd->levels : vae->levels) - 1);
    a->channels = a->is_tiny ? taesd->latent_channels : vae->latent_channels;
    a->scale = a->is_tiny ? taesd->scaling_factor : vae->scaling_factor;
    a->shift = a->is_tiny ? taesd->shift_factor : vae->shift_factor;
    a->weights = rv_weight_set_new_typed(rv_engine_device(engine), source, compute);
    a->programs = rv_programs_new(PROGRAMS);
    rv_autoencoder_set_limit(a, 0, 0);
    return a;
}

void
rv_autoencoder_free(RvAutoencoder *a)
{
    if (a == NULL)
        return;
    rv_programs_free(a->programs);
    rv_weight_set_free(a->weights);
    g_free(a);
}

void
rv_autoencoder_set_tiling(RvAutoencoder *a, bool tiling)
{
    a->tiling = tiling;
}

bool
rv_autoencoder_is_tiny(const RvAutoencoder *a)
{
    return a->is_tiny;
}

int
rv_autoencoder_channels(const RvAutoencoder *a)
{
    return a->channels;
}

int
rv_autoencoder_factor(const RvAutoencoder *a)
{
    return a->factor;
}

gsize
rv_autoencoder_bytes(const RvAutoencoder *a)
{
    return rv_weight_set_bytes(a->weights);
}

RvAutoencoderCosts
rv_autoencoder_costs(const RvAutoencoder *a)
{
    return a->costs;
}

/* bytes [1,h,w,3] -> the network's own latent */
static RvTensor
record_encoder(const RvAutoencoder *a, RvProgram *p, RvTensor bytes)
{
    RvDType compute = rv_weight_set_compute(a->weights);
    RvTensor image =
        rv_convert(p, bytes, (RvConvert) { .dtype = compute, .scale = 2.0f / 255.0f, .shift = -1.0f });
    return a->is_tiny ? rv_taesd_record_encode(p, &a->taesd, image, compute)
                      : rv_vae_record_encode(p, &a->vae, image).mean;
}

/* its own latent -> image in [-1, 1] */
static RvTensor
record_decoder(const RvAutoencoder *a, RvProgram *p, RvTensor latent)
{
    return a->is_tiny ? rv_taesd_record_decode(p, &a->taesd, latent, rv_weight_set_compute(a->weights))
                      : rv_vae_record_decode(p, &a->vae, latent);
}

RvTensor
rv_autoencoder_record_encode(const RvAutoencoder *a, RvProgram *p, RvTensor rgb)
{
    rv_program_use(p, a->weights);
    return rv_convert(p, record_encoder(a, p, rgb),
                      (RvConvert) { .dtype = RV_F32, .scale = a->scale, .shift = -a->shift * a->scale });
}

RvTensor
rv_autoencoder_record_decode(const RvAutoencoder *a, RvProgram *p, RvTensor latent)
{
    rv_program_use(p, a->weights);
    RvConvert own = { .dtype = rv_weight_set_compute(a->weights),
                      .scale = 1.0f / a->scale,
                      .shift = a->shift };
    return rv_convert(p, record_decoder(a, p, rv_convert(p, latent, own)),
                      (RvConvert) { .dtype = RV_U8, .scale = 127.5f, .shift = 127.5f });
}

static RvProgram *
encoder_for(RvAutoencoder *a, int width, int height, GError **error)
{
    g_autofree char *key = g_strdup_printf("encode %dx%d%s", width, height, a->tiling ? " tiling" : "");
    RvProgram *p = rv_programs_find(a->programs, key);
    if (p != NULL)
        return p;
    p = rv_program_new(a->weights);
    rv_program_set_circular(p, a->tiling);
    RvTensor bytes = rv_input_exact(p, "rgb", RV_U8, (RvShape) { 1, height, width, 3 });
    rv_output(p, "latent", record_encoder(a, p, bytes));
    return rv_programs_add(a->programs, key, p, error);
}

static RvProgram *
decoder_for(RvAutoencoder *a, int width, int height, GError **error)
{
    g_autofree char *key = g_strdup_printf("decode %dx%d%s", width, height, a->tiling ? " tiling" : "");
    RvProgram *p = rv_programs_find(a->programs, key);
    if (p != NULL)
        return p;
    p = rv_program_new(a->weights);
    rv_program_set_circular(p, a->tiling);
    RvTensor latent =
        rv_input(p, "latent", RV_F32, (RvShape) { 1, height / a->factor, width / a->factor, a->channels });
    rv_output(p, "image", record_decoder(a, p, latent));
    return rv_programs_add(a->programs, key, p, error);
}

/* The places of tiles along one side of `size` latents, the last one flush with the end. */
typedef struct {
    int size, tile, step, count;
} Tiling;

static Tiling
tiling_of(int size, int tile)
{
    Tiling t = { .size = size, .tile = MIN(tile, size), .step = tile - OVERLAP, .count = 1 };
    if (t.tile < size)
        t.count = (size - t.tile + t.step - 1) / t.step + 1;
    return t;
}

static int
tile_start(const Tiling *t, int index)
{
    return MIN(index * t->step, t->size - t->tile);
}

/* How much pixel i of `length` counts: rising over the overlap from edges that are not the picture's. */
static float
ramp(int i, int length, int overlap, bool first, bool last)
{
    float weight = 1.0f;
    if (!first)
        weight = MIN(weight, ((float)i + 1.0f) / (float)(overlap + 1));
    if (!last)
        weight = MIN(weight, (float)(length - i) / (float)(overlap + 1));
    return weight;
}

typedef struct {
    float *sum;    /* [height, width, channels] */
    float *weight; /* [height, width] */
    int width, height, channels;
} Blend;

static void
blend_tile(Blend *blend, const float *tile, int x, int y, int width, int height, int overlap)
{
    for (int j = 0; j < height; j++) {
        float wy = ramp(j, height, overlap, y == 0, y + height == blend->height);
        for (int i = 0; i < width; i++) {
            float w = wy * ramp(i, width, overlap, x == 0, x + width == blend->width);
            gsize at = (gsize)(y + j) * (gsize)blend->width + (gsize)(x + i),
                  from = (gsize)j * (gsize)width + (gsize)i;
            for (int c = 0; c < blend->channels; c++)
                blend->sum[at * (gsize)blend->channels + (gsize)c] +=
                    w * tile[from * (gsize)blend->channels + (gsize)c];
            blend->weight[at] += w;
        }
    }
}

static bool
blend_init(Blend *blend, int width, int height, int channels, GError **error)
{
    gsize pixels = (gsize)width * (gsize)height;
    *blend = (Blend) { .width = width, .height = height, .channels = channels };
    blend->sum = g_try_new0(float, pixels *(gsize)channels);
    blend->weight = g_try_new0(float, pixels);
    if (blend->sum != NULL && blend->weight != NULL)
        return true;
    return rv_error_set(error, RV_ERROR_NO_MEMORY, "autoencoder", "use a smaller size",
                        "out of memory for %dx%d pixels", width, height);
}

static void
blend_finish(Blend *blend)
{
    gsize pixels = (gsize)blend->width * (gsize)blend->height;
    for (gsize i = 0; i < pixels; i++)
        for (int c = 0; c < blend->channels; c++)
            blend->sum[i * (gsize)blend->channels + (gsize)c] /= blend->weight[i];
}

static void
blend_clear(Blend *blend)
{
    g_free(blend->sum);
    g_free(blend->weight);
}

void
rv_autoencoder_set_limit(RvAutoencoder *a, gint64 pixels, int tile)
{
    a->tile = tile > 0 ? tile : TILE;
    a->limit = pixels > 0 ? pixels : a->is_tiny ? TINY_PIXELS : KL_PIXELS;
}

bool
rv_autoencoder_is_tiled(const RvAutoencoder *a, int width, int height)
{
    return (gint64)width * height > a->limit;
}

static int
tile_side(const RvAutoencoder *a, int width, int height)
{
    return rv_autoencoder_is_tiled(a, width, height) ? a->tile : G_MAXINT;
}

bool
rv_autoencoder_prepare(RvAutoencoder *a, int width, int height, bool encode, GError **error)
{
    int side = tile_side(a, width, height);
    Tiling tx = tiling_of(width / a->factor, side), ty = tiling_of(height / a->factor, side);
    int w = tx.tile * a->factor, h = ty.tile * a->factor;
    return (!encode || encoder_for(a, w, h, error) != NULL) && decoder_for(a, w, h, error) != NULL;
}

static bool
encode_tile(RvAutoencoder *a, const guint8 *rgb, int stride, int x, int y, int width, int height,
            float *latent, GError **error)
{
    RvProgram *p = encoder_for(a, width, height, error);
    if (p == NULL)
        return false;
    gsize row = (gsize)width * 3, bytes = row * (gsize)height;
    g_autofree guint8 *tile = g_malloc(bytes);
    for (int j = 0; j < height; j++)
        memcpy(tile + (gsize)j * row, rgb + ((gsize)(y + j) * (gsize)stride + (gsize)x) * 3, row);
    gsize count = (gsize)(width / a->factor) * (gsize)(height / a->factor) * (gsize)a->channels;
    a->costs.encode_flops += rv_program_flops(p);
    return rv_program_write(p, "rgb", tile, bytes, error) && rv_program_run(p, error) &&
           rv_program_read(p, "latent", latent, count * sizeof *latent, error);
}

static int
around(int at, int size)
{
    return ((at % size) + size) % size;
}

/* What lies `margin` pixels inside of `large`. */
static void
take_middle(const Blend *large, int margin, Blend *to)
{
    for (int y = 0; y < to->height; y++)
        memcpy(to->sum + (gsize)y * (gsize)to->width * (gsize)to->channels,
               large->sum + ((gsize)(y + margin) * (gsize)large->width + (gsize)margin) * (gsize)to->channels,
               (gsize)to->width * (gsize)to->channels * sizeof *to->sum);
}

/* Latents in pixel order [h, w, channels], unscaled. */
static bool
encode_all(RvAutoencoder *a, const guint8 *rgb, int width, int height, Blend *blend, GError **error)
{
    int side = tile_side(a, width, height);
    Tiling tx = tiling_of(blend->width, side), ty = tiling_of(blend->height, side);
    g_autofree float *tile = g_new(float, (gsize)tx.tile *(gsize)ty.tile *(gsize)a->channels);
    for (int j = 0; j < ty.count; j++)
        for (int i = 0; i < tx.count; i++) {
            int x = tile_start(&tx, i), y = tile_start(&ty, j), f = a->factor;
            if (!encode_tile(a, rgb, width, x * f, y * f, tx.tile * f, ty.tile * f, tile, error))
                return false;
            blend_tile(blend, tile, x, y, tx.tile, ty.tile, OVERLAP);
        }
    blend_finish(blend);
    return true;
}

/* Tiles of pictures whose edges fit each other: those at an edge see beyond it what lies at the other one. */
static bool
encode_wrapped(RvAutoencoder *a, const guint8 *rgb, int width, int height, Blend *blend, GError **error)
{
    int margin = OVERLAP * a->factor, w = width + 2 * margin, h = height + 2 * margin;
    g_autofree guint8 *wide = g_malloc((gsize)w * (gsize)h * 3);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            memcpy(wide + ((gsize)y * (gsize)w + (gsize)x) * 3,
                   rgb +
                       ((gsize)around(y - margin, height) * (gsize)width + (gsize)around(x - margin, width)) *
                           3,
                   3);
    Blend large;
    a->tiling = false;
    bool ok = blend_init(&large, w / a->factor, h / a->factor, a->channels, error) &&
              encode_all(a, wide, w, h, &large, error);
    a->tiling = true;
    if (ok)
        take_middle(&large, OVERLAP, blend);
    blend_clear(&large);
    return ok;
}

static bool
check_finite(const float *values, gsize count, const char *what, GError **error)
{
    for (gsize i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return rv_error_set(error, RV_ERROR_FAILED, what,
                                "verify the model's files (reverie models verify), or use another --vae",
                                "the autoencoder gave numbers that are not finite");
    return true;
}

bool
rv_autoencoder_encode(RvAutoencoder *a, const guint8 *rgb, int width, int height, float *latent,
                      GError **error)
{
    gint64 start = g_get_monotonic_time();
    a->costs.encode_flops = 0.0;
    Blend blend;
    bool wraps = a->tiling && rv_autoencoder_is_tiled(a, width, height);
    bool ok = blend_init(&blend, width / a->factor, height / a->factor, a->channels, error) &&
              (wraps ? encode_wrapped : encode_all)(a, rgb, width, height, &blend, error);
    if (ok) {
        gsize pixels = (gsize)blend.width * (gsize)blend.height, count = pixels * (gsize)a->channels;
        ok = check_finite(blend.sum, count, "encoding", error);
        rv_to_planes(blend.sum, (gsize)a->channels, pixels, latent);
        for (gsize i = 0; i < count; i++)
            latent[i] = (latent[i] - a->shift) * a->scale;
    }
    blend_clear(&blend);
    a->costs.encode = (double)(g_get_monotonic_time() - start) * 1e-6;
    return ok;
}

static bool
decode_tile(RvAutoencoder *a, const float *latent, int stride, int x, int y, int width, int height,
            float *image, GError **error)
{
    RvProgram *p = decoder_for(a, width * a->factor, height * a->factor, error);
    if (p == NULL)
        return false;
    gsize row = (gsize)width * (gsize)a->channels, count = row * (gsize)height;
    g_autofree float *tile = g_new(float, count);
    for (int j = 0; j < height; j++)
        memcpy(tile + (gsize)j * row,
               latent + ((gsize)(y + j) * (gsize)stride + (gsize)x) * (gsize)a->channels, row * sizeof *tile);
    gsize pixels = (gsize)width * (gsize)height * (gsize)a->factor * (gsize)a->factor;
    a->costs.decode_flops += rv_program_flops(p);
    return rv_program_write(p, "latent", tile, count * sizeof *tile, error) && rv_program_run(p, error) &&
           rv_program_read(p, "image", image, pixels * 3 * sizeof *image, error);
}

/* The image in [-1, 1], [height, width, 3]; `latent` is in pixel order and unscaled. */
static bool
decode_all(RvAutoencoder *a, const float *latent, int width, int height, Blend *blend, GError **error)
{
    int f = a->factor, side = tile_side(a, width, height);
    Tiling tx = tiling_of(width / f, side), ty = tiling_of(height / f, side);
    if (tx.count * ty.count == 1)
        return decode_tile(a, latent, width / f, 0, 0, width / f, height / f, blend->sum, error);
    gsize count = (gsize)(tx.tile * f) * (gsize)(ty.tile * f) * 3;
    g_autofree float *tile = g_try_new(float, count);
    if (tile == NULL)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, "autoencoder", "use a smaller size",
                            "out of memory for a tile");
    for (int j = 0; j < ty.count; j++)
        for (int i = 0; i < tx.count; i++) {
            int x = tile_start(&tx, i), y = tile_start(&ty, j);
            if (!decode_tile(a, latent, width / f, x, y, tx.tile, ty.tile, tile, error))
                return false;
            blend_tile(blend, tile, x * f, y * f, tx.tile * f, ty.tile * f, OVERLAP * f);
        }
    blend_finish(blend);
    return true;
}

static bool
decode_wrapped(RvAutoencoder *a, const float *latent, int width, int height, Blend *blend, GError **error)
{
    int f = a->factor, w = width / f + 2 * OVERLAP, h = height / f + 2 * OVERLAP;
    gsize pixel = (gsize)a->channels;
    g_autofree float *wide = g_new(float, (gsize)w *(gsize)h *pixel);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            memcpy(wide + ((gsize)y * (gsize)w + (gsize)x) * pixel,
                   latent + ((gsize)around(y - OVERLAP, height / f) * (gsize)(width / f) +
                             (gsize)around(x - OVERLAP, width / f)) *
                                pixel,
                   pixel * sizeof *wide);
    Blend large;
    a->tiling = false;
    bool ok = blend_init(&large, w * f, h * f, 3, error) && decode_all(a, wide, w * f, h * f, &large, error);
    a->tiling = true;
    if (ok)
        take_middle(&large, OVERLAP * f, blend);
    blend_clear(&large);
    return ok;
}

RvPicture *
rv_autoencoder_decode(RvAutoencoder *a, const float *latent, int width, int height, GError **error)
{
    gint64 start = g_get_monotonic_time();
    gsize latents = (gsize)(width / a->factor) * (gsize)(height / a->factor),
          count = (gsize)width * (gsize)height * 3;
    g_autofree float *unscaled = g_new(float, latents *(gsize)a->channels);
    rv_to_pixels(latent, (gsize)a->channels, latents, unscaled, (gsize)a->channels);
    for (gsize i = 0; i < latents * (gsize)a->channels; i++)
        unscaled[i] = unscaled[i] / a->scale + a->shift;
    a->costs.decode_flops = 0.0;
    RvPicture *picture = NULL;
    Blend blend;
    bool wraps = a->tiling && rv_autoencoder_is_tiled(a, width, height);
    if (blend_init(&blend, width, height, 3, error) &&
        (wraps ? decode_wrapped : decode_all)(a, unscaled, width, height, &blend, error) &&
        check_finite(blend.sum, count, "decoding", error))
        picture = rv_picture_new(width, height, false, error);
    for (gsize i = 0; picture != NULL && i < count; i++)
        picture->rgb[i] = (guint8)rintf(CLAMP(blend.sum[i] * 0.5f + 0.5f, 0.0f, 1.0f) * 255.0f);
    blend_clear(&blend);
    a->costs.decode = (double)(g_get_monotonic_time() - start) * 1e-6;
    return picture;
}
