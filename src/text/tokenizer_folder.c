/* tokenizer_folder.c - a tokenizer from the files of a model folder. */
#include <string.h>

#include "base/error.h"
#include "text/json_file.h"
#include "text/tokenizer_internal.h"

#define MAX_FILE (32u << 20)
#define WORD_END "</w>"
#define AGAIN "download the file again"

typedef struct {
    const char *folder;
    GHashTable *ids;          /* token, as vocab.json spells it -> id + 1 */
    gint16 byte_of[2 * 256];  /* the byte that a letter of the vocabulary stands for; -1: none */
    JsonObject *config, *map; /* tokenizer_config.json, special_tokens_map.json; may be NULL */
    RvTokenizer *tokenizer;
} Loader;

static void
fill_byte_letters(Loader *loader)
{
    guint8 order[RV_BYTE_COUNT];
    rv_tokenizer_byte_order(order);
    memset(loader->byte_of, 0xff, sizeof loader->byte_of);
    for (int i = 0, others = 0; i < RV_BYTE_COUNT; i++) {
        bool is_printable = (order[i] >= 33 && order[i] <= 126) || (order[i] >= 161 && order[i] != 173);
        loader->byte_of[is_printable ? order[i] : RV_BYTE_COUNT + others++] = order[i];
    }
}

/* A token's bytes; letters that stand for no byte (an added token in plain text) keep their UTF-8. */
static GByteArray *
token_bytes(const Loader *loader, const char *token, gsize length)
{
    GByteArray *bytes = g_byte_array_new();
    for (const char *c = token; c < token + length; c = g_utf8_next_char(c)) {
        gunichar letter = g_utf8_get_char(c);
        if (letter < G_N_ELEMENTS(loader->byte_of) && loader->byte_of[letter] >= 0) {
            guint8 byte = (guint8)loader->byte_of[letter];
            g_byte_array_append(bytes, &byte, 1);
        } else {
            g_byte_array_append(bytes, (const guint8 *)c, (guint)(g_utf8_next_char(c) - c));
        }
    }
    return bytes;
}

static bool
add_token(Loader *loader, const char *path, const char *token, JsonNode *value, GError **error)
{
    if (!JSON_NODE_HOLDS_VALUE(value) || json_node_get_value_type(value) != G_TYPE_INT64)
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN,
                            "the id of token \"%.80s\" is not a whole number", token);
    gint64 id = json_node_get_int(value);
    if (id < 0 || id >= RV_TOKENIZER_MAX_IDS)
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN,
                            "token \"%.80s\" has id %" G_GINT64_FORMAT ", not within 0 to %d", token, id,
                            RV_TOKENIZER_MAX_IDS - 1);
    gsize length = strlen(token);
    bool ends_word = g_str_has_suffix(token, WORD_END) && length > strlen(WORD_END);
    if (length == 0)
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN,
                            "the token of id %" G_GINT64_FORMAT " is empty", id);
    g_autoptr(GByteArray) bytes = token_bytes(loader, token, ends_word ? length - strlen(WORD_END) : length);
    if (!rv_tokenizer_add_token(loader->tokenizer, (gint32)id, bytes->data, bytes->len, ends_word))
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN,
                            "token \"%.80s\" has id %" G_GINT64_FORMAT ", which another token has too", token,
                            id);
    g_hash_table_insert(loader->ids, g_strdup(token), GINT_TO_POINTER((int)id + 1));
    return true;
}

static bool
add_vocabulary(Loader *loader, const char *path, JsonObject *vocabulary, GError **error)
{
    if (json_object_get_size(vocabulary) == 0 || json_object_get_size(vocabulary) > RV_TOKENIZER_MAX_IDS)
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN, "a vocabulary of %u tokens",
                            json_object_get_size(vocabulary));
    JsonObjectIter iter;
    const char *token;
    JsonNode *value;
    json_object_iter_init(&iter, vocabulary);
    while (json_object_iter_next(&iter, &token, &value))
        if (!add_token(loader, path, token, value, error))
            return false;
    return true;
}

static gint32
token_id(const Loader *loader, const char *token)
{
    return GPOINTER_TO_INT(g_hash_table_lookup(loader->ids, token)) - 1;
}

