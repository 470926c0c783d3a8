#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include <jpeglib.h>

#include "media/outpaint_noise.h"
#include "media/picture.h"

static RvPicture *
load(const char *name)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "media", name, NULL);
    g_autoptr(GError) error = NULL;
    RvPicture *picture = rv_picture_load(path, NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(picture);
    return picture;
}

static int
largest_difference(const guint8 *a, const guint8 *b, gsize count)
{
    int largest = 0;
    for (gsize i = 0; i < count; i++)
        largest = MAX(largest, ABS(a[i] - b[i]));
    return largest;
}

static gsize
pixels_of(const RvPicture *picture)
{
    return (gsize)picture->width * (gsize)picture->height;
}

static void
assert_same(const RvPicture *a, const RvPicture *b, int tolerance)
{
    g_assert_cmpint(a->width, ==, b->width);
    g_assert_cmpint(a->height, ==, b->height);
    g_assert_cmpint(largest_difference(a->rgb, b->rgb, 3 * pixels_of(a)), <=, tolerance);
    g_assert_cmpint(a->alpha != NULL, ==, b->alpha != NULL);
    if (a->alpha != NULL)
        g_assert_cmpint(largest_difference(a->alpha, b->alpha, pixels_of(a)), <=, tolerance);
}

typedef struct {
    const char *file, *expected; /* without .ppm and .pgm */
    bool has_alpha;
    int tolerance;
} Kind;

/* What Pillow reads. JPEG may differ by one where the decoder versions differ. */
static const Kind kinds[] = {
    { "rgb.png", "rgb", false, 0 },
    { "rgba.png", "rgba", true, 0 },
    { "grey.png", "grey", false, 0 },
    { "grey-alpha.png", "grey-alpha", true, 0 },
    { "bilevel.png", "bilevel", false, 0 },
    { "palette.png", "palette", false, 0 },
    { "palette-transparent.png", "palette-transparent", true, 0 },
    { "rgb-transparent.png", "rgb-transparent", true, 0 },
    { "rgb16.png", "rgb16", false, 0 },
    { "interlaced.png", "interlaced", false, 0 },
    { "baseline.jpg", "baseline", false, 1 },
    { "progressive.jpg", "progressive", false, 1 },
    { "sub444.jpg", "sub444", false, 1 },
    { "jpeg-grey.jpg", "jpeg-grey", false, 1 },
    { "cmyk.jpg", "cmyk", false, 1 },
    { "orientation-1.jpg", "orientation-1", false, 1 },
    { "orientation-2.jpg", "orientation-2", false, 1 },
    { "orientation-3.jpg", "orientation-3", false, 1 },
    { "orientation-4.jpg", "orientation-4", false, 1 },
    { "orientation-5.jpg", "orientation-5", false, 1 },
    { "orientation-6.jpg", "orientation-6", false, 1 },
    { "orientation-7.jpg", "orientation-7", false, 1 },
    { "orientation-8.jpg", "orientation-8", false, 1 },
    { "lossy.webp", "lossy", false, 1 },
    { "turned.webp", "turned", false, 0 },
    { "lossless-alpha.webp", "lossless-alpha", true, 0 },
};

static void
test_reads_what_pillow_reads(gconstpointer data)
{
    const Kind *kind = data;
    g_autofree char *color_name = g_strconcat(kind->expected, ".ppm", NULL);
    g_autofree char *alpha_name = g_strconcat(kind->expected, ".pgm", NULL);
    g_autoptr(RvPicture) picture = load(kind->file);
    g_autoptr(RvPicture) color = load(color_name);
    g_assert_cmpint(picture->width, ==, color->width);
    g_assert_cmpint(picture->height, ==, color->height);
    g_assert_cmpint(largest_difference(picture->rgb, color->rgb, 3 * pixels_of(picture)), <=,
                    kind->tolerance);
    g_assert_cmpint(picture->alpha != NULL, ==, kind->has_alpha);
    if (kind->has_alpha) {
        g_autoptr(RvPicture) alpha = load(alpha_name);
        for (gsize i = 0; i < pixels_of(picture); i++)
            g_assert_cmpint(picture->alpha[i], ==, alpha->rgb[3 * i]);
    }
}

