#include "media/outpaint_noise.h"

#include <gst/fft/gstfftf64.h>
#include <math.h>
#include <string.h>

#include "base/array.h"

#define CHANNELS 3

/* The spectrum of a real plane: columns 0 to width / 2, each of `height` values, row by row. */
typedef struct {
    int width, height, columns;
    GstFFTF64 *rows, *back, *along; /* of a row, its inverse, and of a column */
    double *real, *imaginary;       /* a column */
    GstFFTF64Complex *half[2];      /* of its two parts */
} Transform;

static void
transform_init(Transform *t, int width, int height)
{
    *t = (Transform) { .width = width, .height = height, .columns = width / 2 + 1 };
    t->rows = gst_fft_f64_new(width, FALSE);
    t->back = gst_fft_f64_new(width, TRUE);
    t->along = gst_fft_f64_new(height, FALSE);
    t->real = g_new(double, height);
    t->imaginary = g_new(double, height);
    for (int i = 0; i < 2; i++)
        t->half[i] = g_new(GstFFTF64Complex, height / 2 + 1);
}

static void
transform_clear(Transform *t)
{
    gst_fft_f64_free(t->rows);
    gst_fft_f64_free(t->back);
    gst_fft_f64_free(t->along);
    g_free(t->real);
    g_free(t->imaginary);
    for (int i = 0; i < 2; i++)
        g_free(t->half[i]);
}

/* Of a real sequence's spectrum only the first half is computed: the second is its mirror image. */
static GstFFTF64Complex
value_at(const GstFFTF64Complex *half, int index, int length)
{
    if (index <= length / 2)
        return half[index];
    return (GstFFTF64Complex) { half[length - index].r, -half[length - index].i };
}

/* A column in place. Its real and imaginary parts are transformed apart; the inverse, not divided by the
 * length, is the conjugate of the conjugate's. */
static void
transform_column(Transform *t, GstFFTF64Complex *spectrum, int column, bool is_inverse)
{
    double sign = is_inverse ? -1.0 : 1.0;
    for (int y = 0; y < t->height; y++) {
        const GstFFTF64Complex *from = &spectrum[(gsize)y * (gsize)t->columns + (gsize)column];
        t->real[y] = from->r;
        t->imaginary[y] = sign * from->i;
    }
    gst_fft_f64_fft(t->along, t->real, t->half[0]);
    gst_fft_f64_fft(t->along, t->imaginary, t->half[1]);
    for (int y = 0; y < t->height; y++) {
        GstFFTF64Complex a = value_at(t->half[0], y, t->height), b = value_at(t->half[1], y, t->height);
        spectrum[(gsize)y * (gsize)t->columns + (gsize)column] =
            (GstFFTF64Complex) { a.r - b.i, sign * (a.i + b.r) };
    }
}

static void
transform_forward(Transform *t, const double *plane, GstFFTF64Complex *spectrum)
{
    for (int y = 0; y < t->height; y++)
        gst_fft_f64_fft(t->rows, plane + (gsize)y * (gsize)t->width, spectrum + (gsize)y * (gsize)t->columns);
    for (int x = 0; x < t->columns; x++)
        transform_column(t, spectrum, x, false);
}

static void
transform_inverse(Transform *t, GstFFTF64Complex *spectrum, double *plane)
{
    for (int x = 0; x < t->columns; x++)
        transform_column(t, spectrum, x, true);
    for (int y = 0; y < t->height; y++)
        gst_fft_f64_inverse_fft(t->back, spectrum + (gsize)y * (gsize)t->columns,
                                plane + (gsize)y * (gsize)t->width);
}

/* ---- planes ---- */

/* The known part scaled to 1, and its mean (over the whole) where nothing is known. */
static void
fill_known(const RvPicture *picture, const guint8 *mask, int channel, double scale, double mean, double *to)
{
    gsize count = (gsize)picture->width * (gsize)picture->height;
    for (gsize i = 0; i < count; i++)
        to[i] = mask[i] != 0 ? mean : picture->rgb[i * CHANNELS + (gsize)channel] * scale;
}

/* Uniform noise of one channel between grey and its own; the generator gives three numbers a pixel. */
static void
fill_noise(gsize count, int channel, double variation, double *to)
{
    GRand *random = g_rand_new_with_seed(0);
    for (gsize i = 0; i < count; i++) {
        double values[CHANNELS], grey = 0.0;
        for (int c = 0; c < CHANNELS; c++) {
            values[c] = g_rand_double(random);
            grey += values[c] / CHANNELS;
        }
        to[i] = variation * values[channel] + (1.0 - variation) * grey;
    }
    g_rand_free(random);
}

