#include "studio/extras.h"

#include <string.h>

#include "media/infotext.h"

#define TO "Postprocess upscale to: "
#define BY "Postprocess upscale by: "

#define MAX_SIDE 16384

static bool
is_named(const char *name)
{
    return name != NULL && *name != '\0' && g_ascii_strcasecmp(name, "None") != 0;
}

/* What the picture is enlarged to, before cutting. */
static bool
target_size(const RvStudioJob *job, const RvPicture *picture, int *width, int *height, GError **error)
{
    double scale = job->upscaling_resize;
    if (job->extras_resize_mode == 1)
        scale = MAX((double)job->upscaling_resize_w / picture->width,
                    (double)job->upscaling_resize_h / picture->height);
    double w = picture->width * scale, h = picture->height * scale;
    if (!(w >= 1.0 && h >= 1.0 && w <= MAX_SIDE && h <= MAX_SIDE))
        return rv_error_set(error, RV_ERROR_USAGE, "upscaling_resize", "ask for less",
                            "%.0fx%.0f pixels are out of range, %d a side at the most", w, h, MAX_SIDE);
    *width = (int)w;
    *height = (int)h;
    return true;
}

/* Names only: a client's paths are none of its business. */
static RvPicture *
enlarge(RvUpscalers *upscalers, const char *name, const RvPicture *picture, int width, int height,
        GError **error)
{
    if (!rv_upscalers_know(upscalers, name)) {
        rv_error_set(error, RV_ERROR_NOT_FOUND, name, "see /sdapi/v1/upscalers", "there is no such upscaler");
        return NULL;
    }
    return rv_upscalers_run(upscalers, picture, name, width, height, error);
}

/* `over` on top of `under`, of the same size. */
static void
blend(RvPicture *under, const RvPicture *over, double visibility)
{
    int weight = (int)(visibility * 256.0 + 0.5);
    gsize count = (gsize)under->width * (gsize)under->height * 3;
    for (gsize i = 0; i < count; i++)
        under->rgb[i] = (guint8)((under->rgb[i] * (256 - weight) + over->rgb[i] * weight + 128) >> 8);
}

RvPicture *
rv_extras_upscale(const RvStudioJob *job, const RvPicture *picture, RvUpscalers *upscalers, GError **error)
{
    int width = 0, height = 0;
    if (!is_named(job->upscaler_1))
        return rv_picture_copy(picture, error);
    if (!target_size(job, picture, &width, &height, error))
        return NULL;
    g_autoptr(RvPicture) result = enlarge(upscalers, job->upscaler_1, picture, width, height, error);
    if (result == NULL)
        return NULL;
    if (is_named(job->upscaler_2) && job->upscaler_2_visibility > 0.0) {
        g_autoptr(RvPicture) second = enlarge(upscalers, job->upscaler_2, picture, width, height, error);
        if (second == NULL)
            return NULL;
        blend(result, second, job->upscaler_2_visibility);
    }
    if (job->extras_resize_mode != 1 || !job->upscaling_crop)
        return g_steal_pointer(&result);
    int w = MIN(job->upscaling_resize_w, result->width), h = MIN(job->upscaling_resize_h, result->height);
    return rv_picture_crop(result, (result->width - w) / 2, (result->height - h) / 2, w, h, error);
}

char *
rv_extras_infotext(const RvStudioJob *job, const RvPicture *picture)
{
    const char *before = rv_picture_infotext(picture);
    g_autoptr(GString) text = g_string_new(before != NULL ? before : "");
    if (!is_named(job->upscaler_1))
        return g_string_free(g_steal_pointer(&text), FALSE);
    if (text->len > 0)
        g_string_append(text, ", ");
    g_autofree char *factor = rv_infotext_number(job->upscaling_resize);
    if (job->extras_resize_mode == 1)
        g_string_append_printf(text, TO "%dx%d", job->upscaling_resize_w, job->upscaling_resize_h);
    else
        g_string_append_printf(text, BY "%s", factor);
    g_string_append_printf(text, ", Postprocess upscaler: %s", job->upscaler_1);
    if (is_named(job->upscaler_2) && job->upscaler_2_visibility > 0.0)
        g_string_append_printf(text, ", Postprocess upscaler 2: %s", job->upscaler_2);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

const char *
rv_extras_postprocessing(const RvStudioJob *job, const char *infotext)
{
    const char *begin =
        is_named(job->upscaler_1) ? g_strrstr(infotext, job->extras_resize_mode == 1 ? TO : BY) : NULL;
    return begin != NULL ? begin : infotext + strlen(infotext);
}
