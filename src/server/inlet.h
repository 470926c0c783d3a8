/* inlet.h - from JPEGs as they arrive to frames pushed for a client: one is being decoded at most, one waits
 * at most (newest wins), so memory is bounded whatever arrives.
 *
 * Everything on the main loop; decoding itself in the JPEG pool. */
#pragma once
#include "media/jpeg_codec.h"
#include "server/client.h"

typedef struct RvInlet RvInlet;

RvInlet *rv_inlet_new(RvJpegPool *pool, RvClient *client); /* borrows both */
void rv_inlet_close(RvInlet *inlet);                       /* before the client; accepts NULL */
/* `jpeg` begins `offset` bytes into `message`, which is referenced. What is no picture is counted. */
void rv_inlet_push(RvInlet *inlet, GBytes *message, gsize offset, const RvFrameStamp *stamp);
