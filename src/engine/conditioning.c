#include "engine/conditioning.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "engine/embeddings.h"
#include "text/chunks.h"

/* Enough for a prompt that alternates among many words; a context of SDXL takes 0.6 MB. */
#define CACHED_TEXTS 64

struct RvConditioner {
    RvTextEncoder *encoders[2]; /* the second one may be NULL */
    int pooled;                 /* the encoder whose pooled vector counts; -1: none, it is not SDXL */
    RvEmbeddings *embeddings;
    GHashTable *cache; /* key text -> RvContext */
    GQueue *order;     /* keys, oldest first; owned by the table */
};

RvContext *
rv_context_ref(RvContext *context)
{
    g_atomic_ref_count_inc(&context->count);
    return context;
}

void
rv_context_unref(RvContext *context)
{
    if (context == NULL || !g_atomic_ref_count_dec(&context->count))
        return;
    g_free(context->context);
    g_free(context->pooled);
    g_clear_pointer(&context->labels, g_ptr_array_unref);
    g_free(context);
}

RvContext *
rv_context_new(int tokens, int width, int pooled_width)
{
    RvContext *context = g_new0(RvContext, 1);
    g_atomic_ref_count_init(&context->count);
    context->tokens = tokens;
    context->width = width;
    context->pooled_width = pooled_width;
    context->context = g_new0(float, (gsize)tokens *(gsize)width);
    context->pooled = pooled_width > 0 ? g_new0(float, (gsize)pooled_width) : NULL;
    return context;
}

static void
part_free(gpointer data)
{
    RvConditioningPart *part = data;
    g_array_unref(part->end_steps);
    g_ptr_array_unref(part->contexts);
    g_free(part);
}

static RvConditioningPart *
add_part(RvConditioning *conditioning, float weight)
{
    RvConditioningPart *part = g_new0(RvConditioningPart, 1);
    part->weight = weight;
    part->end_steps = g_array_new(FALSE, FALSE, sizeof(int));
    part->contexts = g_ptr_array_new_with_free_func((GDestroyNotify)rv_context_unref);
    g_ptr_array_add(conditioning->parts, part);
    return part;
}

static RvConditioning *
conditioning_new(void)
{
    RvConditioning *conditioning = g_new0(RvConditioning, 1);
    g_atomic_ref_count_init(&conditioning->count);
    conditioning->parts = g_ptr_array_new_with_free_func(part_free);
    return conditioning;
}

RvConditioning *
rv_conditioning_new(RvContext *context)
{
    RvConditioning *conditioning = conditioning_new();
    RvConditioningPart *part = add_part(conditioning, 1.0f);
    int always = G_MAXINT;
    g_array_append_val(part->end_steps, always);
    g_ptr_array_add(part->contexts, context);
    return conditioning;
}

RvConditioning *
rv_conditioning_ref(RvConditioning *conditioning)
{
    g_atomic_ref_count_inc(&conditioning->count);
    return conditioning;
}

void
rv_conditioning_free(RvConditioning *conditioning)
{
    if (conditioning == NULL || !g_atomic_ref_count_dec(&conditioning->count))
        return;
    g_ptr_array_unref(conditioning->parts);
    g_free(conditioning);
}

RvContext *
rv_conditioning_part_at(const RvConditioningPart *part, int step)
{
    for (guint i = 0; i + 1 < part->contexts->len; i++)
        if (step <= g_array_index(part->end_steps, int, i))
            return g_ptr_array_index(part->contexts, i);
    return g_ptr_array_index(part->contexts, part->contexts->len - 1);
}

RvConditioner *
rv_conditioner_new(RvTextEncoder *first, RvTextEncoder *second, const RvLibrary *library)
{
    RvConditioner *conditioner = g_new0(RvConditioner, 1);
    conditioner->encoders[0] = first != NULL ? first : second;
    conditioner->encoders[1] = first != NULL ? second : NULL;
    conditioner->pooled = second == NULL ? -1 : first != NULL ? 1 : 0;
    conditioner->embeddings = rv_embeddings_new(library, conditioner->encoders[0], conditioner->encoders[1]);
    conditioner->cache =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)rv_context_unref);
    conditioner->order = g_queue_new();
    return conditioner;
}

void
rv_conditioner_free(RvConditioner *conditioner)
{
    if (conditioner == NULL)
        return;
    g_queue_free(conditioner->order);
    g_hash_table_destroy(conditioner->cache);
    rv_embeddings_free(conditioner->embeddings);
    rv_text_encoder_free(conditioner->encoders[0]);
    rv_text_encoder_free(conditioner->encoders[1]);
    g_free(conditioner);
}

