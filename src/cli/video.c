/* video.c - `reverie video`: every frame of a film or folder, offline, picking up where a run was cut off.
 *
 * Finished frames go into a folder of numbered pictures: the output itself, or, for a film, OUT.parts beside
 * it until the film is whole. A file there says with which settings they were drawn; other settings are
 * refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "base/error.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/networks.h"
#include "engine/framer.h"
#include "media/output.h"
#include "media/video.h"

#define SETTINGS_FILE "reverie-video.txt"

static const GOptionEntry video_entries[] = {
    { "input", 'i', 0, G_OPTION_ARG_FILENAME, &rv_generate_options.input, "Film, or folder of pictures",
      "IN" },
    { "strength", 0, 0, G_OPTION_ARG_DOUBLE, &rv_generate_options.strength,
      "How much may change: 0 nothing, 1 all (default: 0.75; turbo models 0.5)", "X" },
    { 0 },
};

typedef struct {
    RvVideoReader *reader;
    char *folder; /* of finished frames */
    gint64 done;
    bool is_film;
    RvEngine *engine;
    RvPipeline *pipeline;
    RvRequest request;
    RvRequestNetworks networks;
    RvFramer *framer; /* NULL when frames are drawn step by step */
} Video;

static const char *
or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static char *
settings_text(const Video *v)
{
    const RvGenerateOptions *o = &rv_generate_options;
    const RvRequest *r = &v->request;
    g_autofree char *input = g_canonicalize_filename(o->input, NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text,
                           "input %s\nmodel %s\nprompt %s\nnegative %s\nsyntax %d\nsize %dx%d\nsteps %d\n",
                           input, rv_pipeline_name(v->pipeline), or_empty(o->prompt), or_empty(o->negative),
                           r->syntax, r->width, r->height, r->steps);
    g_string_append_printf(text,
                           "cfg %.17g\nstrength %.17g\neta %.17g\nseed %" G_GUINT64_FORMAT
                           "\nsampler %s\nschedule %s\nnoise %d\n",
                           r->cfg_scale, r->strength, r->eta, r->seed, or_empty(o->sampler),
                           or_empty(o->schedule), r->noise);
    g_string_append_printf(text, "clip skip %d\nprediction %s\nvae %s\ntokenizer %s\n", r->clip_skip,
                           or_empty(o->prediction), or_empty(o->vae), or_empty(o->tokenizer));
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static bool
is_leftover(const char *name)
{
    return g_str_has_prefix(name, "." SETTINGS_FILE ".") || g_str_has_prefix(name, ".frame-");
}

/* Whether nothing is in the folder but what a killed run left half written. */
static bool
holds_only_leftovers(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
        if (!is_leftover(name))
            return false;
    return true;
}

static void
clear_leftovers(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
        if (is_leftover(name)) {
            g_autofree char *path = g_build_filename(folder, name, NULL);
            g_unlink(path);
        }
}

/* Makes the folder or recognises it as ours, with the same settings, and counts its frames. */
static bool
enter_folder(Video *v, GError **error)
{
    g_autofree char *path = g_build_filename(v->folder, SETTINGS_FILE, NULL), *now = settings_text(v),
                    *before = NULL;
    if (g_file_get_contents(path, &before, NULL, NULL)) {
        if (strcmp(before, now) != 0)
            return rv_error_set(error, RV_ERROR_USAGE, v->folder,
                                "remove the folder to start over, or give the same options",
                                "it holds frames that were drawn with other settings");
        clear_leftovers(v->folder);
        for (;; v->done++) {
            g_autofree char *frame = rv_video_frame_path(v->folder, v->done);
            if (!g_file_test(frame, G_FILE_TEST_EXISTS))
                return true;
        }
    }
    if (!holds_only_leftovers(v->folder))
        return rv_error_set(error, RV_ERROR_USAGE, v->folder, "give an empty or a new folder",
                            "the folder holds other files");
    clear_leftovers(v->folder);
    if (g_mkdir_with_parents(v->folder, 0777) != 0)
        return rv_error_set(error, RV_ERROR_IO, v->folder, "choose another place",
                            "cannot make the folder: %s", g_strerror(errno));
    g_autoptr(RvOutput) settings = rv_output_open(path, error);
    return settings != NULL && rv_output_write(settings, now, strlen(now), error) &&
           rv_output_commit(settings, error);
}

/* A run that failed before its first frame has nothing to go on from. */
static void
leave_folder(const Video *v)
{
    if (v->done > 0)
        return;
    g_autofree char *settings = g_build_filename(v->folder, SETTINGS_FILE, NULL);
    g_unlink(settings);
    g_rmdir(v->folder);
}

static bool
save_frame(Video *v, const RvPicture *picture, const char *infotext, GError **error)
{
    g_autofree char *path = rv_video_frame_path(v->folder, v->done);
    if (!rv_picture_save(picture, path, &(RvPictureSaveOptions) { .infotext = infotext, .png_level = 1 },
                         error))
        return false;
    v->done++;
    return true;
}

/* Step by step, when a frame cannot be one program. */
static bool
generate_frame(Video *v, GError **error)
{
    g_autoptr(RvResult) result = rv_pipeline_generate(v->pipeline, &v->request, error);
    return result != NULL && save_frame(v, result->images[0].picture, result->images[0].infotext, error);
}

static bool
start_frame(Video *v, const RvPicture *frame, GError **error)
{
    GError *wrong = NULL;
    v->request.init = frame;
    bool ok = v->framer != NULL && rv_framer_start(v->framer, &v->request, &wrong);
    if (v->framer == NULL || g_error_matches(wrong, RV_ERROR, RV_ERROR_UNSUPPORTED)) {
        g_clear_error(&wrong);
        g_clear_pointer(&v->framer, rv_framer_free);
        ok = generate_frame(v, error);
    }
    v->request.init = NULL;
    if (wrong != NULL)
        g_propagate_error(error, wrong);
    return ok;
}

/* Until no more than so many are under way. */
static bool
finish_frames(Video *v, int under_way, GError **error)
{
    while (v->framer != NULL && rv_framer_under_way(v->framer) > under_way) {
        g_autoptr(RvPicture) picture = rv_framer_finish(v->framer, error);
        if (picture == NULL)
            return false;
        RvRequest drawn = v->request;
        drawn.init = picture; /* texts say that there was one */
        g_autofree char *infotext = rv_framer_infotext(v->framer, &drawn);
        if (!save_frame(v, picture, infotext, error))
            return false;
    }
    return true;
}

/* A device that works beside us draws one frame while the one before it is written and the one after it read.
 */
static bool
draw_frames(Video *v, GError **error)
{
    const RvVideoInfo *info = rv_video_reader_get_info(v->reader);
    RvDeviceInfo device;
    rv_device_describe(rv_engine_device(v->engine), &device);
    if (v->done > 0)
        rv_console_note("%" G_GINT64_FORMAT " frames are there already, going on", v->done);
    if (!rv_video_reader_skip(v->reader, v->done, error))
        return false;
    v->framer = rv_framer_new(v->pipeline);
    RvProgressBar bar;
    rv_progress_bar_begin(&bar, "redrawing");
    gint64 first = v->done;
    bool ok = true;
    while (ok) {
        g_autoptr(RvPicture) frame = NULL;
        ok = rv_video_reader_next(v->reader, &frame, error);
        if (!ok || frame == NULL)
            break;
        ok = start_frame(v, frame, error) && finish_frames(v, device.overlaps ? 1 : 0, error);
        rv_progress_bar_update(&bar, v->done - first,
                               info->frames > 0 ? MAX(info->frames, v->done) - first : 0, "frame");
    }
    ok = ok && finish_frames(v, 0, error);
    rv_progress_bar_end(&bar);
    return ok;
}

static RvVideoWriter *
open_writer(const Video *v, GError **error)
{
    const RvVideoInfo *info = rv_video_reader_get_info(v->reader);
    RvVideoWriterOptions options = {
        .width = v->request.width,
        .height = v->request.height,
        .rate_numerator = info->rate_numerator > 0 ? info->rate_numerator : 25,
        .rate_denominator = info->rate_numerator > 0 ? info->rate_denominator : 1,
    };
    return rv_video_writer_open(rv_generate_options.output, &options, error);
}

/* Whether a film can be written there is said before hours of drawing, not after them. */
static bool
check_film(const Video *v, GError **error)
{
    g_autoptr(RvVideoWriter) writer = v->is_film ? open_writer(v, error) : NULL;
    return !v->is_film || writer != NULL;
}

/* The frames as a film; then the folder has done its work. */
static bool
write_film(Video *v, GError **error)
{
    g_autoptr(RvVideoWriter) writer = open_writer(v, error);
    if (writer == NULL)
        return false;
    for (gint64 i = 0; i < v->done; i++) {
        g_autofree char *path = rv_video_frame_path(v->folder, i);
        g_autoptr(RvPicture) frame =
            rv_console_check_cancel(error) ? rv_picture_load(path, NULL, error) : NULL;
        if (frame == NULL || !rv_video_writer_add(writer, frame, error))
            return false;
    }
    if (!rv_video_writer_finish(writer, error))
        return false;
    for (gint64 i = 0; i < v->done; i++) {
        g_autofree char *path = rv_video_frame_path(v->folder, i);
        g_unlink(path);
    }
    g_autofree char *settings = g_build_filename(v->folder, SETTINGS_FILE, NULL);
    g_unlink(settings);
    g_rmdir(v->folder);
    return true;
}

static bool
check_arguments(Video *v, GError **error)
{
    RvGenerateOptions *o = &rv_generate_options;
    if (o->input == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--input", "add -i FILM or -i FOLDER",
                            "there is nothing to redraw");
    if (o->output == NULL || strcmp(o->output, "-") == 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--output", "add -o FILM.mp4 or -o FOLDER",
                            "it is not said where to write");
    if (g_strcmp0(o->seed, "-1") == 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--seed", "give a number, or leave it out for 0",
                            "a run that can be taken up again has no random seed");
    if (o->seed == NULL)
        o->seed = g_strdup("0"); /* the same noise in every frame, and in every run that goes on */
    v->is_film = rv_video_path_is_film(o->output);
    v->folder = v->is_film ? g_strconcat(o->output, ".parts", NULL) : g_strdup(o->output);
    return rv_generate_request(&v->request, error) &&
           rv_network_options_parse(&v->networks, &v->request, error);
}

static bool
redraw(Video *v, GError **error)
{
    if (!check_arguments(v, error))
        return false;
    v->reader = rv_video_reader_open(rv_generate_options.input, NULL, error);
    if (v->reader == NULL || !rv_generate_open(&v->engine, &v->pipeline, error))
        return false;
    const RvVideoInfo *info = rv_video_reader_get_info(v->reader);
    if (v->request.width == 0 && v->request.height == 0) {
        v->request.width = info->width;
        v->request.height = info->height;
    }
    g_autofree char *note = NULL;
    if (!rv_pipeline_complete(v->pipeline, &v->request, &note, error))
        return false;
    if (note != NULL)
        rv_console_note("%s", note);
    rv_generate_note_negative(&v->request);
    if (!check_film(v, error) || !enter_folder(v, error))
        return false;
    bool ok = draw_frames(v, error) && (!v->is_film || write_film(v, error));
    if (!ok)
        leave_folder(v);
    return ok;
}

int
rv_command_video(int argc, char **argv)
{
    const RvOptionGroup groups[] = { { NULL, rv_generate_entries },
                                     { "Film", video_entries },
                                     { "Model", rv_model_entries },
                                     { "Networks", rv_network_entries },
                                     { NULL, NULL } };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    Video v = { 0 };
    rv_generate_options_init();
    bool ok = rv_parse_options(
        &argc, &argv, "-i IN -p TEXT -o OUT",
        "Redraws every frame of a film or of a folder of pictures. A run that was cut off goes on\n"
        "where it was when the same command is given again.",
        "Examples:\n  reverie video -i dance.mp4 -p \"a marble statue\" --strength 0.5 -o statue.mp4\n"
        "  reverie video -i frames/ -p \"watercolour\" -o painted/\n",
        groups, &arguments, &error);
    if (ok && arguments[0] != NULL)
        ok = rv_error_set(&error, RV_ERROR_USAGE, arguments[0], "put quotes around a prompt and -p before it",
                          "an argument too many");
    ok = ok && redraw(&v, &error);
    rv_framer_free(v.framer);
    rv_pipeline_free(v.pipeline);
    rv_engine_close(v.engine);
    rv_video_reader_close(v.reader);
    g_free(v.folder);
    rv_request_networks_clear(&v.networks);
    rv_generate_options_clear();
    return ok ? 0 : rv_console_fail(error);
}
