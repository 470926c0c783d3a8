/* schedule.c - prompt editing: [from:to:when], [to:when], [from::when] and [a|b], nested, over the steps.
 *
 * The web UI's grammar is ambiguous on paper; what it accepts comes down to this: a bracket pair is a
 * construct when everything inside is balanced and its own separators fit one of the forms. Any other
 * bracket and ":" is text. A "|" outside an alternation, or a backslash with nothing to escape, is not
 * even text: then the whole prompt is taken literally. */
#include <string.h>

#include "base/error.h"
#include "text/clean.h"
#include "text/prompt_internal.h"

#define MAX_DEPTH 256 /* of nested constructs; a deeper one is text */

typedef struct {
    bool is_alternate;
    gsize start, end;   /* bytes of the prompt, brackets included */
    guint child, next;  /* first node inside; next in the same list; 0 is none */
    guint cut;          /* first of its separators in Schedule.cuts */
    guint option_count; /* without the number */
    int when, depth;
} Node;

typedef struct {
    gsize position;
    char bracket;    /* '\0': the whole prompt */
    bool has_stray;  /* something inside was no construct: then this is none either */
    guint separator; /* first of its own in Schedule.separators */
    guint colons, bars;
    guint first, last; /* nodes inside */
    int depth;
} Frame;

typedef struct {
    const char *text;
    int steps;
    double int_offset, float_offset;
    bool is_literal;    /* the text cannot be parsed */
    GArray *nodes;      /* Node; index 0 unused */
    GArray *frames;     /* Frame: the brackets open now */
    GArray *separators; /* gsize: positions of ":" and "|" in open brackets */
    GArray *cuts;       /* gsize: those that belong to nodes */
    guint8 *is_entry;   /* by step */
} Schedule;

static Node *
node_at(const Schedule *schedule, guint index)
{
    return &g_array_index(schedule->nodes, Node, index);
}

static Frame *
top(const Schedule *schedule)
{
    return &g_array_index(schedule->frames, Frame, schedule->frames->len - 1);
}

static void
push(Schedule *schedule, gsize position, char bracket)
{
    Frame frame = { .position = position, .bracket = bracket, .separator = schedule->separators->len };
    g_array_append_val(schedule->frames, frame);
}

static void
append_nodes(const Schedule *schedule, Frame *to, guint first, guint last, int depth)
{
    if (first == 0)
        return;
    if (to->first == 0)
        to->first = first;
    else
        node_at(schedule, to->last)->next = first;
    to->last = last;
    to->depth = MAX(to->depth, depth);
}

/* Removes the innermost open bracket and gives what is inside it to the one around it. */
static void
pop_into_parent(Schedule *schedule)
{
    Frame frame = *top(schedule);
    g_array_set_size(schedule->frames, schedule->frames->len - 1);
    g_array_set_size(schedule->separators, frame.separator);
    append_nodes(schedule, top(schedule), frame.first, frame.last, frame.depth);
}

/* All open brackets are text. */
static void
dissolve(Schedule *schedule)
{
    while (schedule->frames->len > 1) {
        schedule->is_literal = schedule->is_literal || top(schedule)->bars > 0;
        pop_into_parent(schedule);
    }
}

/* The number between `start` and `end`, white space around it allowed. */
static bool
parse_when(const Schedule *schedule, gsize start, gsize end, int *when)
{
    const char *c = schedule->text + start, *stop = schedule->text + end;
    while (c < stop && rv_text_is_space(g_utf8_get_char(c)))
        c = g_utf8_next_char(c);
    gsize length = rv_prompt_number_length(c);
    if (length == 0)
        return false;
    const char *number = c;
    c += length;
    bool is_fraction = memchr(number, '.', length) != NULL;
    if (*c == 'e' || *c == 'E') {
        const char *digits = c + 1 + (c[1] == '+' || c[1] == '-');
        gsize count = strspn(digits, "0123456789");
        c = count > 0 ? digits + count : c;
    }
    double value = g_ascii_strtod(number, NULL);
    while (c < stop && rv_text_is_space(g_utf8_get_char(c)))
        c = g_utf8_next_char(c);
    if (c != stop)
        return false;
    value = is_fraction ? (value - schedule->float_offset) * schedule->steps : value - schedule->int_offset;
    *when = (int)CLAMP(value, -1.0, (double)schedule->steps);
    return true;
}

/* The construct that `frame`, closed by a "]" at `position`, is; false if it is none. */
static bool
construct(const Schedule *schedule, const Frame *frame, gsize position, Node *node)
{
    *node = (Node) { .start = frame->position,
                     .end = position + 1,
                     .child = frame->first,
                     .cut = schedule->cuts->len,
                     .depth = frame->depth + 1 };
    if (frame->has_stray || frame->depth >= MAX_DEPTH || frame->bracket != '[')
        return false;
    if (frame->bars > 0 && frame->colons == 0) {
        node->is_alternate = true;
        node->option_count = frame->bars + 1;
        return true;
    }
    if (frame->bars > 0 || frame->colons < 1 || frame->colons > 2)
        return false;
    gsize last = g_array_index(schedule->separators, gsize, frame->separator + frame->colons - 1);
    bool has_nodes_after = frame->last != 0 && node_at(schedule, frame->last)->start > last;
    node->option_count = frame->colons;
    return !has_nodes_after && parse_when(schedule, last + 1, position, &node->when);
}

static void
mark_entries(Schedule *schedule, const Node *node)
{
    if (node->is_alternate)
        memset(schedule->is_entry + 1, 1, (gsize)schedule->steps);
    else if (node->when >= 1)
        schedule->is_entry[node->when] = 1;
}

