/* brownian.h - the noise of the SDE samplers: increments of one Brownian path per image, addressed by
 * sigma, so that a picture keeps its noise when steps are added.
 *
 * Reproduces torchsde's BrownianTree (Li et al., "Scalable gradients for stochastic differential
 * equations", 2020) as k-diffusion and the A1111 web UI use it: a binary tree over [sigma_min, sigma_max];
 * a node's bridge noise is the first draw of a generator seeded by numpy's SeedSequence from the image's
 * seed and the node's place. Not thread-safe. Holds some 25 copies of
 * a latent's pairs once used. */
#pragma once
#include "sampling/noise.h"

typedef struct RvBrownian RvBrownian;

/* `noise` gives the seed and the kind of generator; it is not kept, and its state does not matter.
 * `sigma_min` is the smallest non-zero sigma of the whole schedule, `sigma_max` the largest. */
RvBrownian *rv_brownian_new(const RvNoise *noise, double sigma_min, double sigma_max, gsize count);
void rv_brownian_free(RvBrownian *brownian); /* accepts NULL */

/* Unit-variance noise for the step from `sigma` down to `sigma_next`, both inside the range
 * (they are clamped to it). */
void rv_brownian_draw(RvBrownian *brownian, double sigma, double sigma_next, float *out);

/* numpy's SeedSequence(entropy, spawn_key=spawn, pool_size=pool).generate_state(n).
 * `spawn_count` of 0 means no spawn key. `pool` is at most 32. */
void rv_seed_sequence(const guint32 *entropy, int entropy_count, const guint32 *spawn, int spawn_count,
                      int pool, guint32 *state, int state_count);
