/* job.h - what a user asks for, as owned data that outlives the request, the process and the power: the
 * fields of AUTOMATIC1111's txt2img, img2img and extras that the engine can do, under their names in JSON.
 *
 * A job belongs to one thread at a time. Zero, NULL and below-zero values mean what engine/request.h says. */
#pragma once
#include <json-glib/json-glib.h>

#include "base/error.h"

typedef enum { RV_STUDIO_TXT2IMG, RV_STUDIO_IMG2IMG, RV_STUDIO_EXTRAS } RvStudioKind;
const char *rv_studio_kind_name(RvStudioKind kind); /* "txt2img", "img2img", "extras" */

/* A picture that came with a request: the file's bytes, or, once the job was kept, where they lie. */
typedef struct {
    GBytes *bytes; /* PNG, JPEG, WebP ... */
    char *path;    /* when bytes is NULL; both NULL: no picture */
} RvStudioInput;

/* A unit of ControlNet; fields as RvControlUse's. */
typedef struct {
    char *module, *model;
    RvStudioInput image;
    int processor_res;
    double threshold_a, threshold_b, weight, guidance_start, guidance_end;
    int control_mode; /* 0 balanced, 1 prompt, 2 ControlNet */
    int resize_mode;  /* 0 stretch, 1 crop, 2 fill */
    bool skip_first_pass, skip_hires;
} RvStudioControl;

typedef struct RvStudioJob RvStudioJob;
struct RvStudioJob {
    RvStudioKind kind;
    gint64
        asked_us; /* when the request for it came (g_get_monotonic_time()); 0: as it is submitted; not kept */
    char *name;  /* the client's own (force_task_id); NULL: none. One user's live jobs have different names */
    char *model; /* any name that rv_studio_find_model() knows; NULL: the server's default */
    char *vae;   /* NULL or "model": the model's own; "taesd"; a name or path */

    char *prompt, *negative_prompt; /* styles applied; tags of LoRAs are left in them */
    char *sampler_name, *scheduler; /* NULL: automatic */
    int width, height, steps;       /* 0: the model's own */
    int batch_size, n_iter;         /* pictures: batch_size * n_iter */
    double cfg_scale;               /* below 0: the model's own */
    gint64 seed, subseed;           /* -1: chosen when it is submitted */
    double subseed_strength;
    int seed_resize_from_w, seed_resize_from_h; /* 0: none */
    char *randn_source;                         /* "cpu", "nv" (NULL) or "gpu" */
    int clip_skip;                              /* 0 or 1: the last layer */
    double eta;                                 /* below 0: the sampler's own */
    double s_churn, s_tmin, s_tmax, s_noise;    /* as engine/request.h's */
    int eta_noise_seed_delta;                   /* added to the seed of all noise but the first */
    bool tiling;
    char *refiner_checkpoint; /* a name as `model`; NULL: none */
    double refiner_switch_at; /* share of the noise, or of the steps */
    bool refiner_switch_by_sample_steps;
    char *syntax; /* "a1111" (NULL), "plain", "explicit" (compel's) */

    /* Image-to-image. One picture goes for the whole batch, or one per picture of the batch. */
    GArray *init_images;       /* RvStudioInput; never NULL; extras: what is enlarged */
    RvStudioInput mask;        /* white or opaque: change */
    RvStudioInput latent_mask; /* with a mask: another one for the latent */
    double denoising_strength; /* below 0: the model's own */
    double initial_noise_multiplier;
    int resize_mode; /* 0 stretch, 1 crop, 2 fill, 3 latent */
    double mask_blur_x, mask_blur_y;
    bool mask_round;       /* the latent's mask is 0 or 1 */
    int inpainting_fill;   /* 0 fill, 1 original, 2 noise, 3 nothing */
    bool inpaint_full_res; /* work on the mask's surroundings only */
    int inpaint_full_res_padding;
    bool inpainting_mask_invert;
    bool soft_inpainting; /* with a mask; its settings as engine/request.h's */
    double soft_schedule_bias, soft_preservation_strength, soft_transition_contrast_boost;
    double soft_mask_influence, soft_difference_threshold, soft_difference_contrast;

