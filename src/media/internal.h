/* internal.h - what the codecs share; not for other folders. */
#pragma once
#include "media/picture.h"

/* Outside bytes being decoded. */
typedef struct {
    const guint8 *data;
    gsize size;
    const char *name;       /* for messages */
    RvPictureLimits limits; /* no zeros left */
} RvPictureSource;

bool rv_picture_check_size(const RvPictureSource *source, gint64 width, gint64 height, GError **error);
/* Copies [height, width, 4] to the planes of `picture`, which must have alpha. */
void rv_picture_set_rgba(RvPicture *picture, const guint8 *rgba);
/* Reads a TIFF block (with or without "Exif\0\0" before it): returns the orientation (1 to 8, 1 when it says
 * none) and puts UserComment into the texts of `picture`. Malformed blocks are ignored. */
int rv_exif_read(const guint8 *data, gsize size, RvPicture *picture, gsize text_limit);
/* A big-endian TIFF block with UserComment, without "Exif\0\0". */
GByteArray *rv_exif_build(const char *user_comment);
/* Applies an EXIF orientation in place (may exchange width and height). */
bool rv_picture_orient(RvPicture *picture, int orientation, GError **error);

RvPicture *rv_png_decode(const RvPictureSource *source, GError **error);
/* Walks the chunks for tEXt, zTXt, iTXt and eXIf (orientation, 1 when none). */
bool rv_png_read_texts(const RvPictureSource *source, RvPicture *picture, int *orientation, GError **error);
RvPicture *rv_jpeg_decode(const RvPictureSource *source, GError **error);
RvPicture *rv_webp_decode(const RvPictureSource *source, GError **error);
RvPicture *rv_pnm_decode(const RvPictureSource *source, GError **error);

GBytes *rv_png_encode(const RvPicture *picture, const RvPictureSaveOptions *options, GError **error);
GBytes *rv_jpeg_encode(const RvPicture *picture, const RvPictureSaveOptions *options, GError **error);
GBytes *rv_webp_encode(const RvPicture *picture, const RvPictureSaveOptions *options, GError **error);

/* Resamples [height, width, channels]; nearest included. NULL when memory is short. */
guint8 *rv_resample(const guint8 *from, int from_width, int from_height, int channels, int to_width,
                    int to_height, RvFilter filter);
