/* cpu.h - the CPU back end: float32, own kernels compiled for several instruction sets (isa.h).
 * Always linked, and the second opinion for every other back end. Threads are OpenMP's. */
#pragma once
#include "tensor/backend.h"

extern const RvBackend rv_cpu_backend;
