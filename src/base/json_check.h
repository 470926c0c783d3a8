/* json_check.h - what must hold of outside text before a recursive JSON parser may see it.
 *
 * json-glib recurses for every bracket, so that a megabyte of them ends the process; it also reads more than
 * JSON (comments, assignments, strings in single quotes), in which brackets and quotes would hide from a
 * count. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_JSON_MAX_DEPTH 32

/* Whether brackets nest at most RV_JSON_MAX_DEPTH deep and everything outside of strings is made of JSON's
 * own characters. Says nothing about the rest of the grammar; `text` may be NULL when `size` is 0. */
bool rv_json_is_shallow(const char *text, gsize size);
