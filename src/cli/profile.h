/* profile.h - where a run's time goes: every op's seconds, by kind, shape and rate. */
#pragma once
#include <stdio.h>

#include "tensor/program.h"

typedef struct RvProfile RvProfile;

/* Watches the device's runs until it is finished. */
RvProfile *rv_profile_new(RvDevice *device);
/* Prints the table, longest first, and frees the profile; accepts NULL. */
void rv_profile_finish(RvProfile *profile, FILE *to);
