/* jpeg_codec.h - JPEG to and from frames in memory, for live video (src/media/jpeg.c is for files).
 *
 * A codec keeps turbojpeg handles and buffers, so a steady stream allocates only its results. A pool runs
 * codec work in threads of its own; each of its threads has one codec. */
#pragma once
#include "media/raster.h"

#define RV_JPEG_MAX_BYTES (16u << 20)
#define RV_JPEG_MAX_PIXELS (4096u * 4096u) /* as in the file: 100 MB of coefficients when progressive */
#define RV_JPEG_MAX_SIDE 8192
/* Pixels times scans. Each scan goes over all blocks, and costs its sender a few bytes: a file of a hundred
 * kilobytes could keep a core busy for many seconds. Progressive files have about ten. */
#define RV_JPEG_MAX_SCANNED (4u * RV_JPEG_MAX_PIXELS)

typedef struct RvJpegCodec RvJpegCodec; /* use by one thread at a time */

RvJpegCodec *rv_jpeg_codec_new(void);
void rv_jpeg_codec_free(RvJpegCodec *codec); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvJpegCodec, rv_jpeg_codec_free)

/* Decodes into `rgb`, [height, width, 3], packed: the middle of the picture, cut to the target's aspect and
 * resized (fit.h). Baseline and progressive, colour and grey. A picture of twice the size or more is decoded
 * at a half, quarter or eighth, whose transforms are fast. EXIF orientation is not applied: cameras' streams
 * have none. Data over the limits above, truncated or not a JPEG fails with RV_ERROR_INVALID and leaves `rgb`
 * undefined; small damage inside a whole file (libjpeg's warnings) is tolerated. */
bool rv_jpeg_codec_decode(RvJpegCodec *codec, const void *data, gsize size, guint8 *rgb, int width,
                          int height, GError **error);

/* The same into a new raster. It has planes if `takes_planes` and the JPEG holds just these: colour at half
 * resolution, the size wanted; else RGB. */
RvRaster *rv_jpeg_codec_decode_raster(RvJpegCodec *codec, const void *data, gsize size, int width, int height,
                                      bool takes_planes, GError **error);

/* Encodes `rgb`, [height, width, 3], packed, as a baseline JPEG of `quality` 1 to 100: chroma at half
 * resolution below 95, full from there. to_width x to_height: size of the JPEG, no larger than the frame
 * and of about its aspect; 0 for the frame's own. Free with g_bytes_unref. */
GBytes *rv_jpeg_codec_encode(RvJpegCodec *codec, const guint8 *rgb, int width, int height, int to_width,
                             int to_height, int quality, GError **error);
/* The same of a raster; planes keep their half resolution at every quality. */
GBytes *rv_jpeg_codec_encode_raster(RvJpegCodec *codec, const RvRaster *raster, int to_width, int to_height,
                                    int quality, GError **error);

typedef struct RvJpegPool RvJpegPool;
typedef void (*RvJpegWork)(RvJpegCodec *codec, void *data);

/* 0 threads: as many as there are cores. */
RvJpegPool *rv_jpeg_pool_new(int threads);
/* Waits for all queued work. Accepts NULL. */
void rv_jpeg_pool_free(RvJpegPool *pool);
/* Runs work(codec, data) in a thread of the pool; any thread may call it. The queue has no bound of its own:
 * callers keep no more than one or two frames each in flight. */
void rv_jpeg_pool_push(RvJpegPool *pool, RvJpegWork work, void *data);
/* The one that all transports of the process share; never freed. */
RvJpegPool *rv_jpeg_pool_shared(void);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvJpegPool, rv_jpeg_pool_free)
