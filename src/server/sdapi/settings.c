#include "server/sdapi/settings.h"

#include <string.h>

#define OF(NAME, KIND, INITIAL, HELP)     \
    {                                     \
        NAME, KIND, INITIAL, .help = HELP \
    }
#define TEXT(NAME, INITIAL, HELP) OF(NAME, RV_FIELD_TEXT, INITIAL, HELP)
#define BOOL(NAME, INITIAL, HELP) OF(NAME, RV_FIELD_BOOL, INITIAL, HELP)
#define INTEGER(NAME, INITIAL, LEAST, MOST, HELP)                  \
    {                                                              \
        NAME, RV_FIELD_INTEGER, INITIAL, LEAST, MOST, .help = HELP \
    }
#define NUMBER(NAME, INITIAL, LEAST, MOST, HELP)                  \
    {                                                             \
        NAME, RV_FIELD_NUMBER, INITIAL, LEAST, MOST, .help = HELP \
    }

/* What is done as it says. */
static const RvField honoured[] = {
    TEXT("sd_model_checkpoint", "null", "The model, by title; null: the server's"),
    TEXT("sd_vae", "\"Automatic\"",
         "Automatic: the one beside the model, or its own; None: its own; see sd-vae"),
    INTEGER("CLIP_stop_at_last_layers", "1", 1, 12, "Clip skip"),
    TEXT("randn_source", "\"NV\"", "Noise: NV is the same on any device; CPU; GPU as CUDA lays it out"),
    NUMBER("eta_ancestral", "1.0", 0, 10, "Noise of ancestral samplers"),
    NUMBER("eta_ddim", "0.0", 0, 10, "Noise of DDIM"),
    NUMBER("s_churn", "0.0", 0, 100, "Karras et al. 2022, algorithm 2"),
    NUMBER("s_tmin", "0.0", 0, 1000, "Churn only above this sigma"),
    NUMBER("s_tmax", "0.0", 0, 1000, "Churn only below this sigma; 0: any"),
    NUMBER("s_noise", "1.0", 0, 10, "Scale of fresh noise"),
    INTEGER("eta_noise_seed_delta", "0", -1000000000, 1000000000,
            "Added to the seed of all noise but the first"),
    NUMBER("initial_noise_multiplier", "1.0", 0, 10, "Of the noise that img2img begins with"),
    BOOL("tiling", "false", "Pictures whose edges meet"),
    BOOL("refiner_switch_by_sample_steps", "false", "refiner_switch_at counts steps, not noise"),
    TEXT("samples_format", "\"png\"", "png, jpg or webp"),
    INTEGER("jpeg_quality", "80", 1, 100, "Of jpg and webp"),
    BOOL("webp_lossless", "false", "Of webp"),
    BOOL("samples_save", "true", "With save_images: keep the pictures"),
    BOOL("enable_pnginfo", "true", "Files say how they were made"),
    TEXT("samples_filename_pattern", "\"\"", "Names of kept files, after the number; \"\": [seed]"),
    BOOL("save_images_add_number", "true", "Names of kept files begin with a number"),
    BOOL("save_to_dirs", "true", "Kept files lie in folders"),
    TEXT("directories_filename_pattern", "\"[date]\"", "Names of these folders"),
    INTEGER("directories_max_prompt_words", "8", 1, 20, "Of [prompt_words]"),
    BOOL("return_grid", "true", "A grid of saved batches comes first"),
    BOOL("grid_save", "true", "With save_images: keep grids"),
    TEXT("grid_format", "\"png\"", "Of kept grids: png, jpg or webp"),
    BOOL("grid_extended_filename", "false", "Names of grids are as those of pictures"),
    BOOL("grid_only_if_multiple", "true", "No grid of one picture"),
    BOOL("grid_prevent_empty_spots", "false", "Rows of a grid are all as long"),
    INTEGER("n_rows", "-1", -1, 16, "Of grids; -1: as square as it gets, 0: as many as the batch's size"),
    BOOL("grid_save_to_dirs", "true", "Kept grids lie in folders"),
    BOOL("enable_prompt_comments", "true", "# begins a comment in prompts"),
    BOOL("do_not_show_images", "false", "Answers hold no pictures"),
    BOOL("live_previews_enable", "true", "Progress holds previews"),
    INTEGER("show_progress_every_n_steps", "10", -1, 500, "How often; -1: never"),
    BOOL("control_net_no_detectmap", "false", "Answers hold no detected maps"),
    { 0 },
};

