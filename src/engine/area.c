#include "engine/area.h"

#include <math.h>
#include <string.h>

#include "media/annotate.h"

/* Over white, as A1111 does. */
static void
flatten(RvPicture *picture)
{
    for (gsize i = 0; picture->alpha != NULL && i < (gsize)picture->width * (gsize)picture->height; i++)
        for (gsize c = 0; c < 3; c++) {
            int alpha = picture->alpha[i], colour = picture->rgb[3 * i + c];
            picture->rgb[3 * i + c] = (guint8)((colour * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    g_clear_pointer(&picture->alpha, g_free);
}

RvPicture *
rv_area_fit(const RvPicture *picture, RvResizeMode mode, int width, int height, GError **error)
{
    if (picture->width == width && picture->height == height)
        return rv_picture_copy(picture, error);
    if (mode == RV_RESIZE_CROP)
        return rv_picture_cover(picture, width, height, RV_FILTER_LANCZOS, error);
    if (mode == RV_RESIZE_FILL)
        return rv_picture_fill(picture, width, height, RV_FILTER_LANCZOS, error);
    return rv_picture_resize(picture, width, height, RV_FILTER_LANCZOS, error);
}

/* Masks go the picture's way; stretched they are resized as before, bilinearly. */
static RvMask *
fit_mask(const RvMask *mask, RvResizeMode mode, int width, int height, GError **error)
{
    if (mode != RV_RESIZE_CROP && mode != RV_RESIZE_FILL)
        return rv_mask_resize(mask, width, height, RV_FILTER_BILINEAR, error);
    g_autoptr(RvPicture) grey = rv_picture_new(mask->width, mask->height, false, error);
    if (grey == NULL)
        return NULL;
    for (gsize i = 0; i < (gsize)mask->width * (gsize)mask->height; i++)
        memset(grey->rgb + 3 * i, mask->values[i], 3);
    g_autoptr(RvPicture) fitted = rv_area_fit(grey, mode, width, height, error);
    return fitted != NULL ? rv_mask_from_picture(fitted, error) : NULL;
}

static bool
blur(RvMask *mask, const RvRequest *r, GError **error)
{
    return rv_mask_blur(mask, r->mask_blur, r->mask_blur_y == 0.0 ? r->mask_blur : r->mask_blur_y, error);
}

/* ---- the mask's surroundings ---- */

/* One axis of A1111's expand_crop_region: grows [*from, *to) to `wanted`, moves it inside [0, size). */
static void
grow(int *from, int *to, double wanted, int size)
{
    int more = (int)(wanted - (*to - *from));
    *from -= more / 2;
    *to += more - more / 2;
    if (*to >= size) {
        int over = *to - size;
        *to -= over;
        *from -= over;
    }
    if (*from < 0) {
        *to -= *from;
        *from = 0;
    }
    *to = MIN(*to, size);
}

static bool
find_area(RvArea *area, const RvMask *mask, const RvRequest *r)
{
    int x1 = mask->width, y1 = mask->height, x2 = 0, y2 = 0;
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++)
            if (mask->values[(gsize)y * (gsize)mask->width + (gsize)x] > 0) {
                x1 = MIN(x1, x), x2 = MAX(x2, x + 1);
                y1 = MIN(y1, y), y2 = MAX(y2, y + 1);
            }
    if (x2 <= x1)
        return false;
    x1 = MAX(x1 - r->masked_padding, 0), y1 = MAX(y1 - r->masked_padding, 0);
    x2 = MIN(x2 + r->masked_padding, mask->width), y2 = MIN(y2 + r->masked_padding, mask->height);
    double crop = (double)(x2 - x1) / (y2 - y1), aspect = (double)r->width / r->height;
    if (crop > aspect)
        grow(&y1, &y2, (x2 - x1) / aspect, mask->height);
    else
        grow(&x1, &x2, (y2 - y1) * aspect, mask->width);
    area->x = x1, area->y = y1, area->width = x2 - x1, area->height = y2 - y1;
    return true;
}

/* ---- filling ---- */

/* A running mean over 2 * radius + 1 samples along lines of premultiplied colour and alpha. */
static void
box_blur(float *planes, float *line, int size, gsize stride, int lines, gsize line_stride, int radius)
{
    for (int l = 0; l < lines; l++)
        for (int c = 0; c < 4; c++) {
            float *at = planes + (gsize)l * line_stride * 4 + c;
            double sum = 0.0;
            for (int i = -radius; i <= radius; i++)
                sum += (double)at[(gsize)CLAMP(i, 0, size - 1) * stride * 4];
            for (int i = 0; i < size; i++) {
                line[i] = (float)(sum / (2 * radius + 1));
                sum += (double)at[(gsize)CLAMP(i + radius + 1, 0, size - 1) * stride * 4] -
                       (double)at[(gsize)CLAMP(i - radius, 0, size - 1) * stride * 4];
            }
            for (int i = 0; i < size; i++)
                at[(gsize)i * stride * 4] = line[i];
        }
}

/* Nearly a Gaussian of deviation sigma: three boxes. */
static void
soft_blur(float *planes, int width, int height, double sigma)
{
    int radius = (int)floor((sqrt(4.0 * sigma * sigma + 1.0) - 1.0) / 2.0 + 0.5);
    g_autofree float *line = g_new(float, MAX(width, height));
    for (int pass = 0; pass < 3 && radius > 0; pass++) {
        box_blur(planes, line, width, 1, height, (gsize)width, radius);
        box_blur(planes, line, height, (gsize)width, width, 1, radius);
    }
}

/* A1111's masking.fill: the picture outside of the mask, blurred less and less, is laid over itself, so that
 * the inside takes the colours around it. */
static void
fill_inside(RvPicture *picture, const RvMask *mask)
{
    static const struct {
        double sigma;
        int repeats;
    } layers[] = { { 256, 1 }, { 64, 1 }, { 16, 2 }, { 4, 4 }, { 2, 2 }, { 0, 1 } };
    gsize count = (gsize)picture->width * (gsize)picture->height;
    g_autofree float *outside = g_new(float, 4 * count), *blurred = g_new(float, 4 * count),
                     *under = g_new0(float, 4 * count);
    for (gsize i = 0; i < count; i++) {
        float alpha = (float)(255 - mask->values[i]) / 255.0f;
        for (gsize c = 0; c < 3; c++)
            outside[4 * i + c] = alpha * (float)picture->rgb[3 * i + c];
        outside[4 * i + 3] = alpha;
    }
    for (gsize layer = 0; layer < G_N_ELEMENTS(layers); layer++) {
        memcpy(blurred, outside, 4 * count * sizeof *blurred);
        soft_blur(blurred, picture->width, picture->height, layers[layer].sigma);
        for (int repeat = 0; repeat < layers[layer].repeats; repeat++)
            for (gsize i = 0; i < count; i++)
                for (gsize c = 0; c < 4; c++)
                    under[4 * i + c] = blurred[4 * i + c] + under[4 * i + c] * (1.0f - blurred[4 * i + 3]);
    }
    for (gsize i = 0; i < count; i++)
        for (gsize c = 0; c < 3 && under[4 * i + 3] > 1e-6f; c++)
            picture->rgb[3 * i + c] =
                (guint8)lrintf(CLAMP(under[4 * i + c] / under[4 * i + 3], 0.0f, 255.0f));
}

/* ---- all of it ---- */

static bool
cut_latent_mask(RvArea *area, const RvRequest *r, GError **error)
{
    if (r->latent_mask == NULL)
        return true;
    g_autoptr(RvMask) whole =
        rv_mask_resize(r->latent_mask, r->init->width, r->init->height, RV_FILTER_BILINEAR, error);
    g_autoptr(RvMask) part =
        whole != NULL ? rv_mask_crop(whole, area->x, area->y, area->width, area->height, error) : NULL;
    area->latent_mask = part != NULL ? fit_mask(part, RV_RESIZE_FILL, r->width, r->height, error) : NULL;
    return area->latent_mask != NULL;
}

static bool
cut(RvArea *area, const RvRequest *r, GError **error)
{
    area->whole = rv_picture_copy(r->init, error);
    if (area->whole == NULL)
        return false;
    flatten(area->whole);
    area->whole_mask = rv_mask_resize(r->mask, r->init->width, r->init->height, RV_FILTER_BILINEAR, error);
    if (area->whole_mask == NULL || !blur(area->whole_mask, r, error))
        return false;
    if (!find_area(area, area->whole_mask, r))
        return rv_error_set(error, RV_ERROR_USAGE, "mask", "paint white where the picture may change",
                            "the mask is empty");
    g_autoptr(RvPicture) part =
        rv_picture_crop(area->whole, area->x, area->y, area->width, area->height, error);
    g_autoptr(RvMask) part_mask =
        rv_mask_crop(area->whole_mask, area->x, area->y, area->width, area->height, error);
    area->is_cut = true;
    area->init = part != NULL ? rv_area_fit(part, RV_RESIZE_FILL, r->width, r->height, error) : NULL;
    area->mask = part_mask != NULL ? fit_mask(part_mask, RV_RESIZE_FILL, r->width, r->height, error) : NULL;
    return area->init != NULL && area->mask != NULL && cut_latent_mask(area, r, error);
}

static bool
take_whole(RvArea *area, const RvRequest *r, int factor, GError **error)
{
    int width = r->width, height = r->height;
    if (r->resize == RV_RESIZE_LATENT) { /* encoded at its own size */
        width = MAX(r->init->width / factor, 1) * factor;
        height = MAX(r->init->height / factor, 1) * factor;
    }
    area->init = rv_area_fit(r->init, r->resize, width, height, error);
    if (area->init == NULL)
        return false;
    flatten(area->init);
    if (r->mask == NULL)
        return true;
    area->mask = fit_mask(r->mask, r->resize, r->width, r->height, error);
    if (r->latent_mask != NULL)
        area->latent_mask = fit_mask(r->latent_mask, r->resize, r->width, r->height, error);
    return area->mask != NULL && (r->latent_mask == NULL || area->latent_mask != NULL) &&
           blur(area->mask, r, error);
}

bool
rv_area_init(RvArea *area, const RvRequest *r, int factor, GError **error)
{
    *area = (RvArea) { 0 };
    if (r->init == NULL)
        return true;
    bool ok = r->only_masked && r->mask != NULL ? cut(area, r, error) : take_whole(area, r, factor, error);
    bool is_known =
        ok && area->mask != NULL && area->init->width == r->width && area->init->height == r->height;
    if (is_known) {
        area->known = rv_picture_copy(area->init, error);
        ok = area->known != NULL;
    }
    if (ok && is_known && r->fill != RV_FILL_ORIGINAL)
        fill_inside(area->init, area->latent_mask != NULL ? area->latent_mask : area->mask);
    if (!ok)
        rv_area_clear(area);
    return ok;
}

void
rv_area_clear(RvArea *area)
{
    rv_picture_free(area->init);
    rv_picture_free(area->known);
    rv_mask_free(area->mask);
    rv_mask_free(area->latent_mask);
    rv_picture_free(area->whole);
    rv_mask_free(area->whole_mask);
    *area = (RvArea) { 0 };
}

RvPicture *
rv_area_paste(const RvArea *area, const RvPicture *result, const RvMask *mask, GError **error)
{
    g_autoptr(RvPicture) part = rv_picture_cover(result, area->width, area->height, RV_FILTER_LANCZOS, error);
    g_autoptr(RvMask) part_mask = NULL;
    if (part != NULL && mask != NULL)
        part_mask = rv_mask_resize(mask, area->width, area->height, RV_FILTER_LANCZOS, error);
    else if (part != NULL)
        part_mask = rv_mask_crop(area->whole_mask, area->x, area->y, area->width, area->height, error);
    RvPicture *whole = part_mask != NULL ? rv_picture_copy(area->whole, error) : NULL;
    for (int y = 0; whole != NULL && y < area->height; y++)
        for (int x = 0; x < area->width; x++) {
            gsize to = (gsize)(area->y + y) * (gsize)whole->width + (gsize)(area->x + x),
                  from = (gsize)y * (gsize)area->width + (gsize)x;
            int change = part_mask->values[from];
            for (gsize c = 0; c < 3; c++)
                whole->rgb[3 * to + c] = (guint8)((part->rgb[3 * from + c] * change +
                                                   whole->rgb[3 * to + c] * (255 - change) + 127) /
                                                  255);
        }
    return whole;
}
