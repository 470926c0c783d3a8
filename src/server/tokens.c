/* tokens.c - `/api/v1/tokens`: how long a prompt is for a text encoder, for a counter beside a prompt box. */
#include "base/json_build.h"
#include "server/server_internal.h"
#include "text/chunks.h"

/* The most of all the prompt's parts, entries and members: what fills the most chunks. */
static bool
count_prompt(const RvTokenizer *tokenizer, const char *text, guint *tokens, guint *chunks, GError **error)
{
    const RvPromptOptions how = { .syntax = RV_PROMPT_A1111, .steps = 1 };
    const RvChunkOptions cut = { .positions = RV_CHUNK_POSITIONS,
                                 .pad = -1,
                                 .comma_backtrack = RV_COMMA_BACKTRACK };
    g_autoptr(RvPrompt) prompt = rv_prompt_parse(text, &how, error);
    *tokens = 0, *chunks = 1;
    for (guint i = 0; prompt != NULL && i < prompt->parts->len; i++) {
        const RvPromptPart *part = g_ptr_array_index(prompt->parts, i);
        const RvPromptEntry *entry = rv_prompt_part_at(part, 0);
        for (guint j = 0; j < entry->members->len; j++) {
            const RvPromptMember *member = g_ptr_array_index(entry->members, j);
            g_autoptr(RvChunks) cuts = rv_chunks_new(tokenizer, member->runs, &cut, error);
            if (cuts == NULL)
                return false;
            *tokens = MAX(*tokens, cuts->token_count);
            *chunks = MAX(*chunks, cuts->count);
        }
    }
    return prompt != NULL;
}

void
rv_tokens_get(const RvCall *call)
{
    static RvTokenizer *tokenizer; /* the main loop's alone; lives as long as the process */
    const char *text = call->query != NULL ? g_hash_table_lookup(call->query, "prompt") : NULL;
    g_autoptr(GError) error = NULL;
    guint tokens, chunks;
    if (tokenizer == NULL)
        tokenizer = rv_tokenizer_new_builtin(&error);
    if (tokenizer == NULL || !count_prompt(tokenizer, text != NULL ? text : "", &tokens, &chunks, &error)) {
        rv_answer_error(call, error);
        return;
    }
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_int(json, "count", tokens);
    rv_json_add_int(json, "chunks", chunks);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}
