#include "media/video_film.h"

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <string.h>

#include "media/internal.h"
#include "media/output.h"

/* A film that gives no frame for this long is taken for broken rather than waited for. */
#define PATIENCE_US (60 * G_USEC_PER_SEC)
/* The same until a picture track shows up. Short, because decodebin (1.22) loses the error of a demuxer that
 * fails while it is being started, and nothing but time tells. */
#define TRACK_PATIENCE_US (10 * G_USEC_PER_SEC)
#define QUEUED_FRAMES 4

struct RvFilmReader {
    char *path;
    RvPictureLimits limits;
    GstElement *pipeline, *sink;
    GstPad *video; /* where the first picture track is linked to */
    GstBus *bus;
    GstSample *first; /* decoded by open, for its size */
    char *missing;    /* what a "missing plugin" message asked for */
};

struct RvFilmWriter {
    char *path;
    RvOutput *output;
    GstElement *pipeline, *source;
    GstBus *bus;
    GstVideoInfo format;
    gint64 frames;
};

static bool
start_gstreamer(GError **error)
{
    static gsize state; /* 1: failed, 2: running */
    if (g_once_init_enter(&state)) {
        g_autoptr(GError) fault = NULL;
        bool done = gst_init_check(NULL, NULL, &fault);
        if (!done)
            g_warning("GStreamer does not start: %s", fault != NULL ? fault->message : "no reason given");
        g_once_init_leave(&state, done ? 2 : 1);
    }
    return state == 2 || rv_error_set(error, RV_ERROR_FAILED, NULL, "check its installation",
                                      "GStreamer, which reads and writes films, does not start");
}

/* A new element in `pipeline` (which owns it), or an error that names the Debian package. */
static GstElement *
add_element(GstElement *pipeline, const char *factory, const char *package, const char *path, GError **error)
{
    GstElement *element = gst_element_factory_make(factory, NULL);
    if (element == NULL) {
        g_autofree char *todo = g_strdup_printf("install %s", package);
        rv_error_set(error, RV_ERROR_UNSUPPORTED, path, todo, "GStreamer has no element %s", factory);
        return NULL;
    }
    gst_bin_add(GST_BIN(pipeline), element);
    return element;
}

static void
note_missing_plugin(GstMessage *message, char **missing)
{
    const GstStructure *details = gst_message_get_structure(message);
    if (details == NULL || !gst_structure_has_name(details, "missing-plugin"))
        return;
    const char *name = gst_structure_get_string(details, "name");
    /* A film without a decoder for its sound is fine. */
    const GstCaps *caps = NULL;
    const GValue *detail = gst_structure_get_value(details, "detail");
    if (detail != NULL && GST_VALUE_HOLDS_CAPS(detail))
        caps = gst_value_get_caps(detail);
    bool is_sound = caps != NULL && gst_caps_get_size(caps) > 0 &&
                    g_str_has_prefix(gst_structure_get_name(gst_caps_get_structure(caps, 0)), "audio/");
    if (!is_sound && *missing == NULL)
        *missing = g_strdup(name != NULL ? name : "decoder");
}

static bool
report(GstMessage *message, const char *path, bool is_writing, GError **error)
{
    g_autoptr(GError) fault = NULL;
    gst_message_parse_error(message, &fault, NULL);
    if (!is_writing)
        return rv_error_set(error, RV_ERROR_INVALID, path, "give another film", "cannot read film: %s",
                            fault->message);
    bool is_full = g_error_matches(fault, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
    return rv_error_set(error, fault->domain == GST_RESOURCE_ERROR ? RV_ERROR_IO : RV_ERROR_FAILED, path,
                        is_full ? "make room on the disk"
                                : "try another size or another ending: mp4, mkv, webm",
                        "cannot write film: %s", fault->message);
}

/* --- reading --- */

static bool
reader_failed(RvFilmReader *reader, GstMessage *message, GError **error)
{
    if (reader->missing != NULL)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, reader->path,
                            "install gstreamer1.0-libav and gstreamer1.0-plugins-bad",
                            "GStreamer cannot decode this film, it lacks: %s", reader->missing);
    if (reader->first == NULL && !gst_pad_is_linked(reader->video))
        return rv_error_set(error, RV_ERROR_INVALID, reader->path, "give a film",
                            "no picture track in this file");
    return report(message, reader->path, false, error);
}

