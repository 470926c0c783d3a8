#include "text/clean.h"

typedef struct {
    gunichar c;
    int combining_class;
} Mark;

gboolean
rv_text_is_space(gunichar c)
{
    if ((c >= 9 && c <= 13) || c == ' ' || c == 0x85)
        return TRUE;
    if (c < 0x80)
        return FALSE;
    GUnicodeType type = g_unichar_type(c);
    return type == G_UNICODE_SPACE_SEPARATOR || type == G_UNICODE_LINE_SEPARATOR ||
           type == G_UNICODE_PARAGRAPH_SEPARATOR;
}

static void
append(GArray *to, gunichar c)
{
    g_array_append_val(to, c);
}

/* GLib lowers letters only; Unicode also pairs Roman numerals and circled letters. */
static gunichar
lower(gunichar c)
{
    if (c >= 0x2160 && c <= 0x216f)
        return c + 16;
    if (c >= 0x24b6 && c <= 0x24cf)
        return c + 26;
    return g_unichar_tolower(c);
}

static GArray *
decode_utf8(const char *text, gsize length)
{
    GArray *decoded = g_array_sized_new(FALSE, FALSE, sizeof(gunichar), (guint)length);
    const char *end = text + length;
    while (text < end) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            append(decoded, 0xfffd);
            text++;
        } else {
            append(decoded, c);
            text = *text == '\0' ? text + 1 : g_utf8_next_char(text);
        }
    }
    return decoded;
}

static int
compare_marks(gconstpointer a, gconstpointer b, gpointer data)
{
    return ((const Mark *)a)->combining_class - ((const Mark *)b)->combining_class;
}

/* GLib's own normalisation sorts marks by insertion, which a long run of them makes quadratic. */
static void
flush_marks(GArray *marks, GArray *to)
{
    if (marks->len > 1)
        g_qsort_with_data(marks->data, (int)marks->len, sizeof(Mark), compare_marks, NULL);
    for (guint i = 0; i < marks->len; i++)
        append(to, g_array_index(marks, Mark, i).c);
    g_array_set_size(marks, 0);
}

static GArray *
decompose(const GArray *from)
{
    GArray *to = g_array_sized_new(FALSE, FALSE, sizeof(gunichar), from->len);
    g_autoptr(GArray) marks = g_array_new(FALSE, FALSE, sizeof(Mark));
    for (guint i = 0; i < from->len; i++) {
        gunichar parts[G_UNICHAR_MAX_DECOMPOSITION_LENGTH];
        gsize count =
            g_unichar_fully_decompose(g_array_index(from, gunichar, i), FALSE, parts, G_N_ELEMENTS(parts));
        for (gsize j = 0; j < count; j++) {
            Mark mark = { parts[j], g_unichar_combining_class(parts[j]) };
            if (mark.combining_class != 0) {
                g_array_append_val(marks, mark);
                continue;
            }
            flush_marks(marks, to);
            append(to, parts[j]);
        }
    }
    flush_marks(marks, to);
    return to;
}

/* Unicode Standard Annex 15: a character joins the last starter when nothing between them has a
 * combining class as high as its own. Works in place. */
static void
compose(GArray *text)
{
    gunichar *c = (gunichar *)(void *)text->data;
    guint length = 0, starter = 0;
    gboolean has_starter = FALSE;
    int last_class = 0;
    for (guint i = 0; i < text->len; i++) {
        int combining_class = g_unichar_combining_class(c[i]);
        gboolean adjacent = has_starter && starter + 1 == length;
        gunichar joined;
        if (has_starter && (adjacent || last_class < combining_class) &&
            g_unichar_compose(c[starter], c[i], &joined)) {
            c[starter] = joined;
            continue;
        }
        if (combining_class == 0) {
            starter = length;
            has_starter = TRUE;
        }
        last_class = combining_class;
        c[length++] = c[i];
    }
    g_array_set_size(text, length);
}

static GArray *
normalise(GArray *decoded)
{
    for (guint i = 0; i < decoded->len; i++) {
        if (g_array_index(decoded, gunichar, i) < 0x300)
            continue;
        GArray *normal = decompose(decoded);
        g_array_unref(decoded);
        compose(normal);
        return normal;
    }
    return decoded; /* nothing below U+0300 changes under NFC */
}

GArray *
rv_text_clean(const char *text, gsize length)
{
    g_autoptr(GArray) normal = normalise(decode_utf8(text, length));
    GArray *clean = g_array_sized_new(FALSE, FALSE, sizeof(gunichar), normal->len);
    gboolean after_space = FALSE;
    for (guint i = 0; i < normal->len; i++) {
        gunichar c = g_array_index(normal, gunichar, i);
        gboolean is_space = rv_text_is_space(c);
        if (c == 0x130) { /* the one letter whose lower case is two characters in every language */
            append(clean, 'i');
            append(clean, 0x307);
        } else if (!is_space) {
            append(clean, lower(c));
        } else if (!after_space) {
            append(clean, ' ');
        }
        after_space = is_space;
    }
    return clean;
}
