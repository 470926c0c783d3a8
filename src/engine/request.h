/* request.h - what a picture job asks for and what it gets. A request is plain data, borrowed by the
 * pipeline for the length of the call. Zero in a field is the usual choice. */
#pragma once
#include "engine/conditioning.h"
#include "media/mask.h"
#include "media/picture.h"
#include "sampling/noise.h"
#include "text/prompt.h"

#define RV_SIZE_STEP 8
#define RV_MIN_SIZE 8
#define RV_MAX_SIZE 8192
#define RV_MAX_STEPS 1000
#define RV_MAX_BATCH 64
#define RV_MAX_LORAS 32
#define RV_MAX_CONTROLS 8

typedef enum {
    RV_PHASE_TEXT,   /* prompts into conditioning */
    RV_PHASE_ENCODE, /* picture into latent */
    RV_PHASE_SAMPLE,
    RV_PHASE_DECODE, /* latent into picture */
} RvPhase;

typedef struct RvProgress RvProgress;
typedef struct RvPipeline RvPipeline; /* pipeline.h */

/* A LoRA (or LoHa, LoKr ...) merged into the weights for this request, beside those of the prompt's tags. */
typedef struct {
    const char *name; /* a path, or a name in the library */
    double text_weight, unet_weight;
} RvLoraUse;

/* How a picture is brought to another aspect (A1111's numbers). */
typedef enum {
    RV_RESIZE_STRETCH = 0,
    RV_RESIZE_CROP = 1,   /* cover, then cut the middle out */
    RV_RESIZE_FILL = 2,   /* fit inside, then stretch the edge rows outwards */
    RV_RESIZE_LATENT = 3, /* image-to-image only: the latent is resized bilinearly */
} RvResizeMode;

typedef enum {
    RV_CONTROL_BALANCED = 0,
    RV_CONTROL_PROMPT = 1, /* "My prompt is more important": deeper residuals count less */
    RV_CONTROL_UNIT = 2,   /* "ControlNet is more important": the negative prompt is not steered */
} RvControlMode;

/* One ControlNet unit (A1111's fields). */
typedef struct {
    const char *model;               /* a path, or a name in the library */
    const RvPicture *image;          /* what the preprocessor reads; of any size */
    const char *module;              /* preprocessor, see engine/annotate.h; NULL: "none" */
    int resolution;                  /* pixels of the shorter side that it works at; 0: the picture's size */
    double threshold_a, threshold_b; /* below or equal 0: the preprocessor's default */
    double weight;                   /* of the residuals; 1 is usual */
    double start, end;               /* share of the steps where it acts, 0 to 1 */
    RvControlMode mode;
    RvResizeMode resize;
    bool skip_first_pass, skip_hires; /* of a hires run */
} RvControlUse;

/* The second pass of a hires run ("hires fix"): enlarge, add noise, draw again. */
typedef struct {
    const char *upscaler;           /* "Latent" and its kin, "Lanczos", "Nearest", a model; NULL: "Latent" */
    double scale;                   /* used when width and height are 0 */
    int width, height;              /* one 0: by the aspect; both: cover, then crop */
    int steps;                      /* 0: as the first pass */
    double strength;                /* 0 to 1 */
    double cfg_scale;               /* 0: as the first pass */
    const char *sampler, *schedule; /* NULL: as the first pass */
    const char *prompt, *negative_prompt; /* NULL or "": as the first pass */
    RvPipeline *pipeline;     /* another model for the second pass, of the same engine; NULL: the same */
    const RvPicture *picture; /* in place of the first pass's, of any size; NULL: there is a first pass */
} RvHires;

/* What a mask's inside holds before it is drawn. */
typedef enum {
    RV_FILL_ORIGINAL = 0,
    RV_FILL_BLUR,   /* the surroundings' colours, smeared inwards (A1111's "fill") */
    RV_FILL_NOISE,  /* noise in the latent */
    RV_FILL_NOTHING /* zeros in the latent */
} RvFill;

/* A1111's script "Soft Inpainting" and its six settings (soft_inpaint.h), as it shows them. */
typedef struct {
    double schedule_bias, preservation, contrast_boost; /* while it is drawn; usual: 1, 0.5, 4 */
    double mask_influence, threshold, contrast;         /* in the end; usual: 0, 0.5, 2 */
} RvSoftInpaint;

