#include "server/frame_header.h"

#include <string.h>

static const guint8 magic[4] = { 'R', 'V', 'R', '1' };

static void
put(guint8 *to, guint64 value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (guint8)(value >> 8 * i);
}

static guint64
get(const guint8 *from, int bytes)
{
    guint64 value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

void
rv_frame_header_write(const RvFrameHeader *header, guint8 to[RV_FRAME_HEADER_SIZE])
{
    memcpy(to, magic, sizeof magic);
    to[4] = (guint8)header->kind;
    to[5] = header->flags;
    put(to + 6, header->quality, 2);
    put(to + 8, header->sequence, 4);
    put(to + 12, header->revision, 4);
    put(to + 16, header->time_us, 8);
    put(to + 24, header->extra, 8);
}

bool
rv_frame_header_read(const void *data, gsize size, RvFrameHeader *header)
{
    const guint8 *from = data;
    if (size < RV_FRAME_HEADER_SIZE || memcmp(from, magic, sizeof magic) != 0 || from[4] < RV_KIND_FRAME ||
        from[4] > RV_KIND_PONG)
        return false;
    *header = (RvFrameHeader) { .kind = from[4],
                                .flags = from[5],
                                .quality = (guint16)get(from + 6, 2),
                                .sequence = (guint32)get(from + 8, 4),
                                .revision = (guint32)get(from + 12, 4),
                                .time_us = get(from + 16, 8),
                                .extra = get(from + 24, 8) };
    return true;
}

guint64
rv_frame_header_stages(gint64 wait_us, gint64 device_us, gint64 hold_us, gint64 encode_us)
{
    const gint64 times[] = { wait_us, device_us, hold_us, encode_us };
    guint64 extra = 0;
    for (int i = 0; i < 4; i++)
        extra |= (guint64)CLAMP(times[i] / 100, 0, 65535) << 16 * i;
    return extra;
}
