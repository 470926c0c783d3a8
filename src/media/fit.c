#include "media/fit.h"

#include <math.h>
#include <string.h>

#define WEIGHT_ONE 256 /* the weights of a sample add up to this, so that sums fit 16 bits */

/* For each sample of one axis: where its taps begin, and its `taps` weights. */
typedef struct {
    int from, to, taps;
    int *first;
    guint16 *weights; /* [to, taps] */
} Axis;

struct RvFit {
    Axis x, y;
    guint8 *row; /* one row of the source after the vertical pass */
    gsize row_size;
};

RvRect
rv_fit_rect(int width, int height, int to_width, int to_height)
{
    gint64 wide = (gint64)height * to_width, tall = (gint64)width * to_height;
    RvRect rect = { 0, 0, width, height };
    if (tall > wide)
        rect.width = (int)MAX(1, (wide + to_height / 2) / to_height);
    else
        rect.height = (int)MAX(1, (tall + to_width / 2) / to_width);
    rect.x = (width - rect.width) / 2;
    rect.y = (height - rect.height) / 2;
    return rect;
}

RvFit *
rv_fit_new(void)
{
    return g_new0(RvFit, 1);
}

void
rv_fit_free(RvFit *fit)
{
    if (fit == NULL)
        return;
    g_free(fit->x.first);
    g_free(fit->x.weights);
    g_free(fit->y.first);
    g_free(fit->y.weights);
    g_free(fit->row);
    g_free(fit);
}

/* How much of source sample `index` goes into output sample `i`, not normalised. */
static double
coverage(int i, int index, double scale)
{
    if (scale > 1) /* area */
        return fmin(index + 1, (i + 1) * scale) - fmax(index, i * scale);
    return 1 - fabs((i + 0.5) * scale - 0.5 - index); /* bilinear */
}

/* Rounds so that the sum is exact: what is left over goes to the heaviest tap. */
static void
set_weights(const Axis *axis, int i, double scale)
{
    guint16 *weights = axis->weights + (gsize)i * (gsize)axis->taps;
    double sum = 0;
    for (int t = 0; t < axis->taps; t++)
        sum += fmax(0, coverage(i, axis->first[i] + t, scale));
    int left = WEIGHT_ONE, heaviest = 0;
    for (int t = 0; t < axis->taps; t++) {
        double share = sum > 0 ? fmax(0, coverage(i, axis->first[i] + t, scale)) / sum : 0;
        weights[t] = (guint16)lrint(share * WEIGHT_ONE);
        left -= weights[t];
        heaviest = weights[t] > weights[heaviest] ? t : heaviest;
    }
    weights[heaviest] = (guint16)(weights[heaviest] + left);
}

static void
axis_prepare(Axis *axis, int from, int to)
{
    if (axis->from == from && axis->to == to)
        return;
    double scale = (double)from / to;
    int taps = scale > 1 ? (int)ceil(scale) + 1 : 2;
    *axis = (Axis) { .from = from,
                     .to = to,
                     .taps = MIN(taps, from),
                     .first = g_renew(int, axis->first, to),
                     .weights = g_renew(guint16, axis->weights, (gsize)to * (gsize)taps) };
    for (int i = 0; i < to; i++) {
        double start = scale > 1 ? i * scale : (i + 0.5) * scale - 0.5;
        axis->first[i] = CLAMP((int)floor(start), 0, from - axis->taps);
        set_weights(axis, i, scale);
    }
}

/* Adds up the rows that make one output row: samples lie side by side, which compilers vectorise. */
static void
mix_rows(const guint8 *from, gsize stride, const guint16 *weights, int taps, guint8 *to, gsize samples)
{
    if (taps == 2) {
        const guint8 *a = from, *b = from + stride;
        guint16 u = weights[0], v = weights[1];
        for (gsize i = 0; i < samples; i++)
            to[i] = (guint8)((guint16)(a[i] * u + b[i] * v + WEIGHT_ONE / 2) >> 8);
        return;
    }
    for (gsize i = 0; i < samples; i++) {
        unsigned sum = WEIGHT_ONE / 2;
        for (int t = 0; t < taps; t++)
            sum += from[i + (gsize)t * stride] * (unsigned)weights[t];
        to[i] = (guint8)(sum >> 8);
    }
}

