/* bench.c - `reverie bench`: frames, steps and loading, beside the ceilings of this machine. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/chart.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/profile.h"

typedef struct {
    char *random, *size, *json, *svg;
    int frames, steps;
    double strength, cfg;
    gboolean profile;
} BenchOptions;
static BenchOptions bench;

static const GOptionEntry bench_entries[] = {
    { "random", 0, 0, G_OPTION_ARG_STRING, &bench.random,
      "Full-size random weights of a family: sdxl, sd15, sd21, mini", "FAMILY" },
    { "size", 0, 0, G_OPTION_ARG_STRING, &bench.size,
      "Picture size (default: 1024x1024; steps: 512x512; mini: 256x256)", "WxH" },
    { "frames", 0, 0, G_OPTION_ARG_INT, &bench.frames, "Frames to time (default: 300)", "N" },
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

typedef struct {
    RvEngine *engine;
    RvPipeline *pipeline;
    RvRequest request;
    RvPicture *init;
    RvCeilings ceilings;
    GArray *samples_ms; /* double */
    RvStageCosts costs; /* sums */
    double flops;       /* of one sample */
    RvProgressBar bar;
    gint64 last_step;
    double ready_seconds;
} Bench;

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
open_pipeline(Bench *b, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    gint64 start = g_get_monotonic_time();
    if (bench.random != NULL && o->model != NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--random", "give one of the two",
                            "--model and --random exclude each other");
    if (bench.random == NULL || strcmp(bench.random, "mini") == 0) {
        if (!rv_generate_open(&b->engine, &b->pipeline, error))
            return false;
    } else {
        RvEngineOptions engine = { o->device, o->precision, o->threads, rv_console_cancel_flag() };
        RvPipelineOptions options = { .vae = o->vae, .prediction = o->prediction };
        b->engine = rv_engine_open(&engine, error);
        b->pipeline =
            b->engine != NULL ? rv_pipeline_open_random(b->engine, bench.random, &options, error) : NULL;
        if (b->pipeline == NULL)
            return false;
    }
    char *note = NULL;
    bool ok = rv_pipeline_complete(b->pipeline, &b->request, &note, error) &&
              rv_pipeline_prepare(b->pipeline, &b->request, error);
    g_free(note);
    b->ready_seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
    return ok;
}

static void
add_costs(Bench *b)
{
    RvStageCosts costs = rv_pipeline_costs(b->pipeline);
    b->costs.encode += costs.encode;
    b->costs.unet += costs.unet;
    b->costs.decode += costs.decode;
    b->flops = costs.encode_flops + costs.unet_flops + costs.decode_flops;
}

static bool
time_frames(Bench *b, int frames, GError **error)
{
    for (int i = -1; i < frames; i++) { /* the first one warms up */
        gint64 start = g_get_monotonic_time();
        g_autoptr(RvResult) result = rv_pipeline_generate(b->pipeline, &b->request, error);
        if (result == NULL)
            return false;
        double ms = (double)(g_get_monotonic_time() - start) * 1e-3;
        if (i < 0)
            continue;
        g_array_append_val(b->samples_ms, ms);
        add_costs(b);
        rv_progress_bar_update(&b->bar, i + 1, frames, "frame");
    }
    return true;
}

static void
on_step(const RvProgress *progress, void *user)
{
    Bench *b = user;
    gint64 now = g_get_monotonic_time();
    double ms = (double)(now - b->last_step) * 1e-3;
    if (progress->phase == RV_PHASE_SAMPLE && progress->done > 1) /* the first step reads cold memory */
        g_array_append_val(b->samples_ms, ms);
    if (progress->phase == RV_PHASE_SAMPLE)
        rv_progress_bar_update(&b->bar, progress->done, progress->total, "it");
    b->last_step = now;
}

static bool
time_steps(Bench *b, GError **error)
{
    b->request.on_progress = on_step;
    b->request.user = b;
    b->last_step = g_get_monotonic_time();
    g_autoptr(RvResult) result = rv_pipeline_generate(b->pipeline, &b->request, error);
    if (result == NULL)
        return false;
    add_costs(b);
    b->flops = rv_pipeline_costs(b->pipeline).unet_flops / result->evaluations;
    return b->samples_ms->len > 0 ||
           rv_error_set(error, RV_ERROR_USAGE, "--steps", "give at least 2", "too few steps to time");
}

static void
add_number(JsonBuilder *json, const char *name, double value)
{
    json_builder_set_member_name(json, name);
    json_builder_add_double_value(json, value);
}

static void
add_timings(JsonBuilder *json, const RvTimings *t)
{
    json_builder_set_member_name(json, "ms");
    json_builder_begin_object(json);
    add_number(json, "min", t->min);
    add_number(json, "median", t->median);
    add_number(json, "p99", t->p99);
    add_number(json, "max", t->max);
    add_number(json, "mean", t->mean);
    json_builder_end_object(json);
}