typedef struct {
    const char *prompt;          /* UTF-8; NULL is "" */
    const char *negative_prompt; /* NULL is ""; unused when cfg_scale <= 1 */
    RvPromptSyntax syntax;
    RvConditioning *conditioning; /* in place of `prompt`: encoded elsewhere (prompter.h); NULL: none */
    int width, height; /* pixels, rounded down to multiples of 8; 0: the picture's, or the model's own */
    int steps;         /* 0: the model's default */
    double cfg_scale;  /* below 0: the model's default */
    guint64 seed;      /* of the first image; image i has seed + i, unless there is a subseed */
    guint64 subseed;   /* A1111's variation seed; image i has subseed + i */
    double subseed_strength;     /* 0: none; 1: the noise of the subseed alone */
    int seed_width, seed_height; /* pixels: the size that the seed was found at; 0: the picture's */
    int images;                  /* in one batch, at least 1 */
    const char *sampler;         /* a name that rv_sampler_parse_name knows; NULL: automatic */
    const char *schedule;        /* likewise; NULL: automatic */
    RvNoiseKind noise;
    int clip_skip; /* 0 or 1: the last layer; 2: the one before ... */
    double eta;    /* below 0: the sampler's default */
    bool a1111;    /* noise levels and steps as A1111 has them, whatever the model's layout or the schedule */
    bool diffusers;                 /* as diffusers has them, whatever the model's layout; not with a1111 */
    double s_churn, s_tmin, s_tmax; /* Karras et al. 2022, algorithm 2, with a1111; s_tmax 0: no limit */
    double s_noise;                 /* scale of fresh noise; 0: 1 */
    int noise_seed_delta; /* A1111's ENSD: added to the seed of all noise but the first, where samplers use it
                           */
    bool tiling;          /* edges that fit each other: convolutions wrap around */
    /* Another model of the same engine and latent space that takes over when refiner_switch_at of the noise
     * (as A1111 has it: of the 1000 timesteps; or of the steps) is gone; in a hires run in the second pass
     * only. SDXL's refiner gets a conditioning of its own. NULL: none. */
    RvPipeline *refiner;
    double refiner_switch_at; /* 0 to 1 */
    bool refiner_by_steps;
    /* Image-to-image when `init` is given. A mask (255: change) makes it inpainting; outside of it the
     * result is the picture itself, blended over `mask_blur` pixels. */
    const RvPicture *init;
    const RvMask *mask;
    const RvMask *latent_mask; /* with `mask`: another one for the latent, `mask` then only lays the result
                                  over the picture; NULL: the same */
    double strength;           /* 0 to 1; below 0: the model's default */
    bool smooth_strength; /* it works evenly, not in whole steps; with diffusers' numbers only (sampler.h) */
    double noise_boost;   /* added to the starting noise's factor of 1: A1111's "Noise multiplier" less 1 */
    double mask_blur;     /* pixels */
    double mask_blur_y;   /* 0: as mask_blur, which then counts along x only; below 0: none */
    RvResizeMode resize;  /* of init and mask */
    RvFill fill;
    bool mask_blend; /* A1111's inpainting (each estimate is blended) in place of diffusers' (each latent) */
    bool mask_soft;  /* with mask_blend: the latent's mask is not rounded to 0 and 1 */
    const RvSoftInpaint *soft; /* the mask says how much, as mask_blend and mask_soft do, too; NULL: not so */
    bool only_masked;          /* work on the mask's surroundings at the full size, then paste */
    int masked_padding;        /* pixels around the mask, with only_masked */
    const RvLoraUse *loras;
    int lora_count;
    const RvControlUse *controls;
    int control_count;
    const RvHires *hires; /* NULL: one pass */
    /* Not 0: no further step; the picture is what the sampler expects by now. For another thread; may be
     * NULL. */
    const int *stop;
    /* Called after each step of work from the pipeline's thread; may be NULL. */
    void (*on_progress)(const RvProgress *progress, void *user);
    void *user;
} RvRequest;

struct RvProgress {
    RvPhase phase;
    int done, total; /* model evaluations when sampling, images when decoding */
    /* The picture that the sampler expects now, of the first image; NULL on failure or outside of sampling.
     * Costs little unless the autoencoder is a tiny one, which then draws it in full. */
    RvPicture *(*preview)(const RvProgress *progress);
    const void *source; /* what preview draws from */
    /* When sampling: the first evaluation's beginning (g_get_monotonic_time()), and what the texts took. */
    gint64 sampling_us;
    double text_seconds;
};

typedef struct {
    RvPicture *picture;
    guint64 seed;
    char *infotext; /* A1111's `parameters` text */
} RvResultImage;

typedef struct {
    RvResultImage *images;
    int count;
    int width, height, steps; /* as they were used */
    int evaluations;          /* of the UNet, per image */
    double seconds, sample_seconds;
    GPtrArray
        *notes; /* char *: what was asked for in vain (a LoRA's keys that fit no layer ...); may be NULL */
    GPtrArray *maps; /* RvPicture: what the ControlNets saw, in the order of the units; may be NULL */
} RvResult;

void rv_result_free(RvResult *result); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvResult, rv_result_free)
