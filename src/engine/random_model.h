/* random_model.h - the full-size shapes of the families, for runs with random weights. */
#pragma once
#include "weights/model.h"

typedef struct {
    RvModelTraits traits;
    RvClipConfig text, text2;
    bool has_text2;
    RvUnetConfig unet;
    RvVaeConfig vae;
    RvTaesdConfig taesd;
    bool is_tiny_usual; /* TAESD is what the family is run with here, as in the installation */
} RvRandomModel;

/* family: "sd15", "sd21", "sdxl" or "mini"; RV_ERROR_USAGE otherwise. */
bool rv_random_model_init(RvRandomModel *model, const char *family, GError **error);
