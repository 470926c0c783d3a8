/* pictures.c - `reverie txt2img` and `reverie img2img`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "base/error.h"
#include "base/json_build.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/networks.h"
#include "media/terminal.h"

static const GOptionEntry redraw_entries[] = {
    { "input", 'i', 0, G_OPTION_ARG_FILENAME, &rv_generate_options.input,
      "The picture to redraw (PNG, JPEG, WebP)", "IN" },
    { "strength", 0, 0, G_OPTION_ARG_DOUBLE, &rv_generate_options.strength,
      "How much may change: 0 nothing, 1 all (default: 0.75; turbo models 0.5)", "X" },
    { "mask", 0, 0, G_OPTION_ARG_FILENAME, &rv_generate_options.mask,
      "Redraw only where this picture is white", "M" },
    { "mask-blur", 0, 0, G_OPTION_ARG_DOUBLE, &rv_generate_options.mask_blur,
      "Soften the mask's edge by so many pixels (default: 4)", "X" },
    { "resize", 0, 0, G_OPTION_ARG_STRING, &rv_generate_options.resize,
      "A picture of another aspect: stretch (default), crop, fill (its edges), latent", "R" },
    { "fill", 0, 0, G_OPTION_ARG_STRING, &rv_generate_options.fill,
      "What the mask's inside holds first: original (default), fill, noise, nothing", "F" },
    { "only-masked", 0, 0, G_OPTION_ARG_NONE, &rv_generate_options.only_masked,
      "Work on the mask's surroundings at the full size, then paste", NULL },
    { "masked-padding", 0, 0, G_OPTION_ARG_INT, &rv_generate_options.masked_padding,
      "Pixels around the mask with --only-masked (default: 32)", "N" },
    { "mask-blend", 0, 0, G_OPTION_ARG_NONE, &rv_generate_options.mask_blend,
      "Keep the outside as A1111 does, not as diffusers does", NULL },
    { "soft-inpaint", 0, 0, G_OPTION_ARG_NONE, &rv_generate_options.soft,
      "Grey of the mask says how much may change (A1111's soft inpainting)", NULL },
    { "soft-settings", 0, 0, G_OPTION_ARG_STRING, &rv_generate_options.soft_settings,
      "Its six numbers: schedule bias, preservation, contrast boost; mask influence, threshold, contrast of "
      "the difference (default: 1,0.5,4,0,0.5,2)",
      "A,B,C,D,E,F" },
    { 0 },
};

typedef struct {
    RvRequest request;
    RvRequestNetworks networks;
    RvHires hires;
    RvSoftInpaint soft;
    RvPicture *init;
    RvMask *mask;
    RvProgressBar bar;
    int done, count; /* pictures */
    bool has_preview;
    GError *preview_error;
} Job;

static void
on_progress(const RvProgress *progress, void *user)
{
    Job *job = user;
    if (progress->phase != RV_PHASE_SAMPLE)
        return;
    rv_progress_bar_update(&job->bar, job->done * progress->total + progress->done,
                           job->count * progress->total, "it");
    if (rv_generate_options.preview == NULL || job->preview_error != NULL)
        return;
    g_autoptr(RvPicture) picture = progress->preview(progress);
    if (picture != NULL && rv_picture_save(picture, rv_generate_options.preview,
                                           &(RvPictureSaveOptions) { .png_level = 1 }, &job->preview_error))
        job->has_preview = true;
}

/* The preview of pictures that did not come about goes away with them. */
static bool
settle_preview(Job *job, bool ok, GError **error)
{
    if (ok && job->preview_error != NULL) {
        g_propagate_error(error, g_steal_pointer(&job->preview_error));
        ok = false;
    }
    if (!ok && job->has_preview)
        g_unlink(rv_generate_options.preview);
    return ok;
}

static bool
check_place(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        return rv_error_set(error, RV_ERROR_IO, path, "give a file name in it",
                            "cannot write there: it is a folder");
    if (access(folder, W_OK) != 0)
        return rv_error_set(error, RV_ERROR_IO, path, "create the folder or choose another place",
                            "cannot write there: %s", g_strerror(errno));
    return true;
}

/* What can be known to fail is said before the model is loaded. */
static bool
check_output(const char *path, int count, bool json, GError **error)
{
    const char *preview = rv_generate_options.preview;
    RvPictureFormat format;
    if (preview != NULL &&
        (!rv_picture_format_from_path(preview, &format, error) || !check_place(preview, error)))
        return false;
    if (path == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--output", "add -o OUT.png",
                            "it is not said where to write");
    if (strcmp(path, "-") == 0) {
        if (count > 1)
            return rv_error_set(error, RV_ERROR_USAGE, "-o -", "give a file name",
                                "standard output takes one picture, not %d", count);
        if (json)
            return rv_error_set(error, RV_ERROR_USAGE, "-o -", "give a file name or leave out --json",
                                "the picture and --json cannot share standard output");
        return true;
    }
    g_autofree char *first = count > 1 ? rv_numbered_path(path, 1) : g_strdup(path);
    return rv_picture_format_from_path(path, &format, error) && check_place(first, error);
}

