/* GET /stream.mjpeg: each picture is followed at once by the boundary, or viewers would show it only when
 * the next one begins. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "server/outlet.h"
#include "server/send_window.h"
#include "server/transports.h"

#define BOUNDARY "frame"
#define ROOM_POLL_MS 5
#define USUAL_QUALITY 85
#define LOOK_S 2

typedef struct {
    SoupServerMessage *message;
    RvWatch *watch;
    RvOutlet *outlet;
    RvSendWindow window;
    RvRate rate;
    guint64 sent;
    guint room_poll, look; /* sources */
} Stream;

static bool
has_room(void *user)
{
    Stream *stream = user;
    return rv_send_window_has_room(&stream->window);
}

static RvRateStep
rate_step(void *user)
{
    Stream *stream = user;
    return rv_rate_step(&stream->rate);
}

static void
append(Stream *stream, GBytes *bytes)
{
    soup_message_body_append_bytes(soup_server_message_get_response_body(stream->message), bytes);
}

static void
append_text(Stream *stream, const char *text)
{
    soup_message_body_append(soup_server_message_get_response_body(stream->message), SOUP_MEMORY_COPY, text,
                             strlen(text));
}

static void
send_picture(const RvOutletPicture *picture, void *user)
{
    Stream *stream = user;
    gsize size = g_bytes_get_size(picture->jpeg);
    if (stream->watch == NULL) /* its viewer has left */
        return;
    g_autofree char *head =
        g_strdup_printf("Content-Type: image/jpeg\r\nContent-Length: %" G_GSIZE_FORMAT "\r\n\r\n", size);
    append_text(stream, head);
    append(stream, picture->jpeg);
    append_text(stream, "\r\n--" BOUNDARY "\r\n");
    soup_server_message_unpause(stream->message);
    gsize bytes = strlen(head) + size + strlen("\r\n--" BOUNDARY "\r\n");
    rv_send_window_sent(&stream->window, ++stream->sent, bytes, true, g_get_monotonic_time());
}

static void
look_for_room(Stream *stream)
{
    gint64 now_us = g_get_monotonic_time();
    gint64 delivery_us = rv_send_window_poll(&stream->window, now_us);
    if (delivery_us < 0)
        return;
    RvTcpCounts counts;
    if (rv_tcp_counts(stream->window.socket, &counts))
        rv_rate_set_round_trip(&stream->rate, counts.least_round_trip_us);
    rv_rate_delivered(&stream->rate, delivery_us, now_us);
}

/* TCP is asked while a picture waits or is on its way: asked later, it would seem to have taken longer. */
static gboolean
poll_room(gpointer data)
{
    Stream *stream = data;
    look_for_room(stream);
    rv_outlet_resume(stream->outlet);
    if (rv_outlet_is_waiting(stream->outlet) || stream->window.count > 0)
        return G_SOURCE_CONTINUE;
    stream->room_poll = 0;
    return G_SOURCE_REMOVE;
}

static void
on_shown(RvShown *shown, void *user)
{
    Stream *stream = user;
    look_for_room(stream);
    gint64 now_us = g_get_monotonic_time();
    if (!has_room(stream))
        rv_rate_blocked(&stream->rate, rv_send_window_oldest_us(&stream->window, now_us), now_us);
    rv_outlet_show(stream->outlet, shown);
    if (stream->room_poll == 0)
        stream->room_poll = g_timeout_add(ROOM_POLL_MS, poll_room, stream);
}

static void
on_finished(SoupServerMessage *message, gpointer data)
{
    Stream *stream = data;
    g_signal_handlers_disconnect_by_data(message, stream);
    g_clear_handle_id(&stream->room_poll, g_source_remove);
    g_clear_handle_id(&stream->look, g_source_remove);
    rv_watch_close(stream->watch);
    rv_outlet_close(stream->outlet);
    g_object_unref(message);
    g_free(stream);
}

static bool
has_left(GSocket *socket)
{
    char byte;
    if (socket == NULL)
        return false;
    gssize got = recv(g_socket_get_fd(socket), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

/* While nothing is shown nothing is written, and libsoup does not notice that a viewer has left: it would
 * keep its place, of which there are only so many. */
static gboolean
look_for_viewer(gpointer data)
{
    Stream *stream = data;
    if (!has_left(stream->window.socket))
        return G_SOURCE_CONTINUE;
    stream->look = 0;
    rv_watch_close(g_steal_pointer(&stream->watch));
    soup_message_body_complete(soup_server_message_get_response_body(stream->message));
    soup_server_message_unpause(stream->message);
    return G_SOURCE_REMOVE;
}

static void
begin_answer(SoupServerMessage *message)
{
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
    soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
    soup_message_headers_replace(headers, "Content-Type", "multipart/x-mixed-replace; boundary=" BOUNDARY);
    soup_message_headers_replace(headers, "Cache-Control", "no-store");
    soup_message_headers_set_encoding(headers, SOUP_ENCODING_EOF);
    soup_message_body_set_accumulate(soup_server_message_get_response_body(message), FALSE);
}

/* What is asked for must be understood before the stream begins. */
static bool
open_watch(Stream *stream, const RvCall *call, GError **error)
{
    guint64 client, quality;
    if (!rv_call_number(call, "client", 0, &client, error) ||
        !rv_call_number(call, "quality", USUAL_QUALITY, &quality, error))
        return false;
    rv_rate_init(&stream->rate, (int)CLAMP(quality, 1, 100), g_get_monotonic_time());
    stream->watch = rv_watch_open(call->server, client, on_shown, stream, error);
    return stream->watch != NULL;
}

void
rv_mjpeg_get(const RvCall *call)
{
    Stream *stream = g_new0(Stream, 1);
    stream->message = g_object_ref(call->message);
    rv_send_window_init(&stream->window, soup_server_message_get_socket(call->message), false, false);
    RvOutletOptions outlet = { has_room, rate_step, send_picture, stream };
    stream->outlet = rv_outlet_new(rv_jpeg_pool_shared(), &outlet);
    g_autoptr(GError) error = NULL;
    if (!open_watch(stream, call, &error)) {
        rv_answer_error(call, error);
        on_finished(call->message, stream);
        return;
    }
    begin_answer(call->message);
    append_text(stream, "--" BOUNDARY "\r\n");
    g_signal_connect(call->message, "finished", G_CALLBACK(on_finished), stream);
    stream->look = g_timeout_add_seconds(LOOK_S, look_for_viewer, stream);
}
