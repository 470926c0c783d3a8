/* frame_header.h - the 32 bytes before every message of the WebSocket subprotocol reverie.1
 * (docs/protocol.md has the layout). */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_FRAME_HEADER_SIZE 32
#define RV_FRAME_PASSTHROUGH 1u

typedef enum { RV_KIND_FRAME = 1, RV_KIND_ACK, RV_KIND_PING, RV_KIND_PONG } RvFrameKind;

typedef struct {
    RvFrameKind kind;
    guint8 flags;
    guint16 quality;
    guint32 sequence;
    guint32 revision;
    guint64 time_us;
    guint64 extra; /* the last 8 bytes, little-endian, for the functions below */
} RvFrameHeader;

void rv_frame_header_write(const RvFrameHeader *header, guint8 to[RV_FRAME_HEADER_SIZE]);
/* False when there are too few bytes, no magic or an unknown kind. */
bool rv_frame_header_read(const void *data, gsize size, RvFrameHeader *header);

/* The times of four stages as they stand in a frame's last 8 bytes; longer and negative ones are clamped. */
guint64 rv_frame_header_stages(gint64 wait_us, gint64 device_us, gint64 hold_us, gint64 encode_us);
