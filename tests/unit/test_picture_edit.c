#include <stdlib.h>
#include <string.h>

#include "media/mask.h"
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

static void
test_resizes_as_pillow(void)
{
    static const char *const names[] = { "nearest", "bilinear", "bicubic", "lanczos" };
    static const int sizes[][2] = { { 16, 11 }, { 57, 20 }, { 90, 64 }, { 8, 80 } };
    g_autoptr(RvPicture) source = load("source.ppm");
    for (int filter = RV_FILTER_NEAREST; filter <= RV_FILTER_LANCZOS; filter++)
        for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
            g_autofree char *name =
                g_strdup_printf("resize-%s-%dx%d.ppm", names[filter], sizes[i][0], sizes[i][1]);
            g_autoptr(RvPicture) want = load(name);
            g_autoptr(RvPicture) got =
                rv_picture_resize(source, sizes[i][0], sizes[i][1], (RvFilter)filter, NULL);
            assert_same(got, want, 0);
        }
}

static void
test_resize_keeps_alpha_and_texts(void)
{
    g_autoptr(RvPicture) source = load("rgba.png");
    g_hash_table_replace(source->texts, g_strdup("parameters"), g_strdup("t"));
    g_autoptr(RvPicture) got = rv_picture_resize(source, 5, 4, RV_FILTER_LANCZOS, NULL);
    g_assert_nonnull(got->alpha);
    g_assert_cmpstr(rv_picture_infotext(got), ==, "t");
    g_autoptr(RvPicture) tiny = rv_picture_resize(source, 1, 1, RV_FILTER_LANCZOS, NULL);
    g_assert_cmpint(tiny->width, ==, 1);
    g_autoptr(RvPicture) same =
        rv_picture_resize(source, source->width, source->height, RV_FILTER_LANCZOS, NULL);
    assert_same(source, same, 0);
}

static void
test_cover_and_crop(void)
{
    g_autoptr(RvPicture) source = load("source.ppm"); /* 57 x 41 */
    g_autoptr(RvPicture) cropped = rv_picture_crop(source, 3, 5, 10, 7, NULL);
    g_assert_cmpint(memcmp(cropped->rgb, source->rgb + 3 * (5 * 57 + 3), 30), ==, 0);
    g_assert_cmpint(memcmp(cropped->rgb + 30, source->rgb + 3 * (6 * 57 + 3), 30), ==, 0);

    /* 41 x 41 from 57 x 41: no scaling, 28 - 20 columns off on the left */
    g_autoptr(RvPicture) square = rv_picture_cover(source, 41, 41, RV_FILTER_LANCZOS, NULL);
    g_autoptr(RvPicture) middle = rv_picture_crop(source, 8, 0, 41, 41, NULL);
    assert_same(square, middle, 0);
    static const int sizes[][2] = { { 1, 1 }, { 200, 3 }, { 3, 200 }, { 57, 41 }, { 64, 64 }, { 114, 81 } };
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(RvPicture) got =
            rv_picture_cover(source, sizes[i][0], sizes[i][1], RV_FILTER_LANCZOS, NULL);
        g_assert_cmpint(got->width, ==, sizes[i][0]);
        g_assert_cmpint(got->height, ==, sizes[i][1]);
    }
}

static void
test_mask_is_luma_or_alpha(void)
{
    g_autoptr(RvPicture) source = load("source.ppm");
    g_autoptr(RvPicture) luma = load("luma.pgm");
    g_autoptr(RvMask) mask = rv_mask_from_picture(source, NULL);
    for (gsize i = 0; i < pixels_of(source); i++)
        g_assert_cmpint(mask->values[i], ==, luma->rgb[3 * i]);

    g_autoptr(RvPicture) rgba = load("rgba.png");
    g_autoptr(RvMask) from_alpha = rv_mask_from_picture(rgba, NULL);
    for (gsize i = 0; i < pixels_of(rgba); i++)
        g_assert_cmpint(from_alpha->values[i], ==, rgba->alpha[i] > 128 ? 255 : 0);

    memset(rgba->alpha, 255, pixels_of(rgba)); /* opaque: alpha says nothing */
    g_autoptr(RvMask) opaque = rv_mask_from_picture(rgba, NULL);
    g_autoptr(RvMask) inverted = rv_mask_from_picture(rgba, NULL);
    rv_mask_invert(inverted);
    g_assert_cmpint(opaque->values[0], ==,
                    (rgba->rgb[0] * 299 + rgba->rgb[1] * 587 + rgba->rgb[2] * 114 + 500) / 1000);
    g_assert_cmpint(inverted->values[0], ==, 255 - opaque->values[0]);
}

static void
test_mask_blur(void)
{
    g_autoptr(RvMask) mask = rv_mask_new(41, 31, NULL);
    memset(mask->values, 0, 41 * 31);
    mask->values[15 * 41 + 20] = 255;
    g_assert_true(rv_mask_blur(mask, 2.0, 0.0, NULL));
    /* sigma 2: 11 taps, the middle one 1 / sum of exp(-k*k/8) = 0.2007 */
    g_assert_cmpint(mask->values[15 * 41 + 20], ==, 51);
    g_assert_cmpint(mask->values[15 * 41 + 15], >, 0);
    g_assert_cmpint(mask->values[15 * 41 + 14], ==, 0);
    g_assert_cmpint(mask->values[14 * 41 + 20], ==, 0); /* not along y */

    memset(mask->values, 200,
           41 * 31); /* constant stays constant up to the borders, sigmas beyond the mask too */
    g_assert_true(rv_mask_blur(mask, 4.0, 60.0, NULL));
    for (int i = 0; i < 41 * 31; i++)
        g_assert_cmpint(mask->values[i], ==, 200);
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_mask_blur(mask, 1e9, 0, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);

    g_autoptr(RvMask) small = rv_mask_resize(mask, 5, 4, RV_FILTER_LANCZOS, NULL);
    g_assert_cmpint(small->values[7], ==, 200);
    g_autoptr(RvMask) part = rv_mask_crop(mask, 40, 30, 1, 1, NULL);
    g_assert_cmpint(part->values[0], ==, 200);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/picture/resize/as-pillow", test_resizes_as_pillow);
    g_test_add_func("/picture/resize/alpha-texts", test_resize_keeps_alpha_and_texts);
    g_test_add_func("/picture/resize/cover-crop", test_cover_and_crop);
    g_test_add_func("/picture/mask/luma-alpha", test_mask_is_luma_or_alpha);
    g_test_add_func("/picture/mask/blur", test_mask_blur);
    return g_test_run();
}
