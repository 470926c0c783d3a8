#include "media/annotate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/mask.h"

static const struct {
    const char *name, *also, *label;
} modules[] = {
    { "none", "None", "none" },
    { "canny", "canny", "canny" },
    { "blur", "blur_gaussian", "blur_gaussian" },
    { "invert", "invert (from white bg & black line)", "invert (from white bg & black line)" },
    { "tile", "tile_resample", "tile_resample" },
    { "openpose", "openpose_full", "openpose" },
};
enum { NONE, CANNY, BLUR, INVERT, TILE, OPENPOSE };

static int
find_module(const char *name)
{
    for (int i = 0; i < (int)G_N_ELEMENTS(modules); i++)
        if (name == NULL || g_ascii_strcasecmp(name, modules[i].name) == 0 ||
            g_ascii_strcasecmp(name, modules[i].also) == 0)
            return i;
    return -1;
}

bool
rv_annotate_knows(const char *module)
{
    return find_module(module) >= 0;
}

const char *
rv_annotate_label(const char *module)
{
    int index = find_module(module);
    return index >= 0 ? modules[index].label : module;
}

const char *const *
rv_annotate_modules(void)
{
    static const char *names[G_N_ELEMENTS(modules) + 1];
    for (gsize i = 0; i < G_N_ELEMENTS(modules); i++)
        names[i] = modules[i].label;
    return names;
}

/* ---- Canny ---- */

typedef struct {
    int width, height;
    short *dx, *dy; /* of the strongest colour */
    int *size;      /* [height + 2, width + 2], zeros around */
} Gradient;

static int
clamped(const RvPicture *p, int x, int y, int c)
{
    x = CLAMP(x, 0, p->width - 1), y = CLAMP(y, 0, p->height - 1);
    return p->rgb[3 * ((gsize)y * (gsize)p->width + (gsize)x) + (gsize)c];
}

static void
measure(Gradient *g, const RvPicture *p)
{
    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++) {
            gsize at = (gsize)y * (gsize)g->width + (gsize)x;
            int best = -1;
            for (int c = 0; c < 3; c++) {
                int dx = clamped(p, x + 1, y - 1, c) - clamped(p, x - 1, y - 1, c) +
                         2 * (clamped(p, x + 1, y, c) - clamped(p, x - 1, y, c)) +
                         clamped(p, x + 1, y + 1, c) - clamped(p, x - 1, y + 1, c);
                int dy = clamped(p, x - 1, y + 1, c) - clamped(p, x - 1, y - 1, c) +
                         2 * (clamped(p, x, y + 1, c) - clamped(p, x, y - 1, c)) +
                         clamped(p, x + 1, y + 1, c) - clamped(p, x + 1, y - 1, c);
                if (abs(dx) + abs(dy) > best) {
                    best = abs(dx) + abs(dy);
                    g->dx[at] = (short)dx;
                    g->dy[at] = (short)dy;
                }
            }
            g->size[(gsize)(y + 1) * (gsize)(g->width + 2) + (gsize)(x + 1)] = best;
        }
}

/* Whether the pixel is the ridge of its edge: tangents of 22.5 and 67.5 degrees divide the directions. */
static bool
is_ridge(const Gradient *g, int x, int y)
{
    const double tan22 = 0.4142135623730950488;
    gsize at = (gsize)y * (gsize)g->width + (gsize)x;
    const int *m = g->size + (gsize)(y + 1) * (gsize)(g->width + 2) + (gsize)(x + 1);
    int row = g->width + 2, dx = g->dx[at], dy = g->dy[at];
    double ax = abs(dx), ay = abs(dy);
    if (ay < ax * tan22)
        return m[0] > m[-1] && m[0] >= m[1];
    if (ay > ax * (tan22 + 2.0))
        return m[0] > m[-row] && m[0] >= m[row];
    int s = (dx ^ dy) < 0 ? -1 : 1;
    return m[0] > m[-row - s] && m[0] > m[row + s];
}

/* Follows weak ridges from the strong ones. 2: an edge, 1: weak. */
static void
follow(guint8 *marks, int width, int height)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(int));
    for (int i = 0; i < width * height; i++)
        if (marks[i] == 2)
            g_array_append_val(stack, i);
    while (stack->len > 0) {
        int at = g_array_index(stack, int, stack->len - 1);
        g_array_set_size(stack, stack->len - 1);
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                int x = at % width + dx, y = at / width + dy, next = y * width + x;
                if (x < 0 || y < 0 || x >= width || y >= height || marks[next] != 1)
                    continue;
                marks[next] = 2;
                g_array_append_val(stack, next);
            }
    }
}

