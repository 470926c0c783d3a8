/* half_open.h - ends connections that stay behind: requests that are begun and never finished, handshakes of
 * TLS that do not end, kept connections on which nothing comes any more, and those whose peer has gone. And
 * bounds their number, so that there are always descriptors for what is at work. libsoup 3.2 waits for ever,
 * and what a client closes between two requests it keeps, descriptor and all (mended in 3.3). GSocket's own
 * timeout is of no use: after it, libsoup neither listens to a kept connection nor closes it.
 *
 * What has been asked completely is none of its business: answers, streams and WebSockets may take their
 * time. */
#pragma once
#include <libsoup/soup.h>
#include <stdbool.h>

typedef struct RvHalfOpen RvHalfOpen;

/* `limit_s`: after so long without anything new a connection is closed, a few seconds later at most; and one
 * whose request has not come whole after ten times as long. At most `most_waiting` connections wait for
 * (the rest of) a request: the longest waiting one goes when another comes. A handshake of TLS may take ten
 * seconds, or one while others come. Where `most_open` are open altogether, WebSockets not counted, a new one
 * is closed. One of a process, made when the server listens. */
RvHalfOpen *rv_half_open_new(guint limit_s, guint most_waiting, guint most_open);
/* Ends all connections: libsoup would wait for the handshake of one whose peer says nothing. Accepts NULL;
 * messages it watches may live on. */
void rv_half_open_free(RvHalfOpen *half_open);
/* For SoupServer's "request-started". Main loop. */
void rv_half_open_watch(RvHalfOpen *half_open, SoupServerMessage *message);
guint64 rv_half_open_closed(const RvHalfOpen *half_open);   /* connections that it ended, so far */
guint64 rv_half_open_accepted(const RvHalfOpen *half_open); /* connections that came, so far */
