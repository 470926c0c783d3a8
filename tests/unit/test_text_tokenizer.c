#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>

#include "base/error.h"
#include "golden.h"
#include "text/clean.h"
#include "text/tokenizer.h"

static RvTokenizer *builtin;

static GArray *
encode(const RvTokenizer *tokenizer, const char *text)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    rv_tokenizer_encode(tokenizer, text, ids);
    return ids;
}

static void
assert_ids(const RvTokenizer *tokenizer, const char *text, const gint32 *want, guint count)
{
    g_autoptr(GArray) ids = encode(tokenizer, text);
    g_assert_cmpmem(ids->data, ids->len * sizeof(gint32), want, count * sizeof(gint32));
}

#define ASSERT_IDS(tokenizer, text, ...)                       \
    do {                                                       \
        const gint32 want[] = { __VA_ARGS__ };                 \
        assert_ids(tokenizer, text, want, G_N_ELEMENTS(want)); \
    } while (0)

static JsonArray *
load_array(const char *name, JsonParser **parser)
{
    g_autofree char *path = golden_path(name);
    g_autoptr(GError) error = NULL;
    *parser = json_parser_new();
    json_parser_load_from_file(*parser, path, &error);
    g_assert_no_error(error);
    return json_node_get_array(json_parser_get_root(*parser));
}

/* The reference: what transformers' CLIPTokenizer gives, bos and eos included. */
static void
test_equals_transformers(void)
{
    g_autoptr(JsonParser) parser = NULL;
    JsonArray *cases = load_array("reference/clip-tokens.json", &parser);
    g_assert_cmpuint(json_array_get_length(cases), >=, 20);
    for (guint i = 0; i < json_array_get_length(cases); i++) {
        JsonObject *one = json_array_get_object_element(cases, i);
        JsonArray *want = json_object_get_array_member(one, "ids");
        g_autoptr(GArray) ids = encode(builtin, json_object_get_string_member(one, "text"));
        g_assert_cmpuint(ids->len + 2, ==, json_array_get_length(want));
        g_assert_cmpint(json_array_get_int_element(want, 0), ==, rv_tokenizer_bos(builtin));
        g_assert_cmpint(json_array_get_int_element(want, ids->len + 1), ==, rv_tokenizer_eos(builtin));
        for (guint j = 0; j < ids->len; j++)
            g_assert_cmpint(g_array_index(ids, gint32, j), ==, json_array_get_int_element(want, j + 1));
    }
}

static void
test_builtin_constants(void)
{
    g_assert_cmpint(rv_tokenizer_size(builtin), ==, 49408);
    g_assert_cmpint(rv_tokenizer_bos(builtin), ==, 49406);
    g_assert_cmpint(rv_tokenizer_eos(builtin), ==, 49407);
    g_assert_cmpint(rv_tokenizer_pad(builtin), ==, -1);
    g_assert_cmpint(rv_tokenizer_word(builtin, ","), ==, 267);
    g_assert_cmpint(rv_tokenizer_word(builtin, ""), ==, -1);
    g_assert_cmpint(rv_tokenizer_word(builtin, "notoneword"), ==, -1);
}

static void
test_set_pad(void)
{
    g_autoptr(RvTokenizer) tokenizer = rv_tokenizer_new_builtin(NULL);
    ASSERT_IDS(tokenizer, ", !", 267, 256);
    g_assert_false(rv_tokenizer_set_pad(tokenizer, "no such token"));
    g_assert_false(rv_tokenizer_set_pad(tokenizer, ""));
    g_assert_cmpint(rv_tokenizer_pad(tokenizer), ==, -1);
    g_assert_true(rv_tokenizer_set_pad(tokenizer, "!"));
    g_assert_cmpint(rv_tokenizer_pad(tokenizer), ==, 0);
    ASSERT_IDS(tokenizer, ",!", 267, 0);
}