RvWeightSet *
rv_conditioner_weights(RvConditioner *conditioner, int encoder)
{
    RvTextEncoder *one = conditioner->encoders[encoder];
    return one != NULL ? rv_text_encoder_weights(one) : NULL;
}

gsize
rv_conditioner_bytes(const RvConditioner *conditioner)
{
    gsize bytes = 0;
    for (int i = 0; i < 2; i++)
        bytes += conditioner->encoders[i] != NULL ? rv_text_encoder_bytes(conditioner->encoders[i]) : 0;
    return bytes;
}

static RvChunkOptions
chunk_options(const RvTextEncoder *encoder)
{
    return (RvChunkOptions) {
        .positions = (guint)rv_text_encoder_config(encoder)->positions,
        .pad = rv_text_encoder_pad(encoder),
        .comma_backtrack = RV_COMMA_BACKTRACK,
    };
}

/* The family decides which layer the UNet was trained on. */
static RvTextOutput
text_output(const RvConditioner *conditioner, int encoder, int clip_skip)
{
    if (conditioner->pooled >= 0) /* SDXL: the one before the last, as it is */
        return (RvTextOutput) { .skip = MAX(clip_skip, 2), .pooled = encoder == conditioner->pooled };
    return (RvTextOutput) { .skip = MAX(clip_skip, 1), .final_norm = true };
}

/* What must be added to the tokens' embeddings of a chunk so that learned vectors stand where they belong.
 * NULL without any; free with g_free. */
static float *
chunk_edits(const RvConditioner *conditioner, int index, const RvChunks *chunks, guint chunk,
            const float *zero_row)
{
    guint names;
    const RvEmbeddingName *name = rv_embeddings_names(conditioner->embeddings, index, &names);
    gsize positions = chunks->positions,
          width = (gsize)rv_text_encoder_config(conditioner->encoders[index])->hidden_size;
    float *edits = NULL;
    for (guint i = 0; i < chunks->embeddings->len; i++) {
        const RvChunkEmbedding *one = &g_array_index(chunks->embeddings, RvChunkEmbedding, i);
        if (one->row / positions != chunk)
            continue;
        if (edits == NULL)
            edits = g_new0(float, positions *width);
        const float *vectors = rv_embeddings_vectors(conditioner->embeddings, index, one->embedding);
        float *to = edits + one->row % positions * width;
        for (gsize j = 0; j < name[one->embedding].vectors * width; j++)
            to[j] = vectors[j] - zero_row[j % width];
    }
    return edits;
}

/* Encodes all chunks with one encoder into columns [column, column + hidden) of the context. */
static bool
encode_chunks(const RvConditioner *conditioner, int index, const RvChunks *chunks, int clip_skip, int column,
              RvContext *into, GError **error)
{
    RvTextEncoder *encoder = conditioner->encoders[index];
    gsize positions = chunks->positions, width = (gsize)rv_text_encoder_config(encoder)->hidden_size;
    g_autofree float *hidden = g_new(float, positions *width);
    RvTextOutput output = text_output(conditioner, index, clip_skip);
    const float *zero_row = NULL;
    if (chunks->embeddings->len > 0 && (zero_row = rv_text_encoder_zero_row(encoder, error)) == NULL)
        return false;
    for (guint chunk = 0; chunk < chunks->count; chunk++) {
        g_autofree float *edits = chunk_edits(conditioner, index, chunks, chunk, zero_row);
        output.pooled = output.pooled && chunk == 0;
        if (!rv_text_encoder_run(encoder, chunks->ids + chunk * positions, edits, output, hidden,
                                 output.pooled ? into->pooled : NULL, error))
            return false;
        rv_weight_context(hidden, chunks->weights + chunk * positions, positions, width);
        for (gsize t = 0; t < positions; t++)
            memcpy(into->context + (chunk * positions + t) * (gsize)into->width + column, hidden + t * width,
                   width * sizeof *hidden);
    }
    return true;
}

static void
add_scaled(float *to, const float *from, float factor, gsize count)
{
    for (gsize i = 0; i < count; i++)
        to[i] += factor * from[i];
}

