/* save.h - names of pictures on disk. */
#pragma once
#include "studio/name_pattern.h"

/* How a file is called within its folder, as A1111 counts: NNNNN-TEXT, or with a prefix PREFIX-NNNN-TEXT. */
typedef struct {
    const char *prefix; /* "grid"; NULL: none */
    const char *text;   /* a plain name; "": the number alone */
    bool no_number;     /* TEXT alone; a number follows it where there is one already */
} RvSaveName;

/* Writes into the folder, which is made when it is missing, under the next number that is free. `outputs`, if
 * not NULL, is the folder that it lies below: INVALID when the way from there leads over a link. The path,
 * free with g_free. Any thread. */
char *rv_save_named(const char *outputs, const char *folder, const RvSaveName *name, GBytes *bytes,
                    const char *ending, GError **error);
/* The path of the same picture, written just before a crash that forgot it, taken out of `leftovers` (char *;
 * may be NULL), for nobody else to take; NULL: there is none. */
char *rv_save_take_leftover(GPtrArray *leftovers, GBytes *bytes);
/* "png", "jpg" or "webp", by the content. */
const char *rv_save_ending(GBytes *bytes);
