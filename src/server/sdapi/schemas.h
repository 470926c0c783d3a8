/* schemas.h - the bodies and queries that the picture API reads, as tables (field.h). Names, types and
 * defaults are those of AUTOMATIC1111's web UI 1.10. */
#pragma once
#include "server/sdapi/field.h"

/* What one request may ask for at the most; more is a 422. */
#define RV_API_MAX_SIDE 4096
#define RV_API_MAX_BATCH 16
#define RV_API_MAX_COUNT 256 /* batches */
#define RV_API_MAX_PICTURES 512
#define RV_API_MAX_STEPS 500
#define RV_API_MAX_INPUTS 64 /* pictures in one request */

extern const RvFieldSet rv_schema_txt2img, rv_schema_img2img, rv_schema_extras_single, rv_schema_extras_batch,
    rv_schema_png_info, rv_schema_interrogate, rv_schema_progress, rv_schema_internal_progress,
    rv_schema_detect, rv_schema_free, rv_schema_openai_images, rv_schema_openai_edits;

/* One unit of alwayson_scripts.ControlNet.args. */
extern const RvFieldSet rv_schema_controlnet_unit;
extern const RvFieldSet rv_schema_soft_inpainting; /* its arguments in their order */