static void
close_bracket(Schedule *schedule, gsize position, char bracket)
{
    if (top(schedule)->bracket != bracket) { /* stray: nothing around it is balanced */
        dissolve(schedule);
        return;
    }
    Node node;
    Frame frame = *top(schedule);
    if (construct(schedule, &frame, position, &node)) {
        guint count = frame.colons + frame.bars, index = schedule->nodes->len;
        g_array_append_vals(schedule->cuts, &g_array_index(schedule->separators, gsize, frame.separator),
                            count);
        g_array_append_val(schedule->nodes, node);
        g_array_set_size(schedule->frames, schedule->frames->len - 1);
        g_array_set_size(schedule->separators, frame.separator);
        append_nodes(schedule, top(schedule), index, index, node.depth);
        mark_entries(schedule, &node);
        return;
    }
    bool is_emphasis = !frame.has_stray && frame.bars == 0 && frame.colons <= (bracket == '(' ? 1u : 0u);
    schedule->is_literal = schedule->is_literal || frame.bars > 0;
    pop_into_parent(schedule);
    top(schedule)->has_stray = top(schedule)->has_stray || !is_emphasis;
}

static void
separate(Schedule *schedule, gsize position, char separator)
{
    Frame *frame = top(schedule);
    g_array_append_val(schedule->separators, position);
    if (separator == ':')
        frame->colons++;
    else
        frame->bars++;
}

static void
parse(Schedule *schedule)
{
    push(schedule, 0, '\0');
    const char *text = schedule->text;
    for (gsize i = 0; !schedule->is_literal && text[i] != '\0'; i++) {
        switch (text[i]) {
        case '\\':
            i++;
            schedule->is_literal = text[i] == '\0' || text[i] == '\n';
            break;
        case '(':
        case '[':
            push(schedule, i, text[i]);
            break;
        case ')':
        case ']':
            close_bracket(schedule, i, text[i] == ')' ? '(' : '[');
            break;
        case ':':
        case '|':
            separate(schedule, i, text[i]);
            break;
        default:
            break;
        }
    }
    dissolve(schedule);
    schedule->is_literal = schedule->is_literal || top(schedule)->bars > 0;
}

/* Appends the prompt from `start` to `end` as it reads at `step`; `child` is the first node to look at. */
static void
render(const Schedule *schedule, gsize start, gsize end, guint child, int step, GString *to)
{
    for (; child != 0 && node_at(schedule, child)->end <= end; child = node_at(schedule, child)->next) {
        const Node *node = node_at(schedule, child);
        if (node->start < start)
            continue;
        g_string_append_len(to, schedule->text + start, (gssize)(node->start - start));
        start = node->end;
        guint option;
        if (node->is_alternate)
            option = (guint)(step - 1) % node->option_count;
        else if (step > node->when)
            option = node->option_count - 1;
        else if (node->option_count == 2)
            option = 0;
        else
            continue;
        const gsize *cuts = &g_array_index(schedule->cuts, gsize, node->cut);
        gsize from = option == 0 ? node->start + 1 : cuts[option - 1] + 1;
        bool is_last = node->is_alternate && option == node->option_count - 1;
        render(schedule, from, is_last ? node->end - 1 : cuts[option], node->child, step, to);
    }
    g_string_append_len(to, schedule->text + start, (gssize)(end - start));
}

static GPtrArray *
render_entries(const Schedule *schedule, gsize *budget, GError **error)
{
    gsize length = strlen(schedule->text);
    gsize count = 0;
    for (int step = 1; step <= schedule->steps; step++)
        count += schedule->is_entry[step];
    if (count * length > *budget) {
        rv_error_set(error, RV_ERROR_USAGE, "prompt", "shorten the prompt or use fewer steps",
                     "a prompt of %" G_GSIZE_FORMAT " bytes that changes %" G_GSIZE_FORMAT " times", length,
                     count);
        return NULL;
    }
    *budget -= count * length;
    GPtrArray *entries = rv_prompt_entries_new();
    for (int step = 1; step <= schedule->steps; step++) {
        if (!schedule->is_entry[step])
            continue;
        GString *text = g_string_new(NULL);
        render(schedule, 0, length, g_array_index(schedule->frames, Frame, 0).first, step, text);
        g_ptr_array_add(entries, rv_prompt_entry_new(step, g_string_free(text, FALSE)));
    }
    return entries;
}

GPtrArray *
rv_prompt_parse_schedule(const char *text, const RvPromptOptions *options, gsize *budget, GError **error)
{
    bool is_second = options->hires_steps > 0;
    Schedule schedule = {
        .text = text,
        .steps = is_second ? options->hires_steps : options->steps,
        .int_offset = is_second ? options->steps : 0,
        .float_offset = is_second ? 1 : 0,
        .nodes = g_array_new(FALSE, TRUE, sizeof(Node)),
        .frames = g_array_new(FALSE, FALSE, sizeof(Frame)),
        .separators = g_array_new(FALSE, FALSE, sizeof(gsize)),
        .cuts = g_array_new(FALSE, FALSE, sizeof(gsize)),
    };
    g_array_set_size(schedule.nodes, 1);
    schedule.is_entry = g_new0(guint8, schedule.steps + 1);
    parse(&schedule);
    GPtrArray *entries;
    if (schedule.is_literal) {
        entries = rv_prompt_entries_new();
        g_ptr_array_add(entries, rv_prompt_entry_new(schedule.steps, g_strdup(text)));
    } else {
        schedule.is_entry[schedule.steps] = 1;
        entries = render_entries(&schedule, budget, error);
    }
    g_array_unref(schedule.nodes);
    g_array_unref(schedule.frames);
    g_array_unref(schedule.separators);
    g_array_unref(schedule.cuts);
    g_free(schedule.is_entry);
    return entries;
}