    bool enable_hr;
    double hr_scale; /* when both sizes are 0 */
    int hr_resize_x, hr_resize_y, hr_second_pass_steps;
    char *hr_upscaler, *hr_sampler_name, *hr_scheduler, *hr_prompt, *hr_negative_prompt;
    double hr_cfg;                 /* 0: cfg_scale */
    char *hr_checkpoint_name;      /* a name as `model`; NULL: the same model */
    RvStudioInput firstpass_image; /* in place of the first pass */

    GArray *controls; /* RvStudioControl; never NULL */

    /* Extras. */
    char *upscaler_1, *upscaler_2; /* NULL: none */
    double upscaler_2_visibility;
    double upscaling_resize;                    /* factor, when extras_resize_mode is 0 */
    int upscaling_resize_w, upscaling_resize_h; /* when it is 1 */
    int extras_resize_mode;
    bool upscaling_crop;

    /* What becomes of the pictures. */
    bool save_images; /* into the user's outputs and gallery; else they are kept with the job for a while */
    char *samples_format; /* "png" (NULL), "jpg", "webp" */
    int quality;          /* JPEG and WebP; 0: 90 */
    bool webp_lossless;
    /* Below the user's TXT2IMG-images: folders and names by A1111's patterns (name_pattern.h). */
    char *folder_pattern; /* NULL: "[date]"; "": none */
    char *name_pattern;   /* NULL: "[seed]"; "": the number alone */
    bool no_number;       /* without NNNNN- before the name */
    int prompt_words;     /* of [prompt_words]; 0: 8 */
    char *styles;         /* of [styles]; NULL */
    bool no_infotext;     /* the file does not say how it was made */
    char *infotext_extra; /* appended to infotexts' settings, "Key: value, ..."; NULL: nothing */

    /* A script's runs: each is a job of its own (kind, prompt, ... as this one's, nothing inherited) without
     * further parts; they run in order under this job's id. Empty: this job is its only part. Never NULL. */
    GPtrArray *parts; /* RvStudioJob */
    /* What is to be made of its pictures once it ended, for whoever submitted it (rv_studio_on_due()); kept
     * with the job, but no member of its JSON. NULL: nothing. */
    char *due;
    /* A job that is done: what is due of it is due of this one, once it is accepted; 0: none. */
    gint64 follows;
    char *extra; /* JSON that is kept with the job and given back, for whoever submitted it; or NULL */
};

RvStudioJob *rv_studio_job_new(RvStudioKind kind); /* the engine's defaults, one picture, no saving */
void rv_studio_job_free(RvStudioJob *job);         /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvStudioJob, rv_studio_job_free)
RvStudioJob *rv_studio_job_copy(const RvStudioJob *job);
/* Of the job itself, or of all its parts. */
int rv_studio_job_pictures(const RvStudioJob *job);

/* Replaces the text (may be NULL); the field takes a copy. */
void rv_studio_set_text(char **field, const char *text);
/* Takes a reference of the bytes. */
void rv_studio_job_add_init(RvStudioJob *job, GBytes *bytes);
void rv_studio_input_set(RvStudioInput *input, GBytes *bytes);
RvStudioControl *
rv_studio_job_add_control(RvStudioJob *job); /* with defaults; good until the next is added */

/* To JSON. Pictures become text: `write` says which (never NULL); its result is freed with g_free. */
typedef char *(*RvStudioWriteInput)(const RvStudioInput *input, void *user);
JsonNode *rv_studio_job_to_json(const RvStudioJob *job, RvStudioWriteInput write, void *user);
/* From JSON, fields by name, null and absent ones left at the default, unknown ones ignored. `read` makes a
 * picture of its text. RV_ERROR_USAGE names the field that is wrong. */
typedef bool (*RvStudioReadInput)(const char *text, RvStudioInput *input, void *user, GError **error);
RvStudioJob *rv_studio_job_from_json(JsonObject *object, RvStudioReadInput read, void *user, GError **error);
