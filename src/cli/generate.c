#include "cli/generate.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/console.h"
#include "cli/networks.h"

RvGenerateOptions rv_generate_options;
#define OPTION(field) &rv_generate_options.field

const GOptionEntry rv_model_entries[] = {
    { "model", 0, 0, G_OPTION_ARG_FILENAME, OPTION(model),
      "Model: diffusers folder, .safetensors file, or a name in --models (default: mini)", "M" },
    { "models", 0, 0, G_OPTION_ARG_FILENAME, OPTION(models_dir),
      "Where names of models are looked up (also $REVERIE_MODELS)", "DIR" },
    { "vae", 0, 0, G_OPTION_ARG_FILENAME, OPTION(vae), "Autoencoder: model, taesd, or a file or folder",
      "VAE" },
    { "tokenizer", 0, 0, G_OPTION_ARG_FILENAME, OPTION(tokenizer),
      "vocab.json and merges.txt for a single file that needs others", "DIR" },
    { "prediction", 0, 0, G_OPTION_ARG_STRING, OPTION(prediction),
      "What the UNet predicts: auto, epsilon, v_prediction", "P" },
    { "device", 0, 0, G_OPTION_ARG_STRING, OPTION(device), "auto, cpu, cuda, cuda:0", "D" },
    { "precision", 0, 0, G_OPTION_ARG_STRING, OPTION(precision),
      "auto, fp32, fp16, bf16, fp8 (the CPU: fp32; fp8: GPUs from Ada on)", "P" },
    { "threads", 0, 0, G_OPTION_ARG_INT, OPTION(threads), "CPU threads (default: one per core)", "N" },
    { 0 },
};

const GOptionEntry rv_generate_entries[] = {
    { "prompt", 'p', 0, G_OPTION_ARG_STRING, OPTION(prompt), "What to draw; (words:1.3) weigh more", "TEXT" },
    { "negative", 'n', 0, G_OPTION_ARG_STRING, OPTION(negative), "What to avoid (used when --cfg is above 1)",
      "TEXT" },
    { "prompt-syntax", 0, 0, G_OPTION_ARG_STRING, OPTION(syntax),
      "explicit (default), a1111 (all brackets mean something), plain", "S" },
    { "output", 'o', 0, G_OPTION_ARG_FILENAME, OPTION(output),
      "Where to write (a picture: - is standard output)", "OUT" },
    { "seed", 0, 0, G_OPTION_ARG_STRING, OPTION(seed), "Seed of the first picture (default: random)", "N" },
    { "steps", 0, 0, G_OPTION_ARG_INT, OPTION(steps), "Sampling steps (default: 20; turbo models 4)", "N" },
    { "cfg", 0, 0, G_OPTION_ARG_DOUBLE, OPTION(cfg), "Guidance scale (default: 7; turbo models 1: none)",
      "X" },
    { "width", 0, 0, G_OPTION_ARG_INT, OPTION(width), "Pixels, a multiple of 8 (default: the model's)", "N" },
    { "height", 0, 0, G_OPTION_ARG_INT, OPTION(height), "Pixels, a multiple of 8 (default: the model's)",
      "N" },
    { "sampler", 0, 0, G_OPTION_ARG_STRING, OPTION(sampler),
      "euler, euler_a, heun, dpmpp_2m, dpmpp_sde, ddim, unipc, lcm ... or A1111's names", "S" },
    { "schedule", 0, 0, G_OPTION_ARG_STRING, OPTION(schedule),
      "automatic, leading, trailing, linspace, karras, exponential, sgm_uniform ...", "S" },
    { "noise", 0, 0, G_OPTION_ARG_STRING, OPTION(noise),
      "cpu (torch's CPU generator, default) or nv (as on an NVIDIA GPU)", "N" },
    { "clip-skip", 0, 0, G_OPTION_ARG_INT, OPTION(clip_skip),
      "1: the text encoder's last layer; 2: the one before", "N" },
    { "eta", 0, 0, G_OPTION_ARG_DOUBLE, OPTION(eta),
      "Noise of ancestral samplers and DDIM (default: the sampler's)", "X" },
    { 0 },
};

