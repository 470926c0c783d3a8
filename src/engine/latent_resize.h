/* latent_resize.h - latents at another size, as torch.nn.functional.interpolate brings them there (half-pixel
 * centres; cubic with a = -0.75, or -0.5 with antialiasing, which when growing only changes the borders). */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    RV_LATENT_BILINEAR,
    RV_LATENT_BILINEAR_ANTIALIAS,
    RV_LATENT_BICUBIC,
    RV_LATENT_BICUBIC_ANTIALIAS,
    RV_LATENT_NEAREST,
    RV_LATENT_NEAREST_EXACT,
} RvLatentMode;

/* "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
 * "Latent (nearest-exact)"; any case. */
bool rv_latent_mode_parse(const char *name, RvLatentMode *mode);
const char *const *rv_latent_mode_names(void); /* NULL-terminated, in A1111's order */

/* planes [count, height, width] -> [count, to_height, to_width] */
void rv_latent_resize(const float *from, int count, int height, int width, int to_height, int to_width,
                      RvLatentMode mode, float *to);