static bool
choose(const char *option, const char *text, const char *const *names, int *value, GError **error)
{
    g_autofree char *all = g_strjoinv(", ", (char **)(guintptr)names);
    g_autofree char *todo = g_strdup_printf("use one of: %s", all);
    *value = 0;
    for (int i = 0; text != NULL && names[i] != NULL; i++)
        if (strcmp(text, names[i]) == 0) {
            *value = i;
            return true;
        }
    return text == NULL || rv_error_set(error, RV_ERROR_USAGE, option, todo, "there is no \"%s\"", text);
}

static bool
choose_soft(Job *job, GError **error)
{
    static const double usual[] = { 1, 0.5, 4, 0, 0.5, 2 };
    static const double low[] = { 0, 0, 1, 0, 0, 0 }, high[] = { 8, 8, 32, 1, 8, 8 };
    RvSoftInpaint *soft = &job->soft;
    double *values[] = { &soft->schedule_bias,  &soft->preservation, &soft->contrast_boost,
                         &soft->mask_influence, &soft->threshold,    &soft->contrast };
    const char *text = rv_generate_options.soft_settings;
    g_auto(GStrv) fields = g_strsplit(text != NULL ? text : "", ",", -1);
    bool ok = text == NULL || g_strv_length(fields) == G_N_ELEMENTS(values);
    for (gsize i = 0; ok && i < G_N_ELEMENTS(values); i++) {
        char *end = NULL;
        *values[i] = text != NULL ? g_ascii_strtod(fields[i], &end) : usual[i];
        ok = (end == NULL || (end != fields[i] && *end == '\0')) && *values[i] >= low[i] &&
             *values[i] <= high[i];
    }
    if (!ok)
        return rv_error_set(error, RV_ERROR_USAGE, "--soft-settings",
                            "give six numbers, for example 1,0.5,4,0,0.5,2", "\"%s\" is none of its settings",
                            text);
    if (text != NULL && !rv_generate_options.soft)
        return rv_error_set(error, RV_ERROR_USAGE, "--soft-settings", "add --soft-inpaint",
                            "settings of what was not asked for");
    job->request.soft = rv_generate_options.soft ? soft : NULL;
    return true;
}

static bool
choose_redraw(Job *job, GError **error)
{
    static const char *const resizes[] = { "stretch", "crop", "fill", "latent", NULL };
    static const char *const fills[] = { "original", "fill", "noise", "nothing", NULL };
    int resize, fill;
    if (!choose("--resize", rv_generate_options.resize, resizes, &resize, error) ||
        !choose("--fill", rv_generate_options.fill, fills, &fill, error) || !choose_soft(job, error))
        return false;
    job->request.resize = (RvResizeMode)resize;
    job->request.fill = (RvFill)fill;
    if (job->mask == NULL &&
        (fill != 0 || job->request.only_masked || job->request.mask_blend || job->request.soft != NULL))
        return rv_error_set(error, RV_ERROR_USAGE, "--mask", "add --mask M.png",
                            "an option for masks without a mask");
    return true;
}

static bool
load_inputs(Job *job, bool redraw, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    if (!redraw)
        return o->prompt != NULL ||
               rv_error_set(error, RV_ERROR_USAGE, "--prompt", "add -p TEXT", "it is not said what to draw");
    if (o->input == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--input", "add -i IN.png",
                            "there is no picture to redraw");
    job->init = rv_picture_load(o->input, NULL, error);
    if (job->init == NULL)
        return false;
    if (o->mask != NULL) {
        g_autoptr(RvPicture) picture = rv_picture_load(o->mask, NULL, error);
        job->mask = picture != NULL ? rv_mask_from_picture(picture, error) : NULL;
        if (job->mask == NULL)
            return false;
    }
    job->request.init = job->init;
    job->request.mask = job->mask;
    job->request.only_masked = o->only_masked;
    job->request.masked_padding = o->masked_padding;
    job->request.mask_blend = o->mask_blend;
    return choose_redraw(job, error);
}

static bool
print_result(const RvResult *result, const RvResultImage *image, const char *path, GError **error)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "path", path);
    rv_json_add_int(json, "seed", (gint64)image->seed);
    rv_json_add_int(json, "width", result->width);
    rv_json_add_int(json, "height", result->height);
    rv_json_add_number(json, "seconds", result->seconds / result->count);
    rv_json_add_number(
        json, "steps_per_second",
        result->sample_seconds > 0 ? result->evaluations * result->count / result->sample_seconds : 0.0);
    rv_json_add_text(json, "infotext", image->infotext);
    json_builder_end_object(json);
    return rv_console_print_json(json, false, error);
}

static bool
write_to_stdout(const RvResultImage *image, GError **error)
{
    g_autoptr(GBytes) bytes = rv_picture_encode(
        image->picture, RV_PICTURE_PNG, &(RvPictureSaveOptions) { .infotext = image->infotext }, error);
    if (bytes == NULL)
        return false;
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);
    return rv_console_write(data, size, error);
}

