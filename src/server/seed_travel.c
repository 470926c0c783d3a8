#include "server/seed_travel.h"

void
rv_seed_travel_init(RvSeedTravel *travel, guint64 seed)
{
    *travel = (RvSeedTravel) { seed, seed, seed, 1.0, 0, 0 };
}

RvSeedPoint
rv_seed_travel_at(const RvSeedTravel *travel, gint64 now_us)
{
    gint64 passed_us = MAX(now_us - travel->start_us, 0);
    if (passed_us >= travel->duration_us)
        return (RvSeedPoint) { travel->goal, travel->goal, 0.0 };
    double first = 1.0 - travel->begin, second = travel->via == travel->goal ? 0.0 : 1.0;
    double way = (first + second) * (double)passed_us / (double)travel->duration_us;
    if (way < first)
        return (RvSeedPoint) { travel->from, travel->via, travel->begin + way };
    return (RvSeedPoint) { travel->via, travel->goal, MIN(way - first, 1.0) };
}

void
rv_seed_travel_to(RvSeedTravel *travel, guint64 goal, gint64 duration_us, gint64 now_us)
{
    RvSeedPoint here = rv_seed_travel_at(travel, now_us);
    bool turns = goal == here.seed || (goal != here.subseed && here.strength < 0.5);
    *travel = (RvSeedTravel) { .from = turns ? here.subseed : here.seed,
                               .via = turns ? here.seed : here.subseed,
                               .goal = goal,
                               .begin = turns ? 1.0 - here.strength : here.strength,
                               .start_us = now_us,
                               .duration_us = duration_us };
}
