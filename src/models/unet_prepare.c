/* unet_prepare.c - the parts of a UNet that do not depend on the sample, and where they belong. */
#include "models/unet_blocks.h"

typedef struct {
    RvProgram *program;
    RvTensor source; /* what the tensors are made of; none: they are inputs */
    const char *prefix;
    int n, tokens; /* of inputs */
    RvUnetPrepared *prepared;
} Prepare;

/* Called with a block's scope entered. */
typedef void (*Visit)(Prepare *prepare, int channels);

typedef struct {
    Visit resnet, block; /* NULL: passed over */
} Visitor;

static void
visit_resnet(Prepare *pr, const Visitor *v, int index, int channels)
{
    if (v->resnet == NULL)
        return;
    rv_program_enter(pr->program, "resnets.%d", index);
    v->resnet(pr, channels);
    rv_program_leave(pr->program);
}

static void
visit_attention(Prepare *pr, const Visitor *v, int index, int channels, int depth)
{
    for (int i = 0; i < depth && v->block != NULL; i++) {
        rv_program_enter(pr->program, "attentions.%d.transformer_blocks.%d", index, i);
        v->block(pr, channels);
        rv_program_leave(pr->program);
    }
}

static void
visit_level(Prepare *pr, const Visitor *v, int layers, int channels, int depth)
{
    for (int i = 0; i < layers; i++) {
        visit_resnet(pr, v, i, channels);
        visit_attention(pr, v, i, channels, depth);
    }
}

/* In the order of rv_unet_down and rv_unet_mid. */
static void
visit_first_half(Prepare *pr, const RvUnetConfig *c, const Visitor *v)
{
    RvProgram *p = pr->program;
    const int last = c->levels - 1;
    for (int level = 0; level < c->levels; level++) {
        rv_program_enter(p, "down_blocks.%d", level);
        visit_level(pr, v, c->layers_per_block[level], c->channels[level], c->depth[level]);
        rv_program_leave(p);
    }
    rv_program_enter(p, "mid_block");
    if (c->mid_depth >= 0)
        visit_resnet(pr, v, 0, c->channels[last]);
    if (c->mid_depth > 0) {
        visit_attention(pr, v, 0, c->channels[last], c->mid_depth);
        visit_resnet(pr, v, 1, c->channels[last]);
    }
    rv_program_leave(p);
}

/* In the order of rv_unet_up. */
static void
visit_second_half(Prepare *pr, const RvUnetConfig *c, const Visitor *v)
{
    RvProgram *p = pr->program;
    const int last = c->levels - 1;
    for (int level = last; level >= 0; level--) {
        rv_program_enter(p, "up_blocks.%d", last - level);
        visit_level(pr, v, c->layers_per_block[level] + 1, c->channels[level], c->up_depth[level]);
        rv_program_leave(p);
    }
}

static void
append(Prepare *pr, RvTensor tensor)
{
    g_assert(pr->prepared->count < RV_UNET_MAX_PREPARED);
    pr->prepared->item[pr->prepared->count++] = tensor;
}

static void
project_time(Prepare *pr, int channels)
{
    append(pr, rv_linear(pr->program, pr->source, "time_emb_proj", (RvLinear) { .out = channels }));
}

static void
project_context(Prepare *pr, int channels)
{
    append(pr, rv_unet_keys_values(pr->program, pr->source, channels));
}

static void
declare(Prepare *pr, RvShape shape)
{
    g_autofree char *name = g_strdup_printf("%s.%d", pr->prefix, pr->prepared->count);
    append(pr, rv_input_exact(pr->program, name, rv_program_compute(pr->program), shape));
}

static void
declare_time(Prepare *pr, int channels)
{
    declare(pr, (RvShape) { pr->n, 1, 1, channels });
}

static void
declare_context(Prepare *pr, int channels)
{
    declare(pr, (RvShape) { pr->n, 1, pr->tokens, 2 * channels });
}

/* SDXL: the pooled text and the time ids' sinusoids; [n,1,1,4*channels[0]] */
static RvTensor
added_embedding(RvProgram *p, const RvUnetConfig *c, const RvUnetTime *time, int width)
{
    const int n = rv_shape(p, time->time_ids).n;
    RvTensor ids = rv_sinusoid(p, time->time_ids,
                               (RvSinusoid) { .width = c->addition_time_embed_dim,
                                              .flip_sin_to_cos = c->flip_sin_to_cos,
                                              .shift = c->freq_shift }); /* [n,1,ids,d] */
    ids = rv_reshape(p, ids, (RvShape) { n, 1, 1, c->time_ids * c->addition_time_embed_dim });
    RvTensor x = rv_concat(p, time->pooled, ids);
    rv_program_enter(p, "add_embedding");
    x = rv_linear(p, x, "linear_1", (RvLinear) { .out = width, .act = RV_ACT_SILU });
    x = rv_linear(p, x, "linear_2", (RvLinear) { .out = width });
    rv_program_leave(p);
    return x;
}