static bool
add_merge(Loader *loader, const char *path, const char *left, const char *right, guint rank, GError **error)
{
    g_autofree char *joined = g_strconcat(left, right, NULL);
    const char *tokens[] = { left, right, joined };
    gint32 ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = token_id(loader, tokens[i]);
        if (ids[i] < 0)
            return rv_error_set(error, RV_ERROR_INVALID, path, "use the vocabulary and merges of one model",
                                "merge %u needs token \"%.80s\", which the vocabulary lacks", rank + 1,
                                tokens[i]);
    }
    rv_tokenizer_add_merge(loader->tokenizer, ids[0], ids[1], rank, ids[2]);
    return true;
}

static bool
add_merge_line(Loader *loader, const char *path, char *line, guint rank, GError **error)
{
    char *space = strchr(line, ' ');
    if (space == NULL || space == line || space[1] == '\0' || strchr(space + 1, ' ') != NULL)
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN, "merge %u, \"%.80s\", is not two tokens",
                            rank + 1, line);
    *space = '\0';
    return add_merge(loader, path, line, space + 1, rank, error);
}

/* Frees the tokenizer made so far and starts one with room for `count` merges. */
static void
start(Loader *loader, guint count)
{
    rv_tokenizer_free(loader->tokenizer);
    loader->tokenizer = rv_tokenizer_alloc(count);
}

static bool
load_merges_file(Loader *loader, const char *path, char *text, GError **error)
{
    guint rank = 0;
    char *rest = text;
    while (*rest != '\0') {
        char *line = rest, *end = strchrnul(rest, '\n');
        rest = *end == '\0' ? end : end + 1;
        *end = '\0';
        if (end > line && end[-1] == '\r')
            end[-1] = '\0';
        if (*line == '\0' || g_str_has_prefix(line, "#version"))
            continue;
        if (!add_merge_line(loader, path, line, rank++, error))
            return false;
    }
    return true;
}

static guint
count_lines(const char *text)
{
    guint count = 1;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static bool
load_vocab_and_merges(Loader *loader, const char *vocab_path, GError **error)
{
    g_autofree char *merges_path = g_build_filename(loader->folder, "merges.txt", NULL), *text = NULL;
    gsize length;
    g_autoptr(JsonObject) vocabulary = rv_json_file_read(vocab_path, MAX_FILE, error);
    if (vocabulary == NULL || !rv_text_file_read(merges_path, MAX_FILE, &text, &length, error))
        return false;
    if (!g_utf8_validate(text, (gssize)length, NULL))
        return rv_error_set(error, RV_ERROR_INVALID, merges_path, AGAIN, "not UTF-8 text");
    start(loader, count_lines(text));
    return add_vocabulary(loader, vocab_path, vocabulary, error) &&
           load_merges_file(loader, merges_path, text, error);
}

static JsonNode *
member(JsonObject *object, const char *name, JsonNodeType type)
{
    JsonNode *node = object != NULL ? json_object_get_member(object, name) : NULL;
    return node != NULL && json_node_get_node_type(node) == type ? node : NULL;
}

/* NULL unless it is a string. */
static const char *
string_of(JsonNode *node)
{
    bool is_string =
        node != NULL && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING;
    return is_string ? json_node_get_string(node) : NULL;
}

/* A merge is "left right" or, in newer files, ["left", "right"]. */
static bool
add_json_merge(Loader *loader, const char *path, JsonNode *node, guint rank, GError **error)
{
    if (JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *pair = json_node_get_array(node);
        const char *left = NULL, *right = NULL;
        if (json_array_get_length(pair) == 2) {
            left = string_of(json_array_get_element(pair, 0));
            right = string_of(json_array_get_element(pair, 1));
        }
        if (left != NULL && right != NULL)
            return add_merge(loader, path, left, right, rank, error);
    } else if (string_of(node) != NULL) {
        g_autofree char *line = g_strdup(string_of(node));
        return add_merge_line(loader, path, line, rank, error);
    }
    return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN, "merge %u is not two tokens", rank + 1);
}

static bool
load_tokenizer_json(Loader *loader, const char *path, GError **error)
{
    g_autoptr(JsonObject) root = rv_json_file_read(path, MAX_FILE, error);
    if (root == NULL)
        return false;
    JsonNode *model_node = member(root, "model", JSON_NODE_OBJECT);
    JsonObject *model = model_node != NULL ? json_node_get_object(model_node) : NULL;
    JsonNode *vocabulary = member(model, "vocab", JSON_NODE_OBJECT),
             *merges = member(model, "merges", JSON_NODE_ARRAY);
    if (vocabulary == NULL || merges == NULL)
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN,
                            "no object \"model\" with \"vocab\" and \"merges\"");
    const char *suffix = string_of(member(model, "end_of_word_suffix", JSON_NODE_VALUE));
    if (g_strcmp0(suffix, WORD_END) != 0)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "give the tokenizer of a CLIP model",
                            "\"end_of_word_suffix\" is not \"%s\", so this is not CLIP's tokenizer",
                            WORD_END);
    JsonArray *list = json_node_get_array(merges);
    start(loader, json_array_get_length(list));
    if (!add_vocabulary(loader, path, json_node_get_object(vocabulary), error))
        return false;
    for (guint i = 0; i < json_array_get_length(list); i++)
        if (!add_json_merge(loader, path, json_array_get_element(list, i), i, error))
            return false;
    return true;
}

