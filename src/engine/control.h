/* control.h - ControlNets beside the denoiser: which act at a step, and how much.
 *
 * Weights over the depth of the network follow the web UI's extension: "balanced" counts every residual
 * alike; the two other modes let the k-th of n count 0.825^(n-k), and "control" leaves the negative prompt
 * unsteered. */
#pragma once
#include "engine/engine.h"
#include "engine/library.h"
#include "engine/request.h"
#include "models/unet.h"
#include "weights/config.h"

typedef struct RvControlNet RvControlNet;

/* One unit of a run. */
typedef struct {
    RvControlNet *net; /* borrowed from the pipeline's RvControls */
    float *hint;       /* [height, width, 3] in 0 to 1, at the run's size */
    double weight, start, end;
    RvControlMode mode;
    char *infotext; /* "Module: canny, Model: name [hash], Weight: 1.0, ..." */
} RvControlUnit;

typedef struct {
    RvControlUnit units[RV_MAX_CONTROLS];
    int count;
    int evaluations;   /* of the run, for shares of it */
    int width, height; /* of latents */
} RvControlSet;

void rv_control_set_clear(RvControlSet *set);
/* The units that act at an evaluation, for rows of the negative prompt or of the others: indices into
 * `active`; returns their number. `set` may be NULL. */
int rv_control_active(const RvControlSet *set, int evaluation, bool is_negative, int active[RV_MAX_CONTROLS]);
/* Whether the negative prompt's rows differ from the others in it. */
bool rv_control_splits(const RvControlSet *set, int evaluation);

/* The ControlNets of a pipeline: opened when first asked for, the least recently used given up. */
typedef struct RvControls RvControls;
RvControls *rv_controls_new(RvEngine *engine, const RvUnetConfig *unet, const RvLibrary *library);
void rv_controls_free(RvControls *controls); /* accepts NULL */
gsize rv_controls_bytes(const RvControls *controls);

/* Opens the request's ControlNets, fits and annotates their pictures for width x height pixels, and appends
 * the maps (RvPicture) to `maps`. `is_second`: the second pass of a hires run. */
bool rv_controls_prepare(RvControls *controls, const RvRequest *request, int width, int height,
                         bool is_second, RvControlSet *set, GPtrArray *maps, GError **error);

/* What the ControlNet reads: as the UNet's inputs, NHWC rows. */
typedef struct {
    int rows, height, width, tokens;
    const float *pixels; /* [rows, height, width, pixel_channels], of which it takes the first */
    int pixel_channels;
    float timestep;
    const float *context;  /* [rows, tokens, cross_attention_dim] */
    const float *time_ids; /* one row; NULL: none */
    const float *pooled;   /* [rows, pooled_dim]; NULL: none */
    bool tiling;           /* convolutions wrap around */
} RvControlInputs;

/* Computes the residuals of a unit and puts them, with their weights, into the inputs "control.SET.N" and
 * "control.SET.scale.N" of a UNet's program (rv_control_record_inputs). */
bool rv_control_run(const RvControlUnit *unit, const RvControlInputs *inputs, RvProgram *unet, int set,
                    GError **error);
/* Declares those inputs for `sets` units. */
void rv_control_record_inputs(RvProgram *unet, const RvUnetConfig *config, int rows, int height, int width,
                              int sets, RvUnetResiduals *residuals);
double rv_control_flops(const RvControlNet *net); /* since it was opened */
