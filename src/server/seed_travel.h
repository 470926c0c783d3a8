/* seed_travel.h - the noise on its way from one seed's to another's.
 *
 * A moment of it is a point between two seeds (RvParameters: seed, subseed, subseed_strength). When the goal
 * is changed on the way, the noise goes on from where it is to the nearer of the two, and from there to the
 * new goal, all in the time that is given: it never jumps. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    guint64 from, via, goal;
    double begin; /* where between `from` and `via` it began: 1 is at `via` */
    gint64 start_us, duration_us;
} RvSeedTravel;

typedef struct {
    guint64 seed, subseed;
    double strength; /* 0: `seed` alone; below 1 */
} RvSeedPoint;

/* At rest at `seed`. */
void rv_seed_travel_init(RvSeedTravel *travel, guint64 seed);
RvSeedPoint rv_seed_travel_at(const RvSeedTravel *travel, gint64 now_us);
void rv_seed_travel_to(RvSeedTravel *travel, guint64 goal, gint64 duration_us, gint64 now_us);
