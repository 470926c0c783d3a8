/* tokenizer_builtin.c - the standard CLIP vocabulary from the merge list in the binary. */
#include <string.h>

#include "base/error.h"
#include "text/tokenizer_internal.h"

#define BOS "<|startoftext|>"
#define EOS "<|endoftext|>"

static void
add_byte_tokens(RvTokenizer *tokenizer)
{
    guint8 order[RV_BYTE_COUNT];
    rv_tokenizer_byte_order(order);
    for (gint32 i = 0; i < RV_BYTE_COUNT; i++)
        rv_tokenizer_add_token(tokenizer, i, &order[i], 1, false);
    for (gint32 i = 0; i < RV_BYTE_COUNT; i++)
        rv_tokenizer_add_token(tokenizer, RV_BYTE_COUNT + i, &order[i], 1, true);
}

static void
add_merged_token(RvTokenizer *tokenizer, gint32 left, gint32 right, gint32 id)
{
    RvTokenText a = g_array_index(tokenizer->tokens, RvTokenText, left);
    RvTokenText b = g_array_index(tokenizer->tokens, RvTokenText, right);
    guint8 *joined = g_newa(guint8, a.length + b.length);
    memcpy(joined, tokenizer->texts->data + a.offset, a.length);
    memcpy(joined + a.length, tokenizer->texts->data + b.offset, b.length);
    rv_tokenizer_add_token(tokenizer, id, joined, a.length + b.length, b.ends_word);
}

RvTokenizer *
rv_tokenizer_new_builtin(GError **error)
{
    RvTokenizer *tokenizer = rv_tokenizer_alloc(rv_clip_merge_count);
    add_byte_tokens(tokenizer);
    for (guint i = 0; i < rv_clip_merge_count; i++) {
        gint32 left = rv_clip_merges[2 * i], right = rv_clip_merges[2 * i + 1],
               id = 2 * RV_BYTE_COUNT + (gint32)i;
        if (left >= id || right >= id) {
            rv_error_set(error, RV_ERROR_INVALID, "data/clip/merges.u16",
                         "make it again with scripts/clip-vocabulary",
                         "merge %u of the built-in vocabulary uses a later token", i);
            rv_tokenizer_free(tokenizer);
            return NULL;
        }
        add_merged_token(tokenizer, left, right, id);
        rv_tokenizer_add_merge(tokenizer, left, right, i, id);
    }
    tokenizer->bos = 2 * RV_BYTE_COUNT + (gint32)rv_clip_merge_count;
    tokenizer->eos = tokenizer->unknown = tokenizer->bos + 1;
    rv_tokenizer_add_token(tokenizer, tokenizer->bos, (const guint8 *)BOS, strlen(BOS), false);
    rv_tokenizer_add_token(tokenizer, tokenizer->eos, (const guint8 *)EOS, strlen(EOS), false);
    rv_tokenizer_add_special(tokenizer, BOS, tokenizer->bos);
    rv_tokenizer_add_special(tokenizer, EOS, tokenizer->eos);
    rv_tokenizer_index_bytes(tokenizer);
    return tokenizer;
}