/* What changes nothing in a picture: kept and given back. */
static const RvField kept[] = {
    TEXT("outdir_samples", "\"\"", "Kept for clients that read it"),
    TEXT("outdir_txt2img_samples", "\"outputs/txt2img-images\"", "Kept for clients that read it"),
    TEXT("outdir_img2img_samples", "\"outputs/img2img-images\"", "Kept for clients that read it"),
    TEXT("outdir_extras_samples", "\"outputs/extras-images\"", "Kept for clients that read it"),
    TEXT("outdir_grids", "\"\"", "Kept for clients that read it"),
    TEXT("outdir_txt2img_grids", "\"outputs/txt2img-grids\"", "Kept for clients that read it"),
    TEXT("outdir_img2img_grids", "\"outputs/img2img-grids\"", "Kept for clients that read it"),
    TEXT("outdir_save", "\"log/images\"", "Kept for clients that read it"),
    TEXT("live_previews_image_format", "\"jpeg\"", "Kept for clients that read it"),
    TEXT("show_progress_type", "\"Approx NN\"", "Kept for clients that read it"),
    BOOL("api_enable_requests", "false", "Addresses are never fetched"),
    BOOL("api_forbid_local_requests", "true", "Addresses are never fetched"),
    TEXT("sd_checkpoint_hash", "\"\"", "Of the model, once known; read only"),
    INTEGER("sd_checkpoints_limit", "1", 1, 10, "Memory is managed by itself"),
    BOOL("sd_checkpoints_keep_in_cpu", "true", "Memory is managed by itself"),
    INTEGER("sd_checkpoint_cache", "0", 0, 10, "Memory is managed by itself"),
    TEXT("face_restoration_model", "null", "No such model is built in"),
    TEXT("sd_hypernetwork", "\"None\"", "Not supported"),
    OF("quicksettings_list", RV_FIELD_ARRAY, "[\"sd_model_checkpoint\"]", "Kept for clients that read it"),
    OF("ui_reorder_list", RV_FIELD_ARRAY, "[]", "Kept for clients that read it"),
    TEXT("localization", "\"None\"", "Kept for clients that read it"),
    { 0 },
};

/* What would change pictures and is done in one way only: other values are refused. */
static const RvField fixed[] = {
    TEXT("emphasis", "\"Original\"", "As is"),
    INTEGER("comma_padding_backtrack", "20", 0, 0, "As is"),
    BOOL("img2img_color_correction", "false", "As is"),
    BOOL("img2img_fix_steps", "false", "As is"),
    TEXT("img2img_background_color", "\"#ffffff\"", "As is"),
    NUMBER("img2img_extra_noise", "0.0", 0, 0, "As is"),
    NUMBER("inpainting_mask_weight", "1.0", 0, 0, "As is"),
    BOOL("overlay_inpaint", "true", "As is"),
    BOOL("return_mask", "false", "As is"),
    BOOL("return_mask_composite", "false", "As is"),
    NUMBER("s_min_uncond", "0.0", 0, 0, "As is"),
    NUMBER("sigma_min", "0.0", 0, 0, "As is"),
    NUMBER("sigma_max", "0.0", 0, 0, "As is"),
    NUMBER("rho", "0.0", 0, 0, "As is"),
    BOOL("sgm_noise_multiplier", "false", "As is"),
    BOOL("always_discard_next_to_last_sigma", "false", "As is"),
    TEXT("uni_pc_variant", "\"bh1\"", "As is"),
    TEXT("uni_pc_skip_type", "\"time_uniform\"", "As is"),
    INTEGER("uni_pc_order", "3", 0, 0, "As is"),
    BOOL("uni_pc_lower_order_final", "true", "As is"),
    TEXT("hires_fix_refiner_pass", "\"second pass\"", "As is"),
    TEXT("sd_noise_schedule", "\"Default\"", "As is"),
    NUMBER("beta_dist_alpha", "0.6", 0, 0, "As is"),
    NUMBER("beta_dist_beta", "0.6", 0, 0, "As is"),
    BOOL("pad_cond_uncond", "false", "As is"),
    NUMBER("token_merging_ratio", "0.0", 0, 0, "As is"),
    NUMBER("token_merging_ratio_img2img", "0.0", 0, 0, "As is"),
    NUMBER("token_merging_ratio_hr", "0.0", 0, 0, "As is"),
    NUMBER("skip_early_cond", "0.0", 0, 0, "As is"),
    INTEGER("sdxl_crop_top", "0", 0, 0, "As is"),
    INTEGER("sdxl_crop_left", "0", 0, 0, "As is"),
    NUMBER("sdxl_refiner_low_aesthetic_score", "2.5", 0, 0, "As is"),
    NUMBER("sdxl_refiner_high_aesthetic_score", "6.0", 0, 0, "As is"),
    BOOL("sdxl_clip_l_skip", "false", "As is"),
    BOOL("use_old_emphasis_implementation", "false", "As is"),
    BOOL("use_old_karras_scheduler_sigmas", "false", "As is"),
    BOOL("no_dpmpp_sde_batch_determinism", "false", "As is"),
    BOOL("use_old_hires_fix_width_height", "false", "As is"),
    BOOL("use_old_scheduling", "false", "As is"),
    BOOL("use_downcasted_alpha_bar", "false", "As is"),
    TEXT("sd_vae_encode_method", "\"Full\"", "As is"),
    TEXT("sd_vae_decode_method", "\"Full\"", "As is"),
    { 0 },
};

