/* pipeline_open.c - from a model on disk (or random weights) to a pipeline. */
#include <string.h>

#include "engine/calibrate.h"
#include "engine/pipeline_internal.h"
#include "engine/random_model.h"
#include "engine/scheduler_file.h"
#include "weights/mapped.h"

static bool
part_find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    const RvPartSource *source = self;
    return rv_model_get(source->model, source->part, name, rank, shape, out, error);
}

static void
part_done(void *self, const RvArray *array)
{
    const RvPartSource *source = self;
    rv_model_done(source->model, array);
}

/* SDXL's own VAE overflows half floats; its activations keep to bfloat16's range. */
static RvDType
autoencoder_type(const RvPipeline *pipeline, bool tiny)
{
    RvDeviceInfo info;
    rv_device_describe(rv_engine_device(pipeline->engine), &info);
    bool overflows = !tiny && pipeline->traits.family == RV_FAMILY_SDXL;
    return info.compute == RV_F16 && overflows ? RV_BF16 : info.compute;
}

void
rv_pipeline_assemble(RvPipeline *pipeline, RvPipelineParts *parts)
{
    RvTextEncoder *first = NULL, *second = NULL;
    if (parts->text != NULL)
        first = rv_text_encoder_new(pipeline->engine, parts->text, parts->sources[RV_PART_TEXT],
                                    parts->tokenizers[0], parts->pads[0]);
    if (parts->text2 != NULL)
        second = rv_text_encoder_new(pipeline->engine, parts->text2, parts->sources[RV_PART_TEXT2],
                                     parts->tokenizers[1], parts->pads[1]);
    pipeline->conditioner = rv_conditioner_new(first, second, parts->library);
    g_autofree char *calibration =
        rv_calibration_name(pipeline->engine, parts->unet, parts->sources[RV_PART_UNET]);
    pipeline->denoiser =
        rv_denoiser_new(pipeline->engine, parts->unet, parts->sources[RV_PART_UNET], calibration);
    pipeline->upscalers = rv_upscalers_new(pipeline->engine, parts->library);
    pipeline->controls = rv_controls_new(pipeline->engine, parts->unet, parts->library);
    rv_networks_attach(pipeline->networks, RV_PART_UNET, rv_denoiser_weights(pipeline->denoiser));
    for (int i = 0; i < 2; i++)
        if (rv_conditioner_weights(pipeline->conditioner, i) != NULL)
            rv_networks_attach(pipeline->networks, i == 0 && first != NULL ? RV_PART_TEXT : RV_PART_TEXT2,
                               rv_conditioner_weights(pipeline->conditioner, i));
    RvPart autoencoder = parts->taesd != NULL ? RV_PART_TAESD : RV_PART_VAE;
    pipeline->autoencoder =
        rv_autoencoder_new(pipeline->engine, parts->taesd != NULL ? NULL : parts->vae, parts->taesd,
                           parts->sources[autoencoder], autoencoder_type(pipeline, parts->taesd != NULL));
}

/* --vae as a path; "taesd" is looked for beside the parts of the model, then in the models' folder. */
static bool
find_vae(const char *model, const RvPipelineOptions *options, char **path, GError **error)
{
    *path = NULL;
    if (options->vae == NULL || strcmp(options->vae, "model") == 0)
        return true;
    if (strcmp(options->vae, "taesd") != 0) {
        *path = g_strdup(options->vae);
        return true;
    }
    g_autofree char *beside = g_path_get_dirname(model);
    const char *const folders[] = { model, beside, options->models_dir };
    const char *const names[] = { "taesd", "taesdxl", "taesd.safetensors", "taesdxl.safetensors" };
    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
        for (gsize j = 0; folders[i] != NULL && j < G_N_ELEMENTS(names); j++) {
            g_autofree char *candidate = g_build_filename(folders[i], names[j], NULL);
            if (g_file_test(candidate, G_FILE_TEST_EXISTS)) {
                *path = g_steal_pointer(&candidate);
                return true;
            }
        }
    return rv_error_set(error, RV_ERROR_NOT_FOUND, "--vae taesd",
                        "put taesd or taesdxl beside the model, or give its path",
                        "there is no tiny autoencoder for this model");
}

static RvTokenizer *
open_tokenizer(const char *folder, GError **error)
{
    return folder != NULL ? rv_tokenizer_new_from_folder(folder, error) : rv_tokenizer_new_builtin(error);
}

