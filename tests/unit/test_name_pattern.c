/* A1111's patterns for names of files, and that nothing in them leads out of a folder. */
#include <string.h>

#include "store/files.h"
#include "studio/name_pattern.h"

static const char infotext[] =
    "a Red fox, (snow:1.2)\nNegative prompt: blue\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, "
    "CFG scale: 7.0, Seed: 5, Size: 64x96, Model hash: 0123456789, Model: tiny/x, Denoising strength: 0.5, "
    "Version: reverie";

static RvNameFacts
facts(void)
{
    return (RvNameFacts) { .infotext = infotext,
                           .user = "anna",
                           .styles = "Film, Ink",
                           .seed = 6,
                           .subseed = 9,
                           .first_seed = 5,
                           .last_seed = 8,
                           .batch_size = 2,
                           .index = 1,
                           .count = 4,
                           .number = 3 };
}

static void
check_file(const RvNameFacts *f, const char *pattern, const char *wanted)
{
    g_autofree char *name = rv_name_file(pattern, f);
    g_test_message("%s", pattern);
    g_assert_cmpstr(name, ==, wanted);
}

static void
test_tokens(void)
{
    static const char *const cases[][2] = {
        { "[seed]", "6" },
        { "[seed_first]-[seed_last]", "5-8" },
        { "[subseed]", "9" },
        { "[steps]_[cfg]_[width]x[height]", "20_7.0_64x96" },
        { "[sampler] [scheduler]", "DPM++ 2M Karras" },
        { "[sampler_scheduler]", "DPM++ 2M Karras" },
        { "[model_name]-[model_hash]", "tiny_x-0123456789" },
        { "[clip_skip][denoising][vae_filename]", "10.5NoneType" },
        { "[styles] of [user]", "Film, Ink of anna" },
        { "[prompt]", "a_Red_fox,_(snow_1.2)" },
        { "[prompt_spaces]", "a Red fox, (snow_1.2)" },
        { "[PROMPT_WORDS]", "a Red fox snow 1 2" },
        { "[batch_number]/[batch_size], [generation_number]", "2_2, 4" },
        { "[hasprompt<red|other><dog|cat><bird>]", "redcat" },
        { "x[none]y", "y" },
        { "[no_such] [seed]", "[no_such] 6" },
        { "[[seed]] [", "[6] [" },
        { "plain", "plain" },
        { "", "" },
    };
    RvNameFacts f = facts();
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        check_file(&f, cases[i][0], cases[i][1]);
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, "a Red fox, (snow:1.2)", -1);
    g_autofree char *eight = g_strndup(hash, 8), *twelve = g_strndup(hash, 12);
    check_file(&f, "[prompt_hash]", eight);
    check_file(&f, "[prompt_hash<12>]", twelve);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *year = g_date_time_format(now, "%Y-UTC");
    check_file(&f, "[datetime<%Y-%Z><UTC>]", year);
    f.words = 2;
    check_file(&f, "[prompt_words]", "a Red");
    f.batch_size = f.count = 1;
    check_file(&f, "[seed]-[batch_number]-[generation_number]", "6");
}

static void
test_image_hash(void)
{
    g_autoptr(RvPicture) picture = rv_picture_new(2, 1, false, NULL);
    RvNameFacts f = facts();
    memcpy(picture->rgb, "abcdef", 6);
    f.picture = picture;
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, "abcdef", 6);
    check_file(&f, "[image_hash]", hash);
    hash[16] = '\0';
    check_file(&f, "[image_hash<16>]", hash);
}

static void
test_folders(void)
{
    RvNameFacts f = facts();
    static const char *const cases[][2] = {
        { "[model_name]/[seed]", "tiny_x/6" }, { "a\\b", "a/b" },
        { "/etc/passwd", "etc/passwd" },       { "../../x", "x" },
        { "./.hidden//y/.", "hidden/y" },      { "[none]", "" },
        { "1/2/3/4/5/6/7/8", "1/2/3/4/5/6" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = rv_name_folder(cases[i][0], &f);
        g_assert_cmpstr(path, ==, cases[i][1]);
    }
}

/* Whatever stands in patterns, prompts, styles and names of users. */
static void
test_hostile(void)
{
    static const char *const texts[] = { "../../etc/passwd", "..",        "/",        "\\\\server\\share",
                                         "a\nb\tc\001",      "con.",      "   ",      "\xff\xfe\x80",
                                         "<>:\"|?*#",        "...hidden", "\xe2\x82", "~root" };
    static const char *const patterns[] = { "[prompt]",
                                            "[prompt_spaces]",
                                            "[styles]/[user]",
                                            "../[prompt]/..",
                                            "[prompt]/[prompt_words]",
                                            "[hasprompt<../x|../y>]",
                                            "[datetime<../../%Y>]",
                                            "[datetime<%Q%>]" };
    g_autofree char *long_text = g_strnfill(100000, 'x');
    for (gsize i = 0; i <= G_N_ELEMENTS(texts); i++) {
        const char *text = i < G_N_ELEMENTS(texts) ? texts[i] : long_text;
        g_autofree char *line = g_strconcat(text, "\nSteps: 1, Seed: 2, Size: 8x8", NULL);
        RvNameFacts f = { .infotext = line, .styles = text, .user = text, .batch_size = 1, .count = 1 };
        for (gsize p = 0; p <= G_N_ELEMENTS(patterns); p++) {
            const char *pattern = p < G_N_ELEMENTS(patterns) ? patterns[p] : text;
            g_autofree char *file = rv_name_file(pattern, &f), *folder = rv_name_folder(pattern, &f);
            g_assert_true(*file == '\0' || (rv_path_is_plain(file) && strchr(file, '/') == NULL));
            g_assert_true(*folder == '\0' || rv_path_is_plain(folder));
            g_assert_cmpuint(strlen(file), <=, 200);
            g_assert_cmpuint(strlen(folder), <=, 800);
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/name-pattern/tokens", test_tokens);
    g_test_add_func("/name-pattern/image-hash", test_image_hash);
    g_test_add_func("/name-pattern/folders", test_folders);
    g_test_add_func("/name-pattern/hostile", test_hostile);
    return g_test_run();
}
