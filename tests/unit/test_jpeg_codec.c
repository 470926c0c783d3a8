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
    memset(data + size, 0x55, 100); /* what phones append */
    memcpy(data + size + 10, "\xff\xd9\xff\xd8", 4);
    g_assert_true(rv_jpeg_codec_decode(codec, data, size + 100, back, 64, 64, NULL));
    /* Stray bytes before a marker: libjpeg warns and goes on. */
    memmove(data + 12, data + 2, size - 2);
    memset(data + 2, 0x11, 10);
    g_assert_true(rv_jpeg_codec_decode(codec, data, size + 10, back, 64, 64, NULL));
    g_assert_cmpint(largest_difference(rgb, back, sizeof back), <=, 9);
}

/* ---- rasters ---- */

static RvRaster *
decode_raster(RvJpegCodec *codec, GBytes *bytes, int width, int height, bool takes_planes)
{
    g_autoptr(GError) error = NULL;
    RvRaster *raster = rv_jpeg_codec_decode_raster(
        codec, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), width, height, takes_planes, &error);
    g_assert_no_error(error);
    g_assert_cmpint(raster->width, ==, width);
    g_assert_cmpint(raster->height, ==, height);
    return raster;
}

/* Free with g_free. */
static guint8 *
rgb_of(const RvRaster *raster)
{
    gsize size = 3 * (gsize)raster->width * (gsize)raster->height;
    if (raster->picture != NULL)
        return g_memdup2(raster->picture->rgb, size);
    guint8 *rgb = g_malloc(size);
    g_assert_true(rv_raster_write_rgb(raster, rgb, NULL));
    return rgb;
}

/* Planes of any values, each chroma sample as its neighbours are or not. */
static RvRaster *
random_planes(int width, int height, guint32 seed)
{
    RvRaster *raster = rv_raster_new_planes(width, height, NULL);
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    gsize size;
    guint8 *samples = rv_raster_samples(raster, &size);
    for (gsize i = 0; i < size; i++)
        samples[i] = (guint8)(g_rand_int_range(random, -40, 296) & 255);
    return raster;
}

typedef struct {
    int width, height, subsampling, flags;
    bool has_planes; /* when they are taken and the size stays */
} Kind;

static const Kind kinds[] = {
    { 96, 64, TJSAMP_420, 0, true },   { 98, 70, TJSAMP_420, 0, true },
    { 2, 2, TJSAMP_420, 0, true },     { 96, 64, TJSAMP_420, TJFLAG_PROGRESSIVE, true },
    { 97, 64, TJSAMP_420, 0, false },  { 96, 61, TJSAMP_420, 0, false },
    { 33, 47, TJSAMP_420, 0, false },  { 96, 64, TJSAMP_422, 0, false },
    { 96, 64, TJSAMP_440, 0, false },  { 96, 64, TJSAMP_444, 0, false },
    { 96, 64, TJSAMP_GRAY, 0, false }, { 96, 64, TJSAMP_444, TJFLAG_PROGRESSIVE, false },
};

/* Whichever way a frame comes, its colours are the same. */
static void
test_rasters_hold_what_was_sent(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        int width = kinds[i].width, height = kinds[i].height;
        gsize size = 3 * (gsize)width * (gsize)height;
        g_autofree guint8 *source = gradient(width, height), *expected = g_malloc(size);
        g_autoptr(GBytes) bytes = compress(source, width, height, kinds[i].subsampling, kinds[i].flags);
        g_assert_true(decode(codec, bytes, expected, width, height, NULL));
        for (int takes_planes = 0; takes_planes < 2; takes_planes++) {
            g_autoptr(RvRaster) raster = decode_raster(codec, bytes, width, height, takes_planes);
            g_assert_cmpint(raster->picture == NULL, ==, takes_planes && kinds[i].has_planes);
            g_autofree guint8 *rgb = rgb_of(raster);
            g_assert_cmpint(largest_difference(expected, rgb, size), <=, 4);
        }
        g_autoptr(RvRaster) resized = decode_raster(codec, bytes, width + 2, height + 2, true);
        g_assert_nonnull(resized->picture);
    }
}

