#include "engine/prompter.h"

#include "engine/pipeline_internal.h"

struct RvPrompter {
    RvPipeline
        *pipeline; /* of which only the conditioner is used: the other parts pack no weights until they run */
};

RvPrompter *
rv_prompter_open(RvEngine *engine, const char *path, const RvPipelineOptions *options, GError **error)
{
    RvPipeline *pipeline = rv_pipeline_open(engine, path, options, error);
    if (pipeline == NULL)
        return NULL;
    RvPrompter *prompter = g_new0(RvPrompter, 1);
    prompter->pipeline = pipeline;
    return prompter;
}

void
rv_prompter_free(RvPrompter *prompter)
{
    if (prompter == NULL)
        return;
    rv_pipeline_free(prompter->pipeline);
    g_free(prompter);
}

RvConditioning *
rv_prompter_encode(RvPrompter *prompter, const char *prompt, RvPromptSyntax syntax, int clip_skip,
                   GError **error)
{
    RvConditioningOptions options = { .syntax = syntax, .evaluations = 1, .clip_skip = clip_skip };
    return rv_conditioner_encode(prompter->pipeline->conditioner, prompt, &options, error);
}

static RvContext *
first_context(const RvConditioning *conditioning)
{
    return rv_conditioning_part_at(g_ptr_array_index(conditioning->parts, 0), 0);
}

RvConditioning *
rv_conditioning_mix(const RvConditioning *const *items, const float *weights, int count)
{
    int tokens = 0;
    for (int i = 0; i < count; i++)
        tokens = MAX(tokens, first_context(items[i])->tokens);
    const RvContext *like = first_context(items[0]);
    RvContext *mixed = rv_context_new(tokens, like->width, like->pooled_width);
    for (int i = 0; i < count; i++) {
        const RvContext *from = first_context(items[i]);
        gsize size = (gsize)from->tokens * (gsize)from->width, all = (gsize)tokens * (gsize)from->width;
        for (gsize j = 0; j < all; j++)
            mixed->context[j] += weights[i] * from->context[j % size];
        for (int j = 0; j < from->pooled_width; j++)
            mixed->pooled[j] += weights[i] * from->pooled[j];
    }
    return rv_conditioning_new(mixed);
}
