#include <string.h>

#include "server/drawer.h"

static bool
invert_open(RvDrawer *drawer, GError **error)
{
    return true;
}

static RvPicture *
invert_draw(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    RvPicture *picture = rv_picture_new(frame->width, frame->height, false, error);
    if (picture == NULL)
        return NULL;
    gsize size = (gsize)frame->width * (gsize)frame->height * 3;
    gsize i = 0;
    for (guint64 word; i + sizeof word <= size; i += sizeof word) { /* 255 - x is the complement of x */
        memcpy(&word, frame->rgb + i, sizeof word);
        word = ~word;
        memcpy(picture->rgb + i, &word, sizeof word);
    }
    for (; i < size; i++)
        picture->rgb[i] = (guint8)(255 - frame->rgb[i]);
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
    *drawer = (RvDrawer) { .class = &class, .name = "invert", .width = width, .height = height };
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
rv_drawer_finish(RvPicture *drawn, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    RvPicture *picture = drawn != NULL ? drawn : rv_picture_copy(frame, error);
    if (picture == NULL)
        return NULL;
    if (drawn != NULL && parameters->opacity < 1.0)
        blend(picture, frame, parameters->opacity);
    if (parameters->mirror)
        flip(picture);
    return picture;
}
