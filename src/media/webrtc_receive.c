/* The receiving half: the peer's packets to camera frames. */
#include <string.h>

#include <gst/app/gstappsink.h>
#include <gst/rtp/gstrtpbuffer.h>
#include <gst/video/video.h>

#include "media/webrtc_internal.h"

static void
deliver(RvWebrtc *peer)
{
    g_mutex_lock(&peer->lock);
    RvPicture *picture = g_steal_pointer(&peer->arrived);
    g_mutex_unlock(&peer->lock);
    if (picture == NULL)
        return;
    if (peer->is_closed || peer->has_ended) {
        rv_picture_free(picture);
        return;
    }
    peer->stats.frames_in++;
    peer->options.on_frame(picture, peer->options.user);
}

static RvPicture *
to_picture(GstSample *sample)
{
    GstVideoInfo info;
    GstVideoFrame frame;
    if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
        !gst_video_frame_map(&frame, &info, gst_sample_get_buffer(sample), GST_MAP_READ))
        return NULL;
    int width = GST_VIDEO_INFO_WIDTH(&info), height = GST_VIDEO_INFO_HEIGHT(&info);
    RvPicture *picture = rv_picture_new(width, height, false, NULL);
    gsize stride = 3 * (gsize)width;
    for (int y = 0; picture != NULL && y < height; y++)
        memcpy(picture->rgb + (gsize)y * stride,
               (const guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
                   (gssize)y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0),
               stride);
    gst_video_frame_unmap(&frame);
    return picture;
}

/* Streaming thread. A frame that the main loop has not taken yet is replaced. */
static GstFlowReturn
on_sample(GstAppSink *sink, gpointer data)
{
    RvWebrtc *peer = data;
    g_autoptr(GstSample) sample = gst_app_sink_pull_sample(sink);
    RvPicture *picture = sample == NULL ? NULL : to_picture(sample);
    if (picture == NULL)
        return GST_FLOW_OK;
    g_mutex_lock(&peer->lock);
    RvPicture *older = peer->arrived;
    peer->arrived = picture;
    g_mutex_unlock(&peer->lock);
    if (older == NULL)
        rv_webrtc_post(peer, deliver);
    rv_picture_free(older);
    return GST_FLOW_OK;
}

/* How a stream's samples mean colours. Chrome sends canvases and screens as BT.709 in full range, cameras as
 * BT.601 in limited range, and tells by RTP's colour-space extension, on key frames. H.264 may say it in its
 * own parameters; VP8 cannot. Where nothing is said it is BT.601 in limited range, as browsers take it, and
 * not what GStreamer would guess from the picture's height. */
typedef struct {
    GstElement *setter; /* behind the decoder */
    guint8 extension_id;
    bool is_told; /* by the extension, which outranks the stream's own parameters */
} Colour;

static void
set_colorimetry(Colour *colour, const char *text)
{
    g_autoptr(GstCaps) caps = gst_caps_new_simple("video/x-raw", "colorimetry", G_TYPE_STRING, text, NULL);
    g_object_set(colour->setter, "caps", caps, NULL);
}

/* Primaries, transfer, matrix (as in H.273), then the range above 4 bits of chroma siting (1 limited,
 * 2 full). */
static char *
colorimetry(const guint8 *extension)
{
    GstVideoColorMatrix matrix = extension[2] == 1   ? GST_VIDEO_COLOR_MATRIX_BT709
                                 : extension[2] == 7 ? GST_VIDEO_COLOR_MATRIX_SMPTE240M
                                 : extension[2] == 9 ? GST_VIDEO_COLOR_MATRIX_BT2020
                                                     : GST_VIDEO_COLOR_MATRIX_BT601;
    GstVideoColorRange range =
        extension[3] >> 4 == 2 ? GST_VIDEO_COLOR_RANGE_0_255 : GST_VIDEO_COLOR_RANGE_16_235;
    return g_strdup_printf("%d:%d:%d:%d", range, matrix, GST_VIDEO_TRANSFER_BT709,
                           GST_VIDEO_COLOR_PRIMARIES_BT709);
}

