#include "media/terminal.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Cell size assumed when the terminal does not tell its pixels. */
#define CELL_WIDTH 8
#define CELL_HEIGHT 16

/* The protocol asks for base64 in pieces of at most this many characters. */
#define KITTY_PIECE 4096

bool
rv_terminal_from_name(const char *name, RvTerminalProtocol *protocol, GError **error)
{
    static const char *const names[] = { "none", "blocks256", "blocks", "sixel", "kitty" };
    if (strcmp(name, "auto") == 0) {
        *protocol = rv_terminal_from_environment();
        return true;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *protocol = (RvTerminalProtocol)i;
            return true;
        }
    return rv_error_set(error, RV_ERROR_USAGE, name, "give auto, kitty, sixel, blocks, blocks256 or none",
                        "unknown way to show a picture in the terminal");
}

static bool
environment_has(const char *variable, const char *part)
{
    const char *value = g_getenv(variable);
    return value != NULL && strstr(value, part) != NULL;
}

RvTerminalProtocol
rv_terminal_from_environment(void)
{
    const char *term = g_getenv("TERM");
    if (term == NULL || *term == '\0' || strcmp(term, "dumb") == 0)
        return RV_TERMINAL_NONE;
    /* A multiplexer draws the screen itself and swallows picture protocols; the outer terminal's variables
     * leak through it, so it is asked first. */
    bool is_multiplexed = g_str_has_prefix(term, "screen") || g_str_has_prefix(term, "tmux");
    if (!is_multiplexed) {
        if (environment_has("KITTY_WINDOW_ID", "") || strcmp(term, "xterm-kitty") == 0 ||
            environment_has("TERM", "ghostty") || environment_has("TERM_PROGRAM", "ghostty"))
            return RV_TERMINAL_KITTY;
        if (environment_has("TERM", "sixel") || g_str_has_prefix(term, "foot") ||
            g_str_has_prefix(term, "mlterm") || g_str_has_prefix(term, "contour") ||
            environment_has("TERM_PROGRAM", "WezTerm") || environment_has("TERM_PROGRAM", "iTerm.app") ||
            environment_has("TERM_PROGRAM", "mintty"))
            return RV_TERMINAL_SIXEL;
    }
    if (environment_has("COLORTERM", "truecolor") || environment_has("COLORTERM", "24bit") ||
        environment_has("TERM", "direct"))
        return RV_TERMINAL_BLOCKS;
    return RV_TERMINAL_BLOCKS256;
}

RvTerminalProtocol
rv_terminal_detect(int descriptor)
{
    return isatty(descriptor) ? rv_terminal_from_environment() : RV_TERMINAL_NONE;
}

RvTerminalSize
rv_terminal_get_size(int descriptor)
{
    struct winsize window;
    if (ioctl(descriptor, TIOCGWINSZ, &window) != 0 || window.ws_col == 0 || window.ws_row == 0)
        return (RvTerminalSize) { 80, 24, 0, 0 };
    return (RvTerminalSize) { window.ws_col, window.ws_row, window.ws_xpixel, window.ws_ypixel };
}

/* The picture over black, shrunk to fit into width x height; nothing else looks at alpha. */
static RvPicture *
fit(const RvPicture *picture, int width, int height, GError **error)
{
    double scale = MIN(1.0, MIN((double)width / picture->width, (double)height / picture->height));
    RvPicture *fitted = rv_picture_resize(picture, MAX(1, (int)(picture->width * scale)),
                                          MAX(1, (int)(picture->height * scale)), RV_FILTER_BILINEAR, error);
    if (fitted == NULL || fitted->alpha == NULL)
        return fitted;
    gsize samples = 3 * (gsize)fitted->width * (gsize)fitted->height;
    for (gsize i = 0; i < samples; i++)
        fitted->rgb[i] = (guint8)((fitted->rgb[i] * fitted->alpha[i / 3] + 127) / 255);
    g_clear_pointer(&fitted->alpha, g_free);
    return fitted;
}

static void
append_color(GString *text, int ground, const guint8 *rgb, bool is_palette)
{
    if (is_palette)
        g_string_append_printf(text, "\033[%d;5;%dm", ground,
                               16 + 36 * ((rgb[0] * 5 + 127) / 255) + 6 * ((rgb[1] * 5 + 127) / 255) +
                                   (rgb[2] * 5 + 127) / 255);
    else
        g_string_append_printf(text, "\033[%d;2;%d;%d;%dm", ground, rgb[0], rgb[1], rgb[2]);
}

/* Each cell is an upper half block: its foreground is one pixel, its background the one below. */
static void
render_blocks(GString *text, const RvPicture *picture, bool is_palette)
{
    for (int y = 0; y < picture->height; y += 2) {
        for (int x = 0; x < picture->width; x++) {
            const guint8 *upper = picture->rgb + 3 * ((gsize)y * (gsize)picture->width + (gsize)x);
            append_color(text, 38, upper, is_palette);
            if (y + 1 < picture->height)
                append_color(text, 48, upper + 3 * picture->width, is_palette);
            g_string_append(text, "\xe2\x96\x80");
        }
        g_string_append(text, "\033[0m\n");
    }
}

