/* read_ahead.h - a stream that reads from another in large pieces. libsoup takes a WebSocket's messages from
 * its stream a kilobyte at a time, which is two hundred system calls for a frame of 1024x1024. */
#pragma once
#include <gio/gio.h>

/* Both ways of `base`, of which it keeps a reference and which ends with it; the input is read ahead. Its
 * input and output streams are pollable as those of `base` must be. For whoever reads until nothing is left
 * each time that the input is readable, as libsoup's WebSockets do: bytes that were read ahead raise no event
 * of their own. `socket`: what `base` reads its bytes from as they are, so that waiting can be cheap; NULL
 * with TLS. */
GIOStream *rv_read_ahead_stream_new(GIOStream *base, GSocket *socket);
