/* One connection: messages to the inlet, shown pictures through the outlet, a window of two on the way. */
#include <string.h>

#include "base/error.h"
#include "server/frame_header.h"
#include "server/inlet.h"
#include "server/outlet.h"
#include "server/send_window.h"
#include "server/socket_guard.h"
#include "server/transports.h"

#define MESSAGE_LIMIT (16u << 20)
#define KEEPALIVE_S 5
#define SILENCE_US (20 * G_USEC_PER_SEC)
#define REFUSED_US (2 * G_USEC_PER_SEC)
#define TICK_MS 500
#define ROOM_POLL_MS 4
#define FLOOD_BYTES (64.0 * 1024 * 1024) /* a second, and the burst of seconds below */
#define FLOOD_BURST_S 3.0
#define MESSAGE_COST 16384 /* of the shortest message: handling costs time too */
#define CLOSE_TRY_AGAIN 1013
#define MOST_REASON_BYTES 123

typedef struct {
    SoupWebsocketConnection *connection;
    GSocket *socket;
    RvSocketGuard *guard;
    RvClient *client; /* NULL: a watcher */
    RvWatch *watch;
    RvInlet *inlet;
    RvOutlet *outlet;
    RvSendWindow window;
    RvRate rate;
    bool has_header; /* subprotocol reverie.1 */
    gint64 sequence; /* of the last frame that came in; -1: none did */
    bool is_refused; /* told so, and soon ended */
    guint64 sent_id;
    gint64 heard_us;
    bool is_cut;      /* by us, for what its client did */
    double allowance; /* bytes that may come before it is a flood */
    gint64 allowance_us;
    guint tick, room_poll; /* sources */
} Socket;

static void
count(Socket *ws, RvClientCounter counter, guint64 amount)
{
    if (ws->client != NULL)
        rv_client_count(ws->client, counter, amount);
}

/* At once: a close message would not stop a flood, and would wait behind what a peer never reads. */
static void
cut(Socket *ws)
{
    ws->is_cut = true;
    if (ws->socket != NULL)
        g_socket_shutdown(ws->socket, TRUE, TRUE, NULL);
}

/* A close message (RFC 6455, 5.5.1) past libsoup, which sends 1002 in the place of codes that it does not
 * know. It is our last word: libsoup would answer the peer's own close with another one, which browsers take
 * for a broken connection. The peer closes then; if it does not, on_tick() does. */
static void
refuse(Socket *ws, const GError *error)
{
    GOutputStream *out =
        g_io_stream_get_output_stream(soup_websocket_connection_get_io_stream(ws->connection));
    const char *why = error->message, *why_end;
    g_utf8_validate_len(why, MIN(strlen(why), MOST_REASON_BYTES), &why_end);
    gsize size = (gsize)(why_end - why);
    guint8 message[4 + MOST_REASON_BYTES] = { 0x88, (guint8)(2 + size), CLOSE_TRY_AGAIN >> 8,
                                              CLOSE_TRY_AGAIN & 255 };
    memcpy(message + 4, why, size);
    ws->is_refused = true;
    gssize written = g_pollable_output_stream_write_nonblocking(G_POLLABLE_OUTPUT_STREAM(out), message,
                                                                4 + size, NULL, NULL);
    if (written != (gssize)(4 + size))
        cut(ws);
    else if (ws->socket != NULL)
        g_socket_shutdown(ws->socket, FALSE, TRUE, NULL);
}

static void
send_bytes(Socket *ws, const void *data, gsize size)
{
    if (soup_websocket_connection_get_state(ws->connection) != SOUP_WEBSOCKET_STATE_OPEN)
        return;
    soup_websocket_connection_send_binary(ws->connection, data, size);
    count(ws, RV_CLIENT_BYTES_OUT, size);
}

static gsize
framed_size(gsize payload)
{
    return payload + (payload < 126 ? 2 : payload < 65536 ? 4 : 10);
}

static bool
has_room(void *user)
{
    Socket *ws = user;
    return rv_send_window_has_room(&ws->window);
}

static RvRateStep
rate_step(void *user)
{
    Socket *ws = user;
    return rv_rate_step(&ws->rate);
}

