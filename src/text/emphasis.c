/* emphasis.c - (text), [text], (text:1.2) and BREAK as runs with weights. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "text/clean.h"
#include "text/prompt_internal.h"

/* Brackets open at once beyond this count are text: it bounds the work, and 1.1^256 is no weight. */
#define MAX_OPEN 256
#define ROUND_FACTOR 1.1
#define SQUARE_FACTOR (1 / 1.1)

typedef struct {
    const char *text; /* in the prompt */
    gsize length;
    double weight;
    bool is_break;
} Piece;

typedef struct {
    guint first[MAX_OPEN]; /* of the pieces inside each open bracket */
    guint count;
} Brackets;

typedef struct {
    bool is_explicit;
    GArray *pieces; /* Piece */
    Brackets round, square;
} Parser;

bool
rv_prompt_is_word(gunichar c)
{
    return c == '_' || g_unichar_isalnum(c);
}

static bool
is_word_at(const char *c, const char *end)
{
    gunichar letter = c < end ? g_utf8_get_char_validated(c, end - c) : 0;
    return letter < (gunichar)-2 && rv_prompt_is_word(letter);
}

static bool
is_word_before(const char *c, const char *start)
{
    const char *previous = g_utf8_find_prev_char(start, c);
    return previous != NULL && is_word_at(previous, c);
}

const char *
rv_prompt_find_word(const char *text, const char *from, const char *end, const char *word)
{
    gsize length = strlen(word);
    for (const char *c = from; c + length <= end; c++)
        if (*c == *word && memcmp(c, word, length) == 0 && !is_word_at(c + length, end) &&
            !is_word_before(c, text))
            return c;
    return NULL;
}

gsize
rv_prompt_number_length(const char *text)
{
    gsize i = *text == '+' || *text == '-', digits = 0, points = 0;
    for (;; i++) {
        if (g_ascii_isdigit(text[i]))
            digits++;
        else if (text[i] == '.' && points == 0)
            points++;
        else
            break;
    }
    return digits > 0 ? i : 0;
}

static void
add_piece(Parser *parser, const char *text, gsize length)
{
    Piece piece = { text, length, 1.0, false };
    g_array_append_val(parser->pieces, piece);
}

static bool
is_space_at(const char *c, const char *end)
{
    gunichar letter = g_utf8_get_char_validated(c, end - c);
    return letter < (gunichar)-2 && rv_text_is_space(letter);
}

/* Text without brackets or escapes; BREAK takes the white space around it along. */
static void
add_text(Parser *parser, const char *text, gsize length)
{
    const char *end = text + length, *start = text, *found;
    while ((found = rv_prompt_find_word(text, start, end, "BREAK")) != NULL) {
        const char *before = found, *previous;
        while ((previous = g_utf8_find_prev_char(start, before)) != NULL && is_space_at(previous, before))
            before = previous;
        add_piece(parser, start, (gsize)(before - start));
        Piece mark = { "", 0, 1.0, true };
        g_array_append_val(parser->pieces, mark);
        start = found + strlen("BREAK");
        while (start < end && is_space_at(start, end))
            start = g_utf8_next_char(start);
    }
    add_piece(parser, start, (gsize)(end - start));
}

static void
weigh_from(Parser *parser, guint first, double factor)
{
    for (guint i = first; i < parser->pieces->len; i++)
        g_array_index(parser->pieces, Piece, i).weight *= factor;
}

/* Length of ":1.2)" with spaces allowed around the number, 0 if `c` is something else. */
static gsize
weight_length(const char *c, double *weight)
{
    const char *start = c;
    if (*c++ != ':')
        return 0;
    while (g_ascii_isspace(*c))
        c++;
    gsize digits = rv_prompt_number_length(c);
    if (digits == 0)
        return 0;
    *weight = g_ascii_strtod(c, NULL);
    c += digits;
    while (g_ascii_isspace(*c))
        c++;
    return *c == ')' ? (gsize)(c + 1 - start) : 0;
}

/* Takes one escape; false when the backslash is plain text. */
static bool
take_escape(Parser *parser, const char **c)
{
    bool is_bracket = (*c)[1] == '(' || (*c)[1] == ')';
    if (parser->is_explicit && !is_bracket)
        return false;
    bool is_escape = is_bracket || (*c)[1] == '[' || (*c)[1] == ']' || (*c)[1] == '\\';
    add_piece(parser, *c + 1, is_escape ? 1 : 0);
    *c += is_escape ? 2 : 1;
    return true;
}

