#include "media/raster.h"

#include <string.h>

#include <turbojpeg.h>

static gsize
sample_count(const RvRaster *raster)
{
    gsize pixels = (gsize)raster->width * (gsize)raster->height;
    return raster->picture != NULL ? 3 * pixels : pixels + pixels / 2;
}

RvRaster *
rv_raster_new_planes(int width, int height, GError **error)
{
    g_assert(width > 0 && height > 0 && width % 2 == 0 && height % 2 == 0);
    RvRaster *raster = g_new0(RvRaster, 1);
    raster->width = width;
    raster->height = height;
    gsize luma = (gsize)width * (gsize)height;
    raster->planes[0] = g_try_malloc(sample_count(raster));
    if (raster->planes[0] == NULL) {
        g_free(raster);
        rv_error_set(error, RV_ERROR_NO_MEMORY, NULL, "ask for smaller pictures",
                     "no memory for %d x %d pixels", width, height);
        return NULL;
    }
    raster->planes[1] = raster->planes[0] + luma;
    raster->planes[2] = raster->planes[1] + luma / 4;
    return raster;
}

RvRaster *
rv_raster_new_picture(RvPicture *picture)
{
    if (picture == NULL)
        return NULL;
    RvRaster *raster = g_new0(RvRaster, 1);
    *raster = (RvRaster) { .width = picture->width, .height = picture->height, .picture = picture };
    return raster;
}

void
rv_raster_free(RvRaster *raster)
{
    if (raster == NULL)
        return;
    rv_picture_free(raster->picture);
    g_free(raster->planes[0]);
    g_free(raster);
}

RvRaster *
rv_raster_copy(const RvRaster *raster, GError **error)
{
    if (raster->picture != NULL)
        return rv_raster_new_picture(rv_picture_copy(raster->picture, error));
    RvRaster *copy = rv_raster_new_planes(raster->width, raster->height, error);
    if (copy != NULL)
        memcpy(copy->planes[0], raster->planes[0], sample_count(raster));
    return copy;
}

guint8 *
rv_raster_samples(const RvRaster *raster, gsize *size)
{
    *size = sample_count(raster);
    return raster->picture != NULL ? raster->picture->rgb : raster->planes[0];
}

bool
rv_raster_write_rgb(const RvRaster *raster, guint8 *rgb, GError **error)
{
    g_assert(raster->picture == NULL);
    const guint8 *planes[3] = { raster->planes[0], raster->planes[1], raster->planes[2] };
    tjhandle handle = tjInitDecompress();
    bool done = handle != NULL && tjDecodeYUVPlanes(handle, planes, NULL, TJSAMP_420, rgb, raster->width, 0,
                                                    raster->height, TJPF_RGB, 0) == 0;
    if (!done)
        rv_error_set(error, RV_ERROR_FAILED, NULL, NULL, "cannot convert a frame to RGB: %s",
                     tjGetErrorStr2(handle));
    if (handle != NULL)
        tjDestroy(handle);
    return done;
}

RvPicture *
rv_raster_to_picture(RvRaster *raster, GError **error)
{
    g_autoptr(RvRaster) taken = raster;
    if (taken->picture != NULL)
        return g_steal_pointer(&taken->picture);
    g_autoptr(RvPicture) picture = rv_picture_new(taken->width, taken->height, false, error);
    if (picture == NULL || !rv_raster_write_rgb(taken, picture->rgb, error))
        return NULL;
    return g_steal_pointer(&picture);
}

/* ---- changes ---- */

#define BLOCK 64 /* a count that is known lets the compiler use vectors */

static void
invert_samples(guint8 *samples, gsize size)
{
    gsize whole = size - size % BLOCK;
    for (guint8 *block = samples; block < samples + whole; block += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            block[i] = (guint8)~block[i]; /* 255 - x */
    for (gsize i = whole; i < size; i++)
        samples[i] = (guint8)~samples[i];
}

/* A difference d is 128 + d: -d is 256 - (128 + d), and where that is 256 the nearest there is. */
static void
negate_differences(guint8 *samples, gsize size)
{
    gsize whole = size - size % BLOCK;
    for (guint8 *block = samples; block < samples + whole; block += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            block[i] = (guint8)(256 - MAX(block[i], 1));
    for (gsize i = whole; i < size; i++)
        samples[i] = (guint8)(256 - MAX(samples[i], 1));
}

void
rv_raster_invert(RvRaster *raster)
{
    gsize size = sample_count(raster), luma = (gsize)raster->width * (gsize)raster->height;
    if (raster->picture != NULL) {
        invert_samples(raster->picture->rgb, size);
        return;
    }
    invert_samples(raster->planes[0], luma);
    negate_differences(raster->planes[1], size - luma);
}

static void
mirror_pixels(guint8 *rgb, int width, int height)
{
    for (int y = 0; y < height; y++) {
        guint8 *left = rgb + (gsize)y * (gsize)width * 3, *right = left + 3 * (width - 1);
        for (; left < right; left += 3, right -= 3) {
            guint8 pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}

static void
mirror_plane(guint8 *plane, int width, int height)
{
    for (int y = 0; y < height; y++) {
        guint8 *left = plane + (gsize)y * (gsize)width, *right = left + width - 1;
        for (; left < right; left++, right--) {
            guint8 sample = *left;
            *left = *right;
            *right = sample;
        }
    }
}

void
rv_raster_mirror(RvRaster *raster)
{
    int width = raster->width, height = raster->height;
    if (raster->picture != NULL) {
        mirror_pixels(raster->picture->rgb, width, height);
        return;
    }
    for (int i = 0; i < 3; i++)
        mirror_plane(raster->planes[i], i == 0 ? width : width / 2, i == 0 ? height : height / 2);
}

void
rv_raster_mix(RvRaster *raster, const RvRaster *other, double share)
{
    gsize size, other_size;
    guint8 *to = rv_raster_samples(raster, &size);
    const guint8 *from = rv_raster_samples(other, &other_size);
    g_assert(size == other_size && (raster->picture == NULL) == (other->picture == NULL));
    int weight = (int)(share * 256.0 + 0.5);
    for (gsize i = 0; i < size; i++)
        to[i] = (guint8)((to[i] * weight + from[i] * (256 - weight) + 128) >> 8);
}
