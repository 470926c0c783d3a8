/* grid.h - several pictures in one, with words beside them. Any thread. */
#pragma once
#include "media/picture.h"
#include "server/sdapi/script.h"

/* As A1111 lays out a batch: as square as it gets, wider rather than higher. */
int rv_grid_columns(int count);
/* Rows of `columns` pictures in cells of the largest one's size, `margin` pixels between; what is left over
 * is black. */
RvPicture *rv_grid_new(const GPtrArray *pictures, int columns, int margin, GError **error);
/* The same on white, with a text over each column and beside each row; NULL members are left out. */
typedef struct {
    const char *const *columns; /* as many as there are columns */
    const char *const *rows;
    const char *title; /* over everything; may be NULL */
    int margin;
} RvGridLabels;
RvPicture *rv_grid_new_labelled(const GPtrArray *pictures, int columns, const RvGridLabels *labels,
                                GError **error);

/* A1111's for a batch: as its options n_rows and grid_prevent_empty_spots say. */
int rv_grid_columns_as(int count, int batch_size, JsonObject *options);

/* A picture that a script made, encoded as PNG; takes nothing. `keep` as its member, static; `seed` for its
 * name. */
RvScriptPicture *rv_script_picture_new(const RvPicture *picture, const char *infotext, const char *keep,
                                       gint64 seed, GError **error);
/* The file of one that was made, in the format that the option of this name says. */
GBytes *rv_script_picture_file(const RvScriptPicture *picture, JsonObject *options, const char *format_option,
                               GError **error);
RvPicture *rv_script_picture_load(const RvScriptPicture *picture, GError **error);
