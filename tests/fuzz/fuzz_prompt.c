/* Prompts: the first byte picks the syntax and options, the rest is the text; then its chunks. */
#include <stdlib.h>
#include <string.h>

#include "text/chunks.h"
#include "text/wildcards.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static RvTokenizer *tokenizer;

static void
check_chunks(const GArray *runs, guint8 choice)
{
    const gint32 cat[] = { 2368 };
    const RvEmbeddingName embedding = { cat, 1, 3 };
    const RvChunkOptions options = { .positions = choice & 0x40 ? 7 : 77,
                                     .pad = choice & 0x20 ? 0 : -1,
                                     .comma_backtrack = 20,
                                     .truncate = choice & 0x80,
                                     .embeddings = &embedding,
                                     .embedding_count = 1 };
    g_autoptr(RvChunks) chunks = rv_chunks_new(tokenizer, runs, &options, NULL);
    if (chunks == NULL || chunks->count < 1)
        abort();
    guint rows = chunks->count * chunks->positions;
    for (guint i = 0; i < rows; i++)
        if (chunks->ids[i] < 0 || chunks->ids[i] >= rv_tokenizer_size(tokenizer))
            abort();
    for (guint i = 0; i < chunks->embeddings->len; i++)
        if (g_array_index(chunks->embeddings, RvChunkEmbedding, i).row + embedding.vectors >= rows)
            abort();
}

static void
check_entry(const RvPromptEntry *entry, guint8 choice)
{
    for (guint i = 0; i < entry->members->len; i++) {
        const RvPromptMember *member = g_ptr_array_index(entry->members, i);
        check_chunks(member->runs, choice);
    }
}

/* Each wildcard's text is the prompt itself. */
static char *
read_wildcard(const char *name, void *user, GError **error)
{
    if (*name == '\0' || *name == '/' || *name == '.' || strstr(name, "/.") != NULL)
        abort();
    return g_strdup(user);
}

static void
check_wildcards(char *text, guint64 seed)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *drawn = rv_wildcards_draw(text, seed, read_wildcard, text, &error);
    if ((drawn == NULL) != (error != NULL) || (drawn != NULL && strlen(drawn) > 65536 + 1))
        abort();
    if (drawn != NULL && !rv_wildcards_in(text) && strcmp(drawn, text) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    if (size == 0)
        return 0;
    if (tokenizer == NULL)
        tokenizer = rv_tokenizer_new_builtin(NULL);
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    const RvPromptOptions options = { .syntax = (RvPromptSyntax)((data[0] & 3) % 3),
                                      .steps = 6,
                                      .hires_steps = data[0] & 4 ? 4 : 0,
                                      .is_negative = data[0] & 8,
                                      .strip_comments = data[0] & 16 };
    if (strlen(text) < 60000)
        check_wildcards(text, data[0]);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPrompt) prompt = rv_prompt_parse(text, &options, &error);
    if ((prompt == NULL) != (error != NULL))
        abort();
    for (guint i = 0; prompt != NULL && i < prompt->parts->len; i++) {
        const RvPromptPart *part = g_ptr_array_index(prompt->parts, i);
        for (guint j = 0; j < part->entries->len; j++)
            check_entry(g_ptr_array_index(part->entries, j), data[0]);
    }
    return 0;
}