static bool
load_tokens(Loader *loader, GError **error)
{
    g_autofree char *vocab = g_build_filename(loader->folder, "vocab.json", NULL);
    g_autofree char *single = g_build_filename(loader->folder, "tokenizer.json", NULL);
    if (!g_file_test(vocab, G_FILE_TEST_EXISTS) && g_file_test(single, G_FILE_TEST_EXISTS))
        return load_tokenizer_json(loader, single, error);
    return load_vocab_and_merges(loader, vocab, error);
}

/* The text of a special token: a string, or an object with "content". *text stays NULL when unstated. */
static bool
special_text(const Loader *loader, JsonObject *object, const char *file, const char *name, const char **text,
             GError **error)
{
    JsonNode *node = object != NULL ? json_object_get_member(object, name) : NULL;
    if (node == NULL || JSON_NODE_HOLDS_NULL(node))
        return true;
    const char *found = JSON_NODE_HOLDS_OBJECT(node)
                            ? string_of(json_object_get_member(json_node_get_object(node), "content"))
                            : string_of(node);
    if (found == NULL || *found == '\0') {
        g_autofree char *path = g_build_filename(loader->folder, file, NULL);
        return rv_error_set(error, RV_ERROR_INVALID, path, AGAIN, "\"%s\" is not a token", name);
    }
    *text = found;
    return true;
}

static bool
find_special(Loader *loader, const char *name, const char *fallback, gint32 *id, GError **error)
{
    const char *text = NULL, *mapped = NULL;
    if (!special_text(loader, loader->config, "tokenizer_config.json", name, &text, error) ||
        !special_text(loader, loader->map, "special_tokens_map.json", name, &mapped, error))
        return false;
    bool is_default_pad =
        id == &loader->tokenizer->pad && text != NULL && token_id(loader, text) == loader->tokenizer->eos;
    if (mapped != NULL && (text == NULL || is_default_pad))
        text = mapped;
    if (text == NULL)
        text = fallback;
    if (text == NULL)
        return true;
    *id = token_id(loader, text);
    if (*id < 0)
        return rv_error_set(error, RV_ERROR_INVALID, loader->folder, "use the files of one model",
                            "\"%s\" is \"%.80s\", which the vocabulary lacks", name, text);
    rv_tokenizer_add_special(loader->tokenizer, text, *id);
    return true;
}

static bool
load_config(const Loader *loader, const char *name, JsonObject **object, GError **error)
{
    g_autofree char *path = g_build_filename(loader->folder, name, NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return true;
    *object = rv_json_file_read(path, MAX_FILE, error);
    return *object != NULL;
}

static bool
load_specials(Loader *loader, GError **error)
{
    RvTokenizer *tokenizer = loader->tokenizer;
    return load_config(loader, "tokenizer_config.json", &loader->config, error) &&
           load_config(loader, "special_tokens_map.json", &loader->map, error) &&
           find_special(loader, "bos_token", "<|startoftext|>", &tokenizer->bos, error) &&
           find_special(loader, "eos_token", "<|endoftext|>", &tokenizer->eos, error) &&
           find_special(loader, "unk_token", "<|endoftext|>", &tokenizer->unknown, error) &&
           find_special(loader, "pad_token", NULL, &tokenizer->pad, error);
}

RvTokenizer *
rv_tokenizer_new_from_folder(const char *folder, GError **error)
{
    Loader loader = { .folder = folder };
    fill_byte_letters(&loader);
    loader.ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (load_tokens(&loader, error) && load_specials(&loader, error))
        rv_tokenizer_index_bytes(loader.tokenizer);
    else
        g_clear_pointer(&loader.tokenizer, rv_tokenizer_free);
    g_hash_table_unref(loader.ids);
    g_clear_pointer(&loader.config, json_object_unref);
    g_clear_pointer(&loader.map, json_object_unref);
    return loader.tokenizer;
}
