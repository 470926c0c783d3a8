/* rate.h - JPEG quality and size for one receiver, from how long its frames are on the way: the rate
 * adaptation that WebSockets lack.
 *
 * A ladder of quality and size. Down: most frames of late took longer than the connection's own minimum plus
 * a margin, or one stays on the way for long; single ones are late wherever packets get lost, and smaller
 * pictures would not change that. Up: after a quiet time, which doubles when a rise had to be taken back soon
 * (as in TCP-friendly probing), so that a thin link is not probed for ever. No threads, no clock: times are
 * passed in, in microseconds. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    int step;          /* on the ladder; 0 is best */
    int top;           /* the best step allowed */
    gint64 minimum_us; /* of delivery, since minimum_from_us */
    gint64 previous_minimum_us;
    gint64 minimum_from_us;
    gint64 round_trip_us; /* the least; 0: not known */
    gint64 changed_us;    /* last step up or down */
    gint64 trouble_us;    /* last sign of congestion */
    gint64 quiet_us;      /* needed before a rise */
    double late_share;    /* of the last frames */
    bool was_rise;        /* the last change went up */
} RvRate;

typedef struct {
    int quality; /* of JPEG */
    int eighths; /* of the width and height */
} RvRateStep;

/* `quality`: never better than that. */
void rv_rate_init(RvRate *rate, int quality, gint64 now_us);
/* The connection's shortest round trip, if known: a baseline for deliveries, which are all slow where the
 * link is thin. */
void rv_rate_set_round_trip(RvRate *rate, gint64 least_us);
/* A frame was acknowledged `delivery_us` after it was handed to the network. */
void rv_rate_delivered(RvRate *rate, gint64 delivery_us, gint64 now_us);
/* A result found no room because the frames before it are not acknowledged, the oldest for `oldest_us`. */
void rv_rate_blocked(RvRate *rate, gint64 oldest_us, gint64 now_us);
RvRateStep rv_rate_step(const RvRate *rate);