static bool
vocabulary_fits(const RvTokenizer *tokenizer, const RvClipConfig *config, const char *part, GError **error)
{
    if (rv_tokenizer_size(tokenizer) <= config->vocab_size)
        return true;
    return rv_error_set(error, RV_ERROR_INVALID, part, "give the model's own vocabulary with --tokenizer DIR",
                        "the tokenizer knows %d tokens, the text encoder only %d",
                        rv_tokenizer_size(tokenizer), config->vocab_size);
}

/* The second encoder's folder when the first one's was given: DIR_2 beside it, as diffusers names them. */
static char *
second_tokenizer_folder(const char *first)
{
    if (first == NULL)
        return NULL;
    g_autofree char *plain = g_canonicalize_filename(first, NULL);
    char *second = g_strconcat(plain, "_2", NULL);
    if (!g_file_test(second, G_FILE_TEST_IS_DIR))
        g_clear_pointer(&second, g_free);
    return second;
}

static bool
open_first_tokenizer(RvPipeline *pipeline, const RvPipelineOptions *options, RvPipelineParts *parts,
                     GError **error)
{
    if (parts->text == NULL)
        return true;
    const char *first =
        options->tokenizer != NULL ? options->tokenizer : rv_model_tokenizer(pipeline->model, RV_PART_TEXT);
    parts->tokenizers[0] = open_tokenizer(first, error);
    if (parts->tokenizers[0] == NULL ||
        !vocabulary_fits(parts->tokenizers[0], parts->text, "text_encoder", error))
        return false;
    parts->pads[0] = first == NULL && pipeline->traits.family == RV_FAMILY_SD21 ? 0 : -1;
    return true;
}

/* OpenCLIP's own tokenizer pads with zeros, CLIP's with the end token; a folder may say otherwise. */
static bool
open_tokenizers(RvPipeline *pipeline, const RvPipelineOptions *options, RvPipelineParts *parts,
                GError **error)
{
    if (!open_first_tokenizer(pipeline, options, parts, error))
        return false;
    if (parts->text2 == NULL)
        return true;
    g_autofree char *beside = second_tokenizer_folder(options->tokenizer);
    const char *second = beside != NULL               ? beside
                         : options->tokenizer != NULL ? options->tokenizer
                                                      : rv_model_tokenizer(pipeline->model, RV_PART_TEXT2);
    parts->tokenizers[1] = open_tokenizer(second, error);
    if (parts->tokenizers[1] == NULL ||
        !vocabulary_fits(parts->tokenizers[1], parts->text2, "text_encoder_2", error))
        return false;
    bool own_folder = second != NULL && second != options->tokenizer;
    parts->pads[1] = own_folder ? -1 : 0;
    return true;
}

static bool
choose_prediction(const RvPipeline *pipeline, const char *name, RvPrediction *prediction, GError **error)
{
    if (name == NULL || strcmp(name, "auto") == 0) {
        if (!pipeline->has_scheduler)
            *prediction = pipeline->traits.prediction == RV_MODEL_PREDICTION_V ? RV_PREDICTION_V
                                                                               : RV_PREDICTION_EPSILON;
    } else if (strcmp(name, "epsilon") == 0) {
        *prediction = RV_PREDICTION_EPSILON;
    } else if (strcmp(name, "v_prediction") == 0) {
        *prediction = RV_PREDICTION_V;
    } else {
        return rv_error_set(error, RV_ERROR_USAGE, "--prediction", "use auto, epsilon or v_prediction",
                            "there is no prediction \"%s\"", name);
    }
    return true;
}

/* What the folder says; for a single file the values with which Stable Diffusion was trained. */
static bool
configure_scheduler(RvPipeline *pipeline, const RvPipelineOptions *options, GError **error)
{
    const char *path = pipeline->model != NULL ? rv_model_scheduler(pipeline->model) : NULL;
    RvSchedulerConfig *config = &pipeline->scheduler;
    pipeline->has_scheduler = path != NULL;
    if (path != NULL) {
        if (!rv_scheduler_config_read(config, path, error))
            return false;
    } else {
        rv_scheduler_config_init(config);
        config->steps_offset = 1;
        config->set_alpha_to_one = 0;
        config->rescale_betas_zero_snr = pipeline->traits.zero_terminal_snr;
    }
    if (config->clip_sample == -1)
        config->clip_sample = 0; /* the class's default is for pixels; latents are never clipped */
    config->is_sdxl = pipeline->traits.family == RV_FAMILY_SDXL;
    return choose_prediction(pipeline, options->prediction, &config->prediction_type, error);
}

