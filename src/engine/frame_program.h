/* frame_program.h - the real-time frame as one program: a camera's bytes in, a picture's bytes out.
 *
 * Slots, all at fixed addresses:
 *   in   rgb           U8  [1,h,w,3]
 *        noise.R       F32 [1,lh,lw,c]: what the noise counts in the input of evaluation R, and, last, in the
 * result coefficients  F32: the sampler's sums, as rv_frame_coefficients() lists them kv.I          keys and
 * values of the prompt (models/unet.h), a row per term of the guided sum tR.I          the timestep's
 * projections of evaluation R, likewise factors, zeros  with several terms: what each counts, F32; and zeros
 * [terms,lh,lw,c] out  picture       U8  [1,h,w,3] latent        F32 [1,lh,lw,c], the result, scaled for the
 * UNet Nothing that is the same for every frame is computed in it. */
#pragma once
#include "engine/pipeline_internal.h"
#include "sampling/linear.h"

/* What decides a program's ops: two frames of one shape differ by the bytes in the slots only. Of the plan
 * only the number of evaluations counts, and which numbers are zero. */
typedef struct {
    int width, height; /* pixels */
    int tokens, terms; /* of the guided sum */
    RvLinearPlan plan;
} RvFrameShape;

char *rv_frame_shape_key(const RvFrameShape *shape); /* free with g_free */
/* The numbers of `from` where the plan's are not zero, row by row; returns how many. */
#define RV_FRAME_COEFFICIENTS ((RV_LINEAR_EVALUATIONS + 1) * (RV_LINEAR_EVALUATIONS + 1))
int rv_frame_coefficients(const RvLinearPlan *plan, const RvLinearPlan *from,
                          float coefficients[RV_FRAME_COEFFICIENTS]);

/* Recorded, not yet compiled. */
RvProgram *rv_frame_program_new(const RvPipeline *pipeline, const RvFrameShape *shape);
