/* sse.h - those who listen to server-sent events. One who does not read is disconnected, so that nothing
 * piles up. The main loop's. */
#pragma once
#include "server/route.h"

typedef struct RvSse RvSse;
typedef struct RvSseListener RvSseListener;

/* `most_unsent` events may wait for a listener. `gone` is called when one leaves, also by rv_sse_free(); may
 * be NULL. */
RvSse *rv_sse_new(int most_unsent, void (*gone)(RvSseListener *listener, void *user), void *user);
void rv_sse_free(RvSse *sse); /* accepts NULL */

/* Answers the call with a stream that stays open; NULL: too many listen already, nothing was answered. */
RvSseListener *rv_sse_accept(RvSse *sse, const RvCall *call);
guint rv_sse_count(const RvSse *sse);
void rv_sse_send(RvSseListener *listener, const char *text);
void rv_sse_send_all(RvSse *sse, const char *text);
