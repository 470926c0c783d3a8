#include "server/sdapi/grid.h"

#include <math.h>
#include <pango/pangocairo.h>
#include <string.h>

#include "server/sdapi/picture_text.h"

#define MAX_GRID_PIXELS (256ll << 20)

int
rv_grid_columns(int count)
{
    int rows = MAX((int)lround(sqrt(count)), 1);
    rows = MIN(rows, count);
    return (count + rows - 1) / rows;
}

int
rv_grid_columns_as(int count, int batch_size, JsonObject *options)
{
    int rows = (int)rv_fields_integer(options, "n_rows");
    if (rows < 0 && !rv_fields_bool(options, "grid_prevent_empty_spots"))
        return rv_grid_columns(count);
    if (rows < 0)
        for (rows = MAX((int)sqrt(count), 1); count % rows != 0;)
            rows--;
    rows = CLAMP(rows == 0 ? batch_size : rows, 1, count);
    return (count + rows - 1) / rows;
}

RvScriptPicture *
rv_script_picture_new(const RvPicture *picture, const char *infotext, const char *keep, gint64 seed,
                      GError **error)
{
    RvPictureSaveOptions options = { .infotext = infotext, .png_level = 1 };
    GBytes *bytes = rv_picture_encode(picture, RV_PICTURE_PNG, &options, error);
    if (bytes == NULL)
        return NULL;
    RvScriptPicture *made = g_new0(RvScriptPicture, 1);
    *made = (RvScriptPicture) { bytes, g_strdup(infotext), seed, -1, true, keep };
    return made;
}

GBytes *
rv_script_picture_file(const RvScriptPicture *picture, JsonObject *options, const char *format_option,
                       GError **error)
{
    RvPictureStyle style = { .format = RV_PICTURE_PNG };
    bool has_text = rv_fields_bool(options, "enable_pnginfo");
    rv_picture_style_parse(rv_fields_text(options, format_option), &style);
    if (style.format == RV_PICTURE_PNG && has_text)
        return g_bytes_ref(picture->bytes);
    g_autoptr(RvPicture) pixels = rv_script_picture_load(picture, error);
    RvPictureSaveOptions how = { .infotext = has_text ? picture->infotext : NULL,
                                 .quality = (int)rv_fields_integer(options, "jpeg_quality"),
                                 .lossless = rv_fields_bool(options, "webp_lossless"),
                                 .png_level = 1 };
    if (pixels == NULL)
        return NULL;
    g_hash_table_remove_all(pixels->texts);
    return rv_picture_encode(pixels, style.format, &how, error);
}

RvPicture *
rv_script_picture_load(const RvScriptPicture *picture, GError **error)
{
    gsize size = 0;
    const void *data = picture->bytes != NULL ? g_bytes_get_data(picture->bytes, &size) : NULL;
    if (data == NULL) {
        rv_error_set(error, RV_ERROR_IO, "grid", "draw it again", "a picture's file is gone");
        return NULL;
    }
    return rv_picture_load_bytes(data, size, "a drawn picture", NULL, error);
}

/* ---- cells ---- */

typedef struct {
    int columns, rows, cell_width, cell_height, margin;
    int left, top; /* room for words */
} Layout;

static Layout
layout_of(const GPtrArray *pictures, int columns, int margin)
{
    Layout l = { .columns = columns, .rows = ((int)pictures->len + columns - 1) / columns, .margin = margin };
    for (guint i = 0; i < pictures->len; i++) {
        const RvPicture *picture = g_ptr_array_index(pictures, i);
        l.cell_width = MAX(l.cell_width, picture->width);
        l.cell_height = MAX(l.cell_height, picture->height);
    }
    return l;
}

static RvPicture *
new_canvas(const Layout *l, guint8 ground, GError **error)
{
    gint64 width = l->left + (gint64)l->columns * (l->cell_width + l->margin) - l->margin,
           height = l->top + (gint64)l->rows * (l->cell_height + l->margin) - l->margin;
    if (width > G_MAXINT / 8 || height > G_MAXINT / 8 || width * height > MAX_GRID_PIXELS) {
        rv_error_set(error, RV_ERROR_USAGE, "grid", "ask for fewer or smaller pictures",
                     "a grid of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " pixels is too large", width,
                     height);
        return NULL;
    }
    RvPicture *canvas = rv_picture_new((int)width, (int)height, false, error);
    if (canvas != NULL)
        memset(canvas->rgb, ground, (gsize)width * (gsize)height * 3);
    return canvas;
}

static void
paste(RvPicture *canvas, const RvPicture *picture, int x, int y)
{
    gsize row = (gsize)picture->width * 3;
    for (int i = 0; i < picture->height; i++)
        memcpy(canvas->rgb + ((gsize)(y + i) * (gsize)canvas->width + (gsize)x) * 3,
               picture->rgb + (gsize)i * row, row);
}

