/* bench.c - `reverie bench`: frames, steps and loading, beside the ceilings of this machine. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/bench.h"
#include "cli/generate.h"
#include "cli/profile.h"

static RvBenchOptions bench;

static const GOptionEntry bench_entries[] = {
    { "random", 0, 0, G_OPTION_ARG_STRING, &bench.random,
      "Full-size random weights of a family: sdxl, sd15, sd21, mini", "FAMILY" },
    { "size", 0, 0, G_OPTION_ARG_STRING, &bench.size,
      "Picture size (default: 1024x1024; steps: 512x512; mini: 256x256)", "WxH" },
    { "frames", 0, 0, G_OPTION_ARG_INT, &bench.frames, "Frames to time (default: 300)", "N" },
    { "rate", 0, 0, G_OPTION_ARG_DOUBLE, &bench.rate,
      "Frames come so often a second, as from a camera (default: one after the other)", "FPS" },
    { "steps", 0, 0, G_OPTION_ARG_INT, &bench.steps, "Sampling steps (frame: 2; steps: 20)", "N" },
    { "strength", 0, 0, G_OPTION_ARG_DOUBLE, &bench.strength, "Of a frame (default: 0.7)", "X" },
    { "cfg", 0, 0, G_OPTION_ARG_DOUBLE, &bench.cfg, "Guidance scale (frame: 0; steps: 7)", "X" },
    { "batch", 0, 0, G_OPTION_ARG_INT, &rv_generate_options.batch, "Pictures at a time (steps only)", "N" },
    { "sampler", 0, 0, G_OPTION_ARG_STRING, &rv_generate_options.sampler, "Sampler", "S" },
    { "schedule", 0, 0, G_OPTION_ARG_STRING, &rv_generate_options.schedule, "Schedule", "S" },
    { "json", 0, 0, G_OPTION_ARG_FILENAME, &bench.json, "Write the figures there; - is standard output",
      "F" },
    { "profile", 0, 0, G_OPTION_ARG_NONE, &bench.profile, "Also print where the time goes, op by op", NULL },
    { "svg", 0, 0, G_OPTION_ARG_FILENAME, &bench.svg, "Draw the frames' times there", "F" },
    { 0 },
};

static bool
parse_size(const char *text, int *width, int *height, GError **error)
{
    char rest;
    if (sscanf(text, "%dx%d%c", width, height, &rest) == 2 && *width >= RV_MIN_SIZE &&
        *height >= RV_MIN_SIZE && *width <= RV_MAX_SIZE && *height <= RV_MAX_SIZE)
        return true;
    return rv_error_set(error, RV_ERROR_USAGE, "--size", "give WIDTHxHEIGHT, for example 512x512",
                        "\"%s\" is no size", text);
}

/* A picture with edges, gradients and texture: what it shows does not matter, that it is not flat does. */
static RvPicture *
test_picture(int width, int height, GError **error)
{
    RvPicture *picture = rv_picture_new(width, height, false, error);
    for (int y = 0; picture != NULL && y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                picture->rgb[((gsize)y * (gsize)width + (gsize)x) * 3 + (gsize)c] =
                    (guint8)((x * (c + 1) * 255 / width + (y / 16 % 2) * 60 + (x * y) % 23) & 255);
    return picture;
}

static bool
check_model_options(GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    if (o->threads < 0 || o->threads > 1024)
        return rv_error_set(error, RV_ERROR_USAGE, "--threads", "give a number from 1 to 1024",
                            "%d threads are out of range", o->threads);
    return bench.random == NULL || o->model == NULL ||
           rv_error_set(error, RV_ERROR_USAGE, "--random", "give one of the two",
                        "--model and --random exclude each other");
}

static bool
open_model(RvBench *b, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    if (!check_model_options(error))
        return false;
    if (bench.random == NULL || strcmp(bench.random, "mini") == 0)
        return rv_generate_open(&b->engine, &b->pipeline, error);
    RvEngineOptions engine = { o->device, o->precision, o->threads, rv_console_cancel_flag() };
    RvPipelineOptions options = { .vae = o->vae, .prediction = o->prediction };
    b->engine = rv_engine_open(&engine, error);
    b->pipeline =
        b->engine != NULL ? rv_pipeline_open_random(b->engine, bench.random, &options, error) : NULL;
    return b->pipeline != NULL;
}

static bool
complete(RvBench *b, GError **error)
{
    g_autofree char *note = NULL;
    return rv_pipeline_complete(b->pipeline, &b->request, &note, error);
}

/* Frames are one program where they can be. */
static bool
prepare_frames(RvBench *b, GError **error)
{
    if (!complete(b, error) || (b->init = test_picture(b->request.width, b->request.height, error)) == NULL)
        return false;
    b->request.init = b->init;
    if (!complete(b, error))
        return false;
    g_autoptr(RvFramer) framer = rv_framer_new(b->pipeline);
    if (!rv_framer_check(framer, &b->request, NULL))
        return rv_pipeline_prepare(b->pipeline, &b->request, error);
    b->framer = g_steal_pointer(&framer);
    return rv_framer_prepare(b->framer, &b->request, error);
}

bool
rv_bench_open_frames(RvBench *b, GError **error)
{
    return open_model(b, error) && prepare_frames(b, error);
}

void
rv_bench_close(RvBench *b)
{
    g_clear_pointer(&b->framer, rv_framer_free);
    g_clear_pointer(&b->pipeline, rv_pipeline_free);
    g_clear_pointer(&b->engine, rv_engine_close);
    b->request.init = NULL;
    g_clear_pointer(&b->init, rv_picture_free);
}

static bool
prepare_steps(RvBench *b, GError **error)
{
    return complete(b, error) && rv_pipeline_prepare(b->pipeline, &b->request, error);
}

/* What a mirror asks for; the size stays open unless one is given. */
static void
request_frame(RvBench *b)
{
    b->request.steps = bench.steps > 0 ? bench.steps : 2;
    b->request.cfg_scale = bench.cfg >= 0.0 ? bench.cfg : 0.0;
    b->request.strength = bench.strength >= 0.0 ? bench.strength : 0.7;
    b->request.diffusers = true;
}

static void
request_steps(RvBench *b)
{
    b->request.steps = bench.steps > 0 ? bench.steps : 20;
    b->request.cfg_scale = bench.cfg >= 0.0 ? bench.cfg : 7.0;
    b->request.images = rv_generate_options.batch;
}

/* `large`: what full-size random weights are timed at unless --size says otherwise. */
static bool
take_size(RvBench *b, const char *large, GError **error)
{
    bool is_large = bench.random != NULL && strcmp(bench.random, "mini") != 0;
    const char *size = bench.size != NULL ? bench.size : is_large ? large : "256x256";
    return parse_size(size, &b->request.width, &b->request.height, error);
}

/* Where a frame goes, op by op. */
static bool
profile_frame(RvBench *b, GError **error)
{
    RvProfile *profile = rv_profile_new(rv_engine_device(b->engine));
    bool ok = rv_program_run(rv_framer_program(b->framer), error);
    rv_profile_finish(profile, stderr);
    return ok;
}

static bool
check_rate(GError **error)
{
    return bench.rate == 0.0 || (bench.rate >= 0.01 && bench.rate <= 10000.0) ||
           rv_error_set(error, RV_ERROR_USAGE, "--rate", "give frames a second, for example 30",
                        "%g is no rate", bench.rate);
}

static bool
run_on_devices(RvBench *b, char **devices, int frames, GError **error)
{
    if (bench.profile || bench.svg != NULL || bench.rate != 0.0)
        return rv_error_set(error, RV_ERROR_USAGE, "--device", "give one device",
                            "--profile, --rate and --svg are for one device");
    if (!check_model_options(error) ||
        (b->init = test_picture(b->request.width, b->request.height, error)) == NULL)
        return false;
    b->request.init = b->init;
    return rv_bench_devices(b, devices, frames, error);
}

static bool
run_frames(RvBench *b, GError **error)
{
    int frames = bench.frames > 0 ? bench.frames : 300;
    gint64 start = g_get_monotonic_time();
    g_auto(GStrv) devices = rv_engine_split_devices(rv_generate_options.device);
    request_frame(b);
    if (!check_rate(error) || !take_size(b, "1024x1024", error))
        return false;
    if (g_strv_length(devices) > 1)
        return run_on_devices(b, devices, frames, error);
    if (!open_model(b, error) || !prepare_frames(b, error))
        return false;
    b->ready_seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
    RvProfile *profile = NULL;
    if (bench.profile && b->framer == NULL)
        profile = rv_profile_new(rv_engine_device(b->engine));
    rv_progress_bar_begin(&b->bar, "frames");
    bool ok = rv_bench_frames(b, frames, error);
    rv_progress_bar_end(&b->bar);
    rv_profile_finish(profile, stderr);
    return ok && (!bench.profile || b->framer == NULL || profile_frame(b, error)) &&
           rv_engine_measure_ceilings(b->engine, &b->ceilings, error) && rv_bench_report(b, "frame", error);
}

static bool
run_steps(RvBench *b, GError **error)
{
    gint64 start = g_get_monotonic_time();
    request_steps(b);
    if (b->request.steps < 2)
        return rv_error_set(error, RV_ERROR_USAGE, "--steps", "give at least 2", "too few steps to time");
    if (!take_size(b, "512x512", error) || !open_model(b, error) || !prepare_steps(b, error))
        return false;
    b->ready_seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
    if (!rv_engine_measure_ceilings(b->engine, &b->ceilings, error))
        return false;
    RvProfile *profile = bench.profile ? rv_profile_new(rv_engine_device(b->engine)) : NULL;
    rv_progress_bar_begin(&b->bar, "steps");
    bool ok = rv_bench_steps(b, error);
    rv_progress_bar_end(&b->bar);
    rv_profile_finish(profile, stderr);
    return ok && rv_bench_report(b, "step", error);
}

static bool
run_sleep(RvBench *b, GError **error)
{
    request_frame(b);
    return take_size(b, "1024x1024", error) && open_model(b, error) && prepare_frames(b, error) &&
           rv_bench_sleep(b, error);
}

static bool
run_precision(RvBench *b, GError **error)
{
    request_frame(b);
    return take_size(b, "1024x1024", error) &&
           rv_bench_precision(b, bench.frames > 0 ? bench.frames : 20, error);
}

/* From the start of this process to the first frame, and the frame after it. */
static bool
run_load(RvBench *b, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    RvBenchLoad load = { 0 };
    request_frame(b);
    if (bench.random != NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--random", "give --model", "loading is timed with files");
    g_autofree char *path = rv_find_model(o->model, o->models_dir, error);
    if (path == NULL || !take_size(b, "1024x1024", error) || !open_model(b, error) ||
        !prepare_frames(b, error))
        return false;
    b->ready_seconds = rv_bench_age();
    return rv_bench_frames(b, 1, error) &&
           rv_bench_reading(path, &load.reading_seconds, &load.bytes, error) &&
           rv_bench_link(b->engine, &load.link_rate, error) && rv_bench_report_load(b, &load, error);
}

int
rv_command_bench(int argc, char **argv)
{
    const RvOptionGroup groups[] = { { NULL, bench_entries }, { "Model", rv_model_entries }, { NULL, NULL } };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    rv_generate_options_init();
    bench = (RvBenchOptions) { .strength = -1.0, .cfg = -1.0 };
    RvBench b = { .request.images = 1,
                  .request.seed = 1,
                  .samples_ms = g_array_new(FALSE, FALSE, sizeof(double)) };
    b.request.eta = -1.0;
    b.request.prompt = "a photograph of a mountain lake at dawn";
    bool ok = rv_parse_options(
        &argc, &argv, "frame|steps|load|sleep|precision",
        "frame: whole image-to-image frames, as a mirror needs them (of several devices with --device\n"
        "cuda:0,1: each by itself, then all together); steps: the sampler's steps; load: from the start\n"
        "to the first frame; sleep: giving the device's memory to others, and coming back; precision:\n"
        "how far frames in fp8 (or --precision) are from fp16 (the CPU: fp32), and time and error layer by "
        "layer.",
        "Examples:\n  reverie bench frame --frames 100 --svg frames.svg\n"
        "  reverie bench frame --model sdxl-turbo --rate 30\n"
        "  reverie bench steps --random sd15 --size 256x256 --steps 4 --json -\n"
        "  reverie bench load --model sd15.safetensors\n"
        "  reverie bench frame --random sdxl --device cuda:0,1\n"
        "  reverie bench precision --model sdxl-turbo --device cuda\n",
        groups, &arguments, &error);
    b.options = bench;
    b.request.sampler = rv_generate_options.sampler;
    b.request.schedule = rv_generate_options.schedule;
    const char *what = ok && arguments[0] != NULL && arguments[1] == NULL ? arguments[0] : "";
    if (ok && strcmp(what, "frame") == 0)
        ok = run_frames(&b, &error);
    else if (ok && strcmp(what, "steps") == 0)
        ok = run_steps(&b, &error);
    else if (ok && strcmp(what, "load") == 0)
        ok = run_load(&b, &error);
    else if (ok && strcmp(what, "sleep") == 0)
        ok = run_sleep(&b, &error);
    else if (ok && strcmp(what, "precision") == 0)
        ok = run_precision(&b, &error);
    else if (ok)
        ok = rv_error_set(&error, RV_ERROR_USAGE, "bench", "see reverie bench --help",
                          "say frame, steps, load, sleep or precision");
    rv_bench_close(&b);
    g_array_unref(b.samples_ms);
    rv_generate_options_clear();
    return ok ? 0 : rv_console_fail(error);
}
