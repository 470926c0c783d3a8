#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "golden.h"
#include "text/chunks.h"

enum { BOS = 49406, EOS = 49407, COMMA = 267, CAT = 2368, DOG = 1929 };

static RvTokenizer *tokenizer;
static const RvChunkOptions usual = { .positions = 77, .pad = EOS, .comma_backtrack = 20 };

static RvChunks *
make(const char *text, RvPromptSyntax syntax, const RvChunkOptions *options)
{
    g_autoptr(GError) error = NULL;
    const RvPromptOptions how = { .syntax = syntax, .steps = 1 };
    g_autoptr(RvPrompt) prompt = rv_prompt_parse(text, &how, &error);
    g_assert_no_error(error);
    const RvPromptPart *part = g_ptr_array_index(prompt->parts, 0);
    const RvPromptEntry *entry = g_ptr_array_index(part->entries, 0);
    const RvPromptMember *member = g_ptr_array_index(entry->members, 0);
    RvChunks *chunks = rv_chunks_new(tokenizer, member->runs, options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(chunks->positions, ==, options->positions);
    for (guint i = 0; i < chunks->count; i++) {
        g_assert_cmpint(chunks->ids[i * chunks->positions], ==, BOS);
        g_assert_cmpfloat(chunks->weights[i * chunks->positions], ==, 1);
        g_assert_cmpfloat(chunks->weights[(i + 1) * chunks->positions - 1], ==, 1);
    }
    return chunks;
}

/* `count` times "cat", with a comma in place of every word whose number is in `commas` (ends with -1). */
static char *
cats(int count, const int *commas)
{
    GString *text = g_string_new(NULL);
    for (int i = 0; i < count; i++) {
        bool is_comma = false;
        for (const int *comma = commas; *comma >= 0; comma++)
            is_comma = is_comma || *comma == i;
        g_string_append(text, is_comma ? ", " : "cat ");
    }
    return g_string_free(text, FALSE);
}

/* Words of chunk `index` before its first end token. */
static guint
length_of(const RvChunks *chunks, guint index)
{
    g_assert_cmpuint(index, <, chunks->count);
    guint length = 0;
    while (chunks->ids[index * chunks->positions + 1 + length] != EOS)
        length++;
    return length;
}

static void
test_equals_transformers_padding(void)
{
    g_autofree char *path = golden_path("text/padded-ids.json");
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) error = NULL;
    json_parser_load_from_file(parser, path, &error);
    g_assert_no_error(error);
    JsonArray *models = json_node_get_array(json_parser_get_root(parser));
    for (guint m = 0; m < json_array_get_length(models); m++) {
        JsonObject *model = json_array_get_object_element(models, m);
        g_autofree char *relative =
            g_build_filename("reference", json_object_get_string_member(model, "tokenizer"), NULL);
        g_autofree char *folder = golden_path(relative);
        g_autoptr(RvTokenizer) own = rv_tokenizer_new_from_folder(folder, &error);
        g_assert_no_error(error);
        JsonArray *texts = json_object_get_array_member(model, "texts");
        JsonArray *ids = json_object_get_array_member(model, "ids");
        for (guint i = 0; i < json_array_get_length(texts); i++) {
            RvPromptRun run = { (char *)json_array_get_string_element(texts, i), 1, false };
            g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof run);
            g_array_append_val(runs, run);
            for (int truncate = 0; truncate < 2; truncate++) {
                const RvChunkOptions options = {
                    .positions = 77, .pad = -1, .comma_backtrack = 20, .truncate = truncate
                };
                g_autoptr(RvChunks) chunks = rv_chunks_new(own, runs, &options, &error);
                g_assert_no_error(error);
                g_assert_cmpuint(chunks->count, ==, 1);
                JsonArray *want = json_array_get_array_element(ids, i);
                for (guint j = 0; j < 77; j++)
                    g_assert_cmpint(chunks->ids[j], ==, json_array_get_int_element(want, j));
            }
        }
    }
}

