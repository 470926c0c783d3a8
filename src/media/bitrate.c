#include "media/bitrate.h"

#define WINDOW_US 15000000   /* after which an old least round trip is forgotten */
#define QUEUE_US 70000       /* a round trip over the least by this is a queue */
#define AFTER_CUT_US 1000000 /* reports until then speak of what was sent before the cut */
#define GROWTH 1.08
#define USED_SHARE 0.6 /* an encoder that needs less than this of its rate proves nothing about the link */

void
rv_bitrate_init(RvBitrate *state, int bitrate, gint64 now_us)
{
    *state = (RvBitrate) { .bitrate = CLAMP(bitrate, RV_BITRATE_MIN, RV_BITRATE_MAX),
                           .least_round_trip_us = G_MAXINT64,
                           .previous_least_us = G_MAXINT64,
                           .least_from_us = now_us };
}

static bool
is_queueing(RvBitrate *state, const RvBitrateReport *report)
{
    if (report->round_trip_us <= 0)
        return false;
    if (report->now_us - state->least_from_us > WINDOW_US) {
        state->previous_least_us = state->least_round_trip_us;
        state->least_round_trip_us = G_MAXINT64;
        state->least_from_us = report->now_us;
    }
    state->least_round_trip_us = MIN(state->least_round_trip_us, report->round_trip_us);
    return report->round_trip_us > MIN(state->least_round_trip_us, state->previous_least_us) + QUEUE_US;
}

int
rv_bitrate_update(RvBitrate *state, const RvBitrateReport *report)
{
    bool is_congested = is_queueing(state, report);
    if (report->received_bps <= 0)
        return state->bitrate;
    is_congested |= report->loss > 0.08 || report->received_bps < 0.85 * report->sent_bps;
    double bitrate = state->bitrate;
    if (is_congested && (state->cut_us == 0 || report->now_us - state->cut_us >= AFTER_CUT_US)) {
        bitrate = MIN(0.8 * bitrate, 0.85 * report->received_bps);
        state->cut_us = report->now_us;
    } else if (!is_congested && report->loss < 0.02 && report->sent_bps > USED_SHARE * bitrate) {
        bitrate *= GROWTH;
    }
    state->bitrate = (int)CLAMP(bitrate, RV_BITRATE_MIN, RV_BITRATE_MAX);
    return state->bitrate;
}
