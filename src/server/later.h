/* later.h - a request that is answered after its handler returned. Main loop only. */
#pragma once
#include "server/route.h"

typedef struct RvLater RvLater;

/* The request waits. `on_gone` (may be NULL) is called when the client went away before the answer; the owner
 * still ends it. */
RvLater *rv_later_new(const RvCall *call, void (*on_gone)(void *data), void *data);
/* For the answer; NULL: the client is gone. Good until the end. */
const RvCall *rv_later_call(RvLater *later);
const char *rv_later_user(const RvLater *later);
RvServer *rv_later_server(const RvLater *later);
/* Sends what was answered; frees it. */
void rv_later_end(RvLater *later);