static void
send_with_header(Socket *ws, const RvOutletPicture *picture, const guint8 *jpeg, gsize size)
{
    const RvShown *shown = picture->shown;
    RvFrameHeader header = { .kind = RV_KIND_FRAME,
                             .flags = shown->is_passthrough ? RV_FRAME_PASSTHROUGH : 0,
                             .quality = (guint16)picture->quality,
                             .sequence = (guint32)shown->stamp.sequence,
                             .revision = shown->revision,
                             .time_us = (guint64)shown->stamp.captured_us,
                             .extra = rv_frame_header_stages(shown->started_us - shown->stamp.arrived_us,
                                                             shown->finished_us - shown->started_us,
                                                             shown->shown_us - shown->finished_us,
                                                             picture->encode_us) };
    g_autofree guint8 *message = g_malloc(RV_FRAME_HEADER_SIZE + size);
    rv_frame_header_write(&header, message);
    memcpy(message + RV_FRAME_HEADER_SIZE, jpeg, size);
    send_bytes(ws, message, RV_FRAME_HEADER_SIZE + size);
}

static void
note_delivery(Socket *ws, gint64 delivery_us, gint64 now_us)
{
    if (delivery_us < 0)
        return;
    RvTcpCounts counts;
    if (rv_tcp_counts(ws->socket, &counts))
        rv_rate_set_round_trip(&ws->rate, counts.least_round_trip_us);
    rv_rate_delivered(&ws->rate, delivery_us, now_us);
    rv_outlet_resume(ws->outlet);
}

/* While a picture waits for room, or is on its way to a receiver that acknowledges nothing, TCP is asked:
 * asked later, frames would seem to have taken longer than they did. */
static gboolean
poll_room(gpointer data)
{
    Socket *ws = data;
    gint64 now_us = g_get_monotonic_time();
    note_delivery(ws, rv_send_window_poll(&ws->window, now_us), now_us);
    rv_outlet_resume(ws->outlet);
    if (rv_outlet_is_waiting(ws->outlet) || (!ws->has_header && ws->window.count > 0))
        return G_SOURCE_CONTINUE;
    ws->room_poll = 0;
    return G_SOURCE_REMOVE;
}

static void
begin_polling(Socket *ws)
{
    if (ws->room_poll == 0)
        ws->room_poll = g_timeout_add(ROOM_POLL_MS, poll_room, ws);
}

static void
note_times(Socket *ws, const RvOutletPicture *picture)
{
    const RvShown *shown = picture->shown;
    gint64 passed_us = g_get_monotonic_time() - shown->stamp.arrived_us;
    gint64 work_us = shown->stamp.decode_us + shown->render_us + picture->codec_us;
    rv_client_time(ws->client, RV_CLIENT_ENCODE, picture->encode_us);
    rv_client_time(ws->client, RV_CLIENT_RESIDENCE, MAX(passed_us - work_us, 0));
}

static void
send_picture(const RvOutletPicture *picture, void *user)
{
    Socket *ws = user;
    gsize size;
    const guint8 *jpeg = g_bytes_get_data(picture->jpeg, &size);
    if (ws->has_header)
        send_with_header(ws, picture, jpeg, size);
    else
        send_bytes(ws, jpeg, size);
    count(ws, RV_CLIENT_FRAMES_OUT, 1);
    if (ws->client != NULL) {
        note_times(ws, picture);
        rv_client_record_output(ws->client, picture->shown, picture->jpeg);
    }
    gsize payload = size + (ws->has_header ? RV_FRAME_HEADER_SIZE : 0);
    rv_send_window_sent(&ws->window, (guint32)picture->shown->stamp.sequence, framed_size(payload), true,
                        g_get_monotonic_time());
    if (!ws->has_header)
        begin_polling(ws);
}

static void
on_shown(RvShown *shown, void *user)
{
    Socket *ws = user;
    gint64 now_us = g_get_monotonic_time();
    note_delivery(ws, rv_send_window_poll(&ws->window, now_us), now_us);
    if (!rv_send_window_has_room(&ws->window))
        rv_rate_blocked(&ws->rate, rv_send_window_oldest_us(&ws->window, now_us), now_us);
    if (rv_outlet_show(ws->outlet, shown))
        count(ws, RV_CLIENT_SKIPPED_OUT, 1);
    if (rv_outlet_is_waiting(ws->outlet))
        begin_polling(ws);
}