static void
test_word_pattern(void)
{
    ASSERT_IDS(builtin, "''s", 8445, 338); /* the run of quotes wins over the contraction inside it */
    ASSERT_IDS(builtin, "'sun", 568, 2271);
    ASSERT_IDS(builtin, "12", 272, 273);
    ASSERT_IDS(builtin, "\xc2\xa0\xe3\x80\x80,\xe2\x80\xa8,", 267, 267); /* Unicode white space */
    assert_ids(builtin, " \t\n", NULL, 0);
}

static void
test_special_tokens_are_literal(void)
{
    ASSERT_IDS(builtin, "<|endoftext|><|startoftext|>,", 49407, 49406, 267);
    ASSERT_IDS(builtin, "<|", 27, 347);
    g_autoptr(GArray) upper = encode(builtin, "<|ENDOFTEXT|>");
    g_assert_cmpuint(upper->len, >, 1);
}

static void
assert_clean(const char *text, const char *want)
{
    g_autoptr(GArray) clean = rv_text_clean(text, strlen(text));
    g_autofree char *utf8 = g_ucs4_to_utf8((gunichar *)(void *)clean->data, clean->len, NULL, NULL, NULL);
    g_assert_cmpstr(utf8, ==, want);
}

static void
test_clean(void)
{
    assert_clean("A  \t B", "a b");
    assert_clean("e\xcc\x81", "\xc3\xa9"); /* composed */
    assert_clean("\xe2\x84\xaa\xe2\x85\xa3\xe2\x92\xb6",
                 "k\xe2\x85\xb3\xe2\x93\x90");                            /* Kelvin, IV, circled A */
    assert_clean("\xc4\xb0", "i\xcc\x87");                                /* I with dot: two characters */
    assert_clean("a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81");            /* marks in canonical order */
    assert_clean("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"); /* Hangul */
    assert_clean("\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc");             /* excluded from composition */
    assert_clean("a\xff\xc3z\xed\xa0\x80", "a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

/* GLib's own normalisation must agree on every assigned character. */
static void
test_clean_is_nfc(void)
{
    for (gunichar c = 0xa0; c < 0x30000; c++) {
        if (!g_unichar_isdefined(c) || !g_unichar_validate(c) || rv_text_is_space(c) ||
            g_unichar_isupper(c) || g_unichar_istitle(c) || (c >= 0x2160 && c < 0x2500))
            continue;
        char text[16] = "x";
        text[1 + g_unichar_to_utf8(c, text + 1)] = '\0';
        g_autofree char *want = g_utf8_normalize(text, -1, G_NORMALIZE_DEFAULT_COMPOSE);
        g_autofree char *lower = g_utf8_strdown(want, -1);
        g_autoptr(GArray) clean = rv_text_clean(text, strlen(text));
        g_autofree char *got = g_ucs4_to_utf8((gunichar *)(void *)clean->data, clean->len, NULL, NULL, NULL);
        g_assert_cmpstr(got, ==, lower);
    }
}

static void
test_invalid_utf8_is_replaced(void)
{
    g_autoptr(GArray) bad = encode(builtin, "a \xff b"), good = encode(builtin, "a \xef\xbf\xbd b");
    g_assert_cmpmem(bad->data, bad->len * 4, good->data, good->len * 4);
}

static void
test_long_input_is_fast(void)
{
    const gsize length = 1 << 20;
    g_autofree char *text = g_malloc(2 * length + 1), *marks = g_malloc(4 * length + 1);
    memset(text, 'a', length);
    text[length] = '\0';
    gint64 start = g_get_monotonic_time();
    g_autoptr(GArray) ids = encode(builtin, text);
    g_assert_cmpuint(ids->len, ==, length / 8 + 1); /* the last eight letters are two tokens */
    for (gsize i = 0; i < length; i++)              /* one letter with a million marks in the wrong order */
        memcpy(marks + 4 * i, i == 0 ? "aaaa" : "\xcc\x81\xcc\xa3", 4);
    marks[4 * length] = '\0';
    g_autoptr(GArray) sorted = rv_text_clean(marks, 4 * length);
    g_assert_cmpuint(sorted->len, >, length);
    for (gsize i = 0; i < length; i++)
        memcpy(text + 2 * i, "<|", 2); /* looks like a special token everywhere */
    text[2 * length] = '\0';
    g_autoptr(GArray) almost = encode(builtin, text);
    g_assert_cmpuint(almost->len, >, 1);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 60 * G_USEC_PER_SEC);
}

static void
test_decode(void)
{
    g_autoptr(GArray) ids = encode(builtin, "A photo of caf\xc3\xa9, 4k");
    g_autofree char *text = rv_tokenizer_decode(builtin, (gint32 *)(void *)ids->data, ids->len);
    g_assert_cmpstr(text, ==, "a photo of caf\xc3\xa9 , 4 k");
    const gint32 odd[] = { -1, 1 << 30, 49407 };
    g_autofree char *special = rv_tokenizer_decode(builtin, odd, G_N_ELEMENTS(odd));
    g_assert_cmpstr(special, ==, "<|endoftext|>");
}

/* ---- folders */

static char *
make_folder(const char *vocab, const char *merges, const char *config, const char *map)
{
    g_autoptr(GError) error = NULL;
    char *folder = g_dir_make_tmp("rv-tokenizer-XXXXXX", &error);
    g_assert_no_error(error);
    const char *names[] = { "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json" };
    const char *texts[] = { vocab, merges, config, map };
    for (int i = 0; i < 4; i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        if (texts[i] != NULL)
            g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
    }
    return folder;
}

static void
remove_folder(char *folder)
{
    const char *names[] = { "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
                            "tokenizer.json" };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        g_remove(path);
    }
    g_assert_cmpint(g_rmdir(folder), ==, 0);
    g_free(folder);
}

