/* half_open.h - ends connections that stay behind: requests that are begun and never finished, kept
 * connections on which nothing comes any more, and those whose peer has gone. libsoup 3.2 waits for ever, and
 * what a client closes between two requests it keeps, descriptor and all (mended in 3.3). GSocket's own
 * timeout is of no use: after it, libsoup neither listens to a kept connection nor closes it.
 *
 * What has been asked completely is none of its business: answers, streams and WebSockets may take their
 * time. */
#pragma once
#include <libsoup/soup.h>
#include <stdbool.h>

typedef struct RvHalfOpen RvHalfOpen;

/* `limit_s`: after so long without anything new a connection is closed, a few seconds later at most; and one
 * whose request has not come whole after ten times as long. One of a process. */
RvHalfOpen *rv_half_open_new(guint limit_s);
void rv_half_open_free(RvHalfOpen *half_open); /* accepts NULL; messages it watches may live on */
/* For SoupServer's "request-started". Main loop. */
void rv_half_open_watch(RvHalfOpen *half_open, SoupServerMessage *message);
guint64 rv_half_open_closed(const RvHalfOpen *half_open); /* connections that took too long, so far */
