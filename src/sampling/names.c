#include "sampling/names.h"
#include <string.h>

static const RvSamplerInfo samplers[] = {
    { RV_SAMPLER_EULER,
      "euler",
      "Euler",
      { "k_euler" },
      "EulerDiscreteScheduler",
      RV_SCHEDULE_AUTOMATIC,
      .listed = true },
    { RV_SAMPLER_EULER_A,
      "euler_a",
      "Euler a",
      { "k_euler_a", "k_euler_ancestral", "euler_ancestral" },
      "EulerAncestralDiscreteScheduler",
      RV_SCHEDULE_AUTOMATIC,
      .uses_ensd = true,
      .listed = true },
    { RV_SAMPLER_HEUN,
      "heun",
      "Heun",
      { "k_heun" },
      "HeunDiscreteScheduler",
      RV_SCHEDULE_AUTOMATIC,
      .second_order = true,
      .listed = true },
    { RV_SAMPLER_DPMPP_2M,
      "dpmpp_2m",
      "DPM++ 2M",
      { "k_dpmpp_2m" },
      "DPMSolverMultistepScheduler",
      RV_SCHEDULE_KARRAS,
      .listed = true },
    { RV_SAMPLER_DPMPP_SDE,
      "dpmpp_sde",
      "DPM++ SDE",
      { "k_dpmpp_sde" },
      "DPMSolverSDEScheduler",
      RV_SCHEDULE_KARRAS,
      .second_order = true,
      .brownian = true,
      .listed = true },
    { RV_SAMPLER_DPMPP_2M_SDE,
      "dpmpp_2m_sde",
      "DPM++ 2M SDE",
      { "k_dpmpp_2m_sde" },
      NULL,
      RV_SCHEDULE_EXPONENTIAL,
      .brownian = true,
      .listed = true },
    { RV_SAMPLER_DPMPP_2M_SDE_HEUN,
      "dpmpp_2m_sde_heun",
      "DPM++ 2M SDE Heun",
      { "k_dpmpp_2m_sde_heun" },
      NULL,
      RV_SCHEDULE_EXPONENTIAL,
      .brownian = true,
      .listed = true },
    { RV_SAMPLER_DPMPP_3M_SDE,
      "dpmpp_3m_sde",
      "DPM++ 3M SDE",
      { "k_dpmpp_3m_sde" },
      NULL,
      RV_SCHEDULE_EXPONENTIAL,
      .brownian = true,
      .discards_penultimate_sigma = true,
      .listed = true },
    { RV_SAMPLER_DPMPP_2S,
      "dpmpp_2s",
      "DPM++ 2S",
      { NULL },
      "DPMSolverSinglestepScheduler",
      RV_SCHEDULE_KARRAS },
    { RV_SAMPLER_DPMPP_2S_A,
      "dpmpp_2s_a",
      "DPM++ 2S a",
      { "k_dpmpp_2s_a", "k_dpmpp_2s_ancestral" },
      NULL,
      RV_SCHEDULE_KARRAS,
      .second_order = true,
      .uses_ensd = true,
      .listed = true },
    { RV_SAMPLER_DDIM, "ddim", "DDIM", { NULL }, "DDIMScheduler", RV_SCHEDULE_AUTOMATIC, .listed = true },
    { RV_SAMPLER_DDPM, "ddpm", "DDPM", { NULL }, "DDPMScheduler", RV_SCHEDULE_AUTOMATIC },
    { RV_SAMPLER_UNIPC,
      "unipc",
      "UniPC",
      { "uni_pc" },
      "UniPCMultistepScheduler",
      RV_SCHEDULE_AUTOMATIC,
      .listed = true },
    { RV_SAMPLER_LCM, "lcm", "LCM", { "k_lcm" }, "LCMScheduler", RV_SCHEDULE_AUTOMATIC, .listed = true },
    { RV_SAMPLER_LMS,
      "lms",
      "LMS",
      { "k_lms" },
      "LMSDiscreteScheduler",
      RV_SCHEDULE_AUTOMATIC,
      .listed = true },
    { RV_SAMPLER_DPM2,
      "dpm2",
      "DPM2",
      { "k_dpm_2", "dpm_2" },
      "KDPM2DiscreteScheduler",
      RV_SCHEDULE_KARRAS,
      .second_order = true,
      .discards_penultimate_sigma = true,
      .listed = true },
    { RV_SAMPLER_DPM2_A,
      "dpm2_a",
      "DPM2 a",
      { "k_dpm_2_a", "k_dpm_2_ancestral", "dpm_2_ancestral" },
      "KDPM2AncestralDiscreteScheduler",
      RV_SCHEDULE_KARRAS,
      .second_order = true,
      .discards_penultimate_sigma = true,
      .uses_ensd = true,
      .listed = true },
    { RV_SAMPLER_PNDM, "pndm", "PLMS", { "plms" }, "PNDMScheduler", RV_SCHEDULE_AUTOMATIC, .listed = true },
    { RV_SAMPLER_RESTART,
      "restart",
      "Restart",
      { NULL },
      NULL,
      RV_SCHEDULE_KARRAS,
      .second_order = true,
      .listed = true },
    { RV_SAMPLER_DPM_FAST,
      "dpm_fast",
      "DPM fast",
      { "k_dpm_fast" },
      NULL,
      RV_SCHEDULE_AUTOMATIC,
      .uses_ensd = true,
      .listed = true },
};
G_STATIC_ASSERT(G_N_ELEMENTS(samplers) == RV_SAMPLER_COUNT);

