/* always_on.h - the scripts of alwayson_scripts: ControlNet and Soft Inpainting. */
#pragma once
#include "media/infotext.h"
#include "server/sdapi/plan.h"

/* Reads the fields' "alwayson_scripts" and "controlnet_units" into the job, whose other fields are set.
 * Scripts that are not known are refused, unless they are switched off or, as A1111's own Refiner, Sampler
 * and Seed, do nothing over the API. */
bool rv_always_on_apply(RvStudioJob *job, JsonObject *fields, RvRefusal *refusal);

/* Infotext's settings of such scripts as one of the field `alwayson_scripts`; nothing without them. */
void rv_always_on_from_infotext(const RvInfotext *info, JsonObject *fields);
