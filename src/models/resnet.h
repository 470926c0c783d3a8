/* resnet.h - private to this folder: the residual block of UNets and autoencoders. */
#pragma once
#include "tensor/program.h"

typedef struct {
    int out; /* output channels */
    int groups;
    float eps;
    RvTensor time; /* [n,1,1,out], added between the convolutions; none in an autoencoder */
} RvResnet;

/* diffusers' ResnetBlock2D: x [n,h,w,in] -> [n,h,w,out]; the scope of its weights is already entered. */
RvTensor rv_resnet(RvProgram *program, RvTensor x, const RvResnet *options);
