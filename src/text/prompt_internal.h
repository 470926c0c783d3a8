/* prompt_internal.h - the steps of prompt parsing, one file each. */
#pragma once
#include "text/prompt.h"

/* emphasis.c: appends RvPromptRun to a new GArray; at least one. `is_explicit`: only "(text:number)". */
GArray *rv_prompt_parse_emphasis(const char *text, bool is_explicit, GError **error);

/* blend.c: members (RvPromptMember) of text in the form ("a", "b").blend(0.3, 0.7) or .and(), else one. */
GArray *rv_prompt_runs_new(void);
/* Appends one run; takes `text`. */
void rv_prompt_runs_take(GArray *runs, char *text, double weight, bool is_break);
GPtrArray *rv_prompt_parse_members(const char *text, RvPromptSyntax syntax, GError **error);

/* schedule.c: entries with `end_step` and `text` set, `members` NULL. *budget is what all entries of the
 * prompt may still take, in bytes of text; it is reduced. */
GPtrArray *rv_prompt_parse_schedule(const char *text, const RvPromptOptions *options, gsize *budget,
                                    GError **error);
RvPromptEntry *rv_prompt_entry_new(int end_step, char *text); /* takes `text` */
GPtrArray *rv_prompt_entries_new(void);

/* Length of a number like "-1", ".5", "2." that `text` begins with, 0 if there is none. */
gsize rv_prompt_number_length(const char *text);
bool rv_prompt_is_word(gunichar c); /* regular expressions' \w */
/* Finds `word` between word boundaries at or after `from`; NULL when there is none. */
const char *rv_prompt_find_word(const char *text, const char *from, const char *end, const char *word);
