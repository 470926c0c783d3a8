/* What the A1111 web UI does with the first noise of an image: variation seeds and resized seeds. */
#include "sampling/noise.h"
#include <math.h>
#include <string.h>

/* Cosine of the angle between two columns of `height` numbers, `stride` apart. */
static float
column_cosine(const float *a, const float *b, int height, int stride)
{
    double aa = 0, bb = 0, ab = 0;
    for (int y = 0; y < height; y++) {
        double p = a[(gsize)y * (gsize)stride], q = b[(gsize)y * (gsize)stride];
        aa += p * p, bb += q * q, ab += p * q;
    }
    return (float)(ab / sqrt(aa * bb));
}

void
rv_noise_slerp(float amount, const float *low, const float *high, int channels, int height, int width,
               float *out)
{
    gsize plane = (gsize)height * (gsize)width;
    g_autofree float *cosines = g_new(float, (gsize)channels *(gsize)width);
    double mean = 0;
    for (int c = 0; c < channels; c++) {
        for (int x = 0; x < width; x++) {
            gsize at = (gsize)c * plane + (gsize)x;
            float cosine = column_cosine(low + at, high + at, height, width);
            cosines[c * width + x] = cosine;
            mean += (double)cosine / ((double)channels * width);
        }
    }
    bool parallel = mean > 0.9995;
    for (gsize i = 0; i < (gsize)channels * plane; i++) {
        float omega = acosf(cosines[i / plane * (gsize)width + i % (gsize)width]), sine = sinf(omega);
        float a = parallel ? amount : sinf((1.0f - amount) * omega) / sine;
        float b = parallel ? 1.0f - amount : sinf(amount * omega) / sine;
        out[i] = a * low[i] + b * high[i];
    }
}

/* Where `from` positions land in `to` ones along one axis. */
static void
centre(int from, int to, int *source, int *target, int *length)
{
    int shift = to - from;
    shift = shift >= 0 ? shift / 2 : -((-shift + 1) / 2);
    *length = shift >= 0 ? from : from + 2 * shift;
    *source = shift >= 0 ? 0 : -shift;
    *target = shift >= 0 ? shift : 0;
}

void
rv_noise_paste(const float *from, int from_height, int from_width, int channels, int height, int width,
               float *out)
{
    int source_x, target_x, columns, source_y, target_y, rows;
    centre(from_width, width, &source_x, &target_x, &columns);
    centre(from_height, height, &source_y, &target_y, &rows);
    if (columns <= 0)
        return;
    for (int c = 0; c < channels; c++) {
        for (int y = 0; y < rows; y++) {
            gsize read = ((gsize)c * (gsize)from_height + (gsize)(source_y + y)) * (gsize)from_width;
            gsize write = ((gsize)c * (gsize)height + (gsize)(target_y + y)) * (gsize)width;
            memcpy(out + write + target_x, from + read + source_x, (gsize)columns * sizeof(float));
        }
    }
}

void
rv_noise_draw_start(RvNoise *noise, const RvNoiseStart *start, float *out)
{
    bool resized = start->from_height > 0 && start->from_width > 0 &&
                   (start->from_height != start->height || start->from_width != start->width);
    int height = resized ? start->from_height : start->height;
    int width = resized ? start->from_width : start->width;
    gsize count = (gsize)start->channels * (gsize)height * (gsize)width;
    g_autofree float *first = g_new(float, count);
    if (resized) {
        RvNoise *fresh = rv_noise_new_like(noise, rv_noise_seed(noise));
        rv_noise_draw(fresh, first, count);
        rv_noise_free(fresh);
    } else {
        rv_noise_draw(noise, first, count);
    }
    if (start->subseed_strength != 0) {
        g_autofree float *second = g_new(float, count);
        RvNoise *variation = rv_noise_new_like(noise, start->subseed);
        rv_noise_draw(variation, second, count);
        rv_noise_free(variation);
        rv_noise_slerp(start->subseed_strength, first, second, start->channels, height, width, first);
    }
    if (!resized) {
        memcpy(out, first, count * sizeof(float));
        return;
    }
    rv_noise_draw(noise, out, (gsize)start->channels * (gsize)start->height * (gsize)start->width);
    rv_noise_paste(first, height, width, start->channels, start->height, start->width, out);
}