static void
paste_all(RvPicture *canvas, const Layout *l, const GPtrArray *pictures)
{
    for (guint i = 0; i < pictures->len; i++)
        paste(canvas, g_ptr_array_index(pictures, i),
              l->left + (int)(i % (guint)l->columns) * (l->cell_width + l->margin),
              l->top + (int)(i / (guint)l->columns) * (l->cell_height + l->margin));
}

RvPicture *
rv_grid_new(const GPtrArray *pictures, int columns, int margin, GError **error)
{
    Layout l = layout_of(pictures, columns, margin);
    RvPicture *canvas = new_canvas(&l, 0, error);
    if (canvas != NULL)
        paste_all(canvas, &l, pictures);
    return canvas;
}

/* ---- words ---- */

static PangoLayout *
new_text(cairo_t *cairo, const char *text, int width, double size)
{
    PangoLayout *layout = pango_cairo_create_layout(cairo);
    PangoFontDescription *font = pango_font_description_from_string("sans-serif");
    pango_font_description_set_absolute_size(font, size * PANGO_SCALE);
    pango_layout_set_font_description(layout, font);
    pango_font_description_free(font);
    pango_layout_set_text(layout, text, -1);
    pango_layout_set_width(layout, width * PANGO_SCALE);
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    pango_layout_set_alignment(layout, PANGO_ALIGN_CENTER);
    return layout;
}

static int
text_height(cairo_t *cairo, const char *text, int width, double size)
{
    int height;
    g_autoptr(PangoLayout) layout = new_text(cairo, text, width, size);
    pango_layout_get_pixel_size(layout, NULL, &height);
    return height;
}

static void
draw_text(cairo_t *cairo, const char *text, int x, int middle, int width, double size)
{
    int height;
    g_autoptr(PangoLayout) layout = new_text(cairo, text, width, size);
    pango_layout_get_pixel_size(layout, NULL, &height);
    cairo_move_to(cairo, x, middle - height / 2);
    pango_cairo_show_layout(cairo, layout);
}

/* Cairo's rows of 32-bit pixels over the picture's. */
static void
blend_words(RvPicture *canvas, cairo_surface_t *surface)
{
    cairo_surface_flush(surface);
    const guint8 *words = cairo_image_surface_get_data(surface);
    int stride = cairo_image_surface_get_stride(surface);
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++) {
            int ink = words[y * stride + x];
            guint8 *pixel = canvas->rgb + ((gsize)y * (gsize)canvas->width + (gsize)x) * 3;
            for (int c = 0; ink > 0 && c < 3; c++)
                pixel[c] = (guint8)(pixel[c] * (255 - ink) / 255);
        }
}

static double
font_size(const Layout *l)
{
    return CLAMP((l->cell_width + l->cell_height) / 25.0, 9.0, 60.0);
}

/* Room over the columns and beside the rows. */
static void
reserve(Layout *l, const RvGridLabels *labels, double size)
{
    g_autofree guint8 *none = g_malloc0(64);
    cairo_surface_t *surface = cairo_image_surface_create_for_data(none, CAIRO_FORMAT_A8, 1, 1, 4);
    cairo_t *cairo = cairo_create(surface);
    int padding = (int)size;
    if (labels->rows != NULL)
        l->left = l->cell_width * 3 / 4;
    for (int i = 0; labels->columns != NULL && i < l->columns; i++)
        l->top = MAX(l->top, text_height(cairo, labels->columns[i], l->cell_width, size) + padding);
    if (labels->title != NULL)
        l->top += text_height(cairo, labels->title, l->left + l->columns * l->cell_width, size) + padding;
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
}

static void
draw_labels(cairo_t *cairo, const Layout *l, const RvGridLabels *labels, int width, double size)
{
    int title = 0;
    if (labels->title != NULL) {
        title = text_height(cairo, labels->title, width, size) + (int)size;
        draw_text(cairo, labels->title, 0, title / 2, width, size);
    }
    for (int i = 0; labels->columns != NULL && i < l->columns; i++)
        draw_text(cairo, labels->columns[i], l->left + i * (l->cell_width + l->margin), (title + l->top) / 2,
                  l->cell_width, size);
    for (int i = 0; labels->rows != NULL && i < l->rows; i++)
        draw_text(cairo, labels->rows[i], 0, l->top + i * (l->cell_height + l->margin) + l->cell_height / 2,
                  l->left, size);
}

RvPicture *
rv_grid_new_labelled(const GPtrArray *pictures, int columns, const RvGridLabels *labels, GError **error)
{
    Layout l = layout_of(pictures, columns, labels->margin);
    double size = font_size(&l);
    reserve(&l, labels, size);
    RvPicture *canvas = new_canvas(&l, 255, error);
    if (canvas == NULL)
        return NULL;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, canvas->width, canvas->height);
    if (cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS) {
        cairo_t *cairo = cairo_create(surface);
        draw_labels(cairo, &l, labels, canvas->width, size);
        cairo_destroy(cairo);
        blend_words(canvas, surface);
    }
    cairo_surface_destroy(surface);
    paste_all(canvas, &l, pictures);
    return canvas;
}
