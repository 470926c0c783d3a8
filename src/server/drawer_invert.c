#include "server/drawer.h"

static bool
invert_open(RvDrawer *drawer, const RvParameters *parameters, GError **error)
{
    return true;
}

static void
invert_draw(RvDrawer *drawer, RvRaster *frame, const RvParameters *parameters)
{
    rv_raster_invert(frame);
}

static void
invert_close(RvDrawer *drawer)
{
}

static void
invert_free(RvDrawer *drawer)
{
    g_free(drawer);
}

RvDrawer *
rv_drawer_invert_new(int width, int height)
{
    static const RvDrawerClass class = {
        .open = invert_open, .draw = invert_draw, .close = invert_close, .free = invert_free
    };
    RvDrawer *drawer = g_new0(RvDrawer, 1);
    *drawer = (RvDrawer) { .class = &class, .name = "invert", .width = width, .height = height, .depth = 1 };
    return drawer;
}
