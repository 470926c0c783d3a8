#include "server/sdapi/handlers.h"
#include "server/server_internal.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/engine.h"
#include "server/idle.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/sdapi/task.h"
#include "server/sse.h"
#include "server/studio_routes.h"
#include "server/tls.h"
#include "server/transports.h"

#define SAVE_AFTER_MS 500
#define DRAIN_US (3 * G_USEC_PER_SEC)      /* frames in work may still be shown */
#define CLOSE_US (5 * G_USEC_PER_SEC)      /* and connections be closed politely */
#define END_US (12 * G_USEC_PER_SEC)       /* and devices come to an end */
#define RESTART_HURRY 4                    /* all that goes so many times as fast when a new process waits */
#define HARD_STOP_US (4 * G_USEC_PER_SEC)  /* whatever hangs: the new process takes over */
#define LEAST_AGE_US (60 * G_USEC_PER_SEC) /* of a process that replaced another, before it is replaced */
#define LOOK_MS 100
#define STOP_POLL_MS 20
#define HALF_OPEN_S 60
#define MOST_WAITING 1024 /* connections from which a request is expected */
#define LEAST_DESCRIPTORS 64
#define MOST_DESCRIPTORS 65536

RvMirror *
rv_server_mirror(RvServer *server)
{
    return server->mirror;
}

RvState *
rv_server_state(RvServer *server)
{
    return server->state;
}

RvStudio *
rv_server_studio(RvServer *server)
{
    return server->studio;
}

double
rv_server_start_seconds(RvServer *server)
{
    gint64 until = server->ready_us != 0 ? server->ready_us : g_get_monotonic_time();
    return (double)(until - server->start_us) / G_USEC_PER_SEC;
}

RvIdle *
rv_server_idle(RvServer *server)
{
    return server->idle;
}

RvRecording *
rv_server_recording(RvServer *server)
{
    return server->recording;
}

RvUdpMux *
rv_server_udp_mux(RvServer *server)
{
    return server->udp_mux;
}

const RvServeOptions *
rv_server_options(RvServer *server)
{
    return server->options;
}

/* ---- settings that last ---- */

static bool
open_studio(RvServer *server, GError **error)
{
    const RvServeOptions *o = server->options;
    RvStudioOptions options = { .data = o->data,
                                .outputs = o->outputs,
                                .folders = (const char *const *)o->folders,
                                .model = o->default_model,
                                .vae = o->vae,
                                .device = o->device,
                                .precision = o->precision,
                                .threads = o->threads,
                                .turns = server->turns,
                                .model_bytes = (gsize)o->model_memory << 20 };
    server->studio = rv_studio_new(&options, error);
    return server->studio != NULL;
}

static bool
open_recording(RvServer *server, GError **error)
{
    const RvServeOptions *o = server->options;
    server->recording = rv_recording_new(o->record, o->record_limit, server->state, error);
    return server->recording != NULL;
}

static gboolean
on_save(gpointer data)
{
    RvServer *server = data;
    server->save = 0;
    rv_settings_file_save(server->settings, server->state);
    return G_SOURCE_REMOVE;
}

static void
on_state_change(RvState *state, void *user)
{
    RvServer *server = user;
    if (server->mirror == NULL) /* while they are read */
        return;
    rv_mirror_apply_state(server->mirror);
    rv_recording_note(server->recording);
    rv_events_state_changed(server->events);
    if (server->save == 0)
        server->save = g_timeout_add(SAVE_AFTER_MS, on_save, server);
}

static bool
open_data(RvServer *server, GError **error)
{
    const char *folder = server->options->data;
    if (g_mkdir_with_parents(folder, 0700) != 0 || access(folder, W_OK) != 0)
        return rv_error_set(error, RV_ERROR_IO, folder, "choose another with --data",
                            "cannot keep settings there: %s", g_strerror(errno));
    if (!rv_auth_is_open(server->auth)) {
        g_autofree char *key = g_build_filename(folder, "session.key", NULL);
        rv_auth_keep_key(server->auth, key);
    }
    g_autofree char *path = g_build_filename(folder, "mirror.json", NULL);
    server->settings = rv_settings_file_new(path);
    server->state = rv_state_new(on_state_change, server);
    g_autoptr(GError) damaged = NULL;
    bool is_new = !g_file_test(path, G_FILE_TEST_EXISTS);
    if (!rv_state_load(server->state, path, &damaged))
        rv_log(RV_LOG_WARNING, "settings-damaged", "error", damaged->message, NULL);
    return !is_new || rv_state_set_text(server->state, "pace", server->options->pace, error);
}

