#include "server/drawer.h"

bool
rv_drawer_takes_planes(const RvDrawer *drawer)
{
    return drawer->class->draw != NULL;
}

/* Takes `frame`; gives it in a size and kind that the drawer can draw. */
static RvRaster *
fit(const RvDrawer *drawer, RvRaster *frame, GError **error)
{
    bool has_size = frame->width == drawer->width && frame->height == drawer->height;
    if (has_size && (frame->picture != NULL || rv_drawer_takes_planes(drawer)))
        return frame;
    g_autoptr(RvPicture) picture = rv_raster_to_picture(frame, error);
    if (picture == NULL || has_size)
        return rv_raster_new_picture(g_steal_pointer(&picture));
    return rv_raster_new_picture(
        rv_picture_cover(picture, drawer->width, drawer->height, RV_FILTER_BILINEAR, error));
}

/* What is mixed with the camera's picture is drawn on a copy. */
static bool
draw(RvDrawer *drawer, RvDrawing *drawing, GError **error)
{
    drawing->drawn = drawing->parameters->opacity < 1.0 ? rv_raster_copy(drawing->camera, error)
                                                        : g_steal_pointer(&drawing->camera);
    if (drawing->drawn == NULL)
        return false;
    drawer->class->draw(drawer, drawing->drawn, drawing->parameters);
    return true;
}

bool
rv_drawer_start(RvDrawer *drawer, RvRaster *frame, RvParameters *parameters, RvDrawing *drawing,
                GError **error)
{
    *drawing = (RvDrawing) { 0 };
    frame = fit(drawer, frame, error);
    if (frame == NULL)
        return false;
    drawing->parameters = rv_parameters_ref(parameters);
    if (parameters->passthrough) {
        drawing->drawn = frame;
        return true;
    }
    drawing->camera = frame;
    bool is_started = drawer->class->draw != NULL
                          ? draw(drawer, drawing, error)
                          : drawer->class->start(drawer, frame->picture, parameters, error);
    if (!is_started)
        rv_drawing_clear(drawing);
    return is_started;
}

void
rv_drawing_clear(RvDrawing *drawing)
{
    g_clear_pointer(&drawing->camera, rv_raster_free);
    g_clear_pointer(&drawing->drawn, rv_raster_free);
    g_clear_pointer(&drawing->parameters, rv_parameters_unref);
}

RvRaster *
rv_drawer_finish(RvDrawer *drawer, RvDrawing *drawing, GError **error)
{
    const RvParameters *parameters = drawing->parameters;
    RvRaster *drawn = g_steal_pointer(&drawing->drawn);
    if (drawn == NULL)
        drawn = rv_raster_new_picture(drawer->class->finish(drawer, error));
    if (drawn != NULL && drawing->camera != NULL && parameters->opacity < 1.0)
        rv_raster_mix(drawn, drawing->camera, parameters->opacity);
    if (drawn != NULL && parameters->mirror)
        rv_raster_mirror(drawn);
    rv_drawing_clear(drawing);
    return drawn;
}
