#include "backends/cpu/kernels/norm.h"
#include "backends/cpu/kernels/activate.h"

/* Rows are read twice while they lie in the inner caches. */
#define BLOCK_BYTES 32768

static void
block_moments(const float *x, int pixels, int channels, int stride, float *mean, float *squares)
{
    memset(mean, 0, sizeof *mean * (gsize)channels);
    memset(squares, 0, sizeof *squares * (gsize)channels);
    for (int p = 0; p < pixels; p++) {
        const float *row = x + (gint64)p * stride;
#pragma omp simd
        for (int c = 0; c < channels; c++)
            mean[c] += row[c];
    }
    float part = 1.0f / (float)pixels;
#pragma omp simd
    for (int c = 0; c < channels; c++)
        mean[c] *= part;
    for (int p = 0; p < pixels; p++) {
        const float *row = x + (gint64)p * stride;
#pragma omp simd
        for (int c = 0; c < channels; c++) {
            float d = row[c] - mean[c];
            squares[c] += d * d;
        }
    }
}

static void
moments_kernel(const float *x, gint64 pixels, int channels, int stride, double count, double *mean,
               double *squares, float *scratch)
{
    gint64 block = BLOCK_BYTES / (gint64)sizeof(float) / channels;
    block = block < 16 ? 16 : block;
    float *block_mean = scratch, *block_squares = scratch + channels;
    for (gint64 done = 0; done < pixels; done += block) {
        gint64 part = pixels - done < block ? pixels - done : block;
        block_moments(x + done * stride, (int)part, channels, stride, block_mean, block_squares);
        double share = (double)part / (count + (double)part), cross = count * share;
#pragma omp simd
        for (int c = 0; c < channels; c++) {
            double d = (double)block_mean[c] - mean[c];
            mean[c] += d * share;
            squares[c] += (double)block_squares[c] + d * d * cross;
        }
        count += (double)part;
    }
}

static inline __attribute__((always_inline)) void
normalize_loop(RvAct act, const float *x, const float *mean, const float *scale, const float *shift,
               float *out, int channels)
{
#pragma omp simd
    for (int c = 0; c < channels; c++)
        out[c] = activate(act, (x[c] - mean[c]) * scale[c] + shift[c]);
}

static void
normalize_kernel(RvAct act, const float *x, const float *mean, const float *scale, const float *shift,
                 float *out, int channels)
{
#define CALL(constant) normalize_loop(constant, x, mean, scale, shift, out, channels)
    SWITCH_ACT(act, CALL)
#undef CALL
}

static inline __attribute__((always_inline)) void
layer_norm_loop(RvAct act, const float *x, float mean, float rest, float scale, const float *weight,
                const float *bias, float *out, int channels)
{
#pragma omp simd
    for (int c = 0; c < channels; c++)
        out[c] = activate(act, ((x[c] - mean) - rest) * scale * weight[c] + bias[c]);
}

/* `rest` is what rounding kept out of `mean`: it counts when the mean is large beside the deviations. */
static void
layer_norm_kernel(RvAct act, const float *x, const float *weight, const float *bias, float eps, float *out,
                  int channels)
{
    float sum = 0.0f, rest = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < channels; c++)
        sum += x[c];
    float mean = sum / (float)channels;
#pragma omp simd reduction(+ : rest, squares)
    for (int c = 0; c < channels; c++) {
        float d = x[c] - mean;
        rest += d;
        squares += d * d;
    }
    rest /= (float)channels;
    float variance = squares / (float)channels - rest * rest;
    variance = variance < 0.0f ? 0.0f : variance;
    float scale = 1.0f / sqrtf(variance + eps);
#define CALL(constant) layer_norm_loop(constant, x, mean, rest, scale, weight, bias, out, channels)
    SWITCH_ACT(act, CALL)
#undef CALL
}

const NormKernels CPU_TABLE(norm_kernels) = {
    .moments = moments_kernel,
    .normalize = normalize_kernel,
    .layer_norm = layer_norm_kernel,
};
