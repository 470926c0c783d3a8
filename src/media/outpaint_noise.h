/* outpaint_noise.h - what stands in for a picture's missing part until it is drawn: noise with the spectrum
 * and the colours of the known part, after parlance-zz's g-diffuser-bot, as AUTOMATIC1111's script
 * "Outpainting mk2" has it. Any thread. */
#pragma once
#include "media/picture.h"

/* Pixels whose `mask` is not 0 are replaced; both sides are even. `mask`: width * height bytes. `falloff`
 * (A1111: 0 to 4, usual 1) is the power of the spectrum's amplitudes, `variation` (0 to 1, usual 0.05) how
 * colourful the noise is. The same picture gives the same noise. Fails with RV_ERROR_NO_MEMORY only. */
bool rv_outpaint_noise(RvPicture *picture, const guint8 *mask, double falloff, double variation,
                       GError **error);