static const RvScheduleInfo schedules[] = {
    { RV_SCHEDULE_AUTOMATIC, "automatic", "Automatic", NULL, -1, false, true },
    { RV_SCHEDULE_LEADING, "leading", "Leading", NULL, -1, true, false },
    { RV_SCHEDULE_TRAILING, "trailing", "Trailing", NULL, -1, true, false },
    { RV_SCHEDULE_LINSPACE, "linspace", "Linspace", NULL, -1, true, false },
    { RV_SCHEDULE_UNIFORM, "uniform", "Uniform", NULL, -1, true, true },
    { RV_SCHEDULE_KARRAS, "karras", "Karras", NULL, 7, false, true },
    { RV_SCHEDULE_EXPONENTIAL, "exponential", "Exponential", NULL, -1, false, true },
    { RV_SCHEDULE_POLYEXPONENTIAL, "polyexponential", "Polyexponential", NULL, 1, false, true },
    { RV_SCHEDULE_SGM_UNIFORM, "sgm_uniform", "SGM Uniform", "SGMUniform", -1, true, true },
    { RV_SCHEDULE_KL_OPTIMAL, "kl_optimal", "KL Optimal", NULL, -1, false, true },
    { RV_SCHEDULE_ALIGN_YOUR_STEPS, "align_your_steps", "Align Your Steps", NULL, -1, false, true },
    { RV_SCHEDULE_SIMPLE, "simple", "Simple", NULL, -1, true, true },
    { RV_SCHEDULE_NORMAL, "normal", "Normal", NULL, -1, true, true },
    { RV_SCHEDULE_DDIM, "ddim", "DDIM", NULL, -1, true, true },
    { RV_SCHEDULE_BETA, "beta", "Beta", NULL, -1, true, true },
    { RV_SCHEDULE_TURBO, "turbo", "Turbo", NULL, -1, true, false },
};
G_STATIC_ASSERT(G_N_ELEMENTS(schedules) == RV_SCHEDULE_COUNT);

const RvSamplerInfo *
rv_sampler_info(RvSamplerKind kind)
{
    g_assert((int)kind >= 0 && kind < RV_SAMPLER_COUNT && samplers[kind].kind == kind);
    return &samplers[kind];
}

const RvScheduleInfo *
rv_schedule_info(RvScheduleKind kind)
{
    g_assert((int)kind >= 0 && kind < RV_SCHEDULE_COUNT && schedules[kind].kind == kind);
    return &schedules[kind];
}

static bool
same(const char *a, const char *b)
{
    return b != NULL && g_ascii_strcasecmp(a, b) == 0;
}

static bool
find_sampler(const char *name, RvSamplerKind *sampler)
{
    for (gsize i = 0; i < G_N_ELEMENTS(samplers); i++) {
        const RvSamplerInfo *info = &samplers[i];
        bool found = same(name, info->name) || same(name, info->label) || same(name, info->class_name);
        for (gsize a = 0; a < G_N_ELEMENTS(info->aliases); a++)
            found = found || same(name, info->aliases[a]);
        if (found) {
            *sampler = info->kind;
            return true;
        }
    }
    return false;
}

bool
rv_schedule_parse_name(const char *name, RvScheduleKind *schedule)
{
    for (gsize i = 0; i < G_N_ELEMENTS(schedules); i++) {
        const RvScheduleInfo *info = &schedules[i];
        if (same(name, info->name) || same(name, info->label) || same(name, info->alias)) {
            *schedule = info->kind;
            return true;
        }
    }
    return false;
}

bool
rv_sampler_parse_name(const char *name, RvSamplerKind *sampler, RvScheduleKind *schedule)
{
    if (find_sampler(name, sampler))
        return true;
    for (gsize i = 1; name[0] != '\0' && name[i] != '\0'; i++) {
        RvScheduleKind ending;
        if ((name[i] != ' ' && name[i] != '_') || !rv_schedule_parse_name(name + i + 1, &ending))
            continue;
        g_autofree char *start = g_strndup(name, i);
        if (!find_sampler(start, sampler))
            continue;
        if (schedule != NULL)
            *schedule = ending;
        return true;
    }
    return false;
}
