/* jobs_events.c - /api/v1/events: what happens to a user's jobs, as server-sent events. A listener that was
 * disconnected comes back with Last-Event-ID and misses nothing but progress. */
#include "server/server_internal.h"
#include "server/sse.h"
#include "server/studio_routes.h"

#define MAX_UNSENT 256 /* events */

static void
on_event(const RvStudioEvent *event, void *user)
{
    g_autofree char *text = g_strdup_printf("id: %" G_GUINT64_FORMAT "\nevent: %s\ndata: %s\n\n",
                                            event->sequence, event->name, event->data);
    rv_sse_send(user, text);
}

static void
on_gone(RvSseListener *listener, void *user)
{
    RvServer *server = user;
    rv_studio_unwatch(server->studio, listener);
}

/* From a header, or ?since= for clients that cannot set one. A number from before a restart is none of ours:
 * all that is kept is told. */
static guint64
last_event(const RvCall *call)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *text = soup_message_headers_get_one(request, "Last-Event-ID");
    guint64 id;
    if (text == NULL)
        text = rv_studio_query(call, "since");
    return text != NULL && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &id, NULL) ? id : G_MAXUINT64;
}

void
rv_jobs_events(const RvCall *call)
{
    RvSseListener *listener = rv_sse_accept(call->server->job_events, call);
    if (listener == NULL) {
        rv_answer_problem(call, 503, "TooMany", "too many listen already");
        return;
    }
    rv_sse_send(listener, "retry: 1000\n\n");
    rv_studio_watch(call->server->studio, call->user, last_event(call), on_event, listener);
}

RvSse *
rv_job_events_new(RvServer *server)
{
    return rv_sse_new(MAX_UNSENT, on_gone, server);
}
