/* prompter.h - a model's text encoders by themselves, so that another thread can encode prompts while frames
 * are being drawn: a new prompt then costs the frames nothing but the flip from one conditioning to the next.
 *
 * A prompter belongs to its engine's thread; what it makes may be handed to any other. */
#pragma once
#include "engine/conditioning.h"
#include "engine/pipeline.h"

typedef struct RvPrompter RvPrompter;

/* Opens the model again (its files are mapped, so weights in the page cache are shared) and checks it. */
RvPrompter *rv_prompter_open(RvEngine *engine, const char *path, const RvPipelineOptions *options,
                             GError **error);
void rv_prompter_free(RvPrompter *prompter); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvPrompter, rv_prompter_free)

/* For RvRequest.conditioning. */
RvConditioning *rv_prompter_encode(RvPrompter *prompter, const char *prompt, RvPromptSyntax syntax,
                                   int clip_skip, GError **error);

/* The weighted sum of several, weights as they are (a cross-fade's add up to 1). Prompts of fewer chunks are
 * repeated to the length of the longest, which leaves attention to them unchanged. Only a prompt's first part
 * (before AND) and its first entry count. */
RvConditioning *rv_conditioning_mix(const RvConditioning *const *items, const float *weights, int count);
