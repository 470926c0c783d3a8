/* pull.h - `reverie models pull`. */
#pragma once
#include <glib.h>
#include <stdbool.h>

extern const GOptionEntry rv_pull_entries[];
/* The short names, for --help; free with g_free. */
char *rv_pull_names(void);
/* Downloads what `text` names, as the options of rv_pull_entries and rv_generate_options say. */
bool rv_models_pull(const char *text, GError **error);
