/* Offer to answer. Headers of GStreamer's webrtc library are in a package that brings OpenCV along, so what
 * we need of them is declared here (stable ABI of libgstwebrtc-1.0.so.0). */
#include <string.h>

#include <gst/sdp/sdp.h>

#include "media/webrtc_internal.h"

#define GATHERING_S 5
#define SDP_OFFER 1
#define SDP_ANSWER 3
#define GATHERING_COMPLETE 2

typedef struct {
    int type;
    GstSDPMessage *sdp;
} GstWebRTCSessionDescription;
GType gst_webrtc_session_description_get_type(void);
GstWebRTCSessionDescription *gst_webrtc_session_description_new(int type, GstSDPMessage *sdp);
void gst_webrtc_session_description_free(GstWebRTCSessionDescription *description);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GstWebRTCSessionDescription, gst_webrtc_session_description_free)

static bool
failed(GError **error, const char *what)
{
    return rv_error_set(error, RV_ERROR_FAILED, NULL, "use the WebSocket transport", "no WebRTC answer: %s",
                        what);
}

/* Emits `signal`, waits for its promise. The reply belongs to the promise. */
static bool
wait_for(GstPromise *promise, GError **error, const char *what)
{
    if (gst_promise_wait(promise) != GST_PROMISE_RESULT_REPLIED)
        return failed(error, what);
    const GstStructure *reply = gst_promise_get_reply(promise);
    if (reply == NULL || !gst_structure_has_field(reply, "error"))
        return true;
    g_autoptr(GError) cause = NULL;
    gst_structure_get(reply, "error", G_TYPE_ERROR, &cause, NULL);
    return failed(error, cause != NULL ? cause->message : what);
}

/* From loopback no address of the peer's is reached: through the mux its own checks tell where it is. */
static bool
set_remote(RvWebrtc *peer, GError **error)
{
    g_autofree char *sdp = peer->options.mux != NULL ? rv_sdp_replace_candidates(peer->offer->sdp, NULL, 0)
                                                     : g_strdup(peer->offer->sdp);
    GstSDPMessage *message;
    gst_sdp_message_new(&message);
    gst_sdp_message_parse_buffer((const guint8 *)sdp, (guint)strlen(sdp), message);
    g_autoptr(GstWebRTCSessionDescription) offer = gst_webrtc_session_description_new(SDP_OFFER, message);
    g_autoptr(GstPromise) promise = gst_promise_new();
    g_signal_emit_by_name(peer->rtc, "set-remote-description", offer, promise);
    return wait_for(promise, error, "the offer was refused");
}

static void
ask_for_retransmission(RvWebrtc *peer)
{
    g_autoptr(GArray) transceivers = NULL;
    g_signal_emit_by_name(peer->rtc, "get-transceivers", &transceivers);
    for (guint i = 0; transceivers != NULL && i < transceivers->len; i++)
        g_object_set(g_array_index(transceivers, GObject *, i), "do-nack", TRUE, NULL);
}

static bool
create_and_set_answer(RvWebrtc *peer, GError **error)
{
    g_autoptr(GstPromise) created = gst_promise_new();
    g_signal_emit_by_name(peer->rtc, "create-answer", NULL, created);
    if (!wait_for(created, error, "it could not be made"))
        return false;
    g_autoptr(GstWebRTCSessionDescription) answer = NULL;
    gst_structure_get(gst_promise_get_reply(created), "answer", gst_webrtc_session_description_get_type(),
                      &answer, NULL);
    if (answer == NULL)
        return failed(error, "it could not be made");
    g_autoptr(GstPromise) set = gst_promise_new();
    g_signal_emit_by_name(peer->rtc, "set-local-description", answer, set);
    return wait_for(set, error, "it was refused");
}

static void
on_gathering(GObject *rtc, GParamSpec *property, gpointer data)
{
    RvWebrtc *peer = data;
    int state = 0;
    g_object_get(rtc, "ice-gathering-state", &state, NULL);
    if (state != GATHERING_COMPLETE)
        return;
    g_mutex_lock(&peer->lock);
    peer->has_gathered = true;
    g_cond_signal(&peer->gathered);
    g_mutex_unlock(&peer->lock);
}

static bool
wait_for_candidates(RvWebrtc *peer, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + GATHERING_S * G_USEC_PER_SEC;
    g_mutex_lock(&peer->lock);
    while (!peer->has_gathered && g_cond_wait_until(&peer->gathered, &peer->lock, until_us))
        ;
    bool has_gathered = peer->has_gathered;
    g_mutex_unlock(&peer->lock);
    return has_gathered || failed(error, "no addresses were found within 5 s");
}

/* Where the peer reaches the mux. */
static char *
tell_hosts(const RvWebrtc *peer, const char *answer)
{
    int port = rv_udp_mux_port(peer->options.mux);
    const RvSdpHost *public = &peer->options.public_host;
    g_auto(GStrv) own = rv_udp_mux_addresses(peer->options.mux);
    g_autoptr(GArray) hosts = g_array_new(FALSE, FALSE, sizeof(RvSdpHost));
    for (int i = 0; own[i] != NULL; i++)
        g_array_append_val(hosts, ((RvSdpHost) { own[i], port }));
    if (public->address != NULL)
        g_array_append_val(hosts, ((RvSdpHost) { public->address, public->port != 0 ? public->port : port }));
    return rv_sdp_replace_candidates(answer, (const RvSdpHost *)(void *)hosts->data, hosts->len);
}

static char *
enter_mux(RvWebrtc *peer, const char *answer, GError **error)
{
    RvSdpAgent agent;
    if (!rv_sdp_read_agent(answer, &agent)) {
        failed(error, "its agent does not listen on loopback");
        return NULL;
    }
    peer->at_mux = rv_udp_mux_add(peer->options.mux, agent.ufrag, agent.password, agent.port, error);
    rv_sdp_agent_clear(&agent);
    return peer->at_mux != NULL ? tell_hosts(peer, answer) : NULL;
}

static char *
local_description(RvWebrtc *peer, GError **error)
{
    g_autoptr(GstWebRTCSessionDescription) local = NULL;
    g_object_get(peer->rtc, "local-description", &local, NULL);
    g_autofree char *text = local == NULL ? NULL : gst_sdp_message_as_text(local->sdp);
    if (text == NULL || strstr(text, "a=candidate:") == NULL) {
        failed(error, "it has no addresses");
        return NULL;
    }
    if (peer->options.mux != NULL)
        return enter_mux(peer, text, error);
    if (peer->options.public_host.address != NULL)
        return rv_sdp_add_public_address(text, peer->options.public_host.address);
    return g_steal_pointer(&text);
}

char *
rv_webrtc_negotiate(RvWebrtc *peer, GError **error)
{
    g_signal_connect(peer->rtc, "notify::ice-gathering-state", G_CALLBACK(on_gathering), peer);
    if (gst_element_set_state(peer->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
        failed(error, "the pipeline does not start");
        return NULL;
    }
    if (!set_remote(peer, error))
        return NULL;
    ask_for_retransmission(peer);
    if (!create_and_set_answer(peer, error) || !wait_for_candidates(peer, error))
        return NULL;
    return local_description(peer, error);
}
