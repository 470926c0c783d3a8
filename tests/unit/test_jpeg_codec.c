/* Live JPEG frames: what comes back equals what went in, whatever its size, and bad bytes are errors. */
#include <string.h>

#include <turbojpeg.h>

#include "base/error.h"
#include "media/fit.h"
#include "media/jpeg_codec.h"

/* Smooth colours that differ in every direction: x in red, y in green, both in blue. */
static guint8 *
gradient(int width, int height)
{
    guint8 *rgb = g_malloc(3 * (gsize)width * (gsize)height), *to = rgb;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to += 3) {
            to[0] = (guint8)(40 + 170 * x / width);
            to[1] = (guint8)(40 + 170 * y / height);
            to[2] = (guint8)(40 + 85 * x / width + 85 * y / height);
        }
    return rgb;
}

static GBytes *
compress(const guint8 *rgb, int width, int height, int subsampling, int flags)
{
    tjhandle handle = tjInitCompress();
    unsigned char *data = NULL;
    unsigned long size = 0;
    g_assert_cmpint(
        tjCompress2(handle, rgb, width, 0, height, TJPF_RGB, &data, &size, subsampling, 90, flags), ==, 0);
    GBytes *bytes = g_bytes_new(data, size);
    tjFree(data);
    tjDestroy(handle);
    return bytes;
}

static bool
decode(RvJpegCodec *codec, GBytes *bytes, guint8 *rgb, int width, int height, GError **error)
{
    return rv_jpeg_codec_decode(codec, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), rgb, width,
                                height, error);
}

static int
largest_difference(const guint8 *a, const guint8 *b, gsize count)
{
    int largest = 0;
    for (gsize i = 0; i < count; i++)
        largest = MAX(largest, ABS(a[i] - b[i]));
    return largest;
}

static void
test_frame_survives_both_ways(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(96, 64), *back = g_malloc(3 * 96 * 64);
    for (int quality = 75; quality <= 95; quality += 20) {
        g_autoptr(GBytes) bytes = rv_jpeg_codec_encode(codec, rgb, 96, 64, 0, 0, quality, NULL);
        g_assert_true(decode(codec, bytes, back, 96, 64, NULL));
        g_assert_cmpint(largest_difference(rgb, back, 3 * 96 * 64), <=, 8);
    }
}

static void
test_lower_quality_is_smaller(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(128, 128);
    gsize before = 0;
    for (int quality = 10; quality <= 90; quality += 40) {
        g_autoptr(GBytes) bytes = rv_jpeg_codec_encode(codec, rgb, 128, 128, 0, 0, quality, NULL);
        g_assert_cmpuint(g_bytes_get_size(bytes), >, before);
        before = g_bytes_get_size(bytes);
    }
    g_autoptr(GBytes) half = rv_jpeg_codec_encode(codec, rgb, 128, 128, 64, 64, 90, NULL);
    g_assert_cmpuint(g_bytes_get_size(half), <, before);
    int width, height, subsampling, colours;
    tjhandle handle = tjInitDecompress();
    g_assert_cmpint(tjDecompressHeader3(handle, g_bytes_get_data(half, NULL), g_bytes_get_size(half), &width,
                                        &height, &subsampling, &colours),
                    ==, 0);
    tjDestroy(handle);
    g_assert_cmpint(width, ==, 64);
    g_assert_cmpint(height, ==, 64);
}

/* A gradient looks the same at every size, so each decoded size has one right answer. */
static void
test_square_sizes_give_the_same_picture(void)
{
    static const int sides[] = { 33, 100, 128, 129, 200, 256, 300, 600, 1100, 1600 };
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *expected = gradient(128, 128), *rgb = g_malloc(3 * 128 * 128);
    for (gsize i = 0; i < G_N_ELEMENTS(sides); i++) {
        g_autofree guint8 *source = gradient(sides[i], sides[i]);
        g_autoptr(GBytes) bytes = compress(source, sides[i], sides[i], TJSAMP_444, 0);
        g_assert_true(decode(codec, bytes, rgb, 128, 128, NULL));
        g_assert_cmpint(largest_difference(expected, rgb, 3 * 128 * 128), <=, 9);
    }
}

