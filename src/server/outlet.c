#include "server/outlet.h"

#include "server/post.h"

struct RvOutlet {
    RvJpegPool *pool;
    RvOutletOptions options;
    RvShown *waiting; /* the slot; owned */
    bool is_encoding, is_closed;
    /* Of the picture being encoded; its thread's until it posts back. */
    RvShown *shown;
    RvRateStep step;
    GBytes *jpeg;
    gint64 started_us, codec_us;
};

static void
outlet_free(RvOutlet *outlet)
{
    rv_shown_unref(outlet->waiting);
    rv_shown_unref(outlet->shown);
    g_free(outlet);
}

static void encode_next(RvOutlet *outlet);

static void
encoded(void *data)
{
    RvOutlet *outlet = data;
    g_autoptr(RvShown) shown = g_steal_pointer(&outlet->shown);
    g_autoptr(GBytes) jpeg = g_steal_pointer(&outlet->jpeg);
    outlet->is_encoding = false;
    if (outlet->is_closed) {
        outlet_free(outlet);
        return;
    }
    gint64 encode_us = g_get_monotonic_time() - outlet->started_us;
    if (jpeg != NULL) {
        RvOutletPicture picture = { shown, jpeg, outlet->step.quality, encode_us, outlet->codec_us };
        outlet->options.send(&picture, outlet->options.user);
    }
    encode_next(outlet);
}

/* In a thread of the pool. */
static void
encode(RvJpegCodec *codec, void *data)
{
    RvOutlet *outlet = data;
    const RvRaster *raster = outlet->shown->raster;
    int width = MAX(1, raster->width * outlet->step.eighths / 8);
    int height = MAX(1, raster->height * outlet->step.eighths / 8);
    g_autoptr(GError) error = NULL;
    gint64 from_us = g_get_monotonic_time();
    outlet->jpeg = rv_jpeg_codec_encode_raster(codec, raster, width, height, outlet->step.quality, &error);
    outlet->codec_us = g_get_monotonic_time() - from_us;
    if (outlet->jpeg == NULL)
        g_warning("a shown picture was lost: %s", error->message);
    rv_post(encoded, outlet);
}

static void
encode_next(RvOutlet *outlet)
{
    if (outlet->is_encoding || outlet->is_closed || outlet->waiting == NULL ||
        !outlet->options.has_room(outlet->options.user))
        return;
    outlet->shown = g_steal_pointer(&outlet->waiting);
    outlet->step = outlet->options.rate(outlet->options.user);
    outlet->started_us = g_get_monotonic_time();
    outlet->is_encoding = true;
    rv_jpeg_pool_push(outlet->pool, encode, outlet);
}

RvOutlet *
rv_outlet_new(RvJpegPool *pool, const RvOutletOptions *options)
{
    RvOutlet *outlet = g_new0(RvOutlet, 1);
    outlet->pool = pool;
    outlet->options = *options;
    return outlet;
}

void
rv_outlet_close(RvOutlet *outlet)
{
    if (outlet == NULL)
        return;
    outlet->is_closed = true;
    if (!outlet->is_encoding)
        outlet_free(outlet);
}

bool
rv_outlet_show(RvOutlet *outlet, RvShown *shown)
{
    bool is_replacing = outlet->waiting != NULL;
    rv_shown_unref(outlet->waiting);
    outlet->waiting = rv_shown_ref(shown);
    encode_next(outlet);
    return is_replacing;
}

void
rv_outlet_resume(RvOutlet *outlet)
{
    encode_next(outlet);
}

bool
rv_outlet_is_waiting(const RvOutlet *outlet)
{
    return outlet->waiting != NULL;
}
