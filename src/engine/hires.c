#include "engine/hires.h"

#include <math.h>
#include <string.h>

#include "engine/latent_resize.h"
#include "engine/refiner.h"
#include "engine/upscale.h"

static const char *
upscaler_of(const RvHires *hires)
{
    return hires->upscaler != NULL && *hires->upscaler != '\0' ? hires->upscaler : "Latent";
}

bool
rv_hires_size(const RvRequest *r, int factor, RvHiresSize *size, GError **error)
{
    const RvHires *h = r->hires;
    int width = h->width, height = h->height, up_width, up_height;
    double scale = h->scale > 0.0 ? h->scale : 2.0;
    if (width <= 0 && height <= 0) {
        up_width = width = (int)(r->width * scale);
        up_height = height = (int)(r->height * scale);
    } else if (height <= 0) {
        up_width = width;
        up_height = height = (int)((gint64)width * r->height / r->width);
    } else if (width <= 0) {
        up_height = height;
        up_width = width = (int)((gint64)height * r->width / r->height);
    } else if ((gint64)r->width * height < (gint64)width * r->height) {
        up_width = width;
        up_height = (int)((gint64)width * r->height / r->width);
    } else {
        up_width = (int)((gint64)height * r->width / r->height);
        up_height = height;
    }
    *size = (RvHiresSize) { width / factor * factor, height / factor * factor, up_width / factor * factor,
                            up_height / factor * factor };
    size->up_width = MAX(size->up_width, size->width);
    size->up_height = MAX(size->up_height, size->height);
    if (size->width < RV_MIN_SIZE || size->height < RV_MIN_SIZE || size->up_width > RV_MAX_SIZE ||
        size->up_height > RV_MAX_SIZE)
        return rv_error_set(error, RV_ERROR_USAGE, "hires", "give another scale or size",
                            "%dx%d pixels cannot be drawn", width, height);
    return true;
}

RvPipeline *
rv_hires_pipeline(RvPipeline *pipeline, const RvRequest *r)
{
    return r->hires->pipeline != NULL ? r->hires->pipeline : pipeline;
}

static bool
check_latents(const RvPipeline *pipeline, const RvRequest *r, GError **error)
{
    RvLatentMode mode;
    const RvPipeline *second = r->hires->pipeline;
    if (second == NULL || rv_pipelines_share_latents(pipeline, second) ||
        !rv_latent_mode_parse(upscaler_of(r->hires), &mode))
        return true;
    return rv_error_set(error, RV_ERROR_USAGE, second->name,
                        "choose an upscaler of pictures (Lanczos, or a network)",
                        "the latents of %s cannot go on in this model", pipeline->name);
}

static bool
is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

bool
rv_hires_request(const RvPipeline *pipeline, const RvRequest *r, const RvHiresSize *size, RvRequest *second,
                 RvRunSettings *settings, GError **error)
{
    const RvHires *h = r->hires;
    int steps = h->steps > 0 ? h->steps : r->steps;
    if (!check_latents(pipeline, r, error))
        return false;
    *second = *r;
    if (h->pipeline != NULL && h->pipeline != pipeline) {
        second->conditioning = NULL;
        pipeline = h->pipeline;
    }
    second->width = size->width;
    second->height = size->height;
    second->init = NULL;
    second->mask = NULL;
    second->steps = steps;
    if (h->cfg_scale > 0.0)
        second->cfg_scale = h->cfg_scale;
    if (is_given(h->sampler))
        second->sampler = h->sampler;
    if (is_given(h->schedule))
        second->schedule = h->schedule;
    if (is_given(h->prompt)) {
        second->prompt = h->prompt;
        second->conditioning = NULL;
    }
    if (is_given(h->negative_prompt))
        second->negative_prompt = h->negative_prompt;
    if (!(h->strength > 0.0) || h->strength > 1.0)
        return rv_error_set(error, RV_ERROR_USAGE, "hires", "give a strength above 0, up to 1",
                            "a second pass of strength %g changes nothing", h->strength);
    int whole = (int)(steps / MIN(h->strength, 0.999));
    if (whole > RV_MAX_STEPS)
        return rv_error_set(error, RV_ERROR_USAGE, "hires", "raise the strength or lower the steps",
                            "%d steps at strength %g are too fine", steps, h->strength);
    if (!rv_run_settings_init(settings, pipeline, second, error))
        return false;
    int per_step = settings->evaluations / MAX(settings->sampler.steps - settings->sampler.first_step, 1);
    settings->sampler.steps = whole;
    settings->sampler.first_step = whole - steps;
    settings->evaluations = steps * per_step;
    return true;
}

