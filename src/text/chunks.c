#include "text/chunks.h"

#include <math.h>

#include "base/error.h"

typedef struct {
    const RvTokenizer *tokenizer;
    const RvChunkOptions *options;
    gint32 pad, comma;
    guint room;            /* tokens of a chunk between bos and eos */
    guint start, used;     /* of the chunk being filled: its first row, its tokens so far */
    int last_comma;        /* its position among those tokens, -1 for none */
    GArray *ids, *weights; /* gint32, float: all rows so far, bos included */
    GArray *embeddings;    /* RvChunkEmbedding */
    guint chunk_count, token_count;
} Chunker;

static void
add_row(Chunker *chunker, gint32 id, float weight)
{
    g_array_append_val(chunker->ids, id);
    g_array_append_val(chunker->weights, weight);
}

static void
open_chunk(Chunker *chunker)
{
    chunker->start = chunker->ids->len;
    chunker->used = 0;
    chunker->last_comma = -1;
    add_row(chunker, rv_tokenizer_bos(chunker->tokenizer), 1);
}

/* Text may name the end token itself; transformers pads behind its own end token only. */
static void
pad_chunk(const Chunker *chunker)
{
    gint32 eos = rv_tokenizer_eos(chunker->tokenizer);
    gint32 *ids = &g_array_index(chunker->ids, gint32, chunker->start);
    guint end = 1 + chunker->used;
    if (!chunker->options->truncate)
        for (end = 1; ids[end] != eos;)
            end++;
    for (guint i = end + 1; i < chunker->options->positions; i++)
        ids[i] = chunker->pad;
}

static void
close_chunk(Chunker *chunker)
{
    for (guint i = chunker->used; i <= chunker->room; i++)
        add_row(chunker, rv_tokenizer_eos(chunker->tokenizer), 1);
    pad_chunk(chunker);
    chunker->chunk_count++;
}

static void
next_chunk(Chunker *chunker)
{
    close_chunk(chunker);
    open_chunk(chunker);
}

static void
add_token(Chunker *chunker, gint32 id, float weight)
{
    add_row(chunker, id, weight);
    chunker->used++;
}

/* Moves what follows the chunk's last comma to a new chunk, embeddings included. */
static void
move_tail(Chunker *chunker)
{
    guint kept = (guint)chunker->last_comma + 1, moved = chunker->used - kept,
          first = chunker->start + 1 + kept;
    gint32 *ids = g_memdup2(&g_array_index(chunker->ids, gint32, first), moved * sizeof(gint32));
    float *weights = g_memdup2(&g_array_index(chunker->weights, float, first), moved * sizeof(float));
    g_array_set_size(chunker->ids, first);
    g_array_set_size(chunker->weights, first);
    chunker->used = kept;
    next_chunk(chunker);
    for (guint i = 0; i < moved; i++)
        add_token(chunker, ids[i], weights[i]);
    for (guint i = chunker->embeddings->len; i-- > 0;) {
        RvChunkEmbedding *embedding = &g_array_index(chunker->embeddings, RvChunkEmbedding, i);
        if (embedding->row < first)
            break;
        embedding->row += chunker->start + 1 - first;
    }
    g_free(ids);
    g_free(weights);
}

static bool
comma_is_near(const Chunker *chunker)
{
    int backtrack = chunker->options->truncate ? 0 : chunker->options->comma_backtrack;
    return backtrack > 0 && chunker->last_comma >= 0 && (int)chunker->used - chunker->last_comma <= backtrack;
}

static void
add_text_token(Chunker *chunker, gint32 id, float weight)
{
    bool is_comma = id == chunker->comma && id >= 0;
    if (is_comma)
        chunker->last_comma = (int)chunker->used;
    else if (chunker->used == chunker->room && comma_is_near(chunker))
        move_tail(chunker);
    if (chunker->used == chunker->room)
        next_chunk(chunker);
    add_token(chunker, id, weight);
}

static bool
matches(const RvEmbeddingName *name, const gint32 *ids, guint left)
{
    if (name->id_count > left)
        return false;
    for (guint i = 0; i < name->id_count; i++)
        if (name->ids[i] != ids[i])
            return false;
    return true;
}

/* Index of the longest embedding name that `ids` begin with, -1 for none. */
static int
find_embedding(const Chunker *chunker, const gint32 *ids, guint left)
{
    const RvEmbeddingName *names = chunker->options->embeddings;
    int found = -1;
    for (guint i = 0; i < chunker->options->embedding_count; i++)
        if (matches(&names[i], ids, left) && (found < 0 || names[i].id_count > names[found].id_count))
            found = (int)i;
    return found;
}

static void
add_embedding(Chunker *chunker, guint index, float weight)
{
    guint vectors = chunker->options->embeddings[index].vectors;
    if (chunker->used == chunker->room && comma_is_near(chunker))
        move_tail(chunker);
    if (chunker->used + vectors > chunker->room)
        next_chunk(chunker);
    RvChunkEmbedding embedding = { chunker->ids->len, index };
    g_array_append_val(chunker->embeddings, embedding);
    for (guint i = 0; i < vectors; i++)
        add_token(chunker, 0, weight);
}

/* With `truncate`, whatever does not fit the one chunk is dropped. */
static bool
is_full(const Chunker *chunker, guint tokens)
{
    return chunker->options->truncate && chunker->used + tokens > chunker->room;
}

