/* health.c - for those who watch over the server. */
#include <string.h>

#include "base/json_build.h"
#include "server/idle.h"
#include "server/metrics.h"
#include "server/server_internal.h"

void
rv_health_alive(const RvCall *call)
{
    rv_answer_text(call, 200, "text/plain; charset=utf-8", "ok\n");
}

void
rv_health_ready(const RvCall *call)
{
    gint64 waits = rv_server_waits(call->server);
    bool ready = waits < 0 && rv_mirror_is_ready(call->server->mirror);
    g_autofree char *text =
        waits < 0 ? g_strdup(ready ? "ready\n" : "not ready\n")
                  : g_strdup_printf("not ready: %s; a new process tries again in %" G_GINT64_FORMAT " s\n",
                                    call->server->loss, waits);
    rv_answer_text(call, ready ? 200 : 503, "text/plain; charset=utf-8", text);
}

/* Of jobs: from the request to the sampler. */
static void
add_starts(RvServer *server, JsonBuilder *json)
{
    RvStudioStarts starts = rv_studio_starts(server->studio);
    const double values[] = { (double)starts.count, starts.p50, starts.p99, starts.max };
    static const char *const names[] = { "count", "p50", "p99", "max" };
    rv_json_begin_object(json, "job_start_ms");
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        rv_json_add_number(json, names[i], values[i]);
    }
    json_builder_end_object(json);
}

static void
add_restarts(const RvServer *server, JsonBuilder *json)
{
    gint64 waits = rv_server_waits(server);
    rv_json_begin_object(json, "restarts");
    rv_json_add_int(json, "lost", server->history.lost);
    rv_json_add_int(json, "asked", server->history.asked);
    if (waits >= 0)
        rv_json_add_int(json, "next_seconds", waits);
    json_builder_end_object(json);
}

void
rv_health_stats(const RvCall *call)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_mirror_add_stats(call->server->mirror, json);
    int jobs, batches;
    rv_studio_count(call->server->studio, &jobs, &batches);
    rv_json_add_int(json, "jobs", jobs);
    add_starts(call->server, json);
    rv_json_add_int(json, "model_bytes",
                    (gint64)rv_studio_device_bytes(call->server->studio)); /* the studio's */
    rv_json_add_number(json, "idle_seconds", rv_idle_seconds(call->server->idle));
    add_restarts(call->server, json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

static void
add_direction(GString *to, const char *name, const char *help, guint64 in, guint64 out)
{
    rv_metrics_head(to, name, "counter", help);
    rv_metrics_sample(to, name, "direction=\"in\"", (double)in);
    rv_metrics_sample(to, name, "direction=\"out\"", (double)out);
}

static void
add_udp_metrics(RvUdpMux *mux, GString *to)
{
    if (mux == NULL)
        return;
    RvUdpStats stats;
    rv_udp_mux_stats(mux, &stats);
    rv_metrics_head(to, "reverie_udp_peers", "gauge", "WebRTC peers of the UDP port.");
    rv_metrics_sample(to, "reverie_udp_peers", NULL, stats.peers);
    rv_metrics_head(to, "reverie_udp_paths", "gauge", "Pairs of addresses that they are reached over.");
    rv_metrics_sample(to, "reverie_udp_paths", NULL, stats.paths);
    rv_metrics_head(to, "reverie_udp_paths_opened_total", "counter", "Such pairs that ever came up.");
    rv_metrics_sample(to, "reverie_udp_paths_opened_total", NULL, (double)stats.opened);
    add_direction(to, "reverie_udp_datagrams_total", "Datagrams passed on.", stats.received, stats.sent);
    add_direction(to, "reverie_udp_bytes_total", "Their bytes.", stats.received_bytes, stats.sent_bytes);
    rv_metrics_head(to, "reverie_udp_dropped_total", "counter", "Datagrams that were not passed on.");
    for (int i = 0; i < RV_UDP_DROPS; i++) {
        g_autofree char *label = g_strdup_printf("reason=\"%s\"", rv_udp_drop_name((RvUdpDrop)i));
        rv_metrics_sample(to, "reverie_udp_dropped_total", label, (double)stats.dropped[i]);
    }
}

void
rv_health_metrics(const RvCall *call)
{
    RvServer *server = call->server;
    g_autoptr(GString) text = g_string_new(NULL);
    rv_mirror_add_metrics(server->mirror, text);
    rv_metrics_head(text, "reverie_refused_requests_total", "counter",
                    "Sent away for their host, origin or log-in.");
    rv_metrics_sample(text, "reverie_refused_requests_total", NULL, (double)server->refused);
    rv_metrics_head(text, "reverie_half_open_closed_total", "counter",
                    "Connections closed because their request never came, or not to its end.");
    rv_metrics_sample(text, "reverie_half_open_closed_total", NULL,
                      (double)rv_half_open_closed(server->half_open));
    rv_metrics_head(text, "reverie_offers_total", "counter", "WebRTC offers by what became of them.");
    rv_metrics_sample(text, "reverie_offers_total", "outcome=\"answered\"", (double)server->offers_answered);
    rv_metrics_sample(text, "reverie_offers_total", "outcome=\"refused\"", (double)server->offers_refused);
    rv_metrics_head(text, "reverie_login_failures_total", "counter", "Wrong tokens and passwords.");
    rv_metrics_sample(text, "reverie_login_failures_total", NULL, (double)rv_auth_failures(server->auth));
    rv_metrics_head(text, "reverie_restarts_total", "counter",
                    "Processes that began anew in the place of one before.");
    rv_metrics_sample(text, "reverie_restarts_total", "reason=\"lost\"", server->history.lost);
    rv_metrics_sample(text, "reverie_restarts_total", "reason=\"asked\"", server->history.asked);
    rv_metrics_head(text, "reverie_parameters_revision", "gauge", "How often the live parameters changed.");
    rv_metrics_sample(text, "reverie_parameters_revision", NULL, rv_state_revision(server->state));
    rv_recording_add_metrics(server->recording, text);
    rv_osc_port_add_metrics(server->osc, text);
    add_udp_metrics(server->udp_mux, text);
    rv_metrics_process(text);
    rv_answer_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", text->str);
}

static void
add_route(JsonBuilder *json, const RvRoute *route)
{
    json_builder_begin_object(json);
    rv_json_add_text(json, "methods", route->methods);
    rv_json_add_text(json, "path", route->path);
    rv_json_add_flag(json, "auth", route->auth == RV_AUTH_REQUIRED);
    rv_json_add_flag(json, "websocket", route->socket != NULL);
    rv_json_add_text(json, "help", route->help);
    json_builder_end_object(json);
}

void
rv_health_routes(const RvCall *call)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_array(json);
    for (gsize t = 0; rv_route_tables[t] != NULL; t++)
        for (const RvRoute *route = rv_route_tables[t]; route->path != NULL; route++)
            add_route(json, route);
    json_builder_end_array(json);
    rv_answer_json(call, 200, json);
}
