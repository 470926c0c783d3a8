#include <string.h>

#include "text/clean.h"
#include "text/tokenizer_internal.h"

#define MAX_TEXT (64u << 20)

void
rv_tokenizer_byte_order(guint8 order[RV_BYTE_COUNT])
{
    guint count = 0;
    for (int printable = 1; printable >= 0; printable--)
        for (int byte = 0; byte < RV_BYTE_COUNT; byte++) {
            bool is_printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
            if (is_printable == (bool)printable)
                order[count++] = (guint8)byte;
        }
}

RvTokenizer *
rv_tokenizer_alloc(guint merge_count)
{
    RvTokenizer *tokenizer = g_new0(RvTokenizer, 1);
    guint32 slots = 2;
    while (slots < 2 * merge_count)
        slots *= 2;
    tokenizer->merge_mask = slots - 1;
    tokenizer->merges = g_new(RvMerge, slots);
    for (guint32 i = 0; i < slots; i++)
        tokenizer->merges[i].pair = RV_NO_PAIR;
    tokenizer->tokens = g_array_new(FALSE, TRUE, sizeof(RvTokenText));
    tokenizer->texts = g_byte_array_new();
    tokenizer->specials = g_array_new(FALSE, FALSE, sizeof(RvSpecialToken));
    tokenizer->bos = tokenizer->eos = tokenizer->pad = tokenizer->unknown = -1;
    return tokenizer;
}

void
rv_tokenizer_free(RvTokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    for (guint i = 0; i < tokenizer->specials->len; i++)
        g_free(g_array_index(tokenizer->specials, RvSpecialToken, i).text);
    g_array_unref(tokenizer->specials);
    g_array_unref(tokenizer->tokens);
    g_byte_array_unref(tokenizer->texts);
    g_free(tokenizer->merges);
    g_free(tokenizer);
}

bool
rv_tokenizer_add_token(RvTokenizer *tokenizer, gint32 id, const guint8 *bytes, gsize length, bool ends_word)
{
    g_assert(id >= 0 && id < RV_TOKENIZER_MAX_IDS && length > 0);
    if ((guint)id >= tokenizer->tokens->len)
        g_array_set_size(tokenizer->tokens, (guint)id + 1);
    RvTokenText *token = &g_array_index(tokenizer->tokens, RvTokenText, id);
    if (token->length != 0)
        return false;
    *token = (RvTokenText) { tokenizer->texts->len, (guint32)length, ends_word };
    g_byte_array_append(tokenizer->texts, bytes, (guint)length);
    return true;
}

/* The slot that holds the pair, or the free one where it belongs. */
static RvMerge *
merge_slot(const RvTokenizer *tokenizer, guint64 pair)
{
    guint32 i = (guint32)((pair * 0x9e3779b97f4a7c15u) >> 32) & tokenizer->merge_mask;
    while (tokenizer->merges[i].pair != pair && tokenizer->merges[i].pair != RV_NO_PAIR)
        i = (i + 1) & tokenizer->merge_mask;
    return &tokenizer->merges[i];
}

static guint64
pair_of(gint32 left, gint32 right)
{
    return ((guint64)(guint32)left << 32) | (guint32)right;
}

void
rv_tokenizer_add_merge(RvTokenizer *tokenizer, gint32 left, gint32 right, guint32 rank, gint32 merged)
{
    guint64 pair = pair_of(left, right);
    *merge_slot(tokenizer, pair) = (RvMerge) { pair, rank, merged };
}

const RvMerge *
rv_tokenizer_find_merge(const RvTokenizer *tokenizer, gint32 left, gint32 right)
{
    const RvMerge *merge = merge_slot(tokenizer, pair_of(left, right));
    return merge->pair == RV_NO_PAIR ? NULL : merge;
}

void
rv_tokenizer_add_special(RvTokenizer *tokenizer, const char *text, gint32 id)
{
    for (guint i = 0; i < tokenizer->specials->len; i++)
        if (g_array_index(tokenizer->specials, RvSpecialToken, i).id == id)
            return;
    RvSpecialToken special = { g_strdup(text), strlen(text), id };
    g_array_append_val(tokenizer->specials, special);
}

void
rv_tokenizer_index_bytes(RvTokenizer *tokenizer)
{
    for (int byte = 0; byte < RV_BYTE_COUNT; byte++)
        tokenizer->byte_ids[byte] = tokenizer->byte_end_ids[byte] = -1;
    for (guint id = 0; id < tokenizer->tokens->len; id++) {
        const RvTokenText *token = &g_array_index(tokenizer->tokens, RvTokenText, id);
        if (token->length != 1)
            continue;
        guint8 byte = tokenizer->texts->data[token->offset];
        (token->ends_word ? tokenizer->byte_end_ids : tokenizer->byte_ids)[byte] = (gint32)id;
    }
}

gint32
rv_tokenizer_bos(const RvTokenizer *tokenizer)
{
    return tokenizer->bos;
}

gint32
rv_tokenizer_eos(const RvTokenizer *tokenizer)
{
    return tokenizer->eos;
}

gint32
rv_tokenizer_pad(const RvTokenizer *tokenizer)
{
    return tokenizer->pad;
}

