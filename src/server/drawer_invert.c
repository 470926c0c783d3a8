#include <string.h>

#include "server/drawer.h"

static bool
invert_open(RvDrawer *drawer, GError **error)
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

static RvPicture *
invert_draw(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    RvPicture *picture = rv_picture_copy(frame, error);
    if (picture != NULL)
        invert_in_place(drawer, picture, parameters);
    return picture;
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
    static const RvDrawerClass class = { invert_open, invert_draw, invert_close, invert_free };
    RvDrawer *drawer = g_new0(RvDrawer, 1);
    *drawer = (RvDrawer) {
        .class = &class, .draw_in_place = invert_in_place, .name = "invert", .width = width, .height = height
    };
    return drawer;
}

/* ---- what all drawers share ---- */

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

RvPicture *
rv_drawer_draw(RvDrawer *drawer, RvPicture *frame, const RvParameters *parameters, GError **error)
{
    g_autoptr(RvPicture) camera = frame;
    RvPicture *drawn;
    if (parameters->passthrough) {
        drawn = g_steal_pointer(&camera);
    } else if (drawer->draw_in_place != NULL && parameters->opacity >= 1.0) {
        drawer->draw_in_place(drawer, camera, parameters);
        drawn = g_steal_pointer(&camera);
    } else {
        drawn = drawer->class->draw(drawer, camera, parameters, error);
        if (drawn == NULL)
            return NULL;
        if (parameters->opacity < 1.0)
            blend(drawn, camera, parameters->opacity);
    }
    if (parameters->mirror)
        flip(drawn);
    return drawn;
}
