/* server.h - `reverie serve`: one main loop for HTTP, sockets, signals and the mirror. */
#pragma once
#include "media/udp_mux.h"
#include "server/auth.h"
#include "server/client.h"
#include "server/mirror.h"
#include "server/options.h"
#include "server/recording.h"
#include "server/state.h"
#include "studio/studio.h"

/* Serves until SIGTERM or SIGINT. On SIGUSR2, and when a device is lost, the process begins anew (restart.h).
 * `options` are finished; `model` is the model's path, NULL with an effect. False when it cannot start or its
 * model cannot be opened. */
bool rv_server_run(const RvServeOptions *options, const char *model, GError **error);

/* Parts, for routes and transports; borrowed. */
RvMirror *rv_server_mirror(RvServer *server);
RvState *rv_server_state(RvServer *server);
RvStudio *rv_server_studio(RvServer *server);
RvRecording *rv_server_recording(RvServer *server);
RvUdpMux *rv_server_udp_mux(RvServer *server); /* NULL: no --udp-port */
const RvServeOptions *rv_server_options(RvServer *server);
struct RvIdle *rv_server_idle(RvServer *server);
double rv_server_start_seconds(RvServer *server); /* until it was ready; so far while it is not */

/* Gives up all models, the mirror's too unless it is in use; who needs one loads it again. `done` comes on
 * the main loop when their memory is free. */
void rv_server_unload(RvServer *server, void (*done)(void *user), void *user);
