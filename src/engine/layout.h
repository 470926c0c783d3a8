/* layout.h - between torch's order of a latent, [channels, height, width], in which noise is drawn and
 * samplers work, and that of activations, [height, width, channels]. */
#pragma once
#include <glib.h>

/* to[pixel * stride + channel] = from[channel * pixels + pixel]; stride >= channels. */
static inline void
rv_to_pixels(const float *from, gsize channels, gsize pixels, float *to, gsize stride)
{
    for (gsize c = 0; c < channels; c++)
        for (gsize i = 0; i < pixels; i++)
            to[i * stride + c] = from[c * pixels + i];
}

static inline void
rv_to_planes(const float *from, gsize channels, gsize pixels, float *to)
{
    for (gsize c = 0; c < channels; c++)
        for (gsize i = 0; i < pixels; i++)
            to[c * pixels + i] = from[i * channels + c];
}

/* Their sum: to += factor * from, in the order of to. */
static inline void
rv_add_planes(const float *from, gsize channels, gsize pixels, float factor, float *to)
{
    for (gsize c = 0; c < channels; c++)
        for (gsize i = 0; i < pixels; i++)
            to[c * pixels + i] += factor * from[i * channels + c];
}
