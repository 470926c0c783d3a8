#include "text/wildcards.h"

#include <string.h>

#define MAX_DEPTH 16
#define MAX_DRAWS 1000
#define MAX_TEXT (64 * 1024) /* bytes of a drawn prompt */
#define MAX_NAME 256

typedef struct {
    guint64 state;
    RvWildcardRead read;
    void *user;
    GString *out;
    int draws;
} Draw;

/* SplitMix64 (Steele et al. 2014). */
static guint64
next_number(Draw *draw)
{
    guint64 z = (draw->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool
is_name_character(char c)
{
    return g_ascii_isalnum(c) || strchr("-_./", c) != NULL || (guchar)c >= 0x80;
}

/* The length of the name that starts behind the underscores at `text`; 0: this is no wildcard. */
static gsize
name_length(const char *text)
{
    if (!g_str_has_prefix(text, "__") || text[2] == '_')
        return 0;
    for (gsize i = 2; text[i] != '\0' && i < MAX_NAME && is_name_character(text[i]); i++)
        if (i > 2 && text[i] == '_' && text[i + 1] == '_')
            return i - 2;
    return 0;
}

bool
rv_wildcards_in(const char *prompt)
{
    for (; prompt != NULL && *prompt != '\0'; prompt++)
        if (name_length(prompt) > 0)
            return true;
    return false;
}

static bool
check_name(const char *name, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    for (char **part = parts; *part != NULL; part++)
        if (**part == '\0' || **part == '.')
            return rv_error_set(error, RV_ERROR_USAGE, name, "give a name, or FOLDER/NAME",
                                "this is no wildcard's name");
    return true;
}

/* One of the text's lines; NULL: there is none. */
static char *
choose(Draw *draw, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint count = 0;
    for (char **line = lines; *line != NULL; line++) {
        g_strstrip(*line);
        if (**line != '\0' && **line != '#')
            count++;
    }
    guint wanted = count > 0 ? (guint)(next_number(draw) % count) : 0;
    for (char **line = lines; count > 0 && *line != NULL; line++)
        if (**line != '\0' && **line != '#' && wanted-- == 0)
            return g_strdup(*line);
    return NULL;
}

static bool expand(Draw *draw, const char *text, int depth, GError **error);

static bool
expand_name(Draw *draw, const char *name, int depth, GError **error)
{
    if (!check_name(name, error))
        return false;
    if (depth >= MAX_DEPTH || ++draw->draws > MAX_DRAWS)
        return rv_error_set(error, RV_ERROR_INVALID, name, "take the circle out",
                            "wildcards hold each other without an end");
    g_autofree char *text = draw->read(name, draw->user, error);
    if (text == NULL)
        return false;
    g_autofree char *line = choose(draw, text);
    if (line == NULL)
        return rv_error_set(error, RV_ERROR_INVALID, name, "write one choice a line",
                            "this wildcard has no choices");
    return expand(draw, line, depth + 1, error);
}

static bool
expand(Draw *draw, const char *text, int depth, GError **error)
{
    while (*text != '\0') {
        gsize length = name_length(text);
        if (length == 0) {
            g_string_append_c(draw->out, *text++);
        } else {
            g_autofree char *name = g_strndup(text + 2, length);
            if (!expand_name(draw, name, depth, error))
                return false;
            text += length + 4;
        }
        if (draw->out->len > MAX_TEXT)
            return rv_error_set(error, RV_ERROR_INVALID, "prompt", "use shorter wildcards",
                                "the drawn prompt is longer than %d bytes", MAX_TEXT);
    }
    return true;
}

char *
rv_wildcards_draw(const char *prompt, guint64 seed, RvWildcardRead read, void *user, GError **error)
{
    Draw draw = { seed, read, user, g_string_new(NULL), 0 };
    bool ok = expand(&draw, prompt, 0, error);
    return g_string_free(draw.out, !ok);
}
