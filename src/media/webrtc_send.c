/* The sending half: frames to packets. */
#include <string.h>

#include <gst/app/gstappsrc.h>
#include <gst/rtp/gstrtpbuffer.h>
#include <gst/video/video.h>

#include "media/i420.h"
#include "media/jpeg_codec.h"
#include "media/webrtc_internal.h"

#define START_BITRATE 2500000
#define RESEND_SHARE 0.25 /* of the bitrate: uncapped, retransmission floods a link that is full */
#define RESEND_BURST_S 0.5

typedef struct {
    const char *factory, *settings, *bitrate_property;
    int bitrate_unit;
} Encoder;

static const Encoder vp8_encoders[] = {
    { "vp8enc",
      "deadline=1 cpu-used=8 threads=1 end-usage=cbr lag-in-frames=0 static-threshold=100 "
      "buffer-initial-size=100 buffer-optimal-size=200 buffer-size=400 max-intra-bitrate=500 "
      "keyframe-max-dist=3000",
      "target-bitrate", 1 },
};
/* The graphics card's first. Key frames are rare: the peer asks for them when it needs one. */
static const Encoder h264_encoders[] = {
    { "nvh264enc", "preset=low-latency-hp zerolatency=true rc-mode=cbr-ld-hq bframes=0 gop-size=-1",
      "bitrate", 1000 },
    { "x264enc", "tune=zerolatency speed-preset=ultrafast threads=1 byte-stream=true key-int-max=3000",
      "bitrate", 1000 },
    { "openh264enc", "complexity=low rate-control=bitrate gop-size=3000", "bitrate", 1 },
};

static void
add_extension(GstCaps *caps, int id, const char *uri)
{
    g_autofree char *field = g_strdup_printf("extmap-%d", id);
    if (id != 0)
        gst_caps_set_simple(caps, field, G_TYPE_STRING, uri, NULL);
}

/* What the payloader's packets must look like. Without an ssrc here the answer names none that Chrome would
 * show, and without the extension maps it does not answer them. */
static GstCaps *
packet_caps(const RvSdpOffer *offer)
{
    GstCaps *caps = gst_caps_new_simple("application/x-rtp", "media", G_TYPE_STRING, "video", "encoding-name",
                                        G_TYPE_STRING, rv_video_codec_name(offer->codec), "payload",
                                        G_TYPE_INT, offer->payload_type, "clock-rate", G_TYPE_INT, 90000,
                                        "ssrc", G_TYPE_UINT, g_random_int() | 1, NULL);
    add_extension(caps, offer->twcc_id, RV_RTP_TWCC);
    add_extension(caps, offer->playout_delay_id, RV_RTP_PLAYOUT_DELAY);
    add_extension(caps, offer->colour_space_id, RV_RTP_COLOUR_SPACE);
    return caps;
}

static char *
describe_sender(const RvSdpOffer *offer, const Encoder *encoder)
{
    bool is_h264 = offer->codec == RV_VIDEO_H264;
    return g_strdup_printf(
        "appsrc name=source is-live=true format=time do-timestamp=true max-buffers=1 leaky-type=downstream "
        "block=false ! "
        "%s name=encoder %s %s=%d ! %s pt=%d mtu=1200 name=payloader auto-header-extension=false ! "
        "capsfilter name=packets",
        encoder->factory, encoder->settings, encoder->bitrate_property, START_BITRATE / encoder->bitrate_unit,
        is_h264 ? "video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 "
                  "aggregate-mode=zero-latency"
                : "rtpvp8pay picture-id-mode=15-bit",
        offer->payload_type);
}

/* Minimum and maximum of the playout delay, 12 bits each, in units of 10 ms: show frames as they come. */
static const guint8 no_delay[3] = { 0, 0, 0 };
/* BT.601 in limited range, as H.273 counts: not every encoder writes it into its stream. */
static const guint8 colour_space[4] = { 6, 6, 6, 1 << 4 };

static void
add_header(GstRTPBuffer *packet, int id, const guint8 *data, guint size)
{
    if (id != 0)
        gst_rtp_buffer_add_extension_onebyte_header(packet, (guint8)id, data, size);
}

/* Colours are told on the last packet of a frame, where receivers look for them. */
static gboolean
add_headers(GstBuffer **buffer, guint index, gpointer data)
{
    RvWebrtc *peer = data;
    GstRTPBuffer packet = GST_RTP_BUFFER_INIT;
    *buffer = gst_buffer_make_writable(*buffer);
    if (gst_rtp_buffer_map(*buffer, GST_MAP_READWRITE, &packet)) {
        add_header(&packet, peer->offer->playout_delay_id, no_delay, sizeof no_delay);
        if (gst_rtp_buffer_get_marker(&packet))
            add_header(&packet, peer->offer->colour_space_id, colour_space, sizeof colour_space);
        gst_rtp_buffer_unmap(&packet);
    }
    return TRUE;
}