/* True when no error waits on the bus. */
static bool
reader_is_well(RvFilmReader *reader, GError **error)
{
    for (;;) {
        g_autoptr(GstMessage) message =
            gst_bus_pop_filtered(reader->bus, GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT);
        if (message == NULL)
            return true;
        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
            return reader_failed(reader, message, error);
        note_missing_plugin(message, &reader->missing);
    }
}

/* The next decoded frame; NULL in *sample at the end. */
static bool
pull(RvFilmReader *reader, GstSample **sample, GError **error)
{
    gint64 start = g_get_monotonic_time(), waited = 0;
    bool has_track = false;
    while (waited < (has_track ? PATIENCE_US : TRACK_PATIENCE_US)) {
        *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(reader->sink), 50 * GST_MSECOND);
        if (*sample != NULL)
            return true;
        if (!reader_is_well(reader, error))
            return false;
        if (gst_app_sink_is_eos(GST_APP_SINK(reader->sink)))
            return true;
        has_track = gst_pad_is_linked(reader->video);
        waited = g_get_monotonic_time() - start;
    }
    return rv_error_set(error, RV_ERROR_INVALID, reader->path, "give another film",
                        has_track ? "the film gave no frame for %d seconds"
                                  : "no picture track was found in this file within %d seconds",
                        (int)(waited / G_USEC_PER_SEC));
}

static void
on_pad_added(GstElement *decoder, GstPad *pad, gpointer data)
{
    RvFilmReader *reader = data;
    g_autoptr(GstCaps) caps = gst_pad_get_current_caps(pad);
    if (caps == NULL)
        caps = gst_pad_query_caps(pad, NULL);
    if (gst_caps_get_size(caps) > 0 &&
        g_str_has_prefix(gst_structure_get_name(gst_caps_get_structure(caps, 0)), "video/x-raw") &&
        !gst_pad_is_linked(reader->video))
        gst_pad_link(pad, reader->video);
}

static bool
build_reader(RvFilmReader *reader, GError **error)
{
    static const char base_plugins[] = "gstreamer1.0-plugins-base";
    reader->pipeline = gst_pipeline_new(NULL);
    reader->bus = gst_element_get_bus(reader->pipeline);
    GstElement *decoder = add_element(reader->pipeline, "uridecodebin", base_plugins, reader->path, error);
    GstElement *convert =
        decoder == NULL ? NULL
                        : add_element(reader->pipeline, "videoconvert", base_plugins, reader->path, error);
    GstElement *scale = convert == NULL
                            ? NULL
                            : add_element(reader->pipeline, "videoscale", base_plugins, reader->path, error);
    GstElement *flip = scale == NULL ? NULL
                                     : add_element(reader->pipeline, "videoflip", "gstreamer1.0-plugins-good",
                                                   reader->path, error);
    reader->sink =
        flip == NULL ? NULL : add_element(reader->pipeline, "appsink", base_plugins, reader->path, error);
    if (reader->sink == NULL)
        return false;
    g_autofree char *absolute = g_canonicalize_filename(reader->path, NULL);
    g_autofree char *uri = g_filename_to_uri(absolute, NULL, NULL);
    g_object_set(decoder, "uri", uri, NULL);
    gst_util_set_object_arg(G_OBJECT(flip), "video-direction",
                            "auto"); /* phones say which way is up in a tag */
    g_autoptr(GstCaps) caps = gst_caps_from_string("video/x-raw,format=RGB,pixel-aspect-ratio=1/1");
    g_object_set(reader->sink, "caps", caps, "sync", FALSE, "max-buffers", QUEUED_FRAMES, NULL);
    gst_element_link_many(convert, scale, flip, reader->sink, NULL);
    reader->video = gst_element_get_static_pad(convert, "sink");
    g_signal_connect(decoder, "pad-added", G_CALLBACK(on_pad_added), reader);
    return true;
}

static void
fill_info(RvFilmReader *reader, RvVideoInfo *info)
{
    GstVideoInfo format;
    gst_video_info_from_caps(&format, gst_sample_get_caps(reader->first));
    *info = (RvVideoInfo) { format.width, format.height, format.fps_n, MAX(format.fps_d, 1), -1 };
    gint64 duration;
    if (info->rate_numerator > 0 &&
        gst_element_query_duration(reader->pipeline, GST_FORMAT_TIME, &duration) && duration > 0)
        info->frames = (gint64)gst_util_uint64_scale_round((guint64)duration, (guint64)info->rate_numerator,
                                                           (guint64)info->rate_denominator * GST_SECOND);
}