static void
test_reads_first_frame_of_animation(void)
{
    g_autoptr(RvPicture) picture = load("animated.webp");
    g_autoptr(RvPicture) first = load("animated.ppm");
    g_assert_cmpint(picture->width, ==, first->width);
    g_assert_cmpint(largest_difference(picture->rgb, first->rgb, 3 * pixels_of(first)), ==, 0);
}

/* A CMYK picture as libjpeg writes it: YCCK and CMYK, with the Adobe marker (inverted) and without. */
static GByteArray *
make_cmyk(const guint8 ink[4], J_COLOR_SPACE space, bool has_adobe)
{
    struct jpeg_error_mgr manager;
    struct jpeg_compress_struct encoder = { .err = jpeg_std_error(&manager) };
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    guint8 row[16 * 4];
    jpeg_create_compress(&encoder);
    jpeg_mem_dest(&encoder, &bytes, &size);
    encoder.image_width = encoder.image_height = 16;
    encoder.input_components = 4;
    encoder.in_color_space = JCS_CMYK;
    jpeg_set_defaults(&encoder);
    jpeg_set_colorspace(&encoder, space);
    jpeg_set_quality(&encoder, 100, TRUE);
    encoder.write_Adobe_marker = has_adobe;
    jpeg_start_compress(&encoder, TRUE);
    for (int i = 0; i < 16 * 4; i++)
        row[i] = has_adobe ? 255 - ink[i % 4] : ink[i % 4];
    for (int y = 0; y < 16; y++) {
        JSAMPROW rows[1] = { row };
        jpeg_write_scanlines(&encoder, rows, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    return g_byte_array_new_take(bytes, size);
}

static void
test_reads_cmyk_and_ycck(void)
{
    const guint8 ink[4] = { 0, 200, 100, 51 },
                 rgb[3] = { 204, 44, 124 }; /* (255 - ink) * (255 - black) / 255 */
    const struct {
        J_COLOR_SPACE space;
        bool has_adobe;
    } cases[] = { { JCS_CMYK, true }, { JCS_CMYK, false }, { JCS_YCCK, true } };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = make_cmyk(ink, cases[i].space, cases[i].has_adobe);
        g_autoptr(GError) error = NULL;
        g_autoptr(RvPicture) picture = rv_picture_load_bytes(bytes->data, bytes->len, "cmyk", NULL, &error);
        g_assert_no_error(error);
        g_assert_cmpint(largest_difference(picture->rgb + 3 * 100, rgb, 3), <=, 2);
    }
}

/* --- bad files --- */

static void
append_be32(GByteArray *bytes, guint32 value)
{
    value = GUINT32_TO_BE(value);
    g_byte_array_append(bytes, (guint8 *)&value, 4);
}

static void
append_chunk(GByteArray *bytes, const char *type, const void *data, gsize size)
{
    append_be32(bytes, (guint32)size);
    guint start = bytes->len;
    g_byte_array_append(bytes, (const guint8 *)type, 4);
    if (size > 0)
        g_byte_array_append(bytes, data, (guint)size);
    append_be32(bytes, (guint32)crc32(0, bytes->data + start, bytes->len - start));
}

/* A grey PNG whose pixels are `zeros` packed zero bytes, with one more chunk before them. */
static GByteArray *
make_png(guint32 width, guint32 height, gsize zeros, const char *type, const void *data, gsize size)
{
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)"\x89PNG\r\n\x1a\n", 8);
    g_autoptr(GByteArray) header = g_byte_array_new();
    append_be32(header, width);
    append_be32(header, height);
    g_byte_array_append(header, (const guint8 *)"\x08\0\0\0\0", 5);
    append_chunk(bytes, "IHDR", header->data, header->len);
    if (type != NULL)
        append_chunk(bytes, type, data, size);
    g_autofree guint8 *plain = g_malloc0(zeros + 1);
    unsigned long packed_size = compressBound(zeros);
    g_autofree guint8 *packed = g_malloc(packed_size);
    compress2(packed, &packed_size, plain, zeros, 9);
    append_chunk(bytes, "IDAT", packed, packed_size);
    append_chunk(bytes, "IEND", NULL, 0);
    return bytes;
}

