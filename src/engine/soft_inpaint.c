#include "engine/soft_inpaint.h"

#include <math.h>
#include <stdlib.h>

#define REACH 2    /* of the filter's kernel, latent pixels */
#define SPREAD 1.5 /* its weights are exp(-(distance / SPREAD)^2), less what that is at REACH + 1 */
#define SIDE (2 * REACH + 1)
#define EDGE_BLUR 4.0 /* sigma in picture pixels, against the latent's steps */

static double
norm_at(const float *latent, int channels, gsize pixels, gsize at)
{
    double sum = 0.0;
    for (int c = 0; c < channels; c++) {
        double value = (double)latent[(gsize)c * pixels + at];
        sum += value * value;
    }
    return sqrt(sum);
}

void
rv_soft_blend(const RvSoftInpaint *soft, const float *known, const float *drawn, const float *mask,
              double sigma, int channels, gsize pixels, float *out)
{
    double exponent = pow(sigma, soft->schedule_bias) * soft->preservation;
    double order = soft->contrast_boost;
    for (gsize i = 0; i < pixels; i++) {
        double share = pow((double)mask[i], exponent);
        double wanted = pow((1.0 - share) * pow(norm_at(known, channels, pixels, i), order) +
                                share * pow(norm_at(drawn, channels, pixels, i), order),
                            1.0 / order);
        for (int c = 0; c < channels; c++) {
            gsize at = (gsize)c * pixels + i;
            out[at] = (float)((1.0 - share) * (double)known[at] + share * (double)drawn[at]);
        }
        double length = norm_at(out, channels, pixels, i);
        for (int c = 0; c < channels && length > 0.0; c++)
            out[(gsize)c * pixels + i] *= (float)(wanted / length);
    }
}

/* ---- the filter by ranks ---- */

typedef struct {
    double value, weight;
} Sample;

static int
compare_samples(const void *a, const void *b)
{
    double x = ((const Sample *)a)->value, y = ((const Sample *)b)->value;
    return (x > y) - (x < y);
}

static double
kernel_at(int dx, int dy)
{
    double end = exp(-(REACH + 1.0) * (REACH + 1.0) / (SPREAD * SPREAD));
    return MAX((exp(-(dx * dx + dy * dy) / (SPREAD * SPREAD)) - end) / (1.0 - end), 0.0);
}

/* The mean of the weight between two ranks (0: the least value, 1: the largest), of at least a whole pixel's
 * weight. */
static double
mean_between(Sample *samples, int count, double from, double to)
{
    double all = 0.0, passed = 0.0, sum = 0.0, weight = 0.0;
    qsort(samples, (gsize)count, sizeof *samples, compare_samples);
    for (int i = 0; i < count; i++)
        all += samples[i].weight;
    double least = from * all, most = to * all, lack = MIN(1.0, all) - (most - least);
    if (lack > 0.0) {
        least = CLAMP(least - lack / 2.0, 0.0, all - MIN(1.0, all));
        most = least + MIN(1.0, all);
    }
    for (int i = 0; i < count; i++) {
        double part = MIN(passed + samples[i].weight, most) - MAX(passed, least);
        passed += samples[i].weight;
        if (part <= 0.0)
            continue;
        sum += part * samples[i].value;
        weight += part;
    }
    return weight > 0.0 ? sum / weight : 0.0;
}

static float *
filter_ranks(const float *map, int width, int height, double from, double to)
{
    float *result = g_new(float, (gsize)width *(gsize)height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            Sample samples[SIDE * SIDE];
            int count = 0;
            for (int dy = -REACH; dy <= REACH; dy++)
                for (int dx = -REACH; dx <= REACH; dx++)
                    if (x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height)
                        samples[count++] =
                            (Sample) { (double)map[(y + dy) * width + x + dx], kernel_at(dx, dy) };
            result[y * width + x] = (float)mean_between(samples, count, from, to);
        }
    return result;
}

/* ---- which picture shows ---- */

/* The distance at which both show alike. */
static double
half_distance(const RvSoftInpaint *soft, double mask)
{
    double told = 1.0 - pow(mask, soft->preservation / 2.0);
    double s = 0.5 * (1.0 - soft->mask_influence) + told * soft->mask_influence;
    return soft->threshold * s / (1.00001 - s);
}

static double
known_share(const RvSoftInpaint *soft, double distance, double half)
{
    if (distance <= 0.0)
        return 1.0;
    double x = 1.0 / (1.0 + pow(distance / half, soft->contrast));
    return x * x * x * (x * (6.0 * x - 15.0) + 10.0);
}

RvMask *
rv_soft_mask(const RvSoftInpaint *soft, const float *known, const float *drawn, const float *mask,
             int channels, int width, int height, int factor, GError **error)
{
    gsize pixels = (gsize)width * (gsize)height;
    g_autofree float *apart = g_new(float, pixels *(gsize)channels), *distances = g_new(float, pixels);
    g_autoptr(RvMask) small = rv_mask_new(width, height, error);
    if (small == NULL)
        return NULL;
    for (gsize i = 0; i < pixels * (gsize)channels; i++)
        apart[i] = drawn[i] - known[i];
    for (gsize i = 0; i < pixels; i++)
        distances[i] = (float)norm_at(apart, channels, pixels, i);
    g_autofree float *peaks = filter_ranks(distances, width, height, 0.9, 1.0);
    g_autofree float *smooth = filter_ranks(peaks, width, height, 0.25, 0.75);
    for (gsize i = 0; i < pixels; i++) {
        double half = half_distance(soft, (double)mask[i]);
        small->values[i] = (guint8)(255.0 * (1.0 - known_share(soft, (double)smooth[i], half)));
    }
    g_autoptr(RvMask) large =
        rv_mask_resize(small, width * factor, height * factor, RV_FILTER_LANCZOS, error);
    return large != NULL && rv_mask_blur(large, EDGE_BLUR, EDGE_BLUR, error) ? g_steal_pointer(&large) : NULL;
}