static GstPadProbeReturn
on_packet(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    Colour *colour = data;
    GstRTPBuffer packet = GST_RTP_BUFFER_INIT;
    gpointer extension;
    guint size;
    if (!gst_rtp_buffer_map(GST_PAD_PROBE_INFO_BUFFER(info), GST_MAP_READ, &packet))
        return GST_PAD_PROBE_OK;
    if (gst_rtp_buffer_get_extension_onebyte_header(&packet, colour->extension_id, 0, &extension, &size) &&
        size >= 4) {
        g_autofree char *text = colorimetry(extension);
        set_colorimetry(colour, text);
        colour->is_told = true;
    }
    gst_rtp_buffer_unmap(&packet);
    return GST_PAD_PROBE_OK;
}

/* What the stream itself says, as far as its parser found it. */
static GstPadProbeReturn
on_decoder_caps(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    Colour *colour = data;
    GstEvent *event = GST_PAD_PROBE_INFO_EVENT(info);
    GstCaps *caps;
    if (GST_EVENT_TYPE(event) != GST_EVENT_CAPS || colour->is_told)
        return GST_PAD_PROBE_OK;
    gst_event_parse_caps(event, &caps);
    const char *own = gst_structure_get_string(gst_caps_get_structure(caps, 0), "colorimetry");
    set_colorimetry(colour, own != NULL ? own : GST_VIDEO_COLORIMETRY_BT601);
    return GST_PAD_PROBE_OK;
}

static void
free_colour(gpointer data)
{
    Colour *colour = data;
    gst_object_unref(colour->setter);
    g_free(colour);
}

static void
follow_colours(RvWebrtc *peer, GstElement *receiver)
{
    g_autoptr(GstElement) depay = gst_bin_get_by_name(GST_BIN(receiver), "depay");
    g_autoptr(GstElement) decoder = gst_bin_get_by_name(GST_BIN(receiver), "decoder");
    g_autoptr(GstPad) packets = gst_element_get_static_pad(depay, "sink");
    g_autoptr(GstPad) coded = gst_element_get_static_pad(decoder, "sink");
    Colour *colour = g_new0(Colour, 1);
    colour->setter = gst_bin_get_by_name(GST_BIN(receiver), "colour");
    colour->extension_id = (guint8)peer->offer->colour_space_id;
    gst_pad_add_probe(coded, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_decoder_caps, colour, NULL);
    if (colour->extension_id != 0)
        gst_pad_add_probe(packets, GST_PAD_PROBE_TYPE_BUFFER, on_packet, colour, NULL);
    g_object_set_data_full(G_OBJECT(receiver), "colour", colour, free_colour);
}

static const char *
h264_decoder(void)
{
    g_autoptr(GstElementFactory) openh264 = gst_element_factory_find("openh264dec");
    return openh264 != NULL ? "openh264dec name=decoder" : "avdec_h264 name=decoder max-threads=1";
}

void
rv_webrtc_add_receiver(RvWebrtc *peer, GstPad *pad)
{
    g_autofree char *h264 = g_strdup_printf("rtph264depay name=depay ! h264parse ! %s", h264_decoder());
    const char *vp8 = "rtpvp8depay name=depay ! vp8dec name=decoder threads=1";
    g_autofree char *description =
        g_strdup_printf("%s ! capssetter name=colour ! videoconvert n-threads=1 ! video/x-raw,format=RGB ! "
                        "appsink name=frames sync=false max-buffers=1 drop=true",
                        peer->offer->codec == RV_VIDEO_H264 ? h264 : vp8);
    g_autoptr(GError) error = NULL;
    GstElement *receiver = gst_parse_bin_from_description(description, TRUE, &error);
    if (receiver == NULL) {
        GST_ELEMENT_ERROR(peer->pipeline, CORE, MISSING_PLUGIN, ("no decoder: %s", error->message), (NULL));
        return;
    }
    GstAppSinkCallbacks callbacks = { .new_sample = on_sample };
    g_autoptr(GstElement) frames = gst_bin_get_by_name(GST_BIN(receiver), "frames");
    gst_app_sink_set_callbacks(GST_APP_SINK(frames), &callbacks, peer, NULL);
    follow_colours(peer, receiver);
    g_autoptr(GstElement) depay = gst_bin_get_by_name(GST_BIN(receiver), "depay");
    g_object_set(depay, "request-keyframe", TRUE, "wait-for-keyframe", TRUE, NULL);
    gst_bin_add(GST_BIN(peer->pipeline), receiver);
    gst_element_sync_state_with_parent(receiver);
    g_autoptr(GstPad) sink = gst_element_get_static_pad(receiver, "sink");
    gst_pad_link(pad, sink);
}