/* Indices into the 6x6x6 colour cube, the error spread by Floyd and Steinberg's weights. */
static guint8 *
dither_to_cube(const RvPicture *picture)
{
    gsize width = (gsize)picture->width, height = (gsize)picture->height;
    guint8 *indices = g_malloc(width * height);
    /* two rows of carried error (in sixteenths), with a margin of one pixel at both ends */
    g_autofree int *carried = g_new0(int, 2 * 3 * (width + 2));
    int *here = carried, *below = carried + 3 * (width + 2);
    for (gsize y = 0; y < height; y++) {
        for (gsize x = 0; x < width; x++) {
            int index = 0;
            for (gsize c = 0; c < 3; c++) {
                gsize at = 3 * (x + 1) + c;
                int wanted = picture->rgb[3 * (y * width + x) + c] + here[at] / 16;
                int level = CLAMP((wanted + 25) / 51, 0, 5), miss = wanted - 51 * level;
                here[at + 3] += 7 * miss;
                below[at - 3] += 3 * miss;
                below[at] += 5 * miss;
                below[at + 3] += miss;
                index = index * 6 + level;
            }
            indices[y * width + x] = (guint8)index;
        }
        int *old = here;
        here = below;
        below = old;
        memset(below, 0, 3 * (width + 2) * sizeof *below);
    }
    return indices;
}

/* One colour of one band of six rows; runs of four and more are packed ("!N"). */
static void
append_sixel_run(GString *text, int bits, int count)
{
    char sixel = (char)(63 + bits);
    if (count > 3)
        g_string_append_printf(text, "!%d%c", count, sixel);
    else
        for (int i = 0; i < count; i++)
            g_string_append_c(text, sixel);
}

static void
append_sixel_color(GString *text, const guint8 *indices, int color, int width, int rows)
{
    g_string_append_printf(text, "#%d", color);
    int run = 0, last = 0;
    for (int x = 0; x < width; x++) {
        int bits = 0;
        for (int row = 0; row < rows; row++)
            if (indices[(gsize)row * (gsize)width + (gsize)x] == color)
                bits |= 1 << row;
        if (bits != last) {
            append_sixel_run(text, last, run);
            last = bits;
            run = 0;
        }
        run++;
    }
    if (last != 0)
        append_sixel_run(text, last, run);
    g_string_append_c(text, '$');
}

static void
render_sixel(GString *text, const RvPicture *picture)
{
    g_autofree guint8 *indices = dither_to_cube(picture);
    g_string_append_printf(text, "\033P0;1;0q\"1;1;%d;%d", picture->width, picture->height);
    for (int i = 0; i < 216; i++)
        g_string_append_printf(text, "#%d;2;%d;%d;%d", i, i / 36 * 20, i / 6 % 6 * 20, i % 6 * 20);
    for (int y = 0; y < picture->height; y += 6) {
        int rows = MIN(6, picture->height - y);
        const guint8 *band = indices + (gsize)y * (gsize)picture->width;
        bool is_used[216] = { false };
        for (gsize i = 0; i < (gsize)rows * (gsize)picture->width; i++)
            is_used[band[i]] = true;
        for (int color = 0; color < 216; color++)
            if (is_used[color])
                append_sixel_color(text, band, color, picture->width, rows);
        g_string_append_c(text, '-');
    }
    g_string_append(text, "\033\\\n");
}

static bool
render_kitty(GString *text, const RvPicture *picture, GError **error)
{
    g_autoptr(GBytes) png =
        rv_picture_encode(picture, RV_PICTURE_PNG, &(RvPictureSaveOptions) { .png_level = 1 }, error);
    if (png == NULL)
        return false;
    gsize size;
    const guint8 *data = g_bytes_get_data(png, &size);
    g_autofree char *base64 = g_base64_encode(data, size);
    gsize length = strlen(base64);
    for (gsize offset = 0; offset < length; offset += KITTY_PIECE) {
        bool is_more = length - offset > KITTY_PIECE;
        g_string_append(text, offset == 0 ? "\033_Ga=T,f=100,q=2," : "\033_G");
        g_string_append_printf(text, "m=%d;", is_more);
        g_string_append_len(text, base64 + offset, (gssize)MIN(KITTY_PIECE, length - offset));
        g_string_append(text, "\033\\");
    }
    g_string_append_c(text, '\n');
    return true;
}

GString *
rv_terminal_render(const RvPicture *picture, RvTerminalProtocol protocol, RvTerminalSize size, GError **error)
{
    GString *text = g_string_new(NULL);
    if (protocol == RV_TERMINAL_NONE)
        return text;
    bool is_blocks = protocol == RV_TERMINAL_BLOCKS || protocol == RV_TERMINAL_BLOCKS256;
    bool has_pixels = size.pixel_width > 0 && size.pixel_height > 0;
    int rows = MAX(1, size.rows - 2);
    int width = is_blocks ? size.columns : has_pixels ? size.pixel_width : size.columns * CELL_WIDTH;
    int height = is_blocks    ? 2 * rows
                 : has_pixels ? (int)((gint64)size.pixel_height * rows / MAX(1, size.rows))
                              : rows * CELL_HEIGHT;
    g_autoptr(RvPicture) fitted = fit(picture, MAX(1, width), MAX(1, height), error);
    bool done = fitted != NULL;
    if (done && protocol == RV_TERMINAL_KITTY)
        done = render_kitty(text, fitted, error);
    else if (done && protocol == RV_TERMINAL_SIXEL)
        render_sixel(text, fitted);
    else if (done)
        render_blocks(text, fitted, protocol == RV_TERMINAL_BLOCKS256);
    if (done)
        return text;
    g_string_free(text, TRUE);
    return NULL;
}

bool
rv_terminal_show(FILE *stream, const RvPicture *picture, RvTerminalProtocol protocol, GError **error)
{
    GString *text = rv_terminal_render(picture, protocol, rv_terminal_get_size(fileno(stream)), error);
    if (text == NULL)
        return false;
    bool done = fwrite(text->str, 1, text->len, stream) == text->len && fflush(stream) == 0;
    g_string_free(text, TRUE);
    return done || rv_error_set(error, RV_ERROR_IO, NULL, NULL, "cannot write to the terminal: %s",
                                g_strerror(errno));
}
