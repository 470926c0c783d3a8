/* picture_text.h - pictures as text in JSON: base64, with or without "data:image/...;base64," before it. */
#pragma once
#include "media/picture.h"

/* The bytes that the text stands for. RV_ERROR_INVALID, in A1111's words, for anything but base64;
 * RV_ERROR_USAGE for addresses: nothing is fetched. */
GBytes *rv_picture_text_decode(const char *text, GError **error);
RvPicture *rv_picture_text_load(const char *text, GError **error);

typedef struct {
    RvPictureFormat format;
    int quality; /* JPEG and WebP; 0: 90 */
    bool lossless;
} RvPictureStyle;

/* "png", "jpg", "jpeg" or "webp" in any case; false for others. */
bool rv_picture_style_parse(const char *name, RvPictureStyle *style);
/* Raw base64, without a "data:" prefix; `infotext` may be NULL. Free with g_free. */
char *rv_picture_text_encode(const RvPicture *picture, const RvPictureStyle *style, const char *infotext,
                             GError **error);
