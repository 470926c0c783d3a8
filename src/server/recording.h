/* recording.h - what mirrors were sent and shown, kept as films: two files a client, and a list of the live
 * parameters as they changed.
 *
 * Main loop only, and nothing here waits for a disk: media/recorder.h has a thread for each file. When one
 * cannot be written, recording stops, with one line in the log, and the show goes on. */
#pragma once
#include <json-glib/json-glib.h>

#include "server/client.h"
#include "server/state.h"

typedef struct RvRecording RvRecording;
typedef struct RvTake RvTake; /* of one client */

/* On from the start with a `folder`, else never. `file_mb`: limit of a file. RV_ERROR_NOT_FOUND when there is
 * no such folder, RV_ERROR_USAGE when it cannot be written to, RV_ERROR_UNSUPPORTED without GStreamer's
 * elements. Borrows `state`. */
RvRecording *rv_recording_new(const char *folder, int file_mb, RvState *state, GError **error);
/* Waits until files are whole, or for `deadline_us`; what is not done by then is left to its threads. */
void rv_recording_free(RvRecording *recording, gint64 deadline_us); /* accepts NULL */
/* RV_ERROR_USAGE to begin without a folder. */
bool rv_recording_set(RvRecording *recording, bool on, GError **error);
/* The live parameters changed. */
void rv_recording_note(RvRecording *recording);
/* The members on, folder, error, files, frames, dropped, bytes. */
void rv_recording_add_json(RvRecording *recording, JsonBuilder *json);
void rv_recording_add_metrics(RvRecording *recording, GString *to);

RvTake *rv_take_new(RvRecording *recording, guint64 client_id);
void rv_take_close(RvTake *take); /* accepts NULL */
/* Whether frames are wanted now. */
bool rv_take_is_on(RvTake *take);
/* A frame that came as JPEG, `offset` bytes into `message`. `time_us` 0: now. */
void rv_take_jpeg(RvTake *take, GBytes *message, gsize offset, gint64 time_us);
/* A frame that came otherwise; it is copied. */
void rv_take_picture(RvTake *take, const RvRaster *raster, gint64 time_us);
/* A picture that was shown; `jpeg`: as it was sent, or NULL. */
void rv_take_shown(RvTake *take, RvShown *shown, GBytes *jpeg);
