#include "media/jpeg_codec.h"

#include <string.h>

#include <turbojpeg.h>

#include "base/error.h"
#include "media/fit.h"

#define FULL_CHROMA_QUALITY 95

typedef struct {
    guint8 *data;
    gsize size;
} Buffer;

/* Of a JPEG. */
typedef struct {
    int width, height;
    int subsampling, colours; /* TJSAMP, TJCS */
} Header;

struct RvJpegCodec {
    tjhandle decoder, encoder;
    Buffer decoded;   /* the whole picture, before it is cut and resized */
    Buffer converted; /* from planes to RGB, before it is shrunk */
    Buffer shrunk;    /* a frame before it is encoded */
    Buffer encoded;
    RvFit *fit_in, *fit_out, *fit_chroma;
};

RvJpegCodec *
rv_jpeg_codec_new(void)
{
    RvJpegCodec *codec = g_new0(RvJpegCodec, 1);
    codec->decoder = tjInitDecompress();
    codec->encoder = tjInitCompress();
    g_assert(codec->decoder != NULL && codec->encoder != NULL);
    codec->fit_in = rv_fit_new();
    codec->fit_out = rv_fit_new();
    codec->fit_chroma = rv_fit_new();
    return codec;
}

void
rv_jpeg_codec_free(RvJpegCodec *codec)
{
    if (codec == NULL)
        return;
    tjDestroy(codec->decoder);
    tjDestroy(codec->encoder);
    g_free(codec->decoded.data);
    g_free(codec->converted.data);
    g_free(codec->shrunk.data);
    g_free(codec->encoded.data);
    rv_fit_free(codec->fit_in);
    rv_fit_free(codec->fit_out);
    rv_fit_free(codec->fit_chroma);
    g_free(codec);
}

/* Old contents are lost. A buffer much too large is given back: one huge frame shall not stay in memory. */
static bool
buffer_need(Buffer *buffer, gsize size, GError **error)
{
    if (buffer->size >= size && buffer->size / 8 <= size)
        return true;
    g_free(buffer->data);
    buffer->data = g_try_malloc(size);
    buffer->size = buffer->data == NULL ? 0 : size;
    if (buffer->data == NULL)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, NULL, "send smaller pictures",
                            "no memory for a frame of %" G_GSIZE_FORMAT " bytes", size);
    return true;
}

static bool
invalid(GError **error, const char *what)
{
    return rv_error_set(error, RV_ERROR_INVALID, NULL, "send a whole JPEG", "broken JPEG frame: %s", what);
}

/* Whether there is an end behind the last scan; some cameras pad their frames, or append data of their own.
 * libjpeg would fill what is missing with grey and merely warn. */
static bool
has_end(const guint8 *data, gsize size)
{
    const guint8 *at = data + size - 1;
    while ((at = memrchr(data, 0xff, (gsize)(at - data))) != NULL)
        if (at[1] == 0xd9 || at[1] == 0xda)
            return at[1] == 0xd9;
    return false;
}

static guint64
count_scans(const guint8 *data, gsize size)
{
    guint64 scans = 0;
    const guint8 *end = data + size - 1;
    for (const guint8 *at = data; (at = memchr(at, 0xff, (gsize)(end - at))) != NULL; at++)
        scans += at[1] == 0xda;
    return scans;
}

static bool
read_header(RvJpegCodec *codec, const guint8 *data, gsize size, Header *header, GError **error)
{
    *header = (Header) { 0 };
    if (size < 4 || data[0] != 0xff || data[1] != 0xd8)
        return invalid(error, "it does not begin as one");
    if (size > RV_JPEG_MAX_BYTES)
        return invalid(error, "more than 16 MiB");
    if (!has_end(data, size))
        return invalid(error, "it is cut short");
    if (tjDecompressHeader3(codec->decoder, data, size, &header->width, &header->height, &header->subsampling,
                            &header->colours) != 0 &&
        tjGetErrorCode(codec->decoder) != TJERR_WARNING)
        return invalid(error, tjGetErrorStr2(codec->decoder));
    if (header->colours == TJCS_CMYK || header->colours == TJCS_YCCK)
        return invalid(error, "it is CMYK, not RGB or grey");
    if (header->width < 1 || header->height < 1 || header->width > RV_JPEG_MAX_SIDE ||
        header->height > RV_JPEG_MAX_SIDE ||
        (guint64)header->width * (guint64)header->height > RV_JPEG_MAX_PIXELS)
        return invalid(error, "it has more than 16 million pixels");
    if (count_scans(data, size) * (guint64)header->width * (guint64)header->height > RV_JPEG_MAX_SCANNED)
        return invalid(error, "it has too many scans for its size");
    return true;
}