const GOptionEntry rv_picture_entries[] = {
    { "hires-scale", 0, 0, G_OPTION_ARG_DOUBLE, OPTION(hires_scale),
      "Draw it again so many times larger, from the first picture (hires fix)", "X" },
    { "hires-width", 0, 0, G_OPTION_ARG_INT, OPTION(hires_width), "The same, to this width", "N" },
    { "hires-height", 0, 0, G_OPTION_ARG_INT, OPTION(hires_height), "The same, to this height", "N" },
    { "hires-upscaler", 0, 0, G_OPTION_ARG_STRING, OPTION(hires_upscaler),
      "Latent (default), Latent (bicubic), Lanczos ..., or a network in --models/ESRGAN", "U" },
    { "hires-steps", 0, 0, G_OPTION_ARG_INT, OPTION(hires_steps),
      "Steps of the second pass (default: --steps)", "N" },
    { "hires-strength", 0, 0, G_OPTION_ARG_DOUBLE, OPTION(hires_strength),
      "How much the second pass may change (default: 0.7)", "X" },
    { "refiner", 0, 0, G_OPTION_ARG_FILENAME, OPTION(refiner),
      "Model that finishes the picture, from this share of the noise on (default: 0.8)", "M[:AT]" },
    { "tiling", 0, 0, G_OPTION_ARG_NONE, OPTION(tiling), "A picture whose edges fit each other", NULL },
    { "count", 0, 0, G_OPTION_ARG_INT, OPTION(count),
      "How many pictures, with seeds N, N+1 ...: out-1.png, out-2.png ...", "N" },
    { "batch", 0, 0, G_OPTION_ARG_INT, OPTION(batch), "How many at a time (default: 1)", "N" },
    { "json", 0, 0, G_OPTION_ARG_NONE, OPTION(json), "One JSON object per picture on standard output", NULL },
    { "show", 0, 0, G_OPTION_ARG_NONE, OPTION(show), "Show the picture in the terminal", NULL },
    { "preview", 0, 0, G_OPTION_ARG_FILENAME, OPTION(preview),
      "Keep a PNG there of what is expected, renewed at every step", "FILE" },
    { 0 },
};

void
rv_generate_options_init(void)
{
    rv_generate_options = (RvGenerateOptions) {
        .steps = -1,
        .width = -1,
        .height = -1,
        .count = 1,
        .batch = 1,
        .clip_skip = 1,
        .cfg = -1.0,
        .strength = -1.0,
        .eta = -1.0,
        .mask_blur = 4.0,
        .masked_padding = 32,
        .hires_strength = -1.0,
    };
}

void
rv_generate_options_clear(void)
{
    RvGenerateOptions *o = &rv_generate_options;
    char **strings[] = { &o->model,          &o->models_dir, &o->device,       &o->precision, &o->vae,
                         &o->tokenizer,      &o->prediction, &o->prompt,       &o->negative,  &o->syntax,
                         &o->seed,           &o->sampler,    &o->schedule,     &o->noise,     &o->input,
                         &o->output,         &o->mask,       &o->preview,      &o->resize,    &o->fill,
                         &o->hires_upscaler, &o->refiner,    &o->soft_settings };
    for (gsize i = 0; i < G_N_ELEMENTS(strings); i++)
        g_clear_pointer(strings[i], g_free);
    rv_network_options_clear();
}

/* Folder of the running binary; free with g_free. */
static char *
binary_folder(void)
{
    g_autofree char *path = g_file_read_link("/proc/self/exe", NULL);
    return path != NULL ? g_path_get_dirname(path) : g_strdup(".");
}

char **
rv_model_folders(const char *models_dir)
{
    g_autofree char *binary = binary_folder();
    GStrvBuilder *folders = g_strv_builder_new();
    const char *environment = g_getenv("REVERIE_MODELS");
    if (models_dir != NULL)
        g_strv_builder_add(folders, models_dir);
    if (environment != NULL && *environment != '\0')
        g_strv_builder_add(folders, environment);
    g_strv_builder_add(folders, "models");
    const char *const beside[] = { "models", "../models", "../share/reverie/models" };
    for (gsize i = 0; i < G_N_ELEMENTS(beside); i++) {
        g_autofree char *folder = g_build_filename(binary, beside[i], NULL);
        g_strv_builder_add(folders, folder);
    }
    char **list = g_strv_builder_end(folders);
    g_strv_builder_unref(folders);
    return list;
}

