#include "server/drawer.h"

#include <string.h>

static void
blend(RvPicture *drawn, const RvPicture *frame, double opacity)
{
    gsize size = (gsize)drawn->width * (gsize)drawn->height * 3;
    int weight = (int)(opacity * 256.0 + 0.5);
    for (gsize i = 0; i < size; i++)
        drawn->rgb[i] = (guint8)((drawn->rgb[i] * weight + frame->rgb[i] * (256 - weight) + 128) >> 8);
}

static void
flip(RvPicture *picture)
{
    for (int y = 0; y < picture->height; y++) {
        guint8 *left = picture->rgb + (gsize)y * (gsize)picture->width * 3,
               *right = left + 3 * (picture->width - 1);
        for (; left < right; left += 3, right -= 3) {
            guint8 pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}

bool
rv_drawer_start(RvDrawer *drawer, RvPicture *frame, RvParameters *parameters, RvDrawing *drawing,
                GError **error)
{
    *drawing = (RvDrawing) { .camera = frame, .parameters = rv_parameters_ref(parameters) };
    if (parameters->passthrough)
        return true;
    if (drawer->draw_in_place != NULL && parameters->opacity >= 1.0) {
        drawer->draw_in_place(drawer, frame, parameters);
        return true;
    }
    drawing->is_under_way = drawer->class->start(drawer, frame, parameters, error);
    if (!drawing->is_under_way)
        rv_drawing_clear(drawing);
    return drawing->is_under_way;
}

void
rv_drawing_clear(RvDrawing *drawing)
{
    g_clear_pointer(&drawing->camera, rv_picture_free);
    g_clear_pointer(&drawing->parameters, rv_parameters_unref);
}

RvPicture *
rv_drawer_finish(RvDrawer *drawer, RvDrawing *drawing, GError **error)
{
    const RvParameters *parameters = drawing->parameters;
    RvPicture *drawn =
        drawing->is_under_way ? drawer->class->finish(drawer, error) : g_steal_pointer(&drawing->camera);
    if (drawn != NULL && drawing->is_under_way && parameters->opacity < 1.0)
        blend(drawn, drawing->camera, parameters->opacity);
    if (drawn != NULL && parameters->mirror)
        flip(drawn);
    rv_drawing_clear(drawing);
    return drawn;
}
