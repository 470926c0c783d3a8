#include "server/sdapi/schemas.h"

#define TEXT(NAME, INITIAL, HELP)                  \
    {                                              \
        NAME, RV_FIELD_TEXT, INITIAL, .help = HELP \
    }
#define BOOL(NAME, INITIAL, HELP)                  \
    {                                              \
        NAME, RV_FIELD_BOOL, INITIAL, .help = HELP \
    }
#define INTEGER(NAME, INITIAL, LEAST, MOST, HELP)                  \
    {                                                              \
        NAME, RV_FIELD_INTEGER, INITIAL, LEAST, MOST, .help = HELP \
    }
#define NUMBER(NAME, INITIAL, LEAST, MOST, HELP)                  \
    {                                                             \
        NAME, RV_FIELD_NUMBER, INITIAL, LEAST, MOST, .help = HELP \
    }
#define PICTURE(NAME, INITIAL, HELP)                  \
    {                                                 \
        NAME, RV_FIELD_PICTURE, INITIAL, .help = HELP \
    }
#define OF(NAME, KIND, INITIAL, HELP)     \
    {                                     \
        NAME, KIND, INITIAL, .help = HELP \
    }

#define SEED_LEAST -9.0e18
#define SEED_MOST 9.0e18

/* ---- what txt2img and img2img share ---- */

static const RvField common[] = {
    TEXT("prompt", "\"\"", "What to draw, in A1111's syntax"),
    TEXT("negative_prompt", "\"\"", "What to avoid"),
    OF("styles", RV_FIELD_TEXTS, "null", "Names of stored styles to add to the prompts"),
    INTEGER("seed", "-1", SEED_LEAST, SEED_MOST, "Of the first picture; -1: random"),
    INTEGER("subseed", "-1", SEED_LEAST, SEED_MOST, "Variation seed; -1: random"),
    NUMBER("subseed_strength", "0.0", 0, 1, "0: the seed alone, 1: the variation seed alone"),
    INTEGER("seed_resize_from_h", "-1", -1, RV_API_MAX_SIDE, "Height that the seed was found at"),
    INTEGER("seed_resize_from_w", "-1", -1, RV_API_MAX_SIDE, "Width that the seed was found at"),
    TEXT("sampler_name", "null", "See /sdapi/v1/samplers; may end in a schedule's name"),
    TEXT("scheduler", "null", "See /sdapi/v1/schedulers: name or label"),
    INTEGER("batch_size", "1", 1, RV_API_MAX_BATCH, "Pictures at a time"),
    INTEGER("n_iter", "1", 1, RV_API_MAX_COUNT, "Batches"),
    INTEGER("steps", "50", 1, RV_API_MAX_STEPS, "Sampling steps"),
    NUMBER("cfg_scale", "7.0", 0, 1000, "Guidance; 1: none"),
    NUMBER("distilled_cfg_scale", "3.5", 0, 1000, "For models that are not supported; ignored"),
    INTEGER("width", "512", 8, RV_API_MAX_SIDE, "Pixels, rounded down to a multiple of 8"),
    INTEGER("height", "512", 8, RV_API_MAX_SIDE, "Pixels, rounded down to a multiple of 8"),
    BOOL("restore_faces", "null", "Refused when true: no such model is built in"),
    BOOL("tiling", "null", "Pictures whose edges meet"),
    BOOL("do_not_save_samples", "false", "With save_images: keep no pictures"),
    BOOL("do_not_save_grid", "false", "With save_images: keep no grid"),
    NUMBER("eta", "null", 0, 10, "Noise of ancestral samplers and DDIM"),
    NUMBER("s_min_uncond", "null", 0, 15, "Sigma below which guidance is left out every other step"),
    NUMBER("s_churn", "null", 0, 100, "Karras et al. 2022, algorithm 2"),
    NUMBER("s_tmax", "null", 0, 1000, "Churn only below this sigma; 0: any"),
    NUMBER("s_tmin", "null", 0, 1000, "Churn only above this sigma"),
    NUMBER("s_noise", "null", 0, 10, "Scale of fresh noise"),
    OF("override_settings", RV_FIELD_OBJECT, "null", "Options for this request"),
    BOOL("override_settings_restore_afterwards", "true", "false: they stay"),
    TEXT("refiner_checkpoint", "null", "Model that finishes the picture, of the same latent space"),
    NUMBER("refiner_switch_at", "null", 0, 1, "Share of the noise that is gone when it takes over; null: 0"),
    BOOL("disable_extra_networks", "false", "Read <lora:...> tags, but do not use them"),
    PICTURE("firstpass_image", "null", "With enable_hr: a picture in place of the first pass"),
    OF("comments", RV_FIELD_OBJECT, "null", "Not used"),
    TEXT("force_task_id", "null", "Name of the job, for progress and interrupt"),
    TEXT("sampler_index", "\"Euler\"", "Used when sampler_name is null"),
    TEXT("script_name", "null", "See /sdapi/v1/scripts"),
    OF("script_args", RV_FIELD_ARRAY, "[]", "Its arguments in order: see /sdapi/v1/script-info"),
    BOOL("send_images", "true", "false: answer without the pictures"),
    BOOL("save_images", "false", "Keep the pictures among the user's outputs"),
    OF("alwayson_scripts", RV_FIELD_OBJECT, "{}",
       "{\"ControlNet\":{\"args\":[unit, ...]}, \"Soft Inpainting\":{\"args\":[true, ...]}}"),
    OF("controlnet_units", RV_FIELD_ARRAY, "null", "Old clients' name for ControlNet's args"),
    TEXT("infotext", "null", "A picture's parameters: fill the fields that are not given"),
    { 0 },
};

