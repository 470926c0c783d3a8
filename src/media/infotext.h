/* infotext.h - the generation parameters of a picture in A1111's text form:
 *
 *     PROMPT
 *     Negative prompt: NEGATIVE
 *     Steps: 20, Sampler: Euler a, ..., Size: 512x512, Version: reverie
 *
 * Values are kept as text exactly as they are written; what can be read back: prompts lose spaces at both
 * ends of each line (the form's own rule), values lose nothing. */
#pragma once
#include "base/error.h"

typedef struct {
    char *key, *value;
} RvInfotextPair;

typedef struct {
    char *prompt;     /* never NULL */
    char *negative;   /* never NULL; "" when there is none */
    GPtrArray *pairs; /* of RvInfotextPair *, in the order in which they were set or read */
} RvInfotext;

RvInfotext *rv_infotext_new(const char *prompt, const char *negative); /* both may be NULL */
void rv_infotext_free(RvInfotext *info);                               /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvInfotext, rv_infotext_free)

/* A key that is set again keeps its place. A NULL value removes the key. */
void rv_infotext_set(RvInfotext *info, const char *key, const char *value);
void rv_infotext_set_integer(RvInfotext *info, const char *key, gint64 value);
/* As Python writes a float: the shortest digits that read back to the same double, with ".0" when whole. */
void rv_infotext_set_number(RvInfotext *info, const char *key, double value);
void rv_infotext_set_size(RvInfotext *info, const char *key, int width, int height);
const char *rv_infotext_get(const RvInfotext *info, const char *key); /* borrowed; NULL when absent */
bool rv_infotext_get_size(const RvInfotext *info, const char *key, int *width, int *height);

/* A1111's known keys come in its order, others as they were set, "Version" and "User" last. Free with g_free.
 */
char *rv_infotext_write(const RvInfotext *info);
/* Never fails: whatever is not understood is prompt. Bytes that are no UTF-8 become U+FFFD, pairs after the
 * thousandth are dropped. */
RvInfotext *rv_infotext_parse(const char *text);
/* Turns what was parsed into what A1111's PNG info shows: "Size: 8x4" becomes "Size-1" and "Size-2", an old
 * sampler name with a schedule in it ("DPM++ 2M Karras") becomes "Sampler" and "Schedule type", and absent
 * keys with a known default are set. */
void rv_infotext_expand(RvInfotext *info);

/* repr() of a Python float. Free with g_free. */
char *rv_infotext_number(double value);
