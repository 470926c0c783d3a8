#include <stdlib.h>
#include <string.h>

#include "media/terminal.h"

static const RvTerminalSize usual = { 80, 24, 0, 0 };

/* Left half red, right half blue. */
static RvPicture *
make_picture(int width, int height)
{
    RvPicture *picture = rv_picture_new(width, height, false, NULL);
    for (int i = 0; i < width * height; i++)
        memcpy(picture->rgb + 3 * i, i % width < width / 2 ? "\xff\0\0" : "\0\0\xff", 3);
    return picture;
}

static void
test_environment(void)
{
    static const struct {
        const char *term, *program, *kitty, *color;
        RvTerminalProtocol want;
    } cases[] = {
        { NULL, NULL, NULL, NULL, RV_TERMINAL_NONE },
        { "dumb", NULL, "1", "truecolor", RV_TERMINAL_NONE },
        { "xterm-kitty", NULL, NULL, NULL, RV_TERMINAL_KITTY },
        { "xterm-256color", NULL, "1", NULL, RV_TERMINAL_KITTY },
        { "xterm-ghostty", "ghostty", NULL, "truecolor", RV_TERMINAL_KITTY },
        { "foot", NULL, NULL, "truecolor", RV_TERMINAL_SIXEL },
        { "xterm-256color", "WezTerm", NULL, "truecolor", RV_TERMINAL_SIXEL },
        { "xterm-256color", "vscode", NULL, "truecolor", RV_TERMINAL_BLOCKS },
        { "xterm-256color", NULL, NULL, "24bit", RV_TERMINAL_BLOCKS },
        { "xterm-256color", NULL, NULL, NULL, RV_TERMINAL_BLOCKS256 },
        { "screen-256color", NULL, "1", NULL, RV_TERMINAL_BLOCKS256 },
        { "tmux-256color", "WezTerm", NULL, "truecolor", RV_TERMINAL_BLOCKS },
    };
    static const char *const variables[] = { "TERM", "TERM_PROGRAM", "KITTY_WINDOW_ID", "COLORTERM" };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *values[] = { cases[i].term, cases[i].program, cases[i].kitty, cases[i].color };
        for (int v = 0; v < 4; v++)
            if (values[v] != NULL)
                g_setenv(variables[v], values[v], TRUE);
            else
                g_unsetenv(variables[v]);
        g_assert_cmpint(rv_terminal_from_environment(), ==, cases[i].want);
    }
}

static void
test_names(void)
{
    g_autoptr(GError) error = NULL;
    RvTerminalProtocol protocol;
    g_assert_true(rv_terminal_from_name("sixel", &protocol, &error));
    g_assert_cmpint(protocol, ==, RV_TERMINAL_SIXEL);
    g_assert_true(rv_terminal_from_name("none", &protocol, &error));
    g_assert_cmpint(protocol, ==, RV_TERMINAL_NONE);
    g_assert_true(rv_terminal_from_name("auto", &protocol, &error));
    g_assert_false(rv_terminal_from_name("ascii", &protocol, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
}

static void
test_blocks(void)
{
    g_autoptr(RvPicture) picture = make_picture(4, 3);
    GString *text = rv_terminal_render(picture, RV_TERMINAL_BLOCKS, usual, NULL);
    const char *cell = "\033[38;2;255;0;0m\033[48;2;255;0;0m▀";
    g_assert_true(g_str_has_prefix(text->str, cell));
    g_assert_true(
        g_str_has_suffix(text->str, "\033[38;2;0;0;255m▀\033[0m\n")); /* the odd row has nothing below */
    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 3);
    g_string_free(text, TRUE);

    text = rv_terminal_render(picture, RV_TERMINAL_BLOCKS256, usual, NULL);
    g_assert_true(g_str_has_prefix(text->str, "\033[38;5;196m\033[48;5;196m▀"));
    g_string_free(text, TRUE);
}

static int
count(const char *text, const char *part)
{
    int found = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        found++;
    }
    return found;
}

