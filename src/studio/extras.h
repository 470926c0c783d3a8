/* extras.h - enlarging finished pictures (A1111's "extras"). */
#pragma once
#include "engine/upscale.h"
#include "studio/unit.h"

/* One picture of an extras job, enlarged as the job says. RV_ERROR_NOT_FOUND: no such upscaler;
 * RV_ERROR_USAGE: too large. */
RvPicture *rv_extras_upscale(const RvStudioJob *job, const RvPicture *picture, RvUpscalers *upscalers,
                             GError **error);
/* A1111's infotext of such a picture; free with g_free. */
char *rv_extras_infotext(const RvStudioJob *job, const RvPicture *picture);
