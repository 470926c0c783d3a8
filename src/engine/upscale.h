/* upscale.h - larger pictures: by resampling, or by a network of the library (models/ESRGAN).
 *
 * Files: safetensors of RRDBNet in the old names ("model.0", "model.1.sub.0.RDB1.conv1.0"), the ones between
 * ("RRDB_trunk.0.RDB1.conv1") and the new ("body.0.rdb1.conv1"), or of SRVGGNetCompact; bare or below
 * "params", "params_ema". Colours are red, green, blue, as the networks were trained. Large pictures are
 * worked in overlapping tiles. */
#pragma once
#include "engine/engine.h"
#include "engine/library.h"
#include "media/picture.h"

typedef struct RvUpscalers RvUpscalers;

/* Borrows both; `library` may be NULL. */
RvUpscalers *rv_upscalers_new(RvEngine *engine, const RvLibrary *library);
void rv_upscalers_free(RvUpscalers *upscalers); /* accepts NULL */
gsize rv_upscalers_bytes(const RvUpscalers *upscalers);

/* Whether it is "None", "Lanczos", "Nearest" (any case) or a network of the library. Never a path. */
bool rv_upscalers_know(const RvUpscalers *upscalers, const char *name);
/* To exactly width x height. A network is applied until the picture is as large (three times at most), then
 * Lanczos does the rest. "None" is Lanczos, too. Names may be paths. */
RvPicture *rv_upscalers_run(RvUpscalers *upscalers, const RvPicture *picture, const char *name, int width,
                            int height, GError **error);