static void
test_chunk_sizes(void)
{
    const struct {
        int words, commas[4];
        guint first, second, third;
    } cases[] = {
        { 0, { -1 }, 0, 0, 0 },
        { 75, { -1 }, 75, 0, 0 },
        { 76, { -1 }, 75, 1, 0 },
        { 151, { -1 }, 75, 75, 1 },
        { 76, { 74, -1 }, 75, 1, 0 },        /* a comma at the end: nothing to move */
        { 76, { 55, -1 }, 56, 20, 0 },       /* 20 tokens back: moved */
        { 76, { 54, -1 }, 75, 1, 0 },        /* 21 tokens back: not */
        { 76, { 60, 70, -1 }, 71, 5, 0 },    /* the last one counts */
        { 76, { 70, 75, -1 }, 75, 1, 0 },    /* the token that does not fit is a comma: no move */
        { 75, { 70, -1 }, 75, 0, 0 },        /* exactly full: no move */
        { 150, { 70, 140, -1 }, 71, 70, 9 }, /* twice */
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = cats(cases[i].words, cases[i].commas);
        g_autoptr(RvChunks) chunks = make(text, RV_PROMPT_PLAIN, &usual);
        const guint want[] = { cases[i].first, cases[i].second, cases[i].third };
        g_assert_cmpuint(chunks->count, ==, 1 + (want[1] > 0) + (want[2] > 0));
        for (guint j = 0; j < chunks->count; j++)
            g_assert_cmpuint(length_of(chunks, j), ==, want[j]);
        g_assert_cmpuint(chunks->token_count, ==, cases[i].words);
    }
}

