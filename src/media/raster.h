/* raster.h - the samples of a live frame: RGB, or the planes that a JPEG holds inside.
 *
 * Planes are those of JFIF (ITU-T T.871) with chroma at half resolution both ways: luma [height, width], then
 * blue and red difference [height/2, width/2], 8 bits in full range, 128 for no colour, one behind the other
 * without padding; width and height are even. Whatever is linear in the colours (mixing, inverting,
 * mirroring) can be done on them as on RGB, with half as many bytes, and a frame that comes and goes as JPEG
 * is spared two conversions and resizing its chroma twice.
 *
 * Thread-safe as long as no two threads change one raster. */
#pragma once
#include "media/picture.h"

typedef struct {
    int width, height;
    RvPicture *picture; /* RGB without alpha; NULL: planes */
    guint8 *planes[3];  /* luma, Cb, Cr: parts of one allocation; NULL with a picture */
} RvRaster;

/* Planes whose samples are not set. RV_ERROR_NO_MEMORY only. */
RvRaster *rv_raster_new_planes(int width, int height, GError **error);
/* Takes `picture`; NULL gives NULL. */
RvRaster *rv_raster_new_picture(RvPicture *picture);
void rv_raster_free(RvRaster *raster); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvRaster, rv_raster_free)
RvRaster *rv_raster_copy(const RvRaster *raster, GError **error);

/* All samples, of whatever kind, and how many there are. */
guint8 *rv_raster_samples(const RvRaster *raster, gsize *size);
/* Into `rgb`, [height, width, 3], packed; the raster has planes. Four pixels have one chroma, unsmoothed. */
bool rv_raster_write_rgb(const RvRaster *raster, guint8 *rgb, GError **error);
/* Takes the raster and gives it as RGB; on failure both are gone. */
RvPicture *rv_raster_to_picture(RvRaster *raster, GError **error);

/* In place: 255 - x of red, green and blue. On planes exact but for their own rounding. */
void rv_raster_invert(RvRaster *raster);
/* In place: left and right change places. */
void rv_raster_mirror(RvRaster *raster);
/* In place: `share` (0 to 1) of itself, the rest from `other`, which is of the same size and kind. */
void rv_raster_mix(RvRaster *raster, const RvRaster *other, double share);
