#include "engine/frame_look.h"

#include <string.h>

#include "engine/layout.h"

static bool
refuse(const char *what, GError **error)
{
    return rv_error_set(error, RV_ERROR_UNSUPPORTED, "frame", "draw it as a single picture",
                        "%s cannot be drawn as one program", what);
}

bool
rv_frame_look_check(RvPipeline *pipeline, const RvRequest *r, GError **error)
{
    const RvUnetConfig *unet = rv_denoiser_config(pipeline->denoiser);
    if (r->init == NULL || r->init->alpha != NULL)
        return refuse(r->init == NULL ? "what has no picture to start from" : "transparency", error);
    if (r->images != 1)
        return refuse("a batch", error);
    if (r->mask != NULL || unet->in_channels != rv_autoencoder_channels(pipeline->autoencoder))
        return refuse("inpainting", error);
    if (r->control_count > 0 || r->hires != NULL || r->tiling)
        return refuse("what ControlNets, a second pass or tiling change", error);
    if (r->resize != RV_RESIZE_STRETCH)
        return refuse("another way of resizing", error);
    if (rv_autoencoder_is_tiled(pipeline->autoencoder, r->width, r->height))
        return refuse("a picture that is worked in tiles", error);
    return true;
}

/* The guided sum's terms hold through all evaluations, and have one length. */
static bool
check_terms(const RvGuidance *guidance, const GArray *terms, GError **error)
{
    const RvConditioning *const both[] = { guidance->positive, guidance->negative };
    for (int i = 0; i < 2; i++)
        for (guint j = 0; both[i] != NULL && j < both[i]->parts->len; j++)
            if (((const RvConditioningPart *)g_ptr_array_index(both[i]->parts, j))->contexts->len > 1)
                return refuse("a prompt that changes on the way", error);
    const RvGuidanceTerm *first = &g_array_index(terms, RvGuidanceTerm, 0);
    for (guint i = 1; i < terms->len; i++)
        if (g_array_index(terms, RvGuidanceTerm, i).context->tokens != first->context->tokens)
            return refuse("a mixture of long and short prompts", error);
    return true;
}

static void
hold_terms(GArray *terms)
{
    for (guint i = 0; i < terms->len; i++)
        rv_context_ref(g_array_index(terms, RvGuidanceTerm, i).context);
}

/* Merges what the prompt's tags and the request ask for; the prompt without the tags, or NULL on failure. */
static char *
apply_networks(RvPipeline *pipeline, const RvRequest *r, GError **error)
{
    const char *prompt = r->prompt != NULL ? r->prompt : "";
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(rv_prompt_network_free);
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *rest =
        r->syntax != RV_PROMPT_PLAIN ? rv_prompt_extract_networks(prompt, tags) : g_strdup(prompt);
    bool ok = rv_networks_apply(pipeline->networks, tags, r->loras, r->lora_count, notes, error);
    return ok ? g_steal_pointer(&rest) : NULL;
}

static bool
find_terms(RvFrameLook *look, RvPipeline *pipeline, const RvRequest *r, GError **error)
{
    g_autofree char *prompt = apply_networks(pipeline, r, error);
    if (prompt == NULL)
        return false;
    look->generation = rv_weight_set_generation(rv_denoiser_weights(pipeline->denoiser));
    RvConditioningOptions options = { r->syntax, look->settings.evaluations, r->clip_skip, false };
    g_autoptr(RvConditioning) positive =
        r->conditioning != NULL ? rv_conditioning_ref(r->conditioning)
                                : rv_conditioner_encode(pipeline->conditioner, prompt, &options, error);
    g_autoptr(RvConditioning) negative = NULL;
    if (positive == NULL)
        return false;
    if (r->cfg_scale > 1.0) {
        options.is_negative = true;
        negative = rv_conditioner_encode(
            pipeline->conditioner, r->negative_prompt != NULL ? r->negative_prompt : "", &options, error);
        if (negative == NULL)
            return false;
    }
    RvGuidance guidance = { .positive = positive, .negative = negative, .cfg_scale = r->cfg_scale };
    g_autoptr(GArray) terms = rv_guidance_terms(&guidance, 0);
    if (!check_terms(&guidance, terms, error))
        return false;
    hold_terms(terms);
    look->terms = g_steal_pointer(&terms);
    look->shape.terms = (int)look->terms->len;
    look->shape.tokens = g_array_index(look->terms, RvGuidanceTerm, 0).context->tokens;
    return true;
}

/* What the first draw is made of, and whose the later ones are. */
static void
find_noise(RvFrameLook *look, const RvPipeline *pipeline, const RvRequest *r)
{
    int factor = rv_autoencoder_factor(pipeline->autoencoder);
    bool is_resized = r->seed_width > 0 && r->seed_height > 0;
    look->noise = r->noise;
    look->seed = look->later_seed = rv_run_seed(r, 0);
    if (rv_sampler_info(look->settings.sampler.sampler)->uses_ensd)
        look->later_seed += (guint64)(gint64)r->noise_seed_delta;
    look->start = (RvNoiseStart) {
        .channels = rv_autoencoder_channels(pipeline->autoencoder),
        .height = r->height / factor,
        .width = r->width / factor,
        .subseed = r->subseed_strength > 0.0 ? r->subseed : 0,
        .subseed_strength = (float)r->subseed_strength,
        .from_height = is_resized ? r->seed_height / factor : 0,
        .from_width = is_resized ? r->seed_width / factor : 0,
    };
}

