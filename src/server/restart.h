/* restart.h - the server's process begins anew in its place: the same number, arguments and environment, the
 * same listening socket, in which new connections wait meanwhile.
 *
 * For after a GPU was lost: CUDA works again in a new process only. Jobs wait in the store, settings in their
 * file, pages connect again by themselves. */
#pragma once
#include "base/error.h"

/* What the processes before this one, in the same place, began anew for. */
typedef struct {
    int lost, asked; /* a device was lost, or could not be opened again; SIGUSR2 came */
} RvRestarts;

/* All zero for the first process. Once. */
RvRestarts rv_restart_take_history(void);

/* Becomes the new process; everything should be closed. `listening` (-1: none) is handed to it, and
 * `restarts`, nothing else but the standard streams. REVERIE_CUDA_FAULT and REVERIE_CPU_FAULT, which lose a
 * device for tests, are not asked for again. Any thread; of several the first does it, the others wait.
 * Returns only to say that it failed. */
bool rv_restart_exec(int listening, const RvRestarts *restarts, GError **error);
/* Monotonic microseconds since the process before became this one; G_MAXINT64 when there was none. */
gint64 rv_restart_age_us(void);
/* The listening socket that the process before left, once; -1: none. */
int rv_restart_take_socket(void);
