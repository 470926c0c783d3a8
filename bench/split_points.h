/* split_points.h - where a frame over two GPUs would have to exchange: found in the ops of the frame's own
 * program, each GPU having half of every tensor's rows.
 *
 * A convolution needs the rows next to its half, a group norm the other half's sums, self-attention the other
 * half's keys and values; all else works on its own rows. A group norm whose result a convolution reads
 * exchanges once: its sums with the rows before the norm, which the other GPU then normalises itself. */
#pragma once
#include "tensor/program.h"

typedef enum { SPLIT_HALO, SPLIT_SUMS, SPLIT_SUMS_AND_HALO, SPLIT_KEYS, SPLIT_KINDS } SplitKind;

typedef struct {
    SplitKind kind;
    gsize bytes;       /* that each GPU sends */
    char what[80];     /* equal for equal points */
    const char *stage; /* borrowed from the program */
} SplitPoint;

/* Self-attention of the whole frame. */
typedef struct {
    int heads, tokens, width; /* width: of one head */
    int count;
} SplitAttention;

typedef struct {
    GArray *points;              /* SplitPoint, in the frame's order */
    GArray *attentions;          /* SplitAttention, each shape once */
    double seconds[RV_OP_KINDS]; /* of the ops, one at a time, a run */
    int ops;
} SplitFrame;

/* Runs the program `runs` times, op by op. Free with split_frame_clear, also after a failure. */
bool split_frame_read(RvDevice *device, RvProgram *program, int runs, SplitFrame *frame, GError **error);
void split_frame_clear(SplitFrame *frame);
