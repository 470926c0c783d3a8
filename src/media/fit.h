/* fit.h - cuts the middle out of an 8-bit frame and brings it to a working size, for live video.
 *
 * The largest centred rectangle of the target's aspect is taken (a square for a square target), then
 * resampled: by area where the picture shrinks, bilinearly where it grows. Unlike rv_picture_resize this
 * is made for a size that repeats: tables are kept between calls, nothing is allocated while sizes stay,
 * and weights have 8 bits, so results may differ from exact arithmetic by one or two of 255. */
#pragma once
#include <glib.h>

typedef struct {
    int x, y, width, height;
} RvRect;

/* The largest centred rectangle of width x height with the aspect of to_width x to_height. All sizes >= 1. */
RvRect rv_fit_rect(int width, int height, int to_width, int to_height);

typedef struct RvFit RvFit; /* tables; use by one thread at a time */

RvFit *rv_fit_new(void);
void rv_fit_free(RvFit *fit); /* accepts NULL */
/* `from` is [height, width, 3] with `stride` bytes a row; `to` is [to_height, to_width, 3], packed. */
void rv_fit_resize(RvFit *fit, const guint8 *from, gsize stride, int width, int height, guint8 *to,
                   int to_width, int to_height);
/* The same of one sample a pixel; both packed. */
void rv_fit_resize_plane(RvFit *fit, const guint8 *from, int width, int height, guint8 *to, int to_width,
                         int to_height);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvFit, rv_fit_free)