/* What the text encoders give must be what the UNet takes. */
static bool
check_text(const RvModel *model, GError **error)
{
    const RvUnetConfig *unet = rv_model_unet_config(model);
    const RvClipConfig *first = rv_model_clip_config(model, RV_PART_TEXT),
                       *second = rv_model_clip_config(model, RV_PART_TEXT2);
    int width = (first != NULL ? first->hidden_size : 0) + (second != NULL ? second->hidden_size : 0);
    int pooled = second == NULL               ? 0
                 : second->projection_dim > 0 ? second->projection_dim
                                              : second->hidden_size;
    if (width != unet->cross_attention_dim && unet->cross_attention_dim > 0)
        return rv_error_set(error, RV_ERROR_INVALID, rv_model_path(model), "download the whole model again",
                            "the text encoders give %d numbers a token and the UNet takes %d", width,
                            unet->cross_attention_dim);
    if (pooled != unet->pooled_dim && unet->pooled_dim > 0)
        return rv_error_set(error, RV_ERROR_INVALID, rv_model_path(model), "download the whole model again",
                            "the text encoders give %d pooled numbers and the UNet takes %d", pooled,
                            unet->pooled_dim);
    return true;
}

static bool
check_parts(const RvPipeline *pipeline, bool takes_refiner, GError **error)
{
    bool is_refiner = pipeline->traits.variant == RV_VARIANT_REFINER;
    if (!rv_model_require(pipeline->model, RV_PART_UNET, error) ||
        !rv_model_require(pipeline->model, is_refiner ? RV_PART_TEXT2 : RV_PART_TEXT, error))
        return false;
    if (!rv_model_has(pipeline->model, RV_PART_TAESD) &&
        !rv_model_require(pipeline->model, RV_PART_VAE, error))
        return false;
    if ((is_refiner && !takes_refiner) || pipeline->traits.variant == RV_VARIANT_DEPTH ||
        pipeline->traits.variant == RV_VARIANT_PIX2PIX)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, rv_model_path(pipeline->model),
                            "use a base, turbo or inpainting model",
                            "this is a %s model, which cannot draw by itself here",
                            rv_variant_name(pipeline->traits.variant));
    return rv_model_check(pipeline->model, error) && check_text(pipeline->model, error);
}

static char *
stem_of(const char *path)
{
    g_autofree char *whole = g_canonicalize_filename(path, NULL);
    char *stem = g_path_get_basename(whole);
    if (g_str_has_suffix(stem, ".safetensors"))
        stem[strlen(stem) - strlen(".safetensors")] = '\0';
    return stem;
}

static bool
open_model(RvPipeline *pipeline, const char *path, const RvPipelineOptions *options, GError **error)
{
    g_autofree char *vae = NULL;
    if (!find_vae(path, options, &vae, error))
        return false;
    pipeline->model = rv_model_open(path, &(RvModelOptions) { .vae = vae }, error);
    if (pipeline->model == NULL)
        return false;
    pipeline->traits = *rv_model_traits(pipeline->model);
    if (!check_parts(pipeline, options->takes_refiner, error) ||
        !configure_scheduler(pipeline, options, error))
        return false;

    const RvModel *model = pipeline->model;
    RvPipelineParts parts = {
        .library = options->library,
        .text = rv_model_clip_config(model, RV_PART_TEXT),
        .text2 = rv_model_clip_config(model, RV_PART_TEXT2),
        .unet = rv_model_unet_config(model),
        .vae = rv_model_vae_config(model),
        /* A TAESD that lies beside the model's own VAE is for --vae taesd, which takes the VAE's place. */
        .taesd = rv_model_has(model, RV_PART_VAE) ? NULL : rv_model_taesd_config(model),
    };
    for (int i = 0; i < RV_PARTS; i++) {
        pipeline->parts[i] = (RvPartSource) { pipeline->model, (RvPart)i };
        parts.sources[i] = (RvWeightSource) { part_find, part_done, &pipeline->parts[i] };
    }
    if (!open_tokenizers(pipeline, options, &parts, error)) {
        rv_tokenizer_free(parts.tokenizers[0]);
        rv_tokenizer_free(parts.tokenizers[1]);
        return false;
    }
    pipeline->networks = rv_networks_new(pipeline->model, options->library);
    rv_pipeline_assemble(pipeline, &parts);
    return true;
}