static void
test_shrinks_to_the_terminal(void)
{
    g_autoptr(RvPicture) wide = make_picture(400, 20), tall = NULL;
    tall = make_picture(20, 400);
    GString *text = rv_terminal_render(wide, RV_TERMINAL_BLOCKS, usual, NULL);
    g_assert_cmpint(count(text->str, "▀"), ==, 80 * 2);
    g_string_free(text, TRUE);
    text = rv_terminal_render(tall, RV_TERMINAL_BLOCKS, usual, NULL);
    g_assert_cmpint(count(text->str, "\n"), ==, 22);
    g_string_free(text, TRUE);
    text = rv_terminal_render(wide, RV_TERMINAL_SIXEL, (RvTerminalSize) { 80, 24, 100, 100 }, NULL);
    g_assert_nonnull(strstr(text->str, "\"1;1;100;5"));
    g_string_free(text, TRUE);
    text = rv_terminal_render(wide, RV_TERMINAL_BLOCKS, (RvTerminalSize) { 1, 1, 0, 0 }, NULL);
    g_assert_cmpint(count(text->str, "▀"), ==, 1);
    g_string_free(text, TRUE);
}

/* Draws sixels as a terminal would: colours of the cube by number, -1 where nothing was drawn. */
static int *
draw_sixels(const char *text, int *width, int *height)
{
    const char *c = strchr(text, '"');
    g_assert_nonnull(c);
    g_assert_cmpint(sscanf(c, "\"1;1;%d;%d", width, height), ==, 2);
    int *canvas = g_new(int, *width **height), color = -1, x = 0, y = 0;
    for (int i = 0; i < *width * *height; i++)
        canvas[i] = -1;
    for (c = strchr(c, '#'); *c != '\033'; c++) {
        int times = 1;
        if (*c == '#') {
            color = (int)strtol(c + 1, (char **)&c, 10);
            if (*c == ';')
                c += strspn(c, ";0123456789");
            c--;
            continue;
        }
        if (*c == '!')
            times = (int)strtol(c + 1, (char **)&c, 10);
        if (*c == '$' || *c == '-') {
            x = 0;
            y += *c == '-' ? 6 : 0;
            continue;
        }
        g_assert_cmpint(*c, >=, 63);
        g_assert_cmpint(*c, <=, 126);
        for (; times > 0; times--, x++)
            for (int row = 0; row < 6; row++)
                if ((*c - 63) & 1 << row) {
                    g_assert_cmpint(x, <, *width);
                    g_assert_cmpint(y + row, <, *height);
                    g_assert_cmpint(canvas[(y + row) * *width + x], ==, -1);
                    canvas[(y + row) * *width + x] = color;
                }
    }
    return canvas;
}

static void
test_sixel_draws_the_picture(void)
{
    g_autoptr(RvPicture) picture = make_picture(20, 13);
    GString *text = rv_terminal_render(picture, RV_TERMINAL_SIXEL, usual, NULL);
    g_assert_true(g_str_has_prefix(text->str, "\033P"));
    g_assert_true(g_str_has_suffix(text->str, "\033\\\n"));
    int width, height;
    g_autofree int *canvas = draw_sixels(text->str, &width, &height);
    g_assert_cmpint(width, ==, 20);
    g_assert_cmpint(height, ==, 13);
    for (int i = 0; i < width * height; i++)
        g_assert_cmpint(canvas[i], ==, i % 20 < 10 ? 5 * 36 : 5);
    g_string_free(text, TRUE);
}

/* Dithering keeps the mean of a colour that the cube does not have. */
static void
test_sixel_dithers(void)
{
    g_autoptr(RvPicture) picture = rv_picture_new(60, 60, false, NULL);
    memset(picture->rgb, 75, 3 * 60 * 60);
    GString *text = rv_terminal_render(picture, RV_TERMINAL_SIXEL, usual, NULL);
    int width, height, sum = 0;
    g_autofree int *canvas = draw_sixels(text->str, &width, &height);
    for (int i = 0; i < width * height; i++)
        sum += canvas[i] % 6 * 51;
    g_assert_cmpint(abs(sum / (width * height) - 75), <=, 2);
    g_string_free(text, TRUE);
}

