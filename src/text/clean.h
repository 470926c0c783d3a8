/* clean.h - text as CLIP's tokenizer wants it before it is cut into words. */
#pragma once
#include <glib.h>

/* Code points of UTF-8 text, normalised as transformers' CLIPTokenizer does: Unicode form NFC, every
 * run of white space one space, lower case letter by letter (U+0130 becomes two). Each byte that is not
 * UTF-8 becomes U+FFFD. Takes time linear in `length`; runs of combining marks are sorted.
 * Returns a new GArray of gunichar. */
GArray *rv_text_clean(const char *text, gsize length);

/* Unicode white space as regular expressions' \s has it: categories Zs, Zl, Zp, U+0009-000D, U+0085. */
gboolean rv_text_is_space(gunichar c);
