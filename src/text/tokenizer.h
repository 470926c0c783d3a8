/* tokenizer.h - CLIP's byte-pair tokenizer: text to token ids and back.
 *
 * The ids are those of transformers' CLIPTokenizer (the fast one): text is cleaned (clean.h), cut into
 * words by CLIP's pattern (contractions, runs of letters, single digits, runs of the rest), each word's
 * bytes are merged in the order of the merge list, the last byte being marked as the word's end
 * (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units"; Radford et al., CLIP).
 * The names of special tokens ("<|endoftext|>") are recognised in the text as written.
 *
 * A tokenizer that is no longer being set up never changes: any number of threads may use one. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct RvTokenizer RvTokenizer;

/* The standard CLIP vocabulary (49408 tokens), which is part of the binary. Pad is not stated: -1. */
RvTokenizer *rv_tokenizer_new_builtin(GError **error);

/* A model's `tokenizer` folder: vocab.json and merges.txt, or tokenizer.json when there is no
 * vocab.json; the special tokens from tokenizer_config.json and special_tokens_map.json (both may lack;
 * the first wins, except that a pad token that is the end token, the class's default, yields to another).
 * Fails with NOT_FOUND, IO, INVALID (the file and the entry are named) or UNSUPPORTED. */
RvTokenizer *rv_tokenizer_new_from_folder(const char *folder, GError **error);

void rv_tokenizer_free(RvTokenizer *tokenizer); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvTokenizer, rv_tokenizer_free)

gint32 rv_tokenizer_bos(const RvTokenizer *tokenizer); /* start of text */
gint32 rv_tokenizer_eos(const RvTokenizer *tokenizer); /* end of text */
gint32 rv_tokenizer_pad(const RvTokenizer *tokenizer); /* -1 when not stated */
/* Makes `token` ("!": what OpenCLIP's encoders have) the pad token. Like every special token it is then
 * recognised inside text, as transformers does. False, and no change, when the vocabulary lacks it. For use
 * before other threads see the tokenizer. */
bool rv_tokenizer_set_pad(RvTokenizer *tokenizer, const char *token);
/* The id of the one-token word `word` (",": CLIP's comma), -1 when there is none. */
gint32 rv_tokenizer_word(const RvTokenizer *tokenizer, const char *word);
/* One more than the largest id: what the rows of a token embedding must reach. */
gint32 rv_tokenizer_size(const RvTokenizer *tokenizer);

/* Appends the ids of `text` to `ids` (a GArray of gint32), without bos and eos, not truncated. Bytes that
 * are not UTF-8 count as U+FFFD; text after 64 MiB is ignored. Time is n log n at the most. */
void rv_tokenizer_encode(const RvTokenizer *tokenizer, const char *text, GArray *ids);

/* The text of ids, words separated by spaces; unknown ids give nothing. Lossy: case and spacing are gone,
 * and a token may hold part of a character (then U+FFFD). Returns a new string. */
char *rv_tokenizer_decode(const RvTokenizer *tokenizer, const gint32 *ids, gsize count);
