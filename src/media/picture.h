/* picture.h - a picture on the host, and its way in from and out to files.
 *
 * Functions are thread-safe as long as no two threads change one picture. Every failure leaves no
 * partial picture and no file behind. What a file is, its content says, never its name. */
#pragma once
#include "base/error.h"

typedef struct {
    int width, height; /* both at least 1 */
    guint8 *rgb;       /* [height, width, 3], sRGB, rows without padding */
    guint8 *alpha;     /* [height, width], 255 is opaque, colours not multiplied by it; NULL: all opaque */
    GHashTable
        *texts; /* key -> text, both UTF-8: PNG text chunks by keyword, EXIF as "UserComment"; never NULL */
} RvPicture;

typedef struct {
    gint64 pixels;    /* width x height; 0 means 64 x 1024 x 1024 */
    gsize file_bytes; /* 0 means 512 MiB */
    gsize text_bytes; /* all texts together, unpacked; 0 means 4 MiB */
} RvPictureLimits;

/* Pixels are not set. Fails with RV_ERROR_NO_MEMORY only. */
RvPicture *rv_picture_new(int width, int height, bool has_alpha, GError **error);
void rv_picture_free(RvPicture *picture); /* accepts NULL */
RvPicture *rv_picture_copy(const RvPicture *picture, GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvPicture, rv_picture_free)

/* PNG, JPEG, WebP (of an animation the first frame), binary PPM and PGM. 16-bit samples are rounded to 8,
 * CMYK becomes RGB, EXIF orientation is applied, gamma and colour profiles are ignored (as in Pillow).
 * `limits` may be NULL. A size over the limit is refused before anything of that size is allocated. */
RvPicture *rv_picture_load(const char *path, const RvPictureLimits *limits, GError **error);
/* The same from memory; `name` stands for the path in messages. */
RvPicture *rv_picture_load_bytes(const void *data, gsize size, const char *name,
                                 const RvPictureLimits *limits, GError **error);
/* The generation parameters that the file carried: EXIF UserComment, else PNG `parameters`, else NULL.
 * Borrowed. */
const char *rv_picture_infotext(const RvPicture *picture);

typedef enum { RV_PICTURE_PNG, RV_PICTURE_JPEG, RV_PICTURE_WEBP } RvPictureFormat;

typedef struct {
    const char *infotext;       /* UTF-8. PNG: text `parameters` (tEXt when Latin-1 holds it, else iTXt);
                                 * JPEG and WebP: EXIF UserComment. NULL or "" writes none */
    const char *postprocessing; /* UTF-8. PNG: a text of that name, where A1111 says how a picture was
                                 * enlarged; others: not written */
    int quality;                /* JPEG and WebP, 1 to 100; 0 means 90 */
    bool lossless;              /* WebP */
    int png_level;              /* zlib level 1 to 9; 0 means 6 */
} RvPictureSaveOptions;

/* The format that the ending of `path` names (png, jpg, jpeg, webp in any case); another ending fails
 * with RV_ERROR_USAGE. */
bool rv_picture_format_from_path(const char *path, RvPictureFormat *format, GError **error);
/* The same picture and options give the same bytes. Alpha is kept by PNG and WebP, dropped by JPEG.
 * `options` may be NULL. */
GBytes *rv_picture_encode(const RvPicture *picture, RvPictureFormat format,
                          const RvPictureSaveOptions *options, GError **error);
/* Writes beside `path` under a temporary name and renames, so that `path` is whole or untouched. */
bool rv_picture_save(const RvPicture *picture, const char *path, const RvPictureSaveOptions *options,
                     GError **error);

/* Pillow's resampling filters; except for nearest they widen when shrinking (antialiasing) and their
 * 8-bit results equal Pillow's. */
typedef enum { RV_FILTER_NEAREST, RV_FILTER_BILINEAR, RV_FILTER_BICUBIC, RV_FILTER_LANCZOS } RvFilter;

/* Colour and alpha are resized independently of each other; texts are kept. */
RvPicture *rv_picture_resize(const RvPicture *picture, int width, int height, RvFilter filter,
                             GError **error);
/* The rectangle must lie inside the picture (a bug otherwise). */
RvPicture *rv_picture_crop(const RvPicture *picture, int x, int y, int width, int height, GError **error);
/* Keeps the aspect: resizes until width x height is covered, then cuts the middle out (A1111's "crop and
 * resize"). */
RvPicture *rv_picture_cover(const RvPicture *picture, int width, int height, RvFilter filter, GError **error);