/* The middle [height, width] of planes [up_height, up_width], as A1111 cuts it. */
static void
cut(const float *from, int channels, int up_height, int up_width, int height, int width, float *to)
{
    int top = (up_height - height) / 2, left = (up_width - width) / 2;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            memcpy(to + ((gsize)c * (gsize)height + (gsize)y) * (gsize)width,
                   from + ((gsize)c * (gsize)up_height + (gsize)(y + top)) * (gsize)up_width + (gsize)left,
                   (gsize)width * sizeof *to);
}

static bool
enlarge_picture(RvPass *first, const RvPicture *small, const RvHiresSize *size, RvPass *second, float *to,
                GError **error)
{
    g_autoptr(RvPicture) large =
        rv_upscalers_run(first->pipeline->upscalers, small, upscaler_of(first->request->hires),
                         size->up_width, size->up_height, error);
    g_autoptr(RvPicture) middle =
        large != NULL ? rv_picture_crop(large, (large->width - size->width) / 2,
                                        (large->height - size->height) / 2, size->width, size->height, error)
                      : NULL;
    return middle != NULL && rv_autoencoder_encode(second->pipeline->autoencoder, middle->rgb, size->width,
                                                   size->height, to, error);
}

/* Planes [channels, height, width] to the second pass's size. */
static void
enlarge_latent(RvPass *first, const float *latent, int width, int height, const RvHiresSize *size,
               RvPass *second, float *to)
{
    int channels = rv_autoencoder_channels(first->pipeline->autoencoder),
        factor = rv_autoencoder_factor(first->pipeline->autoencoder);
    int up_width = size->up_width / factor, up_height = size->up_height / factor;
    g_autofree float *large = g_new(float, (gsize)channels *(gsize)up_width *(gsize)up_height);
    RvLatentMode mode = RV_LATENT_BILINEAR;
    rv_latent_mode_parse(upscaler_of(first->request->hires), &mode);
    rv_latent_resize(latent, channels, height, width, up_height, up_width, mode, large);
    cut(large, channels, up_height, up_width, second->height, second->width, to);
}

/* From the picture that stands for the first pass's: its latent at its own size, to whole latents. */
static bool
enlarge_given_latent(RvPass *first, const RvHiresSize *size, RvPass *second, float *to, GError **error)
{
    RvAutoencoder *autoencoder = first->pipeline->autoencoder;
    const RvPicture *given = first->request->hires->picture;
    int factor = rv_autoencoder_factor(autoencoder), width = MAX(given->width / factor, 1),
        height = MAX(given->height / factor, 1);
    g_autoptr(RvPicture) fitted =
        rv_picture_resize(given, width * factor, height * factor, RV_FILTER_LANCZOS, error);
    g_autofree float *latent =
        g_new(float, (gsize)rv_autoencoder_channels(autoencoder) * (gsize)width * (gsize)height);
    if (fitted == NULL ||
        !rv_autoencoder_encode(autoencoder, fitted->rgb, width * factor, height * factor, latent, error))
        return false;
    enlarge_latent(first, latent, width, height, size, second, to);
    return true;
}

static bool
enlarge_given(RvPass *first, const RvHiresSize *size, RvPass *second, bool is_latent, GError **error)
{
    bool ok = is_latent ? enlarge_given_latent(first, size, second, second->start, error)
                        : enlarge_picture(first, first->request->hires->picture, size, second, second->start,
                                          error);
    for (int i = 1; ok && i < first->request->images; i++)
        memcpy(second->start + (gsize)i * second->count, second->start,
               second->count * sizeof *second->start);
    return ok;
}

static bool
enlarge_drawn(RvPass *first, const float *latent, const RvHiresSize *size, RvPass *second, bool is_latent,
              float *to, GError **error)
{
    if (is_latent) {
        enlarge_latent(first, latent, first->width, first->height, size, second, to);
        return true;
    }
    g_autoptr(RvPicture) small = rv_autoencoder_decode(first->pipeline->autoencoder, latent,
                                                       first->request->width, first->request->height, error);
    return small != NULL && enlarge_picture(first, small, size, second, to, error);
}

bool
rv_hires_enlarge(RvPass *first, const RvHiresSize *size, RvPass *second, GError **error)
{
    int images = first->request->images;
    RvLatentMode mode;
    bool is_latent = rv_latent_mode_parse(upscaler_of(first->request->hires), &mode);
    second->start = g_new(float, second->count *(gsize)images);
    if (first->request->hires->picture != NULL)
        return enlarge_given(first, size, second, is_latent, error);
    const float *latent = rv_sampler_latent(first->sampler);
    for (int i = 0; i < images; i++)
        if (!rv_engine_pause(first->pipeline->engine, error) ||
            !enlarge_drawn(first, latent + (gsize)i * first->count, size, second, is_latent,
                           second->start + (gsize)i * second->count, error))
            return false;
    return true;
}