#define SPECIALS "\"<|startoftext|>\":8,\"<|endoftext|>\":9"
#define VOCAB \
    "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab\":4,\"ab</w>\":5,\"abab</w>\":6,\"!\":7," SPECIALS "}"
#define MERGES "#version: 0.2\na b\na b</w>\r\nab ab</w>\n\n"

static void
test_small_folder(void)
{
    char *folder = make_folder(VOCAB, MERGES, "{\"pad_token\":\"!\"}", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvTokenizer) tokenizer = rv_tokenizer_new_from_folder(folder, &error);
    g_assert_no_error(error);
    g_assert_cmpint(rv_tokenizer_pad(tokenizer), ==, 7);
    g_assert_cmpint(rv_tokenizer_bos(tokenizer), ==, 8);
    g_assert_cmpint(rv_tokenizer_eos(tokenizer), ==, 9);
    g_assert_cmpint(rv_tokenizer_size(tokenizer), ==, 10);
    ASSERT_IDS(tokenizer, "abab ab ba", 6, 5, 1, 2);
    ASSERT_IDS(tokenizer, "a!", 2, 7); /* the pad token is a special token, so it is found in the text */
    ASSERT_IDS(tokenizer, "az", 0, 9); /* unknown bytes */
    remove_folder(folder);
}

static void
test_tokenizer_json(void)
{
    const char *forms[] = { "[\"a b\",\"a b</w>\",\"ab ab</w>\"]",
                            "[[\"a\",\"b\"],[\"a\",\"b</w>\"],[\"ab\",\"ab</w>\"]]" };
    for (int i = 0; i < 2; i++) {
        char *folder = make_folder(NULL, NULL, "{\"bos_token\":{\"content\":\"<|startoftext|>\"}}", NULL);
        g_autofree char *path = g_build_filename(folder, "tokenizer.json", NULL);
        g_autofree char *text = g_strdup_printf(
            "{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":" VOCAB ",\"merges\":%s}}", forms[i]);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_autoptr(GError) error = NULL;
        g_autoptr(RvTokenizer) tokenizer = rv_tokenizer_new_from_folder(folder, &error);
        g_assert_no_error(error);
        ASSERT_IDS(tokenizer, "abab ab ba", 6, 5, 1, 2);
        remove_folder(folder);
    }
}

