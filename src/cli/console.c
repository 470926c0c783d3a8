#include "cli/console.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#define BAR_CELLS 28

static int cancelled;

int
rv_console_fail(const GError *error)
{
    fprintf(stderr, "reverie: %s\n", error->message);
    return rv_error_exit_code(error);
}

void
rv_console_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "reverie: %s\n", text);
}

void
rv_progress_bar_begin(RvProgressBar *bar, const char *label)
{
    *bar = (RvProgressBar) { .label = g_strdup(label), .start = g_get_monotonic_time() };
}

static void
append_duration(GString *line, double seconds)
{
    int whole = (int)(seconds + 0.5);
    if (whole >= 3600)
        g_string_append_printf(line, "%d:%02d:%02d left", whole / 3600, whole / 60 % 60, whole % 60);
    else
        g_string_append_printf(line, "%d:%02d left", whole / 60, whole % 60);
}

void
rv_progress_bar_update(RvProgressBar *bar, double done, double total, const char *unit)
{
    gint64 now = g_get_monotonic_time();
    if (!isatty(STDERR_FILENO) || (bar->is_shown && now - bar->last_drawn < 100000 && done < total))
        return;
    double seconds = (double)(now - bar->start) * 1e-6;
    g_autoptr(GString) line = g_string_new("\r");
    g_string_append_printf(line, "%s ", bar->label);
    if (total > 0) {
        int filled = (int)(CLAMP(done / total, 0.0, 1.0) * BAR_CELLS);
        for (int i = 0; i < BAR_CELLS; i++)
            g_string_append(line, i < filled ? "█" : "░");
        g_string_append_printf(line, " %.0f/%.0f", done, total);
    } else {
        g_string_append_printf(line, " %.0f %s", done, unit);
    }
    if (done > bar->already && seconds > 0) {
        double rate = (done - bar->already) / seconds;
        if (rate >= 1.0 || g_str_has_suffix(unit, "B")) /* nobody counts seconds per megabyte */
            g_string_append_printf(line, "  %.2f %s/s  ", rate, unit);
        else
            g_string_append_printf(line, "  %.2f s/%s  ", 1.0 / rate, unit);
        if (total > done)
            append_duration(line, (total - done) / rate);
    }
    g_string_append(line, "\033[K");
    fputs(line->str, stderr);
    fflush(stderr);
    bar->last_drawn = now;
    bar->is_shown = true;
}

void
rv_progress_bar_end(RvProgressBar *bar)
{
    if (bar->is_shown)
        fputs("\r\033[K", stderr);
    g_clear_pointer(&bar->label, g_free);
    bar->is_shown = false;
}

char *
rv_console_json_text(JsonBuilder *builder, bool pretty)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();
    JsonNode *root = json_builder_get_root(builder);
    json_generator_set_root(generator, root);
    json_generator_set_pretty(generator, pretty);
    char *text = json_generator_to_data(generator, NULL);
    json_node_unref(root);
    return text;
}

static bool
stdout_failed(GError **error)
{
    return rv_error_set(error, RV_ERROR_IO, "standard output", "check the disk or the pipe that it goes to",
                        "cannot write: %s", g_strerror(errno));
}

bool
rv_console_write(const void *data, gsize size, GError **error)
{
    return (fwrite(data, 1, size, stdout) == size && fflush(stdout) == 0) || stdout_failed(error);
}

bool
rv_console_print_json(JsonBuilder *builder, bool pretty, GError **error)
{
    g_autofree char *text = rv_console_json_text(builder, pretty);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    return rv_console_write(line, strlen(line), error);
}

static void
on_signal(int number)
{
    if (g_atomic_int_get(&cancelled) != 0)
        _exit(5);
    g_atomic_int_set(&cancelled, 1);
}

/* GLib ends the process when a small allocation fails; large ones are ordinary errors. */
static void
on_fatal_message(const char *domain, GLogLevelFlags level, const char *message, gpointer user)
{
    if (strstr(message, "failed to allocate") == NULL) {
        g_log_default_handler(domain, level, message, user);
        return;
    }
    static const char line[] =
        "reverie: out of memory (host): close other programs, or make the picture smaller\n";
    gssize written = write(STDERR_FILENO, line, sizeof line - 1);
    _exit(written < 0 ? 1 : 4);
}

void
rv_console_init(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_log_set_handler("GLib", G_LOG_LEVEL_ERROR | G_LOG_FLAG_FATAL | G_LOG_FLAG_RECURSION, on_fatal_message,
                      NULL);
}

int
rv_console_finish(int code)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != 0)
        return code;
    g_autoptr(GError) error = NULL;
    stdout_failed(&error);
    return rv_console_fail(error);
}

const int *
rv_console_cancel_flag(void)
{
    return &cancelled;
}

bool
rv_console_check_cancel(GError **error)
{
    return g_atomic_int_get(&cancelled) == 0 ||
           rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
}
