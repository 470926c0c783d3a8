#include "server/rate.h"

#define MARGIN_US 50000               /* of queueing that is not yet congestion */
#define BASE_OVER_ROUND_TRIP_US 60000 /* proxies and busy pages may add so much to TCP's own round trip */
#define MINIMUM_WINDOW_US 10000000    /* after which an old minimum is forgotten */
#define DWELL_US 400000               /* between two steps down: what was sent before must have drained */
#define QUIET_US 2000000
#define QUIET_MAX_US 60000000
#define REGRET_US 4000000 /* a rise that is followed by trouble sooner than this was a mistake */
#define LATE_GAIN 0.125   /* of the moving share of late frames */
#define LATE_SHARE 0.5    /* that means congestion: fewer are lost packets sent again, or a busy page */
#define STUCK_US 500000   /* beyond the limit: no frame more is waited for */

/* Each step carries about a fifth less than the one before. */
static const RvRateStep ladder[] = { { 90, 8 }, { 85, 8 }, { 78, 8 }, { 70, 8 }, { 60, 8 },
                                     { 50, 8 }, { 40, 8 }, { 50, 6 }, { 40, 6 }, { 45, 4 },
                                     { 35, 4 }, { 35, 3 }, { 30, 2 } };

void
rv_rate_init(RvRate *rate, int quality, gint64 now_us)
{
    *rate = (RvRate) { .minimum_us = G_MAXINT64,
                       .previous_minimum_us = G_MAXINT64,
                       .minimum_from_us = now_us,
                       .changed_us = now_us,
                       .trouble_us = now_us,
                       .quiet_us = QUIET_US };
    while (rate->top < (int)G_N_ELEMENTS(ladder) - 1 && ladder[rate->top].quality > quality)
        rate->top++;
    rate->step = rate->top;
}

static void
step_down(RvRate *rate, gint64 now_us)
{
    rate->trouble_us = now_us;
    if (now_us - rate->changed_us < DWELL_US)
        return;
    if (rate->was_rise && now_us - rate->changed_us < REGRET_US)
        rate->quiet_us = MIN(2 * rate->quiet_us, QUIET_MAX_US);
    rate->step = MIN(rate->step + 1, (int)G_N_ELEMENTS(ladder) - 1);
    rate->late_share = 0; /* what was sent before says nothing of the new step */
    rate->changed_us = now_us;
    rate->was_rise = false;
}

static void
step_up(RvRate *rate, gint64 now_us)
{
    /* The last rise has proved itself. */
    if (rate->was_rise && now_us - rate->changed_us > REGRET_US)
        rate->quiet_us = MAX(rate->quiet_us / 2, QUIET_US);
    rate->step--;
    rate->changed_us = now_us;
    rate->was_rise = true;
}

static void
note_minimum(RvRate *rate, gint64 delivery_us, gint64 now_us)
{
    if (now_us - rate->minimum_from_us > MINIMUM_WINDOW_US) {
        rate->previous_minimum_us = rate->minimum_us;
        rate->minimum_us = G_MAXINT64;
        rate->minimum_from_us = now_us;
    }
    rate->minimum_us = MIN(rate->minimum_us, delivery_us);
}

void
rv_rate_set_round_trip(RvRate *rate, gint64 least_us)
{
    rate->round_trip_us = least_us;
}

/* Longer than this on the way is congestion. */
static gint64
limit_us(const RvRate *rate)
{
    gint64 base_us = MIN(rate->minimum_us, rate->previous_minimum_us);
    gint64 most_us = rate->round_trip_us + BASE_OVER_ROUND_TRIP_US;
    return MIN(base_us, most_us) + MARGIN_US;
}

void
rv_rate_delivered(RvRate *rate, gint64 delivery_us, gint64 now_us)
{
    note_minimum(rate, delivery_us, now_us);
    bool is_late = delivery_us > limit_us(rate);
    rate->late_share += LATE_GAIN * (is_late - rate->late_share);
    if (is_late && rate->late_share > LATE_SHARE)
        step_down(rate, now_us);
    if (is_late)
        return;
    gint64 since_us = MAX(rate->changed_us, rate->trouble_us);
    if (rate->step > rate->top && now_us - since_us >= rate->quiet_us)
        step_up(rate, now_us);
}

void
rv_rate_blocked(RvRate *rate, gint64 oldest_us, gint64 now_us)
{
    if (oldest_us > limit_us(rate) + STUCK_US)
        step_down(rate, now_us);
}

RvRateStep
rv_rate_step(const RvRate *rate)
{
    return ladder[rate->step];
}
