#include "media/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <turbojpeg.h>

#include "base/error.h"
#include "media/jpeg_codec.h"

#define MAX_QUEUED 32
#define MAX_QUEUED_BYTES (64u << 20)
#define MAX_NOTES 256
#define MAX_PARTS 10000
#define QUALITY 90
#define MIN_SIDE 16               /* of Matroska's pictures here */
#define UNWRITTEN_BYTES (4 << 20) /* that GStreamer may hold */
#define WAIT (20 * GST_MSECOND)
#define END_WAIT (10 * GST_SECOND)
#define NICE 10

typedef enum { FRAME, NOTE, END } ItemKind;

typedef struct {
    ItemKind kind;
    RvRecorderFrame frame;
    char *line;
    gsize bytes;
} Item;

struct RvRecorder {
    char *stem, *notes_path;
    gint64 start_us;
    guint64 file_bytes;
    RvRecorderEvents events;
    GAsyncQueue *queue;
    int queued, notes;  /* atomic */
    gsize queued_bytes; /* atomic */
    /* The thread's own. */
    RvJpegCodec *codec;
    tjhandle header;
    GstElement *pipeline;
    GstAppSrc *source;
    GstBus *bus;
    char *path; /* of the open file */
    int fd, notes_fd, part, width, height;
    guint64 part_bytes;
    gint64 part_us, last_us; /* time 0 of the file; of its last frame */
    bool has_failed;
};

static void
item_free(Item *item)
{
    if (item->frame.jpeg != NULL)
        g_bytes_unref(item->frame.jpeg);
    if (item->frame.release != NULL)
        item->frame.release(item->frame.owner);
    g_free(item->line);
    g_free(item);
}

bool
rv_recorder_check(GError **error)
{
    static const char *const elements[] = { "appsrc", "matroskamux", "fdsink" };
    if (!gst_init_check(NULL, NULL, NULL))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, "recording", "check its installation",
                            "GStreamer, which writes films, does not start");
    for (gsize i = 0; i < G_N_ELEMENTS(elements); i++) {
        g_autoptr(GstElementFactory) factory = gst_element_factory_find(elements[i]);
        if (factory == NULL)
            return rv_error_set(error, RV_ERROR_UNSUPPORTED, "recording",
                                "install gstreamer1.0-plugins-base and gstreamer1.0-plugins-good",
                                "GStreamer has no element %s", elements[i]);
    }
    return true;
}

/* ---- one file ---- */

