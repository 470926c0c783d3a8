#include "media/webrtc.h"

#include <string.h>

#include "media/webrtc_internal.h"

#define TIMER_MS 500
#define CONNECT_US (15 * G_USEC_PER_SEC)
#define SILENCE_US (10 * G_USEC_PER_SEC)
#define START_BITRATE 2500000
#define JITTER_MS 200 /* what is complete does not wait: only how long a lost packet is waited for */
#define REPORT_MS 50
#define REPORT_BANDWIDTH 2e6 /* bit/s of the session, of which reports may take 5 % */

enum { CONNECTED = 2, FAILED = 4, CLOSED = 5 };

RvWebrtc *
rv_webrtc_ref(RvWebrtc *peer)
{
    g_atomic_ref_count_inc(&peer->references);
    return peer;
}

void
rv_webrtc_unref(RvWebrtc *peer)
{
    if (!g_atomic_ref_count_dec(&peer->references))
        return;
    g_clear_object(&peer->source);
    g_clear_object(&peer->encoder);
    g_clear_object(&peer->pipeline);
    rv_picture_free(peer->arrived);
    rv_sdp_offer_free(peer->offer);
    rv_udp_mux_unref(peer->options.mux);
    g_free(peer->options.public_host.address);
    g_mutex_clear(&peer->lock);
    g_cond_clear(&peer->gathered);
    g_free(peer);
}

typedef struct {
    RvWebrtc *peer;
    void (*function)(RvWebrtc *peer);
} Post;

static gboolean
run_post(gpointer data)
{
    Post *post = data;
    post->function(post->peer);
    return G_SOURCE_REMOVE;
}

static void
free_post(gpointer data)
{
    Post *post = data;
    rv_webrtc_unref(post->peer);
    g_free(post);
}

void
rv_webrtc_post(RvWebrtc *peer, void (*function)(RvWebrtc *peer))
{
    Post *post = g_new(Post, 1);
    *post = (Post) { rv_webrtc_ref(peer), function };
    g_idle_add_full(G_PRIORITY_DEFAULT, run_post, post, free_post);
}

static void
end(RvWebrtc *peer, const char *why)
{
    if (peer->has_ended || peer->is_closed || !peer->is_answered)
        return;
    peer->has_ended = true;
    g_clear_handle_id(&peer->timer, g_source_remove);
    peer->options.on_ended(why, peer->options.user);
}

static gboolean
on_bus(GstBus *bus, GstMessage *message, gpointer data)
{
    if (GST_MESSAGE_TYPE(message) != GST_MESSAGE_ERROR)
        return G_SOURCE_CONTINUE;
    g_autoptr(GError) error = NULL;
    gst_message_parse_error(message, &error, NULL);
    end(data, error->message);
    return G_SOURCE_CONTINUE;
}

static void
on_pad(GstElement *rtc, GstPad *pad, gpointer data)
{
    if (GST_PAD_DIRECTION(pad) == GST_PAD_SRC)
        rv_webrtc_add_receiver(data, pad);
}

/* Streaming thread: RTP or RTCP of the peer. ICE's own messages do not pass here. */
static GstPadProbeReturn
on_packet(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    RvWebrtc *peer = data;
    g_mutex_lock(&peer->lock);
    peer->packet_us = g_get_monotonic_time();
    g_mutex_unlock(&peer->lock);
    return GST_PAD_PROBE_OK;
}

static void
watch_packets(RvWebrtc *peer, GstElement *source)
{
    g_autoptr(GstPad) pad = gst_element_get_static_pad(source, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, on_packet, peer, NULL);
}

static void
on_deep_element(GstBin *bin, GstBin *parent, GstElement *element, gpointer data)
{
    GstElementFactory *factory = gst_element_get_factory(element);
    const char *name = factory != NULL ? gst_plugin_feature_get_name(factory) : "";
    if (strcmp(name, "nicesrc") == 0)
        watch_packets(data, element);
    /* Between two regular reports one NACK may be sent early: with an interval of seconds, as is the default,
     * most lost packets are never asked for. */
    else if (strcmp(name, "rtpsession") == 0)
        g_object_set(element, "rtcp-min-interval", (guint64)REPORT_MS * GST_MSECOND, "bandwidth",
                     REPORT_BANDWIDTH, NULL);
}

/* The mux is what peers see: the agent needs one socket that it reaches. And nobody's router is asked to open
 * a port: an answer would wait for its reply, and the library that asks leaks addresses at each peer. */
static void
set_up_agent(RvWebrtc *peer)
{
    g_autoptr(GObject) ice = NULL, agent = NULL;
    gboolean is_added = FALSE;
    g_object_get(peer->rtc, "ice-agent", &ice, NULL);
    if (ice == NULL)
        return;
    if (peer->options.mux != NULL)
        g_signal_emit_by_name(ice, "add-local-ip-address", "127.0.0.1", &is_added);
    g_object_get(ice, "agent", &agent, NULL);
    if (agent == NULL)
        return;
    g_object_set(agent, "upnp", FALSE, NULL);
    if (peer->options.mux != NULL)
        g_object_set(agent, "ice-tcp", FALSE, NULL);
}