/* ---- listening ---- */

static bool
load_certificate(RvServer *server, GError **error)
{
    const RvServeOptions *o = server->options;
    g_autofree char *cert =
        o->tls_self_signed ? g_build_filename(o->data, "self-signed.crt", NULL) : g_strdup(o->tls_cert);
    g_autofree char *key =
        o->tls_self_signed ? g_build_filename(o->data, "self-signed.key", NULL) : g_strdup(o->tls_key);
    bool is_new = false;
    if (cert == NULL)
        return true;
    if (o->tls_self_signed && !rv_tls_ensure_self_signed(cert, key, o->host, &is_new, error))
        return false;
    if (is_new)
        rv_log(RV_LOG_INFO, "certificate-made", "path", cert, NULL);
    g_autoptr(GError) wrong = NULL;
    g_autoptr(GTlsCertificate) certificate = g_tls_certificate_new_from_files(cert, key, &wrong);
    if (certificate == NULL)
        return rv_error_set(error, RV_ERROR_INVALID, cert, "check --tls-cert and --tls-key",
                            "no usable certificate: %s", wrong->message);
    soup_server_set_tls_certificate(server->soup, certificate);
    return true;
}

static void
set_url(RvServer *server)
{
    guint port = rv_listener_port(server->listener);
    const char *host = server->options->host, *scheme = soup_server_is_https(server->soup) ? "https" : "http";
    server->url = strchr(host, ':') != NULL ? g_strdup_printf("%s://[%s]:%u", scheme, host, port)
                                            : g_strdup_printf("%s://%s:%u", scheme, host, port);
}

/* Connections and files share the descriptors. */
static guint
raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return LEAST_DESCRIPTORS;
    rlim_t most = MIN(limit.rlim_max, MOST_DESCRIPTORS);
    struct rlimit more = { MAX(limit.rlim_cur, most), limit.rlim_max };
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        limit = more;
    return (guint)CLAMP(limit.rlim_cur, LEAST_DESCRIPTORS, MOST_DESCRIPTORS);
}

static bool
listen_on(RvServer *server, GError **error)
{
    const RvServeOptions *o = server->options;
    server->soup = g_object_new(SOUP_TYPE_SERVER, "raw-paths", TRUE, "server-header", "reverie", NULL);
    if (!load_certificate(server, error))
        return false;
    rv_routes_install(server);
    g_autoptr(GError) wrong = NULL;
    server->listener = rv_listener_new(server->soup, o->host, (guint)o->port,
                                       o->tls_cert != NULL || o->tls_self_signed, &wrong);
    if (server->listener == NULL)
        return rv_error_set(error, RV_ERROR_IO, o->listen,
                            "stop what listens there, or choose another with --listen", "cannot listen: %s",
                            wrong->message);
    guint descriptors = raise_descriptors();
    server->half_open = rv_half_open_new(HALF_OPEN_S, MIN(MOST_WAITING, descriptors / 4), descriptors / 2);
    rv_listener_watch(server->listener, server->half_open);
    set_url(server);
    rv_log(RV_LOG_INFO, "listening", "url", server->url, "auth",
           rv_auth_is_open(server->auth) ? "none" : "required", NULL);
    if (o->osc != 0)
        server->osc = rv_osc_port_new(server, o->host, o->osc, error);
    if (o->udp_port != 0)
        server->udp_mux = rv_udp_mux_new(o->udp_port, error);
    return (o->osc == 0 || server->osc != NULL) && (o->udp_port == 0 || server->udp_mux != NULL);
}

/* ---- ready, and the end ---- */

static gboolean
on_watchdog(gpointer data)
{
    rv_notify("WATCHDOG=1");
    return G_SOURCE_CONTINUE;
}

static void
close_sockets(RvServer *server)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(g_object_unref);
    for (guint i = 0; i < server->sockets->len; i++)
        g_ptr_array_add(sockets, g_object_ref(g_ptr_array_index(server->sockets, i)));
    for (guint i = 0; i < sockets->len; i++) {
        SoupWebsocketConnection *socket = g_ptr_array_index(sockets, i);
        if (soup_websocket_connection_get_state(socket) == SOUP_WEBSOCKET_STATE_OPEN)
            soup_websocket_connection_close(socket, SOUP_WEBSOCKET_CLOSE_GOING_AWAY,
                                            server->restarts ? "the server starts anew"
                                                             : "the server is stopping");
    }
}

