/* share.h - who may work on a device that live frames and pictures of the studio share: plain data, no
 * threads, no clock.
 *
 * The studio's work is made of steps (one evaluation of a sampler, one text, one tile to decode; on a GPU a
 * program's run), each of which has the device to itself; between two steps frames may go first. A step
 * begins
 *
 * - at once while nobody is live, which is so a second after the last frame;
 * - between two frames, when the next one is not expected before the step will have ended;
 * - else when it is due: after a step of T seconds the next is due 9 T later (RV_SHARE_MIRROR_FIRST) or T
 *   later (RV_SHARE_FAIR). Then new frames wait for it: the studio gets a tenth or half of the device however
 *   many frames there are, and one frame in so many is late by one step.
 *
 * Frames that are under way together (a GPU takes two) all end before a step begins. Times are microseconds
 * of any clock that does not go back. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    RV_SHARE_OFF,          /* both at any time, as the device sees fit */
    RV_SHARE_FAIR,         /* half for the studio */
    RV_SHARE_MIRROR_FIRST, /* a tenth for the studio */
} RvShareRule;
/* "off", "fair", "mirror-first"; false: none of these. */
bool rv_share_parse(const char *name, RvShareRule *rule);
const char *rv_share_name(RvShareRule rule);

typedef struct {
    RvShareRule rule;
    int frames, frames_waiting, steps_waiting;
    bool is_step;                    /* one runs */
    gint64 frame_came_us, period_us; /* the last one; usual distance of two, 0: not known */
    gint64 frame_ended_us;           /* the last one; 0: there was none */
    gint64 step_began_us, usual_us;  /* what a step takes, rather too much; 0: not known */
    gint64 due_us;
} RvShare;

void rv_share_init(RvShare *share, RvShareRule rule);

/* A frame came and waits; it may begin; it begins (and waits no more); it ended. */
void rv_share_ask_frame(RvShare *share, gint64 now);
bool rv_share_may_frame(const RvShare *share, gint64 now);
void rv_share_begin_frame(RvShare *share);
void rv_share_end_frame(RvShare *share, gint64 now);

/* The same of a step; give_up: it waits no more and does not begin. */
void rv_share_ask_step(RvShare *share);
void rv_share_give_up_step(RvShare *share);
bool rv_share_may_step(const RvShare *share, gint64 now);
void rv_share_begin_step(RvShare *share, gint64 now);
void rv_share_end_step(RvShare *share, gint64 now);

/* Frames came within the last second. */
bool rv_share_is_live(const RvShare *share, gint64 now);
/* When a step that may not begin now may, if no frame comes or ends before. */
gint64 rv_share_again_us(const RvShare *share, gint64 now);
