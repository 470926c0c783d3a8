/* noise.h - the random numbers of a picture: one generator per image, so that a batch of four
 * gives what four single runs give.
 *
 * A draw of `count` numbers is one `torch.randn` call: kinds differ in how the numbers of one call
 * depend on `count`, so draw a whole latent at once, in torch's order (channel, row, column).
 *
 *   RV_NOISE_CPU   torch's CPU generator (MT19937, its vectorised Box-Muller), bit for bit
 *   RV_NOISE_NV    Philox 4x32-10 as the portable "NV" source of the A1111 web UI: what torch draws
 *                  on an NVIDIA GPU while a latent has at most 256 * (resident blocks) numbers
 *   RV_NOISE_CUDA  the same with the GPU's launch layout: equals torch on that GPU at every size,
 *                  up to the GPU's fast sine, cosine and logarithm (about 2e-6)
 *
 * Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
 * A generator is used by one thread at a time. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    RV_NOISE_CPU = 0,
    RV_NOISE_NV,
    RV_NOISE_CUDA,
} RvNoiseKind;

typedef struct RvNoise RvNoise;

/* torch reads only the low 32 bits of a seed on the CPU; Philox uses all 64.
 * RV_NOISE_CUDA takes the layout of an H200 (132 multiprocessors, 2048 threads each). */
RvNoise *rv_noise_new(RvNoiseKind kind, guint64 seed);
RvNoise *rv_noise_new_cuda(guint64 seed, int multiprocessors, int threads_per_multiprocessor);
RvNoise *rv_noise_new_like(const RvNoise *noise, guint64 seed); /* same kind and layout, from its start */
void rv_noise_free(RvNoise *noise);                             /* accepts NULL */

guint64 rv_noise_seed(const RvNoise *noise);
void rv_noise_draw(RvNoise *noise, float *out, gsize count);

/* "cpu", "nv", "cuda" or NULL; and back (case-insensitive; A1111's "GPU" is nv). False: no such kind. */
const char *rv_noise_kind_name(RvNoiseKind kind);
bool rv_noise_parse_kind(const char *name, RvNoiseKind *kind);

/* The A1111 web UI's spherical interpolation of two [channels, height, width] noises: angles are
 * taken between columns (along height); nearly parallel noises give low * amount + high * (1 - amount).
 * `out` may be either input. */
void rv_noise_slerp(float amount, const float *low, const float *high, int channels, int height, int width,
                    float *out);

/* Copies the [channels, from_height, from_width] noise into the centre of the [channels, height, width]
 * one, cropping what does not fit (A1111's "resize seed"). */
void rv_noise_paste(const float *from, int from_height, int from_width, int channels, int height, int width,
                    float *out);

/* A1111's first draw of an image. Zero in a field means "not used". */
typedef struct {
    int channels, height, width; /* of the latent */
    guint64 subseed;             /* mixed in by subseed_strength (0 to 1) */
    float subseed_strength;
    int from_height, from_width; /* latent size that the seed was found at */
} RvNoiseStart;
void rv_noise_draw_start(RvNoise *noise, const RvNoiseStart *start, float *out);