static void
assert_refused(const void *data, gsize size, RvError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    RvPicture *picture = rv_picture_load_bytes(data, size, "it.png", NULL, &error);
    g_assert_null(picture);
    g_assert_error(error, RV_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_nonnull(strstr(error->message, "(it.png): "));
    g_assert_null(strchr(error->message, '\n'));
}

static void
test_png_sizes(void)
{
    g_autoptr(GByteArray) good = make_png(3, 2, 8, NULL, NULL, 0);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(good->data, good->len, "it.png", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(picture->width, ==, 3);

    g_autoptr(GByteArray) empty = make_png(0, 0, 1, NULL, NULL, 0);
    assert_refused(empty->data, empty->len, RV_ERROR_INVALID, "no pixels: 0 x 0");
    g_autoptr(GByteArray) flat = make_png(5, 0, 1, NULL, NULL, 0);
    assert_refused(flat->data, flat->len, RV_ERROR_INVALID, "no pixels: 5 x 0");
    g_autoptr(GByteArray) large = make_png(60000, 60000, 100, NULL, NULL, 0);
    assert_refused(large->data, large->len, RV_ERROR_UNSUPPORTED, "60000 x 60000");
    g_autoptr(GByteArray) wide = make_png(0x7fffffff, 0x7fffffff, 100, NULL, NULL, 0);
    assert_refused(wide->data, wide->len, RV_ERROR_UNSUPPORTED, "too large");
    g_autoptr(GByteArray) lying = make_png(30, 20, 8, NULL, NULL, 0);
    assert_refused(lying->data, lying->len, RV_ERROR_INVALID, "broken PNG");

    RvPictureLimits limits = { .pixels = 5 };
    g_assert_null(rv_picture_load_bytes(good->data, good->len, "it.png", &limits, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
}

static void
test_png_bombs(void)
{
    gsize plain_size = 64 << 20;
    g_autofree guint8 *plain = g_malloc0(plain_size);
    unsigned long size = compressBound(plain_size);
    g_autofree guint8 *bomb = g_malloc(size + 32);
    memcpy(bomb, "k\0", 3); /* keyword, method 0 */
    compress2(bomb + 3, &size, plain, plain_size, 9);
    g_autoptr(GByteArray) packed = make_png(3, 2, 8, "zTXt", bomb, size + 3);
    assert_refused(packed->data, packed->len, RV_ERROR_INVALID, "bytes of text");

    memmove(bomb + 6, bomb + 3, size);
    memcpy(bomb, "k\0\1\0\0", 6); /* packed, method 0, no language, no translation */
    g_autoptr(GByteArray) wide = make_png(3, 2, 8, "iTXt", bomb, size + 6);
    assert_refused(wide->data, wide->len, RV_ERROR_INVALID, "bytes of text");

    /* Streams that break off are no texts, but unpacking them costs as much. */
    size = compressBound(plain_size);
    memcpy(bomb, "k\0", 3);
    compress2(bomb + 3, &size, plain, 3 << 20, 9);
    g_autoptr(GByteArray) broken = make_png(3, 2, 8, "zTXt", bomb, size - 5);
    append_chunk(broken, "zTXt", bomb, size - 5);
    assert_refused(broken->data, broken->len, RV_ERROR_INVALID, "bytes of text");
    size = compressBound(plain_size);
    compress2(bomb + 3, &size, plain, plain_size, 9);

    memset(plain, 'a', 8 << 20);
    plain[1] = 0;
    g_autoptr(GByteArray) long_text = make_png(3, 2, 8, "tEXt", plain, 8 << 20);
    assert_refused(long_text->data, long_text->len, RV_ERROR_INVALID, "bytes of text");

    /* A colour profile is never unpacked, so a bomb there does nothing. */
    g_autoptr(GByteArray) profile = make_png(3, 2, 8, "iCCP", bomb, size + 3);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(profile->data, profile->len, "it.png", NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(picture);
}

static void
test_jpeg_sizes(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "media", "baseline.jpg", NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    gsize frame = 0;
    for (gsize i = 0; i + 8 < size && frame == 0; i++)
        if ((guint8)bytes[i] == 0xff && (guint8)bytes[i + 1] == 0xc0)
            frame = i;
    memcpy(bytes + frame + 5, "\xea\x60\xea\x60", 4);
    assert_refused(bytes, size, RV_ERROR_UNSUPPORTED, "60000 x 60000");
    memcpy(bytes + frame + 5, "\0\0\0\0", 4);
    assert_refused(bytes, size, RV_ERROR_INVALID, "broken JPEG");
}

/* No prefix of a file is a picture: neither part of it nor a crash. */
static void
test_truncated(gconstpointer data)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "media", (const char *)data, NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    for (gsize length = 0; length < size; length++) {
        /* an exact copy, so that a sanitizer sees reads beyond the end */
        g_autofree char *part = g_memdup2(bytes, length);
        g_autoptr(GError) error = NULL;
        RvPicture *picture = rv_picture_load_bytes(part, length, "it", NULL, &error);
        /* what follows the end-of-image marker of a JPEG, or a RIFF padding byte, may be missing */
        if (picture != NULL && length + 2 >= size) {
            rv_picture_free(picture);
            continue;
        }
        if (picture != NULL)
            g_test_message("%s: %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT " bytes pass", (const char *)data,
                           length, size);
        g_assert_null(picture);
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

/* Bytes flipped all over a file: any result but a crash or a hang. */
static void
test_corrupted(gconstpointer data)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "media", (const char *)data, NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    for (int round = 0; round < 500; round++) {
        g_autofree char *part = g_memdup2(bytes, size);
        for (int i = 0; i < 4; i++)
            part[g_rand_int_range(random, 0, (gint32)size)] ^= (char)(1 << g_rand_int_range(random, 0, 8));
        RvPicture *picture = rv_picture_load_bytes(part, size, "it", NULL, NULL);
        rv_picture_free(picture);
    }
}

static void
assert_not_loaded(const char *path, RvError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_picture_load(path, NULL, &error));
    g_assert_error(error, RV_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, part));
}

static void
test_not_a_picture(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.png", NULL);
    assert_not_loaded(path, RV_ERROR_NOT_FOUND, "no such picture");
    assert_not_loaded(folder, RV_ERROR_INVALID, "is a folder");
    g_file_set_contents(path, "", 0, NULL);
    assert_not_loaded(path, RV_ERROR_INVALID, "empty");
    g_file_set_contents(path, "hello, this is text", -1, NULL);
    assert_not_loaded(path, RV_ERROR_INVALID, "not a picture");
    g_file_set_contents(path, "GIF89a......", -1, NULL);
    assert_not_loaded(path, RV_ERROR_UNSUPPORTED, "GIF");
    g_autofree char *inside = g_build_filename(path, "b.png", NULL);
    assert_not_loaded(inside, RV_ERROR_NOT_FOUND, "no such picture");

    RvPictureLimits limits = { .file_bytes = 4 };
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_picture_load(path, &limits, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    g_assert_null(rv_picture_load("/dev/zero", &limits, &error)); /* never ends */
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    g_remove(path);
    g_rmdir(folder);
}

static void
test_pnm_errors(void)
{
    assert_refused("P6", 2, RV_ERROR_INVALID, "header");
    assert_refused("P6 2 2 255\n123", 14, RV_ERROR_INVALID, "too early");
    assert_refused("P6 0 2 255\n123", 14, RV_ERROR_INVALID, "no pixels");
    assert_refused("P6 2 2 65535\n123", 16, RV_ERROR_UNSUPPORTED, "65535");
    assert_refused("P6 99999999999999999999 2 255\n", 30, RV_ERROR_INVALID, "header");
    assert_refused("P6 60000 60000 255\n", 19, RV_ERROR_UNSUPPORTED, "too large");
}

/* --- texts --- */

static void
test_reads_png_texts(void)
{
    g_autoptr(RvPicture) picture = load("texts.png");
    g_assert_cmpstr(rv_picture_infotext(picture), ==, "a caf\xc3\xa9\nSteps: 4, Sampler: Euler a, Seed: 1");
    g_assert_cmpuint(strlen(g_hash_table_lookup(picture->texts, "packed")), ==, 3000);
    g_assert_cmpstr(g_hash_table_lookup(picture->texts, "wide"), ==, "紅いりんご");
    g_assert_cmpstr(g_hash_table_lookup(picture->texts, "wide packed"), ==, "красное");
}

static bool
contains(GBytes *bytes, const char *part, gsize size)
{
    gsize length;
    const char *data = g_bytes_get_data(bytes, &length);
    return memmem(data, length, part, size) != NULL;
}

static const char *const infotexts[] = {
    "a cat\nSteps: 20, Seed: 1, Size: 8x8",
    "caf\xc3\xa9 \xc3\xbf\nNegative prompt: x",
    "紅いりんご\nSteps: 1",
    "emoji 🍎 and\ttab",
};

static void
test_infotext_survives(void)
{
    g_autoptr(RvPicture) picture = load("rgba.png");
    for (gsize i = 0; i < G_N_ELEMENTS(infotexts); i++)
        for (int format = RV_PICTURE_PNG; format <= RV_PICTURE_WEBP; format++) {
            g_autoptr(GError) error = NULL;
            RvPictureSaveOptions options = { .infotext = infotexts[i] };
            g_autoptr(GBytes) bytes = rv_picture_encode(picture, (RvPictureFormat)format, &options, &error);
            g_assert_no_error(error);
            g_autoptr(GBytes) again = rv_picture_encode(picture, (RvPictureFormat)format, &options, &error);
            g_assert_true(g_bytes_equal(bytes, again));
            gsize size;
            const void *data = g_bytes_get_data(bytes, &size);
            g_autoptr(RvPicture) back = rv_picture_load_bytes(data, size, "it", NULL, &error);
            g_assert_no_error(error);
            g_assert_cmpstr(rv_picture_infotext(back), ==, infotexts[i]);
            if (format == RV_PICTURE_PNG) {
                g_assert_true(contains(bytes, i < 2 ? "tEXtparameters" : "iTXtparameters", 14));
                assert_same(picture, back, 0);
            }
        }
}

static void
test_exif_byte_orders(void)
{
    /* UserComment "hi" in UTF-16 little endian without a mark, in a little-endian block */
    static const guint8 little[] = { 'E',  'x',  'i',  'f',  0,   0,   'I', 'I', '*', 0, 8,   0, 0,   0, 1, 0,
                                     0x69, 0x87, 4,    0,    1,   0,   0,   0,   26,  0, 0,   0, 0,   0, 0, 0,
                                     1,    0,    0x86, 0x92, 7,   0,   12,  0,   0,   0, 44,  0, 0,   0, 0, 0,
                                     0,    0,    'U',  'N',  'I', 'C', 'O', 'D', 'E', 0, 'h', 0, 'i', 0 };
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "media", "baseline.jpg", NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_autoptr(GByteArray) whole = g_byte_array_new();
    const guint8 marker[4] = { 0xff, 0xe1, 0, sizeof little + 2 };
    g_byte_array_append(whole, (guint8 *)bytes, 2);
    g_byte_array_append(whole, marker, 4);
    g_byte_array_append(whole, little, sizeof little);
    g_byte_array_append(whole, (guint8 *)bytes + 2, (guint)size - 2);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(whole->data, whole->len, "it", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(rv_picture_infotext(picture), ==, "hi");
}

static void
test_too_long_for_jpeg(void)
{
    g_autoptr(RvPicture) picture = load("rgb.png");
    g_autofree char *text = g_strnfill(40000, 'a');
    g_autoptr(GError) error = NULL;
    RvPictureSaveOptions options = { .infotext = text };
    g_assert_null(rv_picture_encode(picture, RV_PICTURE_JPEG, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
}

/* The missing part gets stripes of its own, in the known ones' colours and width; what is known stays. */
static void
test_outpaint_noise(void)
{
    enum { WIDTH = 96, HEIGHT = 64, KNOWN = 64 };
    static guint8 mask[WIDTH * HEIGHT];
    g_autoptr(RvPicture) picture = rv_picture_new(WIDTH, HEIGHT, false, NULL);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        bool is_light = i / WIDTH / 8 % 2 == 0;
        mask[i] = i % WIDTH >= KNOWN ? 255 : 0;
        memset(picture->rgb + 3 * i, mask[i] != 0 ? 0 : is_light ? 200 : 40, 3);
    }
    g_autoptr(RvPicture) again = rv_picture_copy(picture, NULL), whole = rv_picture_copy(picture, NULL);
    g_assert_true(rv_outpaint_noise(picture, mask, 1.0, 0.05, NULL));
    g_assert_true(rv_outpaint_noise(again, mask, 1.0, 0.05, NULL));
    g_assert_cmpmem(picture->rgb, WIDTH * HEIGHT * 3, again->rgb, WIDTH * HEIGHT * 3);
    int right = 0, light = 0, count = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int value = picture->rgb[3 * i], wanted = i / WIDTH / 8 % 2 == 0 ? 200 : 40;
        g_assert_true(value == 200 || value == 40);
        if (mask[i] == 0)
            g_assert_cmpint(value, ==, wanted);
        right += mask[i] != 0 && value == wanted;
        light += mask[i] != 0 && value == 200;
        count += mask[i] != 0;
    }
    g_assert_cmpint(abs(2 * right - count), >, count / 2); /* stripes, in phase or not; plain noise: near 0 */
    g_assert_cmpint(abs(light - count / 2), <=, count / 50);
    memset(mask, 0, sizeof mask);
    g_assert_true(rv_outpaint_noise(whole, mask, 1.0, 0.05, NULL));
    g_assert_cmpint(whole->rgb[3 * KNOWN], ==, 0);
    memset(mask, 255, sizeof mask); /* nothing is known */
    g_assert_true(rv_outpaint_noise(whole, mask, 0.0, 1.0, NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strdup_printf("/picture/read/%s", kinds[i].file);
        g_test_add_data_func(path, &kinds[i], test_reads_what_pillow_reads);
    }
    g_test_add_func("/picture/read/animated.webp", test_reads_first_frame_of_animation);
    g_test_add_func("/picture/read/cmyk-ycck", test_reads_cmyk_and_ycck);
    g_test_add_func("/picture/bad/png-sizes", test_png_sizes);
    g_test_add_func("/picture/bad/png-bombs", test_png_bombs);
    g_test_add_func("/picture/bad/jpeg-sizes", test_jpeg_sizes);
    g_test_add_func("/picture/bad/not-a-picture", test_not_a_picture);
    g_test_add_func("/picture/bad/pnm", test_pnm_errors);
    static const char *const broken[] = {
        "texts.png",   "interlaced.png",      "progressive.jpg", "cmyk.jpg",         "lossy.webp",
        "turned.webp", "lossless-alpha.webp", "animated.webp",   "orientation-6.jpg"
    };
    for (gsize i = 0; i < G_N_ELEMENTS(broken); i++) {
        g_autofree char *truncated = g_strdup_printf("/picture/bad/truncated/%s", broken[i]);
        g_autofree char *corrupted = g_strdup_printf("/picture/bad/corrupted/%s", broken[i]);
        g_test_add_data_func(truncated, broken[i], test_truncated);
        g_test_add_data_func(corrupted, broken[i], test_corrupted);
    }
    g_test_add_func("/picture/text/png", test_reads_png_texts);
    g_test_add_func("/picture/text/survives", test_infotext_survives);
    g_test_add_func("/picture/text/exif-byte-orders", test_exif_byte_orders);
    g_test_add_func("/picture/text/too-long-for-jpeg", test_too_long_for_jpeg);
    g_test_add_func("/picture/outpaint-noise", test_outpaint_noise);
    return g_test_run();
}
