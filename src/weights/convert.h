/* convert.h - a model written anew in another precision or layout, and what there is to say about a model.
 *
 * Folders are written in diffusers layout with its names; single files in LDM names. Weights stream from the
 * mapped file to the new one: memory stays small. The output appears whole or not at all. */
#pragma once
#include "weights/model.h"

/* Called now and then with what is done, 0 to 1; false cancels (RV_ERROR_CANCELLED). */
typedef bool (*RvConvertProgress)(void *user, double done);

typedef struct {
    RvDType dtype;              /* RV_F16, RV_BF16 or RV_F32; integers stay what they are */
    RvConvertProgress progress; /* may be NULL */
    void *user;
} RvConvertOptions;

/* Writes `model`, which must be complete (rv_model_check), to `out`: one file if the name ends with
 * ".safetensors", else a folder that does not exist yet. Numbers too large for the precision are an error
 * that names the tensor. */
bool rv_model_convert(const RvModel *model, const char *out, const RvConvertOptions *options, GError **error);

/* One line of JSON for `reverie models info --json`:
 * {"family","variant","prediction","layout","parameters","bytes",
 * "components","extras","missing","wrong","unused"}; a part that model_index.json names and that is not there
 * is among the missing. Free with g_free. */
char *rv_model_info_json(const RvModel *model);

/* The config.json that diffusers or transformers would write for a part; NULL when the model lacks it. Free
 * with g_free. */
char *rv_model_config_json(const RvModel *model, RvPart part);
