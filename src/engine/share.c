#include "engine/share.h"

#include <string.h>

#define LIVE_US G_USEC_PER_SEC /* after the last frame */
#define MARGIN 0.1             /* of the frames' distance, that a step between two of them keeps */

static const struct {
    const char *name;
    int rest; /* how often a step's time passes before the next is due */
} rules[] = {
    [RV_SHARE_OFF] = { "off", 0 },
    [RV_SHARE_FAIR] = { "fair", 1 },
    [RV_SHARE_MIRROR_FIRST] = { "mirror-first", 9 },
};

bool
rv_share_parse(const char *name, RvShareRule *rule)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rules); i++)
        if (strcmp(name, rules[i].name) == 0) {
            *rule = (RvShareRule)i;
            return true;
        }
    return false;
}

const char *
rv_share_name(RvShareRule rule)
{
    return rules[rule].name;
}

void
rv_share_init(RvShare *share, RvShareRule rule)
{
    *share = (RvShare) { .rule = rule };
}

bool
rv_share_is_live(const RvShare *s, gint64 now)
{
    return s->frames > 0 || s->frames_waiting > 0 ||
           (s->frame_ended_us > 0 && now - s->frame_ended_us < LIVE_US);
}

static bool
is_due(const RvShare *s, gint64 now)
{
    return s->steps_waiting > 0 && now >= s->due_us;
}

/* ---- frames ---- */

void
rv_share_ask_frame(RvShare *s, gint64 now)
{
    gint64 distance = now - s->frame_came_us;
    if (s->frame_came_us == 0 || distance > LIVE_US)
        s->period_us = 0;
    else
        s->period_us = s->period_us == 0 ? distance : (7 * s->period_us + distance) / 8;
    s->frame_came_us = now;
    s->frames_waiting++;
}

bool
rv_share_may_frame(const RvShare *s, gint64 now)
{
    return s->rule == RV_SHARE_OFF || (!s->is_step && !is_due(s, now));
}

void
rv_share_begin_frame(RvShare *s)
{
    s->frames_waiting--;
    s->frames++;
}

void
rv_share_end_frame(RvShare *s, gint64 now)
{
    s->frames--;
    s->frame_ended_us = now;
}

/* ---- steps ---- */

void
rv_share_ask_step(RvShare *s)
{
    s->steps_waiting++;
}

void
rv_share_give_up_step(RvShare *s)
{
    s->steps_waiting--;
}

/* When the step would have to end, so that the next frame need not wait. */
static gint64
gap_end_us(const RvShare *s)
{
    return s->frame_came_us + (gint64)((double)s->period_us * (1.0 - MARGIN));
}

bool
rv_share_may_step(const RvShare *s, gint64 now)
{
    if (s->rule == RV_SHARE_OFF)
        return true;
    if (s->is_step || s->frames > 0)
        return false;
    if (!rv_share_is_live(s, now) || now >= s->due_us)
        return true;
    return s->frames_waiting == 0 && s->usual_us > 0 && now + s->usual_us <= gap_end_us(s);
}

void
rv_share_begin_step(RvShare *s, gint64 now)
{
    s->steps_waiting--;
    s->is_step = true;
    s->step_began_us = now;
}

void
rv_share_end_step(RvShare *s, gint64 now)
{
    gint64 took = now - s->step_began_us;
    s->is_step = false;
    s->usual_us = MAX(took, s->usual_us * 7 / 8);
    s->due_us = now + took * rules[s->rule].rest;
}

gint64
rv_share_again_us(const RvShare *s, gint64 now)
{
    gint64 over = s->frame_ended_us + LIVE_US, at = MIN(over, s->due_us);
    return MAX(at, now + 1);
}
