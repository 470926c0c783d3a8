/* text_encoder.h - one CLIP text encoder on a device, with its tokenizer: a chunk of token ids in, the
 * context of its tokens out. */
#pragma once
#include "engine/engine.h"
#include "text/tokenizer.h"
#include "weights/config.h"

typedef struct RvTextEncoder RvTextEncoder;

/* Takes the tokenizer; the source must outlive the encoder. `pad` is RvChunkOptions.pad. */
RvTextEncoder *rv_text_encoder_new(RvEngine *engine, const RvClipConfig *config, RvWeightSource source,
                                   RvTokenizer *tokenizer, gint32 pad);
void rv_text_encoder_free(RvTextEncoder *encoder); /* accepts NULL */

const RvClipConfig *rv_text_encoder_config(const RvTextEncoder *encoder);
const RvTokenizer *rv_text_encoder_tokenizer(const RvTextEncoder *encoder);
gint32 rv_text_encoder_pad(const RvTextEncoder *encoder);
RvWeightSet *rv_text_encoder_weights(RvTextEncoder *encoder); /* borrowed */
gsize rv_text_encoder_bytes(const RvTextEncoder *encoder);

/* Which of the hidden states is the context: `skip` 1 is the last layer's, 2 the one before, and so on. */
typedef struct {
    int skip;
    bool final_norm;
    bool pooled; /* also the projected end-of-text vector */
} RvTextOutput;

/* The embedding table's row of token 0, [hidden_size], in float32. Borrowed; NULL on failure. */
const float *rv_text_encoder_zero_row(RvTextEncoder *encoder, GError **error);

/* ids [positions] -> hidden [positions][hidden_size], pooled [projection_dim] when asked for.
 * `edits` [positions][hidden_size] is added to the tokens' embeddings; NULL: none. */
bool rv_text_encoder_run(RvTextEncoder *encoder, const gint32 *ids, const float *edits, RvTextOutput output,
                         float *hidden, float *pooled, GError **error);