static const RvField hires[] = {
    NUMBER("denoising_strength", "null", 0, 1, "Of the second pass; null: 0.75"),
    BOOL("enable_hr", "false", "Draw small, enlarge, draw again"),
    INTEGER("firstphase_width", "0", 0, RV_API_MAX_SIDE, "First pass; width and height are then the target"),
    INTEGER("firstphase_height", "0", 0, RV_API_MAX_SIDE, "The same"),
    NUMBER("hr_scale", "2.0", 0, 8, "How much larger; at least 1 with enable_hr"),
    TEXT("hr_upscaler", "null", "See /sdapi/v1/upscalers and latent-upscale-modes; null: Latent"),
    INTEGER("hr_second_pass_steps", "0", 0, RV_API_MAX_STEPS, "0: as many as steps"),
    INTEGER("hr_resize_x", "0", 0, RV_API_MAX_SIDE, "Target in place of hr_scale"),
    INTEGER("hr_resize_y", "0", 0, RV_API_MAX_SIDE, "The same"),
    TEXT("hr_checkpoint_name", "null", "Model of the second pass"),
    OF("hr_additional_modules", RV_FIELD_ANY, "null", "For models that are not supported; ignored"),
    TEXT("hr_sampler_name", "null", "null: as the first pass"),
    TEXT("hr_scheduler", "null", "null: as the first pass"),
    TEXT("hr_prompt", "\"\"", "\"\": as the first pass"),
    TEXT("hr_negative_prompt", "\"\"", "\"\": as the first pass"),
    NUMBER("hr_cfg", "1.0", 0, 1000, "For models that are not supported; ignored"),
    NUMBER("hr_distilled_cfg", "3.5", 0, 1000, "For models that are not supported; ignored"),
    { 0 },
};

static const RvField redraw[] = {
    OF("init_images", RV_FIELD_PICTURES, "null", "The picture to redraw, or one per picture of the batch"),
    INTEGER("resize_mode", "0", 0, 3, "0 stretch, 1 crop, 2 fill the edges, 3 stretch the latent"),
    NUMBER("denoising_strength", "0.75", 0, 1, "How much may change"),
    NUMBER("image_cfg_scale", "null", 0, 100, "For models that are not supported; ignored"),
    PICTURE("mask", "null", "White: change; a picture with transparency gives its alpha"),
    INTEGER("mask_blur_x", "4", 0, 512, "Sigma in pixels"),
    INTEGER("mask_blur_y", "4", 0, 512, "Sigma in pixels"),
    INTEGER("mask_blur", "null", 0, 512, "Both of them"),
    BOOL("mask_round", "true", "The latent's mask is all or nothing"),
    INTEGER("inpainting_fill", "0", 0, 3, "Under the mask: 0 fill, 1 original, 2 latent noise, 3 nothing"),
    BOOL("inpaint_full_res", "true", "Work on the mask's surroundings at the full size"),
    INTEGER("inpaint_full_res_padding", "0", 0, 1024, "Pixels around the mask"),
    INTEGER("inpainting_mask_invert", "0", 0, 1, "1: change where the mask is black"),
    NUMBER("initial_noise_multiplier", "null", 0, 10, "Of the starting noise; null: as the option"),
    PICTURE("latent_mask", "null", "With mask: another one for the latent"),
    BOOL("include_init_images", "false", "Echo init_images and mask"),
    NUMBER("hr_distilled_cfg", "3.5", 0, 1000, "For models that are not supported; ignored"),
    { 0 },
};

