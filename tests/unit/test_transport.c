/* What decides over transports without touching a socket: header, rate adaptation, bitrate. */
#include <string.h>

#include "media/bitrate.h"
#include "server/frame_header.h"
#include "server/rate.h"

static void
test_header_layout(void)
{
    RvFrameHeader header = { RV_KIND_FRAME, RV_FRAME_PASSTHROUGH, 85, 0x01020304, 7, 0x1122334455667788, 0 },
                  back;
    header.extra = rv_frame_header_stages(1000, 250, 90000000, -5);
    guint8 bytes[RV_FRAME_HEADER_SIZE];
    rv_frame_header_write(&header, bytes);
    static const guint8 expected[] = { 'R',  'V',  'R', '1', 1, 1,    85,   0,    4,    3,    2,
                                       1,    7,    0,   0,   0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
                                       0x22, 0x11, 10,  0,   2, 0,    0xff, 0xff, 0,    0 };
    g_assert_cmpmem(bytes, sizeof bytes, expected, sizeof expected);
    g_assert_true(rv_frame_header_read(bytes, sizeof bytes, &back));
    g_assert_cmpint(back.kind, ==, RV_KIND_FRAME);
    g_assert_cmpint(back.flags, ==, RV_FRAME_PASSTHROUGH);
    g_assert_cmpint(back.quality, ==, 85);
    g_assert_cmpuint(back.sequence, ==, header.sequence);
    g_assert_cmpuint(back.revision, ==, 7);
    g_assert_cmpuint(back.time_us, ==, header.time_us);
    g_assert_cmpuint(back.extra, ==, header.extra);
}

static void
test_bad_headers(void)
{
    RvFrameHeader header = { .kind = RV_KIND_PONG }, back;
    guint8 bytes[RV_FRAME_HEADER_SIZE];
    rv_frame_header_write(&header, bytes);
    g_assert_true(rv_frame_header_read(bytes, sizeof bytes, &back));
    for (gsize size = 0; size < sizeof bytes; size++)
        g_assert_false(rv_frame_header_read(bytes, size, &back));
    bytes[4] = 5;
    g_assert_false(rv_frame_header_read(bytes, sizeof bytes, &back));
    bytes[4] = 0;
    g_assert_false(rv_frame_header_read(bytes, sizeof bytes, &back));
    bytes[4] = 1;
    bytes[0] = 'r';
    g_assert_false(rv_frame_header_read(bytes, sizeof bytes, &back));
}

/* A link of `bytes_per_s` behind a buffer: each step's frame takes its size divided by the rate. */
static int
settle(double bytes_per_s, gint64 round_trip_us, int seconds, int *changes)
{
    RvRate rate;
    gint64 now_us = 1;
    rv_rate_init(&rate, 85, now_us);
    rv_rate_set_round_trip(&rate, round_trip_us);
    *changes = 0;
    int before = rate.step;
    while (now_us < seconds * G_USEC_PER_SEC) {
        RvRateStep step = rv_rate_step(&rate);
        double bytes = 1500.0 * step.quality * step.eighths * step.eighths / 64;
        gint64 delivery_us = round_trip_us + (gint64)(bytes / bytes_per_s * G_USEC_PER_SEC);
        now_us += MAX(delivery_us, 33333);
        rv_rate_delivered(&rate, delivery_us, now_us);
        *changes += rate.step != before;
        before = rate.step;
    }
    return rate.step;
}

static void
test_rate_follows_the_link(void)
{
    int changes;
    g_assert_cmpint(settle(1e8, 2000, 60, &changes), ==, 1); /* the ladder's 85 */
    g_assert_cmpint(changes, ==, 0);
    g_assert_cmpint(settle(1e8, 150000, 60, &changes), ==, 1); /* far away is not congested */
    g_assert_cmpint(changes, ==, 0);
    int medium = settle(1e6, 20000, 60, &changes), thin = settle(2e5, 20000, 60, &changes);
    g_assert_cmpint(medium, >, 1);
    g_assert_cmpint(thin, >, medium);
    settle(5e5, 20000, 600, &changes); /* ten minutes at the edge: probing backs off */
    g_assert_cmpint(changes, <, 60);
}

/* Packets get lost, and every fourth frame waits until one was sent again: smaller pictures would not help.
 */
