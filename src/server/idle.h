/* idle.h - how long nothing was asked for, and what is done about it: models are given up, the server ends.
 *
 * Work is a job that is drawn or waits, a model that is being loaded, a live frame. Pages that are open, and
 * a queue that stands because the disk is full, are not. Main loop only. */
#pragma once
#include "server/server.h"

typedef struct RvIdle RvIdle;

/* `on_exit` is called once the server has been idle for options->exit_when_idle_s. */
RvIdle *rv_idle_new(RvServer *server, void (*on_exit)(RvServer *server));
void rv_idle_free(RvIdle *idle); /* accepts NULL */
double rv_idle_seconds(RvIdle *idle);