/* How much of a frequency stays in the noise: 1 / (f^2 + 1) along an axis, the shorter one's highest is 1. */
static double
window_at(int index, int length, int shorter)
{
    int signed_index = index <= length / 2 ? index : index - length;
    double f = 2.0 * signed_index / length * ((double)length / shorter);
    return 1.0 / (f * f + 1.0);
}

/* The noise's power, with the known part's amplitudes and phases: into `known`. */
static void
shape(const Transform *t, const GstFFTF64Complex *noise, double falloff, GstFFTF64Complex *known)
{
    int shorter = MIN(t->width, t->height);
    for (int y = 0; y < t->height; y++)
        for (int x = 0; x < t->columns; x++) {
            gsize at = (gsize)y * (gsize)t->columns + (gsize)x;
            double w = window_at(x, t->width, shorter) * window_at(y, t->height, shorter);
            double power = (noise[at].r * noise[at].r + noise[at].i * noise[at].i) * w * w;
            double size = hypot(known[at].r, known[at].i);
            double factor = size > 0.0 ? power * pow(size, falloff - 1.0) : 0.0;
            known[at] = (GstFFTF64Complex) { known[at].r * factor, known[at].i * factor };
        }
}

/* ---- colours ---- */

static int
by_value(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Each new value becomes the known one of the same rank. */
static void
match_colours(RvPicture *picture, const guint8 *mask, int channel, const double *noise)
{
    gsize count = (gsize)picture->width * (gsize)picture->height, known = 0, fresh = 0;
    gsize totals[256] = { 0 };
    g_autofree double *sorted = g_new(double, count);
    for (gsize i = 0; i < count; i++)
        if (mask[i] == 0)
            totals[picture->rgb[i * CHANNELS + (gsize)channel]]++, known++;
        else
            sorted[fresh++] = noise[i];
    if (known == 0 || fresh == 0)
        return;
    qsort(sorted, fresh, sizeof *sorted, by_value);
    guint8 *levels = g_new(guint8, fresh); /* by rank */
    gsize below = 0, rank = 0;
    for (int level = 0; level < 256; level++) {
        below += totals[level];
        for (; rank < fresh && (double)(rank + 1) / (double)fresh <= (double)below / (double)known; rank++)
            levels[rank] = (guint8)level;
    }
    for (; rank < fresh; rank++)
        levels[rank] = rank > 0 ? levels[rank - 1] : 0;
    for (gsize i = 0; i < count; i++)
        if (mask[i] != 0) {
            const double *found = bsearch(&noise[i], sorted, fresh, sizeof *sorted, by_value);
            picture->rgb[i * CHANNELS + (gsize)channel] = levels[found - sorted];
        }
    g_free(levels);
}

/* ---- the whole ---- */

static void
measure(const RvPicture *picture, const guint8 *mask, double *most, double *mean)
{
    gsize count = (gsize)picture->width * (gsize)picture->height;
    double sum = 0.0;
    *most = 0.0;
    for (gsize i = 0; i < count * CHANNELS; i++) {
        if (mask[i / CHANNELS] != 0)
            continue;
        sum += picture->rgb[i];
        *most = MAX(*most, picture->rgb[i]);
    }
    *mean = sum / 255.0 / (double)(count * CHANNELS);
}

bool
rv_outpaint_noise(RvPicture *picture, const guint8 *mask, double falloff, double variation, GError **error)
{
    gsize count = (gsize)picture->width * (gsize)picture->height;
    gsize half = (gsize)(picture->width / 2 + 1) * (gsize)picture->height;
    g_autofree double *plane = g_try_new(double, count);
    g_autofree GstFFTF64Complex *known = g_try_new(GstFFTF64Complex, half),
                                *noise = g_try_new(GstFFTF64Complex, half);
    Transform transform;
    double most, mean;
    if (plane == NULL || known == NULL || noise == NULL)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, "outpainting", "use a smaller picture",
                            "%zu pixels need too much memory", count);
    measure(picture, mask, &most, &mean);
    transform_init(&transform, picture->width, picture->height);
    for (int channel = 0; channel < CHANNELS; channel++) {
        fill_noise(count, channel, variation, plane);
        transform_forward(&transform, plane, noise);
        fill_known(picture, mask, channel, most > 0.0 ? 1.0 / most : 0.0, mean, plane);
        transform_forward(&transform, plane, known);
        shape(&transform, noise, falloff, known);
        transform_inverse(&transform, known, plane);
        match_colours(picture, mask, channel, plane);
    }
    transform_clear(&transform);
    return true;
}