static void
test_middle_is_cut_out(void)
{
    static const int sizes[][2] = { { 384, 128 }, { 128, 384 }, { 768, 256 }, { 192, 64 } };
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = g_malloc(3 * 128 * 128);
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        int width = sizes[i][0], height = sizes[i][1], side = MIN(width, height);
        g_autofree guint8 *source = g_malloc0(3 * (gsize)width * (gsize)height);
        int left = (width - side) / 2, top = (height - side) / 2;
        for (int y = 0; y < side; y++)
            memset(source + 3 * ((gsize)(y + top) * (gsize)width + (gsize)left), 200, 3 * (gsize)side);
        g_autoptr(GBytes) bytes = compress(source, width, height, TJSAMP_444, 0);
        g_assert_true(decode(codec, bytes, rgb, 128, 128, NULL));
        for (gsize k = 0; k < 3 * 128 * 128; k++)
            g_assert_cmpint(ABS(rgb[k] - 200), <=, 12);
    }
}

static void
test_rectangles(void)
{
    RvRect rect = rv_fit_rect(1920, 1080, 512, 512);
    g_assert_cmpint(rect.x, ==, 420);
    g_assert_cmpint(rect.y, ==, 0);
    g_assert_cmpint(rect.width, ==, 1080);
    g_assert_cmpint(rect.height, ==, 1080);
    rect = rv_fit_rect(1000, 1000, 1024, 512);
    g_assert_cmpint(rect.y, ==, 250);
    g_assert_cmpint(rect.height, ==, 500);
    rect = rv_fit_rect(1, 8192, 512, 1);
    g_assert_cmpint(rect.width, ==, 1);
    g_assert_cmpint(rect.height, ==, 1);
}

/* Means are kept when shrinking by any ratio: a fine chequerboard becomes grey. */
static void
test_shrinking_is_by_area(void)
{
    g_autoptr(RvFit) fit = rv_fit_new();
    g_autofree guint8 *board = g_malloc(3 * 300 * 300), *small = g_malloc(3 * 100 * 100);
    for (int i = 0; i < 300 * 300; i++)
        memset(board + 3 * i, ((i / 300) / 3 + (i % 300) / 3) % 2 ? 255 : 0, 3);
    rv_fit_resize(fit, board, 900, 300, 300, small, 50, 50);
    for (int i = 0; i < 3 * 50 * 50; i++)
        g_assert_cmpint(ABS(small[i] - 127), <=, 3);
    rv_fit_resize(fit, board, 900, 300, 300, small, 100, 100);
    g_assert_cmpint(small[0], ==, 0);
    g_assert_cmpint(small[3], ==, 255);
    rv_fit_resize(fit, board, 900, 1, 1, small, 3, 5);
    g_assert_cmpint(small[3 * 14], ==, 0);
}

static void
test_progressive_and_grey(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(128, 128), *back = g_malloc(3 * 128 * 128);
    g_autoptr(GBytes) progressive = compress(rgb, 128, 128, TJSAMP_420, TJFLAG_PROGRESSIVE);
    g_assert_true(decode(codec, progressive, back, 128, 128, NULL));
    g_assert_cmpint(largest_difference(rgb, back, 3 * 128 * 128), <=, 9);
    g_autoptr(GBytes) grey = compress(rgb, 128, 128, TJSAMP_GRAY, 0);
    g_assert_true(decode(codec, grey, back, 128, 128, NULL));
    for (gsize i = 0; i < 128 * 128; i++) {
        int luma = (299 * rgb[3 * i] + 587 * rgb[3 * i + 1] + 114 * rgb[3 * i + 2]) / 1000;
        g_assert_cmpint(ABS(back[3 * i] - luma), <=, 5);
        g_assert_cmpint(back[3 * i], ==, back[3 * i + 2]);
    }
}

static void
refuse(RvJpegCodec *codec, const guint8 *data, gsize size, const char *what)
{
    guint8 rgb[3 * 32 * 32];
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_jpeg_codec_decode(codec, data, size, rgb, 32, 32, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, what));
}

static void
test_bad_bytes_are_errors(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(64, 64);
    g_autoptr(GBytes) bytes = compress(rgb, 64, 64, TJSAMP_420, 0);
    gsize size;
    const guint8 *whole = g_bytes_get_data(bytes, &size);
    refuse(codec, NULL, 0, "begin");
    refuse(codec, (const guint8 *)"hello there", 11, "begin");
    refuse(codec, (const guint8 *)"\xff\xd8\xff\xd9", 4, "JPEG");
    for (gsize cut = 4; cut < size - 1; cut += 7)
        refuse(codec, whole, cut, "cut short");
    /* Cut short, and given an end all the same. */
    g_autofree guint8 *false_end = g_memdup2(whole, size);
    false_end[size / 2] = 0xff;
    false_end[size / 2 + 1] = 0xd9;
    refuse(codec, false_end, size / 2 + 2, "");
    g_autofree guint8 *large = g_malloc0(RV_JPEG_MAX_BYTES + 1);
    memcpy(large, whole, size);
    refuse(codec, large, RV_JPEG_MAX_BYTES + 1, "16 MiB");
}