RvFilmReader *
rv_film_reader_open(const char *path, const RvPictureLimits *limits, RvVideoInfo *info, GError **error)
{
    if (!start_gstreamer(error))
        return NULL;
    RvFilmReader *reader = g_new0(RvFilmReader, 1);
    reader->path = g_strdup(path);
    if (limits != NULL)
        reader->limits = *limits;
    if (reader->limits.pixels == 0)
        reader->limits.pixels = (gint64)64 << 20;
    bool done = build_reader(reader, error);
    if (done) {
        gst_element_set_state(reader->pipeline, GST_STATE_PLAYING);
        done = pull(reader, &reader->first, error);
    }
    if (done && reader->first == NULL)
        done = rv_error_set(error, RV_ERROR_INVALID, path, "give another film", "the film has no frames");
    if (!done) {
        rv_film_reader_close(reader);
        return NULL;
    }
    fill_info(reader, info);
    return reader;
}

static RvPicture *
picture_from_sample(RvFilmReader *reader, GstSample *sample, GError **error)
{
    RvPictureSource source = { .name = reader->path, .limits = reader->limits };
    GstVideoInfo format;
    GstVideoFrame frame;
    if (!gst_video_info_from_caps(&format, gst_sample_get_caps(sample)) ||
        !gst_video_frame_map(&frame, &format, gst_sample_get_buffer(sample), GST_MAP_READ)) {
        rv_error_set(error, RV_ERROR_INVALID, reader->path, "give another film", "unreadable frame");
        return NULL;
    }
    RvPicture *picture = NULL;
    if (rv_picture_check_size(&source, format.width, format.height, error))
        picture = rv_picture_new(format.width, format.height, false, error);
    gsize row = 3 * (gsize)format.width;
    for (int y = 0; picture != NULL && y < format.height; y++)
        memcpy(picture->rgb + (gsize)y * row,
               (const guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
                   y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0),
               row);
    gst_video_frame_unmap(&frame);
    return picture;
}

static bool
take_sample(RvFilmReader *reader, GstSample **sample, GError **error)
{
    *sample = g_steal_pointer(&reader->first);
    return *sample != NULL || pull(reader, sample, error);
}

bool
rv_film_reader_next(RvFilmReader *reader, RvPicture **frame, GError **error)
{
    *frame = NULL;
    g_autoptr(GstSample) sample = NULL;
    if (!take_sample(reader, &sample, error))
        return false;
    if (sample == NULL)
        return true;
    *frame = picture_from_sample(reader, sample, error);
    return *frame != NULL;
}

bool
rv_film_reader_skip(RvFilmReader *reader, gint64 count, GError **error)
{
    for (gint64 i = 0; i < count; i++) {
        g_autoptr(GstSample) sample = NULL;
        if (!take_sample(reader, &sample, error))
            return false;
        if (sample == NULL)
            break;
    }
    return true;
}

void
rv_film_reader_close(RvFilmReader *reader)
{
    gst_element_set_state(reader->pipeline, GST_STATE_NULL);
    g_clear_pointer(&reader->first, gst_sample_unref);
    g_clear_object(&reader->video);
    gst_object_unref(reader->bus);
    gst_object_unref(reader->pipeline);
    g_free(reader->missing);
    g_free(reader->path);
    g_free(reader);
}

/* --- writing --- */

static GstElement *
make_h264(GstElement *pipeline)
{
    GstElement *encoder = gst_element_factory_make("x264enc", NULL);
    if (encoder != NULL) {
        gst_util_set_object_arg(G_OBJECT(encoder), "pass", "qual");
        gst_util_set_object_arg(G_OBJECT(encoder), "speed-preset", "fast");
        g_object_set(encoder, "quantizer", 18, NULL);
    } else if ((encoder = gst_element_factory_make("openh264enc", NULL)) != NULL) {
        gst_util_set_object_arg(G_OBJECT(encoder), "rate-control", "off");
        g_object_set(encoder, "qp-min", 18, "qp-max", 24, NULL);
    }
    if (encoder != NULL)
        gst_bin_add(GST_BIN(pipeline), encoder);
    return encoder;
}