/* The largest of 1, 2, 4, 8 that still leaves the part we use at least as large as the target. The finer
 * factors of turbojpeg have no SIMD transforms: decoding larger and resizing is faster. */
static int
shrink_factor(const RvRect *used, int width, int height)
{
    int factor = 8;
    while (factor > 1 && (used->width / factor < width || used->height / factor < height))
        factor /= 2;
    return factor;
}

#define DECODE_FLAGS (TJFLAG_FASTDCT | TJFLAG_LIMITSCANS)

/* What a decoding that returned `status` came to. */
static bool
is_decoded(RvJpegCodec *codec, int status, GError **error)
{
    if (status == 0)
        return true;
    const char *message = tjGetErrorStr2(codec->decoder);
    if (tjGetErrorCode(codec->decoder) == TJERR_WARNING && strcasestr(message, "premature end") == NULL)
        return true;
    return invalid(error, message);
}

static bool
decompress(RvJpegCodec *codec, const guint8 *data, gsize size, guint8 *rgb, int width, int height,
           GError **error)
{
    int status = tjDecompress2(codec->decoder, data, size, rgb, width, 0, height, TJPF_RGB, DECODE_FLAGS);
    return is_decoded(codec, status, error);
}

static bool
decode_rgb(RvJpegCodec *codec, const guint8 *data, gsize size, const Header *header, guint8 *rgb, int width,
           int height, GError **error)
{
    if (header->width == width && header->height == height)
        return decompress(codec, data, size, rgb, width, height, error);
    RvRect used = rv_fit_rect(header->width, header->height, width, height);
    tjscalingfactor factor = { 1, shrink_factor(&used, width, height) };
    int scaled_width = TJSCALED(header->width, factor), scaled_height = TJSCALED(header->height, factor);
    gsize stride = 3 * (gsize)scaled_width;
    if (!buffer_need(&codec->decoded, stride * (gsize)scaled_height, error) ||
        !decompress(codec, data, size, codec->decoded.data, scaled_width, scaled_height, error))
        return false;
    used = rv_fit_rect(scaled_width, scaled_height, width, height);
    const guint8 *from = codec->decoded.data + (gsize)used.y * stride + 3 * (gsize)used.x;
    rv_fit_resize(codec->fit_in, from, stride, used.width, used.height, rgb, width, height);
    return true;
}

bool
rv_jpeg_codec_decode(RvJpegCodec *codec, const void *data, gsize size, guint8 *rgb, int width, int height,
                     GError **error)
{
    Header header;
    return read_header(codec, data, size, &header, error) &&
           decode_rgb(codec, data, size, &header, rgb, width, height, error);
}

static RvRaster *
decode_planes(RvJpegCodec *codec, const guint8 *data, gsize size, const Header *header, GError **error)
{
    g_autoptr(RvRaster) raster = rv_raster_new_planes(header->width, header->height, error);
    if (raster == NULL)
        return NULL;
    int status = tjDecompressToYUVPlanes(codec->decoder, data, size, raster->planes, header->width, NULL,
                                         header->height, DECODE_FLAGS);
    return is_decoded(codec, status, error) ? g_steal_pointer(&raster) : NULL;
}

RvRaster *
rv_jpeg_codec_decode_raster(RvJpegCodec *codec, const void *data, gsize size, int width, int height,
                            bool takes_planes, GError **error)
{
    Header header;
    if (!read_header(codec, data, size, &header, error))
        return NULL;
    if (takes_planes && header.subsampling == TJSAMP_420 && header.colours == TJCS_YCbCr &&
        header.width == width && header.height == height && width % 2 == 0 && height % 2 == 0)
        return decode_planes(codec, data, size, &header, error);
    g_autoptr(RvPicture) picture = rv_picture_new(width, height, false, error);
    if (picture == NULL || !decode_rgb(codec, data, size, &header, picture->rgb, width, height, error))
        return NULL;
    return rv_raster_new_picture(g_steal_pointer(&picture));
}

