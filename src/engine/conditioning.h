/* conditioning.h - prompts as what the UNet takes: contexts per part of a prompt and evaluation.
 *
 * Encoded texts are kept by their text, so a batch, the second half of a count, or an unchanged negative
 * prompt costs nothing. */
#pragma once
#include "engine/library.h"
#include "engine/text_encoder.h"
#include "text/prompt.h"

/* One encoded text. Shared by count; not changed after it was made. */
typedef struct {
    int tokens, width;
    float *context; /* [tokens][width] */
    float *pooled;  /* [pooled_width]; NULL when the family has none */
    int pooled_width;
    GPtrArray *labels; /* char *: the embeddings in it, "name: hash"; NULL: none */
    gatomicrefcount count;
} RvContext;

RvContext *rv_context_new(int tokens, int width, int pooled_width); /* zeros */
RvContext *rv_context_ref(RvContext *context);
void rv_context_unref(RvContext *context); /* accepts NULL */

/* A whole prompt: parts joined by AND, each with contexts that change over the evaluations. Shared by count;
 * rv_conditioning_free gives one reference back. */
typedef struct {
    float weight;
    GArray *end_steps;   /* int: the context is used while step <= end */
    GPtrArray *contexts; /* RvContext */
} RvConditioningPart;

typedef struct {
    GPtrArray *parts; /* RvConditioningPart, at least one */
    gatomicrefcount count;
} RvConditioning;

/* One part with one context, which it takes. */
RvConditioning *rv_conditioning_new(RvContext *context);
RvConditioning *rv_conditioning_ref(RvConditioning *conditioning);
void rv_conditioning_free(RvConditioning *conditioning); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvConditioning, rv_conditioning_free)
/* The context of a part for evaluation `step` (from 0). Borrowed. */
RvContext *rv_conditioning_part_at(const RvConditioningPart *part, int step);

typedef struct RvConditioner RvConditioner;

/* Takes the encoders; `second` is SDXL's OpenCLIP bigG, or NULL; with it `first` may be NULL, as in SDXL's
 * refiner. Below, encoders are counted without gaps. The library (borrowed; NULL: none) holds the
 * embeddings that prompts may name. */
RvConditioner *rv_conditioner_new(RvTextEncoder *first, RvTextEncoder *second, const RvLibrary *library);
void rv_conditioner_free(RvConditioner *conditioner);                         /* accepts NULL */
RvWeightSet *rv_conditioner_weights(RvConditioner *conditioner, int encoder); /* borrowed; NULL: none */
gsize rv_conditioner_bytes(const RvConditioner *conditioner);

typedef struct {
    RvPromptSyntax syntax;
    int evaluations; /* of the denoiser in the whole run */
    int clip_skip;   /* 0 and 1: none */
    bool is_negative;
    int second_evaluations; /* above 0: of the second pass of a hires run, whose first one `evaluations`
                               counts */
    GPtrArray *notes; /* char *: what is wrong with embeddings that the prompt names; NULL: never mind */
} RvConditioningOptions;

/* A1111's "TI hashes" of the prompts' embeddings (either may be NULL), or NULL. Free with g_free. */
char *rv_conditioning_labels(const RvConditioning *positive, const RvConditioning *negative);

/* USAGE when the prompt is longer than this: a device is not one user's for minutes. */
#define RV_MAX_PROMPT_CHUNKS 64 /* of 75 tokens, in each part */
#define RV_MAX_PROMPT_PARTS 32  /* joined by AND: each is an evaluation of the UNet */
RvConditioning *rv_conditioner_encode(RvConditioner *conditioner, const char *prompt,
                                      const RvConditioningOptions *options, GError **error);
