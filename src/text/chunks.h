/* chunks.h - weighted runs of text as the rows of token ids that a text encoder takes, and the weighting
 * of what it gives back.
 *
 * A chunk is bos + (positions - 2) tokens + eos, so `positions` ids (77 for CLIP); each is encoded by
 * itself and the outputs are joined along the tokens. The rules are the web UI's (webui 1.10):
 * when a chunk is full and its last comma lies at most `comma_backtrack` tokens back, what follows that
 * comma moves to the next chunk; BREAK fills the chunk up; the space left is filled with eos, after which
 * everything behind the FIRST eos becomes `pad`. */
#pragma once
#include <stddef.h>

#include "text/prompt.h"
#include "text/tokenizer.h"

/* A textual inversion: wherever the tokens `ids` stand, `vectors` learned vectors take their place. */
typedef struct {
    const gint32 *ids; /* of its name, as rv_tokenizer_encode gives them; borrowed */
    guint id_count;    /* at least 1 */
    guint vectors;     /* 1 to positions - 2 */
} RvEmbeddingName;

typedef struct {
    guint positions;     /* ids of a chunk, at least 3; 77 for CLIP */
    gint32 pad;          /* eos for CLIP-L, 0 for OpenCLIP; -1: the tokenizer's pad, else its eos */
    int comma_backtrack; /* tokens, 0 for none; the web UI's default is 20 */
    /* One chunk with the first positions - 2 tokens, as diffusers and transformers do it
     * (padding="max_length", truncation=True); no backtracking, BREAK is skipped. */
    bool truncate;
    const RvEmbeddingName *embeddings; /* where names overlap the longest wins; may be NULL */
    guint embedding_count;
} RvChunkOptions;

#define RV_CHUNK_POSITIONS 77
#define RV_COMMA_BACKTRACK 20

typedef struct {
    guint row;       /* counted over all chunks: chunk * positions + position in it */
    guint embedding; /* index into RvChunkOptions.embeddings */
} RvChunkEmbedding;

typedef struct {
    guint count; /* chunks, at least 1 */
    guint positions;
    gint32 *ids;        /* [count][positions]; 0 where an embedding's vectors belong */
    float *weights;     /* [count][positions]; 1 for bos, eos and padding */
    GArray *embeddings; /* RvChunkEmbedding: the first row of each, by rising row */
    guint token_count;  /* of the text and its embeddings' vectors, before chunking: what a user interface
                           shows as "n/75" */
} RvChunks;

/* `runs` is a GArray of RvPromptRun (a member of a parsed prompt). NULL with RV_ERROR_USAGE when the
 * options are out of range. */
RvChunks *rv_chunks_new(const RvTokenizer *tokenizer, const GArray *runs, const RvChunkOptions *options,
                        GError **error);
void rv_chunks_free(RvChunks *chunks); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvChunks, rv_chunks_free)

/* Appends chunks without text until there are `count`: cond and uncond of one batch need equal lengths. */
void rv_chunks_pad(RvChunks *chunks, guint count, const RvTokenizer *tokenizer,
                   const RvChunkOptions *options);

/* The web UI's "Original" emphasis: each token's vector times its weight, then all of them times
 * mean before / mean after, so that the context's mean stays. `context` is [tokens][width], `weights`
 * [tokens]: one chunk (with all of a prompt's entries, if they are encoded together). Does nothing when
 * all weights are 1, and leaves the mean alone when the weighted one is 0. */
void rv_weight_context(float *context, const float *weights, size_t tokens, size_t width);
