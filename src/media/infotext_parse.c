/* Reading follows A1111's regular expression for a pair,
 *     \s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)
 * by hand and in linear time, since pictures come from anywhere. */
#include <string.h>

#include "media/infotext.h"

#define FEWEST_PAIRS 3 /* a last line with fewer pairs is prompt */
#define MOST_PAIRS \
    1000 /* what follows is dropped: lookups are linear, and no real file has more than a hundred */

static bool
is_word(gunichar c)
{
    return c == '_' || g_unichar_isalnum(c);
}

static const char *
skip_spaces(const char *c)
{
    while (*c != '\0' && g_unichar_isspace(g_utf8_get_char(c)))
        c = g_utf8_next_char(c);
    return c;
}

/* The next key in *next: a run of word characters, spaces, '-' and '/' that ends at a colon and has at least
 * two characters from its first word character on. Moves *next behind the colon; NULL at the end of the line.
 */
static char *
take_key(const char **next)
{
    const char *first_word = NULL;
    for (const char *c = *next; *c != '\0'; c = g_utf8_next_char(c)) {
        gunichar character = g_utf8_get_char(c);
        if (is_word(character)) {
            if (first_word == NULL)
                first_word = c;
        } else if (character == ':') {
            if (first_word != NULL && g_utf8_next_char(first_word) < c) {
                *next = c + 1;
                return g_strndup(first_word, (gsize)(c - first_word));
            }
            first_word = NULL;
        } else if (character != ' ' && character != '-' && character != '/') {
            first_word = NULL;
        }
    }
    return NULL;
}

/* The end of a quoted string that starts at `c` and that a comma or the end of the line follows, else NULL.
 */
static const char *
quoted_end(const char *c)
{
    if (*c != '"')
        return NULL;
    for (c++; *c != '\0' && *c != '"'; c++)
        if (*c == '\\' && *++c == '\0')
            return NULL;
    return *c == '"' && (c[1] == ',' || c[1] == '\0') ? c + 1 : NULL;
}

static int
hex4(const char *c)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = g_ascii_xdigit_value(c[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Appends the escape whose letter is at `c`; returns what follows it, or NULL when it is none of JSON's. */
static const char *
append_escape(GString *text, const char *c)
{
    static const char letters[] = "\"\\/nrtbf", plain[] = "\"\\/\n\r\t\b\f";
    if (*c == '\0')
        return NULL;
    const char *found = strchr(letters, *c);
    if (found != NULL) {
        g_string_append_c(text, plain[found - letters]);
        return c + 1;
    }
    int unit = *c == 'u' ? hex4(c + 1) : -1;
    if (unit <= 0)
        return NULL;
    c += 5;
    if (unit >= 0xd800 && unit < 0xdc00 && c[0] == '\\' && c[1] == 'u') {
        int low = hex4(c + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            g_string_append_unichar(text, (gunichar)(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)));
            return c + 6;
        }
    }
    g_string_append_unichar(text, unit >= 0xd800 && unit < 0xe000 ? 0xfffd : (gunichar)unit);
    return c;
}

/* The text of the JSON string [begin, end); what is no JSON is taken as it stands, as A1111 does. */
static char *
unquote(const char *begin, const char *end)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *c = begin + 1;
    while (c != NULL && c < end - 1) {
        if (*c == '\\')
            c = append_escape(text, c + 1);
        else if ((guchar)*c < 0x20)
            c = NULL;
        else
            g_string_append_c(text, *c++);
    }
    if (c != end - 1)
        return g_strndup(begin, (gsize)(end - begin));
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *
take_value(const char **next)
{
    const char *begin = skip_spaces(*next), *end = quoted_end(begin);
    char *value;
    if (end != NULL) {
        value = unquote(begin, end);
    } else {
        end = begin + strcspn(begin, ",");
        value = g_strndup(begin, (gsize)(end - begin));
    }
    *next = *end == ',' ? end + 1 : end;
    return value;
}

/* Reads the settings line into `info`, which is left alone when the line is none. */
static bool
read_settings(RvInfotext *info, const char *line)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    char *key;
    while (texts->len < 2 * MOST_PAIRS && (key = take_key(&line)) != NULL) {
        g_ptr_array_add(texts, key);
        g_ptr_array_add(texts, take_value(&line));
    }
    if (texts->len < 2 * FEWEST_PAIRS)
        return false;
    for (guint i = 0; i < texts->len; i += 2)
        rv_infotext_set(info, texts->pdata[i], texts->pdata[i + 1]);
    return true;
}

static void
append_line(GString *text, const char *line)
{
    if (text->len > 0)
        g_string_append_c(text, '\n');
    g_string_append(text, line);
}

