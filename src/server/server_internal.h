/* server_internal.h - what the files of the HTTP core share. */
#pragma once
#include "server/guard.h"
#include "server/half_open.h"
#include "server/listener.h"
#include "server/restart.h"
#include "server/route.h"
#include "server/server.h"
#include "server/settings_file.h"

typedef struct RvEvents RvEvents;
typedef struct RvOscPort RvOscPort;

struct RvServer {
    const RvServeOptions *options;
    SoupServer *soup;
    GMainLoop *loop;
    RvState *state;
    RvTurnsTable *turns;
    RvMirror *mirror;
    RvStudio *studio;
    RvRecording *recording;
    RvAuth *auth;
    RvGuard *guard;
    RvEvents *events;
    struct RvSse *job_events; /* of /api/v1/events */
    RvOscPort *osc;
    RvUdpMux *udp_mux; /* NULL: no --udp-port */
    RvListener *listener;
    RvHalfOpen *half_open;
    GPtrArray *sockets; /* open WebSockets, referenced */
    GPtrArray *tasks;   /* RvTask, requests to the picture API that are not answered yet; borrowed */
    guint replies;      /* of such, that are being written */
    char *url;
    RvSettingsFile *settings;
    bool is_stopping, restarts; /* restarts: with another process in this one's place */
    bool restart_waits;         /* until the last one is long enough ago */
    int restart_socket;         /* which goes on listening; -1: none */
    RvRestarts history;         /* of restarts */
    char *loss;                 /* why devices need a new process; NULL: they do not */
    gint64 stop_us;             /* when that began */
    gint64 start_us, ready_us;  /* when it was started, and ready; 0: not yet */
    struct RvIdle *idle;
    guint save; /* source: settings are to be kept */
    GError *failure;
    guint64 refused;                         /* requests that guard or auth sent away */
    guint64 offers_answered, offers_refused; /* of WebRTC */
};

/* route.c: checks and dispatches every request. */
void rv_routes_install(RvServer *server);

/* events.c: `/api/events`. */
RvEvents *rv_events_new(RvServer *server);
void rv_events_free(RvEvents *events);
void rv_events_state_changed(RvEvents *events);
void rv_events_get(const RvCall *call);

/* osc_port.c */
RvOscPort *rv_osc_port_new(RvServer *server, const char *host, int port, GError **error);
void rv_osc_port_free(RvOscPort *port); /* accepts NULL */
void rv_osc_port_add_metrics(const RvOscPort *port, GString *to);

/* pages.c */
void rv_pages_get(const RvCall *call);    /* the route's parameter names the file */
void rv_pages_log_in(const RvCall *call); /* the form to log in with, as a 401 */
void rv_pages_file(const RvCall *call);   /* `/static/{path}` */

/* tokens.c */
void rv_tokens_get(const RvCall *call);

/* control.c */
void rv_control_state(const RvCall *call);
void rv_control_set(const RvCall *call);
void rv_control_parameter(const RvCall *call);
void rv_control_ignored(const RvCall *call);
/* GET and POST {"on":BOOL}. */
void rv_control_recording(const RvCall *call);
void rv_control_debug(const RvCall *call);
/* The object that `/api/state` answers; also in events. */
JsonBuilder *rv_control_build_state(RvServer *server);

/* server.c: seconds until a new process tries lost devices again; -1: none waits. */
gint64 rv_server_waits(const RvServer *server);

/* health.c */
void rv_health_alive(const RvCall *call);
void rv_health_ready(const RvCall *call);
void rv_health_stats(const RvCall *call);
void rv_health_metrics(const RvCall *call);
void rv_health_routes(const RvCall *call);
