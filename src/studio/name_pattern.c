#include "studio/name_pattern.h"

#include <string.h>

#include "media/infotext.h"

#define MAX_PATTERN 1024
#define MAX_PART 128 /* bytes that one token adds */
#define MAX_NAME 180 /* bytes of one name: with number and ending below the 255 of file systems */
#define MAX_FOLDERS 6
#define MAX_FOLDER 120 /* bytes of one folder's name */
#define USUAL_WORDS 8

typedef struct {
    const RvNameFacts *facts;
    RvInfotext *info;
    bool is_dropped; /* the token leaves out the text before it, too */
} Names;

/* ---- text that is safe in a name ---- */

static void
cut(GString *text, gsize most)
{
    if (text->len <= most)
        return;
    const char *end = g_utf8_find_prev_char(text->str, text->str + most + 1);
    g_string_truncate(text, end != NULL ? (gsize)(end - text->str) : 0);
}

static void
strip(GString *text)
{
    gsize blank = strspn(text->str, " .");
    g_string_erase(text, 0, (gssize)blank);
    while (text->len > 0 && strchr(" .", text->str[text->len - 1]) != NULL)
        g_string_truncate(text, text->len - 1);
}

/* A1111's rule: what file systems do not take becomes "_", blanks too if so asked. */
static char *
clean(const char *text, bool with_spaces, gsize most)
{
    g_autofree char *valid = g_utf8_make_valid(text != NULL ? text : "", -1);
    GString *name = g_string_new(NULL);
    for (const char *c = valid; *c != '\0'; c++) {
        bool is_bad = strchr("#<>:\"/\\|?*", *c) != NULL || (guchar)*c < 0x20 || *c == 0x7f;
        g_string_append_c(name, is_bad || (*c == ' ' && !with_spaces) ? '_' : *c);
    }
    cut(name, most);
    strip(name);
    return g_string_free(name, FALSE);
}

/* ---- tokens ---- */

static const char *
setting(const Names *n, const char *key, const char *otherwise)
{
    const char *value = rv_infotext_get(n->info, key);
    return value != NULL ? value : otherwise;
}

static char *
hash_of(const void *data, gsize size, const char *digits, guint usual)
{
    guint count = digits != NULL ? (guint)CLAMP(g_ascii_strtoll(digits, NULL, 10), 1, 64) : usual;
    char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
    hash[MIN(count, 64u)] = '\0';
    return hash;
}

static char *
hash_of_text(const char *text, const char *digits)
{
    return hash_of(text, strlen(text), digits, 8);
}

static char *
words_of(const Names *n)
{
    g_autoptr(GString) words = g_string_new(NULL);
    int most = n->facts->words > 0 ? n->facts->words : USUAL_WORDS, count = 0;
    for (const char *c = n->info->prompt; *c != '\0' && count < most;) {
        gsize size = strcspn(c, " \t\n!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
        if (size > 0) {
            g_string_append_printf(words, "%s%.*s", count > 0 ? " " : "", (int)size, c);
            count++;
        }
        c += size + (c[size] != '\0');
    }
    return g_strdup(words->len > 0 ? words->str : "empty");
}

/* "word|otherwise": the word if the prompt has it. */
static char *
has_prompt(const Names *n, char **arguments)
{
    g_autofree char *prompt = g_utf8_strdown(n->info->prompt, -1);
    g_autoptr(GString) text = g_string_new(NULL);
    for (; *arguments != NULL; arguments++) {
        g_auto(GStrv) parts = g_strsplit(*arguments, "|", 2);
        if (parts[0] == NULL)
            continue;
        g_autofree char *word = g_utf8_strdown(parts[0], -1);
        const char *otherwise = parts[1] != NULL ? parts[1] : "";
        g_string_append(text, strstr(prompt, word) != NULL ? parts[0] : otherwise);
    }
    return g_strdup(text->str);
}

static char *
time_text(const char *format, const char *zone)
{
    g_autoptr(GTimeZone) there = zone != NULL && *zone != '\0' ? g_time_zone_new_identifier(zone) : NULL;
    g_autoptr(GDateTime) now = there != NULL ? g_date_time_new_now(there) : g_date_time_new_now_local();
    char *text = g_date_time_format(now, format != NULL && *format != '\0' ? format : "%Y%m%d%H%M%S");
    return text != NULL ? text : g_date_time_format(now, "%Y%m%d%H%M%S");
}

static char *
started_text(const RvNameFacts *facts)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(facts->began);
    return time != NULL ? g_date_time_format(time, "%Y%m%d%H%M%S") : g_strdup("0");
}

