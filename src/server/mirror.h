/* mirror.h - the mirror: the scheduler of src/live, its devices and their clients (client.h). Main loop only.
 */
#pragma once
#include "engine/turns.h"
#include "server/client.h"
#include "server/options.h"
#include "server/state.h"

#include <json-glib/json-glib.h>

typedef struct RvMirror RvMirror;

/* Borrows all; `turns`: of devices that the studio draws on too. `on_change` is called when the mirror became
 * ready, and when the last of its devices could not be opened (`error`; the server cannot go on). */
RvMirror *rv_mirror_new(const RvServeOptions *options, RvState *state, RvTurnsTable *turns,
                        void (*on_change)(const GError *error, void *user), void *user);
/* Opens the devices in the background. `model`: path of the model; unused with an effect. */
void rv_mirror_start(RvMirror *mirror, const char *model);
/* A frame was drawn, and a device works. */
bool rv_mirror_is_ready(const RvMirror *mirror);
/* The parameters changed: the pace goes to the sessions. */
void rv_mirror_apply_state(RvMirror *mirror);
int rv_mirror_clients(const RvMirror *mirror);
/* Messages with frames that came so far, of all clients there were. */
guint64 rv_mirror_frames_in(const RvMirror *mirror);
/* Gives up the models of all devices; the next frame loads them again. `done` comes later, on the main loop,
 * when their memory is free. */
void rv_mirror_park(RvMirror *mirror, void (*done)(void *user), void *user);
/* From now on clients, their frames and watches are refused; clients are told to stop. */
void rv_mirror_refuse(RvMirror *mirror);
/* Frames that are on devices or wait to be shown. */
int rv_mirror_in_work(const RvMirror *mirror);
/* Waits for devices until `deadline_us`. Nothing of the mirror may be called any more, and the loop not be
 * run. */
void rv_mirror_free(RvMirror *mirror, gint64 deadline_us);

/* Members of the object that `json` is in: fps, frame_ms ... (fast-trt's), of the client that came last. */
void rv_mirror_add_summary(const RvMirror *mirror, JsonBuilder *json);
/* The same, and sessions, devices, frames. */
void rv_mirror_add_stats(RvMirror *mirror, JsonBuilder *json);
void rv_mirror_add_metrics(RvMirror *mirror, GString *to);
/* Objects of fast-trt's state: config, stats, status. */
void rv_mirror_add_fast_trt(const RvMirror *mirror, int http_port, JsonBuilder *json);