static bool
open_bracket(Parser *parser, char c)
{
    Brackets *brackets = c == '(' ? &parser->round : &parser->square;
    if (brackets->count == MAX_OPEN || (c == '[' && parser->is_explicit))
        return false;
    brackets->first[brackets->count++] = parser->pieces->len;
    return true;
}

/* An explicit weight's opening bracket was taken for text until its number came. */
static void
close_with_weight(Parser *parser, double weight)
{
    guint first = parser->round.first[--parser->round.count];
    if (parser->is_explicit)
        g_array_index(parser->pieces, Piece, first).length = 0;
    weigh_from(parser, first, weight);
}

/* Takes one bracket; false when it is plain text. */
static bool
take_bracket(Parser *parser, const char *c)
{
    if (*c == '(' || *c == '[') {
        bool is_open = open_bracket(parser, *c);
        if (is_open && parser->is_explicit)
            add_piece(parser, c, 1);
        return is_open;
    }
    Brackets *brackets = *c == ')' ? &parser->round : &parser->square;
    if (brackets->count == 0)
        return false;
    guint first = brackets->first[--brackets->count];
    if (parser->is_explicit)
        return false;
    weigh_from(parser, first, *c == ')' ? ROUND_FACTOR : SQUARE_FACTOR);
    return true;
}

static void
parse_pieces(Parser *parser, const char *text)
{
    const char *c = text;
    while (*c != '\0') {
        double weight;
        gsize length = strcspn(c, "\\()[]:");
        if (length > 0) {
            add_text(parser, c, length);
            c += length;
        } else if (*c == '\\' && take_escape(parser, &c)) {
            continue;
        } else if (*c == ':' && parser->round.count > 0 && (length = weight_length(c, &weight)) > 0) {
            close_with_weight(parser, weight);
            c += length;
        } else {
            if (*c == '\\' || *c == ':' || !take_bracket(parser, c))
                add_piece(parser, c, 1);
            c++;
        }
    }
    while (!parser->is_explicit && parser->round.count > 0)
        weigh_from(parser, parser->round.first[--parser->round.count], ROUND_FACTOR);
    while (!parser->is_explicit && parser->square.count > 0)
        weigh_from(parser, parser->square.first[--parser->square.count], SQUARE_FACTOR);
}

/* Neighbours of equal weight become one run; empty runs are left out. */
static GArray *
join_pieces(const GArray *pieces)
{
    GArray *runs = rv_prompt_runs_new();
    for (guint i = 0; i < pieces->len;) {
        const Piece *first = &g_array_index(pieces, Piece, i);
        if (first->is_break) {
            rv_prompt_runs_take(runs, g_strdup(""), 1.0, true);
            i++;
            continue;
        }
        GString *text = g_string_new(NULL);
        for (; i < pieces->len; i++) {
            const Piece *piece = &g_array_index(pieces, Piece, i);
            if (piece->is_break || piece->weight != first->weight)
                break;
            g_string_append_len(text, piece->text, (gssize)piece->length);
        }
        if (text->len > 0)
            rv_prompt_runs_take(runs, g_string_free(text, FALSE), first->weight, false);
        else
            g_string_free(text, TRUE);
    }
    if (runs->len == 0)
        rv_prompt_runs_take(runs, g_strdup(""), 1.0, false);
    return runs;
}

GArray *
rv_prompt_parse_emphasis(const char *text, bool is_explicit, GError **error)
{
    Parser parser = { .is_explicit = is_explicit, .pieces = g_array_new(FALSE, FALSE, sizeof(Piece)) };
    parse_pieces(&parser, text);
    bool is_finite = true;
    for (guint i = 0; i < parser.pieces->len; i++)
        is_finite = is_finite && isfinite((float)g_array_index(parser.pieces, Piece, i).weight);
    GArray *runs = NULL;
    if (is_finite)
        runs = join_pieces(parser.pieces);
    else
        rv_error_set(error, RV_ERROR_USAGE, "prompt", "use weights near 1", "a weight is too large");
    g_array_unref(parser.pieces);
    return runs;
}
