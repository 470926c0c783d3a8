/* framer.h - frames of a camera or film through a pipeline, each as one run of one program (frame_program.h).
 *
 *     rv_framer_start(framer, &request, &error);      the request's picture is read before this returns
 *     ... another start, if rv_framer_under_way() < RV_STARTS_UNDER_WAY ...
 *     picture = rv_framer_finish(framer, &error);     in the order of the starts
 *
 * The pictures are those of rv_pipeline_generate(). What changes from frame to frame (prompt, seed, strength)
 * goes into the program's slots when it changes. What changes the program itself (size, number of
 * evaluations, length of the prompt) has another one made: at once, or beside the frames, which then keep the
 * settings that they had until it is ready (rv_framer_set_slice). A framer belongs to its pipeline's thread.
 */
#pragma once
#include "engine/pipeline.h"

typedef struct RvFramer RvFramer;

RvFramer *rv_framer_new(RvPipeline *pipeline); /* borrows */
void rv_framer_free(RvFramer *framer);         /* finishes what is under way; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvFramer, rv_framer_free)

/* Whether the completed request's frames can be one program: one image from a picture, no mask, nothing that
 * the host does between steps, at most RV_LINEAR_EVALUATIONS evaluations, one text for all of them. Otherwise
 * RV_ERROR_UNSUPPORTED says why, and rv_pipeline_generate() draws it. */
bool rv_framer_check(RvFramer *framer, const RvRequest *request, GError **error);

/* A new program is made in pieces of at most about `slice_us` per frame; 0 (the default): at once. */
void rv_framer_set_slice(RvFramer *framer, gint64 slice_us);

/* Makes everything that the request's frames need, and waits for it. */
bool rv_framer_prepare(RvFramer *framer, const RvRequest *request, GError **error);
bool rv_framer_start(RvFramer *framer, const RvRequest *request, GError **error);
int rv_framer_under_way(const RvFramer *framer);
/* Fails when the numbers were not finite; the frame is gone then. */
RvPicture *rv_framer_finish(RvFramer *framer, GError **error);
/* A1111's `parameters` of the last start's frame; free with g_free. */
char *rv_framer_infotext(const RvFramer *framer, const RvRequest *request);

/* For measurements: the program of the last start, whose slots frame_program.h lists; borrowed until the next
 * one. It may be run while nothing is under way. */
RvProgram *rv_framer_program(const RvFramer *framer);