char *
rv_find_model(const char *name, const char *models_dir, GError **error)
{
    const char *wanted = name == NULL ? "mini" : name;
    if (*wanted == '\0') {
        rv_error_set(error, RV_ERROR_USAGE, "--model", "give a path or a name",
                     "the name of the model is empty");
        return NULL;
    }
    if (name != NULL && (strchr(name, '/') != NULL || g_file_test(name, G_FILE_TEST_EXISTS))) {
        if (g_file_test(name, G_FILE_TEST_EXISTS))
            return g_strdup(name);
        rv_error_set(error, RV_ERROR_NOT_FOUND, name, "check the path", "there is no such model");
        return NULL;
    }
    g_auto(GStrv) folders = rv_model_folders(models_dir);
    for (char **folder = folders; *folder != NULL; folder++) {
        g_autofree char *path = g_build_filename(*folder, wanted, NULL);
        g_autofree char *file = g_strconcat(path, ".safetensors", NULL);
        if (g_file_test(path, G_FILE_TEST_EXISTS))
            return g_steal_pointer(&path);
        if (g_file_test(file, G_FILE_TEST_EXISTS))
            return g_steal_pointer(&file);
    }
    g_autofree char *all = g_strjoinv(", ", folders);
    g_autofree char *todo = g_strdup_printf("give a path, or a name that lies in one of: %s", all);
    rv_error_set(error, RV_ERROR_NOT_FOUND, wanted, todo, "there is no model of that name");
    return NULL;
}

bool
rv_generate_open(RvEngine **engine, RvPipeline **pipeline, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    if (o->threads < 0 || o->threads > 1024)
        return rv_error_set(error, RV_ERROR_USAGE, "--threads", "give a number from 1 to 1024",
                            "%d threads are out of range", o->threads);
    g_autofree char *path = rv_find_model(o->model, o->models_dir, error);
    if (path == NULL)
        return false;
    RvEngineOptions engine_options = { o->device, o->precision, o->threads, rv_console_cancel_flag() };
    *engine = rv_engine_open(&engine_options, error);
    if (*engine == NULL)
        return false;
    const RvLibrary *library = rv_network_library(o->models_dir, error);
    if (library == NULL)
        return false;
    RvPipelineOptions options = { o->vae, o->tokenizer, o->prediction, o->models_dir, library, false };
    *pipeline = rv_pipeline_open(*engine, path, &options, error);
    return *pipeline != NULL;
}

/* MODEL, or MODEL:AT; a model whose path ends like that may be given, too. */
static char *
parse_refiner(const char *text, double *switch_at)
{
    const char *colon = g_file_test(text, G_FILE_TEST_EXISTS) ? NULL : strrchr(text, ':');
    char *end;
    *switch_at = 0.8;
    if (colon == NULL)
        return g_strdup(text);
    *switch_at = g_ascii_strtod(colon + 1, &end);
    if (end == colon + 1 || *end != '\0')
        return g_strdup(text);
    return g_strndup(text, (gsize)(colon - text));
}

bool
rv_generate_open_refiner(RvEngine *engine, RvPipeline **refiner, RvRequest *request, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    if (o->refiner == NULL)
        return true;
    g_autofree char *name = parse_refiner(o->refiner, &request->refiner_switch_at);
    g_autofree char *path = rv_find_model(name, o->models_dir, error);
    const RvLibrary *library = path != NULL ? rv_network_library(o->models_dir, error) : NULL;
    if (library == NULL)
        return false;
    RvPipelineOptions options = { .models_dir = o->models_dir, .library = library, .takes_refiner = true };
    *refiner = request->refiner = rv_pipeline_open(engine, path, &options, error);
    return *refiner != NULL;
}

/* A seed and those that follow it (at most MAX_COUNT) are whole numbers of JSON readers, too. */
#define MAX_COUNT 100000
#define MAX_SEED ((guint64)G_MAXINT64 - MAX_COUNT)

static bool
parse_seed(const char *text, guint64 *seed, GError **error)
{
    if (text == NULL || strcmp(text, "-1") == 0) {
        *seed = g_random_int();
        return true;
    }
    if (g_ascii_string_to_unsigned(text, 10, 0, MAX_SEED, seed, NULL))
        return true;
    return rv_error_set(error, RV_ERROR_USAGE, "--seed",
                        "give a whole number from 0 to 9223372036854675807, or -1 for a random one",
                        "\"%s\" is no seed", text);
}

static bool
parse_syntax(const char *text, RvPromptSyntax *syntax, GError **error)
{
    static const char *const names[] = { "a1111", "explicit", "plain" };
    static const RvPromptSyntax values[] = { RV_PROMPT_A1111, RV_PROMPT_EXPLICIT, RV_PROMPT_PLAIN };
    *syntax = RV_PROMPT_EXPLICIT;
    for (gsize i = 0; text != NULL && i < G_N_ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *syntax = values[i];
            return true;
        }
    return text == NULL || rv_error_set(error, RV_ERROR_USAGE, "--prompt-syntax",
                                        "use explicit, a1111 or plain", "there is no syntax \"%s\"", text);
}

