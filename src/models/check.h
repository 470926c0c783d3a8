/* check.h - private to this folder: a config comes from an outside file, so its numbers are bounded
 * before loops and products are made of them. */
#pragma once
#include "tensor/program.h"

/* Far above any known model; products of two of these fit an int. */
#define RV_MAX_CHANNELS 16384
#define RV_MAX_DEPTH 64

/* False, and a failure of the program naming the field, unless min <= value <= max. */
bool rv_check_field(RvProgram *program, const char *field, int value, int min, int max);