static void
test_kitty_carries_the_png(void)
{
    g_autoptr(RvPicture) picture = rv_picture_new(90, 80, false, NULL);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    for (int i = 0; i < 3 * 90 * 80; i++)
        picture->rgb[i] = (guint8)g_rand_int_range(random, 0, 256);
    GString *text = rv_terminal_render(picture, RV_TERMINAL_KITTY, usual, NULL);
    g_assert_true(g_str_has_prefix(text->str, "\033_Ga=T,f=100,q=2,m=1;"));
    g_autoptr(GString) base64 = g_string_new(NULL);
    g_auto(GStrv) pieces = g_strsplit(text->str, "\033\\", -1);
    guint pieces_count = g_strv_length(pieces) - 1;
    g_assert_cmpuint(pieces_count, >, 2);
    for (guint i = 0; i < pieces_count; i++) {
        const char *payload = strchr(pieces[i], ';');
        g_assert_true(g_str_has_prefix(pieces[i], "\033_G"));
        g_assert_nonnull(strstr(pieces[i], i + 1 < pieces_count ? "m=1;" : "m=0;"));
        g_assert_cmpuint(strlen(payload + 1), <=, 4096);
        g_string_append(base64, payload + 1);
    }
    gsize size;
    g_autofree guchar *png = g_base64_decode(base64->str, &size);
    g_autoptr(RvPicture) back = rv_picture_load_bytes(png, size, "it", NULL, NULL);
    g_assert_nonnull(back);
    g_assert_cmpint(memcmp(back->rgb, picture->rgb, 3 * 90 * 80), ==, 0);
    g_string_free(text, TRUE);
}

static void
test_alpha_over_black(void)
{
    g_autoptr(RvPicture) picture = rv_picture_new(1, 1, true, NULL);
    memset(picture->rgb, 255, 3);
    picture->alpha[0] = 0;
    GString *text = rv_terminal_render(picture, RV_TERMINAL_BLOCKS, usual, NULL);
    g_assert_true(g_str_has_prefix(text->str, "\033[38;2;0;0;0m"));
    g_string_free(text, TRUE);
}

static void
test_show(void)
{
    g_autoptr(RvPicture) picture = make_picture(4, 4);
    g_autoptr(GError) error = NULL;
    FILE *stream = tmpfile();
    g_assert_cmpint(rv_terminal_detect(fileno(stream)), ==, RV_TERMINAL_NONE); /* a file is no terminal */
    g_assert_cmpint(rv_terminal_get_size(fileno(stream)).columns, ==, 80);
    g_assert_true(rv_terminal_show(stream, picture, RV_TERMINAL_NONE, &error));
    g_assert_cmpint(ftell(stream), ==, 0);
    g_assert_true(rv_terminal_show(stream, picture, RV_TERMINAL_BLOCKS, &error));
    g_assert_cmpint(ftell(stream), >, 0);
    fclose(stream);
    FILE *full = fopen("/dev/full", "w");
    g_assert_false(rv_terminal_show(full, picture, RV_TERMINAL_BLOCKS, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    fclose(full);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/terminal/environment", test_environment);
    g_test_add_func("/terminal/names", test_names);
    g_test_add_func("/terminal/blocks", test_blocks);
    g_test_add_func("/terminal/shrinks", test_shrinks_to_the_terminal);
    g_test_add_func("/terminal/sixel", test_sixel_draws_the_picture);
    g_test_add_func("/terminal/sixel-dithers", test_sixel_dithers);
    g_test_add_func("/terminal/kitty", test_kitty_carries_the_png);
    g_test_add_func("/terminal/alpha", test_alpha_over_black);
    g_test_add_func("/terminal/show", test_show);
    return g_test_run();
}
