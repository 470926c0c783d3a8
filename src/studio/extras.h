/* extras.h - enlarging finished pictures (A1111's "extras"). */
#pragma once
#include "engine/upscale.h"
#include "studio/unit.h"

/* One picture of an extras job, enlarged as the job says. RV_ERROR_NOT_FOUND: no such upscaler;
 * RV_ERROR_USAGE: too large. */
RvPicture *rv_extras_upscale(const RvStudioJob *job, const RvPicture *picture, RvUpscalers *upscalers,
                             GError **error);
/* What such a picture says: what it said before, then how it was enlarged. Free with g_free. */
char *rv_extras_infotext(const RvStudioJob *job, const RvPicture *picture);
/* Where in that text the latter begins ("Postprocess upscale by: 2.0, ..."); its end when nothing was. */
const char *rv_extras_postprocessing(const RvStudioJob *job, const char *infotext);
