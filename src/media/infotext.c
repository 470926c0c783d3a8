#include "media/infotext.h"

#include <math.h>
#include <string.h>

/* A1111 1.10's order. What is not listed comes after these, and last_keys after everything. */
static const char *const first_keys[] = {
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Distilled CFG Scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
};
static const char *const last_keys[] = { "Version", "User" };

static void
pair_free(gpointer data)
{
    RvInfotextPair *pair = data;
    g_free(pair->key);
    g_free(pair->value);
    g_free(pair);
}

RvInfotext *
rv_infotext_new(const char *prompt, const char *negative)
{
    RvInfotext *info = g_new(RvInfotext, 1);
    info->prompt = g_strdup(prompt != NULL ? prompt : "");
    info->negative = g_strdup(negative != NULL ? negative : "");
    info->pairs = g_ptr_array_new_with_free_func(pair_free);
    return info;
}

void
rv_infotext_free(RvInfotext *info)
{
    if (info == NULL)
        return;
    g_free(info->prompt);
    g_free(info->negative);
    g_ptr_array_unref(info->pairs);
    g_free(info);
}

static bool
find_pair(const RvInfotext *info, const char *key, guint *index)
{
    for (*index = 0; *index < info->pairs->len; (*index)++)
        if (strcmp(((RvInfotextPair *)info->pairs->pdata[*index])->key, key) == 0)
            return true;
    return false;
}

void
rv_infotext_set(RvInfotext *info, const char *key, const char *value)
{
    guint index;
    bool exists = find_pair(info, key, &index);
    if (value == NULL) {
        if (exists)
            g_ptr_array_remove_index(info->pairs, index);
    } else if (exists) {
        RvInfotextPair *pair = info->pairs->pdata[index];
        char *old = pair->value; /* `value` may be part of it */
        pair->value = g_strdup(value);
        g_free(old);
    } else {
        RvInfotextPair *pair = g_new(RvInfotextPair, 1);
        *pair = (RvInfotextPair) { g_strdup(key), g_strdup(value) };
        g_ptr_array_add(info->pairs, pair);
    }
}

void
rv_infotext_set_integer(RvInfotext *info, const char *key, gint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, value);
    rv_infotext_set(info, key, text);
}

void
rv_infotext_set_number(RvInfotext *info, const char *key, double value)
{
    g_autofree char *text = rv_infotext_number(value);
    rv_infotext_set(info, key, text);
}

void
rv_infotext_set_size(RvInfotext *info, const char *key, int width, int height)
{
    g_autofree char *text = g_strdup_printf("%dx%d", width, height);
    rv_infotext_set(info, key, text);
}

const char *
rv_infotext_get(const RvInfotext *info, const char *key)
{
    guint index;
    return find_pair(info, key, &index) ? ((RvInfotextPair *)info->pairs->pdata[index])->value : NULL;
}

char *
rv_infotext_number(double value)
{
    if (isnan(value))
        return g_strdup("nan");
    if (isinf(value))
        return g_strdup(value < 0 ? "-inf" : "inf");
    char scientific[40];
    for (int digits = 0; digits <= 16; digits++) {
        char format[8];
        g_snprintf(format, sizeof format, "%%.%de", digits);
        g_ascii_formatd(scientific, sizeof scientific, format, value);
        if (g_ascii_strtod(scientific, NULL) == value)
            break;
    }
    /* "-d.ddde+xx" into sign, digits, exponent */
    char *mark = strchr(scientific, 'e');
    int exponent = (int)g_ascii_strtoll(mark + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16)
        return g_strdup(scientific);
    g_autoptr(GString) digits = g_string_new(NULL);
    for (const char *c = scientific; c < mark; c++)
        if (g_ascii_isdigit(*c))
            g_string_append_c(digits, *c);
    GString *text = g_string_new(scientific[0] == '-' ? "-" : NULL);
    if (exponent < 0)
        g_string_append_printf(text, "0.%.*s%s", -exponent - 1, "000", digits->str);
    else {
        while ((int)digits->len < exponent + 2)
            g_string_append_c(digits, '0');
        g_string_append_printf(text, "%.*s.%s", exponent + 1, digits->str, digits->str + exponent + 1);
    }
    return g_string_free(text, FALSE);
}

/* JSON as Python's json.dumps(ensure_ascii=False) writes it. */
static void
append_json(GString *text, const char *value)
{
    g_string_append_c(text, '"');
    for (const char *c = value; *c != '\0'; c++) {
        static const char plain[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
        const char *found = strchr(plain, *c);
        if (found != NULL)
            g_string_append_printf(text, "\\%c", letters[found - plain]);
        else if ((guchar)*c < 0x20)
            g_string_append_printf(text, "\\u%04x", (guchar)*c);
        else
            g_string_append_c(text, *c);
    }
    g_string_append_c(text, '"');
}

/* A1111 quotes for the first three only; the others would be lost or changed when read back. */
static bool
needs_quotes(const char *value)
{
    if (strpbrk(value, ",\n:\r") != NULL || value[0] == '"')
        return true;
    gsize length = strlen(value);
    return length > 0 && (g_ascii_isspace(value[0]) || g_ascii_isspace(value[length - 1]));
}

static void
append_pair(GString *text, const RvInfotextPair *pair)
{
    if (text->len > 0)
        g_string_append(text, ", ");
    g_string_append(text, pair->key);
    if (strcmp(pair->key, pair->value) == 0)
        return;
    g_string_append(text, ": ");
    if (needs_quotes(pair->value))
        append_json(text, pair->value);
    else
        g_string_append(text, pair->value);
}

static bool
is_listed(const char *key, const char *const *keys, gsize count)
{
    for (gsize i = 0; i < count; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static void
append_listed(GString *text, const RvInfotext *info, const char *const *keys, gsize count)
{
    for (gsize i = 0; i < count; i++) {
        guint index;
        if (find_pair(info, keys[i], &index))
            append_pair(text, info->pairs->pdata[index]);
    }
}

char *
rv_infotext_write(const RvInfotext *info)
{
    g_autoptr(GString) settings = g_string_new(NULL);
    append_listed(settings, info, first_keys, G_N_ELEMENTS(first_keys));
    for (guint i = 0; i < info->pairs->len; i++) {
        const RvInfotextPair *pair = info->pairs->pdata[i];
        if (!is_listed(pair->key, first_keys, G_N_ELEMENTS(first_keys)) &&
            !is_listed(pair->key, last_keys, G_N_ELEMENTS(last_keys)))
            append_pair(settings, pair);
    }
    append_listed(settings, info, last_keys, G_N_ELEMENTS(last_keys));

    GString *text = g_string_new(info->prompt);
    if (*info->negative != '\0')
        g_string_append_printf(text, "\nNegative prompt: %s", info->negative);
    g_string_append_printf(text, "\n%s", settings->str);
    return g_strstrip(g_string_free(text, FALSE));
}
