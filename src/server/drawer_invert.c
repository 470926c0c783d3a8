#include <string.h>

#include "server/drawer.h"

typedef struct {
    RvDrawer base;
    RvPicture *drawn; /* between start and finish */
} InvertDrawer;

static bool
invert_open(RvDrawer *drawer, const RvParameters *parameters, GError **error)
{
    return true;
}

#define BLOCK 64 /* a count that is known lets the compiler use vectors */

static void
invert_in_place(RvDrawer *drawer, RvPicture *frame, const RvParameters *parameters)
{
    gsize size = (gsize)frame->width * (gsize)frame->height * 3, whole = size - size % BLOCK;
    for (guint8 *block = frame->rgb; block < frame->rgb + whole; block += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            block[i] = (guint8)~block[i]; /* 255 - x */
    for (gsize i = whole; i < size; i++)
        frame->rgb[i] = (guint8)~frame->rgb[i];
}

static bool
invert_start(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    InvertDrawer *d = (InvertDrawer *)drawer;
    d->drawn = rv_picture_copy(frame, error);
    if (d->drawn != NULL)
        invert_in_place(drawer, d->drawn, parameters);
    return d->drawn != NULL;
}

static RvPicture *
invert_finish(RvDrawer *drawer, GError **error)
{
    return g_steal_pointer(&((InvertDrawer *)drawer)->drawn);
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
    static const RvDrawerClass class = { invert_open, invert_start, invert_finish, invert_close,
                                         invert_free };
    InvertDrawer *d = g_new0(InvertDrawer, 1);
    d->base = (RvDrawer) { .class = &class,
                           .draw_in_place = invert_in_place,
                           .name = "invert",
                           .width = width,
                           .height = height,
                           .depth = 1 };
    return &d->base;
}