static void
test_backtrack_option(void)
{
    g_autofree char *text = cats(76, (const int[]) { 70, -1 });
    RvChunkOptions options = usual;
    options.comma_backtrack = 0;
    g_autoptr(RvChunks) none = make(text, RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(length_of(none, 0), ==, 75);
    options.comma_backtrack = 5;
    g_autoptr(RvChunks) five = make(text, RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(length_of(five, 0), ==, 71);
    options.comma_backtrack = 4;
    g_autoptr(RvChunks) four = make(text, RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(length_of(four, 0), ==, 75);
}

static void
test_weights_move_along(void)
{
    g_autofree char *start = cats(71, (const int[]) { 70, -1 });
    g_autofree char *text = g_strdup_printf("%s (cat:1.5) cat cat (dog:0.5) cat", start);
    g_autoptr(RvChunks) chunks = make(text, RV_PROMPT_A1111, &usual);
    g_assert_cmpuint(chunks->count, ==, 2);
    g_assert_cmpuint(length_of(chunks, 0), ==, 71);
    g_assert_cmpuint(length_of(chunks, 1), ==, 5);
    const float want[] = { 1, 1.5f, 1, 1, 0.5f, 1, 1 };
    g_assert_cmpmem(chunks->weights + 77, sizeof want, want, sizeof want);
    g_assert_cmpint(chunks->ids[77 + 4], ==, DOG);
    for (guint i = 0; i < 77; i++)
        g_assert_cmpfloat(chunks->weights[i], ==, 1); /* nothing of it stays behind */
}

static void
test_break(void)
{
    g_autoptr(RvChunks) two = make("cat BREAK (dog:2)", RV_PROMPT_A1111, &usual);
    g_assert_cmpuint(two->count, ==, 2);
    g_assert_cmpint(two->ids[1], ==, CAT);
    g_assert_cmpint(two->ids[2], ==, EOS);
    g_assert_cmpint(two->ids[78], ==, DOG);
    g_assert_cmpfloat(two->weights[78], ==, 2);
    g_autoptr(RvChunks) last = make("cat BREAK", RV_PROMPT_A1111, &usual);
    g_assert_cmpuint(last->count, ==, 1);
    g_autoptr(RvChunks) three = make("BREAK BREAK cat", RV_PROMPT_A1111, &usual);
    g_assert_cmpuint(three->count, ==, 3);
    g_assert_cmpuint(length_of(three, 1), ==, 0);
    g_assert_cmpuint(length_of(three, 2), ==, 1);
}

static void
test_pad_follows_first_end(void)
{
    RvChunkOptions options = { .positions = 8, .pad = 0 };
    g_autoptr(RvChunks) open_clip = make("cat <|endoftext|> dog", RV_PROMPT_PLAIN, &options);
    const gint32 want[] = { BOS, CAT, EOS, 0, 0, 0, 0, 0 };
    g_assert_cmpmem(open_clip->ids, sizeof want, want, sizeof want);
    options.truncate = true;
    g_autoptr(RvChunks) transformers = make("cat <|endoftext|> dog", RV_PROMPT_PLAIN, &options);
    const gint32 other[] = { BOS, CAT, EOS, DOG, EOS, 0, 0, 0 };
    g_assert_cmpmem(transformers->ids, sizeof other, other, sizeof other);
}

static void
test_truncate(void)
{
    RvChunkOptions options = usual;
    options.truncate = true;
    g_autofree char *text = cats(200, (const int[]) { 70, 74, -1 });
    g_autoptr(RvChunks) chunks = make(text, RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(chunks->count, ==, 1);
    g_assert_cmpuint(length_of(chunks, 0), ==, 75);
    g_assert_cmpint(chunks->ids[75], ==, COMMA);
    g_assert_cmpuint(chunks->token_count, ==, 200);
    g_autoptr(RvChunks) joined = make("cat BREAK dog", RV_PROMPT_A1111, &options);
    g_assert_cmpuint(joined->count, ==, 1);
    g_assert_cmpint(joined->ids[2], ==, DOG);
}

static void
test_embeddings(void)
{
    const gint32 cat[] = { CAT }, cat_dog[] = { CAT, DOG };
    const RvEmbeddingName names[] = { { cat, 1, 2 }, { cat_dog, 2, 3 } };
    RvChunkOptions options = {
        .positions = 8, .pad = EOS, .comma_backtrack = 20, .embeddings = names, .embedding_count = 2
    };
    g_autoptr(RvChunks) chunks = make("dog (cat:2) cat dog", RV_PROMPT_A1111, &options);
    const gint32 want[] = { BOS, DOG, 0, 0, 0, 0, 0, EOS };
    const float weights[] = { 1, 1, 2, 2, 1, 1, 1, 1 };
    g_assert_cmpuint(chunks->count, ==, 1);
    g_assert_cmpmem(chunks->ids, sizeof want, want, sizeof want);
    g_assert_cmpmem(chunks->weights, sizeof weights, weights, sizeof weights);
    g_assert_cmpuint(chunks->embeddings->len, ==, 2);
    const RvChunkEmbedding *found = (const RvChunkEmbedding *)(void *)chunks->embeddings->data;
    g_assert_cmpuint(found[0].row, ==, 2);
    g_assert_cmpuint(found[0].embedding, ==, 0);
    g_assert_cmpuint(found[1].row, ==, 4);
    g_assert_cmpuint(found[1].embedding, ==, 1);

    /* one that does not fit begins a new chunk, whole */
    g_autoptr(RvChunks) moved = make("dog dog dog dog cat dog", RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(moved->count, ==, 2);
    g_assert_cmpuint(length_of(moved, 0), ==, 4);
    g_assert_cmpuint(g_array_index(moved->embeddings, RvChunkEmbedding, 0).row, ==, 9);

    /* and one behind the comma moves with the text */
    g_autoptr(RvChunks) carried = make(
        "dog, cat dog dog dog dog dog", RV_PROMPT_PLAIN,
        &(RvChunkOptions) {
            .positions = 8, .pad = EOS, .comma_backtrack = 20, .embeddings = names, .embedding_count = 1 });
    g_assert_cmpuint(length_of(carried, 0), ==, 2);
    g_assert_cmpuint(g_array_index(carried->embeddings, RvChunkEmbedding, 0).row, ==, 9);
    g_assert_cmpint(carried->ids[8 + 3], ==, DOG);

    options.truncate = true;
    g_autoptr(RvChunks) kept = make("dog dog dog dog cat cat dog", RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(kept->count, ==, 1);
    g_assert_cmpuint(kept->embeddings->len, ==, 1);
    g_autoptr(RvChunks) dropped = make("dog dog dog dog dog cat dog", RV_PROMPT_PLAIN, &options);
    g_assert_cmpuint(dropped->count, ==, 1);
    g_assert_cmpuint(dropped->embeddings->len, ==, 0);
    g_assert_cmpuint(length_of(dropped, 0), ==, 5);
}

static void
test_pad_to_count(void)
{
    RvChunkOptions options = { .positions = 5, .pad = 0 };
    g_autoptr(RvChunks) chunks = make("(cat:3)", RV_PROMPT_A1111, &options);
    rv_chunks_pad(chunks, 3, tokenizer, &options);
    rv_chunks_pad(chunks, 2, tokenizer, &options);
    g_assert_cmpuint(chunks->count, ==, 3);
    const gint32 want[] = { BOS, CAT, EOS, 0, 0, BOS, EOS, 0, 0, 0, BOS, EOS, 0, 0, 0 };
    g_assert_cmpmem(chunks->ids, 15 * sizeof(gint32), want, sizeof want);
    g_assert_cmpfloat(chunks->weights[1], ==, 3);
    for (guint i = 2; i < 15; i++)
        g_assert_cmpfloat(chunks->weights[i], ==, 1);
}

static void
test_bad_options(void)
{
    const gint32 cat[] = { CAT };
    const RvEmbeddingName wide = { cat, 1, 76 }, empty = { cat, 1, 0 }, nameless = { cat, 0, 1 };
    const RvChunkOptions bad[] = { { .positions = 0 },
                                   { .positions = 2 },
                                   { .positions = 5000 },
                                   { .positions = 77, .embeddings = &wide, .embedding_count = 1 },
                                   { .positions = 77, .embeddings = &empty, .embedding_count = 1 },
                                   { .positions = 77, .embeddings = &nameless, .embedding_count = 1 } };
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(RvPromptRun));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_chunks_new(tokenizer, runs, &bad[i], &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    }
    g_autoptr(RvChunks) none = rv_chunks_new(tokenizer, runs, &usual, NULL);
    g_assert_cmpuint(none->count, ==, 1); /* no run at all is the empty prompt */
    g_assert_cmpuint(length_of(none, 0), ==, 0);
}

static void
test_weight_context(void)
{
    float context[] = { 1, 2, 3, 4, 5, 6 };
    const float ones[] = { 1, 1, 1 }, weights[] = { 1, 2, 0.5f };
    rv_weight_context(context, ones, 3, 2);
    g_assert_cmpfloat(context[5], ==, 6);
    rv_weight_context(context, weights, 3, 2);
    /* 1 2 6 8 2.5 3 adds up to 22.5, before it was 21 */
    const float want[] = { 1, 2, 6, 8, 2.5f, 3 };
    float sum = 0;
    for (int i = 0; i < 6; i++) {
        g_assert_cmpfloat_with_epsilon(context[i], want[i] * 21 / 22.5f, 1e-6f);
        sum += context[i];
    }
    g_assert_cmpfloat_with_epsilon(sum, 21, 1e-5f);

    float balanced[] = { 1, -2 };
    rv_weight_context(balanced, (const float[]) { 2, 1 }, 2, 1); /* a mean of 0 cannot be restored */
    g_assert_cmpfloat(balanced[0], ==, 2);
    g_assert_cmpfloat(balanced[1], ==, -2);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tokenizer = rv_tokenizer_new_builtin(NULL);
    g_test_add_func("/text/chunks/equals-transformers-padding", test_equals_transformers_padding);
    g_test_add_func("/text/chunks/sizes", test_chunk_sizes);
    g_test_add_func("/text/chunks/backtrack-option", test_backtrack_option);
    g_test_add_func("/text/chunks/weights-move-along", test_weights_move_along);
    g_test_add_func("/text/chunks/break", test_break);
    g_test_add_func("/text/chunks/pad-follows-first-end", test_pad_follows_first_end);
    g_test_add_func("/text/chunks/truncate", test_truncate);
    g_test_add_func("/text/chunks/embeddings", test_embeddings);
    g_test_add_func("/text/chunks/pad-to-count", test_pad_to_count);
    g_test_add_func("/text/chunks/bad-options", test_bad_options);
    g_test_add_func("/text/chunks/weight-context", test_weight_context);
    int status = g_test_run();
    rv_tokenizer_free(tokenizer);
    return status;
}