/* `planes` NULL: from `rgb`. */
static GBytes *
compress(RvJpegCodec *codec, const guint8 *rgb, const guint8 *planes[3], int width, int height,
         int subsampling, int quality, GError **error)
{
    if (!buffer_need(&codec->encoded, tjBufSize(width, height, subsampling), error))
        return NULL;
    unsigned long size = codec->encoded.size;
    quality = CLAMP(quality, 1, 100);
    int status = planes != NULL
                     ? tjCompressFromYUVPlanes(codec->encoder, planes, width, NULL, height, subsampling,
                                               &codec->encoded.data, &size, quality, TJFLAG_NOREALLOC)
                     : tjCompress2(codec->encoder, rgb, width, 0, height, TJPF_RGB, &codec->encoded.data,
                                   &size, subsampling, quality, TJFLAG_NOREALLOC);
    if (status != 0) {
        rv_error_set(error, RV_ERROR_FAILED, NULL, NULL, "cannot write a JPEG frame: %s",
                     tjGetErrorStr2(codec->encoder));
        return NULL;
    }
    return g_bytes_new(codec->encoded.data, size);
}

GBytes *
rv_jpeg_codec_encode(RvJpegCodec *codec, const guint8 *rgb, int width, int height, int to_width,
                     int to_height, int quality, GError **error)
{
    g_assert(width > 0 && height > 0 && to_width <= width && to_height <= height);
    if (to_width > 0 && to_height > 0 && (to_width != width || to_height != height)) {
        if (!buffer_need(&codec->shrunk, 3 * (gsize)to_width * (gsize)to_height, error))
            return NULL;
        rv_fit_resize(codec->fit_out, rgb, 3 * (gsize)width, width, height, codec->shrunk.data, to_width,
                      to_height);
        rgb = codec->shrunk.data;
        width = to_width;
        height = to_height;
    }
    int subsampling = quality < FULL_CHROMA_QUALITY ? TJSAMP_420 : TJSAMP_444;
    return compress(codec, rgb, NULL, width, height, subsampling, quality, error);
}

/* Chroma lies between the pixels that share it, wherever these are moved to, as long as sizes are even. */
static GBytes *
encode_planes(RvJpegCodec *codec, const RvRaster *raster, int width, int height, int quality, GError **error)
{
    const guint8 *planes[3] = { raster->planes[0], raster->planes[1], raster->planes[2] };
    if (width != raster->width || height != raster->height) {
        gsize pixels = (gsize)width * (gsize)height;
        if (!buffer_need(&codec->shrunk, pixels + pixels / 2, error))
            return NULL;
        guint8 *to[3] = { codec->shrunk.data, codec->shrunk.data + pixels,
                          codec->shrunk.data + pixels + pixels / 4 };
        rv_fit_resize_plane(codec->fit_out, planes[0], raster->width, raster->height, to[0], width, height);
        for (int i = 1; i < 3; i++)
            rv_fit_resize_plane(codec->fit_chroma, planes[i], raster->width / 2, raster->height / 2, to[i],
                                width / 2, height / 2);
        for (int i = 0; i < 3; i++)
            planes[i] = to[i];
    }
    return compress(codec, NULL, planes, width, height, TJSAMP_420, quality, error);
}

GBytes *
rv_jpeg_codec_encode_raster(RvJpegCodec *codec, const RvRaster *raster, int to_width, int to_height,
                            int quality, GError **error)
{
    int width = raster->width, height = raster->height;
    g_assert(to_width <= width && to_height <= height);
    bool is_whole = to_width <= 0 || to_height <= 0;
    if (raster->picture != NULL)
        return rv_jpeg_codec_encode(codec, raster->picture->rgb, width, height, to_width, to_height, quality,
                                    error);
    if (is_whole || (to_width % 2 == 0 && to_height % 2 == 0))
        return encode_planes(codec, raster, is_whole ? width : to_width, is_whole ? height : to_height,
                             quality, error);
    if (!buffer_need(&codec->converted, 3 * (gsize)width * (gsize)height, error) ||
        !rv_raster_write_rgb(raster, codec->converted.data, error))
        return NULL;
    return rv_jpeg_codec_encode(codec, codec->converted.data, width, height, to_width, to_height, quality,
                                error);
}

