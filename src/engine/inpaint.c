#include "engine/inpaint.h"

#include <math.h>
#include <string.h>

#include "engine/soft_inpaint.h"

struct RvInpaint {
    const RvSoftInpaint *soft; /* the request's; NULL: not so */
    RvMask *mask;              /* at the picture's size, blurred; NULL: all of it may change */
    float *latent_mask;        /* [height, width] of latents: 1 may change, 0 is known */
    float *extra;              /* NULL for ordinary models */
    float *known;              /* scratch of rv_inpaint_restore, one batch */
    int images, channels;
    int width, height; /* of a latent */
    gsize pixels;
    int factor; /* pixels of a picture along one of a latent */
};

/* diffusers takes one pixel for each latent, the first. */
static RvMask *
take_nearest(const RvMask *mask, int width, int height, GError **error)
{
    RvMask *small = rv_mask_new(width, height, error);
    for (int y = 0; small != NULL && y < height; y++)
        for (int x = 0; x < width; x++)
            small->values[y * width + x] =
                mask->values[(gsize)(y * mask->height / height) * (gsize)mask->width +
                             (gsize)(x * mask->width / width)];
    return small;
}

static bool
is_soft(const RvRequest *r)
{
    return r->soft != NULL || (r->mask_blend && r->mask_soft);
}

static bool
make_latent_mask(RvInpaint *inpaint, const RvRequest *r, const RvMask *mask, GError **error)
{
    int width = inpaint->width, height = inpaint->height;
    inpaint->latent_mask = g_new(float, inpaint->pixels);
    g_autoptr(RvMask) small = NULL;
    if (mask != NULL) {
        small = r->mask_blend || r->soft != NULL
                    ? rv_mask_resize(mask, width, height, RV_FILTER_BICUBIC, error)
                    : take_nearest(mask, width, height, error);
        if (small == NULL)
            return false;
    }
    for (gsize i = 0; i < inpaint->pixels; i++)
        inpaint->latent_mask[i] = small == NULL             ? 1.0f
                                  : is_soft(r)              ? (float)small->values[i] / 255.0f
                                  : small->values[i] >= 128 ? 1.0f
                                                            : 0.0f;
    return true;
}

/* Latents of the picture with everything that may change painted grey, or as far as it may. */
static bool
encode_masked(RvInpaint *inpaint, RvAutoencoder *autoencoder, const RvRequest *r, const RvPicture *init,
              float *latent, GError **error)
{
    gsize count = (gsize)r->width * (gsize)r->height;
    g_autofree guint8 *rgb = g_malloc(count * 3);
    for (gsize i = 0; i < count; i++) {
        int change = init == NULL || inpaint->mask == NULL ? 255 : inpaint->mask->values[i];
        if (!is_soft(r))
            change = change < 128 ? 0 : 255;
        for (gsize c = 0; c < 3; c++)
            rgb[3 * i + c] =
                change == 255 ? 128
                              : (guint8)((init->rgb[3 * i + c] * (255 - change) + 128 * change + 127) / 255);
    }
    return rv_autoencoder_encode(autoencoder, rgb, r->width, r->height, latent, error);
}

static bool
make_extra(RvInpaint *inpaint, RvAutoencoder *autoencoder, const RvRequest *r, const RvPicture *init,
           GError **error)
{
    gsize channels = (gsize)inpaint->channels, image = (1 + channels) * inpaint->pixels;
    inpaint->extra = g_new(float, image *(gsize)inpaint->images);
    memcpy(inpaint->extra, inpaint->latent_mask, inpaint->pixels * sizeof *inpaint->extra);
    if (!encode_masked(inpaint, autoencoder, r, init, inpaint->extra + inpaint->pixels, error))
        return false;
    for (int i = 1; i < inpaint->images; i++)
        memcpy(inpaint->extra + (gsize)i * image, inpaint->extra, image * sizeof *inpaint->extra);
    return true;
}

RvInpaint *
rv_inpaint_new(RvAutoencoder *autoencoder, const RvRequest *r, const RvPicture *init, const RvMask *mask,
               const RvMask *latent_mask, bool model_takes_mask, GError **error)
{
    RvInpaint *inpaint = g_new0(RvInpaint, 1);
    inpaint->soft = r->soft;
    inpaint->images = r->images;
    inpaint->channels = rv_autoencoder_channels(autoencoder);
    inpaint->factor = rv_autoencoder_factor(autoencoder);
    inpaint->width = r->width / inpaint->factor;
    inpaint->height = r->height / inpaint->factor;
    inpaint->pixels = (gsize)inpaint->width * (gsize)inpaint->height;
    bool ok = true;
    if (mask != NULL) {
        inpaint->mask = rv_mask_crop(mask, 0, 0, mask->width, mask->height, error);
        ok = inpaint->mask != NULL;
    }
    ok = ok && make_latent_mask(inpaint, r, latent_mask != NULL ? latent_mask : inpaint->mask, error);
    if (model_takes_mask)
        ok = ok && make_extra(inpaint, autoencoder, r, init, error);
    else
        inpaint->known = g_new(float, inpaint->pixels *(gsize)inpaint->channels *(gsize)inpaint->images);
    if (!ok)
        g_clear_pointer(&inpaint, rv_inpaint_free);
    return inpaint;
}