static JsonBuilder *
figures(const Bench *b, const RvTimings *t, double fraction, int runs)
{
    RvDeviceInfo info;
    rv_device_describe(rv_engine_device(b->engine), &info);
    JsonBuilder *json = json_builder_new();
    json_builder_begin_object(json);
    json_builder_set_member_name(json, "device");
    json_builder_add_string_value(json, info.name);
    json_builder_set_member_name(json, "threads");
    json_builder_add_int_value(json, info.threads);
    json_builder_set_member_name(json, "precision");
    json_builder_add_string_value(json, rv_engine_precision(b->engine));
    json_builder_set_member_name(json, "model");
    json_builder_add_string_value(json, rv_pipeline_name(b->pipeline));
    json_builder_set_member_name(json, "size");
    g_autofree char *size = g_strdup_printf("%dx%d", b->request.width, b->request.height);
    json_builder_add_string_value(json, size);
    json_builder_set_member_name(json, "frames");
    json_builder_add_int_value(json, b->samples_ms->len);
    add_timings(json, t);
    json_builder_set_member_name(json, "per_stage_ms");
    json_builder_begin_object(json);
    add_number(json, "encode", b->costs.encode * 1e3 / runs);
    add_number(json, "unet", b->costs.unet * 1e3 / runs);
    add_number(json, "decode", b->costs.decode * 1e3 / runs);
    add_number(json, "upload", 0.0);
    add_number(json, "download", 0.0);
    json_builder_end_object(json);
    add_number(json, "tflop", b->flops * 1e-12);
    json_builder_set_member_name(json, "ceiling");
    json_builder_begin_object(json);
    add_number(json, "matmul_tflops", b->ceilings.matmul_flops * 1e-12);
    add_number(json, "copy_tb_s", b->ceilings.copy_bytes * 1e-12);
    json_builder_end_object(json);
    add_number(json, "fraction_of_ceiling", fraction);
    json_builder_set_member_name(json, "peak_device_bytes");
    json_builder_add_int_value(json, (gint64)rv_pipeline_device_bytes(b->pipeline));
    add_number(json, "ready_seconds", b->ready_seconds);
    json_builder_set_member_name(json, "samples_ms");
    json_builder_begin_array(json);
    for (guint i = 0; i < b->samples_ms->len; i++)
        json_builder_add_double_value(json, g_array_index(b->samples_ms, double, i));
    json_builder_end_array(json);
    json_builder_end_object(json);
    return json;
}

static bool
write_reports(const Bench *b, const char *what, int runs, GError **error)
{
    const double *samples = (const double *)b->samples_ms->data;
    int count = (int)b->samples_ms->len;
    RvTimings t = rv_timings_of(samples, count);
    double fraction = b->flops / (t.median * 1e-3) / b->ceilings.matmul_flops;
    FILE *to = bench.json != NULL && strcmp(bench.json, "-") == 0 ? stderr : stdout;
    fprintf(to, "%s, %dx%d: %d %ss, median %.1f ms, p99 %.1f, slowest %.1f (%.2f a second)\n",
            rv_pipeline_name(b->pipeline), b->request.width, b->request.height, count, what, t.median, t.p99,
            t.max, 1000.0 / t.median);
    fprintf(to, "encode %.1f ms, UNet %.1f ms, decode %.1f ms; ready after %.2f s\n",
            b->costs.encode * 1e3 / runs, b->costs.unet * 1e3 / runs, b->costs.decode * 1e3 / runs,
            b->ready_seconds);
    fprintf(to, "%.3f TFLOP a %s; ceiling %.3f TFLOP/s, copy %.1f GB/s: %.0f %% of the matrix ceiling\n",
            b->flops * 1e-12, what, b->ceilings.matmul_flops * 1e-12, b->ceilings.copy_bytes * 1e-9,
            fraction * 100.0);
    g_autofree char *title =
        g_strdup_printf("%s, %dx%d", rv_pipeline_name(b->pipeline), b->request.width, b->request.height);
    if (bench.svg != NULL && !rv_chart_write(bench.svg, title, samples, count, error))
        return false;
    if (bench.json == NULL)
        return true;
    g_autoptr(JsonBuilder) json = figures(b, &t, fraction, runs);
    if (strcmp(bench.json, "-") == 0)
        return rv_console_print_json(json, false, error);
    g_autofree char *text = rv_console_json_text(json, true);
    GError *failed = NULL;
    if (g_file_set_contents(bench.json, text, -1, &failed))
        return true;
    rv_error_set(error, RV_ERROR_IO, bench.json, "check the folder and the disk", "cannot write: %s",
                 failed->message);
    g_error_free(failed);
    return false;
}

