/* upscaler.h - networks that enlarge pictures: RRDBNet (Wang et al. 2018, "ESRGAN"; Real-ESRGAN 2021) and its
 * compact sibling SRVGGNetCompact. Weight names are BasicSR's ("conv_first", "body.0.rdb1.conv1"; "body.0").
 */
#pragma once
#include "tensor/program.h"

typedef enum { RV_UPSCALER_RRDB, RV_UPSCALER_COMPACT } RvUpscalerKind;

typedef struct {
    RvUpscalerKind kind;
    int unshuffle; /* RRDB: the input's pixels are folded by so many a side first (1, 2 or 4) */
    int features, growth, blocks;
    int ups;   /* RRDB: doublings */
    int scale; /* of the whole: pixels out for a pixel in, along a side */
} RvUpscalerConfig;

/* RRDB: x [n,h,w,3*unshuffle^2] -> [n,h*2^ups,w*2^ups,3]. Compact: x [n,h,w,3] -> [n,h,w,3*scale^2], to be
 * unfolded (torch's pixel_shuffle) and added to the enlarged input. `leak`, `keep`, `minus`: F32, one
 * element: 0.2, 0.8 and -1. A compact network's PReLU slopes come as diagonal matrices, "body.N.weight" [c,
 * c]. */
typedef struct {
    RvTensor x, leak, keep, minus;
} RvUpscalerInputs;
RvTensor rv_upscaler_record(RvProgram *program, const RvUpscalerConfig *config,
                            const RvUpscalerInputs *inputs);
