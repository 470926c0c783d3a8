/* The live JPEG decoder with any bytes, at sizes that grow, shrink and keep the picture. An end marker is
 * added, or nearly all inputs would be refused as cut short. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "media/jpeg_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the mirror does it: planes where it can. */
static void
change_raster(RvJpegCodec *codec, const uint8_t *data, size_t size, int width, int height)
{
    RvRaster *raster = rv_jpeg_codec_decode_raster(codec, data, size, width, height, true, NULL);
    if (raster == NULL)
        return;
    rv_raster_invert(raster);
    rv_raster_mirror(raster);
    GBytes *bytes = rv_jpeg_codec_encode_raster(codec, raster, (width + 1) / 2, (height + 1) / 2, 50, NULL);
    GBytes *whole = rv_jpeg_codec_encode_raster(codec, raster, 0, 0, 95, NULL);
    if (bytes == NULL || whole == NULL)
        abort();
    g_bytes_unref(bytes);
    g_bytes_unref(whole);
    rv_raster_free(raster);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static RvJpegCodec *codec;
    static guint8 rgb[3 * 96 * 96];
    static const int sizes[][2] = { { 96, 96 }, { 16, 16 }, { 96, 17 }, { 1, 1 } };
    if (codec == NULL)
        codec = rv_jpeg_codec_new();
    uint8_t *whole = malloc(size + 2);
    if (size > 0)
        memcpy(whole, data, size);
    memcpy(whole + size, "\xff\xd9", 2);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int width = sizes[i][0], height = sizes[i][1];
        change_raster(codec, whole, size + 2, width, height);
        if (!rv_jpeg_codec_decode(codec, whole, size + 2, rgb, width, height, NULL))
            continue;
        GBytes *bytes = rv_jpeg_codec_encode(codec, rgb, width, height, 0, 0, 50, NULL);
        if (bytes == NULL)
            abort();
        g_bytes_unref(bytes);
    }
    free(whole);
    return 0;
}
