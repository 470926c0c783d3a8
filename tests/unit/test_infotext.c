#include <math.h>
#include <string.h>

#include "media/infotext.h"

static void
test_numbers_as_python(void)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        { 7, "7.0" },
        { 0.1, "0.1" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { -0.0, "-0.0" },
        { 0, "0.0" },
        { 1e16, "1e+16" },
        { 1e15, "1000000000000000.0" },
        { 123456789012345680.0, "1.2345678901234568e+17" },
        { 0.0001, "0.0001" },
        { 0.00001, "1e-05" },
        { 0.00123, "0.00123" },
        { -2.5, "-2.5" },
        { 1e300, "1e+300" },
        { 5e-324, "5e-324" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 0.75, "0.75" },
        { 100, "100.0" },
        { INFINITY, "inf" },
        { -INFINITY, "-inf" },
        { NAN, "nan" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = rv_infotext_number(cases[i].value);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void
test_writes_as_a1111(void)
{
    g_autoptr(RvInfotext) info = rv_infotext_new("a red apple, <lora:x:1>", "blurry");
    rv_infotext_set(info, "Version", "reverie");
    rv_infotext_set_size(info, "Size", 512, 768);
    rv_infotext_set(info, "Lora hashes", "x: 0123456789ab, y: 00");
    rv_infotext_set_integer(info, "Seed", 4294967295);
    rv_infotext_set_number(info, "CFG scale", 7);
    rv_infotext_set(info, "Sampler", "Euler a");
    rv_infotext_set(info, "Mask blur", "4");
    rv_infotext_set_integer(info, "Steps", 20);
    rv_infotext_set(info, "User", "eva");
    rv_infotext_set(info, "Tiling", "Tiling");
    rv_infotext_set(info, "Note", "say \"hi\"\n\\ 紅: \x01");
    rv_infotext_set(info, "Gone", "x");
    rv_infotext_set(info, "Gone", NULL);
    rv_infotext_set(info, "Never", NULL);
    g_autofree char *text = rv_infotext_write(info);
    g_assert_cmpstr(text, ==,
                    "a red apple, <lora:x:1>\n"
                    "Negative prompt: blurry\n"
                    "Steps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 4294967295, Size: 512x768, Tiling, "
                    "Lora hashes: \"x: 0123456789ab, y: 00\", Mask blur: 4, "
                    "Note: \"say \\\"hi\\\"\\n\\\\ 紅: \\u0001\", Version: reverie, User: eva");
}

static void
test_writes_edges(void)
{
    g_autoptr(RvInfotext) empty = rv_infotext_new(NULL, NULL);
    g_autofree char *nothing = rv_infotext_write(empty);
    g_assert_cmpstr(nothing, ==, "");
    rv_infotext_set(empty, "Steps", "1");
    g_autofree char *steps = rv_infotext_write(empty);
    g_assert_cmpstr(steps, ==, "Steps: 1");
    g_autoptr(RvInfotext) prompt = rv_infotext_new("only this ", "");
    g_autofree char *text = rv_infotext_write(prompt);
    g_assert_cmpstr(text, ==, "only this");
}

static void
test_parses(void)
{
    g_autoptr(RvInfotext) info =
        rv_infotext_parse("  first line\nsecond: line, x \n\nNegative prompt: bad\n more bad\n"
                          "Steps: 4, Sampler: DPM++ 2M Karras, CFG scale: 1.5, Seed: 7, "
                          "Size: 512x768, ControlNet 0: \"Module: canny, Weight: 1.0\", "
                          "Odd: \"no end, Hires resize: 0x900\n");
    g_assert_cmpstr(info->prompt, ==, "first line\nsecond: line, x\n");
    g_assert_cmpstr(info->negative, ==, "bad\nmore bad");
    g_assert_cmpstr(rv_infotext_get(info, "Steps"), ==, "4");
    g_assert_cmpstr(rv_infotext_get(info, "ControlNet 0"), ==, "Module: canny, Weight: 1.0");
    g_assert_cmpstr(rv_infotext_get(info, "Odd"), ==, "\"no end");
    g_assert_null(rv_infotext_get(info, "second"));
    int width, height;
    g_assert_true(rv_infotext_get_size(info, "Size", &width, &height));
    g_assert_cmpint(width, ==, 512);
    g_assert_cmpint(height, ==, 768);
    g_assert_false(rv_infotext_get_size(info, "Seed", &width, &height));

    rv_infotext_expand(info);
    g_assert_null(rv_infotext_get(info, "Size"));
    g_assert_cmpstr(rv_infotext_get(info, "Size-1"), ==, "512");
    g_assert_cmpstr(rv_infotext_get(info, "Size-2"), ==, "768");
    g_assert_cmpstr(rv_infotext_get(info, "Hires resize-1"), ==, "0");
    g_assert_cmpstr(rv_infotext_get(info, "Hires resize-2"), ==, "900");
    g_assert_cmpstr(rv_infotext_get(info, "Sampler"), ==, "DPM++ 2M");
    g_assert_cmpstr(rv_infotext_get(info, "Schedule type"), ==, "Karras");
    g_assert_cmpstr(rv_infotext_get(info, "Clip skip"), ==, "1");
    g_assert_cmpstr(rv_infotext_get(info, "RNG"), ==, "GPU");
}

static void
test_old_sampler_names(void)
{
    static const char *const cases[][3] = {
        { "Euler a", "Euler a", "Automatic" },
        { "DPM++ 2M SDE Exponential", "DPM++ 2M SDE", "Exponential" },
        { "DPM2 a Karras", "DPM2 a", "Karras" },
        { "Euler SGM Uniform", "Euler", "SGM Uniform" },
        { "Karras", "Karras", "Automatic" },
        { "DPM fast Polyexponential", "DPM fast", "Polyexponential" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(RvInfotext) info = rv_infotext_new(NULL, NULL);
        rv_infotext_set(info, "Sampler", cases[i][0]);
        rv_infotext_expand(info);
        g_assert_cmpstr(rv_infotext_get(info, "Sampler"), ==, cases[i][1]);
        g_assert_cmpstr(rv_infotext_get(info, "Schedule type"), ==, cases[i][2]);
    }
    g_autoptr(RvInfotext) named = rv_infotext_new(NULL, NULL);
    rv_infotext_set(named, "Sampler", "X Karras");
    rv_infotext_set(named, "Schedule type", "Simple");
    rv_infotext_expand(named);
    g_assert_cmpstr(rv_infotext_get(named, "Sampler"), ==, "X Karras");
}

/* Two pairs are prompt, three are settings. */
static void
test_settings_line_has_three_pairs(void)
{
    g_autoptr(RvInfotext) two = rv_infotext_parse("a cat\nin style: oil, by: me");
    g_assert_cmpstr(two->prompt, ==, "a cat\nin style: oil, by: me");
    g_assert_cmpuint(two->pairs->len, ==, 0);
    g_autoptr(RvInfotext) three = rv_infotext_parse("Steps: 1, Seed: 2, RNG: CPU");
    g_assert_cmpstr(three->prompt, ==, "");
    g_assert_cmpuint(three->pairs->len, ==, 3);
    /* a key has two characters at least, and begins with a word character */
    g_autoptr(RvInfotext) keys = rv_infotext_parse("a: 1, -bc: 2, (d) ef/g-h: 3, Größe: 4");
    g_assert_cmpuint(keys->pairs->len, ==, 3);
    g_assert_cmpstr(rv_infotext_get(keys, "bc"), ==, "2");
    g_assert_cmpstr(rv_infotext_get(keys, "ef/g-h"), ==, "3");
    g_assert_cmpstr(rv_infotext_get(keys, "Größe"), ==, "4");
}

static const char *const hostile[] = {
    "plain",  "a, b",        "a: b",         "\"quoted\"",    "\"",         "\\",
    "a\\\"b", "line\nbreak", "\r\n",         " spaces ",      "紅いりんご", "🍎, 🍏",
    "\t tab", "512x512",     "\"a\", b",     "\\u0041: x",    "x,",         ",",
    ":",      "\x01\x1f,",   "a\"b\"c,d: e", "\xe2\x80\xa8,", "\"\\\"",     "'single', 'x'",
};

static void
test_values_survive(void)
{
    g_autoptr(RvInfotext) info = rv_infotext_new("p", "n");
    for (gsize i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree char *key = g_strdup_printf("Key %d", (int)i);
        rv_infotext_set(info, key, hostile[i]);
    }
    g_autofree char *text = rv_infotext_write(info);
    g_autoptr(RvInfotext) back = rv_infotext_parse(text);
    g_assert_cmpstr(back->prompt, ==, "p");
    g_assert_cmpstr(back->negative, ==, "n");
    for (gsize i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree char *key = g_strdup_printf("Key %d", (int)i);
        g_assert_cmpstr(rv_infotext_get(back, key), ==, hostile[i]);
    }
    g_autofree char *again = rv_infotext_write(back);
    g_assert_cmpstr(text, ==, again);
}

static void
test_prompts_survive(void)
{
    static const char *const prompts[] = {
        "((a)), [b], (c:1.2)",       "line one\nline: two, three: four, five: six",
        "紅いりんご\n\nмного строк", "\"quotes\", \\back\\slashes\\",
        "a BREAK b AND c :2",        "<lora:x y:0.5> 🍎",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(prompts); i++)
        for (gsize k = 0; k < G_N_ELEMENTS(prompts); k++) {
            g_autoptr(RvInfotext) info = rv_infotext_new(prompts[i], k == 0 ? NULL : prompts[k]);
            rv_infotext_set(info, "Steps", "1");
            rv_infotext_set(info, "Seed", "2");
            rv_infotext_set(info, "Size", "8x8");
            g_autofree char *text = rv_infotext_write(info);
            g_autoptr(RvInfotext) back = rv_infotext_parse(text);
            g_assert_cmpstr(back->prompt, ==, prompts[i]);
            g_assert_cmpstr(back->negative, ==, k == 0 ? "" : prompts[k]);
            g_assert_cmpuint(back->pairs->len, ==, 3);
        }
}

static void
test_broken_json_stays_as_it_is(void)
{
    g_autoptr(RvInfotext) info =
        rv_infotext_parse("AA: \"\\q\", BB: \"\\u12\", CC: \"tab\there\", DD: \"\\ud83c\\udf4e\", "
                          "EE: \"\\ud83c\", FF: \"\\u0000\", GG: \"\"");
    g_assert_cmpstr(rv_infotext_get(info, "AA"), ==, "\"\\q\"");
    g_assert_cmpstr(rv_infotext_get(info, "BB"), ==, "\"\\u12\"");
    g_assert_cmpstr(rv_infotext_get(info, "CC"), ==, "\"tab\there\"");
    g_assert_cmpstr(rv_infotext_get(info, "DD"), ==, "🍎");
    g_assert_cmpstr(rv_infotext_get(info, "EE"), ==, "\xef\xbf\xbd");
    g_assert_cmpstr(rv_infotext_get(info, "FF"), ==, "\"\\u0000\"");
    g_autoptr(RvInfotext) bytes = rv_infotext_parse("a \xff\xfe b");
    g_assert_true(g_utf8_validate(bytes->prompt, -1, NULL));
}

/* Linear: a megabyte of anything takes no time worth noting. */
static void
test_long_texts_are_quick(void)
{
    static const char *const parts[] = { "a",    "aa:",    "aa:\"", "aa:\",",
                                         "\"\\", "aa: 1,", "\n",    "Negative prompt:" };
    gint64 start = g_get_monotonic_time();
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autoptr(GString) text = g_string_new(NULL);
        while (text->len < 1 << 20)
            g_string_append(text, parts[i]);
        g_autoptr(RvInfotext) info = rv_infotext_parse(text->str);
        rv_infotext_expand(info);
    }
    g_assert_cmpint(g_get_monotonic_time() - start, <, 20 * G_USEC_PER_SEC);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/infotext/numbers", test_numbers_as_python);
    g_test_add_func("/infotext/write", test_writes_as_a1111);
    g_test_add_func("/infotext/write/edges", test_writes_edges);
    g_test_add_func("/infotext/parse", test_parses);
    g_test_add_func("/infotext/parse/old-samplers", test_old_sampler_names);
    g_test_add_func("/infotext/parse/three-pairs", test_settings_line_has_three_pairs);
    g_test_add_func("/infotext/round-trip/values", test_values_survive);
    g_test_add_func("/infotext/round-trip/prompts", test_prompts_survive);
    g_test_add_func("/infotext/bad/json", test_broken_json_stays_as_it_is);
    g_test_add_func("/infotext/bad/long", test_long_texts_are_quick);
    return g_test_run();
}