static bool
check_range(const char *option, double value, double low, double high, GError **error)
{
    if (value >= low && value <= high)
        return true;
    g_autofree char *todo = g_strdup_printf("give a number from %g to %g", low, high);
    return rv_error_set(error, RV_ERROR_USAGE, option, todo, "%g is out of range", value);
}

bool
rv_generate_request(RvRequest *request, GError **error)
{
    RvGenerateOptions *o = &rv_generate_options;
    *request = (RvRequest) {
        .prompt = o->prompt,
        .negative_prompt = o->negative,
        .steps = MAX(o->steps, 0),
        .cfg_scale = o->cfg,
        .width = MAX(o->width, 0),
        .height = MAX(o->height, 0),
        .images = 1,
        .sampler = o->sampler,
        .schedule = o->schedule,
        .clip_skip = o->clip_skip,
        .eta = o->eta,
        .strength = o->strength,
        .mask_blur = o->mask_blur,
        .tiling = o->tiling,
    };
    if (o->noise != NULL && !rv_noise_parse_kind(o->noise, &request->noise))
        return rv_error_set(error, RV_ERROR_USAGE, "--noise", "use cpu or nv", "there is no noise \"%s\"",
                            o->noise);
    return parse_seed(o->seed, &request->seed, error) && parse_syntax(o->syntax, &request->syntax, error) &&
           (o->steps == -1 || check_range("--steps", o->steps, 1, RV_MAX_STEPS, error)) &&
           (o->width == -1 || check_range("--width", o->width, RV_MIN_SIZE, RV_MAX_SIZE, error)) &&
           (o->height == -1 || check_range("--height", o->height, RV_MIN_SIZE, RV_MAX_SIZE, error)) &&
           check_range("--count", o->count, 1, MAX_COUNT, error) &&
           check_range("--batch", o->batch, 1, RV_MAX_BATCH, error) &&
           check_range("--clip-skip", o->clip_skip, 1, 64, error) &&
           (o->cfg == -1.0 || check_range("--cfg", o->cfg, 0, 100, error)) &&
           (o->strength == -1.0 || check_range("--strength", o->strength, 0, 1, error)) &&
           (o->eta == -1.0 || check_range("--eta", o->eta, 0, 10, error)) &&
           check_range("--mask-blur", o->mask_blur, 0, 512, error) &&
           check_range("--masked-padding", o->masked_padding, 0, RV_MAX_SIZE, error);
}

bool
rv_generate_hires(RvHires *storage, const RvHires **hires, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    bool wanted = o->hires_scale != 0.0 || o->hires_width != 0 || o->hires_height != 0;
    *hires = NULL;
    bool given = o->hires_upscaler != NULL || o->hires_steps != 0 || o->hires_strength != -1.0;
    if (!wanted && given)
        return rv_error_set(error, RV_ERROR_USAGE, "--hires-scale", "add --hires-scale 2",
                            "it is not said how large the second pass is to be");
    if (!wanted)
        return true;
    if ((o->hires_scale != 0.0 && !check_range("--hires-scale", o->hires_scale, 1, 8, error)) ||
        (o->hires_width != 0 &&
         !check_range("--hires-width", o->hires_width, RV_MIN_SIZE, RV_MAX_SIZE, error)) ||
        (o->hires_height != 0 &&
         !check_range("--hires-height", o->hires_height, RV_MIN_SIZE, RV_MAX_SIZE, error)) ||
        (o->hires_steps != 0 && !check_range("--hires-steps", o->hires_steps, 1, RV_MAX_STEPS, error)) ||
        (o->hires_strength != -1.0 && !check_range("--hires-strength", o->hires_strength, 0.001, 1, error)))
        return false;
    *storage = (RvHires) { .upscaler = o->hires_upscaler,
                           .scale = o->hires_scale,
                           .width = o->hires_width,
                           .height = o->hires_height,
                           .steps = o->hires_steps,
                           .strength = o->hires_strength > 0.0 ? o->hires_strength : 0.7 };
    *hires = storage;
    return true;
}

void
rv_generate_note_negative(const RvRequest *request)
{
    if (request->negative_prompt != NULL && *request->negative_prompt != '\0' && request->cfg_scale <= 1.0)
        rv_console_note("--negative has no effect at a guidance scale of %g: give --cfg above 1",
                        request->cfg_scale);
}

char *
rv_numbered_path(const char *path, int number)
{
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (dot == NULL || (slash != NULL && dot < slash))
        return g_strdup_printf("%s-%d", path, number);
    return g_strdup_printf("%.*s-%d%s", (int)(dot - path), path, number, dot);
}
