/* log.h - what happens, one line an event on stderr: "TIME LEVEL EVENT key=value ...", or JSON objects.
 * Any thread. Secrets (tokens, passwords) are never given to it. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { RV_LOG_DEBUG, RV_LOG_INFO, RV_LOG_WARNING, RV_LOG_ERROR } RvLogLevel;

void rv_log_set_json(bool is_json);
void rv_log_set_level(RvLogLevel level); /* events below it are left out; at first INFO */
/* Pairs of key and value (text; NULL is left out), ended by NULL. */
void rv_log(RvLogLevel level, const char *event, ...) G_GNUC_NULL_TERMINATED;
/* A number as text, good until eight more were asked for in this thread. */
const char *rv_log_int(gint64 number);
/* From now on GLib's messages, those of libraries too, are events: "message", with `from` and `text`. Once in
 * a process. */
void rv_log_take_messages(void);
