#include "engine/latent_resize.h"

#include <math.h>
#include <string.h>

static const char *const names[] = { "Latent",
                                     "Latent (antialiased)",
                                     "Latent (bicubic)",
                                     "Latent (bicubic antialiased)",
                                     "Latent (nearest)",
                                     "Latent (nearest-exact)",
                                     NULL };

const char *const *
rv_latent_mode_names(void)
{
    return names;
}

bool
rv_latent_mode_parse(const char *name, RvLatentMode *mode)
{
    for (int i = 0; names[i] != NULL; i++)
        if (g_ascii_strcasecmp(name, names[i]) == 0) {
            *mode = (RvLatentMode)i;
            return true;
        }
    return false;
}

/* One output sample: `count` inputs from `first`, clamped to the line. */
typedef struct {
    int first, count;
    double *weights;
} Taps;

static double
cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

/* Antialiased: the kernel is as wide as the output's pixels, cut at the border and scaled to a sum of one. */
static void
wide_taps(Taps *taps, int at, int size, double scale, bool is_cubic)
{
    double widen = MAX(scale, 1.0), support = (is_cubic ? 2.0 : 1.0) * widen, centre = scale * (at + 0.5),
           sum = 0.0;
    int first = MAX((int)(centre - support + 0.5), 0), last = MIN((int)(centre + support + 0.5), size);
    *taps = (Taps) { first, last - first, g_new(double, MAX(last - first, 1)) };
    for (int i = 0; i < taps->count; i++) {
        double x = (first + i - centre + 0.5) / widen;
        taps->weights[i] = is_cubic ? cubic(x, -0.5) : MAX(1.0 - fabs(x), 0.0);
        sum += taps->weights[i];
    }
    for (int i = 0; i < taps->count; i++)
        taps->weights[i] /= sum;
}

static void
find_taps(Taps *taps, int at, int size, int to_size, RvLatentMode mode)
{
    double scale = (double)size / to_size, centre = scale * (at + 0.5) - 0.5;
    switch (mode) {
    case RV_LATENT_NEAREST:
    case RV_LATENT_NEAREST_EXACT:
        *taps = (Taps) { MIN((int)floor(scale * (at + (mode == RV_LATENT_NEAREST ? 0.0 : 0.5))), size - 1), 1,
                         g_new(double, 1) };
        taps->weights[0] = 1.0;
        break;
    case RV_LATENT_BILINEAR:
        centre = MAX(centre, 0.0);
        *taps = (Taps) { (int)centre, 2, g_new(double, 2) };
        taps->weights[1] = centre - (int)centre;
        taps->weights[0] = 1.0 - taps->weights[1];
        break;
    case RV_LATENT_BICUBIC:
        *taps = (Taps) { (int)floor(centre) - 1, 4, g_new(double, 4) };
        for (int i = 0; i < 4; i++)
            taps->weights[i] = cubic(centre - (taps->first + i), -0.75);
        break;
    default:
        wide_taps(taps, at, size, scale, mode == RV_LATENT_BICUBIC_ANTIALIAS);
    }
}

/* Resizes lines of `size` samples `stride` apart. */
static void
resize_lines(const float *from, int lines, gsize line_stride, gsize stride, int size, float *to,
             gsize to_line_stride, gsize to_stride, int to_size, RvLatentMode mode)
{
    for (int at = 0; at < to_size; at++) {
        Taps taps;
        find_taps(&taps, at, size, to_size, mode);
        for (int line = 0; line < lines; line++) {
            double sum = 0.0;
            for (int i = 0; i < taps.count; i++)
                sum +=
                    taps.weights[i] *
                    (double)
                        from[(gsize)line * line_stride + (gsize)CLAMP(taps.first + i, 0, size - 1) * stride];
            to[(gsize)line * to_line_stride + (gsize)at * to_stride] = (float)sum;
        }
        g_free(taps.weights);
    }
}

void
rv_latent_resize(const float *from, int count, int height, int width, int to_height, int to_width,
                 RvLatentMode mode, float *to)
{
    g_autofree float *wide = g_new(float, (gsize)height *(gsize)to_width);
    for (int i = 0; i < count; i++) {
        const float *plane = from + (gsize)i * (gsize)height * (gsize)width;
        resize_lines(plane, height, (gsize)width, 1, width, wide, (gsize)to_width, 1, to_width, mode);
        resize_lines(wide, to_width, 1, (gsize)to_width, height,
                     to + (gsize)i * (gsize)to_height * (gsize)to_width, 1, (gsize)to_width, to_height, mode);
    }
}
