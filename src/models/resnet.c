#include "models/resnet.h"

RvTensor
rv_resnet(RvProgram *p, RvTensor x, const RvResnet *o)
{
    const RvNorm norm = { .groups = o->groups, .eps = o->eps, .act = RV_ACT_SILU };
    /* The shortcut comes first: then x dies at norm1, which runs in place, before conv1 needs memory. */
    RvTensor shortcut = x;
    if (rv_shape(p, x).c != o->out)
        shortcut = rv_linear(p, x, "conv_shortcut", (RvLinear) { .out = o->out });
    RvTensor h = rv_group_norm(p, x, "norm1", norm);
    h = rv_conv2d(p, h, "conv1", (RvConv2d) { .out = o->out, .add = o->time });
    h = rv_group_norm(p, h, "norm2", norm);
    return rv_conv2d(p, h, "conv2", (RvConv2d) { .out = o->out, .add = shortcut });
}