void
rv_inpaint_free(RvInpaint *inpaint)
{
    if (inpaint == NULL)
        return;
    rv_mask_free(inpaint->mask);
    g_free(inpaint->latent_mask);
    g_free(inpaint->extra);
    g_free(inpaint->known);
    g_free(inpaint);
}

const float *
rv_inpaint_extra(const RvInpaint *inpaint)
{
    return inpaint->extra;
}

void
rv_inpaint_restore(const RvInpaint *inpaint, RvSampler *sampler, const float *start)
{
    if (inpaint->extra != NULL || start == NULL)
        return;
    rv_sampler_add_noise(sampler, start, rv_sampler_start_noise(sampler), inpaint->known);
    float *latent = rv_sampler_latent(sampler);
    gsize count = inpaint->pixels * (gsize)inpaint->channels * (gsize)inpaint->images;
    for (gsize i = 0; i < count; i++) {
        float change = inpaint->latent_mask[i % inpaint->pixels];
        latent[i] = change * latent[i] + (1.0f - change) * inpaint->known[i];
    }
}

void
rv_inpaint_fill(const RvInpaint *inpaint, RvFill fill, const float *noise, float *start)
{
    gsize count = inpaint->pixels * (gsize)inpaint->channels * (gsize)inpaint->images;
    for (gsize i = 0; i < count && fill >= RV_FILL_NOISE; i++) {
        float change = inpaint->latent_mask[i % inpaint->pixels];
        start[i] = (1.0f - change) * start[i] + (fill == RV_FILL_NOISE ? change * noise[i] : 0.0f);
    }
}

/* The model's answer, as noise, becomes the picture that it leads to, in `picture`; and back. */
static void
swap_answer(const float *input, const float *from, gsize count, float signal, float noise, bool predicts_v,
            bool to_picture, float *to)
{
    for (gsize i = 0; i < count; i++) {
        if (to_picture)
            to[i] = predicts_v ? signal * input[i] - noise * from[i] : (input[i] - noise * from[i]) / signal;
        else
            to[i] =
                predicts_v ? (signal * input[i] - from[i]) / noise : (input[i] - signal * from[i]) / noise;
    }
}

static void
blend_softly(const RvInpaint *inpaint, const float *input, double sigma, bool predicts_v, const float *start,
             float *output)
{
    gsize image = inpaint->pixels * (gsize)inpaint->channels, count = image * (gsize)inpaint->images;
    float signal = (float)(1.0 / sqrt(1.0 + sigma * sigma)),
          noise = (float)(sigma / sqrt(1.0 + sigma * sigma));
    g_autofree float *pictures = g_new(float, count);
    swap_answer(input, output, count, signal, noise, predicts_v, true, pictures);
    for (gsize i = 0; i < count; i += image)
        rv_soft_blend(inpaint->soft, start + i, pictures + i, inpaint->latent_mask, sigma, inpaint->channels,
                      inpaint->pixels, pictures + i);
    swap_answer(input, pictures, count, signal, noise, predicts_v, false, output);
}

void
rv_inpaint_blend(const RvInpaint *inpaint, const float *input, double sigma, bool predicts_v,
                 const float *start, float *output)
{
    gsize count = inpaint->pixels * (gsize)inpaint->channels * (gsize)inpaint->images;
    float signal = (float)(1.0 / sqrt(1.0 + sigma * sigma)),
          noise = (float)(sigma / sqrt(1.0 + sigma * sigma));
    if (noise <= 0.0f)
        return;
    if (inpaint->soft != NULL) {
        blend_softly(inpaint, input, sigma, predicts_v, start, output);
        return;
    }
    for (gsize i = 0; i < count; i++) {
        float change = inpaint->latent_mask[i % inpaint->pixels];
        float known = (input[i] - signal * start[i]) / noise; /* the noise, were `start` the picture */
        if (predicts_v)
            known = signal * known - noise * start[i];
        output[i] = change * output[i] + (1.0f - change) * known;
    }
}

void
rv_inpaint_finish(const RvInpaint *inpaint, const float *start, float *latent)
{
    gsize count = inpaint->pixels * (gsize)inpaint->channels * (gsize)inpaint->images;
    for (gsize i = 0; i < count && inpaint->soft == NULL; i++) {
        float change = inpaint->latent_mask[i % inpaint->pixels];
        latent[i] = change * latent[i] + (1.0f - change) * start[i];
    }
}

RvMask *
rv_inpaint_result_mask(const RvInpaint *inpaint, const float *start, const float *latent, GError **error)
{
    const RvMask *own = inpaint->mask;
    if (inpaint->soft != NULL)
        return rv_soft_mask(inpaint->soft, start, latent, inpaint->latent_mask, inpaint->channels,
                            inpaint->width, inpaint->height, inpaint->factor, error);
    RvMask *mask = rv_mask_new(own->width, own->height, error);
    for (gsize i = 0; mask != NULL && i < (gsize)own->width * (gsize)own->height; i++)
        mask->values[i] = (guint8)MIN(2 * own->values[i], 255);
    return mask;
}

void
rv_inpaint_composite(const RvMask *mask, const RvPicture *known, RvPicture *picture)
{
    for (gsize i = 0; i < (gsize)picture->width * (gsize)picture->height; i++) {
        int change = mask->values[i];
        for (gsize c = 0; c < 3; c++)
            picture->rgb[3 * i + c] =
                (guint8)((picture->rgb[3 * i + c] * change + known->rgb[3 * i + c] * (255 - change) + 127) /
                         255);
    }
}
