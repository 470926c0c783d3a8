/* scheduler_file.h - a model folder's scheduler_config.json as the sampler's configuration. */
#pragma once
#include "sampling/schedule.h"

/* Fails with NOT_FOUND, INVALID (the file and the entry are named) or UNSUPPORTED. */
bool rv_scheduler_config_read(RvSchedulerConfig *config, const char *path, GError **error);
