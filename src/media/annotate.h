/* annotate.h - pictures for ControlNets to look at: edges, blurred copies, drawn poses.
 *
 * The web UI's preprocessors that need no network. Edges are Canny's (1986) as OpenCV computes them: Sobel
 * 3x3 on each colour, the strongest colour of a pixel, |dx| + |dy|, thinning along the gradient, two
 * thresholds. Poses are drawn as the openpose annotator draws them: limbs as ellipses at 60 % of their
 * colour, joints as circles. */
#pragma once
#include "media/picture.h"

/* "none", "canny", "blur" ("blur_gaussian"), "invert" ("invert (from white bg & black line)"), "tile"
 * ("tile_resample", "tile_colorfix" is not known), "openpose" (the picture is a map already: as "none").
 * USAGE for others. Thresholds at or below 0 are the defaults: canny 100 and 200; blur sigma 9; tile 1 (the
 * factor by which the picture shrinks). The result has the picture's size and no transparency. */
RvPicture *rv_annotate(const RvPicture *picture, const char *module, double threshold_a, double threshold_b,
                       GError **error);
bool rv_annotate_knows(const char *module);
/* The name as A1111 shows it, and its thresholds as they are used. */
const char *rv_annotate_label(const char *module);
const char *const *rv_annotate_modules(void); /* NULL-terminated */

RvPicture *rv_canny(const RvPicture *picture, double low, double high, GError **error);

/* JSON of openpose: {"people": [{"pose_keypoints_2d": [x, y, confidence, ...]}], "canvas_width",
 * "canvas_height"}, or a list whose first entry is that; coordinates in pixels of the canvas, or 0 to 1. 18
 * (COCO) or 25 keypoints for each body; hands and faces are drawn as points. INVALID with the entry's name
 * otherwise. */
RvPicture *rv_openpose_draw(const char *json, gssize length, int width, int height, GError **error);

/* Fits the picture inside width x height and stretches its edges outwards to the rest. */
RvPicture *rv_picture_fill(const RvPicture *picture, int width, int height, RvFilter filter, GError **error);
