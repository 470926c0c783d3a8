/* recorder.h - one stream of live frames into films: Motion-JPEG in Matroska, as the frames come.
 *
 * A recorder has a bounded queue and a thread of its own (of low priority), which encodes what is not JPEG
 * yet, multiplexes and writes. Giving it a frame never waits: a full queue refuses it. Files are written
 * without a buffer of the process, so that one whose process was killed is playable up to its last frame.
 * The first file is STEM.mkv; another, STEM-2.mkv and so on, begins when it has grown to its limit, when
 * the pictures change in size, and instead of a file that is there already. */
#pragma once
#include <gio/gio.h>

#include "media/raster.h"

typedef struct RvRecorder RvRecorder;

/* Called in the recorder's thread, `ended` last of all. */
typedef struct {
    void (*written)(gsize bytes, void *user);        /* a frame, as JPEG */
    void (*lost)(void *user);                        /* a frame that was no picture */
    void (*failed)(const GError *error, void *user); /* once; nothing is written after */
    void (*ended)(void *user);
    void *user;
} RvRecorderEvents;

typedef struct {
    const char *stem;       /* path without ending; copied */
    const char *notes_path; /* file that notes are appended to; NULL: it takes none; copied */
    gint64 start_us;        /* g_get_monotonic_time() that is the first file's time 0 */
    guint64 file_bytes;     /* the limit of a file */
    RvRecorderEvents events;
} RvRecorderOptions;

/* A frame: its JPEG, or its pixels, or both; pixels are taken when the JPEG has not their size. */
typedef struct {
    gint64 time_us;         /* g_get_monotonic_time() when it came or was shown */
    GBytes *jpeg;           /* may be NULL; a reference is taken */
    const RvRaster *raster; /* may be NULL */
    gpointer owner;         /* keeps `raster`; handed over, refused or not */
    GDestroyNotify release;
} RvRecorderFrame;

/* Whether films can be written here: starts GStreamer. RV_ERROR_UNSUPPORTED names what is missing. */
bool rv_recorder_check(GError **error);
RvRecorder *rv_recorder_new(const RvRecorderOptions *options);
/* False when there is no room in the queue. One thread at a time. */
bool rv_recorder_has_room(RvRecorder *recorder, gsize bytes);
bool rv_recorder_push(RvRecorder *recorder, const RvRecorderFrame *frame);
/* A line for the notes, taken over. */
void rv_recorder_note(RvRecorder *recorder, char *line);
/* What is queued is still written; then the thread ends and frees the recorder. Does not wait. Accepts
 * NULL. */
void rv_recorder_close(RvRecorder *recorder);
