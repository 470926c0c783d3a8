/* mask.h - a grey plane that says where a picture may change: 255 change, 0 keep. */
#pragma once
#include "media/picture.h"

typedef struct {
    int width, height;
    guint8 *values; /* [height, width] */
} RvMask;

RvMask *rv_mask_new(int width, int height, GError **error); /* values are not set */
void rv_mask_free(RvMask *mask);                            /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvMask, rv_mask_free)

/* A picture with transparency gives its alpha, 255 where above 128 and else 0; any other its luma
 * (ITU-R 601, Pillow's mode "L"). */
RvMask *rv_mask_from_picture(const RvPicture *picture, GError **error);
RvMask *rv_mask_resize(const RvMask *mask, int width, int height, RvFilter filter, GError **error);
RvMask *rv_mask_crop(const RvMask *mask, int x, int y, int width, int height, GError **error);
void rv_mask_invert(RvMask *mask);
/* Gaussian of the given sigmas in pixels, along x, then y: 2 * int(2.5 * sigma + 0.5) + 1 taps, mirrored at
 * the borders (A1111's mask blur over OpenCV). A sigma of 0 or below leaves that direction alone. */
bool rv_mask_blur(RvMask *mask, double sigma_x, double sigma_y, GError **error);
