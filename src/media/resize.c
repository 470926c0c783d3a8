/* Resampling as Pillow does it, to the bit: separable filters whose support grows with the reduction,
 * weights normalised in double and rounded to 22 fraction bits, one rounding to 8 bits after each direction.
 */
#include <math.h>
#include <string.h>

#include "media/internal.h"

#define WEIGHT_BITS 22

typedef struct {
    int first, count; /* input samples that contribute */
} Span;

typedef struct {
    int stride; /* weights reserved for an output sample */
    Span *spans;
    gint32 *weights;
} Taps;

static double
sinc(double x)
{
    return x == 0.0 ? 1.0 : sin(x * G_PI) / (x * G_PI);
}

static double
filter_weight(RvFilter filter, double x)
{
    x = fabs(x);
    switch (filter) {
    case RV_FILTER_BILINEAR:
        return x < 1.0 ? 1.0 - x : 0.0;
    case RV_FILTER_BICUBIC: /* Keys, a = -0.5 */
        if (x < 1.0)
            return (1.5 * x - 2.5) * x * x + 1.0;
        return x < 2.0 ? ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 : 0.0;
    case RV_FILTER_LANCZOS:
        return x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
    case RV_FILTER_NEAREST:
        break;
    }
    g_assert_not_reached();
}

static double
filter_support(RvFilter filter)
{
    return filter == RV_FILTER_BILINEAR ? 1.0 : filter == RV_FILTER_BICUBIC ? 2.0 : 3.0;
}

static void
taps_free(Taps *taps)
{
    g_free(taps->spans);
    g_free(taps->weights);
}

static bool
taps_init(Taps *taps, int from, int to, RvFilter filter)
{
    double scale = (double)from / to, widen = MAX(scale, 1.0), support = filter_support(filter) * widen;
    taps->stride = (int)ceil(support) * 2 + 1;
    taps->spans = g_try_new(Span, to);
    taps->weights = g_try_malloc_n((gsize)to * (gsize)taps->stride, sizeof *taps->weights);
    g_autofree double *exact = g_try_new(double, taps->stride);
    if (taps->spans == NULL || taps->weights == NULL || exact == NULL)
        return false;
    for (int i = 0; i < to; i++) {
        double center = (i + 0.5) * scale, sum = 0.0;
        int first = MAX((int)(center - support + 0.5), 0), end = MIN((int)(center + support + 0.5), from);
        for (int k = first; k < end; k++)
            sum += exact[k - first] = filter_weight(filter, (k - center + 0.5) * (1.0 / widen));
        gint32 *weights = taps->weights + (gsize)i * (gsize)taps->stride;
        for (int k = 0; k < end - first; k++)
            weights[k] = (gint32)lround((sum != 0.0 ? exact[k] / sum : exact[k]) * (1 << WEIGHT_BITS));
        taps->spans[i] = (Span) { first, end - first };
    }
    return true;
}

static guint8
to_byte(gint32 sum)
{
    return (guint8)CLAMP(sum >> WEIGHT_BITS, 0, 255);
}

static void
resample_rows(const Taps *taps, const guint8 *from, guint8 *to, int from_width, int to_width, int height,
              int channels)
{
    for (int y = 0; y < height; y++) {
        const guint8 *row = from + (gsize)y * (gsize)from_width * (gsize)channels;
        for (int x = 0; x < to_width; x++) {
            const gint32 *weights = taps->weights + (gsize)x * (gsize)taps->stride;
            for (int c = 0; c < channels; c++) {
                const guint8 *sample = row + (gsize)taps->spans[x].first * (gsize)channels + c;
                gint32 sum = 1 << (WEIGHT_BITS - 1);
                for (int k = 0; k < taps->spans[x].count; k++, sample += channels)
                    sum += weights[k] * *sample;
                *to++ = to_byte(sum);
            }
        }
    }
}

/* `sums` holds one row of `width` samples (channels side by side). */
static void
resample_columns(const Taps *taps, const guint8 *from, guint8 *to, gsize width, int to_height, gint32 *sums)
{
    for (int y = 0; y < to_height; y++) {
        for (gsize x = 0; x < width; x++)
            sums[x] = 1 << (WEIGHT_BITS - 1);
        for (int k = 0; k < taps->spans[y].count; k++) {
            const guint8 *row = from + (gsize)(taps->spans[y].first + k) * width;
            gint32 weight = taps->weights[(gsize)y * (gsize)taps->stride + (gsize)k];
            for (gsize x = 0; x < width; x++)
                sums[x] += weight * row[x];
        }
        for (gsize x = 0; x < width; x++)
            *to++ = to_byte(sums[x]);
    }
}