/* silu(embedding) [n,1,1,4*channels[0]]: every ResNet takes it through that activation. */
static RvTensor
time_embedding(RvProgram *p, const RvUnetConfig *c, const RvUnetTime *time)
{
    const int width = 4 * c->channels[0];
    RvTensor added = { 0 };
    if (c->pooled_dim > 0)
        added = added_embedding(p, c, time, width);
    RvTensor x = rv_sinusoid(p, time->timestep,
                             (RvSinusoid) { .width = c->channels[0],
                                            .flip_sin_to_cos = c->flip_sin_to_cos,
                                            .shift = c->freq_shift }); /* [n,1,1,channels[0]] */
    rv_program_enter(p, "time_embedding");
    if (c->time_cond_proj_dim > 0 && !rv_is_none(time->guidance))
        x = rv_linear(p, time->guidance, "cond_proj",
                      (RvLinear) { .out = c->channels[0], .no_bias = true, .add = x });
    x = rv_linear(p, x, "linear_1", (RvLinear) { .out = width, .act = RV_ACT_SILU });
    x = rv_linear(p, x, "linear_2", (RvLinear) { .out = width, .act = RV_ACT_SILU, .add = added });
    rv_program_leave(p);
    return x;
}

static void
prepare_all(Prepare *pr, const RvUnetConfig *c, const Visitor *v)
{
    pr->prepared->count = 0;
    visit_first_half(pr, c, v);
    visit_second_half(pr, c, v);
}

void
rv_unet_record_time(RvProgram *p, const RvUnetConfig *c, const RvUnetTime *time, RvUnetPrepared *prepared)
{
    if (!rv_unet_check(p, c))
        return;
    Prepare pr = { .program = p, .source = time_embedding(p, c, time), .prepared = prepared };
    prepare_all(&pr, c, &(Visitor) { .resnet = project_time });
}

void
rv_unet_record_first_time(RvProgram *p, const RvUnetConfig *c, const RvUnetTime *time,
                          RvUnetPrepared *prepared)
{
    Prepare pr = { .program = p, .source = time_embedding(p, c, time), .prepared = prepared };
    visit_first_half(&pr, c, &(Visitor) { .resnet = project_time });
}

void
rv_unet_record_context(RvProgram *p, const RvUnetConfig *c, RvTensor context, RvUnetPrepared *prepared)
{
    if (!rv_unet_check(p, c))
        return;
    Prepare pr = { .program = p, .source = context, .prepared = prepared };
    prepare_all(&pr, c, &(Visitor) { .block = project_context });
}

void
rv_unet_prepared_outputs(RvProgram *p, const char *prefix, const RvUnetPrepared *prepared)
{
    for (int i = 0; i < prepared->count; i++) {
        g_autofree char *name = g_strdup_printf("%s.%d", prefix, i);
        rv_output_exact(p, name, prepared->item[i]);
    }
}

void
rv_unet_time_inputs(RvProgram *p, const RvUnetConfig *c, const char *prefix, int n, RvUnetPrepared *prepared)
{
    if (!rv_unet_check(p, c))
        return;
    Prepare pr = { .program = p, .prefix = prefix, .n = n, .prepared = prepared };
    prepare_all(&pr, c, &(Visitor) { .resnet = declare_time });
}

void
rv_unet_context_inputs(RvProgram *p, const RvUnetConfig *c, const char *prefix, int n, int tokens,
                       RvUnetPrepared *prepared)
{
    if (!rv_unet_check(p, c))
        return;
    Prepare pr = { .program = p, .prefix = prefix, .n = n, .tokens = tokens, .prepared = prepared };
    prepare_all(&pr, c, &(Visitor) { .block = declare_context });
}

RvTensor
rv_unet_take(RvProgram *p, const RvUnetPrepared *prepared, int *next)
{
    if (*next < prepared->count)
        return prepared->item[(*next)++];
    rv_program_fail(p, RV_ERROR_FAILED, "only %d tensors were prepared", prepared->count);
    return (RvTensor) { 0 };
}

int
rv_unet_skip_shapes(const RvUnetConfig *c, int n, int h, int w, RvShape shapes[RV_UNET_MAX_SKIPS])
{
    int count = 0;
    if (c->levels < 1 || c->levels > RV_MAX_LEVELS)
        return 0;
    shapes[count++] = (RvShape) { n, h, w, c->channels[0] };
    for (int level = 0; level < c->levels; level++) {
        if (c->layers_per_block[level] < 1 || c->layers_per_block[level] > RV_UNET_MAX_LAYERS)
            return 0;
        for (int i = 0; i < c->layers_per_block[level]; i++)
            shapes[count++] = (RvShape) { n, h, w, c->channels[level] };
        h = (h + 1) / 2, w = (w + 1) / 2;
        if (level < c->levels - 1)
            shapes[count++] = (RvShape) { n, h, w, c->channels[level] };
    }
    return count;
}
