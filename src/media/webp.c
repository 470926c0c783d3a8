#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include "media/internal.h"

static RvPicture *
broken(const RvPictureSource *source, GError **error)
{
    rv_error_set(error, RV_ERROR_INVALID, source->name, "give another file", "broken or truncated WebP");
    return NULL;
}

static RvPicture *
decode_still(const RvPictureSource *source, const WebPBitstreamFeatures *features, GError **error)
{
    g_autoptr(RvPicture) picture =
        rv_picture_new(features->width, features->height, features->has_alpha, error);
    if (picture == NULL)
        return NULL;
    gsize pixels = (gsize)picture->width * (gsize)picture->height;
    if (!features->has_alpha)
        return WebPDecodeRGBInto(source->data, source->size, picture->rgb, 3 * pixels, 3 * picture->width) !=
                       NULL
                   ? g_steal_pointer(&picture)
                   : broken(source, error);
    uint8_t *rgba = WebPDecodeRGBA(source->data, source->size, NULL, NULL);
    if (rgba == NULL)
        return broken(source, error);
    rv_picture_set_rgba(picture, rgba);
    WebPFree(rgba);
    return g_steal_pointer(&picture);
}

static RvPicture *
decode_first_frame(const RvPictureSource *source, GError **error)
{
    WebPData data = { source->data, source->size };
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, NULL);
    if (decoder == NULL)
        return broken(source, error);
    WebPAnimInfo info;
    uint8_t *rgba;
    int timestamp;
    RvPicture *picture = NULL;
    if (!WebPAnimDecoderGetInfo(decoder, &info) || !WebPAnimDecoderGetNext(decoder, &rgba, &timestamp))
        broken(source, error);
    else
        picture = rv_picture_new((int)info.canvas_width, (int)info.canvas_height, true, error);
    if (picture != NULL)
        rv_picture_set_rgba(picture, rgba);
    WebPAnimDecoderDelete(decoder);
    return picture;
}

static int
read_exif(const RvPictureSource *source, RvPicture *picture)
{
    WebPData data = { source->data, source->size };
    WebPDemuxer *demuxer = WebPDemux(&data);
    int orientation = 1;
    WebPChunkIterator chunk;
    if (demuxer != NULL && WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        orientation = rv_exif_read(chunk.chunk.bytes, chunk.chunk.size, picture, source->limits.text_bytes);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demuxer);
    return orientation;
}

RvPicture *
rv_webp_decode(const RvPictureSource *source, GError **error)
{
    /* The decoder is content when only what follows the pixels is missing. */
    guint32 announced = 0;
    if (source->size >= 12)
        memcpy(&announced, source->data + 4, 4);
    if ((guint64)GUINT32_FROM_LE(announced) + 8 > source->size)
        return broken(source, error);
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(source->data, source->size, &features) != VP8_STATUS_OK)
        return broken(source, error);
    if (!rv_picture_check_size(source, features.width, features.height, error))
        return NULL;
    g_autoptr(RvPicture) picture =
        features.has_animation ? decode_first_frame(source, error) : decode_still(source, &features, error);
    if (picture == NULL || !rv_picture_orient(picture, read_exif(source, picture), error))
        return NULL;
    return g_steal_pointer(&picture);
}

static bool
import_pixels(WebPPicture *to, const RvPicture *picture)
{
    if (picture->alpha == NULL)
        return WebPPictureImportRGB(to, picture->rgb, 3 * picture->width);
    gsize pixels = (gsize)picture->width * (gsize)picture->height;
    g_autofree guint8 *rgba = g_try_malloc_n(pixels, 4);
    if (rgba == NULL)
        return false;
    for (gsize i = 0; i < pixels; i++) {
        memcpy(rgba + 4 * i, picture->rgb + 3 * i, 3);
        rgba[4 * i + 3] = picture->alpha[i];
    }
    return WebPPictureImportRGBA(to, rgba, 4 * picture->width);
}

static bool
encode_pixels(const RvPicture *picture, const RvPictureSaveOptions *options, WebPMemoryWriter *writer)
{
    WebPConfig config;
    WebPPicture input;
    if (!WebPConfigInit(&config) || !WebPPictureInit(&input))
        return false;
    if (options->lossless)
        WebPConfigLosslessPreset(&config, 6);
    else
        config.quality = (float)options->quality;
    config.exact = 1; /* colours under transparent pixels matter to an inpainting mask */
    input.use_argb = options->lossless;
    input.width = picture->width;
    input.height = picture->height;
    input.writer = WebPMemoryWrite;
    input.custom_ptr = writer;
    bool done = import_pixels(&input, picture) && WebPEncode(&config, &input);
    WebPPictureFree(&input);
    return done;
}

/* Wraps the bitstream into a container that carries `exif`. */
static GBytes *
add_exif(const WebPMemoryWriter *writer, const GByteArray *exif)
{
    WebPData stream = { writer->mem, writer->size }, chunk = { exif->data, exif->len }, whole = { 0 };
    WebPMux *mux = WebPMuxNew();
    GBytes *bytes = NULL;
    if (WebPMuxSetImage(mux, &stream, 0) == WEBP_MUX_OK &&
        WebPMuxSetChunk(mux, "EXIF", &chunk, 0) == WEBP_MUX_OK && WebPMuxAssemble(mux, &whole) == WEBP_MUX_OK)
        bytes = g_bytes_new(whole.bytes, whole.size);
    WebPDataClear(&whole);
    WebPMuxDelete(mux);
    return bytes;
}

GBytes *
rv_webp_encode(const RvPicture *picture, const RvPictureSaveOptions *options, GError **error)
{
    if (picture->width > WEBP_MAX_DIMENSION || picture->height > WEBP_MAX_DIMENSION) {
        rv_error_set(error, RV_ERROR_USAGE, NULL, "save as PNG", "WebP holds no more than %d pixels a side",
                     WEBP_MAX_DIMENSION);
        return NULL;
    }
    WebPMemoryWriter writer;
    WebPMemoryWriterInit(&writer);
    GBytes *bytes = NULL;
    if (encode_pixels(picture, options, &writer)) {
        if (options->infotext != NULL) {
            g_autoptr(GByteArray) exif = rv_exif_build(options->infotext);
            bytes = add_exif(&writer, exif);
        } else {
            bytes = g_bytes_new(writer.mem, writer.size);
        }
    }
    WebPMemoryWriterClear(&writer);
    if (bytes == NULL)
        rv_error_set(error, RV_ERROR_NO_MEMORY, NULL, "save as PNG", "cannot encode WebP");
    return bytes;
}
