/* calibrate.h - what a UNet needs before it may multiply 8-bit floats (--precision fp8): the largest numbers
 * that its layers see, from a few pictures that are drawn in fp16 when the model is opened for the first
 * time. The device keeps them from process to process. The pictures are always the same ones, so that the
 * same model gives the same pictures in fp8 everywhere. */
#pragma once
#include "engine/pipeline.h"

/* A name that stands for exactly these weights, of samples of them; NULL unless the engine computes in fp8.
 * Free with g_free. */
char *rv_calibration_name(RvEngine *engine, const RvUnetConfig *config, RvWeightSource source);
/* Draws the pictures if the denoiser's calibration is not known. A refiner's UNet stays in fp16: it draws
 * nothing by itself. */
bool rv_pipeline_calibrate(RvPipeline *pipeline, GError **error);
