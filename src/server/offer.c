/* POST /offer: a browser's WebRTC offer in, our answer out, then one peer that lives on its own. */
#include <string.h>

#include "base/json_build.h"
#include "base/json_check.h"
#include "media/webrtc.h"
#include "server/log.h"
#include "server/server_internal.h"
#include "server/transports.h"

typedef struct {
    RvServer *server;
    SoupServerMessage *message; /* NULL once answered, or when the asker has gone */
    RvClient *client;
    RvWebrtc *peer;
    guint64 sequence;
} Peer;

static void
forget_message(Peer *peer)
{
    if (peer->message != NULL)
        g_signal_handlers_disconnect_by_data(peer->message, peer);
    g_clear_object(&peer->message);
}

static void
peer_free(Peer *peer)
{
    forget_message(peer);
    rv_client_close(peer->client);
    rv_webrtc_close(peer->peer);
    g_free(peer);
}

static void
on_shown(RvShown *shown, void *user)
{
    Peer *peer = user;
    const RvPicture *picture = shown->raster->picture; /* RGB came in */
    if (peer->peer == NULL)
        return;
    rv_client_count(peer->client, RV_CLIENT_FRAMES_OUT, 1);
    rv_webrtc_send(peer->peer, picture->rgb, picture->width, picture->height, (GDestroyNotify)rv_shown_unref,
                   rv_shown_ref(shown));
}

static void
on_frame(RvPicture *picture, void *user)
{
    Peer *peer = user;
    RvFrameStamp stamp = { .sequence = ++peer->sequence };
    g_autoptr(GError) error = NULL;
    rv_client_count(peer->client, RV_CLIENT_FRAMES_IN, 1);
    if (!rv_client_push(peer->client, rv_raster_new_picture(picture), &stamp, &error))
        g_debug("a frame was not taken: %s", error->message);
}

static const char *
id_text(const Peer *peer)
{
    return rv_log_int((gint64)rv_client_id(peer->client));
}

static void
on_ended(const char *why, void *user)
{
    Peer *peer = user;
    RvWebrtcStats stats;
    rv_webrtc_stats(peer->peer, &stats);
    rv_log(RV_LOG_INFO, "webrtc-end", "client", id_text(peer), "why", why, "bitrate",
           rv_log_int(stats.bitrate), "round_trip_us", rv_log_int(stats.round_trip_us), NULL);
    peer_free(peer);
}

/* The peer sees its DTLS connection closed. */
static void
on_stop(void *user)
{
    Peer *peer = user;
    if (peer->message != NULL) {
        g_autoptr(GError) error = NULL;
        RvCall call = { .server = peer->server, .message = peer->message };
        rv_error_set(&error, RV_ERROR_DEVICE, "server", "connect again in a moment",
                     "the server is stopping");
        rv_answer_error(&call, error);
        soup_server_message_unpause(peer->message);
    }
    peer_free(peer);
}

static void
answer_description(const RvCall *call, const char *sdp, guint64 client)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "sdp", sdp);
    rv_json_add_text(json, "type", "answer");
    rv_json_add_int(json, "client", (gint64)client);
    json_builder_end_object(json);
    rv_answer_json(call, SOUP_STATUS_OK, json);
}

static void
log_answer(const Peer *peer)
{
    RvWebrtcStats stats;
    rv_webrtc_stats(peer->peer, &stats);
    rv_log(RV_LOG_INFO, "webrtc-answer", "client", id_text(peer), "codec", stats.codec, "encoder",
           stats.encoder, NULL);
}

static void
on_answer(const char *sdp, const GError *error, void *user)
{
    Peer *peer = user;
    if (error == NULL)
        log_answer(peer);
    if (peer->message != NULL) {
        RvCall call = { .server = peer->server, .message = peer->message };
        *(error == NULL ? &peer->server->offers_answered : &peer->server->offers_refused) += 1;
        if (error == NULL)
            answer_description(&call, sdp, rv_client_id(peer->client));
        else
            rv_answer_error(&call, error);
        soup_server_message_unpause(peer->message);
        forget_message(peer);
    }
    if (error != NULL)
        peer_free(peer);
}

/* The peer itself goes by its own timeouts: the answer may already be on its way. */
static void
on_finished(SoupServerMessage *message, gpointer data)
{
    forget_message(data);
}

/* Members of {"sdp":TEXT,"type":"offer"}; the text belongs to the parser. */
static const char *
read_body(SoupServerMessage *message, JsonParser *parser, GError **error)
{
    g_autoptr(GBytes) body = soup_message_body_flatten(soup_server_message_get_request_body(message));
    gsize size;
    const char *text = g_bytes_get_data(body, &size);
    if (text == NULL || !rv_json_is_shallow(text, size) ||
        !json_parser_load_from_data(parser, text, (gssize)size, NULL) ||
        json_parser_get_root(parser) == NULL || !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        rv_error_set(error, RV_ERROR_INVALID, "body", "send {\"sdp\":...,\"type\":\"offer\"}",
                     "it is no JSON object");
        return NULL;
    }
    JsonObject *object = json_node_get_object(json_parser_get_root(parser));
    const char *sdp = json_object_get_string_member_with_default(object, "sdp", NULL);
    const char *type = json_object_get_string_member_with_default(object, "type", NULL);
    if (sdp == NULL || g_strcmp0(type, "offer") != 0) {
        rv_error_set(error, RV_ERROR_INVALID, "body", "send {\"sdp\":...,\"type\":\"offer\"}",
                     "it is no WebRTC offer");
        return NULL;
    }
    return sdp;
}

static bool
open_peer(Peer *peer, const RvCall *call, const char *sdp, GError **error)
{
    RvServer *server = call->server;
    RvClientOptions client = { .transport = "webrtc",
                               .address = soup_server_message_get_remote_host(call->message),
                               .effect =
                                   call->query == NULL ? NULL : g_hash_table_lookup(call->query, "effect"),
                               .on_shown = on_shown,
                               .on_stop = on_stop,
                               .user = peer };
    peer->client = rv_client_open(server, &client, error);
    if (peer->client == NULL)
        return false;
    const RvServeOptions *options = rv_server_options(server);
    RvWebrtcOptions webrtc = { .codec =
                                   call->query == NULL ? NULL : g_hash_table_lookup(call->query, "codec"),
                               .mux = rv_server_udp_mux(server),
                               .public_host = options->public_host,
                               .on_answer = on_answer,
                               .on_frame = on_frame,
                               .on_ended = on_ended,
                               .user = peer };
    peer->peer = rv_webrtc_answer(sdp, strlen(sdp), &webrtc, error);
    return peer->peer != NULL;
}

void
rv_offer_post(const RvCall *call)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonParser) parser = json_parser_new();
    const char *sdp = read_body(call->message, parser, &error);
    Peer *peer = g_new0(Peer, 1);
    peer->server = call->server;
    if (sdp == NULL || !open_peer(peer, call, sdp, &error)) {
        call->server->offers_refused++;
        rv_answer_error(call, error);
        peer_free(peer);
        return;
    }
    peer->message = g_object_ref(call->message);
    g_signal_connect(call->message, "finished", G_CALLBACK(on_finished), peer);
    /* A message without a status would be taken by libsoup's WebSocket handler, which says 400. */
    soup_server_message_set_status(call->message, SOUP_STATUS_OK, NULL);
    soup_server_message_pause(call->message);
}
