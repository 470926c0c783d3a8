/* osc_port.c - OSC messages to live parameters, with the addresses of i2i-realtime, GenDJ and fast-trt. */
#include <gio/gio.h>
#include <string.h>

#include "server/log.h"
#include "server/metrics.h"
#include "server/osc.h"
#include "server/server_internal.h"

#define MAX_PACKET 65536
#define PACKETS_A_TURN 64 /* then frames get their turn */
#define PREFIX "/transformirror"

struct RvOscPort {
    RvServer *server;
    GSocket *socket;
    GSource *source;
    guint64 applied, ignored, bad; /* messages, messages, packets */
    gint64 complained_us;
    char buffer[MAX_PACKET];
};

static RvValue
value_of(const RvOscArgument *argument)
{
    switch (argument->type) {
    case 's':
        return (RvValue) { .kind = RV_VALUE_TEXT, .text = argument->text };
    case 'f':
        return (RvValue) { .kind = RV_VALUE_NUMBER, .number = argument->number };
    case 'T':
    case 'F':
        return (RvValue) { .kind = RV_VALUE_BOOL, .integer = argument->integer };
    default:
        return (RvValue) { .kind = RV_VALUE_INTEGER, .integer = argument->integer };
    }
}

/* i2i joins words that come as arguments of their own. */
static char *
join_texts(const RvOscMessage *message)
{
    GString *text = g_string_new(NULL);
    for (int i = 0; i < message->n_arguments; i++) {
        const RvOscArgument *argument = &message->arguments[i];
        if (i > 0)
            g_string_append_c(text, ' ');
        if (argument->type == 's')
            g_string_append(text, argument->text);
        else if (argument->type == 'f')
            g_string_append_printf(text, "%g", argument->number);
        else
            g_string_append_printf(text, "%" G_GINT64_FORMAT, argument->integer);
    }
    return g_string_free(text, FALSE);
}

/* "/blend A B t": both prompts and the fader at once. */
static bool
set_pair(RvState *state, const RvOscMessage *message, GError **error)
{
    const RvOscArgument *a = message->arguments;
    if (a[0].type != 's' || a[1].type != 's' || a[2].type == 's')
        return rv_error_set(error, RV_ERROR_USAGE, "/blend", "send two texts and a number", "other types");
    double t = CLAMP(a[2].number, 0.0, 1.0);
    RvWeightedPrompt pair[2] = { { (char *)a[0].text, 1.0 - t }, { (char *)a[1].text, t } };
    return rv_state_set_prompts(state, pair, 2, error) &&
           rv_state_set(state, "crossfade", &(RvValue) { .kind = RV_VALUE_NUMBER, .number = t }, error);
}

static bool
apply(RvState *state, const char *address, const RvOscMessage *message, GError **error)
{
    static const char *const words[] = { "/prompt", "/prompt/0", "/prompt/1", NULL };
    if (message->n_arguments == 0)
        return rv_error_set(error, RV_ERROR_USAGE, address, "send a value", "no arguments");
    if (g_strv_contains(words, address)) {
        g_autofree char *text = join_texts(message);
        return rv_state_set_text(state, address + 1, text, error);
    }
    if (strcmp(address, "/blend") == 0 && message->n_arguments == 3)
        return set_pair(state, message, error);
    if (strcmp(address, "/blend_t") == 0)
        address = "/crossfade";
    RvValue value = value_of(&message->arguments[0]);
    if (strcmp(address, "/scene") == 0) { /* i2i-realtime's player: 1 plays, everything else pauses */
        bool plays = value.kind == RV_VALUE_TEXT     ? strcmp(value.text, "1") == 0
                     : value.kind == RV_VALUE_NUMBER ? value.number == 1.0
                                                     : value.integer == 1;
        return rv_state_set(state, "paused", &(RvValue) { .kind = RV_VALUE_BOOL, .integer = !plays }, error);
    }
    return rv_state_set(state, address + 1, &value, error);
}

static void
on_message(const RvOscMessage *message, void *user)
{
    RvOscPort *port = user;
    const char *address = message->address;
    g_autoptr(GError) error = NULL;
    if (g_str_has_prefix(address, PREFIX "/"))
        address += strlen(PREFIX);
    if (apply(port->server->state, address, message, &error)) {
        port->applied++;
        return;
    }
    port->ignored++;
    rv_log(RV_LOG_DEBUG, "osc-ignored", "address", address, "error", error->message, NULL);
}

static void
complain(RvOscPort *port)
{
    gint64 now_us = g_get_monotonic_time();
    port->bad++;
    if (port->complained_us != 0 && now_us - port->complained_us < 10 * G_USEC_PER_SEC)
        return;
    port->complained_us = now_us;
    rv_log(RV_LOG_WARNING, "osc-bad-packet", "so-far", rv_log_int((gint64)port->bad), NULL);
}

static gboolean
on_readable(GSocket *socket, GIOCondition condition, gpointer user)
{
    RvOscPort *port = user;
    for (int i = 0; i < PACKETS_A_TURN; i++) {
        gssize size = g_socket_receive(port->socket, port->buffer, sizeof port->buffer, NULL, NULL);
        if (size < 0)
            break;
        if (!rv_osc_parse(port->buffer, (gsize)size, on_message, port))
            complain(port);
    }
    return G_SOURCE_CONTINUE;
}

RvOscPort *
rv_osc_port_new(RvServer *server, const char *host, int number, GError **error)
{
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(host, (guint)number);
    g_autoptr(GError) wrong = NULL;
    g_autoptr(GSocket) socket = g_socket_new(g_socket_address_get_family(address), G_SOCKET_TYPE_DATAGRAM,
                                             G_SOCKET_PROTOCOL_UDP, &wrong);
    if (socket == NULL || !g_socket_bind(socket, address, FALSE, &wrong)) {
        g_autofree char *where = g_strdup_printf("--osc %d", number);
        rv_error_set(error, RV_ERROR_IO, where, "choose another port", "cannot listen for OSC: %s",
                     wrong->message);
        return NULL;
    }
    g_socket_set_blocking(socket, FALSE);
    RvOscPort *port = g_new0(RvOscPort, 1);
    port->server = server;
    port->socket = g_steal_pointer(&socket);
    port->source = g_socket_create_source(port->socket, G_IO_IN, NULL);
    g_source_set_priority(port->source, G_PRIORITY_DEFAULT_IDLE);
    g_source_set_callback(port->source, G_SOURCE_FUNC(on_readable), port, NULL);
    g_source_attach(port->source, NULL);
    return port;
}

void
rv_osc_port_free(RvOscPort *port)
{
    if (port == NULL)
        return;
    g_source_destroy(port->source);
    g_source_unref(port->source);
    g_object_unref(port->socket);
    g_free(port);
}

void
rv_osc_port_add_metrics(const RvOscPort *port, GString *to)
{
    if (port == NULL)
        return;
    rv_metrics_head(to, "reverie_osc_messages_total", "counter",
                    "OSC messages that changed something, or did not; packets that were none.");
    rv_metrics_sample(to, "reverie_osc_messages_total", "outcome=\"applied\"", (double)port->applied);
    rv_metrics_sample(to, "reverie_osc_messages_total", "outcome=\"ignored\"", (double)port->ignored);
    rv_metrics_sample(to, "reverie_osc_messages_total", "outcome=\"bad\"", (double)port->bad);
}