static char *
integer_text(gint64 value)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, value);
}

/* Numbers of one picture alone are left out, with the text before them. */
static char *
counted(Names *n, int count, int number)
{
    n->is_dropped = count <= 1;
    return count <= 1 ? g_strdup("") : integer_text(number + 1);
}

/* Settings under their names in infotexts. */
static char *
setting_text(const Names *n, const char *token)
{
    static const struct {
        const char *token, *key, *otherwise;
    } settings[] = {
        { "steps", "Steps", "" },
        { "cfg", "CFG scale", "" },
        { "sampler", "Sampler", "" },
        { "scheduler", "Schedule type", "Automatic" },
        { "model_name", "Model", "" },
        { "model_hash", "Model hash", "" },
        { "vae_filename", "VAE", "NoneType" },
        { "clip_skip", "Clip skip", "1" },
        { "denoising", "Denoising strength", "" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++)
        if (strcmp(token, settings[i].token) == 0)
            return clean(setting(n, settings[i].key, settings[i].otherwise), true, MAX_PART);
    if (strcmp(token, "sampler_scheduler") != 0)
        return NULL;
    const char *schedule = setting(n, "Schedule type", "Automatic");
    bool is_plain = strcmp(schedule, "Automatic") == 0;
    return g_strconcat(setting(n, "Sampler", ""), is_plain ? NULL : " ", schedule, NULL);
}

static char *
number_text(Names *n, const char *token)
{
    const RvNameFacts *f = n->facts;
    int width = 0, height = 0;
    rv_infotext_get_size(n->info, "Size", &width, &height);
    const struct {
        const char *token;
        gint64 value;
    } numbers[] = {
        { "seed", f->seed },
        { "seed_first", f->first_seed },
        { "seed_last", f->last_seed },
        { "subseed", f->subseed },
        { "width", width },
        { "height", height },
        { "batch_size", f->batch_size },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        if (strcmp(token, numbers[i].token) == 0)
            return integer_text(numbers[i].value);
    if (strcmp(token, "batch_number") == 0)
        return counted(n, f->batch_size, f->index);
    return strcmp(token, "generation_number") == 0 ? counted(n, f->count, f->number) : NULL;
}

static char *
prompt_text(const Names *n, const char *token, char **arguments)
{
    const char *prompt = n->info->prompt, *negative = n->info->negative;
    if (strcmp(token, "prompt") == 0)
        return clean(prompt, false, MAX_PART);
    if (strcmp(token, "prompt_spaces") == 0)
        return clean(prompt, true, MAX_PART);
    if (strcmp(token, "prompt_words") == 0)
        return words_of(n);
    if (strcmp(token, "hasprompt") == 0)
        return has_prompt(n, arguments);
    if (strcmp(token, "prompt_hash") == 0)
        return hash_of_text(prompt, arguments[0]);
    if (strcmp(token, "negative_prompt_hash") == 0)
        return hash_of_text(negative, arguments[0]);
    if (strcmp(token, "full_prompt_hash") != 0)
        return NULL;
    g_autofree char *both = g_strconcat(prompt, " ", negative, NULL);
    return hash_of_text(both, arguments[0]);
}

static char *
other_text(Names *n, const char *token, char **arguments)
{
    const RvNameFacts *f = n->facts;
    if (strcmp(token, "date") == 0)
        return time_text("%Y-%m-%d", NULL);
    if (strcmp(token, "datetime") == 0)
        return time_text(arguments[0], arguments[0] != NULL ? arguments[1] : NULL);
    if (strcmp(token, "job_timestamp") == 0)
        return started_text(f);
    if (strcmp(token, "user") == 0)
        return clean(f->user, true, MAX_PART);
    if (strcmp(token, "styles") == 0)
        return clean(f->styles != NULL && *f->styles != '\0' ? f->styles : "None", true, MAX_PART);
    if (strcmp(token, "image_hash") == 0)
        return f->picture != NULL
                   ? hash_of(f->picture->rgb, (gsize)f->picture->width * (gsize)f->picture->height * 3,
                             arguments[0], 64)
                   : g_strdup("");
    n->is_dropped = strcmp(token, "none") == 0;
    return n->is_dropped ? g_strdup("") : NULL;
}

/* "datetime<%Y><UTC>" is a token and its arguments. What it stands for, safe in a name; NULL: it is none. */
static char *
token_text(Names *n, const char *inside)
{
    g_auto(GStrv) parts = g_strsplit(inside, "<", -1);
    g_autofree char *token = g_ascii_strdown(parts[0] != NULL ? parts[0] : "", -1);
    for (char **argument = parts; *argument != NULL; argument++)
        if (argument > parts && g_str_has_suffix(*argument, ">"))
            (*argument)[strlen(*argument) - 1] = '\0';
    char **arguments = parts[0] != NULL ? parts + 1 : parts;
    n->is_dropped = false;
    g_autofree char *text = number_text(n, token);
    if (text == NULL)
        text = setting_text(n, token);
    if (text == NULL)
        text = prompt_text(n, token, arguments);
    if (text == NULL)
        text = other_text(n, token, arguments);
    return text != NULL ? clean(text, true, MAX_PART) : NULL;
}

/* ---- patterns ---- */

static char *
expand(Names *n, const char *pattern)
{
    GString *name = g_string_new(NULL);
    while (*pattern != '\0') {
        gsize before = strcspn(pattern, "[");
        const char *open = pattern + before, *close = *open != '\0' ? strpbrk(open + 1, "[]") : NULL;
        if (close == NULL || *close == '[') { /* no token begins here */
            gsize size = before + (*open != '\0');
            g_string_append_len(name, pattern, (gssize)size);
            pattern += size;
            continue;
        }
        g_autofree char *inside = g_strndup(open + 1, (gsize)(close - open - 1));
        g_autofree char *text = token_text(n, inside);
        if (text == NULL || !n->is_dropped)
            g_string_append_len(name, pattern, (gssize)before);
        if (text != NULL)
            g_string_append(name, text);
        else
            g_string_append_printf(name, "[%s]", inside);
        pattern = close + 1;
    }
    return g_string_free(name, FALSE);
}

static void
begin(Names *n, const RvNameFacts *facts)
{
    *n = (Names) { facts, rv_infotext_parse(facts->infotext != NULL ? facts->infotext : ""), false };
}

char *
rv_name_file(const char *pattern, const RvNameFacts *facts)
{
    Names n;
    g_autofree char *bounded = g_strndup(pattern, MAX_PATTERN);
    begin(&n, facts);
    g_autofree char *name = expand(&n, bounded);
    rv_infotext_free(n.info);
    return clean(name, true, MAX_NAME);
}

char *
rv_name_folder(const char *pattern, const RvNameFacts *facts)
{
    Names n;
    int count = 0;
    g_autofree char *bounded = g_strndup(pattern, MAX_PATTERN);
    g_strdelimit(bounded, "\\", '/');
    g_auto(GStrv) parts = g_strsplit(bounded, "/", -1);
    GString *path = g_string_new(NULL);
    begin(&n, facts);
    for (char **part = parts; *part != NULL && count < MAX_FOLDERS; part++) {
        g_autofree char *raw = expand(&n, *part);
        g_autofree char *name = clean(raw, true, MAX_FOLDER);
        if (*name == '\0')
            continue;
        g_string_append_printf(path, "%s%s", count > 0 ? "/" : "", name);
        count++;
    }
    rv_infotext_free(n.info);
    return g_string_free(path, FALSE);
}
