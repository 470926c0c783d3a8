#include <math.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "base/json_check.h"

static void
test_error_is_one_line(void)
{
    g_autoptr(GError) error = NULL;
    rv_error_set(&error, RV_ERROR_INVALID, "a.png", "give another file", "cannot\033read\n%d", 7);
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, "cannot read 7 (a.png): give another file");
    g_assert_cmpint(rv_error_exit_code(error), ==, 3);
    g_assert_cmpint(rv_error_exit_code(NULL), ==, 0);
}

/* Every float16 value goes to float32 and back unchanged. */
static void
test_f16_round_trip(void)
{
    for (guint32 i = 0; i < 65536; i++) {
        guint16 h = (guint16)i, back;
        float f;
        rv_convert_to_f32(RV_F16, &h, &f, 1);
        if (isnan(f))
            continue;
        rv_convert_from_f32(RV_F16, &f, &back, 1);
        g_assert_cmphex(h, ==, back);
    }
}

static void
test_f16_rounds_to_nearest_even(void)
{
    const float from[] = { 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 65519.0f, 65520.0f,
                           0x1p-25f,        3 * 0x1p-25f,        -1e9f };
    const guint16 want[] = { 0x3c00, 0x3c02, 0x7bff, 0x7c00, 0x0000, 0x0002, 0xfc00 };
    guint16 got[G_N_ELEMENTS(from)];
    rv_convert_from_f32(RV_F16, from, got, G_N_ELEMENTS(from));
    for (gsize i = 0; i < G_N_ELEMENTS(from); i++)
        g_assert_cmphex(got[i], ==, want[i]);
}

static void
test_bf16_and_f8(void)
{
    const float from[] = { 1.0f, 1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, -3.0e38f };
    const guint16 want[] = { 0x3f80, 0x3f80, 0x3f82, 0xff62 };
    guint16 got[G_N_ELEMENTS(from)];
    rv_convert_from_f32(RV_BF16, from, got, G_N_ELEMENTS(from));
    for (gsize i = 0; i < G_N_ELEMENTS(from); i++)
        g_assert_cmphex(got[i], ==, want[i]);

    const guint8 f8[] = { 0x00, 0x01, 0x38, 0x7e, 0xb8, 0x7f };
    float f[G_N_ELEMENTS(f8)];
    rv_convert_to_f32(RV_F8_E4M3, f8, f, G_N_ELEMENTS(f8));
    g_assert_cmpfloat(f[0], ==, 0.0f);
    g_assert_cmpfloat(f[1], ==, 0x1p-9f);
    g_assert_cmpfloat(f[2], ==, 1.0f);
    g_assert_cmpfloat(f[3], ==, 448.0f);
    g_assert_cmpfloat(f[4], ==, -1.0f);
    g_assert_true(isnan(f[5]));
}

static bool
is_shallow(const char *text)
{
    return rv_json_is_shallow(text, strlen(text));
}

static void
test_json_depth(void)
{
    g_autofree char *deep = g_strnfill(RV_JSON_MAX_DEPTH, '['), *deeper = g_strconcat("{", deep, NULL),
                    *text = g_strdup_printf("{\"prompt\": \"%s%s \\\" [[ // /*\"}", deep, deep);
    g_assert_true(rv_json_is_shallow(NULL, 0));
    g_assert_true(is_shallow("{\"a\": [1, -2.5e+3, true, null], \"b\": \"\xd1\x91'#=\"}"));
    g_assert_true(is_shallow(deep));
    g_assert_true(is_shallow(text));
    g_assert_false(is_shallow(deeper));
    /* What the parser skips or takes beyond JSON would hide brackets from the count. */
    for (const char *const *hiding = (const char *const[]) { "/*\"*/{", "//\"\n{", "{'\"':", "var x = {",
                                                             "#\"\n{", "\xef\xbb\xbf{", NULL };
         *hiding != NULL; hiding++)
        g_assert_false(is_shallow(*hiding));
    g_assert_false(rv_json_is_shallow("{}\0", 3));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/error/one-line", test_error_is_one_line);
    g_test_add_func("/base/array/f16-round-trip", test_f16_round_trip);
    g_test_add_func("/base/array/f16-rounding", test_f16_rounds_to_nearest_even);
    g_test_add_func("/base/array/bf16-f8", test_bf16_and_f8);
    g_test_add_func("/base/json-depth", test_json_depth);
    return g_test_run();
}
