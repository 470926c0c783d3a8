#include "engine/preview.h"

#include <math.h>

#include "sampling/noise.h"

/* A picture of so many latents a side is decoded to fit the map: enough equations, little work. */
#define SIDE 8
#define UNKNOWNS (RV_PREVIEW_CHANNELS + 1)

/* Solves the normal equations in place: a is n x n (row stride UNKNOWNS), b has three right sides. A small
 * ridge keeps them regular. */
static void
solve(double a[UNKNOWNS][UNKNOWNS], double b[UNKNOWNS][3], int n)
{
    for (int i = 0; i < n; i++)
        a[i][i] += 1e-3;
    for (int i = 0; i < n; i++)
        for (int row = 0; row < n; row++) {
            double factor = row == i ? 0.0 : a[row][i] / a[i][i];
            for (int k = i; k < n; k++)
                a[row][k] -= factor * a[i][k];
            for (int c = 0; c < 3; c++)
                b[row][c] -= factor * b[i][c];
        }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            b[i][c] /= a[i][i];
}

/* Mean colour, in [-1, 1], of the pixels of latent (x, y). */
static void
patch_colour(const RvPicture *picture, int factor, int x, int y, double colour[3])
{
    for (int c = 0; c < 3; c++)
        colour[c] = 0.0;
    for (int j = 0; j < factor; j++)
        for (int i = 0; i < factor; i++)
            for (int c = 0; c < 3; c++)
                colour[c] +=
                    picture->rgb[((gsize)(y * factor + j) * (gsize)picture->width + (gsize)(x * factor + i)) *
                                     3 +
                                 (gsize)c];
    for (int c = 0; c < 3; c++)
        colour[c] = colour[c] / (factor * factor) / 127.5 - 1.0;
}

static bool
fit(RvPreviewMap *map, RvAutoencoder *autoencoder)
{
    int channels = rv_autoencoder_channels(autoencoder), factor = rv_autoencoder_factor(autoencoder);
    if (channels > RV_PREVIEW_CHANNELS)
        return false;
    g_autofree float *latent = g_new(float, (gsize)channels *SIDE *SIDE);
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 0);
    rv_noise_draw(noise, latent, (gsize)channels * SIDE * SIDE);
    rv_noise_free(noise);
    g_autoptr(RvPicture) picture =
        rv_autoencoder_decode(autoencoder, latent, SIDE * factor, SIDE * factor, NULL);
    if (picture == NULL)
        return false;
    double a[UNKNOWNS][UNKNOWNS] = { 0 }, b[UNKNOWNS][3] = { 0 };
    for (int cell = 0; cell < SIDE * SIDE; cell++) {
        double colour[3];
        patch_colour(picture, factor, cell % SIDE, cell / SIDE, colour);
        for (int i = 0; i <= channels; i++) {
            double x = i == channels ? 1.0 : latent[i * SIDE * SIDE + cell];
            for (int k = 0; k <= channels; k++)
                a[i][k] += x * (k == channels ? 1.0 : latent[k * SIDE * SIDE + cell]);
            for (int c = 0; c < 3; c++)
                b[i][c] += x * colour[c];
        }
    }
    solve(a, b, channels + 1);
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < channels; i++)
            map->weight[i][c] = (float)b[i][c];
        map->bias[c] = (float)b[channels][c];
    }
    map->is_fitted = true;
    return true;
}

static RvPicture *
map_linearly(const RvPreviewSource *source)
{
    if (!source->map->is_fitted && !fit(source->map, source->autoencoder))
        return NULL;
    int factor = rv_autoencoder_factor(source->autoencoder), width = source->width / factor,
        height = source->height / factor;
    gsize channels = (gsize)rv_autoencoder_channels(source->autoencoder),
          pixels = (gsize)width * (gsize)height;
    RvPicture *picture = rv_picture_new(width, height, false, NULL);
    for (gsize i = 0; picture != NULL && i < pixels; i++)
        for (gsize c = 0; c < 3; c++) {
            float sum = source->map->bias[c];
            for (gsize k = 0; k < channels; k++)
                sum += source->denoised[k * pixels + i] * source->map->weight[k][c];
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
