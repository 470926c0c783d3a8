#include "media/i420.h"

/* Weights of red, green and blue, times 2^15; the sums over r = g = b are 219/255 and 0. */
#define SHIFT 15
#define Y_RED 8414
#define Y_GREEN 16520
#define Y_BLUE 3208
#define U_RED -4857
#define U_GREEN -9535
#define U_BLUE 14392
#define V_RED 14392
#define V_GREEN -12052
#define V_BLUE -2340

static void
luma_row(const guint8 *rgb, int width, guint8 *to)
{
    for (int x = 0; x < width; x++) {
        int sum = Y_RED * rgb[3 * x] + Y_GREEN * rgb[3 * x + 1] + Y_BLUE * rgb[3 * x + 2];
        to[x] = (guint8)((sum + (16 << SHIFT) + (1 << (SHIFT - 1))) >> SHIFT);
    }
}

/* Sums of four pixels are four times as large: two bits more to shift. */
static void
chroma_row(const guint8 *above, const guint8 *below, int width, guint8 *u, guint8 *v)
{
    const int offset = (128 << (SHIFT + 2)) + (1 << (SHIFT + 1));
    for (int x = 0; x < width; x++, above += 6, below += 6) {
        int red = above[0] + above[3] + below[0] + below[3];
        int green = above[1] + above[4] + below[1] + below[4];
        int blue = above[2] + above[5] + below[2] + below[5];
        u[x] = (guint8)((U_RED * red + U_GREEN * green + U_BLUE * blue + offset) >> (SHIFT + 2));
        v[x] = (guint8)((V_RED * red + V_GREEN * green + V_BLUE * blue + offset) >> (SHIFT + 2));
    }
}

void
rv_i420_from_rgb(const guint8 *rgb, int width, int height, guint8 *const planes[3], const int strides[3])
{
    gsize stride = 3 * (gsize)width;
    for (int y = 0; y < height; y += 2) {
        const guint8 *above = rgb + (gsize)y * stride, *below = above + stride;
        luma_row(above, width, planes[0] + (gssize)y * strides[0]);
        luma_row(below, width, planes[0] + (gssize)(y + 1) * strides[0]);
        chroma_row(above, below, width / 2, planes[1] + (gssize)(y / 2) * strides[1],
                   planes[2] + (gssize)(y / 2) * strides[2]);
    }
}
