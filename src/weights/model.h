/* model.h - a whole model on disk, whatever its layout: its parts, their configs, their tensors.
 *
 * Layouts: a folder as diffusers writes it (model_index.json; parts in text_encoder/, text_encoder_2/, unet/,
 * vae/; variants such as fp16; shards with *.safetensors.index.json), or one .safetensors file in LDM names,
 * or a file or folder that holds one part only. Tensors are found by the names of diffusers and transformers
 * in every case
 * ("down_blocks.0.resnets.0.conv1.weight", "text_model.encoder.layers.0.self_attn.q_proj.weight").
 *
 * A single file does not say its head counts and other settings; they are taken
 *   1. from options.config_dir, or else from a folder beside the file that has the file's name without
 *      ".safetensors", part by part, where <part>/config.json describes exactly the shapes in the file;
 *   2. from the metadata of a file that we converted;
 *   3. from the rules of the families: 8 heads (SD 1.x) or heads 64 wide (2.x, XL), 32 norm groups and so on.
 *
 * Weight files stay mapped until the model is closed; see safetensors.h about replacing files in use.
 * Threads: an open model does not change and may be read from several threads. */
#pragma once
#include "base/array.h"
#include "weights/config.h"
#include "weights/part.h"
#include <glib.h>
#include <stdbool.h>

typedef struct RvModel RvModel;

typedef struct {
    const char *vae;     /* a VAE or TAESD (file or folder) in place of the model's own; NULL: the model's */
    const char *variant; /* "fp16": preferred among a folder's files; NULL: the plain file first */
    const char *config_dir; /* for single files: a folder in diffusers layout with the configs */
    bool partial;           /* open what is there although model_index.json names more */
} RvModelOptions;

typedef enum { RV_FAMILY_SD15, RV_FAMILY_SD21, RV_FAMILY_SDXL } RvFamily;
typedef enum { RV_MODEL_PREDICTION_EPSILON, RV_MODEL_PREDICTION_V } RvModelPrediction;
typedef enum {
    RV_VARIANT_BASE,
    RV_VARIANT_INPAINT, /* UNet input: latent, mask, masked picture's latent */
    RV_VARIANT_PIX2PIX, /* UNet input: latent, picture's latent */
    RV_VARIANT_DEPTH,   /* UNet input: latent, depth */
    RV_VARIANT_REFINER,
    RV_VARIANT_TURBO, /* this and the next two are guessed from names: use them to suggest settings only */
    RV_VARIANT_LIGHTNING,
    RV_VARIANT_LCM,
} RvVariant;

typedef struct {
    RvFamily family;         /* by structure: what code to run */
    const char *family_name; /* "sd15", "sd21", "sdxl", or what model_index.json's "_reverie_family" says */
    RvVariant variant;
    RvModelPrediction prediction;
    bool prediction_stated; /* false: nothing said it, `prediction` is the usual one */
    bool zero_terminal_snr; /* stated by the scheduler's config or a "ztsnr" key */
    bool is_folder;
} RvModelTraits;

/* `options` may be NULL. Errors: NOT_FOUND (no such path, or a part that model_index.json names is missing),
 * INVALID (malformed), UNSUPPORTED (pickle, GGUF, or networks that we cannot run). */
RvModel *rv_model_open(const char *path, const RvModelOptions *options, GError **error);
/* One part from a file or folder of its own: a VAE (either naming, with or without "first_stage_model."), a
 * TAESD (diffusers or original naming; taesd_encoder and taesd_decoder files are found side by side), a
 * ControlNet. RV_PART_NONE takes what it is. */
RvModel *rv_model_open_part(const char *path, RvPart part, GError **error);
void rv_model_close(RvModel *model); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvModel, rv_model_close)

const char *rv_model_path(const RvModel *model);
const RvModelTraits *rv_model_traits(const RvModel *model);
const char *rv_variant_name(RvVariant variant);                     /* "base", "inpaint", ... */
const char *rv_model_prediction_name(RvModelPrediction prediction); /* "epsilon", "v_prediction" */

bool rv_model_has(const RvModel *model, RvPart part);
/* NOT_FOUND with a sentence when the model lacks the part. */
bool rv_model_require(const RvModel *model, RvPart part, GError **error);

/* A part's config; NULL when the model lacks the part. clip: RV_PART_TEXT or RV_PART_TEXT2. */
const RvClipConfig *rv_model_clip_config(const RvModel *model, RvPart part);
const RvUnetConfig *rv_model_unet_config(const RvModel *model);
const RvVaeConfig *rv_model_vae_config(const RvModel *model);
const RvTaesdConfig *rv_model_taesd_config(const RvModel *model);
const RvControlnetConfig *rv_model_controlnet_config(const RvModel *model);

/* The array of a canonical name, borrowed from the model; false when there is none that we can read.
 * Data may be unaligned (safetensors.h). Projections may come as [c, c] or [c, c, 1, 1]. */
bool rv_model_find(const RvModel *model, RvPart part, const char *name, RvArray *out);
/* The same, and its shape must be shape[0..rank) (trailing ones aside): errors name tensor and both shapes.
 */
bool rv_model_get(const RvModel *model, RvPart part, const char *name, int rank, const gint64 *shape,
                  RvArray *out, GError **error);
/* The numbers were copied elsewhere: the pages may go. */
void rv_model_done(const RvModel *model, const RvArray *array);
/* Calls `visit` for each tensor of a part, in no order. */
typedef void (*RvModelVisit)(void *user, const char *name, const RvArray *array);
void rv_model_each(const RvModel *model, RvPart part, RvModelVisit visit, void *user);

/* The folder with vocab.json and merges.txt of RV_PART_TEXT or RV_PART_TEXT2; NULL: none beside the weights.
 */
const char *rv_model_tokenizer(const RvModel *model, RvPart part);
/* scheduler_config.json of a model folder, or NULL. */
const char *rv_model_scheduler(const RvModel *model);

/* Every tensor that the configs ask for against what is there. */
typedef struct {
    GPtrArray *missing; /* "unet/conv_in.weight", also parts: "vae" */
    GPtrArray *wrong;   /* "unet/conv_in.weight: [32, 4, 3, 3] where [32, 9, 3, 3] is needed" */
    GPtrArray *unused;  /* names as the files spell them */
    gint64 parameters;  /* elements of the tensors in use */
} RvModelCheck;
void rv_model_examine(const RvModel *model, RvModelCheck *check);
void rv_model_check_clear(RvModelCheck *check);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RvModelCheck, rv_model_check_clear)
/* RV_ERROR_INVALID that names the first ten missing or wrong tensors; leftovers are no error. */
bool rv_model_check(const RvModel *model, GError **error);
gsize rv_model_bytes(const RvModel *model); /* of all weight files */