RvPicture *
rv_canny(const RvPicture *picture, double low, double high, GError **error)
{
    RvPicture *out = rv_picture_new(picture->width, picture->height, false, error);
    if (out == NULL)
        return NULL;
    int width = picture->width, height = picture->height;
    gsize count = (gsize)width * (gsize)height;
    g_autofree short *dx = g_new(short, count), *dy = g_new(short, count);
    g_autofree int *size = g_new0(int, (gsize)(width + 2) * (gsize)(height + 2));
    g_autofree guint8 *marks = g_new0(guint8, count);
    Gradient g = { width, height, dx, dy, size };
    if (low > high) {
        double other = low;
        low = high, high = other;
    }
    measure(&g, picture);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int m = size[(gsize)(y + 1) * (gsize)(width + 2) + (gsize)(x + 1)];
            if (m > (int)floor(low) && is_ridge(&g, x, y))
                marks[(gsize)y * (gsize)width + (gsize)x] = m > (int)floor(high) ? 2 : 1;
        }
    follow(marks, width, height);
    for (gsize i = 0; i < count; i++)
        memset(out->rgb + 3 * i, marks[i] == 2 ? 255 : 0, 3);
    return out;
}

/* ---- the others ---- */

static RvPicture *
blurred(const RvPicture *picture, double sigma, GError **error)
{
    RvPicture *out = rv_picture_new(picture->width, picture->height, false, error);
    g_autoptr(RvMask) plane = out != NULL ? rv_mask_new(picture->width, picture->height, error) : NULL;
    gsize count = (gsize)picture->width * (gsize)picture->height;
    for (gsize c = 0; plane != NULL && c < 3; c++) {
        for (gsize i = 0; i < count; i++)
            plane->values[i] = picture->rgb[3 * i + c];
        if (!rv_mask_blur(plane, sigma, sigma, error))
            g_clear_pointer(&plane, rv_mask_free);
        for (gsize i = 0; plane != NULL && i < count; i++)
            out->rgb[3 * i + c] = plane->values[i];
    }
    if (plane == NULL)
        g_clear_pointer(&out, rv_picture_free);
    return out;
}

static RvPicture *
shrunk(const RvPicture *picture, double factor, GError **error)
{
    int width = MAX((int)(picture->width / factor), 1), height = MAX((int)(picture->height / factor), 1);
    g_autoptr(RvPicture) small = rv_picture_resize(picture, width, height, RV_FILTER_BICUBIC, error);
    return small != NULL ? rv_picture_resize(small, picture->width, picture->height, RV_FILTER_BICUBIC, error)
                         : NULL;
}

/* Over black, as the web UI's annotators see a picture with holes. */
static void
flatten(RvPicture *picture)
{
    if (picture->alpha == NULL)
        return;
    for (gsize i = 0; i < (gsize)picture->width * (gsize)picture->height; i++)
        for (gsize c = 0; c < 3; c++)
            picture->rgb[3 * i + c] = (guint8)(picture->rgb[3 * i + c] * picture->alpha[i] / 255);
    g_clear_pointer(&picture->alpha, g_free);
}

RvPicture *
rv_annotate(const RvPicture *picture, const char *module, double a, double b, GError **error)
{
    int index = find_module(module);
    if (index < 0) {
        rv_error_set(error, RV_ERROR_USAGE, module, "use none, canny, blur, invert, tile or openpose",
                     "there is no such preprocessor");
        return NULL;
    }
    g_autoptr(RvPicture) flat = rv_picture_copy(picture, error);
    if (flat == NULL)
        return NULL;
    flatten(flat);
    if (index == CANNY)
        return rv_canny(flat, a > 0.0 ? a : 100.0, b > 0.0 ? b : 200.0, error);
    if (index == BLUR)
        return blurred(flat, MIN(a > 0.0 ? a : 9.0, 500.0), error);
    if (index == TILE && a > 1.0)
        return shrunk(flat, a, error);
    for (gsize i = 0; index == INVERT && i < 3 * (gsize)flat->width * (gsize)flat->height; i++)
        flat->rgb[i] = (guint8)(255 - flat->rgb[i]);
    return g_steal_pointer(&flat);
}

RvPicture *
rv_picture_fill(const RvPicture *picture, int width, int height, RvFilter filter, GError **error)
{
    bool tall = (gint64)picture->width * height < (gint64)width * picture->height;
    int w = tall ? MAX((int)((gint64)picture->width * height / picture->height), 1) : width;
    int h = tall ? height : MAX((int)((gint64)picture->height * width / picture->width), 1);
    g_autoptr(RvPicture) inner = rv_picture_resize(picture, w, h, filter, error);
    RvPicture *out = inner != NULL ? rv_picture_new(width, height, inner->alpha != NULL, error) : NULL;
    int left = (width - w) / 2, top = (height - h) / 2;
    for (int y = 0; out != NULL && y < height; y++)
        for (int x = 0; x < width; x++) {
            gsize from = (gsize)CLAMP(y - top, 0, h - 1) * (gsize)w + (gsize)CLAMP(x - left, 0, w - 1);
            gsize to = (gsize)y * (gsize)width + (gsize)x;
            memcpy(out->rgb + 3 * to, inner->rgb + 3 * from, 3);
            if (out->alpha != NULL)
                out->alpha[to] = inner->alpha[from];
        }
    return out;
}