/* Chunks of each member for one encoder, all padded to the same number. */
static bool
chunk_members(const RvConditioner *conditioner, int index, const GPtrArray *members, RvChunks **chunks,
              guint *count, GError **error)
{
    const RvTextEncoder *encoder = conditioner->encoders[index];
    RvChunkOptions options = chunk_options(encoder);
    options.embeddings = rv_embeddings_names(conditioner->embeddings, index, &options.embedding_count);
    for (guint i = 0; i < members->len; i++) {
        const RvPromptMember *member = g_ptr_array_index(members, i);
        chunks[i] = rv_chunks_new(rv_text_encoder_tokenizer(encoder), member->runs, &options, error);
        if (chunks[i] == NULL)
            return false;
        if (chunks[i]->count > RV_MAX_PROMPT_CHUNKS)
            return rv_error_set(error, RV_ERROR_USAGE, "prompt", "shorten it",
                                "it fills %u chunks of 75 tokens, more than %d", chunks[i]->count,
                                RV_MAX_PROMPT_CHUNKS);
        *count = MAX(*count, chunks[i]->count);
    }
    return true;
}

static void
add_label(GPtrArray **labels, const char *label)
{
    if (*labels == NULL)
        *labels = g_ptr_array_new_with_free_func(g_free);
    if (!g_ptr_array_find_with_equal_func(*labels, label, g_str_equal, NULL))
        g_ptr_array_add(*labels, g_strdup(label));
}

static void
add_labels(const RvConditioner *conditioner, const RvChunks *chunks, RvContext *context)
{
    for (guint i = 0; i < chunks->embeddings->len; i++) {
        const RvChunkEmbedding *one = &g_array_index(chunks->embeddings, RvChunkEmbedding, i);
        add_label(&context->labels, rv_embeddings_label(conditioner->embeddings, one->embedding));
    }
}

static RvContext *
encode_members(RvConditioner *conditioner, const GPtrArray *members, int clip_skip, GError **error)
{
    int encoders = conditioner->encoders[1] != NULL ? 2 : 1, width = 0;
    int pooled = conditioner->pooled < 0
                     ? 0
                     : rv_text_encoder_config(conditioner->encoders[conditioner->pooled])->projection_dim;
    g_autofree RvChunks **chunks = g_new0(RvChunks *, (gsize)members->len * 2);
    guint count = 1;
    bool ok = true;
    for (int e = 0; ok && e < encoders; e++) {
        width += rv_text_encoder_config(conditioner->encoders[e])->hidden_size;
        ok = chunk_members(conditioner, e, members, chunks + (gsize)e * members->len, &count, error);
    }
    RvContext *sum = NULL;
    for (guint i = 0; ok && i < members->len; i++) {
        const RvPromptMember *member = g_ptr_array_index(members, i);
        RvContext *one = rv_context_new((int)(count * chunks[i]->positions), width, pooled);
        int column = 0;
        for (int e = 0; ok && e < encoders; e++) {
            RvChunkOptions options = chunk_options(conditioner->encoders[e]);
            RvChunks *rows = chunks[(gsize)e * members->len + i];
            rv_chunks_pad(rows, count, rv_text_encoder_tokenizer(conditioner->encoders[e]), &options);
            ok = encode_chunks(conditioner, e, rows, clip_skip, column, one, error);
            column += rv_text_encoder_config(conditioner->encoders[e])->hidden_size;
        }
        if (members->len == 1) {
            sum = one;
            continue;
        }
        if (sum == NULL)
            sum = rv_context_new(one->tokens, width, pooled);
        add_scaled(sum->context, one->context, member->weight, (gsize)one->tokens * (gsize)width);
        add_scaled(sum->pooled, one->pooled, member->weight, (gsize)pooled);
        rv_context_unref(one);
    }
    for (guint i = 0; ok && i < members->len; i++)
        add_labels(conditioner, chunks[i], sum);
    for (gsize i = 0; i < (gsize)members->len * 2; i++)
        rv_chunks_free(chunks[i]);
    if (!ok)
        g_clear_pointer(&sum, rv_context_unref);
    return sum;
}

static bool
check_finite(const RvContext *context, GError **error)
{
    for (gsize i = 0; i < (gsize)context->tokens * (gsize)context->width; i++)
        if (!isfinite(context->context[i]))
            return rv_error_set(error, RV_ERROR_FAILED, "text encoder",
                                "verify the model's files (reverie models verify)",
                                "the conditioning holds numbers that are not finite");
    return true;
}

