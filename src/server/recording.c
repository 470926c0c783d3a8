#include "server/recording.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/json_build.h"
#include "media/recorder.h"
#include "server/log.h"
#include "server/metrics.h"

#define END_POLL_US 5000

typedef enum { INPUT, OUTPUT, N_SIDES } Side;

struct RvRecording {
    char *folder; /* NULL: cannot record */
    guint64 file_bytes;
    RvState *state;
    GPtrArray *takes; /* RvTake */
    /* Also the recorders' threads'. */
    GMutex lock;
    bool is_on;
    char *error; /* why it stopped by itself; NULL: it did not */
    guint open;  /* recorders that have not ended */
    guint round; /* how often it was switched on */
    guint64 frames, bytes, dropped;
};

/* What a recorder's thread knows of its film. */
typedef struct {
    RvRecording *recording;
    guint round; /* that it is of */
} Film;

struct RvTake {
    RvRecording *recording;
    guint64 client_id;
    gint64 start_us;
    RvRecorder *recorders[N_SIDES]; /* NULL: not on */
};

/* ---- in recorders' threads ---- */

static void
on_written(gsize bytes, void *user)
{
    RvRecording *recording = ((const Film *)user)->recording;
    g_mutex_lock(&recording->lock);
    recording->frames++;
    recording->bytes += bytes;
    g_mutex_unlock(&recording->lock);
}

static void
on_lost(void *user)
{
    RvRecording *recording = ((const Film *)user)->recording;
    g_mutex_lock(&recording->lock);
    recording->dropped++;
    g_mutex_unlock(&recording->lock);
}

/* A full disk is full for all files: the first that notices speaks. What films of before have to say when
 * recording was switched on again is no reason to stop. */
static void
on_failed(const GError *error, void *user)
{
    const Film *film = user;
    RvRecording *recording = film->recording;
    g_mutex_lock(&recording->lock);
    bool is_first = recording->error == NULL && film->round == recording->round;
    if (is_first) {
        recording->is_on = false;
        recording->error = g_strdup(error->message);
    }
    g_mutex_unlock(&recording->lock);
    if (is_first)
        rv_log(RV_LOG_ERROR, "recording-stopped", "error", error->message, NULL);
}

static void
on_ended(void *user)
{
    Film *film = user;
    RvRecording *recording = film->recording;
    g_free(film);
    g_mutex_lock(&recording->lock);
    recording->open--;
    g_mutex_unlock(&recording->lock);
}

/* ---- the whole ---- */

static bool
check_folder(const char *folder, GError **error)
{
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, folder, "make it, or choose another with --record",
                            "there is no such folder for recordings");
    g_autofree char *probe = g_build_filename(folder, ".reverie-XXXXXX", NULL);
    int fd = g_mkstemp(probe); /* rights alone do not tell: file systems may be read-only */
    if (fd < 0)
        return rv_error_set(error, RV_ERROR_USAGE, folder,
                            "check its rights, or choose another with --record",
                            "cannot keep recordings there: %s", g_strerror(errno));
    close(fd);
    unlink(probe);
    return true;
}

RvRecording *
rv_recording_new(const char *folder, int file_mb, RvState *state, GError **error)
{
    if (folder != NULL && (!check_folder(folder, error) || !rv_recorder_check(error)))
        return NULL;
    RvRecording *recording = g_new0(RvRecording, 1);
    g_mutex_init(&recording->lock);
    recording->folder = g_strdup(folder);
    recording->file_bytes = (guint64)file_mb << 20;
    recording->state = state;
    recording->takes = g_ptr_array_new();
    recording->is_on = folder != NULL;
    return recording;
}

static void
stop_take(RvTake *take)
{
    for (int i = 0; i < N_SIDES; i++)
        g_clear_pointer(&take->recorders[i], rv_recorder_close);
}

static guint
count_open(RvRecording *recording)
{
    g_mutex_lock(&recording->lock);
    guint open = recording->open;
    g_mutex_unlock(&recording->lock);
    return open;
}