static void
mix_columns(const guint8 *row, const Axis *axis, guint8 *to)
{
    const guint16 *weights = axis->weights;
    for (int x = 0; x < axis->to; x++, to += 3, weights += axis->taps) {
        const guint8 *from = row + 3 * (gsize)axis->first[x];
        unsigned r = WEIGHT_ONE / 2, g = r, b = r;
        for (int t = 0; t < axis->taps; t++, from += 3) {
            r += from[0] * (unsigned)weights[t];
            g += from[1] * (unsigned)weights[t];
            b += from[2] * (unsigned)weights[t];
        }
        to[0] = (guint8)(r >> 8);
        to[1] = (guint8)(g >> 8);
        to[2] = (guint8)(b >> 8);
    }
}

static void
mix_columns_of_plane(const guint8 *row, const Axis *axis, guint8 *to)
{
    const guint16 *weights = axis->weights;
    for (int x = 0; x < axis->to; x++, weights += axis->taps) {
        const guint8 *from = row + axis->first[x];
        unsigned sum = WEIGHT_ONE / 2;
        for (int t = 0; t < axis->taps; t++)
            sum += from[t] * (unsigned)weights[t];
        to[x] = (guint8)(sum >> 8);
    }
}

static void
copy_rows(const guint8 *from, gsize stride, guint8 *to, gsize to_stride, int rows)
{
    for (int y = 0; y < rows; y++)
        memcpy(to + (gsize)y * to_stride, from + (gsize)y * stride, to_stride);
}

/* For sizes that differ; `samples` of a row of the source. */
static void
prepare(RvFit *fit, int width, int height, int to_width, int to_height, gsize samples)
{
    axis_prepare(&fit->x, width, to_width);
    axis_prepare(&fit->y, height, to_height);
    if (fit->row_size < samples) {
        fit->row = g_realloc(fit->row, samples);
        fit->row_size = samples;
    }
}

/* The rows that make row `y` of the output, into fit->row. */
static void
mix_into_row(RvFit *fit, const guint8 *from, gsize stride, int y, gsize samples)
{
    const guint16 *weights = fit->y.weights + (gsize)y * (gsize)fit->y.taps;
    mix_rows(from + (gsize)fit->y.first[y] * stride, stride, weights, fit->y.taps, fit->row, samples);
}

void
rv_fit_resize(RvFit *fit, const guint8 *from, gsize stride, int width, int height, guint8 *to, int to_width,
              int to_height)
{
    gsize samples = 3 * (gsize)width, to_stride = 3 * (gsize)to_width;
    if (width == to_width && height == to_height) {
        copy_rows(from, stride, to, to_stride, height);
        return;
    }
    prepare(fit, width, height, to_width, to_height, samples);
    for (int y = 0; y < to_height; y++) {
        mix_into_row(fit, from, stride, y, samples);
        mix_columns(fit->row, &fit->x, to + (gsize)y * to_stride);
    }
}

void
rv_fit_resize_plane(RvFit *fit, const guint8 *from, int width, int height, guint8 *to, int to_width,
                    int to_height)
{
    gsize samples = (gsize)width, to_stride = (gsize)to_width;
    if (width == to_width && height == to_height) {
        copy_rows(from, samples, to, to_stride, height);
        return;
    }
    prepare(fit, width, height, to_width, to_height, samples);
    for (int y = 0; y < to_height; y++) {
        mix_into_row(fit, from, samples, y, samples);
        mix_columns_of_plane(fit->row, &fit->x, to + (gsize)y * to_stride);
    }
}