static void
test_rate_bears_single_late_frames(void)
{
    RvRate rate;
    gint64 now_us = 1;
    rv_rate_init(&rate, 85, now_us);
    rv_rate_set_round_trip(&rate, 40000);
    for (int i = 0; i < 1800; i++) {
        gint64 delivery_us = i % 4 == 0 ? 250000 : 45000;
        rv_rate_blocked(&rate, delivery_us, now_us += 33333);
        rv_rate_delivered(&rate, delivery_us, now_us);
        g_assert_cmpint(rate.step, ==, rate.top);
    }
    for (int i = 0; i < 60; i++)
        rv_rate_delivered(&rate, 250000, now_us += 33333);
    g_assert_cmpint(rate.step, >=, rate.top + 3);
}

static void
test_rate_recovers(void)
{
    RvRate rate;
    gint64 now_us = 1;
    rv_rate_init(&rate, 85, now_us);
    rv_rate_set_round_trip(&rate, 5000);
    for (int i = 0; i < 300; i++)
        rv_rate_blocked(&rate, 900000, now_us += 33333);
    int low = rate.step;
    g_assert_cmpint(low, >, 8);
    for (int i = 0; i < 60 * 30; i++)
        rv_rate_delivered(&rate, 10000, now_us += 33333);
    g_assert_cmpint(rate.step, ==, 1);
}

static void
test_rate_never_exceeds_the_quality_asked_for(void)
{
    RvRate rate;
    rv_rate_init(&rate, 50, 1);
    g_assert_cmpint(rv_rate_step(&rate).quality, <=, 50);
    for (int i = 1; i < 3000; i++)
        rv_rate_delivered(&rate, 1000, i * 33333);
    g_assert_cmpint(rv_rate_step(&rate).quality, <=, 50);
    rv_rate_init(&rate, 1, 1);
    g_assert_cmpint(rv_rate_step(&rate).quality, >=, 1);
}

static void
test_bitrate_follows_the_link(void)
{
    RvBitrate state;
    gint64 now_us = 1;
    rv_bitrate_init(&state, 2500000, now_us);
    for (int i = 0; i < 120; i++) { /* wide link, the encoder uses what it may */
        RvBitrateReport report = { now_us += 500000, state.bitrate, state.bitrate, 0, 40000 };
        rv_bitrate_update(&state, &report);
    }
    g_assert_cmpint(state.bitrate, ==, RV_BITRATE_MAX);
    for (int i = 0; i < 20; i++) { /* 600 kb/s are left */
        double received = MIN(state.bitrate, 600000);
        RvBitrateReport report = { now_us += 500000, state.bitrate, received, 0,
                                   40000 + (state.bitrate > 600000 ? 300000 : 0) };
        rv_bitrate_update(&state, &report);
    }
    g_assert_cmpint(state.bitrate, <=, 650000);
    g_assert_cmpint(state.bitrate, >=, RV_BITRATE_MIN);
}

static void
test_bitrate_signals(void)
{
    RvBitrate state;
    rv_bitrate_init(&state, 1000000, 1);
    RvBitrateReport quiet = { 1000000, 1000000, 1000000, 0, 50000 };
    g_assert_cmpint(rv_bitrate_update(&state, &quiet), ==, 1080000);
    RvBitrateReport idle = { 2000000, 100000, 100000, 0, 50000 };
    g_assert_cmpint(rv_bitrate_update(&state, &idle), ==, 1080000);
    RvBitrateReport queue = { 3000000, 1000000, 1000000, 0, 150000 };
    g_assert_cmpint(rv_bitrate_update(&state, &queue), <, 900000);
    int after = state.bitrate;
    RvBitrateReport soon = { 3200000, 1000000, 1000000, 0, 150000 };
    g_assert_cmpint(rv_bitrate_update(&state, &soon), ==, after);
    RvBitrateReport lossy = { 5000000, 800000, 700000, 0.1, 50000 };
    g_assert_cmpint(rv_bitrate_update(&state, &lossy), <, after);
    RvBitrateReport none = { 6000000, 0, 0, 0, 0 };
    after = state.bitrate;
    g_assert_cmpint(rv_bitrate_update(&state, &none), ==, after);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/transport/header", test_header_layout);
    g_test_add_func("/transport/bad-headers", test_bad_headers);
    g_test_add_func("/transport/rate", test_rate_follows_the_link);
    g_test_add_func("/transport/rate-single-late", test_rate_bears_single_late_frames);
    g_test_add_func("/transport/rate-recovers", test_rate_recovers);
    g_test_add_func("/transport/rate-quality", test_rate_never_exceeds_the_quality_asked_for);
    g_test_add_func("/transport/bitrate", test_bitrate_follows_the_link);
    g_test_add_func("/transport/bitrate-signals", test_bitrate_signals);
    return g_test_run();
}