static GstElement *
add_encoder(RvFilmWriter *writer, bool is_webm, GError **error)
{
    GstElement *encoder;
    if (is_webm) {
        encoder = add_element(writer->pipeline, "vp8enc", "gstreamer1.0-plugins-good", writer->path, error);
        if (encoder == NULL)
            return NULL;
        gst_util_set_object_arg(G_OBJECT(encoder), "end-usage", "cq");
        g_object_set(encoder, "cq-level", 10, "deadline", (gint64)1, "cpu-used", 4, "target-bitrate",
                     20000000, NULL);
        return encoder;
    }
    encoder = make_h264(writer->pipeline);
    if (encoder == NULL)
        rv_error_set(error, RV_ERROR_UNSUPPORTED, writer->path,
                     "install gstreamer1.0-plugins-ugly, or let the name end in .webm",
                     "GStreamer has no H.264 encoder");
    return encoder;
}

/* Openh264 writes a byte stream, which only a parser turns into what the containers take; x264 needs none. */
static GstElement *
add_parser(RvFilmWriter *writer, GstElement *encoder, GError **error)
{
    g_autofree char *factory = gst_object_get_name(GST_OBJECT(gst_element_get_factory(encoder)));
    if (strcmp(factory, "openh264enc") == 0)
        return add_element(writer->pipeline, "h264parse", "gstreamer1.0-plugins-bad", writer->path, error);
    return add_element(writer->pipeline, "identity", "libgstreamer1.0-0", writer->path, error);
}

static bool
build_writer(RvFilmWriter *writer, GError **error)
{
    g_autofree char *name = g_ascii_strdown(writer->path, -1);
    bool is_webm = g_str_has_suffix(name, ".webm");
    const char *container = is_webm                          ? "webmmux"
                            : g_str_has_suffix(name, ".mkv") ? "matroskamux"
                            : g_str_has_suffix(name, ".mov") ? "qtmux"
                                                             : "mp4mux";
    GstElement *pipeline = writer->pipeline, *elements[7] = { NULL };
    bool done =
        (elements[0] = add_element(pipeline, "appsrc", "gstreamer1.0-plugins-base", writer->path, error)) &&
        (elements[1] =
             add_element(pipeline, "videoconvert", "gstreamer1.0-plugins-base", writer->path, error)) &&
        (elements[2] = add_element(pipeline, "capsfilter", "libgstreamer1.0-0", writer->path, error)) &&
        (elements[3] = add_encoder(writer, is_webm, error)) &&
        (elements[4] = add_parser(writer, elements[3], error)) &&
        (elements[5] = add_element(pipeline, container, "gstreamer1.0-plugins-good", writer->path, error)) &&
        (elements[6] = add_element(pipeline, "filesink", "libgstreamer1.0-0", writer->path, error));
    if (!done)
        return false;
    writer->source = elements[0];
    g_autoptr(GstCaps) raw = gst_video_info_to_caps(&writer->format);
    g_object_set(elements[0], "caps", raw, "format", GST_FORMAT_TIME, NULL);
    g_autoptr(GstCaps) planar =
        gst_caps_from_string("video/x-raw,format=I420"); /* what every player decodes */
    g_object_set(elements[2], "caps", planar, NULL);
    g_object_set(elements[6], "location", rv_output_temporary_path(writer->output), NULL);
    if (!gst_element_link_many(elements[0], elements[1], elements[2], elements[3], elements[4], elements[5],
                               elements[6], NULL))
        return rv_error_set(error, RV_ERROR_FAILED, writer->path, NULL, "GStreamer cannot join its elements");
    return true;
}

RvFilmWriter *
rv_film_writer_open(const char *path, const RvVideoWriterOptions *options, GError **error)
{
    if (options->width % 2 != 0 || options->height % 2 != 0 || options->rate_numerator <= 0 ||
        options->rate_denominator <= 0) {
        rv_error_set(error, RV_ERROR_USAGE, path, "give even sizes and a positive frame rate",
                     "cannot write a film of %d x %d pixels, %d/%d frames a second", options->width,
                     options->height, options->rate_numerator, options->rate_denominator);
        return NULL;
    }
    if (!start_gstreamer(error))
        return NULL;
    RvOutput *output = rv_output_open(path, error);
    if (output == NULL)
        return NULL;
    RvFilmWriter *writer = g_new0(RvFilmWriter, 1);
    writer->path = g_strdup(path);
    writer->output = output;
    writer->pipeline = gst_pipeline_new(NULL);
    writer->bus = gst_element_get_bus(writer->pipeline);
    gst_video_info_set_format(&writer->format, GST_VIDEO_FORMAT_RGB, (guint)options->width,
                              (guint)options->height);
    writer->format.fps_n = options->rate_numerator;
    writer->format.fps_d = options->rate_denominator;
    if (!build_writer(writer, error)) {
        rv_film_writer_close(writer);
        return NULL;
    }
    gst_element_set_state(writer->pipeline, GST_STATE_PLAYING);
    return writer;
}

