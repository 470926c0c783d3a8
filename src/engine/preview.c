#include "engine/preview.h"

#include <math.h>

/* Least-squares maps from the families' latents to RGB in [-1, 1], as published with ComfyUI
 * (latent_formats.py): rows are latent channels. */
static const float map_sd[4][3] = { { 0.3512f, 0.2297f, 0.3227f },
                                    { 0.3250f, 0.4974f, 0.2350f },
                                    { -0.2829f, 0.1762f, 0.2721f },
                                    { -0.2120f, -0.2616f, -0.7177f } };
static const float map_sdxl[4][3] = { { 0.3651f, 0.4232f, 0.4341f },
                                      { -0.2533f, -0.0042f, 0.1068f },
                                      { 0.1076f, 0.1111f, -0.0362f },
                                      { -0.3165f, -0.2492f, -0.2188f } };

static RvPicture *
map_linearly(const RvPreviewSource *source)
{
    int factor = rv_autoencoder_factor(source->autoencoder), width = source->width / factor,
        height = source->height / factor;
    if (rv_autoencoder_channels(source->autoencoder) != 4)
        return NULL;
    const float(*map)[3] = source->family == RV_FAMILY_SDXL ? map_sdxl : map_sd;
    RvPicture *picture = rv_picture_new(width, height, false, NULL);
    gsize pixels = (gsize)width * (gsize)height;
    for (gsize i = 0; picture != NULL && i < pixels; i++)
        for (gsize c = 0; c < 3; c++) {
            float sum = 0.0f;
            for (gsize k = 0; k < 4; k++)
                sum += source->denoised[k * pixels + i] * map[k][c];
            picture->rgb[3 * i + c] = (guint8)lrintf(CLAMP(sum * 0.5f + 0.5f, 0.0f, 1.0f) * 255.0f);
        }
    return picture;
}

RvPicture *
rv_preview(const RvProgress *progress)
{
    const RvPreviewSource *source = progress->source;
    if (source->denoised == NULL)
        return NULL;
    if (rv_autoencoder_is_tiny(source->autoencoder))
        return rv_autoencoder_decode(source->autoencoder, source->denoised, source->width, source->height,
                                     NULL);
    return map_linearly(source);
}