static GstPadProbeReturn
on_payload(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    if (info->type & GST_PAD_PROBE_TYPE_BUFFER_LIST) {
        GstBufferList *list = gst_buffer_list_make_writable(GST_PAD_PROBE_INFO_BUFFER_LIST(info));
        gst_buffer_list_foreach(list, add_headers, data);
        GST_PAD_PROBE_INFO_DATA(info) = list;
    } else {
        GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(info);
        add_headers(&buffer, 0, data);
        GST_PAD_PROBE_INFO_DATA(info) = buffer;
    }
    return GST_PAD_PROBE_OK;
}

/* Retransmissions, which have a payload type of their own, pass as long as they are a small share. */
static GstPadProbeReturn
on_maybe_resent(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    RvWebrtc *peer = data;
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(info);
    guint8 head[2];
    if (gst_buffer_extract(buffer, 0, head, sizeof head) != sizeof head ||
        (head[1] & 0x7f) == peer->offer->payload_type)
        return GST_PAD_PROBE_OK;
    gint64 now_us = g_get_monotonic_time();
    double rate = RESEND_SHARE * g_atomic_int_get(&peer->target_bitrate) / 8;
    double allowance = peer->resend_allowance + rate * (double)(now_us - peer->resent_us) / G_USEC_PER_SEC;
    peer->resent_us = now_us;
    peer->resend_allowance = MIN(allowance, rate * RESEND_BURST_S);
    if (peer->resend_allowance < (double)gst_buffer_get_size(buffer))
        return GST_PAD_PROBE_DROP;
    peer->resend_allowance -= (double)gst_buffer_get_size(buffer);
    return GST_PAD_PROBE_OK;
}

static void
on_deep_element(GstBin *bin, GstBin *parent, GstElement *element, gpointer data)
{
    GstElementFactory *factory = gst_element_get_factory(element);
    if (factory == NULL || strcmp(gst_plugin_feature_get_name(factory), "rtprtxsend") != 0)
        return;
    g_object_set(element, "max-size-packets", 512, "max-size-time", 0, NULL);
    g_autoptr(GstPad) pad = gst_element_get_static_pad(element, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_maybe_resent, data, NULL);
}

/* Owned. An encoder that is there may still be of no use: the graphics card is gone, or has no session left.
 */
