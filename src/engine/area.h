/* area.h - the picture that an image-to-image run starts from: fitted to the working size, cut to the mask's
 * surroundings, filled inside of the mask; and the way back.
 *
 * A1111's rules: with only_masked the mask's bounding box grows by the padding, then to the working size's
 * aspect, and is worked at the full size; the result is pasted through the blurred mask. */
#pragma once
#include "engine/request.h"

typedef struct {
    RvPicture *init;     /* [height, width] of the request, opaque; larger than that with RV_RESIZE_LATENT */
    RvPicture *known;    /* `init` before it was filled; NULL without a mask or at another size */
    RvMask *mask;        /* at the request's size, blurred; NULL without one */
    RvMask *latent_mask; /* the request's, at that size; NULL without one */
    bool is_cut;         /* a part of the request's picture: paste the results */
    int x, y, width, height; /* of that part */
    RvPicture *whole;        /* the request's picture, opaque, with is_cut */
    RvMask *whole_mask;      /* blurred, with is_cut */
} RvArea;

/* The picture brought to that size; RV_RESIZE_LATENT stretches it. */
RvPicture *rv_area_fit(const RvPicture *picture, RvResizeMode mode, int width, int height, GError **error);
/* All NULL for a request without a picture. */
bool rv_area_init(RvArea *area, const RvRequest *request, int factor, GError **error);
void rv_area_clear(RvArea *area);
/* The whole picture with the result in its place (with is_cut), through `mask` (of the result's size; NULL:
 * through the request's). */
RvPicture *rv_area_paste(const RvArea *area, const RvPicture *result, const RvMask *mask, GError **error);
