/* merge.c - byte-pair merging of one word: always the pair that stands first in the merge list, the
 * leftmost of equal ones, found through a heap of candidates so that long words stay n log n. */
#include "text/tokenizer_internal.h"

typedef struct {
    gint32 id; /* -1: joined to the symbol before it */
    gint32 previous, next;
} Symbol;

typedef struct {
    guint32 rank;
    gint32 position; /* of the left symbol */
    gint32 left, right, merged;
} Candidate;

typedef struct {
    const RvTokenizer *tokenizer;
    Symbol *symbols;
    Candidate *heap;
    guint heap_length;
} Word;

static bool
comes_before(const Candidate *a, const Candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void
push(Word *word, Candidate candidate)
{
    guint i = word->heap_length++;
    while (i > 0 && comes_before(&candidate, &word->heap[(i - 1) / 2])) {
        word->heap[i] = word->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    word->heap[i] = candidate;
}

static Candidate
pop(Word *word)
{
    Candidate first = word->heap[0], last = word->heap[--word->heap_length];
    guint i = 0, child;
    while ((child = 2 * i + 1) < word->heap_length) {
        if (child + 1 < word->heap_length && comes_before(&word->heap[child + 1], &word->heap[child]))
            child++;
        if (!comes_before(&word->heap[child], &last))
            break;
        word->heap[i] = word->heap[child];
        i = child;
    }
    word->heap[i] = last;
    return first;
}

static void
consider(Word *word, gint32 position)
{
    if (position < 0 || word->symbols[position].next < 0)
        return;
    gint32 left = word->symbols[position].id, right = word->symbols[word->symbols[position].next].id;
    const RvMerge *merge = rv_tokenizer_find_merge(word->tokenizer, left, right);
    if (merge != NULL)
        push(word, (Candidate) { merge->rank, position, left, right, merge->merged });
}

static void
apply(Word *word, const Candidate *candidate)
{
    Symbol *symbol = &word->symbols[candidate->position];
    if (symbol->id != candidate->left || symbol->next < 0 ||
        word->symbols[symbol->next].id != candidate->right)
        return; /* one of the two has been merged since */
    Symbol *absorbed = &word->symbols[symbol->next];
    symbol->id = candidate->merged;
    symbol->next = absorbed->next;
    absorbed->id = -1;
    if (symbol->next >= 0)
        word->symbols[symbol->next].previous = candidate->position;
    consider(word, symbol->previous);
    consider(word, candidate->position);
}

void
rv_tokenizer_merge_word(const RvTokenizer *tokenizer, const guint8 *bytes, gsize length, GArray *ids)
{
    Symbol few_symbols[64];
    Candidate few_candidates[3 * G_N_ELEMENTS(few_symbols)];
    bool is_long = length > G_N_ELEMENTS(few_symbols);
    /* length - 1 candidates to begin with, and each of at most length - 1 merges adds two. */
    Word word = { tokenizer, is_long ? g_new(Symbol, length) : few_symbols,
                  is_long ? g_new(Candidate, 3 * length) : few_candidates, 0 };

    for (gsize i = 0; i < length; i++) {
        bool is_last = i + 1 == length;
        gint32 id = is_last ? tokenizer->byte_end_ids[bytes[i]] : tokenizer->byte_ids[bytes[i]];
        word.symbols[i] =
            (Symbol) { id >= 0 ? id : tokenizer->unknown, (gint32)i - 1, is_last ? -1 : (gint32)i + 1 };
    }
    for (gsize i = 0; i + 1 < length; i++)
        consider(&word, (gint32)i);
    while (word.heap_length > 0) {
        Candidate candidate = pop(&word);
        apply(&word, &candidate);
    }
    for (gint32 i = 0; i >= 0; i = word.symbols[i].next)
        g_array_append_val(ids, word.symbols[i].id);
    if (is_long) {
        g_free(word.symbols);
        g_free(word.heap);
    }
}
