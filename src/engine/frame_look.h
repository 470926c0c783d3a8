/* frame_look.h - how frames are drawn: everything of a request but its picture, ready for the slots of a
 * frame program. */
#pragma once
#include "engine/frame_program.h"
#include "engine/run_settings.h"

typedef struct {
    RvFrameShape shape;
    RvRunSettings settings;
    GArray *terms;    /* RvGuidanceTerm, whose contexts are held here */
    guint generation; /* of the UNet's weights, which LoRAs change */
    double cfg_scale;
    RvNoiseKind noise;
    guint64 seed, later_seed; /* of the first draw, and of those after it where it is another generator's */
    RvNoiseStart start;
} RvFrameLook;

/* RV_ERROR_UNSUPPORTED as rv_framer_check(). Encodes the request's texts unless they are given encoded. */
bool rv_frame_look_init(RvFrameLook *look, RvPipeline *pipeline, const RvRequest *request, GError **error);
void rv_frame_look_clear(RvFrameLook *look); /* also of zeros */
void rv_frame_look_copy(RvFrameLook *to, const RvFrameLook *from);
/* Without looking at texts: whether the request is of the kind that a program can draw. */
bool rv_frame_look_check(RvPipeline *pipeline, const RvRequest *request, GError **error);

bool rv_frame_look_same_texts(const RvFrameLook *a, const RvFrameLook *b);
bool rv_frame_look_same_times(const RvFrameLook *a, const RvFrameLook *b);
bool rv_frame_look_same_noise(const RvFrameLook *a, const RvFrameLook *b);
bool rv_frame_look_same_factors(const RvFrameLook *a, const RvFrameLook *b);
/* Of one picture, with the look's terms. `positive` and `negative` are not set. */
RvGuidance rv_frame_look_guidance(const RvFrameLook *look, const RvPipeline *pipeline);
/* What goes into "coefficients" and "factors". */
int rv_frame_look_coefficients(const RvFrameLook *look, float coefficients[RV_FRAME_COEFFICIENTS]);
/* The noise parts as pixels, [evaluations + 1][h,w,c]; free with g_free. NULL on failure. */
float *rv_frame_look_noise(const RvFrameLook *look, GError **error);
