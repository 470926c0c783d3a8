/* schedule.h - which noise levels a picture goes through: timesteps and sigmas of a run.
 *
 * sigma is the noise-to-signal ratio sqrt((1 - a) / a) of the cumulative alpha a. Two families of
 * samplers hold their latent differently: "variance exploding", x = x0 + sigma * n, which the model sees
 * divided by sqrt(1 + sigma^2); and "variance preserving", x = sqrt(a) * x0 + sqrt(1 - a) * n, which it
 * sees as it is.
 *
 * Two dialects give slightly different numbers for the same names, and each is followed to the rounding:
 * diffusers' (float32 tables, each scheduler class its own rounding of timesteps) and that of
 * k-diffusion as the A1111 web UI drives it (fractional timesteps). */
#pragma once
#include "sampling/names.h"

typedef enum { RV_DIALECT_DIFFUSERS = 0, RV_DIALECT_A1111 } RvDialect;
typedef enum { RV_PREDICTION_EPSILON = 0, RV_PREDICTION_V, RV_PREDICTION_SAMPLE } RvPrediction;
typedef enum { RV_BETAS_SCALED_LINEAR = 0, RV_BETAS_LINEAR, RV_BETAS_SQUARED_COSINE } RvBetas;
typedef enum {
    RV_SPACING_DEFAULT = 0,
    RV_SPACING_LEADING,
    RV_SPACING_TRAILING,
    RV_SPACING_LINSPACE
} RvSpacing;
typedef enum {
    RV_SOLVER_DEFAULT = 0,
    RV_SOLVER_MIDPOINT,
    RV_SOLVER_HEUN,
    RV_SOLVER_BH1,
    RV_SOLVER_BH2
} RvSolver;

/* scheduler_config.json: names and meanings are diffusers'. Where classes differ in their default,
 * -1, 0 or ..._DEFAULT stands for the default of the sampler in use. */
typedef struct {
    RvSamplerKind sampler; /* _class_name, and algorithm_type sde-dpmsolver++ */
    int num_train_timesteps;
    double beta_start, beta_end;
    RvBetas beta_schedule;
    RvPrediction prediction_type;
    RvSpacing timestep_spacing;
    int steps_offset;
    bool rescale_betas_zero_snr;
    bool use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas;
    double sigma_min, sigma_max;       /* 0: from the table */
    bool final_sigma_min;              /* final_sigmas_type "sigma_min"; else "zero" */
    bool log_linear;                   /* interpolation_type "log_linear"; else "linear" */
    int clip_sample, set_alpha_to_one; /* -1, 0, 1 */
    double clip_sample_range;
    int solver_order;     /* 0: 2 */
    RvSolver solver_type; /* heun: DPM++; bh1, bh2: UniPC */
    bool lower_order_final, euler_at_final;
    double timestep_scaling; /* LCM */
    int original_inference_steps;
    bool is_sdxl; /* not in the file: picks a table of "align your steps" */
} RvSchedulerConfig;

/* Stable Diffusion's values: 1000 steps, scaled linear betas from 0.00085 to 0.012, epsilon. */
void rv_scheduler_config_init(RvSchedulerConfig *config);

/* Sets one entry of a scheduler_config.json, given as text ("0.012", "true", "leading"; NULL for null).
 * Keys that do not matter here are accepted; a bad value (INVALID) or a feature that is missing here
 * (UNSUPPORTED: thresholding, unknown classes) is an error. */
bool rv_scheduler_config_set(RvSchedulerConfig *config, const char *key, const char *value, GError **error);

typedef struct {
    int count;           /* steps: intervals between noise levels */
    double *timesteps;   /* [count + 1], what the model is told; the last one belongs to the final level */
    float *sigmas;       /* [count + 1]; NULL for samplers that work on alphas (DDIM, DDPM, LCM, PNDM) */
    double *alphas;      /* [count], cumulative, at the timestep; NULL when sigmas are given */
    double *next_alphas; /* [count], where the step leads to */
    double init_noise_sigma; /* text-to-image starts from this times unit noise */
    bool variance_preserving;
    int stride;      /* training steps between neighbours: num_train_timesteps / steps, whole */
    int begin_shift; /* A1111's timestep samplers evaluate an image-to-image start one step later */
    int train;       /* the table of the model's training, low noise first */
    float *train_alphas, *train_sigmas, *train_log_sigmas; /* [train] */
} RvSchedule;

/* `steps` from 1 to num_train_timesteps. USAGE: wrong number of steps, or a sampler that cannot follow
 * this schedule. INVALID: betas that make no noise schedule. */
RvSchedule *rv_schedule_new(const RvSchedulerConfig *config, RvSamplerKind sampler, RvScheduleKind kind,
                            RvDialect dialect, int steps, GError **error);
void rv_schedule_free(RvSchedule *schedule); /* accepts NULL */

/* Fractional training step of a sigma, interpolated in log sigma; and back. */
double rv_schedule_timestep(const RvSchedule *schedule, double sigma);
double rv_schedule_sigma(const RvSchedule *schedule, double timestep);