static gboolean
stop_step(gpointer data)
{
    RvServer *server = data;
    gint64 passed = (g_get_monotonic_time() - server->stop_us) * (server->restarts ? RESTART_HURRY : 1);
    if ((rv_mirror_in_work(server->mirror) > 0 || rv_studio_in_work(server->studio) > 0) && passed < DRAIN_US)
        return G_SOURCE_CONTINUE;
    close_sockets(server);
    rv_tasks_stop(server);
    if ((server->sockets->len > 0 || server->tasks->len > 0 || server->replies > 0 ||
         rv_mirror_clients(server->mirror) > 0) &&
        passed < CLOSE_US)
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(server->loop);
    return G_SOURCE_REMOVE;
}

static void
begin_stop(RvServer *server)
{
    if (server->is_stopping)
        return;
    server->is_stopping = true;
    server->stop_us = g_get_monotonic_time();
    rv_log(RV_LOG_INFO, "stopping", "clients", rv_log_int(rv_mirror_clients(server->mirror)), NULL);
    if (server->restarts)
        rv_notify_reloading();
    else
        rv_notify("STOPPING=1");
    rv_settings_file_save(server->settings, server->state);
    rv_mirror_refuse(server->mirror);
    rv_studio_refuse(server->studio);
    g_timeout_add(STOP_POLL_MS, stop_step, server);
}

static gpointer
stop_hard(gpointer data)
{
    RvServer *server = data;
    g_usleep(HARD_STOP_US);
    rv_log(RV_LOG_ERROR, "stopped-hard", NULL);
    rv_restart_exec(server->restart_socket, &server->history, NULL);
    _exit(RV_ERROR_DEVICE);
}

/* From now on connections wait for the next process. */
static void
begin_restart(RvServer *server, int *counter, const char *why)
{
    if (server->is_stopping)
        return;
    (*counter)++;
    rv_log(RV_LOG_WARNING, "restarting", "why", why, NULL);
    server->restarts = true;
    server->restart_socket = rv_listener_keep(server->listener);
    g_clear_pointer(&server->listener, rv_listener_free);
    soup_server_disconnect(server->soup);
    g_thread_unref(g_thread_new("stop", stop_hard, server));
    begin_stop(server);
}

static gboolean
on_restart_signal(gpointer data)
{
    RvServer *server = data;
    begin_restart(server, &server->history.asked, "signal");
    return G_SOURCE_CONTINUE;
}

