/* upscaler_file.h - an upscaler's weights under BasicSR's names, whatever the file calls them. */
#pragma once
#include "models/upscaler.h"

typedef struct RvUpscalerFile RvUpscalerFile;

/* UNSUPPORTED when the file holds no network that we know, INVALID when its shapes are impossible. */
RvUpscalerFile *rv_upscaler_file_open(const char *path, GError **error);
void rv_upscaler_file_close(RvUpscalerFile *file); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvUpscalerFile, rv_upscaler_file_close)
const RvUpscalerConfig *rv_upscaler_file_config(const RvUpscalerFile *file);
RvWeightSource rv_upscaler_file_weights(RvUpscalerFile *file);