static guint8 *
resample_nearest(const guint8 *from, int from_width, int from_height, int channels, int to_width,
                 int to_height)
{
    guint8 *result = g_try_malloc_n((gsize)to_width * (gsize)to_height, (gsize)channels), *to = result;
    for (int y = 0; result != NULL && y < to_height; y++) {
        gsize row = (gsize)((y + 0.5) * from_height / to_height);
        for (int x = 0; x < to_width; x++, to += channels) {
            gsize column = (gsize)((x + 0.5) * from_width / to_width);
            memcpy(to, from + (row * (gsize)from_width + column) * (gsize)channels, (gsize)channels);
        }
    }
    return result;
}

guint8 *
rv_resample(const guint8 *from, int from_width, int from_height, int channels, int to_width, int to_height,
            RvFilter filter)
{
    if (filter == RV_FILTER_NEAREST)
        return resample_nearest(from, from_width, from_height, channels, to_width, to_height);
    gsize row = (gsize)to_width * (gsize)channels;
    Taps across = { 0 }, down = { 0 };
    g_autofree guint8 *between = NULL;
    g_autofree gint32 *sums = g_try_new(gint32, row);
    guint8 *to = g_try_malloc_n((gsize)to_height, row);
    bool done = sums != NULL && to != NULL;
    if (done && to_width != from_width) {
        between = g_try_malloc_n((gsize)from_height, row);
        done = between != NULL && taps_init(&across, from_width, to_width, filter);
        if (done)
            resample_rows(&across, from, between, from_width, to_width, from_height, channels);
    }
    const guint8 *middle = between != NULL ? between : from;
    if (done && to_height != from_height) {
        done = taps_init(&down, from_height, to_height, filter);
        if (done)
            resample_columns(&down, middle, to, row, to_height, sums);
    } else if (done) {
        memcpy(to, middle, (gsize)to_height * row);
    }
    taps_free(&across);
    taps_free(&down);
    if (!done)
        g_clear_pointer(&to, g_free);
    return to;
}

static RvPicture *
no_memory(int width, int height, GError **error)
{
    rv_error_set(error, RV_ERROR_NO_MEMORY, NULL, "ask for a smaller picture", "no memory for %d x %d pixels",
                 width, height);
    return NULL;
}

static void
copy_texts(const RvPicture *from, RvPicture *to)
{
    GHashTableIter iter;
    gpointer key, text;
    g_hash_table_iter_init(&iter, from->texts);
    while (g_hash_table_iter_next(&iter, &key, &text))
        g_hash_table_replace(to->texts, g_strdup(key), g_strdup(text));
}

RvPicture *
rv_picture_resize(const RvPicture *picture, int width, int height, RvFilter filter, GError **error)
{
    g_assert(width > 0 && height > 0);
    RvPicture *resized = g_new0(RvPicture, 1);
    resized->width = width;
    resized->height = height;
    resized->texts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    resized->rgb = rv_resample(picture->rgb, picture->width, picture->height, 3, width, height, filter);
    if (picture->alpha != NULL)
        resized->alpha =
            rv_resample(picture->alpha, picture->width, picture->height, 1, width, height, filter);
    if (resized->rgb == NULL || (picture->alpha != NULL && resized->alpha == NULL)) {
        rv_picture_free(resized);
        return no_memory(width, height, error);
    }
    copy_texts(picture, resized);
    return resized;
}

RvPicture *
rv_picture_crop(const RvPicture *picture, int x, int y, int width, int height, GError **error)
{
    g_assert(x >= 0 && y >= 0 && width > 0 && height > 0);
    g_assert(width <= picture->width - x && height <= picture->height - y);
    RvPicture *cropped = rv_picture_new(width, height, picture->alpha != NULL, error);
    if (cropped == NULL)
        return NULL;
    for (int row = 0; row < height; row++) {
        gsize from = (gsize)(y + row) * (gsize)picture->width + (gsize)x, to = (gsize)row * (gsize)width;
        memcpy(cropped->rgb + 3 * to, picture->rgb + 3 * from, 3 * (gsize)width);
        if (picture->alpha != NULL)
            memcpy(cropped->alpha + to, picture->alpha + from, (gsize)width);
    }
    copy_texts(picture, cropped);
    return cropped;
}

RvPicture *
rv_picture_cover(const RvPicture *picture, int width, int height, RvFilter filter, GError **error)
{
    bool is_wider = (gint64)width * picture->height > (gint64)picture->width * height;
    gint64 covering_width = is_wider ? width : (gint64)picture->width * height / picture->height;
    gint64 covering_height = is_wider ? (gint64)picture->height * width / picture->width : height;
    if (covering_width > G_MAXINT32 || covering_height > G_MAXINT32)
        return no_memory(width, height, error);
    g_autoptr(RvPicture) covering = rv_picture_resize(picture, (int)MAX(covering_width, width),
                                                      (int)MAX(covering_height, height), filter, error);
    if (covering == NULL)
        return NULL;
    return rv_picture_crop(covering, covering->width / 2 - width / 2, covering->height / 2 - height / 2,
                           width, height, error);
}
