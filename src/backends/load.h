/* load.h - back ends that are modules, found and loaded at run time, so that the program runs where their
 * libraries are missing. */
#pragma once
#include "tensor/backend.h"

/* The back end "cuda": its module is $REVERIE_CUDA_MODULE when that is set, else reverie-cuda.so beside the
 * executable or in the build tree that the executable lies in, else in LIBDIR/reverie. Loaded once; the table
 * lives as long as the process. RV_ERROR_DEVICE, in one line, when there is no module, when libraries that it
 * needs are missing or when it is of another version. Any thread. */
const RvBackend *rv_backend_load(const char *name, GError **error);