bool
rv_frame_look_init(RvFrameLook *look, RvPipeline *pipeline, const RvRequest *r, GError **error)
{
    *look = (RvFrameLook) {
        .shape = { .width = r->width, .height = r->height },
        .cfg_scale = r->cfg_scale,
    };
    if (!rv_frame_look_check(pipeline, r, error) ||
        !rv_run_settings_init(&look->settings, pipeline, r, error) ||
        !rv_linear_plan_init(&look->shape.plan, &look->settings.sampler, error))
        return false;
    find_noise(look, pipeline, r);
    return find_terms(look, pipeline, r, error);
}

void
rv_frame_look_clear(RvFrameLook *look)
{
    for (guint i = 0; look->terms != NULL && i < look->terms->len; i++)
        rv_context_unref(g_array_index(look->terms, RvGuidanceTerm, i).context);
    g_clear_pointer(&look->terms, g_array_unref);
}

void
rv_frame_look_copy(RvFrameLook *to, const RvFrameLook *from)
{
    rv_frame_look_clear(to);
    *to = *from;
    to->terms = g_array_copy(from->terms);
    hold_terms(to->terms);
}

bool
rv_frame_look_same_texts(const RvFrameLook *a, const RvFrameLook *b)
{
    if (a->generation != b->generation)
        return false;
    for (guint i = 0; i < a->terms->len; i++)
        if (g_array_index(a->terms, RvGuidanceTerm, i).context !=
            g_array_index(b->terms, RvGuidanceTerm, i).context)
            return false;
    return true;
}

bool
rv_frame_look_same_times(const RvFrameLook *a, const RvFrameLook *b)
{
    return rv_frame_look_same_texts(a, b) && a->cfg_scale == b->cfg_scale &&
           memcmp(a->shape.plan.timestep, b->shape.plan.timestep, sizeof a->shape.plan.timestep) == 0;
}

/* Settings of one pipeline differ by these only. */
static bool
same_sampler(const RvSamplerOptions *a, const RvSamplerOptions *b)
{
    return a->sampler == b->sampler && a->schedule == b->schedule && a->dialect == b->dialect &&
           a->steps == b->steps && a->first_step == b->first_step && a->start_shift == b->start_shift &&
           a->eta == b->eta && a->s_noise == b->s_noise && a->s_churn == b->s_churn &&
           a->s_tmin == b->s_tmin && a->s_tmax == b->s_tmax;
}

bool
rv_frame_look_same_noise(const RvFrameLook *a, const RvFrameLook *b)
{
    const RvNoiseStart *x = &a->start, *y = &b->start;
    return a->noise == b->noise && a->seed == b->seed && a->later_seed == b->later_seed &&
           x->subseed == y->subseed && x->subseed_strength == y->subseed_strength &&
           x->from_height == y->from_height && x->from_width == y->from_width &&
           same_sampler(&a->settings.sampler, &b->settings.sampler);
}

bool
rv_frame_look_same_factors(const RvFrameLook *a, const RvFrameLook *b)
{
    for (guint i = 0; i < a->terms->len; i++)
        if (g_array_index(a->terms, RvGuidanceTerm, i).factor !=
            g_array_index(b->terms, RvGuidanceTerm, i).factor)
            return false;
    return true;
}

RvGuidance
rv_frame_look_guidance(const RvFrameLook *look, const RvPipeline *pipeline)
{
    int factor = rv_autoencoder_factor(pipeline->autoencoder), width = look->shape.width,
        height = look->shape.height;
    return (RvGuidance) {
        .images = 1,
        .width = width / factor,
        .height = height / factor,
        .channels = rv_autoencoder_channels(pipeline->autoencoder),
        .time_ids = { (float)height, (float)width, 0.0f, 0.0f, (float)height, (float)width },
        .cfg_scale = look->cfg_scale,
    };
}

/* With one term its factor goes into what the answers count. */
int
rv_frame_look_coefficients(const RvFrameLook *look, float coefficients[RV_FRAME_COEFFICIENTS])
{
    RvLinearPlan plan = look->shape.plan;
    double factor = look->shape.terms == 1 ? g_array_index(look->terms, RvGuidanceTerm, 0).factor : 1.0;
    for (int row = 0; row <= plan.evaluations; row++)
        for (int k = 0; k < row; k++)
            plan.answer[row][k] = (float)(plan.answer[row][k] * factor);
    return rv_frame_coefficients(&look->shape.plan, &plan, coefficients);
}

float *
rv_frame_look_noise(const RvFrameLook *look, GError **error)
{
    gsize channels = (gsize)look->start.channels,
          pixels = (gsize)look->start.width * (gsize)look->start.height, count = pixels * channels,
          rows = (gsize)look->shape.plan.evaluations + 1;
    g_autofree float *start = g_new(float, count), *planes = g_new(float, count *rows);
    float *noise = g_new(float, count *rows);
    RvNoise *generator = rv_noise_new(look->noise, look->seed);
    rv_noise_draw_start(generator, &look->start, start);
    if (look->later_seed != look->seed) {
        rv_noise_free(generator);
        generator = rv_noise_new(look->noise, look->later_seed);
    }
    bool ok = rv_linear_plan_noise(&look->shape.plan, &look->settings.sampler, generator, start, count,
                                   planes, error);
    rv_noise_free(generator);
    for (gsize row = 0; row < rows; row++)
        rv_to_pixels(planes + row * count, channels, pixels, noise + row * count, channels);
    if (!ok)
        g_clear_pointer(&noise, g_free);
    return noise;
}