static bool
run_frames(Bench *b, bool steps_only, GError **error)
{
    const char *usual = bench.random != NULL && strcmp(bench.random, "mini") != 0
                            ? (steps_only ? "512x512" : "1024x1024")
                            : "256x256";
    b->request.seed = 1;
    b->request.prompt = "a photograph of a mountain lake at dawn";
    if (!parse_size(bench.size != NULL ? bench.size : usual, &b->request.width, &b->request.height, error))
        return false;
    b->request.steps = bench.steps > 0 ? bench.steps : steps_only ? 20 : 2;
    b->request.cfg_scale = bench.cfg >= 0.0 ? bench.cfg : steps_only ? 7.0 : 0.0;
    b->request.images = steps_only ? rv_generate_options.batch : 1;
    if (!steps_only) {
        b->init = test_picture(b->request.width, b->request.height, error);
        b->request.init = b->init;
        b->request.strength = bench.strength >= 0.0 ? bench.strength : 0.7;
    }
    int frames = bench.frames > 0 ? bench.frames : 300;
    if (!open_pipeline(b, error) || !rv_engine_measure_ceilings(b->engine, &b->ceilings, error))
        return false;
    RvProfile *profile = bench.profile ? rv_profile_new(rv_engine_device(b->engine)) : NULL;
    rv_progress_bar_begin(&b->bar, steps_only ? "steps" : "frames");
    bool ok = steps_only ? time_steps(b, error) : time_frames(b, frames, error);
    rv_progress_bar_end(&b->bar);
    rv_profile_finish(profile, stderr);
    return ok && write_reports(b, steps_only ? "step" : "frame", steps_only ? 1 : frames, error);
}

typedef struct {
    double bytes;
    guint64 sum; /* so that the reading is not optimised away */
} ReadSum;

static void
sum_bytes(void *user, const char *name, const RvArray *array)
{
    ReadSum *sum = user;
    gsize size = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    const guint8 *data = array->data;
    for (gsize i = 0; i + 64 <= size; i += 64)
        sum->sum += data[i];
    sum->bytes += (double)size;
}

/* Seconds that reading the model's files takes by itself, now: from the page cache once they were read. */
static bool
time_reading(const char *path, double *seconds, double *bytes, GError **error)
{
    g_autoptr(RvModel) model = rv_model_open(path, NULL, error);
    if (model == NULL)
        return false;
    ReadSum sum = { 0 };
    gint64 start = g_get_monotonic_time();
    for (int part = 0; part < RV_PARTS; part++)
        rv_model_each(model, (RvPart)part, sum_bytes, &sum);
    *seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
    *bytes = sum.bytes;
    return true;
}

static bool
run_load(Bench *b, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    g_autofree char *path = rv_find_model(o->model, o->models_dir, error);
    double seconds, bytes;
    b->request.steps = 1;
    if (path == NULL || !time_reading(path, &seconds, &bytes, error) || !open_pipeline(b, error))
        return false;
    printf("%s: %.1f MB, ready after %.3f s (%.2f GB/s)\nreading the files alone: %.3f s (%.2f GB/s)\n",
           rv_pipeline_name(b->pipeline), bytes * 1e-6, b->ready_seconds, bytes * 1e-9 / b->ready_seconds,
           seconds, bytes * 1e-9 / MAX(seconds, 1e-9));
    return true;
}

int
rv_command_bench(int argc, char **argv)
{
    const RvOptionGroup groups[] = { { NULL, bench_entries }, { "Model", rv_model_entries }, { NULL, NULL } };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    rv_generate_options_init();
    bench = (BenchOptions) { .strength = -1.0, .cfg = -1.0 };
    Bench b = { .request.images = 1, .samples_ms = g_array_new(FALSE, FALSE, sizeof(double)) };
    b.request.eta = -1.0;
    bool ok = rv_parse_options(
        &argc, &argv, "frame|steps|load",
        "frame: whole image-to-image frames, as a mirror needs them; steps: the sampler's steps;\n"
        "load: from the disk to a model that is ready.",
        "Examples:\n  reverie bench frame --frames 100 --svg frames.svg\n"
        "  reverie bench steps --random sd15 --size 256x256 --steps 4 --json -\n"
        "  reverie bench load --model sd15.safetensors\n",
        groups, &arguments, &error);
    b.request.sampler = rv_generate_options.sampler;
    b.request.schedule = rv_generate_options.schedule;
    const char *what = ok && arguments[0] != NULL && arguments[1] == NULL ? arguments[0] : "";
    if (ok && strcmp(what, "frame") == 0)
        ok = run_frames(&b, false, &error);
    else if (ok && strcmp(what, "steps") == 0)
        ok = run_frames(&b, true, &error);
    else if (ok && strcmp(what, "load") == 0)
        ok = run_load(&b, &error);
    else if (ok)
        ok = rv_error_set(&error, RV_ERROR_USAGE, "bench", "see reverie bench --help",
                          "say frame, steps or load");
    rv_pipeline_free(b.pipeline);
    rv_engine_close(b.engine);
    rv_picture_free(b.init);
    g_array_unref(b.samples_ms);
    rv_generate_options_clear();
    return ok ? 0 : rv_console_fail(error);
}
