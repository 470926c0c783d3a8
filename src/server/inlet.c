#include "server/inlet.h"

#include "server/post.h"

typedef struct {
    GBytes *message; /* NULL: empty */
    gsize offset;
    RvFrameStamp stamp;
} Arrival;

struct RvInlet {
    RvJpegPool *pool;
    RvClient *client;
    Arrival waiting;
    bool is_decoding, is_closed;
    /* Of the frame being decoded; its thread's until it posts back. */
    Arrival current;
    int width, height;
    bool takes_planes;
    RvRaster *raster;
    gint64 decode_us;
};

static void
inlet_free(RvInlet *inlet)
{
    g_clear_pointer(&inlet->waiting.message, g_bytes_unref);
    g_clear_pointer(&inlet->current.message, g_bytes_unref);
    rv_raster_free(inlet->raster);
    g_free(inlet);
}

static void decode_next(RvInlet *inlet);

/* Bad frames are counted, not answered: the next one may be better. */
static void
deliver(RvInlet *inlet)
{
    RvRaster *raster = g_steal_pointer(&inlet->raster);
    inlet->current.stamp.decode_us = inlet->decode_us;
    rv_client_time(inlet->client, RV_CLIENT_DECODE, inlet->decode_us);
    g_autoptr(GError) error = NULL;
    if (raster == NULL)
        rv_client_count(inlet->client, RV_CLIENT_BAD_INPUT, 1);
    else if (!rv_client_push(inlet->client, raster, &inlet->current.stamp, &error))
        g_debug("a frame was not taken: %s", error->message);
}

static void
decoded(void *data)
{
    RvInlet *inlet = data;
    inlet->is_decoding = false;
    if (inlet->is_closed) {
        inlet_free(inlet);
        return;
    }
    deliver(inlet);
    g_clear_pointer(&inlet->current.message, g_bytes_unref);
    decode_next(inlet);
}

/* In a thread of the pool. */
static void
decode(RvJpegCodec *codec, void *data)
{
    RvInlet *inlet = data;
    gint64 from_us = g_get_monotonic_time();
    gsize size;
    const guint8 *bytes = g_bytes_get_data(inlet->current.message, &size);
    g_autoptr(GError) error = NULL;
    inlet->raster =
        rv_jpeg_codec_decode_raster(codec, bytes + inlet->current.offset, size - inlet->current.offset,
                                    inlet->width, inlet->height, inlet->takes_planes, &error);
    if (error != NULL)
        g_debug("a frame was not decoded: %s", error->message);
    inlet->decode_us = g_get_monotonic_time() - from_us;
    rv_post(decoded, inlet);
}

static void
decode_next(RvInlet *inlet)
{
    if (inlet->is_decoding || inlet->waiting.message == NULL)
        return;
    inlet->current = inlet->waiting;
    inlet->waiting.message = NULL;
    rv_client_output_size(inlet->client, &inlet->width, &inlet->height);
    inlet->takes_planes = rv_client_takes_planes(inlet->client);
    inlet->is_decoding = true;
    rv_jpeg_pool_push(inlet->pool, decode, inlet);
}

RvInlet *
rv_inlet_new(RvJpegPool *pool, RvClient *client)
{
    RvInlet *inlet = g_new0(RvInlet, 1);
    inlet->pool = pool;
    inlet->client = client;
    return inlet;
}

void
rv_inlet_close(RvInlet *inlet)
{
    if (inlet == NULL)
        return;
    inlet->is_closed = true;
    if (!inlet->is_decoding)
        inlet_free(inlet);
}

void
rv_inlet_push(RvInlet *inlet, GBytes *message, gsize offset, const RvFrameStamp *stamp)
{
    if (inlet->waiting.message != NULL) {
        g_bytes_unref(inlet->waiting.message);
        rv_client_count(inlet->client, RV_CLIENT_SKIPPED_IN, 1);
    }
    inlet->waiting = (Arrival) { g_bytes_ref(message), offset, *stamp };
    decode_next(inlet);
}