bool
rv_webrtc_build(RvWebrtc *peer, GError **error)
{
    peer->pipeline = gst_object_ref_sink(gst_pipeline_new(NULL));
    peer->rtc = gst_element_factory_make("webrtcbin", "rtc");
    g_autoptr(GstElementFactory) nice = gst_element_factory_find("nicesrc");
    if (peer->rtc == NULL || nice == NULL)
        return rv_error_set(error, RV_ERROR_FAILED, NULL,
                            "install gstreamer1.0-plugins-bad and gstreamer1.0-nice",
                            "WebRTC is not available: GStreamer has no webrtcbin or no nicesrc");
    g_object_set(peer->rtc, "latency", JITTER_MS, NULL);
    gst_util_set_object_arg(G_OBJECT(peer->rtc), "bundle-policy", "max-bundle");
    g_signal_connect(peer->pipeline, "deep-element-added", G_CALLBACK(on_deep_element), peer);
    gst_bin_add(GST_BIN(peer->pipeline), peer->rtc);
    set_up_agent(peer);
    g_signal_connect(peer->rtc, "pad-added", G_CALLBACK(on_pad), peer);
    g_autoptr(GstBus) bus = gst_element_get_bus(peer->pipeline);
    peer->bus_watch = gst_bus_add_watch_full(bus, G_PRIORITY_DEFAULT, on_bus, rv_webrtc_ref(peer),
                                             (GDestroyNotify)rv_webrtc_unref);
    return rv_webrtc_add_sender(peer, error);
}

/* Stopping joins threads and may take a while; until then the peer is still told of it. */
static gpointer
stop(gpointer data)
{
    RvWebrtc *peer = data;
    if (peer->pipeline != NULL)
        gst_element_set_state(peer->pipeline, GST_STATE_NULL);
    if (peer->at_mux != NULL)
        rv_udp_mux_remove(peer->options.mux, peer->at_mux);
    rv_webrtc_unref(peer);
    return NULL;
}

static void
tear_down(RvWebrtc *peer)
{
    g_clear_handle_id(&peer->timer, g_source_remove);
    if (peer->bus_watch != 0) {
        g_autoptr(GstBus) bus = gst_element_get_bus(peer->pipeline);
        gst_bus_remove_watch(bus);
        peer->bus_watch = 0;
    }
    g_thread_unref(g_thread_new("webrtc-stop", stop, rv_webrtc_ref(peer)));
}

typedef struct {
    RvWebrtc *peer;
    char *answer;
    GError *error;
} Negotiated;

static void
read_feedback(RvWebrtc *peer, RvBitrateReport *report)
{
    g_autoptr(GstElement) rtpbin = gst_bin_get_by_name(GST_BIN(peer->rtc), "rtpbin");
    g_autoptr(GstElement) session = NULL;
    g_autoptr(GstStructure) twcc = NULL;
    if (rtpbin != NULL)
        g_signal_emit_by_name(rtpbin, "get-session", 0, &session);
    if (session != NULL)
        g_object_get(session, "twcc-stats", &twcc, NULL);
    guint sent = 0, received = 0;
    double loss = 0;
    if (twcc == NULL)
        return;
    gst_structure_get(twcc, "bitrate-sent", G_TYPE_UINT, &sent, "bitrate-recv", G_TYPE_UINT, &received,
                      "packet-loss-pct", G_TYPE_DOUBLE, &loss, NULL);
    report->sent_bps = sent;
    report->received_bps = received;
    report->loss = loss / 100;
}

/* From the receiver reports, 1/65536 s. */
static gint64
read_round_trip(RvWebrtc *peer)
{
    g_autoptr(GstElement) rtpbin = gst_bin_get_by_name(GST_BIN(peer->rtc), "rtpbin");
    g_autoptr(GObject) session = NULL;
    g_autoptr(GstStructure) stats = NULL;
    if (rtpbin != NULL)
        g_signal_emit_by_name(rtpbin, "get-internal-session", 0, &session);
    if (session != NULL)
        g_object_get(session, "stats", &stats, NULL);
    const GValue *value = stats == NULL ? NULL : gst_structure_get_value(stats, "source-stats");
    if (value == NULL)
        return 0;
    G_GNUC_BEGIN_IGNORE_DEPRECATIONS
    const GValueArray *sources = g_value_get_boxed(value);
    guint round_trip = 0;
    for (guint i = 0; sources != NULL && i < sources->n_values; i++) {
        const GstStructure *source = g_value_get_boxed(g_value_array_get_nth((GValueArray *)sources, i));
        gboolean has_report = FALSE;
        guint value_ = 0;
        if (gst_structure_get(source, "have-rb", G_TYPE_BOOLEAN, &has_report, "rb-round-trip", G_TYPE_UINT,
                              &value_, NULL) &&
            has_report)
            round_trip = MAX(round_trip, value_);
    }
    G_GNUC_END_IGNORE_DEPRECATIONS
    return (gint64)round_trip * G_USEC_PER_SEC / 65536;
}