typedef struct {
    RvJpegWork work;
    void *data;
} Task;

/* Not a GThreadPool: that signals with its lock held, so that the woken thread must at once wait again, and
 * wakes the thread that has slept for longest, whose core has nothing of the frame in its caches. */
struct RvJpegPool {
    GMutex mutex;
    GArray *tasks;   /* Task, the oldest first; under the mutex, as all that follows */
    GPtrArray *idle; /* GCond of threads that wait, the last to work last */
    bool is_ending;
    GPtrArray *threads; /* GThread; the owner's */
};

/* A task to do, in `*task`; false: there will be none. */
static bool
next_task(RvJpegPool *pool, GCond *called, Task *task)
{
    g_mutex_lock(&pool->mutex);
    while (pool->tasks->len == 0 && !pool->is_ending) {
        g_ptr_array_add(pool->idle, called);
        g_cond_wait(called, &pool->mutex);
        g_ptr_array_remove(pool->idle, called); /* woken for nothing, or by the end */
    }
    bool is_there = pool->tasks->len > 0;
    if (is_there) {
        *task = g_array_index(pool->tasks, Task, 0);
        g_array_remove_index(pool->tasks, 0);
    }
    g_mutex_unlock(&pool->mutex);
    return is_there;
}

static gpointer
run_tasks(gpointer data)
{
    RvJpegPool *pool = data;
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    GCond called;
    g_cond_init(&called);
    for (Task task; next_task(pool, &called, &task);)
        task.work(codec, task.data);
    g_cond_clear(&called);
    return NULL;
}

RvJpegPool *
rv_jpeg_pool_new(int threads)
{
    RvJpegPool *pool = g_new0(RvJpegPool, 1);
    if (threads <= 0)
        threads = (int)g_get_num_processors();
    g_mutex_init(&pool->mutex);
    pool->tasks = g_array_new(FALSE, FALSE, sizeof(Task));
    pool->idle = g_ptr_array_new();
    pool->threads = g_ptr_array_new();
    for (int i = 0; i < threads; i++)
        g_ptr_array_add(pool->threads, g_thread_new("jpeg", run_tasks, pool));
    return pool;
}

void
rv_jpeg_pool_free(RvJpegPool *pool)
{
    if (pool == NULL)
        return;
    g_mutex_lock(&pool->mutex);
    pool->is_ending = true;
    g_ptr_array_foreach(pool->idle, (GFunc)(void (*)(void))g_cond_signal, NULL);
    g_mutex_unlock(&pool->mutex);
    for (guint i = 0; i < pool->threads->len; i++)
        g_thread_join(g_ptr_array_index(pool->threads, i));
    g_ptr_array_unref(pool->threads);
    g_ptr_array_unref(pool->idle);
    g_array_unref(pool->tasks);
    g_mutex_clear(&pool->mutex);
    g_free(pool);
}

void
rv_jpeg_pool_push(RvJpegPool *pool, RvJpegWork work, void *data)
{
    Task task = { work, data };
    g_mutex_lock(&pool->mutex);
    g_array_append_val(pool->tasks, task);
    GCond *called = pool->idle->len > 0 ? g_ptr_array_steal_index(pool->idle, pool->idle->len - 1) : NULL;
    g_mutex_unlock(&pool->mutex);
    if (called != NULL)
        g_cond_signal(called);
}

RvJpegPool *
rv_jpeg_pool_shared(void)
{
    static RvJpegPool *pool;
    static gsize is_made;
    if (g_once_init_enter(&is_made)) {
        pool = rv_jpeg_pool_new(0);
        g_once_init_leave(&is_made, 1);
    }
    return pool;
}
