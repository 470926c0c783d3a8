/* autoencoder.h - AutoencoderKL or AutoencoderTiny on a device: pictures to latents and back, one image
 * at a time; pictures too large for the scratch memory are worked in overlapping tiles. */
#pragma once
#include "engine/engine.h"
#include "media/picture.h"
#include "weights/config.h"

typedef struct RvAutoencoder RvAutoencoder;

/* Exactly one of the two configs is given; the source must outlive the autoencoder. `compute`: the type that
 * it computes in, usually the device's. */
RvAutoencoder *rv_autoencoder_new(RvEngine *engine, const RvVaeConfig *vae, const RvTaesdConfig *taesd,
                                  RvWeightSource source, RvDType compute);
void rv_autoencoder_free(RvAutoencoder *autoencoder); /* accepts NULL */

/* The most pixels that are worked in one piece, and the side of the tiles of larger pictures, in latents; 0
 * gives the default back. */
void rv_autoencoder_set_limit(RvAutoencoder *autoencoder, gint64 pixels, int tile);
bool rv_autoencoder_is_tiled(const RvAutoencoder *autoencoder, int width, int height);

/* Pictures that come and go from now on have edges that fit each other. */
void rv_autoencoder_set_tiling(RvAutoencoder *autoencoder, bool tiling);

bool rv_autoencoder_is_tiny(const RvAutoencoder *autoencoder);
int rv_autoencoder_channels(const RvAutoencoder *autoencoder); /* of a latent */
int rv_autoencoder_factor(const RvAutoencoder *autoencoder);   /* pixels per latent, along one side: 8 */
gsize rv_autoencoder_bytes(const RvAutoencoder *autoencoder);

/* Records the programs of a size ahead of the first use. */
bool rv_autoencoder_prepare(RvAutoencoder *autoencoder, int width, int height, bool encode, GError **error);

/* As parts of a larger program, for sizes that are not tiled, without the check that numbers are finite:
 * rgb U8 [1, height, width, 3] -> latent F32 [1, height/f, width/f, channels], scaled for the UNet; and back.
 */
RvTensor rv_autoencoder_record_encode(const RvAutoencoder *autoencoder, RvProgram *program, RvTensor rgb);
RvTensor rv_autoencoder_record_decode(const RvAutoencoder *autoencoder, RvProgram *program, RvTensor latent);

/* What the last encode and decode took, for benchmarks. */
typedef struct {
    double encode, decode; /* seconds */
    double encode_flops, decode_flops;
} RvAutoencoderCosts;
RvAutoencoderCosts rv_autoencoder_costs(const RvAutoencoder *autoencoder);

/* rgb [height, width, 3] -> the posterior's mean, scaled for the UNet, [channels, height/f, width/f]. The
 * size must be a multiple of the factor. */
bool rv_autoencoder_encode(RvAutoencoder *autoencoder, const guint8 *rgb, int width, int height,
                           float *latent, GError **error);
/* latent [channels, height/f, width/f] -> a picture. Fails when the result is not finite. */
RvPicture *rv_autoencoder_decode(RvAutoencoder *autoencoder, const float *latent, int width, int height,
                                 GError **error);
