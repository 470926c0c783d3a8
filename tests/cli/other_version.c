/* A back end's module of another version of the interface. */
#include "tensor/backend.h"

const RvBackend rv_cuda_backend = { .abi = RV_BACKEND_ABI + 1, .name = "cuda" };
