/* source.h - where a program's weights come from: a model on disk, or random numbers for benchmarks. */
#pragma once
#include "tensor/program.h"

typedef struct RvRandomSource RvRandomSource;

/* Full-size random weights without a file: every tensor that a program asks for, of the shape that it
 * asks for, in float16; norms get ones, biases zeros. All tensors share one buffer. */
RvRandomSource *rv_random_source_new(guint32 seed);
void rv_random_source_free(RvRandomSource *source); /* after the weight sets that use it; accepts NULL */
RvWeightSource rv_random_source_weights(RvRandomSource *source);
/* Elements handed out so far, each name counted once. */
gint64 rv_random_source_parameters(const RvRandomSource *source);
