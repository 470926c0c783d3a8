/* hires.h - the second pass of a hires run: a finished small latent, enlarged, becomes the start of a large
 * one.
 *
 * A1111's rules: the second pass runs exactly as many steps as it is asked for (its schedule is the longer
 * one of which they are the end), with new generators of the same seeds; a size given as both sides is
 * covered, then cut. */
#pragma once
#include "engine/pass.h"

typedef struct {
    int width, height;       /* of the result, pixels */
    int up_width, up_height; /* what the picture is enlarged to before it is cut */
} RvHiresSize;

/* USAGE when the result is no size that we draw. */
bool rv_hires_size(const RvRequest *request, int factor, RvHiresSize *size, GError **error);
/* The request of the second pass, which borrows the first one's strings, and its settings. */
bool rv_hires_request(const RvPipeline *pipeline, const RvRequest *request, const RvHiresSize *size,
                      RvRequest *second, RvRunSettings *settings, GError **error);
/* The pipeline of the second pass. */
RvPipeline *rv_hires_pipeline(RvPipeline *pipeline, const RvRequest *request);
/* second->start from the first pass's result, or from the picture that stands for it. */
bool rv_hires_enlarge(RvPass *first, const RvHiresSize *size, RvPass *second, GError **error);
