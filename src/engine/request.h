/* request.h - what a picture job asks for and what it gets. A request is plain data, borrowed by the
 * pipeline for the length of the call. */
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

typedef enum {
    RV_PHASE_TEXT,   /* prompts into conditioning */
    RV_PHASE_ENCODE, /* picture into latent */
    RV_PHASE_SAMPLE,
    RV_PHASE_DECODE, /* latent into picture */
} RvPhase;

typedef struct RvProgress RvProgress;

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
    double subseed_strength; /* 0: none; 1: the noise of the subseed alone */
    int images;              /* in one batch, at least 1 */
    const char *sampler;     /* a name that rv_sampler_parse_name knows; NULL: automatic */
    const char *schedule;    /* likewise; NULL: automatic */
    RvNoiseKind noise;
    int clip_skip; /* 0 or 1: the last layer; 2: the one before ... */
    double eta;    /* below 0: the sampler's default */
    /* Image-to-image when `init` is given. A mask (255: change) makes it inpainting; outside of it the
     * result is the picture itself, blended over `mask_blur` pixels. */
    const RvPicture *init;
    const RvMask *mask;
    double strength;  /* 0 to 1; below 0: the model's default */
    double mask_blur; /* pixels */
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
} RvResult;

void rv_result_free(RvResult *result); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvResult, rv_result_free)
