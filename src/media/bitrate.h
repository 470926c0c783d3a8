/* bitrate.h - how many bits a second a WebRTC video may use, from what the peer reports: transport-wide
 * feedback (how much arrived of what was sent) and round-trip times.
 *
 * Loss above 8 %, less than 85 % of what was sent arriving, or a round trip well over its minimum (a queue
 * builds up) cut the rate below what arrives; less than 2 % loss lets it grow by 8 % a report while it is
 * used. No clock: times are passed in, microseconds. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_BITRATE_MIN 300000
#define RV_BITRATE_MAX 20000000

typedef struct {
    gint64 now_us;
    double sent_bps, received_bps; /* received_bps 0: no report */
    double loss;                   /* 0 to 1 */
    gint64 round_trip_us;          /* 0: not known */
} RvBitrateReport;

typedef struct {
    int bitrate; /* bits per second */
    gint64 least_round_trip_us, previous_least_us, least_from_us;
    gint64 cut_us; /* when it was last cut; 0: never */
} RvBitrate;

void rv_bitrate_init(RvBitrate *state, int bitrate, gint64 now_us);
/* Returns the new bitrate; to be called about twice a second. */
int rv_bitrate_update(RvBitrate *state, const RvBitrateReport *report);
