/* guard.h - a back end around a back end that runs programs op by op and checks what each op writes. */
#pragma once
#include "tensor/backend.h"

/* The guarded form of `inner`; one at a time in a process. A program's first run is the checked one,
 * later runs are the inner back end's own. A fault is a failed test (g_error). */
const RvBackend *guard_wrap(const RvBackend *inner);
