/* schedule_internal.h - pieces of schedule.h. */
#pragma once
#include "sampling/schedule.h"

/* Fills the training table in the dialect's precision. */
void rv_schedule_train(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
                       RvDialect dialect);

/* Each fills timesteps and sigmas or alphas for `steps`. */
bool rv_schedule_diffusers(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
                           RvScheduleKind kind, int steps, GError **error);
bool rv_schedule_a1111(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
                       RvScheduleKind kind, int steps, GError **error);

/* The k-diffusion schedules: writes at most 1000 sigmas without the final zero, returns how many. */
int rv_schedule_formula(const RvSchedule *schedule, const RvSchedulerConfig *config, RvScheduleKind kind,
                        int steps, double sigma_min, double sigma_max, double *sigmas);

/* The Restart sampler's list: from `first` on, goes back up to a high noise level once or twice on the way
 * down. The list then rises there, and `count` changes. */
void rv_schedule_restart(RvSchedule *schedule, int first);

/* Lets the step `first` begin between the noise levels of its neighbours (`shift` of the way to the one
 * before, -shift to the one after, or to no noise), and squeezes or stretches those after it with it. */
void rv_schedule_shift_start(RvSchedule *schedule, int first, double shift);

bool rv_sampler_is_alpha(RvSamplerKind sampler); /* DDIM, DDPM, LCM, PNDM */
void rv_schedule_reserve(RvSchedule *schedule, int count, bool alphas);