static void
on_ack(Socket *ws, const RvFrameHeader *header)
{
    gint64 now_us = g_get_monotonic_time();
    guint32 age_us = (guint32)header->extra;
    if (ws->client != NULL && age_us > 0)
        rv_client_time(ws->client, RV_CLIENT_AGE, age_us);
    note_delivery(ws, rv_send_window_acked(&ws->window, header->sequence, now_us), now_us);
}

static void
answer_ping(Socket *ws, const RvFrameHeader *ping)
{
    RvFrameHeader pong = *ping;
    pong.kind = RV_KIND_PONG;
    pong.flags = 0;
    pong.extra = (guint64)g_get_monotonic_time();
    guint8 message[RV_FRAME_HEADER_SIZE];
    rv_frame_header_write(&pong, message);
    send_bytes(ws, message, sizeof message);
    rv_send_window_sent(&ws->window, 0, framed_size(sizeof message), false, 0);
}

static void
take_frame(Socket *ws, GBytes *message, gsize offset, gint64 sequence, gint64 captured_us)
{
    count(ws, RV_CLIENT_FRAMES_IN, 1);
    if (ws->inlet == NULL)
        return;
    ws->sequence = sequence;
    rv_client_record_input(ws->client, message, offset, ws->heard_us);
    RvFrameStamp stamp = { (guint64)sequence, captured_us, ws->heard_us };
    rv_inlet_push(ws->inlet, message, offset, &stamp);
}

static void
on_binary(Socket *ws, GBytes *message)
{
    RvFrameHeader header;
    if (!ws->has_header)
        take_frame(ws, message, 0, ws->sequence + 1, 0);
    else if (!rv_frame_header_read(g_bytes_get_data(message, NULL), g_bytes_get_size(message), &header))
        count(ws, RV_CLIENT_BAD_INPUT, 1);
    else if (header.kind == RV_KIND_ACK)
        on_ack(ws, &header);
    else if (header.kind == RV_KIND_PING)
        answer_ping(ws, &header);
    else if (header.kind == RV_KIND_FRAME && (gint64)header.sequence > ws->sequence)
        take_frame(ws, message, RV_FRAME_HEADER_SIZE, header.sequence, (gint64)header.time_us);
    else
        count(ws, RV_CLIENT_BAD_INPUT, header.kind == RV_KIND_FRAME);
}

/* A token bucket. Reading cannot be paused in libsoup, and a flood would take the loop from others. */
static bool
is_flood(Socket *ws, gsize size)
{
    double passed_s = (double)(ws->heard_us - ws->allowance_us) / G_USEC_PER_SEC;
    ws->allowance = MIN(ws->allowance + passed_s * FLOOD_BYTES, FLOOD_BYTES * FLOOD_BURST_S);
    ws->allowance_us = ws->heard_us;
    ws->allowance -= (double)MAX(size, MESSAGE_COST);
    return ws->allowance < 0;
}

static void
on_message(SoupWebsocketConnection *connection, int type, GBytes *message, gpointer data)
{
    Socket *ws = data;
    gsize size = g_bytes_get_size(message);
    if (ws->is_refused)
        return;
    ws->heard_us = g_get_monotonic_time();
    if (ws->guard != NULL)
        rv_socket_guard_reset(ws->guard);
    count(ws, RV_CLIENT_BYTES_IN, size);
    if (soup_websocket_connection_get_state(connection) != SOUP_WEBSOCKET_STATE_OPEN)
        return;
    if (is_flood(ws, size))
        cut(ws);
    else if (type == SOUP_WEBSOCKET_DATA_BINARY)
        on_binary(ws, message);
    else
        count(ws, RV_CLIENT_BAD_INPUT, 1);
}

/* Against the protocol, or too large: libsoup closes the connection. */
static void
on_error(SoupWebsocketConnection *connection, GError *error, gpointer data)
{
    Socket *ws = data;
    ws->is_cut |= error->domain == SOUP_WEBSOCKET_ERROR;
}

static void
on_pong(SoupWebsocketConnection *connection, GBytes *message, gpointer data)
{
    Socket *ws = data;
    if (!ws->is_refused)
        ws->heard_us = g_get_monotonic_time();
}

