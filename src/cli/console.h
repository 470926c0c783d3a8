/* console.h - what commands say to people and to machines: one-line errors and notes on stderr,
 * a progress bar with rate and time left when stderr is a terminal, JSON lines on stdout. */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* Once, before any other call: Ctrl-C and SIGTERM raise the cancel flag, a closed pipe is an error instead of
 * a signal, and running out of memory ends the process with one line and exit code 4. */
void rv_console_init(void);
/* The exit code of the process: `code`, or 1 with a message when standard output could not take everything.
 */
int rv_console_finish(int code);

/* "reverie: MESSAGE" on stderr; returns the exit code of the error. */
int rv_console_fail(const GError *error);
void rv_console_note(const char *format, ...) G_GNUC_PRINTF(1, 2);

typedef struct {
    char *label;
    gint64 start; /* microseconds, monotonic */
    gint64 last_drawn;
    bool is_shown;  /* a bar is on the line now */
    double already; /* was done before the bar began; not counted in the rate */
} RvProgressBar;

void rv_progress_bar_begin(RvProgressBar *bar, const char *label);
/* Draws at most ten times a second; `unit` names what is counted: "it", "frame", "MB". */
void rv_progress_bar_update(RvProgressBar *bar, double done, double total, const char *unit);
void rv_progress_bar_end(RvProgressBar *bar); /* clears the line */

/* Bytes to stdout, flushed; false when it is closed or full. */
bool rv_console_write(const void *data, gsize size, GError **error);
/* One line of JSON on stdout, flushed. Takes the builder's root; false when stdout is closed or full. */
bool rv_console_print_json(JsonBuilder *builder, bool pretty, GError **error);
/* The same as text; free with g_free. */
char *rv_console_json_text(JsonBuilder *builder, bool pretty);

/* 0 until Ctrl-C or SIGTERM; a second one ends the process at once with exit code 5. */
const int *rv_console_cancel_flag(void);
/* RV_ERROR_CANCELLED once the flag is up. */
bool rv_console_check_cancel(GError **error);
