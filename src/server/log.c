#include "server/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS 8

static int is_json, least = RV_LOG_INFO;

void
rv_log_set_json(bool json)
{
    g_atomic_int_set(&is_json, json);
}

void
rv_log_set_level(RvLogLevel level)
{
    g_atomic_int_set(&least, (int)level);
}

const char *
rv_log_int(gint64 number)
{
    static _Thread_local char texts[NUMBERS][24];
    static _Thread_local unsigned next;
    char *text = texts[next++ % NUMBERS];
    g_snprintf(text, sizeof texts[0], "%" G_GINT64_FORMAT, number);
    return text;
}

static void
append_quoted(GString *line, const char *text)
{
    g_string_append_c(line, '"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            g_string_append_printf(line, "\\%c", *c);
        else if (g_ascii_iscntrl(*c))
            g_string_append_printf(line, "\\u%04x", *c);
        else
            g_string_append_c(line, *c);
    }
    g_string_append_c(line, '"');
}

static void
append_pair(GString *line, const char *key, const char *value, bool json)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);
    g_string_append(line, json ? "," : " ");
    if (json) {
        append_quoted(line, key);
        g_string_append_c(line, ':');
        append_quoted(line, valid);
        return;
    }
    g_string_append_printf(line, "%s=", key);
    bool is_plain = *valid != '\0' && strpbrk(valid, " \"=\\") == NULL;
    for (const char *c = valid; *c != '\0' && is_plain; c++)
        is_plain = !g_ascii_iscntrl(*c);
    if (is_plain)
        g_string_append(line, valid);
    else
        append_quoted(line, valid);
}

void
rv_log(RvLogLevel level, const char *event, ...)
{
    static const char *const names[] = { "debug", "info", "warning", "error" };
    if ((int)level < g_atomic_int_get(&least))
        return;
    bool json = g_atomic_int_get(&is_json) != 0;
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *second = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    int ms = g_date_time_get_microsecond(now) / 1000;
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_append_printf(
        line, json ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"event\":\"%s\"" : "%s.%03dZ %s %s", second,
        ms, names[level], event);
    va_list pairs;
    va_start(pairs, event);
    for (const char *key; (key = va_arg(pairs, const char *)) != NULL;) {
        const char *value = va_arg(pairs, const char *);
        if (value != NULL)
            append_pair(line, key, value, json);
    }
    va_end(pairs);
    g_string_append(line, json ? "}\n" : "\n");
    fwrite(line->str, 1, line->len, stderr); /* one call: lines of threads do not mix */
}

/* Of a structured message of GLib; NULL: not there. */
static const char *
field(const GLogField *fields, gsize count, const char *key)
{
    for (gsize i = 0; i < count; i++) {
        if (strcmp(fields[i].key, key) == 0 && fields[i].length < 0)
            return fields[i].value;
    }
    return NULL;
}

static GLogWriterOutput
write_message(GLogLevelFlags flags, const GLogField *fields, gsize count, gpointer data)
{
    const char *domain = field(fields, count, "GLIB_DOMAIN"), *text = field(fields, count, "MESSAGE");
    if (g_log_writer_default_would_drop(flags, domain))
        return G_LOG_WRITER_HANDLED;
    RvLogLevel level = flags & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? RV_LOG_ERROR
                       : flags & G_LOG_LEVEL_WARNING                      ? RV_LOG_WARNING
                                                                          : RV_LOG_INFO;
    rv_log(level, "message", "from", domain, "text", text != NULL ? text : "", NULL);
    return G_LOG_WRITER_HANDLED;
}

void
rv_log_take_messages(void)
{
    g_log_set_writer_func(write_message, NULL, NULL);
}
