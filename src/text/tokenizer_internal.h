/* tokenizer_internal.h - how a tokenizer is stored; shared by the files that make one and use one. */
#pragma once
#include "text/tokenizer.h"

#define RV_TOKENIZER_MAX_IDS (1 << 20)
#define RV_BYTE_COUNT 256

typedef struct {
    guint64 pair; /* left id in the high half; RV_NO_PAIR marks a free slot */
    guint32 rank; /* lower merges first */
    gint32 merged;
} RvMerge;

#define RV_NO_PAIR G_MAXUINT64

typedef struct {
    char *text;
    gsize length;
    gint32 id;
} RvSpecialToken;

typedef struct {
    guint32 offset, length; /* bytes in RvTokenizer.texts; length 0: no such id */
    bool ends_word;
} RvTokenText;

struct RvTokenizer {
    RvMerge *merges; /* open addressing, `merge_mask` + 1 slots, at most half of them used */
    guint32 merge_mask;
    gint32 byte_ids[RV_BYTE_COUNT];     /* of a byte inside a word; -1: not in the vocabulary */
    gint32 byte_end_ids[RV_BYTE_COUNT]; /* of a byte that ends a word */
    GArray *tokens;                     /* RvTokenText by id */
    GByteArray *texts;                  /* the tokens' bytes, one after the other */
    GArray *specials;                   /* RvSpecialToken */
    gint32 bos, eos, pad, unknown;
};

extern const guint16 rv_clip_merges[]; /* left id, right id of every merge */
extern const guint rv_clip_merge_count;

/* The bytes in the order of their token ids: CLIP numbers the printable ones of Latin-1 first. */
void rv_tokenizer_byte_order(guint8 order[RV_BYTE_COUNT]);

RvTokenizer *rv_tokenizer_alloc(guint merge_count);
/* `id` must be below RV_TOKENIZER_MAX_IDS; false when it is taken. */
bool rv_tokenizer_add_token(RvTokenizer *tokenizer, gint32 id, const guint8 *bytes, gsize length,
                            bool ends_word);
void rv_tokenizer_add_merge(RvTokenizer *tokenizer, gint32 left, gint32 right, guint32 rank, gint32 merged);
const RvMerge *rv_tokenizer_find_merge(const RvTokenizer *tokenizer, gint32 left, gint32 right);
void rv_tokenizer_add_special(RvTokenizer *tokenizer, const char *text, gint32 id);
/* Fills byte_ids and byte_end_ids from the tokens of one byte. */
void rv_tokenizer_index_bytes(RvTokenizer *tokenizer);

/* Appends the ids of one word (bytes, at least one) to `ids`. */
void rv_tokenizer_merge_word(const RvTokenizer *tokenizer, const guint8 *bytes, gsize length, GArray *ids);
