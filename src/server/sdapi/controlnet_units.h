/* controlnet_units.h - ControlNet's units, in all the spellings that clients send. */
#pragma once
#include "server/sdapi/plan.h"

/* Reads the script's arguments into the job. */
bool rv_controlnet_add_units(RvStudioJob *job, JsonArray *args, RvRefusal *refusal);