/* The size stands in the header, 5 bytes after the start-of-frame marker: what follows need not be that
 * large. */
static void
test_enormous_pictures_are_refused_by_their_header(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(64, 64);
    g_autoptr(GBytes) bytes = compress(rgb, 64, 64, TJSAMP_420, 0);
    gsize size = g_bytes_get_size(bytes);
    g_autofree guint8 *data = g_memdup2(g_bytes_get_data(bytes, NULL), size);
    guint8 *header = memmem(data, size, "\xff\xc0", 2);
    g_assert_nonnull(header);
    memcpy(header + 5, "\x9c\x40\x9c\x40", 4); /* 40000 x 40000 */
    refuse(codec, data, size, "16 million");
    memcpy(header + 5, "\x18\x00\x18\x00", 4); /* 6144 x 6144 */
    refuse(codec, data, size, "16 million");
}

static void
test_padding_and_damage_are_tolerated(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(64, 64);
    guint8 back[3 * 64 * 64];
    g_autoptr(GBytes) bytes = compress(rgb, 64, 64, TJSAMP_420, 0);
    gsize size = g_bytes_get_size(bytes);
    g_autofree guint8 *data = g_malloc0(size + 100);
    memcpy(data, g_bytes_get_data(bytes, NULL), size);
    g_assert_true(rv_jpeg_codec_decode(codec, data, size + 100, back, 64, 64, NULL));
    /* Stray bytes before a marker: libjpeg warns and goes on. */
    memmove(data + 12, data + 2, size - 2);
    memset(data + 2, 0x11, 10);
    g_assert_true(rv_jpeg_codec_decode(codec, data, size + 10, back, 64, 64, NULL));
    g_assert_cmpint(largest_difference(rgb, back, sizeof back), <=, 9);
}

typedef struct {
    gint done, failed;
    GBytes *bytes;
    const guint8 *expected;
} Job;

static void
decode_once(RvJpegCodec *codec, void *data)
{
    Job *job = data;
    g_autofree guint8 *rgb = g_malloc(3 * 64 * 64);
    bool is_right = decode(codec, job->bytes, rgb, 64, 64, NULL) &&
                    largest_difference(job->expected, rgb, 3 * 64 * 64) <= 9;
    g_atomic_int_add(is_right ? &job->done : &job->failed, 1);
}

static void
test_pool_runs_everything(void)
{
    g_autofree guint8 *rgb = gradient(64, 64);
    g_autoptr(GBytes) bytes = compress(rgb, 64, 64, TJSAMP_420, 0);
    Job job = { 0, 0, bytes, rgb };
    RvJpegPool *pool = rv_jpeg_pool_new(3);
    for (int i = 0; i < 200; i++)
        rv_jpeg_pool_push(pool, decode_once, &job);
    rv_jpeg_pool_free(pool);
    g_assert_cmpint(job.done, ==, 200);
    g_assert_cmpint(job.failed, ==, 0);
    rv_jpeg_pool_free(rv_jpeg_pool_new(0));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jpeg-codec/both-ways", test_frame_survives_both_ways);
    g_test_add_func("/jpeg-codec/quality", test_lower_quality_is_smaller);
    g_test_add_func("/jpeg-codec/sizes", test_square_sizes_give_the_same_picture);
    g_test_add_func("/jpeg-codec/middle", test_middle_is_cut_out);
    g_test_add_func("/jpeg-codec/rectangles", test_rectangles);
    g_test_add_func("/jpeg-codec/area", test_shrinking_is_by_area);
    g_test_add_func("/jpeg-codec/progressive-grey", test_progressive_and_grey);
    g_test_add_func("/jpeg-codec/bad-bytes", test_bad_bytes_are_errors);
    g_test_add_func("/jpeg-codec/enormous", test_enormous_pictures_are_refused_by_their_header);
    g_test_add_func("/jpeg-codec/tolerated", test_padding_and_damage_are_tolerated);
    g_test_add_func("/jpeg-codec/pool", test_pool_runs_everything);
    return g_test_run();
}