/* As browsers decode. */
static void
receive(GBytes *bytes, guint8 *rgb, int width, int height)
{
    tjhandle handle = tjInitDecompress();
    int status = tjDecompress2(handle, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), rgb, width, 0,
                               height, TJPF_RGB, TJFLAG_ACCURATEDCT);
    g_assert_cmpint(status, ==, 0);
    tjDestroy(handle);
}

/* Colours of the inverted frame, as who receives it sees them, beside 255 - x of what was sent. */
static void
test_inverted_colours_are_exact(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        int width = kinds[i].width, height = kinds[i].height;
        gsize size = 3 * (gsize)width * (gsize)height;
        g_autofree guint8 *source = gradient(width, height), *expected = g_malloc(size),
                          *back = g_malloc(size);
        g_autoptr(GBytes) bytes = compress(source, width, height, kinds[i].subsampling, kinds[i].flags);
        g_assert_true(decode(codec, bytes, expected, width, height, NULL));
        for (gsize k = 0; k < size; k++)
            expected[k] = (guint8)(255 - expected[k]);
        for (int takes_planes = 0; takes_planes < 2; takes_planes++) {
            g_autoptr(RvRaster) raster = decode_raster(codec, bytes, width, height, takes_planes);
            rv_raster_invert(raster);
            g_autofree guint8 *rgb = rgb_of(raster);
            g_assert_cmpint(largest_difference(expected, rgb, size), <=, 4);
            g_autoptr(GBytes) sent = rv_jpeg_codec_encode_raster(codec, raster, 0, 0, 95, NULL);
            receive(sent, back, width, height);
            g_assert_cmpint(largest_difference(expected, back, size), <=, 4);
        }
    }
}

/* Also of colours that no camera sends, where sums leave 0 to 255. */
static void
test_changes_of_planes_are_those_of_rgb(void)
{
    for (guint32 seed = 0; seed < 20; seed++) {
        int width = 66, height = 34;
        gsize size = 3 * (gsize)width * (gsize)height, count;
        g_autoptr(RvRaster) planes = random_planes(width, height, seed),
                            other = random_planes(width, height, ~seed);
        RvRaster *rgb = rv_raster_new_picture(rv_raster_to_picture(rv_raster_copy(planes, NULL), NULL));
        g_autoptr(RvRaster) inverted = rv_raster_copy(planes, NULL), inverted_rgb = rv_raster_copy(rgb, NULL);
        rv_raster_invert(inverted);
        rv_raster_invert(inverted_rgb);
        g_autofree guint8 *a = rgb_of(inverted);
        g_assert_cmpint(largest_difference(a, inverted_rgb->picture->rgb, size), <=, 3);
        g_autoptr(RvRaster) mirrored = rv_raster_copy(planes, NULL);
        rv_raster_mirror(mirrored);
        rv_raster_mirror(rgb);
        g_autofree guint8 *b = rgb_of(mirrored);
        g_assert_cmpint(largest_difference(b, rgb->picture->rgb, size), <=, 2);
        rv_raster_mirror(mirrored);
        rv_raster_mix(mirrored, other, 1);
        g_assert_cmpint(largest_difference(rv_raster_samples(mirrored, &count), planes->planes[0], size / 2),
                        ==, 0);
        g_assert_cmpuint(count, ==, size / 2);
        rv_raster_mix(mirrored, other, 0.25);
        for (gsize k = 0; k < count; k++)
            g_assert_cmpint(abs(4 * mirrored->planes[0][k] - planes->planes[0][k] - 3 * other->planes[0][k]),
                            <=, 3);
        rv_raster_free(rgb);
    }
}

