/* cpu.h - the CPU back end: float32, oneDNN for matrix products, own loops for the rest.
 * Always linked, and the second opinion for every other back end. Threads are OpenMP's. */
#pragma once
#include "tensor/backend.h"

extern const RvBackend rv_cpu_backend;