/* Waits up to `patience` for an error or one of `types`; false when an error came. */
static bool
wait_for(RvFilmWriter *writer, GstMessageType types, GstClockTime patience, bool *came, GError **error)
{
    g_autoptr(GstMessage) message =
        gst_bus_timed_pop_filtered(writer->bus, patience, GST_MESSAGE_ERROR | types);
    if (message != NULL && GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
        return report(message, writer->path, true, error);
    *came = message != NULL;
    return true;
}

/* Waits here and not in a blocking appsrc, which would sleep for ever when the disk is full. */
static bool
wait_for_room(RvFilmWriter *writer, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
    bool came, is_full = true;
    for (GstClockTime patience = 0; is_full; patience = 10 * GST_MSECOND) {
        if (!wait_for(writer, 0, patience, &came, error))
            return false;
        is_full = gst_app_src_get_current_level_buffers(GST_APP_SRC(writer->source)) >= QUEUED_FRAMES;
        if (is_full && g_get_monotonic_time() > deadline)
            return rv_error_set(error, RV_ERROR_FAILED, writer->path, NULL,
                                "the video encoder does not go on");
    }
    return true;
}

bool
rv_film_writer_add(RvFilmWriter *writer, const RvPicture *picture, GError **error)
{
    if (!wait_for_room(writer, error))
        return false;
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, writer->format.size, NULL);
    GstVideoFrame frame;
    if (buffer == NULL || !gst_video_frame_map(&frame, &writer->format, buffer, GST_MAP_WRITE))
        return rv_error_set(error, RV_ERROR_NO_MEMORY, writer->path, NULL, "no memory for a frame");
    gsize row = 3 * (gsize)picture->width;
    for (int y = 0; y < picture->height; y++)
        memcpy((guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) + y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0),
               picture->rgb + (gsize)y * row, row);
    gst_video_frame_unmap(&frame);
    guint64 tick = (guint64)writer->format.fps_d * GST_SECOND, rate = (guint64)writer->format.fps_n;
    GST_BUFFER_PTS(buffer) = gst_util_uint64_scale((guint64)writer->frames, tick, rate);
    GST_BUFFER_DURATION(buffer) =
        gst_util_uint64_scale((guint64)writer->frames + 1, tick, rate) - GST_BUFFER_PTS(buffer);
    writer->frames++;
    bool came;
    if (gst_app_src_push_buffer(GST_APP_SRC(writer->source), buffer) == GST_FLOW_OK)
        return true;
    return wait_for(writer, 0, GST_SECOND, &came, error) &&
           rv_error_set(error, RV_ERROR_FAILED, writer->path, NULL, "the video encoder takes no more frames");
}

bool
rv_film_writer_finish(RvFilmWriter *writer, GError **error)
{
    if (writer->frames == 0)
        return rv_error_set(error, RV_ERROR_FAILED, writer->path, NULL, "the film has no frames");
    gst_app_src_end_of_stream(GST_APP_SRC(writer->source));
    bool is_done = false;
    /* The encoder still holds the frames it looks ahead at. */
    if (!wait_for(writer, GST_MESSAGE_EOS, 10 * 60 * GST_SECOND, &is_done, error))
        return false;
    if (!is_done)
        return rv_error_set(error, RV_ERROR_FAILED, writer->path, NULL, "the video encoder does not finish");
    gst_element_set_state(writer->pipeline, GST_STATE_NULL);
    return rv_output_commit(writer->output, error);
}

void
rv_film_writer_close(RvFilmWriter *writer)
{
    gst_element_set_state(writer->pipeline, GST_STATE_NULL);
    gst_object_unref(writer->bus);
    gst_object_unref(writer->pipeline);
    rv_output_free(writer->output);
    g_free(writer->path);
    g_free(writer);
}
