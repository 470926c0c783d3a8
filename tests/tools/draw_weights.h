/* draw_weights.h - the random weights of the reference models, as the script that made the reference numbers
 * drew them: torch.randn on the CPU, a seed for each part, parameters in named_parameters() order, rounded to
 * float16. Whatever goes wrong aborts with a message: these are tools for tests. */
#pragma once
#include "weights/config_read.h"
#include <glib.h>

/* Weights being made: names, shapes, float16 numbers. */
typedef struct Weights Weights;

/* Every parameter of a network: matrices and kernels of variance 0.81 / fan-in, biases of deviation 0.05,
 * other vectors 1 plus deviation 0.1. `config_path` is the part's config.json. */
Weights *weights_draw(const char *config_path, RvPart part, guint64 seed);
/* A LoRA in kohya's layout, rank 4, for the attention, feed-forward and some convolutions of a UNet. Matrices
 * have a seed each: down `seed` + 100 and on, up `seed` + 300 and on. */
Weights *weights_draw_lora(const Weights *unet, guint64 seed);
void weights_write(const Weights *weights, const char *path);
void weights_free(Weights *weights);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Weights, weights_free)
