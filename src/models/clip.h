/* clip.h - CLIP's text transformer: token ids to hidden states and the pooled vector.
 *
 * Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"; the
 * numbers are those of transformers' CLIPTextModel and CLIPTextModelWithProjection. Weight names are
 * theirs ("text_model.encoder.layers.0.self_attn.q_proj"). */
#pragma once
#include "tensor/program.h"
#include "weights/config.h"

typedef struct {
    RvTensor ids;   /* I32 [n,1,tokens,1], in [0, vocab_size); tokens = config->positions */
    RvTensor edits; /* [n,1,tokens,hidden_size], added to the embeddings (learned vectors); none: nothing */
    RvTensor end;   /* I32 [n,1,1,1], the end token's position in each row; none: no pooled vector */
    int skip;       /* final layers that `hidden` leaves out: 0 the last one's, 1 the penultimate ... */
    bool is_hidden_normalised; /* final_layer_norm on `hidden` also; transformers' last_hidden_state has it */
} RvClipInputs;

typedef struct {
    RvTensor hidden; /* [n,1,tokens,hidden_size] */
    RvTensor
        pooled; /* [n,1,1,projection_dim], or hidden_size wide without a projection; none without `end` */
} RvClipOutputs;

/* Layers that neither output needs are not recorded, nor are their weights asked for: the pooled vector
 * needs all of them, `hidden` needs layers - skip. Hidden states are transformers' hidden_states[-1 - skip].
 */
RvClipOutputs rv_clip_record(RvProgram *program, const RvClipConfig *config, const RvClipInputs *inputs);