const RvFieldSet rv_schema_txt2img = { "StableDiffusionProcessingTxt2Img", { common, hires } };
const RvFieldSet rv_schema_img2img = { "StableDiffusionProcessingImg2Img", { common, redraw } };

/* ---- extras ---- */

static const RvField extras[] = {
    INTEGER("resize_mode", "0", 0, 1, "0: by upscaling_resize, 1: to upscaling_resize_w x _h"),
    BOOL("show_extras_results", "true", "false: answer without the picture"),
    NUMBER("gfpgan_visibility", "0.0", 0, 1, "Refused above 0: no such model is built in"),
    NUMBER("codeformer_visibility", "0.0", 0, 1, "Refused above 0: no such model is built in"),
    NUMBER("codeformer_weight", "0.0", 0, 1, "Of CodeFormer"),
    { "upscaling_resize", RV_FIELD_NUMBER, "2.0", 0, 8, .above = true, .help = "How much larger" },
    INTEGER("upscaling_resize_w", "512", 1, 16384, "Pixels"),
    INTEGER("upscaling_resize_h", "512", 1, 16384, "Pixels"),
    BOOL("upscaling_crop", "true", "Cut to the exact size"),
    TEXT("upscaler_1", "\"None\"", "See /sdapi/v1/upscalers"),
    TEXT("upscaler_2", "\"None\"", "Laid over the first"),
    NUMBER("extras_upscaler_2_visibility", "0.0", 0, 1, "How much of it shows"),
    BOOL("upscale_first", "false", "Before faces are restored"),
    { 0 },
};
static const RvField extras_single[] = { PICTURE("image", "\"\"", "The picture"), { 0 } };
static const RvField extras_batch[] = {
    OF("imageList", RV_FIELD_ARRAY, NULL, "[{\"data\":picture,\"name\":text}, ...]"),
    { 0 },
};
const RvFieldSet rv_schema_extras_single = { "ExtrasSingleImageRequest", { extras, extras_single } };
const RvFieldSet rv_schema_extras_batch = { "ExtrasBatchImagesRequest", { extras, extras_batch } };

/* ---- the rest ---- */

static const RvField png_info[] = { PICTURE("image", NULL, "The picture"), { 0 } };
const RvFieldSet rv_schema_png_info = { "PNGInfoRequest", { png_info } };

static const RvField interrogate[] = {
    PICTURE("image", "\"\"", "The picture"),
    TEXT("model", "\"clip\"", "clip or deepdanbooru"),
    { 0 },
};
const RvFieldSet rv_schema_interrogate = { "InterrogateRequest", { interrogate } };

static const RvField progress[] = {
    BOOL("skip_current_image", "false", "Without the preview"),
    TEXT("id_task", "null", "Of this job, not of the one that runs"),
    { 0 },
};
const RvFieldSet rv_schema_progress = { "ProgressRequest", { progress } };

static const RvField internal_progress[] = {
    TEXT("id_task", "null", "The job, by force_task_id"),
    INTEGER("id_live_preview", "-1", -1, 9.0e15, "The preview that is already shown"),
    BOOL("live_preview", "true", "With the preview"),
    { 0 },
};
const RvFieldSet rv_schema_internal_progress = { "InternalProgressRequest", { internal_progress } };

static const RvField detect[] = {
    TEXT("controlnet_module", "\"none\"", "See /controlnet/module_list"),
    OF("controlnet_input_images", RV_FIELD_PICTURES, "[]", "The pictures"),
    INTEGER("controlnet_processor_res", "512", -1, 4096, "Shorter side to work at, pixels"),
    NUMBER("controlnet_threshold_a", "64", -1, 1000, "The preprocessor's first number"),
    NUMBER("controlnet_threshold_b", "64", -1, 1000, "The preprocessor's second number"),
    { 0 },
};
const RvFieldSet rv_schema_detect = { "ControlNetDetectRequest", { detect } };