static void
adapt(RvWebrtc *peer, gint64 now_us)
{
    RvBitrateReport report = { .now_us = now_us };
    read_feedback(peer, &report);
    report.round_trip_us = read_round_trip(peer);
    rv_webrtc_set_bitrate(peer, rv_bitrate_update(&peer->bitrate, &report));
    peer->stats.bitrate = peer->bitrate.bitrate;
    peer->stats.sent_bps = report.sent_bps;
    peer->stats.received_bps = report.received_bps;
    peer->stats.loss = report.loss;
    peer->stats.round_trip_us = report.round_trip_us;
}

static gboolean
on_timer(gpointer data)
{
    RvWebrtc *peer = data;
    gint64 now_us = g_get_monotonic_time();
    int state = 0;
    g_object_get(peer->rtc, "connection-state", &state, NULL);
    if (state == CONNECTED && peer->connected_us == 0)
        peer->connected_us = now_us;
    g_mutex_lock(&peer->lock);
    gint64 heard_us = MAX(peer->packet_us, peer->connected_us);
    g_mutex_unlock(&peer->lock);
    const char *why = state == FAILED || state == CLOSED ? "the connection was closed"
                      : peer->connected_us == 0 && now_us - peer->started_us > CONNECT_US
                          ? "it did not connect within 15 s"
                      : peer->connected_us != 0 && now_us - heard_us > SILENCE_US ? "nothing heard for 10 s"
                                                                                  : NULL;
    if (why != NULL) {
        peer->timer = 0;
        end(peer, why);
        return G_SOURCE_REMOVE;
    }
    if (peer->connected_us != 0)
        adapt(peer, now_us);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_negotiated(gpointer data)
{
    Negotiated *result = data;
    RvWebrtc *peer = result->peer;
    if (peer->is_closed) {
        tear_down(peer);
        return G_SOURCE_REMOVE;
    }
    peer->is_answered = true;
    peer->started_us = g_get_monotonic_time();
    if (result->error == NULL)
        peer->timer = g_timeout_add(TIMER_MS, on_timer, peer);
    else
        peer->has_ended = true;
    peer->options.on_answer(result->answer, result->error, peer->options.user);
    return G_SOURCE_REMOVE;
}

static void
free_negotiated(gpointer data)
{
    Negotiated *result = data;
    rv_webrtc_unref(result->peer);
    g_free(result->answer);
    g_clear_error(&result->error);
    g_free(result);
}

static gpointer
negotiate(gpointer data)
{
    Negotiated *result = data;
    /* The first time it may look through all its plugins, for seconds. */
    if (gst_init_check(NULL, NULL, &result->error) && rv_webrtc_build(result->peer, &result->error))
        result->answer = rv_webrtc_negotiate(result->peer, &result->error);
    g_idle_add_full(G_PRIORITY_DEFAULT, on_negotiated, result, free_negotiated);
    return NULL;
}

RvWebrtc *
rv_webrtc_answer(const char *offer, gsize size, const RvWebrtcOptions *options, GError **error)
{
    g_autoptr(RvSdpOffer) parsed = rv_sdp_offer_parse(offer, size, options->codec, error);
    if (parsed == NULL)
        return NULL;
    RvWebrtc *peer = g_new0(RvWebrtc, 1);
    g_atomic_ref_count_init(&peer->references);
    g_mutex_init(&peer->lock);
    g_cond_init(&peer->gathered);
    peer->options = *options;
    peer->options.public_host.address = g_strdup(options->public_host.address);
    if (options->mux != NULL)
        rv_udp_mux_ref(options->mux);
    peer->offer = g_steal_pointer(&parsed);
    peer->stats.codec = rv_video_codec_name(peer->offer->codec);
    rv_bitrate_init(&peer->bitrate, START_BITRATE, g_get_monotonic_time());
    Negotiated *work = g_new0(Negotiated, 1);
    work->peer = rv_webrtc_ref(peer);
    g_thread_unref(g_thread_new("webrtc-offer", negotiate, work));
    return peer;
}

void
rv_webrtc_close(RvWebrtc *peer)
{
    if (peer == NULL)
        return;
    g_assert(!peer->is_closed);
    peer->is_closed = true;
    if (peer->is_answered) /* else the negotiation is still going on, and tears down when it is done */
        tear_down(peer);
    rv_webrtc_unref(peer);
}

void
rv_webrtc_stats(const RvWebrtc *peer, RvWebrtcStats *stats)
{
    *stats = peer->stats;
}
