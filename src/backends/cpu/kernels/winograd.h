/* winograd.h - the three transforms of Winograd's convolution F(4x4, 3x3) (Lavin and Gray, "Fast
 * Algorithms for Convolutional Neural Networks", 2015): 4x4 outputs of a 3x3 convolution from 6x6
 * inputs by 36 products instead of 144. All work on vectors of channels. The 36 components are
 * numbered row * 6 + column. */
#pragma once
#include <glib.h>

#include "backends/cpu/isa.h"

#define WINOGRAD_SIDE 6
#define WINOGRAD_PARTS 36
#define WINOGRAD_OUT 4
#define WINOGRAD_GROUPS 4

/* The first row of each group of weights, and the end. */
static const int winograd_rows[WINOGRAD_GROUPS + 1] = { 0, 1, 3, 5, 6 };

/* Where an output tile goes: pixels [row][column] with row < rows, column < columns exist. */
typedef struct {
    float *out;
    gint64 row_stride, pixel_stride;
    int rows, columns;
} WinogradTile;

typedef struct {
    /* to[p * part_stride + i] = component p of channel i, from the 6x6 pixels (their channel 0). */
    void (*input)(const float *const *pixels, int channels, float *to, gint64 part_stride);
    /* The components of rows winograd_rows[group] of `count` weights (a multiple of 16): tap t's lie at
     * from + t * tap_stride; component i of the group goes to to + i * part_stride. Rows of points of
     * opposite sign are made together. */
    void (*weights)(const float *from, gint64 tap_stride, int group, int count, float *to,
                    gint64 part_stride);
    /* The outputs of one tile for `channels` channels; component p's at from + p * part_stride, padded to
     * full vectors. */
    void (*output)(const float *from, gint64 part_stride, int channels, const WinogradTile *tile);
} WinogradKernels;

CPU_DECLARE_KERNELS(WinogradKernels, winograd_kernels)