static void
read_prompts(RvInfotext *info, char *const *lines, guint count)
{
    static const char heading[] = "Negative prompt:";
    g_autoptr(GString) prompt = g_string_new(NULL);
    g_autoptr(GString) negative = g_string_new(NULL);
    bool is_negative = false;
    for (guint i = 0; i < count; i++) {
        const char *line = g_strstrip(lines[i]);
        if (g_str_has_prefix(line, heading)) {
            is_negative = true;
            line = skip_spaces(line + strlen(heading));
        }
        append_line(is_negative ? negative : prompt, line);
    }
    g_free(info->prompt);
    g_free(info->negative);
    info->prompt = g_strdup(prompt->str);
    info->negative = g_strdup(negative->str);
}

RvInfotext *
rv_infotext_parse(const char *text)
{
    RvInfotext *info = rv_infotext_new(NULL, NULL);
    g_autofree char *valid = g_strstrip(g_utf8_make_valid(text, -1));
    g_auto(GStrv) lines = g_strsplit(valid, "\n", -1);
    guint count = g_strv_length(lines);
    if (count > 0 && read_settings(info, lines[count - 1]))
        count--;
    read_prompts(info, lines, count);
    return info;
}

/* "123x45" and nothing else; the numbers stay text because there is no bound on their length. */
static bool
split_size(const char *value, char **width, char **height)
{
    gsize first = strspn(value, "0123456789");
    if (first == 0 || value[first] != 'x')
        return false;
    const char *rest = value + first + 1;
    gsize second = strspn(rest, "0123456789");
    if (second == 0 || rest[second] != '\0')
        return false;
    *width = g_strndup(value, first);
    *height = g_strdup(rest);
    return true;
}

bool
rv_infotext_get_size(const RvInfotext *info, const char *key, int *width, int *height)
{
    const char *value = rv_infotext_get(info, key);
    g_autofree char *first = NULL, *second = NULL;
    if (value == NULL || !split_size(value, &first, &second))
        return false;
    guint64 w, h;
    if (!g_ascii_string_to_unsigned(first, 10, 0, G_MAXINT32, &w, NULL) ||
        !g_ascii_string_to_unsigned(second, 10, 0, G_MAXINT32, &h, NULL))
        return false;
    *width = (int)w;
    *height = (int)h;
    return true;
}

static void
expand_sizes(RvInfotext *info)
{
    g_autoptr(RvInfotext) expanded = rv_infotext_new(NULL, NULL);
    for (guint i = 0; i < info->pairs->len; i++) {
        const RvInfotextPair *pair = info->pairs->pdata[i];
        g_autofree char *width = NULL, *height = NULL;
        if (!split_size(pair->value, &width, &height)) {
            rv_infotext_set(expanded, pair->key, pair->value);
            continue;
        }
        g_autofree char *first = g_strconcat(pair->key, "-1", NULL),
                        *second = g_strconcat(pair->key, "-2", NULL);
        rv_infotext_set(expanded, first, width);
        rv_infotext_set(expanded, second, height);
    }
    GPtrArray *pairs = info->pairs;
    info->pairs = expanded->pairs;
    expanded->pairs = pairs;
}

/* Before 1.9 the schedule was the last word of the sampler's name. Longer labels come before their own ends.
 */
static void
expand_sampler(RvInfotext *info)
{
    static const char *const schedules[] = {
        "Automatic",       "SGM Uniform", "Uniform",    "Karras",
        "Polyexponential", "Exponential", "KL Optimal", "Align Your Steps",
        "Simple",          "Normal",      "Beta",
    };
    const char *sampler = rv_infotext_get(info, "Sampler");
    if (sampler == NULL || rv_infotext_get(info, "Schedule type") != NULL)
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(schedules); i++) {
        g_autofree char *ending = g_strconcat(" ", schedules[i], NULL);
        if (!g_str_has_suffix(sampler, ending) || strlen(sampler) == strlen(ending))
            continue;
        g_autofree char *name = g_strndup(sampler, strlen(sampler) - strlen(ending));
        rv_infotext_set(info, "Sampler", name);
        rv_infotext_set(info, "Schedule type", schedules[i]);
        return;
    }
}

void
rv_infotext_expand(RvInfotext *info)
{
    static const RvInfotextPair defaults[] = {
        { "Schedule type", "Automatic" }, { "Clip skip", "1" },      { "RNG", "GPU" },
        { "Hires resize-1", "0" },        { "Hires resize-2", "0" },
    };
    expand_sizes(info);
    expand_sampler(info);
    for (gsize i = 0; i < G_N_ELEMENTS(defaults); i++)
        if (rv_infotext_get(info, defaults[i].key) == NULL)
            rv_infotext_set(info, defaults[i].key, defaults[i].value);
}
