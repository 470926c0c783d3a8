/* names.h - the samplers and schedules we know, under all the names that people use for them:
 * ours ("euler_a"), the A1111 web UI's ("Euler a", "k_euler_a", "DPM++ 2M Karras") and diffusers'
 * ("EulerAncestralDiscreteScheduler"). */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    RV_SAMPLER_EULER = 0,
    RV_SAMPLER_EULER_A,
    RV_SAMPLER_HEUN,
    RV_SAMPLER_DPMPP_2M,
    RV_SAMPLER_DPMPP_SDE,
    RV_SAMPLER_DPMPP_2M_SDE,
    RV_SAMPLER_DPMPP_2M_SDE_HEUN,
    RV_SAMPLER_DPMPP_3M_SDE,
    RV_SAMPLER_DPMPP_2S, /* diffusers' single-step solver */
    RV_SAMPLER_DPMPP_2S_A,
    RV_SAMPLER_DDIM,
    RV_SAMPLER_DDPM,
    RV_SAMPLER_UNIPC,
    RV_SAMPLER_LCM,
    RV_SAMPLER_LMS,
    RV_SAMPLER_DPM2,
    RV_SAMPLER_DPM2_A,
    RV_SAMPLER_PNDM, /* "PLMS" */
    RV_SAMPLER_RESTART,
    RV_SAMPLER_DPM_FAST,
    RV_SAMPLER_COUNT,
} RvSamplerKind;

typedef enum {
    RV_SCHEDULE_AUTOMATIC = 0, /* what the scheduler's config says; in A1111's dialect the sampler's own */
    RV_SCHEDULE_LEADING,       /* the three spacings of Lin et al. 2023 ("... are flawed"), table 2 */
    RV_SCHEDULE_TRAILING,
    RV_SCHEDULE_LINSPACE,
    RV_SCHEDULE_UNIFORM,
    RV_SCHEDULE_KARRAS, /* Karras et al. 2022, rho 7 */
    RV_SCHEDULE_EXPONENTIAL,
    RV_SCHEDULE_POLYEXPONENTIAL,
    RV_SCHEDULE_SGM_UNIFORM,
    RV_SCHEDULE_KL_OPTIMAL,
    RV_SCHEDULE_ALIGN_YOUR_STEPS, /* Sabour et al. 2024 */
    RV_SCHEDULE_SIMPLE,
    RV_SCHEDULE_NORMAL,
    RV_SCHEDULE_DDIM,
    RV_SCHEDULE_BETA, /* Lee et al. 2024 */
    RV_SCHEDULE_TURBO,
    RV_SCHEDULE_COUNT,
} RvScheduleKind;

typedef struct {
    RvSamplerKind kind;
    const char *name;        /* ours, and the command line's */
    const char *label;       /* A1111's */
    const char *aliases[4];  /* A1111's, NULL-padded */
    const char *class_name;  /* diffusers' scheduler; NULL: it has none */
    RvScheduleKind schedule; /* A1111's automatic one */
    bool second_order;       /* two evaluations a step (A1111's prompt schedules count them) */
    bool brownian;           /* A1111 draws its noise from a Brownian tree */
    bool discards_penultimate_sigma;
    bool uses_ensd; /* A1111's "eta noise seed delta" applies */
    bool listed;    /* A1111 offers it */
} RvSamplerInfo;

typedef struct {
    RvScheduleKind kind;
    const char *name;   /* "sgm_uniform" */
    const char *label;  /* "SGM Uniform" */
    const char *alias;  /* may be NULL */
    double default_rho; /* as A1111 lists it: -1 when it has none */
    bool needs_model;   /* A1111's need_inner_model */
    bool listed;        /* A1111 offers it */
} RvScheduleInfo;

const RvSamplerInfo *rv_sampler_info(RvSamplerKind kind);
const RvScheduleInfo *rv_schedule_info(RvScheduleKind kind);

/* Case does not matter. A sampler's name may end in a schedule's ("DPM++ 2M Karras", "dpmpp_2m_karras"):
 * *schedule is then set, and left alone otherwise (it may be NULL). False: no such name. */
bool rv_sampler_parse_name(const char *name, RvSamplerKind *sampler, RvScheduleKind *schedule);
bool rv_schedule_parse_name(const char *name, RvScheduleKind *schedule);