/* The next name that is free. */
static bool
create_file(RvRecorder *r, GError **error)
{
    while (++r->part <= MAX_PARTS) {
        g_free(r->path);
        r->path = r->part == 1 ? g_strconcat(r->stem, ".mkv", NULL)
                               : g_strdup_printf("%s-%d.mkv", r->stem, r->part);
        r->fd = open(r->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        if (r->fd >= 0)
            return true;
        if (errno != EEXIST)
            return rv_error_set(error, RV_ERROR_IO, r->path, "check the folder of --record",
                                "cannot write the recording: %s", g_strerror(errno));
    }
    return rv_error_set(error, RV_ERROR_IO, r->stem, "raise --record-limit",
                        "the recording has too many files");
}

static void
build_pipeline(RvRecorder *r)
{
    GstElement *source = gst_element_factory_make("appsrc", NULL),
               *mux = gst_element_factory_make("matroskamux", NULL),
               *sink = gst_element_factory_make("fdsink", NULL);
    g_autoptr(GstCaps) caps =
        gst_caps_new_simple("image/jpeg", "width", G_TYPE_INT, r->width, "height", G_TYPE_INT, r->height,
                            "framerate", GST_TYPE_FRACTION, 0, 1, NULL);
    r->pipeline = gst_pipeline_new(NULL);
    r->source = g_object_ref_sink(GST_APP_SRC(source));
    g_object_set(source, "caps", caps, "format", GST_FORMAT_TIME, NULL);
    g_object_set(mux, "writing-app", "reverie", NULL);
    g_object_set(sink, "fd", r->fd, "sync", FALSE, NULL);
    gst_bin_add_many(GST_BIN(r->pipeline), source, mux, sink, NULL);
    gst_element_link_many(source, mux, sink, NULL);
    r->bus = gst_element_get_bus(r->pipeline);
}

static bool
read_fault(RvRecorder *r, GstMessage *message, GError **error)
{
    g_autoptr(GError) fault = NULL;
    g_autofree char *debug = NULL;
    gst_message_parse_error(message, &fault, &debug);
    return rv_error_set(error, RV_ERROR_IO, r->path, "make room there, or look at the disk",
                        "the recording cannot be written: %s", fault->message);
}

/* False once an element has failed; `wait` for that at most. */
static bool
is_well(RvRecorder *r, GstClockTime wait, GError **error)
{
    g_autoptr(GstMessage) message = gst_bus_timed_pop_filtered(r->bus, wait, GST_MESSAGE_ERROR);
    return message == NULL || read_fault(r, message, error);
}

static void
drop_file(RvRecorder *r)
{
    if (r->pipeline != NULL)
        gst_element_set_state(r->pipeline, GST_STATE_NULL);
    g_clear_object(&r->bus);
    g_clear_object(&r->source);
    g_clear_object(&r->pipeline);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static bool
open_file(RvRecorder *r, gint64 time_us, GError **error)
{
    bool is_first = r->path == NULL;
    if (!create_file(r, error))
        return false;
    r->part_us = is_first ? r->start_us : time_us;
    r->last_us = r->part_us;
    r->part_bytes = 0;
    build_pipeline(r);
    if (gst_element_set_state(r->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
        return rv_error_set(error, RV_ERROR_IO, r->path, "check GStreamer's installation",
                            "the recording cannot be written");
    return true;
}

/* Writes the index; without it (a kill, a full disk) players read through the file. */
static bool
finish_file(RvRecorder *r, GError **error)
{
    if (r->pipeline == NULL)
        return true;
    gst_app_src_end_of_stream(r->source);
    g_autoptr(GstMessage) message =
        gst_bus_timed_pop_filtered(r->bus, END_WAIT, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    bool ok =
        message == NULL || GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS || read_fault(r, message, error);
    drop_file(r);
    return ok;
}

/* ---- frames ---- */

/* The JPEG as it came or went, when it is whole enough to have a size and that is the picture's. */
static GBytes *
jpeg_of(RvRecorder *r, const RvRecorderFrame *frame, int *width, int *height)
{
    const RvRaster *raster = frame->raster;
    int subsampling, colours;
    if (frame->jpeg != NULL &&
        tjDecompressHeader3(r->header, g_bytes_get_data(frame->jpeg, NULL), g_bytes_get_size(frame->jpeg),
                            width, height, &subsampling, &colours) == 0 &&
        (raster == NULL || (*width == raster->width && *height == raster->height)))
        return g_bytes_ref(frame->jpeg);
    if (raster == NULL)
        return NULL;
    *width = raster->width;
    *height = raster->height;
    return rv_jpeg_codec_encode_raster(r->codec, raster, 0, 0, QUALITY, NULL);
}

static bool
write_jpeg(RvRecorder *r, GBytes *jpeg, gint64 time_us, GError **error)
{
    GstBuffer *buffer = gst_buffer_new_wrapped_bytes(jpeg);
    r->last_us = MAX(r->last_us, time_us);
    GST_BUFFER_PTS(buffer) = GST_BUFFER_DTS(buffer) = (GstClockTime)(r->last_us - r->part_us) * GST_USECOND;
    gst_app_src_push_buffer(r->source, buffer);
    r->part_bytes += g_bytes_get_size(jpeg);
    /* A slow disk lets frames wait in the queue, which is what counts and drops them. */
    while (is_well(r, 0, error)) {
        if (gst_app_src_get_current_level_bytes(r->source) < UNWRITTEN_BYTES)
            return true;
        if (!is_well(r, WAIT, error))
            return false;
    }
    return false;
}

static bool
write_frame(RvRecorder *r, const RvRecorderFrame *frame, GError **error)
{
    int width = 0, height = 0;
    g_autoptr(GBytes) jpeg = jpeg_of(r, frame, &width, &height);
    if (jpeg == NULL || width < MIN_SIDE || height < MIN_SIDE) {
        r->events.lost(r->events.user);
        return true;
    }
    bool is_other = width != r->width || height != r->height || r->part_bytes >= r->file_bytes;
    if (is_other && !finish_file(r, error))
        return false;
    r->width = width;
    r->height = height;
    if ((r->pipeline == NULL && !open_file(r, frame->time_us, error)) ||
        !write_jpeg(r, jpeg, frame->time_us, error))
        return false;
    r->events.written(g_bytes_get_size(jpeg), r->events.user);
    return true;
}

static bool
write_note(RvRecorder *r, const char *line, GError **error)
{
    if (r->notes_fd < 0)
        r->notes_fd = open(r->notes_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    gssize size = (gssize)strlen(text);
    errno = 0;
    if (r->notes_fd >= 0 && write(r->notes_fd, text, (gsize)size) == size)
        return true;
    return rv_error_set(error, RV_ERROR_IO, r->notes_path, "make room there, or look at the disk",
                        "the recording cannot be written: %s", g_strerror(errno != 0 ? errno : ENOSPC));
}

/* ---- the thread ---- */

static void
do_item(RvRecorder *r, const Item *item)
{
    g_autoptr(GError) error = NULL;
    if (r->has_failed) {
        if (item->kind == FRAME)
            r->events.lost(r->events.user);
        return;
    }
    if (item->kind == FRAME ? write_frame(r, &item->frame, &error) : write_note(r, item->line, &error))
        return;
    r->has_failed = true;
    drop_file(r);
    r->events.failed(error, r->events.user);
}

static void
recorder_free(RvRecorder *r)
{
    rv_jpeg_codec_free(r->codec);
    tjDestroy(r->header);
    if (r->notes_fd >= 0)
        close(r->notes_fd);
    g_async_queue_unref(r->queue);
    g_free(r->stem);
    g_free(r->notes_path);
    g_free(r->path);
    g_free(r);
}

static gpointer
run(gpointer data)
{
    RvRecorder *r = data;
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    r->codec = rv_jpeg_codec_new();
    r->header = tjInitDecompress();
    for (bool is_over = false; !is_over;) {
        Item *item = g_async_queue_pop(r->queue);
        is_over = item->kind == END;
        if (!is_over)
            do_item(r, item);
        g_atomic_int_add(item->kind == FRAME ? &r->queued : &r->notes, -1);
        g_atomic_pointer_add(&r->queued_bytes, -(gssize)item->bytes);
        item_free(item);
    }
    g_autoptr(GError) error = NULL;
    if (!finish_file(r, &error))
        r->events.failed(error, r->events.user);
    RvRecorderEvents events = r->events;
    recorder_free(r);
    events.ended(events.user);
    return NULL;
}

RvRecorder *
rv_recorder_new(const RvRecorderOptions *options)
{
    RvRecorder *r = g_new0(RvRecorder, 1);
    r->stem = g_strdup(options->stem);
    r->notes_path = g_strdup(options->notes_path);
    r->start_us = options->start_us;
    r->file_bytes = options->file_bytes;
    r->events = options->events;
    r->queue = g_async_queue_new();
    r->fd = r->notes_fd = -1;
    g_thread_unref(g_thread_new("recorder", run, r));
    return r;
}

bool
rv_recorder_has_room(RvRecorder *recorder, gsize bytes)
{
    int queued = g_atomic_int_get(&recorder->queued);
    gsize waiting = (gsize)g_atomic_pointer_get(&recorder->queued_bytes);
    return queued == 0 || (queued < MAX_QUEUED && waiting + bytes <= MAX_QUEUED_BYTES);
}

bool
rv_recorder_push(RvRecorder *recorder, const RvRecorderFrame *frame)
{
    Item *item = g_new0(Item, 1);
    item->frame = *frame;
    if (frame->raster != NULL)
        rv_raster_samples(frame->raster, &item->bytes);
    if (frame->jpeg != NULL)
        item->bytes += g_bytes_get_size(g_bytes_ref(frame->jpeg));
    if (!rv_recorder_has_room(recorder, item->bytes)) {
        item_free(item);
        return false;
    }
    g_atomic_int_inc(&recorder->queued);
    g_atomic_pointer_add(&recorder->queued_bytes, (gssize)item->bytes);
    g_async_queue_push(recorder->queue, item);
    return true;
}

void
rv_recorder_note(RvRecorder *recorder, char *line)
{
    Item *item = g_new0(Item, 1);
    item->kind = NOTE;
    item->line = line;
    if (recorder->notes_path == NULL || g_atomic_int_get(&recorder->notes) >= MAX_NOTES) {
        item_free(item);
        return;
    }
    g_atomic_int_inc(&recorder->notes);
    g_async_queue_push(recorder->queue, item);
}

void
rv_recorder_close(RvRecorder *recorder)
{
    if (recorder == NULL)
        return;
    Item *item = g_new0(Item, 1);
    item->kind = END;
    g_atomic_int_inc(&recorder->notes);
    g_async_queue_push(recorder->queue, item);
}