void
rv_recording_free(RvRecording *recording, gint64 deadline_us)
{
    if (recording == NULL)
        return;
    for (guint i = 0; i < recording->takes->len; i++)
        stop_take(g_ptr_array_index(recording->takes, i));
    while (count_open(recording) > 0 && g_get_monotonic_time() < deadline_us)
        g_usleep(END_POLL_US);
    if (count_open(recording) > 0 || recording->takes->len > 0)
        return; /* threads or clients still hold it: the end of the process frees everything */
    g_ptr_array_unref(recording->takes);
    g_mutex_clear(&recording->lock);
    g_free(recording->folder);
    g_free(recording->error);
    g_free(recording);
}

bool
rv_recording_set(RvRecording *recording, bool on, GError **error)
{
    if (on && recording->folder == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "recording", "start the server with --record DIR",
                            "there is no folder for recordings");
    if (on && !check_folder(recording->folder, error))
        return false;
    g_mutex_lock(&recording->lock);
    bool is_change = recording->is_on != on;
    recording->is_on = on;
    recording->round += is_change && on;
    if (on)
        g_clear_pointer(&recording->error, g_free);
    g_mutex_unlock(&recording->lock);
    if (is_change) /* also when it goes on after it stopped by itself: with new files */
        for (guint i = 0; i < recording->takes->len; i++)
            stop_take(g_ptr_array_index(recording->takes, i));
    if (is_change)
        rv_log(RV_LOG_INFO, on ? "recording-on" : "recording-off", "folder", recording->folder, NULL);
    return true;
}

/* ---- takes ---- */

RvTake *
rv_take_new(RvRecording *recording, guint64 client_id)
{
    RvTake *take = g_new0(RvTake, 1);
    take->recording = recording;
    take->client_id = client_id;
    g_ptr_array_add(recording->takes, take);
    return take;
}

void
rv_take_close(RvTake *take)
{
    if (take == NULL)
        return;
    stop_take(take);
    g_ptr_array_remove(take->recording->takes, take);
    g_free(take);
}

bool
rv_take_is_on(RvTake *take)
{
    RvRecording *recording = take->recording;
    g_mutex_lock(&recording->lock);
    bool on = recording->is_on;
    g_mutex_unlock(&recording->lock);
    if (!on)
        stop_take(take);
    return on;
}

/* {"time":SECONDS of the films,"utc":TEXT,"state":{...}} */
static void
note_state(RvTake *take)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *utc = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_number(json, "time", (double)(g_get_monotonic_time() - take->start_us) * 1e-6);
    rv_json_add_text(json, "utc", utc);
    rv_json_begin_object(json, "state");
    rv_state_add_json(take->recording->state, json);
    json_builder_end_object(json);
    json_builder_end_object(json);
    rv_recorder_note(take->recorders[OUTPUT], rv_json_text(json));
}

void
rv_recording_note(RvRecording *recording)
{
    for (guint i = 0; i < recording->takes->len; i++) {
        RvTake *take = g_ptr_array_index(recording->takes, i);
        if (take->recorders[OUTPUT] != NULL)
            note_state(take);
    }
}

static RvRecorder *
open_side(RvTake *take, const char *stem, Side side)
{
    static const char *const names[] = { "input", "output" };
    RvRecording *recording = take->recording;
    Film *film = g_new(Film, 1);
    g_autofree char *path = g_strdup_printf("%s_%s", stem, names[side]);
    g_autofree char *notes = side == OUTPUT ? g_strconcat(stem, "_prompts.jsonl", NULL) : NULL;
    RvRecorderOptions options = { .stem = path,
                                  .notes_path = notes,
                                  .start_us = take->start_us,
                                  .file_bytes = recording->file_bytes,
                                  .events = { on_written, on_lost, on_failed, on_ended, film } };
    g_mutex_lock(&recording->lock);
    *film = (Film) { recording, recording->round };
    recording->open++;
    g_mutex_unlock(&recording->lock);
    return rv_recorder_new(&options);
}

