#include "engine/frame_program.h"

#include "models/unet.h"

#define NONE ((RvTensor) { 0 })

typedef struct {
    RvProgram *program;
    const RvPipeline *pipeline;
    const RvFrameShape *shape;
    RvShape latent;        /* of one image */
    RvTensor coefficients; /* [1,1,1,count] */
    int next;              /* coefficient */
    RvTensor factors, zeros;
    RvTensor start; /* the picture's latent */
    RvTensor answers[RV_LINEAR_EVALUATIONS];
    RvUnetPrepared keys_values;
} Recorder;

char *
rv_frame_shape_key(const RvFrameShape *s)
{
    GString *key = g_string_new(NULL);
    g_string_printf(key, "%dx%d %dx%d", s->width, s->height, s->terms, s->tokens);
    for (int row = 0; row <= s->plan.evaluations; row++) {
        g_string_append_c(key, ' ');
        g_string_append_c(key, s->plan.start[row] != 0.0f ? 'x' : '-');
        for (int k = 0; k < row; k++)
            g_string_append_c(key, s->plan.answer[row][k] != 0.0f ? 'a' : '-');
    }
    return g_string_free(key, FALSE);
}

int
rv_frame_coefficients(const RvLinearPlan *plan, const RvLinearPlan *from,
                      float coefficients[RV_FRAME_COEFFICIENTS])
{
    int count = 0;
    for (int row = 0; row <= plan->evaluations; row++) {
        if (plan->start[row] != 0.0f)
            coefficients[count++] = from->start[row];
        for (int k = 0; k < row; k++)
            if (plan->answer[row][k] != 0.0f)
                coefficients[count++] = from->answer[row][k];
    }
    return count;
}

static RvTensor
next_coefficient(Recorder *r)
{
    return rv_slice(r->program, r->coefficients, r->next++, 1);
}

/* A row of the sampler's sums: noise + start * x0 + answers. */
static RvTensor
record_sum(Recorder *r, int row)
{
    RvProgram *p = r->program;
    const RvLinearPlan *plan = &r->shape->plan;
    g_autofree char *name = g_strdup_printf("noise.%d", row);
    rv_program_stage(p, "sampler");
    rv_program_use_none(p, RV_F32);
    RvTensor sum = rv_input_exact(p, name, RV_F32, r->latent);
    if (plan->start[row] != 0.0f)
        sum = rv_mix(p, NONE, sum, next_coefficient(r), r->start);
    for (int k = 0; k < row; k++)
        if (plan->answer[row][k] != 0.0f)
            sum = rv_mix(p, NONE, sum, next_coefficient(r), r->answers[k]);
    return sum;
}

/* The terms' outputs [terms,h,w,c], weighed. */
static RvTensor
record_guidance(Recorder *r, RvTensor rows)
{
    RvProgram *p = r->program;
    rv_program_use_none(p, RV_F32);
    rows = rv_convert(p, rows, (RvConvert) { .dtype = RV_F32 });
    if (r->shape->terms == 1)
        return rows;
    RvTensor sum = rv_mix(p, rv_slice(p, r->factors, 0, 1), rv_image(p, rows, 0),
                          rv_slice(p, r->factors, 1, 1), rv_image(p, rows, 1));
    for (int i = 2; i < r->shape->terms; i++)
        sum = rv_mix(p, NONE, sum, rv_slice(p, r->factors, i, 1), rv_image(p, rows, i));
    return sum;
}

static RvTensor
record_unet(Recorder *r, RvTensor input, int evaluation)
{
    RvProgram *p = r->program;
    const RvUnetConfig *config = rv_denoiser_config(r->pipeline->denoiser);
    g_autofree char *prefix = g_strdup_printf("t%d", evaluation);
    RvUnetPrepared time = { 0 };
    rv_program_stage(p, "unet");
    rv_program_use(p, rv_denoiser_weights(r->pipeline->denoiser));
    rv_unet_time_inputs(p, config, prefix, r->shape->terms, &time);
    RvTensor sample = rv_convert(p, input, (RvConvert) { .dtype = rv_program_compute(p) });
    if (r->shape->terms > 1)
        sample = rv_add(p, r->zeros, sample); /* once for each term */
    RvUnetInputs inputs = { .sample = sample, .prepared_time = &time, .prepared_context = &r->keys_values };
    return record_guidance(r, rv_unet_record(p, config, &inputs));
}

static void
declare_inputs(Recorder *r)
{
    RvProgram *p = r->program;
    const RvLinearPlan *plan = &r->shape->plan;
    float values[RV_FRAME_COEFFICIENTS];
    int count = rv_frame_coefficients(plan, plan, values), terms = r->shape->terms;
    r->coefficients = rv_input_exact(p, "coefficients", RV_F32, (RvShape) { 1, 1, 1, count });
    rv_program_use(p, rv_denoiser_weights(r->pipeline->denoiser));
    rv_unet_context_inputs(p, rv_denoiser_config(r->pipeline->denoiser), "kv", terms, r->shape->tokens,
                           &r->keys_values);
    if (terms == 1)
        return;
    RvShape rows = { terms, r->latent.h, r->latent.w, r->latent.c };
    r->factors = rv_input_exact(p, "factors", RV_F32, (RvShape) { 1, 1, 1, terms });
    r->zeros = rv_input_exact(p, "zeros", rv_program_compute(p), rows);
}

RvProgram *
rv_frame_program_new(const RvPipeline *pipeline, const RvFrameShape *shape)
{
    const RvAutoencoder *autoencoder = pipeline->autoencoder;
    int factor = rv_autoencoder_factor(autoencoder), evaluations = shape->plan.evaluations;
    RvProgram *p = rv_program_new(rv_denoiser_weights(pipeline->denoiser));
    Recorder r = {
        .program = p,
        .pipeline = pipeline,
        .shape = shape,
        .latent = { 1, shape->height / factor, shape->width / factor, rv_autoencoder_channels(autoencoder) },
    };
    declare_inputs(&r);
    rv_program_stage(p, "encode");
    RvTensor rgb = rv_input_exact(p, "rgb", RV_U8, (RvShape) { 1, shape->height, shape->width, 3 });
    r.start = rv_autoencoder_record_encode(autoencoder, p, rgb);
    for (int i = 0; i < evaluations; i++)
        r.answers[i] = record_unet(&r, record_sum(&r, i), i);
    RvTensor latent = record_sum(&r, evaluations);
    rv_program_stage(p, "decode");
    rv_output(p, "picture", rv_autoencoder_record_decode(autoencoder, p, latent));
    rv_output(p, "latent", latent);
    return p;
}