static void
test_bad_tokenizer_json(void)
{
    const struct {
        const char *text;
        RvError code;
    } bad[] = {
        { "{}", RV_ERROR_INVALID },
        { "{\"model\":[]}", RV_ERROR_INVALID },
        { "{\"model\":{\"vocab\":" VOCAB ",\"merges\":[]}}", RV_ERROR_UNSUPPORTED },
        { "{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":" VOCAB ",\"merges\":[3]}}",
          RV_ERROR_INVALID },
        { "{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":" VOCAB ",\"merges\":[[\"a\"]]}}",
          RV_ERROR_INVALID },
        { "{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":{},\"merges\":[]}}", RV_ERROR_INVALID },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        char *folder = make_folder(NULL, NULL, NULL, NULL);
        g_autofree char *path = g_build_filename(folder, "tokenizer.json", NULL);
        g_assert_true(g_file_set_contents(path, bad[i].text, -1, NULL));
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_tokenizer_new_from_folder(folder, &error));
        g_assert_error(error, RV_ERROR, (int)bad[i].code);
        remove_folder(folder);
    }
}

static void
test_pad_precedence(void)
{
    const struct {
        const char *config, *map;
        gint32 pad;
    } cases[] = {
        { NULL, NULL, -1 },
        { "{\"pad_token\":null}", "{}", -1 },
        { "{\"pad_token\":\"!\"}", "{\"pad_token\":\"<|endoftext|>\"}", 7 },
        { "{\"pad_token\":\"<|endoftext|>\"}", "{\"pad_token\":\"!\"}", 7 },
        { "{\"pad_token\":{\"content\":\"<|endoftext|>\"}}", NULL, 9 },
        { NULL, "{\"pad_token\":{\"content\":\"!\"}}", 7 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *folder = make_folder(VOCAB, MERGES, cases[i].config, cases[i].map);
        g_autoptr(GError) error = NULL;
        g_autoptr(RvTokenizer) tokenizer = rv_tokenizer_new_from_folder(folder, &error);
        g_assert_no_error(error);
        g_assert_cmpint(rv_tokenizer_pad(tokenizer), ==, cases[i].pad);
        remove_folder(folder);
    }
}

static void
test_bad_folders(void)
{
    g_autofree char *deep = g_strnfill(100000, '[');
    const struct {
        const char *vocab, *merges, *config, *map;
        RvError code;
        const char *says;
    } bad[] = {
        { NULL, MERGES, NULL, NULL, RV_ERROR_NOT_FOUND, "vocab.json" },
        { VOCAB, NULL, NULL, NULL, RV_ERROR_NOT_FOUND, "merges.txt" },
        { "", MERGES, NULL, NULL, RV_ERROR_INVALID, "vocab.json" },
        { "{\"a\":", MERGES, NULL, NULL, RV_ERROR_INVALID, "not JSON" },
        { "[1]", MERGES, NULL, NULL, RV_ERROR_INVALID, "not a JSON object" },
        { "{}", MERGES, NULL, NULL, RV_ERROR_INVALID, "0 tokens" },
        { deep, MERGES, NULL, NULL, RV_ERROR_INVALID, "nested" },
        { "{\"a\":\"x\"}", MERGES, NULL, NULL, RV_ERROR_INVALID, "\"a\" is not a whole number" },
        { "{\"a\":1.5}", MERGES, NULL, NULL, RV_ERROR_INVALID, "\"a\" is not a whole number" },
        { "{\"a\":-1}", MERGES, NULL, NULL, RV_ERROR_INVALID, "id -1" },
        { "{\"a\":1048576}", MERGES, NULL, NULL, RV_ERROR_INVALID, "id 1048576" },
        { "{\"a\":1,\"b\":1}", MERGES, NULL, NULL, RV_ERROR_INVALID, "another token" },
        { "{\"\":1}", MERGES, NULL, NULL, RV_ERROR_INVALID, "empty" },
        { "{\"a\":0,\"b\":1,\"ab\":2}", "a b\n", NULL, NULL, RV_ERROR_INVALID, "bos_token" },
        { VOCAB, "a b\na\n", NULL, NULL, RV_ERROR_INVALID, "merge 2" },
        { VOCAB, "a b c\n", NULL, NULL, RV_ERROR_INVALID, "not two tokens" },
        { VOCAB, "a z\n", NULL, NULL, RV_ERROR_INVALID, "\"z\"" },
        { VOCAB, "b a\n", NULL, NULL, RV_ERROR_INVALID, "\"ba\"" },
        { VOCAB, "a \xff\n", NULL, NULL, RV_ERROR_INVALID, "UTF-8" },
        { VOCAB, MERGES, "{\"pad_token\":7}", NULL, RV_ERROR_INVALID, "pad_token" },
        { VOCAB, MERGES, "{\"pad_token\":{}}", NULL, RV_ERROR_INVALID, "pad_token" },
        { VOCAB, MERGES, NULL, "{\"eos_token\":\"\"}", RV_ERROR_INVALID, "special_tokens_map.json" },
        { VOCAB, MERGES, "{\"pad_token\":\"[PAD]\"}", NULL, RV_ERROR_INVALID, "[PAD]" },
        { VOCAB, MERGES, "{", NULL, RV_ERROR_INVALID, "tokenizer_config.json" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        char *folder = make_folder(bad[i].vocab, bad[i].merges, bad[i].config, bad[i].map);
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_tokenizer_new_from_folder(folder, &error));
        g_assert_error(error, RV_ERROR, (int)bad[i].code);
        if (strstr(error->message, bad[i].says) == NULL)
            g_error("case %u: \"%s\" does not say \"%s\"", (guint)i, error->message, bad[i].says);
        g_assert_null(strchr(error->message, '\n'));
        remove_folder(folder);
    }
}

static void
test_odd_files(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_tokenizer_new_from_folder("/nonexistent", &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_NOT_FOUND);
    g_clear_error(&error);

    char *folder = make_folder(NULL, MERGES, NULL, NULL);
    g_autofree char *vocab = g_build_filename(folder, "vocab.json", NULL);
    g_assert_cmpint(g_mkdir(vocab, 0700), ==, 0);
    g_assert_null(rv_tokenizer_new_from_folder(folder, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_clear_error(&error);
    g_rmdir(vocab);

    g_assert_true(g_file_set_contents(vocab, "{}", -1, NULL));
    FILE *file = g_fopen(vocab, "r+");
    g_assert_cmpint(fseek(file, 1L << 30, SEEK_SET), ==, 0); /* a sparse gigabyte */
    g_assert_cmpint(fputc('}', file), ==, '}');
    fclose(file);
    g_assert_null(rv_tokenizer_new_from_folder(folder, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    remove_folder(folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    builtin = rv_tokenizer_new_builtin(&error);
    g_assert_no_error(error);
    g_test_add_func("/text/tokenizer/equals-transformers", test_equals_transformers);
    g_test_add_func("/text/tokenizer/builtin-constants", test_builtin_constants);
    g_test_add_func("/text/tokenizer/set-pad", test_set_pad);
    g_test_add_func("/text/tokenizer/word-pattern", test_word_pattern);
    g_test_add_func("/text/tokenizer/special-tokens-are-literal", test_special_tokens_are_literal);
    g_test_add_func("/text/tokenizer/invalid-utf8-is-replaced", test_invalid_utf8_is_replaced);
    g_test_add_func("/text/tokenizer/long-input-is-fast", test_long_input_is_fast);
    g_test_add_func("/text/tokenizer/decode", test_decode);
    g_test_add_func("/text/clean/rules", test_clean);
    g_test_add_func("/text/clean/is-nfc", test_clean_is_nfc);
    g_test_add_func("/text/folder/small", test_small_folder);
    g_test_add_func("/text/folder/tokenizer-json", test_tokenizer_json);
    g_test_add_func("/text/folder/bad-tokenizer-json", test_bad_tokenizer_json);
    g_test_add_func("/text/folder/pad-precedence", test_pad_precedence);
    g_test_add_func("/text/folder/bad", test_bad_folders);
    g_test_add_func("/text/folder/odd-files", test_odd_files);
    int status = g_test_run();
    rv_tokenizer_free(builtin);
    return status;
}