static const RvField unit[] = {
    BOOL("enabled", "true", "false: not used"),
    TEXT("module", "\"none\"", "Preprocessor"),
    TEXT("model", "\"None\"", "ControlNet"),
    NUMBER("weight", "1.0", 0, 2, "How much it counts"),
    OF("image", RV_FIELD_ANY, "null", "Picture, {image, mask} or [image, mask]; null: the picture to redraw"),
    PICTURE("mask", "null", "Where the picture counts"),
    OF("resize_mode", RV_FIELD_ANY, "\"Crop and Resize\"",
       "Just Resize, Crop and Resize, Resize and Fill; 0 to 2"),
    BOOL("low_vram", "false", "Ignored: memory is managed by itself"),
    INTEGER("processor_res", "-1", -1, 4096, "Shorter side for the preprocessor, pixels"),
    NUMBER("threshold_a", "-1", -1, 1000, "The preprocessor's first number"),
    NUMBER("threshold_b", "-1", -1, 1000, "The preprocessor's second number"),
    NUMBER("guidance_start", "0.0", 0, 1, "Share of the steps from which it counts"),
    NUMBER("guidance_end", "1.0", 0, 1, "Share of the steps until which it counts"),
    BOOL("pixel_perfect", "false", "Preprocess at the picture's size"),
    OF("control_mode", RV_FIELD_ANY, "\"Balanced\"",
       "Balanced, My prompt is more important, ControlNet is more important; 0 to 2"),
    TEXT("hr_option", "\"Both\"", "Both, Low res only, High res only"),
    BOOL("save_detected_map", "true", "Answer with the preprocessed picture"),
    BOOL("inpaint_crop_input_image", "true", "With inpaint_full_res: cut as the picture is"),
    { 0 },
};
const RvFieldSet rv_schema_controlnet_unit = { "ControlNetUnit", { unit } };

static const RvField soft[] = {
    BOOL("Soft inpainting", "false", "Switched on"),
    NUMBER("Schedule bias", "1", 0, 8, "Below 1 the known picture counts more in the end, above 1 at first"),
    NUMBER("Preservation strength", "0.5", 0, 8, "How much half-masked places stay as they are"),
    NUMBER("Transition contrast boost", "4", 1, 32, "Against paleness where known and new are mixed"),
    NUMBER("Mask influence", "0", 0, 1, "How much the mask, not only the difference, says what is replaced"),
    NUMBER("Difference threshold", "0.5", 0, 8, "How much may change before a place is replaced"),
    NUMBER("Difference contrast", "2", 0, 8, "How sharply the two are told apart"),
    { 0 },
};
const RvFieldSet rv_schema_soft_inpainting = { "SoftInpainting", { soft } };

static const RvField release[] = {
    BOOL("unload_models", "true", "Give the models' memory back"),
    BOOL("free_memory", "true", "The same"),
    { 0 },
};
const RvFieldSet rv_schema_free = { "FreeRequest", { release } };

static const RvField openai[] = {
    TEXT("prompt", NULL, "What to draw, in A1111's syntax"),
    TEXT("model", "null", "A checkpoint's name; null: the user's"),
    INTEGER("n", "1", 1, RV_API_MAX_BATCH, "How many"),
    TEXT("size", "null", "\"WIDTHxHEIGHT\" or \"auto\""),
    TEXT("response_format", "null", "b64_json, or url: of a picture that is kept"),
    TEXT("quality", "null", "Ignored"),
    TEXT("style", "null", "Ignored"),
    TEXT("user", "null", "Ignored: who asks is who logged in"),
    TEXT("background", "null", "auto or opaque"),
    TEXT("output_format", "null", "png, jpeg or webp"),
    TEXT("negative_prompt", "null", "Beyond OpenAI's fields"),
    INTEGER("seed", "null", SEED_LEAST, SEED_MOST, "Beyond OpenAI's fields"),
    INTEGER("steps", "null", 1, RV_API_MAX_STEPS, "Beyond OpenAI's fields"),
    NUMBER("cfg_scale", "null", 0, 1000, "Beyond OpenAI's fields"),
    { 0 },
};
const RvFieldSet rv_schema_openai_images = { "OpenAIImagesRequest", { openai } };

static const RvField openai_edits[] = {
    OF("image", RV_FIELD_ANY, NULL, "The picture, or a list of one: a file of a form, or base64"),
    PICTURE("mask", "null",
            "Transparent: change; without transparency white. null: where the picture is transparent"),
    NUMBER("strength", "null", 0, 1, "Beyond OpenAI's fields: how much may change; null: 0.75"),
    TEXT("input_fidelity", "null", "high, low: how little may change, unless strength says it"),
    { 0 },
};
const RvFieldSet rv_schema_openai_edits = { "OpenAIEditsRequest", { openai, openai_edits } };