static RvContext *
encode_entry(RvConditioner *conditioner, const RvPromptEntry *entry, const RvConditioningOptions *options,
             GError **error)
{
    /* a text under other weights (a LoRA) is another text */
    guint generations[2] = { 0 };
    for (int i = 0; i < 2; i++)
        if (conditioner->encoders[i] != NULL)
            generations[i] = rv_weight_set_generation(rv_text_encoder_weights(conditioner->encoders[i]));
    g_autofree char *key =
        g_strdup_printf("%d|%d|%u|%u|%u|%s", options->syntax, options->clip_skip, generations[0],
                        generations[1], rv_embeddings_generation(conditioner->embeddings), entry->text);
    RvContext *known = g_hash_table_lookup(conditioner->cache, key);
    if (known != NULL)
        return rv_context_ref(known);
    RvContext *context = encode_members(conditioner, entry->members, options->clip_skip, error);
    if (context == NULL)
        return NULL;
    if (!check_finite(context, error)) {
        rv_context_unref(context);
        return NULL;
    }
    if (g_queue_get_length(conditioner->order) >= CACHED_TEXTS)
        g_hash_table_remove(conditioner->cache, g_queue_pop_head(conditioner->order));
    g_queue_push_tail(conditioner->order, key);
    g_hash_table_insert(conditioner->cache, g_steal_pointer(&key), rv_context_ref(context));
    return context;
}

/* SDXL was trained with zeros for an empty negative prompt (diffusers' force_zeros_for_empty_prompt). */
static void
replace_by_zeros(RvConditioning *conditioning)
{
    RvConditioningPart *part = g_ptr_array_index(conditioning->parts, 0);
    RvContext *old = g_ptr_array_index(part->contexts, 0);
    RvContext *zeros = rv_context_new(old->tokens, old->width, old->pooled_width);
    g_ptr_array_set_size(part->contexts, 0);
    g_ptr_array_add(part->contexts, zeros);
}

RvConditioning *
rv_conditioner_encode(RvConditioner *conditioner, const char *prompt, const RvConditioningOptions *options,
                      GError **error)
{
    rv_embeddings_load(conditioner->embeddings, prompt, options->notes);
    RvPromptOptions prompt_options = {
        .syntax = options->syntax,
        .steps = MAX(options->evaluations, 1),
        .is_negative = options->is_negative,
        .hires_steps = options->second_evaluations,
    };
    g_autoptr(RvPrompt) parsed = rv_prompt_parse(prompt, &prompt_options, error);
    if (parsed == NULL)
        return NULL;
    if (parsed->parts->len > RV_MAX_PROMPT_PARTS) {
        rv_error_set(error, RV_ERROR_USAGE, "prompt", "shorten it",
                     "it has %u parts joined by AND, more than %d", parsed->parts->len, RV_MAX_PROMPT_PARTS);
        return NULL;
    }
    g_autoptr(RvConditioning) conditioning = conditioning_new();
    for (guint i = 0; i < parsed->parts->len; i++) {
        const RvPromptPart *from = g_ptr_array_index(parsed->parts, i);
        RvConditioningPart *part = add_part(conditioning, from->weight);
        for (guint j = 0; j < from->entries->len; j++) {
            const RvPromptEntry *entry = g_ptr_array_index(from->entries, j);
            RvContext *context = encode_entry(conditioner, entry, options, error);
            if (context == NULL)
                return NULL;
            g_array_append_val(part->end_steps, entry->end_step);
            g_ptr_array_add(part->contexts, context);
        }
    }
    if (options->is_negative && *prompt == '\0' && conditioner->pooled >= 0)
        replace_by_zeros(conditioning);
    return g_steal_pointer(&conditioning);
}

static void
collect_labels(const RvConditioning *conditioning, GPtrArray **labels)
{
    for (guint i = 0; conditioning != NULL && i < conditioning->parts->len; i++) {
        const RvConditioningPart *part = g_ptr_array_index(conditioning->parts, i);
        for (guint j = 0; j < part->contexts->len; j++) {
            const RvContext *context = g_ptr_array_index(part->contexts, j);
            for (guint k = 0; context->labels != NULL && k < context->labels->len; k++)
                add_label(labels, g_ptr_array_index(context->labels, k));
        }
    }
}

char *
rv_conditioning_labels(const RvConditioning *positive, const RvConditioning *negative)
{
    GPtrArray *labels = NULL;
    collect_labels(positive, &labels);
    collect_labels(negative, &labels);
    if (labels == NULL)
        return NULL;
    g_ptr_array_add(labels, NULL);
    char *text = g_strjoinv(", ", (char **)labels->pdata);
    g_ptr_array_unref(labels);
    return text;
}