static GstElement *
open_sender(const RvSdpOffer *offer, const Encoder *encoder, GError **error)
{
    g_autofree char *description = describe_sender(offer, encoder);
    GstElement *sender = gst_parse_bin_from_description(description, TRUE, error);
    if (sender == NULL)
        return NULL;
    gst_object_ref_sink(sender);
    if (gst_element_set_state(sender, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE)
        return sender;
    gst_element_set_state(sender, GST_STATE_NULL);
    gst_object_unref(sender);
    rv_error_set(error, RV_ERROR_FAILED, NULL, NULL, "%s does not start", encoder->factory);
    return NULL;
}

/* With the first encoder that works. */
static GstElement *
find_sender(RvWebrtc *peer, GError **error)
{
    const RvSdpOffer *offer = peer->offer;
    bool is_h264 = offer->codec == RV_VIDEO_H264;
    const Encoder *encoder = is_h264 ? h264_encoders : vp8_encoders;
    gsize count = is_h264 ? G_N_ELEMENTS(h264_encoders) : G_N_ELEMENTS(vp8_encoders);
    g_autoptr(GError) cause = NULL;
    for (; count > 0; encoder++, count--) {
        g_autoptr(GstElementFactory) factory = gst_element_factory_find(encoder->factory);
        if (factory == NULL)
            continue;
        g_clear_error(&cause);
        GstElement *sender = open_sender(offer, encoder, &cause);
        if (sender == NULL)
            continue;
        peer->bitrate_property = encoder->bitrate_property;
        peer->bitrate_unit = encoder->bitrate_unit;
        peer->stats.encoder = encoder->factory;
        return sender;
    }
    rv_error_set(error, RV_ERROR_FAILED, NULL, "install gstreamer1.0-plugins-good and -ugly",
                 "no encoder for %s%s%s", rv_video_codec_name(offer->codec), cause != NULL ? ": " : "",
                 cause != NULL ? cause->message : "");
    return NULL;
}

bool
rv_webrtc_add_sender(RvWebrtc *peer, GError **error)
{
    g_autoptr(GstElement) sender = find_sender(peer, error);
    if (sender == NULL)
        return false;
    g_signal_connect(peer->pipeline, "deep-element-added", G_CALLBACK(on_deep_element), peer);
    gst_bin_add(GST_BIN(peer->pipeline), sender);
    peer->source = gst_bin_get_by_name(GST_BIN(sender), "source");
    peer->encoder = gst_bin_get_by_name(GST_BIN(sender), "encoder");
    g_autoptr(GstElement) packets = gst_bin_get_by_name(GST_BIN(sender), "packets");
    g_autoptr(GstCaps) caps = packet_caps(peer->offer);
    g_object_set(packets, "caps", caps, NULL);
    g_autoptr(GstElement) payloader = gst_bin_get_by_name(GST_BIN(sender), "payloader");
    g_autoptr(GstPad) pad = gst_element_get_static_pad(payloader, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, on_payload, peer,
                      NULL);
    rv_webrtc_set_bitrate(peer, START_BITRATE);
    if (!gst_element_link_pads(sender, "src", peer->rtc, "sink_%u"))
        return rv_error_set(error, RV_ERROR_FAILED, NULL, "use the WebSocket transport",
                            "the video sender does not fit");
    return true;
}

void
rv_webrtc_set_bitrate(RvWebrtc *peer, int bitrate)
{
    if (g_atomic_int_get(&peer->target_bitrate) == bitrate)
        return;
    g_atomic_int_set(&peer->target_bitrate, bitrate);
    g_object_set(peer->encoder, peer->bitrate_property, bitrate / peer->bitrate_unit, NULL);
}

static void
set_size(RvWebrtc *peer, int width, int height)
{
    if (peer->width == width && peer->height == height)
        return;
    peer->width = width;
    peer->height = height;
    g_autoptr(GstCaps) caps = gst_caps_new_simple(
        "video/x-raw", "format", G_TYPE_STRING, "I420", "width", G_TYPE_INT, width, "height", G_TYPE_INT,
        height, "framerate", GST_TYPE_FRACTION, 0, 1, "colorimetry", G_TYPE_STRING, "bt601", NULL);
    gst_app_src_set_caps(GST_APP_SRC(peer->source), caps);
}

static void
convert_and_push(RvWebrtc *peer, const RvOutgoing *frame)
{
    GstVideoInfo info;
    GstVideoFrame video;
    gst_video_info_set_format(&info, GST_VIDEO_FORMAT_I420, (guint)frame->width, (guint)frame->height);
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, info.size, NULL);
    if (!gst_video_frame_map(&video, &info, buffer, GST_MAP_WRITE)) {
        gst_buffer_unref(buffer);
        return;
    }
    guint8 *planes[3] = { GST_VIDEO_FRAME_PLANE_DATA(&video, 0), GST_VIDEO_FRAME_PLANE_DATA(&video, 1),
                          GST_VIDEO_FRAME_PLANE_DATA(&video, 2) };
    rv_i420_from_rgb(frame->rgb, frame->width, frame->height, planes, info.stride);
    gst_video_frame_unmap(&video);
    set_size(peer, frame->width, frame->height);
    gst_app_src_push_buffer(GST_APP_SRC(peer->source), buffer);
}

/* In a thread of the JPEG pool, one at a time for a peer. */
static void
convert_waiting(RvJpegCodec *codec, void *data)
{
    RvWebrtc *peer = data;
    for (;;) {
        g_mutex_lock(&peer->lock);
        RvOutgoing frame = peer->outgoing;
        peer->outgoing = (RvOutgoing) { 0 };
        peer->is_converting = frame.done != NULL;
        g_mutex_unlock(&peer->lock);
        if (frame.done == NULL)
            break;
        convert_and_push(peer, &frame);
        frame.done(frame.data);
    }
    rv_webrtc_unref(peer);
}

void
rv_webrtc_send(RvWebrtc *peer, const guint8 *rgb, int width, int height, GDestroyNotify done, void *data)
{
    if (!peer->is_answered || peer->is_closed || peer->has_ended || width % 2 != 0 || height % 2 != 0) {
        done(data);
        return;
    }
    g_mutex_lock(&peer->lock);
    RvOutgoing older = peer->outgoing;
    bool must_begin = !peer->is_converting;
    peer->outgoing = (RvOutgoing) { rgb, width, height, done, data };
    peer->is_converting = true;
    g_mutex_unlock(&peer->lock);
    if (older.done != NULL)
        older.done(older.data);
    if (must_begin)
        rv_jpeg_pool_push(rv_jpeg_pool_shared(), convert_waiting, rv_webrtc_ref(peer));
    peer->stats.frames_out++;
}