static void
add_run(Chunker *chunker, const RvPromptRun *run, GArray *ids)
{
    if (run->is_break) {
        if (!chunker->options->truncate)
            next_chunk(chunker);
        return;
    }
    g_array_set_size(ids, 0);
    rv_tokenizer_encode(chunker->tokenizer, run->text, ids);
    bool is_cut = false;
    for (guint i = 0; i < ids->len;) {
        const gint32 *id = &g_array_index(ids, gint32, i);
        int embedding = find_embedding(chunker, id, ids->len - i);
        guint tokens = embedding < 0 ? 1 : chunker->options->embeddings[embedding].vectors;
        chunker->token_count += tokens;
        is_cut |= is_full(chunker, tokens);
        if (!is_cut && embedding < 0)
            add_text_token(chunker, *id, run->weight);
        else if (!is_cut)
            add_embedding(chunker, (guint)embedding, run->weight);
        i += embedding < 0 ? 1 : chunker->options->embeddings[embedding].id_count;
    }
}

static bool
check_options(const RvChunkOptions *options, GError **error)
{
    if (options->positions < 3 || options->positions > 4096)
        return rv_error_set(error, RV_ERROR_USAGE, "text encoder", "use 77", "chunks of %u positions",
                            options->positions);
    for (guint i = 0; i < options->embedding_count; i++) {
        const RvEmbeddingName *name = &options->embeddings[i];
        if (name->id_count < 1 || name->vectors < 1 || name->vectors > options->positions - 2)
            return rv_error_set(error, RV_ERROR_USAGE, "textual inversion", "leave it out",
                                "embedding %u has %u vectors and a name of %u tokens, a chunk takes %u", i,
                                name->vectors, name->id_count, options->positions - 2);
    }
    return true;
}

static Chunker
chunker_start(const RvTokenizer *tokenizer, const RvChunkOptions *options)
{
    gint32 pad = options->pad >= 0 ? options->pad : rv_tokenizer_pad(tokenizer);
    return (Chunker) {
        .tokenizer = tokenizer,
        .options = options,
        .pad = pad >= 0 ? pad : rv_tokenizer_eos(tokenizer),
        .comma = rv_tokenizer_word(tokenizer, ","),
        .room = options->positions - 2,
    };
}

RvChunks *
rv_chunks_new(const RvTokenizer *tokenizer, const GArray *runs, const RvChunkOptions *options, GError **error)
{
    if (!check_options(options, error))
        return NULL;
    Chunker chunker = chunker_start(tokenizer, options);
    chunker.ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    chunker.weights = g_array_new(FALSE, FALSE, sizeof(float));
    chunker.embeddings = g_array_new(FALSE, FALSE, sizeof(RvChunkEmbedding));
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    open_chunk(&chunker);
    for (guint i = 0; i < runs->len; i++)
        add_run(&chunker, &g_array_index(runs, RvPromptRun, i), ids);
    if (chunker.used > 0 || chunker.chunk_count == 0) {
        close_chunk(&chunker);
    } else { /* BREAK was the last word: no empty chunk for it */
        g_array_set_size(chunker.ids, chunker.start);
        g_array_set_size(chunker.weights, chunker.start);
    }
    RvChunks *chunks = g_new(RvChunks, 1);
    *chunks = (RvChunks) { chunker.chunk_count,
                           options->positions,
                           (gint32 *)(void *)g_array_free(chunker.ids, FALSE),
                           (float *)(void *)g_array_free(chunker.weights, FALSE),
                           chunker.embeddings,
                           chunker.token_count };
    return chunks;
}

void
rv_chunks_pad(RvChunks *chunks, guint count, const RvTokenizer *tokenizer, const RvChunkOptions *options)
{
    if (count <= chunks->count)
        return;
    gsize rows = (gsize)count * chunks->positions;
    Chunker chunker = chunker_start(tokenizer, options);
    chunks->ids = g_renew(gint32, chunks->ids, rows);
    chunks->weights = g_renew(float, chunks->weights, rows);
    for (gsize i = (gsize)chunks->count * chunks->positions; i < rows; i++) {
        gsize position = i % chunks->positions;
        chunks->ids[i] = position == 0   ? rv_tokenizer_bos(tokenizer)
                         : position == 1 ? rv_tokenizer_eos(tokenizer)
                                         : chunker.pad;
        chunks->weights[i] = 1;
    }
    chunks->count = count;
}

void
rv_chunks_free(RvChunks *chunks)
{
    if (chunks == NULL)
        return;
    g_free(chunks->ids);
    g_free(chunks->weights);
    g_array_unref(chunks->embeddings);
    g_free(chunks);
}

static double
sum_of(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

void
rv_weight_context(float *context, const float *weights, size_t tokens, size_t width)
{
    bool is_weighted = false;
    for (size_t token = 0; token < tokens; token++)
        is_weighted = is_weighted || weights[token] != 1;
    if (!is_weighted)
        return;
    double before = sum_of(context, tokens * width);
    for (size_t token = 0; token < tokens; token++)
        for (size_t i = 0; i < width; i++)
            context[token * width + i] *= weights[token];
    double after = sum_of(context, tokens * width);
    if (after == 0 || !isfinite(before / after))
        return;
    float factor = (float)(before / after);
    for (size_t i = 0; i < tokens * width; i++)
        context[i] *= factor;
}
