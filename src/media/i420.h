/* i420.h - RGB frames to the samples of video encoders: BT.601, limited range, 8 bits, as VP8 streams and
 * decoders take for granted (ITU-R BT.601-7, section 2.5.3).
 *
 * Rounded to nearest, chroma from the mean of four pixels; GStreamer's fast converters cut off instead, which
 * shows as several of 255 after a round trip. */
#pragma once
#include <glib.h>

/* `rgb` is [height, width, 3], packed; width and height are even. The planes are [height, width] and
 * [height/2, width/2] with their strides in bytes. */
void rv_i420_from_rgb(const guint8 *rgb, int width, int height, guint8 *const planes[3],
                      const int strides[3]);