gint64
rv_server_waits(const RvServer *server)
{
    gint64 left_us = LEAST_AGE_US - rv_restart_age_us();
    return server->restart_waits ? (MAX(left_us, 0) + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC : -1;
}

/* Pages and the queue are better off with a server without devices than with one that comes and goes. */
static void
wait_for_restart(RvServer *server)
{
    if (server->restart_waits)
        return;
    server->restart_waits = true;
    rv_log(RV_LOG_WARNING, "restart-waits", "why", server->loss, "seconds",
           rv_log_int(rv_server_waits(server)), NULL);
    rv_studio_refuse(server->studio); /* jobs are the next process's */
    rv_notify("READY=1\nSTATUS=waiting for lost devices");
}

/* Devices that are lost again and again must not keep the server from everything else. One that is lost
 * before the very first picture is told as what cannot be opened. */
static gboolean
on_look(gpointer data)
{
    RvServer *server = data;
    bool may_restart = server->ready_us != 0 || server->history.lost > 0;
    if (server->loss == NULL && may_restart && rv_device_needs_new_process())
        server->loss = g_strdup("a device was lost");
    if (server->loss == NULL || server->is_stopping)
        return G_SOURCE_CONTINUE;
    if (rv_restart_age_us() < LEAST_AGE_US)
        wait_for_restart(server);
    else
        begin_restart(server, &server->history.lost, server->loss);
    return G_SOURCE_CONTINUE;
}

/* What cannot be opened at a first start is told at once; after a loss it is tried again. */
static void
on_mirror_change(const GError *error, void *user)
{
    RvServer *server = user;
    if (error != NULL && server->history.lost > 0) {
        if (server->loss == NULL)
            server->loss = g_strdup(error->message);
        return;
    }
    if (error != NULL) {
        server->failure = g_error_copy(error);
        g_main_loop_quit(server->loop);
        return;
    }
    if (server->ready_us == 0)
        server->ready_us = g_get_monotonic_time();
    printf("reverie: ready on %s\n", server->url);
    fflush(stdout);
    rv_notify("READY=1\nSTATUS=drawing");
    rv_events_state_changed(server->events);
}

static gboolean
on_signal(gpointer data)
{
    RvServer *server = data;
    if (server->is_stopping) { /* somebody is in a hurry */
        rv_settings_file_save(server->settings, server->state);
        rv_settings_file_wait(server->settings);
        _exit(0);
    }
    begin_stop(server);
    return G_SOURCE_CONTINUE;
}

static void
run_loop(RvServer *server)
{
    guint term = g_unix_signal_add(SIGTERM, on_signal, server),
          interrupt = g_unix_signal_add(SIGINT, on_signal, server),
          restart = g_unix_signal_add(SIGUSR2, on_restart_signal, server),
          look = g_timeout_add(LOOK_MS, on_look, server);
    gint64 watchdog_us = rv_notify_watchdog_us();
    guint watchdog =
        watchdog_us > 0 ? g_timeout_add((guint)MAX(watchdog_us / 1000, 10), on_watchdog, server) : 0;
    g_main_loop_run(server->loop);
    g_source_remove(term);
    g_source_remove(interrupt);
    g_source_remove(restart);
    g_source_remove(look);
    if (watchdog != 0)
        g_source_remove(watchdog);
}

/* No signal of a socket may come when the server is gone. */
static void
forget_sockets(RvServer *server)
{
    for (guint i = 0; i < server->sockets->len; i++)
        g_signal_handlers_disconnect_by_data(g_ptr_array_index(server->sockets, i), server);
    g_ptr_array_unref(server->sockets);
}

static void
finish(RvServer *server)
{
    gint64 begin_us = server->is_stopping ? server->stop_us : g_get_monotonic_time();
    gint64 end_us = begin_us + (server->restarts ? END_US / RESTART_HURRY : END_US);
    if (server->save != 0)
        g_source_remove(server->save);
    rv_idle_free(server->idle);
    rv_osc_port_free(server->osc);
    rv_events_free(server->events);
    rv_sse_free(server->job_events);
    rv_listener_free(server->listener);
    rv_half_open_free(server->half_open);
    if (server->soup != NULL)
        soup_server_disconnect(server->soup);
    rv_mirror_free(server->mirror, end_us);
    rv_udp_mux_unref(server->udp_mux);
    rv_studio_free(server->studio, end_us);
    rv_recording_free(server->recording, end_us);
    forget_sockets(server);
    g_clear_object(&server->soup);
    if (server->tasks->len == 0) /* otherwise a thread still works for one */
        g_ptr_array_unref(server->tasks);
    rv_state_free(server->state);
    rv_turns_table_free(server->turns);
    rv_auth_free(server->auth);
    rv_guard_free(server->guard);
    g_main_loop_unref(server->loop);
    g_free(server->url);
    g_free(server->loss);
    rv_settings_file_free(server->settings);
}

/* Frames of megabytes come and go many times a second. As malloc is set by default each would be mapped and
 * unmapped, and every page of it zeroed and faulted in again. */
static void
keep_frame_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 128 << 20);
    mallopt(M_ARENA_MAX, 2);
}

bool
rv_server_run(const RvServeOptions *options, const char *model, GError **error)
{
    RvServer server = { .options = options, .start_us = g_get_monotonic_time(), .restart_socket = -1 };
    server.history = rv_restart_take_history();
    keep_frame_memory();
    rv_log_set_json(strcmp(options->log, "json") == 0);
    rv_log_take_messages();
    signal(SIGPIPE, SIG_IGN);
    server.loop = g_main_loop_new(NULL, FALSE);
    server.sockets = g_ptr_array_new_with_free_func(g_object_unref);
    server.tasks = g_ptr_array_new();
    server.turns = rv_turns_table_new(options->share_rule);
    server.guard = rv_guard_new(options->allowed_hosts);
    server.auth = rv_auth_new(options->token, options->users, error);
    bool ok = server.auth != NULL && open_data(&server, error) && open_recording(&server, error) &&
              open_studio(&server, error);
    if (ok) {
        server.events = rv_events_new(&server);
        server.job_events = rv_job_events_new(&server);
        server.mirror = rv_mirror_new(options, server.state, server.turns, on_mirror_change, &server);
        server.idle = rv_idle_new(&server, begin_stop);
        ok = listen_on(&server, error);
    }
    if (ok) {
        rv_mirror_start(server.mirror, model);
        rv_studio_on_due(server.studio, rv_sdapi_on_due, &server);
        run_loop(&server);
    }
    finish(&server);
    if (server.failure != NULL)
        g_propagate_error(error, server.failure);
    ok = ok && server.failure == NULL;
    return ok && server.restarts ? rv_restart_exec(server.restart_socket, &server.history, error) : ok;
}