/* The same quality is the same quality, and a smaller picture the same one, from planes and from RGB. */
static void
test_planes_are_encoded_as_rgb_is(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    static guint8 back[2][3 * 120 * 96];
    g_autofree guint8 *source = gradient(120, 96);
    g_autoptr(GBytes) bytes = compress(source, 120, 96, TJSAMP_420, 0);
    RvRaster *rasters[2] = { decode_raster(codec, bytes, 120, 96, false),
                             decode_raster(codec, bytes, 120, 96, true) };
    for (int quality = 30; quality < 95; quality += 20)
        for (int eighths = 8; eighths > 2; eighths--) {
            int width = 120 * eighths / 8, height = 96 * eighths / 8;
            gsize sizes[2];
            for (int i = 0; i < 2; i++) {
                g_autoptr(GBytes) sent =
                    rv_jpeg_codec_encode_raster(codec, rasters[i], width, height, quality, NULL);
                sizes[i] = g_bytes_get_size(sent);
                g_assert_true(decode(codec, sent, back[i], width, height, NULL));
            }
            g_assert_cmpint(largest_difference(back[0], back[1], 3 * (gsize)width * (gsize)height), <=,
                            quality > 50 ? 6 : 14);
            g_assert_cmpfloat((double)sizes[1], >, 0.9 * (double)sizes[0]);
            g_assert_cmpfloat((double)sizes[1], <, 1.1 * (double)sizes[0]);
        }
    rv_raster_free(rasters[0]);
    rv_raster_free(rasters[1]);
}

/* The last scan over and over: 100 bytes more and a decoder works for seconds. */
static GBytes *
endless_scans(int side, int count)
{
    g_autofree guint8 *rgb = gradient(side, side);
    g_autoptr(GBytes) bytes = compress(rgb, side, side, TJSAMP_420, TJFLAG_PROGRESSIVE);
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size), *scan = NULL;
    for (gsize i = 0; i + 1 < size; i++)
        if (data[i] == 0xff && data[i + 1] == 0xda)
            scan = data + i;
    g_assert_nonnull(scan);
    GByteArray *all = g_byte_array_new();
    g_byte_array_append(all, data, (guint)(size - 2));
    for (int i = 0; i < count; i++)
        g_byte_array_append(all, scan, (guint)(data + size - 2 - scan));
    g_byte_array_append(all, (const guint8 *)"\xff\xd9", 2);
    return g_byte_array_free_to_bytes(all);
}

static void
refuse_raster(RvJpegCodec *codec, const guint8 *data, gsize size)
{
    for (int takes_planes = 0; takes_planes < 2; takes_planes++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_jpeg_codec_decode_raster(codec, data, size, 64, 64, takes_planes, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

static void
test_bad_bytes_are_no_rasters(void)
{
    g_autoptr(RvJpegCodec) codec = rv_jpeg_codec_new();
    g_autofree guint8 *rgb = gradient(64, 64);
    g_autoptr(GBytes) bytes = compress(rgb, 64, 64, TJSAMP_420, 0), endless = endless_scans(64, 600);
    g_autoptr(GBytes) large = endless_scans(2048, 10);
    gsize size = g_bytes_get_size(bytes);
    g_autofree guint8 *data = g_memdup2(g_bytes_get_data(bytes, NULL), size);
    refuse_raster(codec, NULL, 0);
    refuse_raster(codec, data, size / 2);
    refuse_raster(codec, g_bytes_get_data(endless, NULL), g_bytes_get_size(endless));
    /* Large ones may have fewer. */
    refuse_raster(codec, g_bytes_get_data(large, NULL), g_bytes_get_size(large));
    g_autoptr(GBytes) bearable = endless_scans(512, 100);
    g_autofree guint8 *back = g_malloc(3 * 64 * 64);
    g_assert_true(decode(codec, bearable, back, 64, 64, NULL));
    g_autofree guint8 *padded = g_malloc0(size + 100);
    memcpy(padded, data, size);
    g_autoptr(GBytes) whole = g_bytes_new(padded, size + 100);
    g_autoptr(RvRaster) raster = decode_raster(codec, whole, 64, 64, true);
    g_assert_null(raster->picture);
    /* Cut short, and given an end all the same. */
    data[size / 2] = 0xff;
    data[size / 2 + 1] = 0xd9;
    refuse_raster(codec, data, size / 2 + 2);
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
    g_test_add_func("/jpeg-codec/rasters", test_rasters_hold_what_was_sent);
    g_test_add_func("/jpeg-codec/inverted", test_inverted_colours_are_exact);
    g_test_add_func("/jpeg-codec/changes", test_changes_of_planes_are_those_of_rgb);
    g_test_add_func("/jpeg-codec/planes-quality", test_planes_are_encoded_as_rgb_is);
    g_test_add_func("/jpeg-codec/bad-rasters", test_bad_bytes_are_no_rasters);
    g_test_add_func("/jpeg-codec/pool", test_pool_runs_everything);
    return g_test_run();
}