bool
rv_tokenizer_set_pad(RvTokenizer *tokenizer, const char *token)
{
    gsize length = strlen(token);
    for (guint id = 0; id < tokenizer->tokens->len && length > 0; id++) {
        const RvTokenText *text = &g_array_index(tokenizer->tokens, RvTokenText, id);
        if (text->ends_word || text->length != length ||
            memcmp(tokenizer->texts->data + text->offset, token, length) != 0)
            continue;
        tokenizer->pad = (gint32)id;
        rv_tokenizer_add_special(tokenizer, token, (gint32)id);
        return true;
    }
    return false;
}

gint32
rv_tokenizer_size(const RvTokenizer *tokenizer)
{
    return (gint32)tokenizer->tokens->len;
}

gint32
rv_tokenizer_word(const RvTokenizer *tokenizer, const char *word)
{
    if (*word == '\0')
        return -1;
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    rv_tokenizer_merge_word(tokenizer, (const guint8 *)word, strlen(word), ids);
    gint32 id = g_array_index(ids, gint32, 0);
    return ids->len == 1 && id != tokenizer->unknown ? id : -1;
}

typedef enum { SPACE, LETTER, DIGIT, OTHER } Kind;

static Kind
kind_of(gunichar c)
{
    switch (g_unichar_type(c)) {
    case G_UNICODE_LOWERCASE_LETTER:
    case G_UNICODE_UPPERCASE_LETTER:
    case G_UNICODE_TITLECASE_LETTER:
    case G_UNICODE_MODIFIER_LETTER:
    case G_UNICODE_OTHER_LETTER:
        return LETTER;
    case G_UNICODE_DECIMAL_NUMBER:
    case G_UNICODE_LETTER_NUMBER:
    case G_UNICODE_OTHER_NUMBER:
        return DIGIT;
    default:
        return rv_text_is_space(c) ? SPACE : OTHER;
    }
}

/* Length of the English contraction ('s 't 're 've 'm 'll 'd) that the text begins with, else 0. */
static guint
contraction(const gunichar *c, guint left)
{
    if (c[0] != '\'' || left < 2)
        return 0;
    if (c[1] == 's' || c[1] == 't' || c[1] == 'm' || c[1] == 'd')
        return 2;
    if (left < 3)
        return 0;
    bool is_long = ((c[1] == 'r' || c[1] == 'v') && c[2] == 'e') || (c[1] == 'l' && c[2] == 'l');
    return is_long ? 3 : 0;
}

static guint
word_length(const gunichar *c, guint left, Kind kind)
{
    guint length = contraction(c, left);
    if (length > 0 || kind == DIGIT)
        return MAX(length, 1);
    for (length = 1; length < left && kind_of(c[length]) == kind;)
        length++;
    return length;
}

/* Text between special tokens. */
static void
encode_plain(const RvTokenizer *tokenizer, const char *text, gsize length, GArray *ids)
{
    g_autoptr(GArray) clean = rv_text_clean(text, length);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    const gunichar *c = (const gunichar *)(const void *)clean->data;
    for (guint i = 0; i < clean->len;) {
        Kind kind = kind_of(c[i]);
        if (kind == SPACE) {
            i++;
            continue;
        }
        guint end = i + word_length(c + i, clean->len - i, kind);
        g_byte_array_set_size(bytes, 0);
        for (; i < end; i++) {
            char utf8[6];
            int count = g_unichar_to_utf8(c[i], utf8);
            g_byte_array_append(bytes, (const guint8 *)utf8, (guint)count);
        }
        rv_tokenizer_merge_word(tokenizer, bytes->data, bytes->len, ids);
    }
}

/* The longest special token that `text` begins with. */
static const RvSpecialToken *
special_at(const RvTokenizer *tokenizer, const char *text)
{
    const RvSpecialToken *found = NULL;
    for (guint i = 0; i < tokenizer->specials->len; i++) {
        const RvSpecialToken *special = &g_array_index(tokenizer->specials, RvSpecialToken, i);
        if (*text == *special->text && strncmp(text, special->text, special->length) == 0 &&
            (found == NULL || special->length > found->length))
            found = special;
    }
    return found;
}

void
rv_tokenizer_encode(const RvTokenizer *tokenizer, const char *text, GArray *ids)
{
    const char *end = text + strnlen(text, MAX_TEXT), *start = text;
    while (text < end) {
        const RvSpecialToken *special = special_at(tokenizer, text);
        if (special == NULL) {
            text++;
            continue;
        }
        encode_plain(tokenizer, start, (gsize)(text - start), ids);
        g_array_append_val(ids, special->id);
        start = text += special->length;
    }
    if (start < end)
        encode_plain(tokenizer, start, (gsize)(end - start), ids);
}

char *
rv_tokenizer_decode(const RvTokenizer *tokenizer, const gint32 *ids, gsize count)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (gsize i = 0; i < count; i++) {
        if (ids[i] < 0 || (guint)ids[i] >= tokenizer->tokens->len)
            continue;
        const RvTokenText *token = &g_array_index(tokenizer->tokens, RvTokenText, ids[i]);
        g_string_append_len(text, (const char *)tokenizer->texts->data + token->offset, token->length);
        if (token->ends_word)
            g_string_append_c(text, ' ');
    }
    if (text->len > 0 && text->str[text->len - 1] == ' ')
        g_string_truncate(text, text->len - 1);
    return g_utf8_make_valid(text->str, (gssize)text->len);
}
