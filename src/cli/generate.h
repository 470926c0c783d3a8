/* generate.h - the options that txt2img, img2img, video and bench share, and what they turn into. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "cli/commands.h"
#include "engine/pipeline.h"

/* Filled by the option parser; strings are owned. Numbers below their range mean "not given". */
typedef struct {
    char *model, *models_dir, *device, *precision, *vae, *tokenizer, *prediction;
    int threads;
    char *prompt, *negative, *syntax, *seed, *sampler, *schedule, *noise;
    int steps, width, height, count, batch, clip_skip;
    double cfg, strength, eta;
    char *input, *output, *mask, *preview, *soft_settings;
    double mask_blur;
    char *resize, *fill, *hires_upscaler, *refiner;
    gboolean only_masked, mask_blend, soft, tiling;
    int masked_padding, hires_width, hires_height, hires_steps;
    double hires_scale, hires_strength;
    gboolean json, show;
} RvGenerateOptions;

extern RvGenerateOptions rv_generate_options; /* the one that the entries below fill */
extern const GOptionEntry rv_generate_entries[], rv_model_entries[];
extern const GOptionEntry rv_picture_entries[]; /* what a film has no use for */

void rv_generate_options_init(void);
void rv_generate_options_clear(void);

/* The folder or file that --model names: a path, a NAME in --models, $REVERIE_MODELS or beside the binary;
 * NULL names the built-in model. Free with g_free. */
char *rv_find_model(const char *name, const char *models_dir, GError **error);
/* Folders that models are looked for in, in order; NULL-terminated, free with g_strfreev. */
char **rv_model_folders(const char *models_dir);

/* Opens engine and pipeline as the options say. */
bool rv_generate_open(RvEngine **engine, RvPipeline **pipeline, GError **error);
/* The refiner that --refiner names, into *refiner and the request; NULL without one. */
bool rv_generate_open_refiner(RvEngine *engine, RvPipeline **refiner, RvRequest *request, GError **error);
/* Checks the options and writes them into a request that borrows them. */
bool rv_generate_request(RvRequest *request, GError **error);
/* The second pass that the options ask for, or NULL in *hires; `storage` holds it. */
bool rv_generate_hires(RvHires *storage, const RvHires **hires, GError **error);
/* Says so when a negative prompt was given that the (completed) request does not use. */
void rv_generate_note_negative(const RvRequest *request);
/* "out.png" -> "out-2.png"; free with g_free. */
char *rv_numbered_path(const char *path, int number);