/* A picture that could not be told of goes away again: a failed command leaves nothing that nobody knows. */
static bool
announce(const RvResult *result, const RvResultImage *image, const char *path, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    bool ok =
        (!o->show || rv_terminal_show(stderr, image->picture, rv_terminal_detect(STDERR_FILENO), error)) &&
        (!o->json || print_result(result, image, path, error));
    if (!ok && strcmp(path, "-") != 0)
        g_unlink(path);
    return ok;
}

static bool
deliver(Job *job, const RvResult *result, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    for (int i = 0; i < result->count; i++) {
        const RvResultImage *image = &result->images[i];
        g_autofree char *path =
            job->count > 1 ? rv_numbered_path(o->output, job->done + i + 1) : g_strdup(o->output);
        if (strcmp(path, "-") == 0) {
            if (!write_to_stdout(image, error))
                return false;
        } else if (!rv_picture_save(image->picture, path,
                                    &(RvPictureSaveOptions) { .infotext = image->infotext }, error)) {
            return false;
        }
        if (!announce(result, image, path, error))
            return false;
    }
    return true;
}

static bool
generate_all(Job *job, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    g_autoptr(RvEngine) engine = NULL;
    g_autoptr(RvPipeline) pipeline = NULL, refiner = NULL;
    if (!rv_generate_open(&engine, &pipeline, error) ||
        !rv_generate_open_refiner(engine, &refiner, &job->request, error))
        return false;
    g_autofree char *note = NULL;
    if (!rv_pipeline_complete(pipeline, &job->request, &note, error))
        return false;
    if (note != NULL)
        rv_console_note("%s", note);
    rv_generate_note_negative(&job->request);
    job->request.on_progress = on_progress;
    job->request.user = job;
    guint64 first_seed = job->request.seed;
    rv_progress_bar_begin(&job->bar, "drawing");
    bool ok = true;
    while (ok && job->done < job->count) {
        job->request.seed = first_seed + (guint64)job->done;
        job->request.images = MIN(o->batch, job->count - job->done);
        g_autoptr(RvResult) result = rv_pipeline_generate(pipeline, &job->request, error);
        rv_progress_bar_end(&job->bar);
        for (guint i = 0; result != NULL && job->done == 0 && i < result->notes->len; i++)
            rv_console_note("%s", (const char *)g_ptr_array_index(result->notes, i));
        ok = result != NULL && deliver(job, result, error);
        job->done += job->request.images;
        if (ok && job->done < job->count)
            rv_progress_bar_begin(&job->bar, "drawing");
    }
    rv_progress_bar_end(&job->bar);
    return settle_preview(job, ok, error);
}

static int
run(int argc, char **argv, bool redraw, const char *usage, const char *summary, const char *examples)
{
    const RvOptionGroup groups[] = {
        { NULL, rv_generate_entries },
        { NULL, rv_picture_entries },
        { "Model", rv_model_entries },
        { "Networks", rv_network_entries },
        { redraw ? "Picture" : NULL, redraw ? redraw_entries : NULL },
        { NULL, NULL },
    };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    Job job = { 0 };
    rv_generate_options_init();
    bool ok = rv_parse_options(&argc, &argv, usage, summary, examples, groups, &arguments, &error);
    if (ok && arguments[0] != NULL)
        ok = rv_error_set(&error, RV_ERROR_USAGE, arguments[0], "put quotes around a prompt and -p before it",
                          "an argument too many");
    job.count = rv_generate_options.count;
    ok = ok && rv_generate_request(&job.request, &error) &&
         rv_network_options_parse(&job.networks, &job.request, &error) &&
         rv_generate_hires(&job.hires, &job.request.hires, &error) &&
         check_output(rv_generate_options.output, job.count, rv_generate_options.json, &error) &&
         load_inputs(&job, redraw, &error) && generate_all(&job, &error);
    rv_picture_free(job.init);
    rv_mask_free(job.mask);
    rv_request_networks_clear(&job.networks);
    g_clear_error(&job.preview_error);
    rv_generate_options_clear();
    return ok ? 0 : rv_console_fail(error);
}

int
rv_command_txt2img(int argc, char **argv)
{
    return run(
        argc, argv, false, "-p TEXT -o OUT.png", "Draws pictures from text.",
        "Examples:\n"
        "  reverie txt2img -p \"a red apple\" -o apple.png\n"
        "  reverie txt2img --model sd15.safetensors -p \"a (stormy:1.3) sea\" -n \"people\" --steps 25 \\\n"
        "      --sampler \"DPM++ 2M Karras\" --count 4 -o sea.png\n");
}

int
rv_command_img2img(int argc, char **argv)
{
    return run(argc, argv, true, "-i IN.png -p TEXT -o OUT.png",
               "Redraws a picture; with --mask only a part of it.",
               "Examples:\n"
               "  reverie img2img -i photo.jpg -p \"a snowy forest\" --strength 0.5 -o forest.png\n"
               "  reverie img2img -i room.png --mask wall.png -p \"a green wall\" -o room2.png\n");
}
