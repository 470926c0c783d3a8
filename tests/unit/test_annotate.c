/* Edges against a naive Canny on shapes whose edges are known; poses, fills, and what is refused. */
#include <math.h>
#include <string.h>

#include "media/annotate.h"

static RvPicture *
new_picture(int width, int height, guint8 value)
{
    g_autoptr(GError) error = NULL;
    RvPicture *p = rv_picture_new(width, height, false, &error);
    g_assert_no_error(error);
    memset(p->rgb, value, 3 * (gsize)width * (gsize)height);
    return p;
}

static guint8 *
at(RvPicture *p, int x, int y)
{
    return p->rgb + 3 * (y * p->width + x);
}

static int
count_lit(const RvPicture *p)
{
    int lit = 0;
    for (int i = 0; i < p->width * p->height; i++)
        lit += p->rgb[3 * i] == 255;
    return lit;
}

/* A step from black to white between columns 9 and 10: of the two columns that see it the left one is kept.
 */
static void
test_step(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) p = new_picture(20, 12, 0);
    for (int y = 0; y < 12; y++)
        for (int x = 10; x < 20; x++)
            memset(at(p, x, y), 255, 3);
    g_autoptr(RvPicture) edges = rv_canny(p, 100, 200, &error);
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 20; x++)
            g_assert_cmpint(at(edges, x, y)[0], ==, x == 9 ? 255 : 0);
    /* one colour is enough; a step of 20 is too weak for either threshold (4 * 20 = 80) */
    for (int i = 0; i < 20 * 12; i++)
        p->rgb[3 * i] = p->rgb[3 * i + 2] = 0;
    g_autoptr(RvPicture) green = rv_canny(p, 100, 200, &error);
    g_assert_cmpint(count_lit(green), ==, 12);
    for (int i = 0; i < 3 * 20 * 12; i++)
        p->rgb[i] = p->rgb[i] ? 20 : 0;
    g_autoptr(RvPicture) weak = rv_canny(p, 100, 200, &error);
    g_assert_cmpint(count_lit(weak), ==, 0);
}

/* A step of 30 (size 120) is weak: it counts only where it hangs together with a strong one. */
static void
test_hysteresis(void)
{
    g_autoptr(GError) error = NULL;
    for (int strong = 0; strong < 2; strong++) {
        g_autoptr(RvPicture) p = new_picture(20, 30, 0);
        for (int y = 0; y < 30; y++)
            for (int x = 10; x < 20; x++)
                memset(at(p, x, y), strong && y < 5 ? 200 : 30, 3);
        g_autoptr(RvPicture) edges = rv_canny(p, 100, 200, &error);
        g_assert_cmpint(at(edges, 9, 25)[0], ==, strong ? 255 : 0);
    }
}

static void
test_others(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) p = new_picture(16, 16, 0);
    memset(at(p, 8, 8), 255, 3);
    g_autoptr(RvPicture) inverted = rv_annotate(p, "invert", 0, 0, &error);
    g_assert_cmpint(at(inverted, 0, 0)[0], ==, 255);
    g_assert_cmpint(at(inverted, 8, 8)[0], ==, 0);
    g_autoptr(RvPicture) same = rv_annotate(p, NULL, 0, 0, &error);
    g_assert_cmpmem(same->rgb, 3 * 256, p->rgb, 3 * 256);
    g_autoptr(RvPicture) blurred = rv_annotate(p, "blur_gaussian", 1.0, 0, &error);
    double want = 255.0 / (2.0 * G_PI);
    g_assert_cmpfloat_with_epsilon((double)at(blurred, 8, 8)[0], want, 2.5);
    g_autoptr(RvPicture) tile = rv_annotate(p, "tile_resample", 4.0, 0, &error);
    g_assert_cmpint(tile->width, ==, 16);
    g_assert_cmpint(at(tile, 8, 8)[0], <, 100);
    g_assert_null(rv_annotate(p, "depth_midas", 0, 0, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    g_assert_true(rv_annotate_knows("Canny") && !rv_annotate_knows("depth"));
}

static void
test_fill(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) p = new_picture(4, 8, 10);
    for (int y = 0; y < 8; y++)
        memset(at(p, 3, y), 90, 3);
    g_autoptr(RvPicture) wide = rv_picture_fill(p, 16, 8, RV_FILTER_NEAREST, &error);
    g_assert_cmpint(at(wide, 0, 4)[0], ==, 10);
    g_assert_cmpint(at(wide, 15, 4)[0], ==, 90);
    g_assert_cmpint(at(wide, 8, 4)[0], ==, 10);
}

static void
test_pose(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) points = g_string_new(NULL);
    for (int i = 0; i < 18; i++) /* neck at (50, 20), right shoulder at (20, 20) */
        g_string_append_printf(points, "%s%d,%d,%d", i ? "," : "", i == 2 ? 20 : 50, 20, i == 1 || i == 2);
    g_autofree char *json = g_strdup_printf(
        "{\"people\":[{\"pose_keypoints_2d\":[%s]}],\"canvas_width\":100,\"canvas_height\":40}", points->str);
    g_autoptr(RvPicture) p = rv_openpose_draw(json, -1, 200, 80, &error);
    g_assert_no_error(error);
    const guint8 limb[] = { 153, 0, 0 }, neck[] = { 255, 85, 0 }, shoulder[] = { 255, 170, 0 };
    g_assert_cmpmem(at(p, 70, 40), 3, limb, 3);
    g_assert_cmpmem(at(p, 100, 40), 3, neck, 3);
    g_assert_cmpmem(at(p, 40, 40), 3, shoulder, 3);
    g_assert_cmpint(at(p, 70, 46)[0], ==, 0);
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"people\":3}",
        "{\"people\":[1]}",
        "{\"people\":[{\"pose_keypoints_2d\":[1,2]}]}",
        "{\"people\":[{\"pose_keypoints_2d\":[1,2,3]}]}",
        "{\"people\":[{\"pose_keypoints_2d\":[\"a\",2,3]}]}",
        "{\"people\":[{\"face_keypoints_2d\":{}}]}",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_clear_error(&error);
        g_assert_null(rv_openpose_draw(bad[i], -1, 64, 64, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/annotate/step", test_step);
    g_test_add_func("/annotate/hysteresis", test_hysteresis);
    g_test_add_func("/annotate/others", test_others);
    g_test_add_func("/annotate/fill", test_fill);
    g_test_add_func("/annotate/pose", test_pose);
    return g_test_run();
}