RvPipeline *
rv_pipeline_open(RvEngine *engine, const char *path, const RvPipelineOptions *options, GError **error)
{
    guint torn = rv_mapped_torn();
    g_autoptr(RvPipeline) pipeline = g_new0(RvPipeline, 1);
    pipeline->engine = engine;
    pipeline->name = stem_of(path);
    return open_model(pipeline, path, options, error) && rv_pipeline_calibrate(pipeline, error) &&
                   rv_mapped_check(torn, error)
               ? g_steal_pointer(&pipeline)
               : NULL;
}

RvPipeline *
rv_pipeline_open_random(RvEngine *engine, const char *family, const RvPipelineOptions *options,
                        GError **error)
{
    RvRandomModel shape;
    if (!rv_random_model_init(&shape, family, error))
        return NULL;
    bool tiny = options->vae != NULL ? strcmp(options->vae, "taesd") == 0 : shape.is_tiny_usual;
    g_autoptr(RvPipeline) pipeline = g_new0(RvPipeline, 1);
    pipeline->engine = engine;
    pipeline->name = g_strdup_printf("random-%s", family);
    pipeline->traits = shape.traits;
    if (!configure_scheduler(pipeline, options, error))
        return NULL;
    if (shape.traits.variant == RV_VARIANT_TURBO)
        pipeline->scheduler.timestep_spacing = RV_SPACING_TRAILING;
    pipeline->random = rv_random_source_new(1);
    RvPipelineParts parts = {
        .library = options->library,
        .text = &shape.text,
        .text2 = shape.has_text2 ? &shape.text2 : NULL,
        .unet = &shape.unet,
        .vae = tiny ? NULL : &shape.vae,
        .taesd = tiny ? &shape.taesd : NULL,
        .pads = { -1, 0 },
    };
    for (int i = 0; i < RV_PARTS; i++)
        parts.sources[i] = rv_random_source_weights(pipeline->random);
    parts.tokenizers[0] = rv_tokenizer_new_builtin(error);
    if (parts.tokenizers[0] == NULL)
        return NULL;
    parts.tokenizers[1] = shape.has_text2 ? rv_tokenizer_new_builtin(error) : NULL;
    pipeline->networks = rv_networks_new(NULL, options->library);
    rv_pipeline_assemble(pipeline, &parts);
    return rv_pipeline_calibrate(pipeline, error) ? g_steal_pointer(&pipeline) : NULL;
}

void
rv_pipeline_free(RvPipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    rv_networks_free(pipeline->networks);
    rv_controls_free(pipeline->controls);
    rv_upscalers_free(pipeline->upscalers);
    rv_conditioner_free(pipeline->conditioner);
    rv_denoiser_free(pipeline->denoiser);
    rv_autoencoder_free(pipeline->autoencoder);
    rv_random_source_free(pipeline->random);
    rv_model_close(pipeline->model);
    g_free(pipeline->name);
    g_free(pipeline);
}

const char *
rv_pipeline_name(const RvPipeline *pipeline)
{
    return pipeline->name;
}

bool
rv_pipeline_is_turbo(const RvPipeline *pipeline)
{
    RvVariant variant = pipeline->traits.variant;
    return variant == RV_VARIANT_TURBO || variant == RV_VARIANT_LIGHTNING || variant == RV_VARIANT_LCM ||
           strcmp(pipeline->traits.family_name, "mini") == 0;
}

RvStageCosts
rv_pipeline_costs(const RvPipeline *pipeline)
{
    return pipeline->costs;
}

gsize
rv_pipeline_device_bytes(const RvPipeline *pipeline)
{
    if (rv_device_is_asleep(rv_engine_device(pipeline->engine)))
        return 0;
    return rv_conditioner_bytes(pipeline->conditioner) + rv_denoiser_bytes(pipeline->denoiser) +
           rv_controls_bytes(pipeline->controls) + rv_upscalers_bytes(pipeline->upscalers) +
           rv_autoencoder_bytes(pipeline->autoencoder) +
           rv_device_scratch(rv_engine_device(pipeline->engine));
}
