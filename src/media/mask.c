#include "media/mask.h"

#include <math.h>
#include <string.h>

#include "media/internal.h"

static RvMask *
no_memory(int width, int height, GError **error)
{
    rv_error_set(error, RV_ERROR_NO_MEMORY, NULL, "ask for a smaller mask", "no memory for %d x %d pixels",
                 width, height);
    return NULL;
}

/* Takes `values`, which may be NULL for lack of memory. */
static RvMask *
mask_take(guint8 *values, int width, int height, GError **error)
{
    if (values == NULL)
        return no_memory(width, height, error);
    RvMask *mask = g_new(RvMask, 1);
    *mask = (RvMask) { width, height, values };
    return mask;
}

RvMask *
rv_mask_new(int width, int height, GError **error)
{
    g_assert(width > 0 && height > 0);
    return mask_take(g_try_malloc_n((gsize)width, (gsize)height), width, height, error);
}

void
rv_mask_free(RvMask *mask)
{
    if (mask == NULL)
        return;
    g_free(mask->values);
    g_free(mask);
}

static bool
has_transparency(const RvPicture *picture, gsize pixels)
{
    for (gsize i = 0; picture->alpha != NULL && i < pixels; i++)
        if (picture->alpha[i] != 255)
            return true;
    return false;
}

RvMask *
rv_mask_from_picture(const RvPicture *picture, GError **error)
{
    RvMask *mask = rv_mask_new(picture->width, picture->height, error);
    if (mask == NULL)
        return NULL;
    gsize pixels = (gsize)picture->width * (gsize)picture->height;
    bool use_alpha = has_transparency(picture, pixels);
    for (gsize i = 0; i < pixels; i++) {
        const guint8 *rgb = picture->rgb + 3 * i;
        /* ITU-R 601 in 16-bit fixed point, as Pillow rounds it */
        guint32 luma = (rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16;
        mask->values[i] = use_alpha ? (picture->alpha[i] > 128 ? 255 : 0) : (guint8)luma;
    }
    return mask;
}

RvMask *
rv_mask_resize(const RvMask *mask, int width, int height, RvFilter filter, GError **error)
{
    g_assert(width > 0 && height > 0);
    return mask_take(rv_resample(mask->values, mask->width, mask->height, 1, width, height, filter), width,
                     height, error);
}

RvMask *
rv_mask_crop(const RvMask *mask, int x, int y, int width, int height, GError **error)
{
    g_assert(x >= 0 && y >= 0 && width <= mask->width - x && height <= mask->height - y);
    RvMask *cropped = rv_mask_new(width, height, error);
    for (int row = 0; cropped != NULL && row < height; row++)
        memcpy(cropped->values + (gsize)row * (gsize)width,
               mask->values + (gsize)(y + row) * (gsize)mask->width + (gsize)x, (gsize)width);
    return cropped;
}

void
rv_mask_invert(RvMask *mask)
{
    gsize pixels = (gsize)mask->width * (gsize)mask->height;
    for (gsize i = 0; i < pixels; i++)
        mask->values[i] = (guint8)(255 - mask->values[i]);
}

/* Mirrors without repeating the border sample: -1 becomes 1. Far outside, as often as needed. */
static int
mirrored(int i, int size)
{
    if (size == 1)
        return 0;
    int period = 2 * (size - 1);
    i = ABS(i) % period;
    return i < size ? i : period - i;
}

/* Blurs one line of `size` samples that lie `stride` apart; `line` holds size + 2 * radius samples. */
static void
blur_line(guint8 *values, gsize stride, int size, const float *taps, int radius, guint8 *line)
{
    for (int i = -radius; i < size + radius; i++)
        line[i + radius] = values[(gsize)mirrored(i, size) * stride];
    for (int i = 0; i < size; i++) {
        float sum = 0.0f;
        for (int k = 0; k <= 2 * radius; k++)
            sum += taps[k] * line[i + k];
        values[(gsize)i * stride] = (guint8)lrintf(CLAMP(sum, 0.0f, 255.0f));
    }
}

static float *
gaussian_taps(double sigma, int radius)
{
    float *taps = g_new(float, 2 * radius + 1);
    double sum = 0.0;
    for (int k = -radius; k <= radius; k++)
        sum += exp(-k * k / (2.0 * sigma * sigma));
    for (int k = -radius; k <= radius; k++)
        taps[k + radius] = (float)(exp(-k * k / (2.0 * sigma * sigma)) / sum);
    return taps;
}

bool
rv_mask_blur(RvMask *mask, double sigma_x, double sigma_y, GError **error)
{
    const double sigmas[2] = { sigma_x, sigma_y };
    for (int direction = 0; direction < 2; direction++) {
        double sigma = sigmas[direction];
        if (!(sigma > 0.0))
            continue;
        if (sigma > 1024.0)
            return rv_error_set(error, RV_ERROR_USAGE, NULL, "give 0 to 1024", "mask blur is too large: %g",
                                sigma);
        int radius = (int)(2.5 * sigma + 0.5);
        int size = direction == 0 ? mask->width : mask->height,
            lines = direction == 0 ? mask->height : mask->width;
        gsize stride = direction == 0 ? 1 : (gsize)mask->width;
        gsize line_stride = direction == 0 ? (gsize)mask->width : 1;
        g_autofree float *taps = gaussian_taps(sigma, radius);
        g_autofree guint8 *line = g_malloc((gsize)size + 2 * (gsize)radius);
        for (int i = 0; i < lines; i++)
            blur_line(mask->values + (gsize)i * line_stride, stride, size, taps, radius, line);
    }
    return true;
}