/* With its first frame, whose time is then the films' 0. */
static bool
begin(RvTake *take, gint64 time_us)
{
    if (!rv_take_is_on(take))
        return false;
    if (take->recorders[INPUT] != NULL)
        return true;
    take->start_us = time_us;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%d_%H-%M-%S");
    g_autofree char *name = g_strdup_printf("%s_%" G_GUINT64_FORMAT, time, take->client_id);
    g_autofree char *stem = g_build_filename(take->recording->folder, name, NULL);
    for (int i = 0; i < N_SIDES; i++)
        take->recorders[i] = open_side(take, stem, i);
    note_state(take);
    return true;
}

static void
push(RvTake *take, Side side, const RvRecorderFrame *frame)
{
    if (!rv_recorder_push(take->recorders[side], frame))
        on_lost(take->recording);
}

void
rv_take_jpeg(RvTake *take, GBytes *message, gsize offset, gint64 time_us)
{
    RvRecorderFrame frame = { .time_us = time_us > 0 ? time_us : g_get_monotonic_time() };
    gsize size = g_bytes_get_size(message);
    if (size <= offset || !begin(take, frame.time_us))
        return;
    frame.jpeg = g_bytes_new_from_bytes(message, offset, size - offset);
    push(take, INPUT, &frame);
    g_bytes_unref(frame.jpeg);
}

static void
release_raster(gpointer raster)
{
    rv_raster_free(raster);
}

void
rv_take_picture(RvTake *take, const RvRaster *raster, gint64 time_us)
{
    RvRecorderFrame frame = { .time_us = time_us > 0 ? time_us : g_get_monotonic_time(),
                              .release = release_raster };
    gsize size;
    rv_raster_samples(raster, &size);
    if (!begin(take, frame.time_us))
        return;
    if (rv_recorder_has_room(take->recorders[INPUT], size))
        frame.raster = frame.owner = rv_raster_copy(raster, NULL);
    if (frame.raster == NULL) {
        on_lost(take->recording);
        return;
    }
    push(take, INPUT, &frame);
}

static void
release_shown(gpointer shown)
{
    rv_shown_unref(shown);
}

void
rv_take_shown(RvTake *take, RvShown *shown, GBytes *jpeg)
{
    if (!begin(take, shown->shown_us))
        return;
    RvRecorderFrame frame = { .time_us = shown->shown_us,
                              .jpeg = jpeg,
                              .raster = shown->raster,
                              .owner = rv_shown_ref(shown),
                              .release = release_shown };
    push(take, OUTPUT, &frame);
}

/* ---- figures ---- */

void
rv_recording_add_json(RvRecording *recording, JsonBuilder *json)
{
    g_mutex_lock(&recording->lock);
    rv_json_add_flag(json, "on", recording->is_on);
    rv_json_add_text(json, "folder", recording->folder != NULL ? recording->folder : "");
    rv_json_add_text(json, "error", recording->error != NULL ? recording->error : "");
    rv_json_add_int(json, "files", recording->open);
    rv_json_add_int(json, "frames", recording->frames);
    rv_json_add_int(json, "dropped", recording->dropped);
    rv_json_add_int(json, "bytes", recording->bytes);
    g_mutex_unlock(&recording->lock);
}

void
rv_recording_add_metrics(RvRecording *recording, GString *to)
{
    g_mutex_lock(&recording->lock);
    rv_metrics_head(to, "reverie_recording", "gauge", "Whether frames are recorded.");
    rv_metrics_sample(to, "reverie_recording", NULL, recording->is_on);
    rv_metrics_head(to, "reverie_recorded_frames_total", "counter", "Frames in recordings, both ways.");
    rv_metrics_sample(to, "reverie_recorded_frames_total", NULL, (double)recording->frames);
    rv_metrics_head(to, "reverie_recorded_bytes_total", "counter", "Their JPEGs.");
    rv_metrics_sample(to, "reverie_recorded_bytes_total", NULL, (double)recording->bytes);
    rv_metrics_head(to, "reverie_recording_dropped_total", "counter",
                    "Frames missing in recordings: the disk was slow, or they were no pictures.");
    rv_metrics_sample(to, "reverie_recording_dropped_total", NULL, (double)recording->dropped);
    g_mutex_unlock(&recording->lock);
}
