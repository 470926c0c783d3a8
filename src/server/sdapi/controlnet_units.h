/* controlnet_units.h - alwayson_scripts: ControlNet's units, in all the spellings that clients send. */
#pragma once
#include "server/sdapi/plan.h"

/* Reads the fields' "alwayson_scripts" into the job. Scripts that are not known are refused, unless they are
 * switched off. */
bool rv_controlnet_add_units(RvStudioJob *job, JsonObject *fields, RvRefusal *refusal);
