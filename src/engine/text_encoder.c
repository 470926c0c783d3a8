#include "engine/text_encoder.h"

#include <string.h>

#include "models/clip.h"

/* One program per kind of output; a run uses one kind, the next prompt style perhaps another. */
#define PROGRAMS 4

typedef struct {
    RvTextOutput output;
    bool edited;
    RvProgram *program;
} Recorded;

struct RvTextEncoder {
    RvClipConfig config;
    RvTokenizer *tokenizer;
    gint32 pad;
    RvWeightSource source;
    float *zero_row;
    RvWeightSet *weights;
    Recorded recorded[PROGRAMS];
    int count;
};

RvTextEncoder *
rv_text_encoder_new(RvEngine *engine, const RvClipConfig *config, RvWeightSource source,
                    RvTokenizer *tokenizer, gint32 pad)
{
    RvTextEncoder *encoder = g_new0(RvTextEncoder, 1);
    encoder->config = *config;
    encoder->tokenizer = tokenizer;
    encoder->pad = pad;
    encoder->source = source;
    encoder->weights = rv_weight_set_new(rv_engine_device(engine), source);
    return encoder;
}

void
rv_text_encoder_free(RvTextEncoder *encoder)
{
    if (encoder == NULL)
        return;
    for (int i = 0; i < encoder->count; i++)
        rv_program_free(encoder->recorded[i].program);
    rv_weight_set_free(encoder->weights);
    rv_tokenizer_free(encoder->tokenizer);
    g_free(encoder->zero_row);
    g_free(encoder);
}

const RvClipConfig *
rv_text_encoder_config(const RvTextEncoder *encoder)
{
    return &encoder->config;
}

const RvTokenizer *
rv_text_encoder_tokenizer(const RvTextEncoder *encoder)
{
    return encoder->tokenizer;
}

gint32
rv_text_encoder_pad(const RvTextEncoder *encoder)
{
    return encoder->pad;
}

RvWeightSet *
rv_text_encoder_weights(RvTextEncoder *encoder)
{
    return encoder->weights;
}

gsize
rv_text_encoder_bytes(const RvTextEncoder *encoder)
{
    return rv_weight_set_bytes(encoder->weights);
}

static RvProgram *
record(RvTextEncoder *encoder, RvTextOutput output, bool edited, GError **error)
{
    RvProgram *p = rv_program_new(encoder->weights);
    RvClipInputs inputs = {
        .ids = rv_input(p, "ids", RV_I32, (RvShape) { 1, 1, encoder->config.positions, 1 }),
        .skip = output.skip - 1,
        .is_hidden_normalised = output.final_norm,
    };
    if (output.pooled)
        inputs.end = rv_input(p, "end", RV_I32, (RvShape) { 1, 1, 1, 1 });
    if (edited)
        inputs.edits = rv_input(p, "edits", RV_F32,
                                (RvShape) { 1, 1, encoder->config.positions, encoder->config.hidden_size });
    RvClipOutputs outputs = rv_clip_record(p, &encoder->config, &inputs);
    rv_output(p, "hidden", outputs.hidden);
    if (output.pooled)
        rv_output(p, "pooled", outputs.pooled);
    if (rv_program_compile(p, error))
        return p;
    rv_program_free(p);
    return NULL;
}

static RvProgram *
program_for(RvTextEncoder *encoder, RvTextOutput output, bool edited, GError **error)
{
    for (int i = 0; i < encoder->count; i++) {
        const RvTextOutput *known = &encoder->recorded[i].output;
        if (known->skip == output.skip && known->final_norm == output.final_norm &&
            known->pooled == output.pooled && encoder->recorded[i].edited == edited)
            return encoder->recorded[i].program;
    }
    RvProgram *program = record(encoder, output, edited, error);
    if (program == NULL)
        return NULL;
    if (encoder->count == PROGRAMS) {
        rv_program_free(encoder->recorded[0].program);
        memmove(encoder->recorded, encoder->recorded + 1, sizeof *encoder->recorded * (PROGRAMS - 1));
        encoder->count--;
    }
    encoder->recorded[encoder->count++] = (Recorded) { output, edited, program };
    return program;
}

static gint32
end_position(const RvTextEncoder *encoder, const gint32 *ids)
{
    gint32 eos = rv_tokenizer_eos(encoder->tokenizer);
    for (gint32 i = 0; i < encoder->config.positions; i++)
        if (ids[i] == eos)
            return i;
    return encoder->config.positions - 1;
}

const float *
rv_text_encoder_zero_row(RvTextEncoder *encoder, GError **error)
{
    const gint64 shape[] = { encoder->config.vocab_size, encoder->config.hidden_size };
    RvArray table;
    if (encoder->zero_row != NULL)
        return encoder->zero_row;
    if (!encoder->source.find(encoder->source.self, "text_model.embeddings.token_embedding.weight", 2, shape,
                              &table, error))
        return NULL;
    encoder->zero_row = g_new(float, (gsize)shape[1]);
    rv_convert_to_f32(table.dtype, table.data, encoder->zero_row, (gsize)shape[1]);
    return encoder->zero_row;
}

bool
rv_text_encoder_run(RvTextEncoder *encoder, const gint32 *ids, const float *edits, RvTextOutput output,
                    float *hidden, float *pooled, GError **error)
{
    if (output.skip > encoder->config.layers)
        return rv_error_set(error, RV_ERROR_USAGE, "--clip-skip", "use a smaller number",
                            "the text encoder has only %d layers", encoder->config.layers);
    RvProgram *p = program_for(encoder, output, edits != NULL, error);
    if (p == NULL)
        return false;
    gint32 end = end_position(encoder, ids);
    gsize count = (gsize)encoder->config.positions;
    int pooled_width =
        encoder->config.projection_dim > 0 ? encoder->config.projection_dim : encoder->config.hidden_size;
    return rv_program_write(p, "ids", ids, count * sizeof *ids, error) &&
           (edits == NULL ||
            rv_program_write(p, "edits", edits, count * (gsize)encoder->config.hidden_size * sizeof *edits,
                             error)) &&
           (!output.pooled || rv_program_write(p, "end", &end, sizeof end, error)) &&
           rv_program_run(p, error) &&
           rv_program_read(p, "hidden", hidden, count * (gsize)encoder->config.hidden_size * sizeof *hidden,
                           error) &&
           (!output.pooled ||
            rv_program_read(p, "pooled", pooled, (gsize)pooled_width * sizeof *pooled, error));
}