const RvFieldSet rv_schema_options = { "Options", { honoured, kept, fixed } };

static bool
is_in(const RvField *table, const RvField *field)
{
    for (; table->name != NULL; table++)
        if (table == field)
            return true;
    return false;
}

static bool
is_one_of(const char *text, const char *const *names)
{
    for (; *names != NULL; names++)
        if (g_ascii_strcasecmp(text, *names) == 0)
            return true;
    return false;
}

/* Choices that the kinds of fields cannot say. */
static bool
check_choice(const RvField *field, JsonNode *value, RvFieldProblems *problems)
{
    static const char *const noises[] = { "NV", "CPU", "GPU", NULL }, *const formats[] = { "png", "jpg",
                                                                                           "jpeg", "webp",
                                                                                           NULL };
    const char *const *names =
        strcmp(field->name, "randn_source") == 0                                                ? noises
        : strcmp(field->name, "samples_format") == 0 || strcmp(field->name, "grid_format") == 0 ? formats
                                                                                                : NULL;
    if (names == NULL || is_one_of(json_node_get_string(value), names))
        return true;
    rv_field_problem(problems, "body", field->name, "this value is not known", "value_error.const");
    return false;
}

static bool
take(JsonObject *options, const RvField *field, JsonNode *value, RvFieldProblems *problems)
{
    RvField rows[] = { *field, { 0 } };
    RvFieldSet one = { "Options", { rows } };
    g_autoptr(JsonObject) body = json_object_new();
    json_object_set_member(body, field->name, json_node_copy(value));
    if (json_node_is_null(value) && json_object_has_member(options, field->name))
        return true; /* null leaves it as it is */
    g_autoptr(JsonObject) read = rv_fields_read(&one, body, "body", problems);
    if (read == NULL)
        return false;
    JsonNode *node = json_object_get_member(read, field->name),
             *old = json_object_get_member(options, field->name);
    if (is_in(fixed, field) && !json_node_equal(node, old)) {
        rv_field_problem(problems, "body", field->name, "this server cannot do this option otherwise",
                         "value_error.const");
        return false;
    }
    if (!check_choice(field, node, problems))
        return false;
    json_object_set_member(options, field->name, json_node_copy(node));
    return true;
}

static JsonObject *
copy_of(JsonObject *object)
{
    JsonObject *copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &name, &value))
        json_object_set_member(copy, name, json_node_copy(value));
    return copy;
}

JsonObject *
rv_settings_merge(JsonObject *base, JsonObject *values, RvFieldProblems *problems)
{
    g_autoptr(JsonObject) options =
        base != NULL ? copy_of(base) : rv_fields_read(&rv_schema_options, NULL, "body", problems);
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    if (values == NULL)
        return g_steal_pointer(&options);
    json_object_iter_init(&iter, values);
    bool ok = true;
    while (json_object_iter_next(&iter, &name, &value)) {
        const RvField *field = rv_field_find(&rv_schema_options, name);
        ok = (field == NULL || take(options, field, value, problems)) && ok;
    }
    return ok ? g_steal_pointer(&options) : NULL;
}
