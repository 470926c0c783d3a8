/* embeddings.h - textual inversions (Gal et al. 2022): names in prompts that stand for learned vectors.
 *
 * Forms of a file: safetensors with one tensor [vectors, width] or [width] (A1111's emb_params, diffusers'
 * concepts), with clip_l and clip_g (or text_encoders_0 and _1) for SDXL's two encoders; PNG with A1111's
 * text chunk sd-ti-embedding. A file's name without its ending is the name in prompts; it is recognised by
 * its tokens, so case does not matter, and the longest of several wins. Only files whose names occur in a
 * prompt are read; a file that changed is read again. */
#pragma once
#include "engine/library.h"
#include "engine/text_encoder.h"
#include "text/chunks.h"

typedef struct RvEmbeddings RvEmbeddings;

/* Borrows all; `second` may be NULL, `library` too. */
RvEmbeddings *rv_embeddings_new(const RvLibrary *library, const RvTextEncoder *first,
                                const RvTextEncoder *second);
void rv_embeddings_free(RvEmbeddings *embeddings); /* accepts NULL */

/* Reads what the prompt names. Files that cannot be used become sentences in `notes` (char *; may be NULL).
 */
void rv_embeddings_load(RvEmbeddings *embeddings, const char *prompt, GPtrArray *notes);
/* Grows whenever a file was read: what was encoded before may be another now. */
guint rv_embeddings_generation(const RvEmbeddings *embeddings);

/* For RvChunkOptions: names in the tokens of encoder 0 or 1. Borrowed until the next load. */
const RvEmbeddingName *rv_embeddings_names(const RvEmbeddings *embeddings, int encoder, guint *count);
/* [vectors][hidden_size] of entry `index` for that encoder. */
const float *rv_embeddings_vectors(const RvEmbeddings *embeddings, int encoder, guint index);
/* "name: 0123456789ab" of entry `index`, as A1111's "TI hashes" lists it. */
const char *rv_embeddings_label(const RvEmbeddings *embeddings, guint index);

/* One file, for its own sake. */
typedef struct {
    int vectors, widths[2]; /* width 0: none for that encoder; one tensor alone counts as the first */
    float *values[2];
    char *hash; /* 12 hexadecimal digits of the file's SHA-256 */
} RvEmbeddingFile;
/* INVALID, UNSUPPORTED (a pickle: .pt, .bin), NOT_FOUND. */
bool rv_embedding_file_read(RvEmbeddingFile *file, const char *path, GError **error);
void rv_embedding_file_clear(RvEmbeddingFile *file);