/* A peer that vanished is noticed by its silence: it should have answered pings. */
static gboolean
on_tick(gpointer data)
{
    Socket *ws = data;
    gint64 now_us = g_get_monotonic_time();
    note_delivery(ws, rv_send_window_poll(&ws->window, now_us), now_us);
    if (now_us - ws->heard_us > (ws->is_refused ? REFUSED_US : SILENCE_US))
        cut(ws);
    return G_SOURCE_CONTINUE;
}

static void
on_closed(SoupWebsocketConnection *connection, gpointer data)
{
    Socket *ws = data;
    g_signal_handlers_disconnect_by_data(connection, ws);
    if (ws->is_cut || (ws->guard != NULL && rv_socket_guard_has_cut(ws->guard)))
        count(ws, RV_CLIENT_CUT_OFF, 1);
    g_clear_handle_id(&ws->tick, g_source_remove);
    g_clear_handle_id(&ws->room_poll, g_source_remove);
    rv_watch_close(ws->watch);
    rv_inlet_close(ws->inlet);
    rv_outlet_close(ws->outlet);
    rv_client_close(ws->client);
    rv_socket_guard_free(ws->guard);
    g_clear_object(&ws->socket);
    g_object_unref(connection);
    g_free(ws);
}

static bool
open_peer(Socket *ws, const RvCall *call, GError **error)
{
    guint64 watch;
    if (!rv_call_number(call, "watch", 0, &watch, error))
        return false;
    if (call->query != NULL && g_hash_table_contains(call->query, "watch")) {
        ws->watch = rv_watch_open(call->server, watch, on_shown, ws, error);
        return ws->watch != NULL;
    }
    RvClientOptions options = { .transport = "ws",
                                .has_jpegs = true,
                                .address = soup_server_message_get_remote_host(call->message),
                                .effect =
                                    call->query == NULL ? NULL : g_hash_table_lookup(call->query, "effect"),
                                .on_shown = on_shown,
                                .user = ws };
    ws->client = rv_client_open(call->server, &options, error);
    if (ws->client != NULL)
        ws->inlet = rv_inlet_new(rv_jpeg_pool_shared(), ws->client);
    return ws->client != NULL;
}

static void
prepare_connection(Socket *ws, const RvCall *call)
{
    soup_websocket_connection_set_max_incoming_payload_size(ws->connection, MESSAGE_LIMIT);
    soup_websocket_connection_set_keepalive_interval(ws->connection, KEEPALIVE_S);
    const char *protocol = soup_websocket_connection_get_protocol(ws->connection);
    ws->has_header = g_strcmp0(protocol, RV_WS_PROTOCOL) == 0;
    GSocket *socket = soup_server_message_get_socket(call->message);
    if (socket != NULL) {
        ws->socket = g_object_ref(socket);
        ws->guard = rv_socket_guard_new(socket);
    }
    const char *scheme = g_uri_get_scheme(soup_server_message_get_uri(call->message));
    bool is_tls = g_strcmp0(scheme, "https") == 0 || g_strcmp0(scheme, "wss") == 0;
    rv_send_window_init(&ws->window, ws->socket, is_tls, ws->has_header);
}

void
rv_websocket_open(const RvCall *call, SoupWebsocketConnection *connection)
{
    Socket *ws = g_new0(Socket, 1);
    gint64 now_us = g_get_monotonic_time();
    ws->connection = g_object_ref(connection);
    ws->heard_us = ws->allowance_us = now_us;
    ws->sequence = -1;
    ws->allowance = FLOOD_BYTES * FLOOD_BURST_S;
    prepare_connection(ws, call);
    rv_rate_init(&ws->rate, 85, now_us);
    RvOutletOptions outlet = { .has_room = has_room, .rate = rate_step, .send = send_picture, .user = ws };
    ws->outlet = rv_outlet_new(rv_jpeg_pool_shared(), &outlet);
    g_autoptr(GError) error = NULL;
    if (!open_peer(ws, call, &error))
        refuse(ws, error);
    ws->tick = g_timeout_add(TICK_MS, on_tick, ws);
    g_signal_connect(connection, "message", G_CALLBACK(on_message), ws);
    g_signal_connect(connection, "pong", G_CALLBACK(on_pong), ws);
    g_signal_connect(connection, "error", G_CALLBACK(on_error), ws);
    g_signal_connect(connection, "closed", G_CALLBACK(on_closed), ws);
}
