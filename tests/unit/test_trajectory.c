/* Samplers step by step: against diffusers' trajectories on a toy model, and PNDM against its formulas. */
#include "golden.h"
#include "toy_model.h"
#include <math.h>

typedef struct {
    const char *name; /* in numbers.safetensors */
    RvSamplerKind sampler;
    RvSpacing spacing;
    int offset;
    RvPrediction prediction;
    RvScheduleKind schedule;
    bool zero_snr;
    double tolerance; /* of the largest value of a step */
} Case;

static const Case cases[] = {
    { "euler_leading", RV_SAMPLER_EULER, RV_SPACING_LEADING, 1, .tolerance = 2e-6 },
    { "euler_trailing", RV_SAMPLER_EULER, RV_SPACING_TRAILING, .tolerance = 2e-6 },
    { "euler_linspace", RV_SAMPLER_EULER, RV_SPACING_LINSPACE, .tolerance = 2e-6 },
    { "euler_karras", RV_SAMPLER_EULER, .schedule = RV_SCHEDULE_KARRAS, .tolerance = 2e-6 },
    { "euler_exponential", RV_SAMPLER_EULER, .schedule = RV_SCHEDULE_EXPONENTIAL, .tolerance = 2e-6 },
    { "euler_v", RV_SAMPLER_EULER, .prediction = RV_PREDICTION_V, .tolerance = 2e-6 },
    { "euler_zsnr", RV_SAMPLER_EULER, RV_SPACING_TRAILING, .prediction = RV_PREDICTION_V, .zero_snr = true,
      .tolerance = 2e-6 },
    { "euler_a", RV_SAMPLER_EULER_A, RV_SPACING_LEADING, 1, .tolerance = 2e-6 },
    { "euler_a_trailing", RV_SAMPLER_EULER_A, RV_SPACING_TRAILING, .tolerance = 2e-6 },
    { "heun", RV_SAMPLER_HEUN, .tolerance = 2e-6 },
    { "dpmpp_2m", RV_SAMPLER_DPMPP_2M, .tolerance = 2e-6 },
    { "dpmpp_2m_karras", RV_SAMPLER_DPMPP_2M, .schedule = RV_SCHEDULE_KARRAS, .tolerance = 2e-6 },
    { "dpmpp_2m_sde_karras", RV_SAMPLER_DPMPP_2M_SDE, .schedule = RV_SCHEDULE_KARRAS, .tolerance = 2e-6 },
    { "dpmpp_2s", RV_SAMPLER_DPMPP_2S, .tolerance = 2e-6 },
    { "ddim", RV_SAMPLER_DDIM, .offset = 1, .tolerance = 2e-6 },
    { "ddim_trailing", RV_SAMPLER_DDIM, RV_SPACING_TRAILING, .tolerance = 2e-6 },
    { "unipc", RV_SAMPLER_UNIPC, .tolerance = 2e-6 },
    { "lcm", RV_SAMPLER_LCM, .tolerance = 2e-6 },
};

static void
options_of(const Case *c, int steps, RvSamplerOptions *options)
{
    rv_sampler_options_init(options);
    options->sampler = c->sampler;
    options->schedule = c->schedule;
    options->steps = steps;
    options->config.timestep_spacing = c->spacing;
    options->config.steps_offset = c->offset;
    options->config.prediction_type = c->prediction;
    options->config.rescale_betas_zero_snr = c->zero_snr;
    if (c->offset != 0 && c->sampler == RV_SAMPLER_DDIM)
        options->config.set_alpha_to_one = 0;
}

static void
follow(Golden *golden, const Case *c, int steps)
{
    RvSamplerOptions options;
    options_of(c, steps, &options);
    RvNoise *start = rv_noise_new(RV_NOISE_CPU, 1070), *noise = rv_noise_new(RV_NOISE_CPU, 1071);
    float first[COUNT], out[COUNT];
    rv_noise_draw(start, first, COUNT);
    RvSampler *sampler = sampler_of(&options, &noise, 1, COUNT);
    rv_sampler_begin(sampler, NULL, first);
    g_autofree char *name = g_strdup_printf("sched.%s.%d.traj", c->name, steps);
    gint64 shape[RV_MAX_RANK];
    const float *want = golden_get(golden, name, NULL, shape);
    double worst = golden_relative_difference(rv_sampler_latent(sampler), want, COUNT);
    int calls = 0;
    for (RvEvaluation e; rv_sampler_next(sampler, &e); calls++) {
        g_assert_cmpint(e.index, ==, calls);
        g_assert_cmpint(e.total, ==, (int)shape[0] - 1);
        toy(&e, out, COUNT);
        rv_sampler_give(sampler, out);
        double difference =
            golden_relative_difference(rv_sampler_latent(sampler), want + (calls + 1) * COUNT, COUNT);
        worst = fmax(worst, difference);
    }
    g_test_message("%-28s %g", name, worst);
    g_assert_cmpint(calls, ==, (int)shape[0] - 1);
    g_assert_cmpfloat(worst, <=, c->tolerance);
    rv_sampler_free(sampler);
    rv_noise_free(start);
    rv_noise_free(noise);
}

static void
test_diffusers_trajectories(void)
{
    g_autofree char *path = golden_path("reference/numbers.safetensors");
    Golden *golden = golden_open(path);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        follow(golden, &cases[i], 4);
        follow(golden, &cases[i], 9);
    }
    golden_close(golden);
}

/* The scheduler of Stable Diffusion 1.5's folder, written out: PNDM without Runge-Kutta steps. */
static void
test_pndm_step_by_step(void)
{
    enum { STEPS = 6, RATIO = 1000 / STEPS };
    RvSamplerOptions options;
    rv_sampler_options_init(&options);
    options.sampler = RV_SAMPLER_PNDM;
    options.steps = STEPS;
    options.config.steps_offset = 1;
    options.config.set_alpha_to_one = 0;
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 4);
    RvSampler *sampler = sampler_of(&options, &noise, 1, 1);
    float start = 0.7f, out;
    rv_sampler_begin(sampler, NULL, &start);
    const float *alphas = rv_sampler_schedule(sampler)->train_alphas;
    double x = (double)start, first = x, answers[STEPS + 1];
    int known = 0, counter = 0;
    for (RvEvaluation e; rv_sampler_next(sampler, &e); counter++) {
        int place = counter < 2 ? counter : counter - 1, t = (STEPS - 1 - place) * RATIO + 1, to = t - RATIO;
        g_assert_cmpfloat(e.timestep, ==, t);
        toy(&e, &out, 1);
        double answer = (double)out, from = x;
        if (counter != 1) {
            answers[known++] = answer;
        } else {
            to = t, t = t + RATIO, from = first;
            answer = (answer + answers[0]) / 2;
        }
        if (known == 2)
            answer = (3 * answers[1] - answers[0]) / 2;
        else if (known == 3)
            answer = (23 * answers[2] - 16 * answers[1] + 5 * answers[0]) / 12;
        else if (known > 3)
            answer = (55 * answers[known - 1] - 59 * answers[known - 2] + 37 * answers[known - 3] -
                      9 * answers[known - 4]) /
                     24;
        double a = (double)alphas[t], b = to >= 0 ? (double)alphas[to] : (double)alphas[0];
        x = sqrt(b / a) * from - (b - a) * answer / (a * sqrt(1 - b) + sqrt(a * (1 - a) * b));
        rv_sampler_give(sampler, &out);
        g_assert_cmpfloat(fabs((double)rv_sampler_latent(sampler)[0] - x), <, 1e-6);
    }
    g_assert_cmpint(counter, ==, STEPS + 1);
    rv_sampler_free(sampler);
    rv_noise_free(noise);
}

/* DPM2, plain and ancestral, written out: the middle is half way in log sigma in both dialects. diffusers
 * draws noise at every call, and uses that of each step's second one. */
static void
test_dpm2_step_by_step(gconstpointer data)
{
    enum { STEPS = 5 };
    const RvDialect dialect = GPOINTER_TO_INT(data) / 2 ? RV_DIALECT_A1111 : RV_DIALECT_DIFFUSERS;
    const bool ancestral = GPOINTER_TO_INT(data) % 2;
    RvSamplerOptions options;
    rv_sampler_options_init(&options);
    options.sampler = ancestral ? RV_SAMPLER_DPM2_A : RV_SAMPLER_DPM2;
    options.schedule = RV_SCHEDULE_KARRAS;
    options.dialect = dialect;
    options.steps = STEPS;
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 9), *same = rv_noise_new(RV_NOISE_CPU, 9);
    RvSampler *sampler = sampler_of(&options, &noise, 1, 1);
    float start = 3, out, draw;
    rv_sampler_begin(sampler, NULL, &start);
    double x = (double)rv_sampler_latent(sampler)[0], slope = 0, middle = 0;
    for (RvEvaluation e; rv_sampler_next(sampler, &e);) {
        const float *sigmas = rv_sampler_schedule(sampler)->sigmas + e.step;
        double from = (double)sigmas[0], next = (double)sigmas[1], down = next, up = 0;
        if (ancestral) {
            up = next * sqrt(from * from - next * next) / from;
            down = sqrt(next * next - up * up);
        }
        toy(&e, &out, 1);
        rv_sampler_give(sampler, &out);
        if (ancestral && down > 0 && (dialect == RV_DIALECT_DIFFUSERS || e.index % 2 == 1))
            rv_noise_draw(same, &draw, 1);
        slope = (double)out; /* epsilon is the derivative */
        middle = exp((log(from) + log(down)) / 2);
        if (e.index % 2 == 0 && down > 0) {
            g_assert_cmpfloat(fabs((double)rv_sampler_latent(sampler)[0] - (x + slope * (middle - from))), <,
                              1e-5);
            continue;
        }
        x += slope * (down - from) + (ancestral ? up * (double)draw : 0);
        g_assert_cmpfloat(fabs((double)rv_sampler_latent(sampler)[0] - x), <, 1e-5);
    }
    rv_sampler_free(sampler);
    rv_noise_free(noise);
    rv_noise_free(same);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/trajectory/diffusers", test_diffusers_trajectories);
    g_test_add_func("/trajectory/pndm", test_pndm_step_by_step);
    static const char *const names[] = { "diffusers/dpm2", "diffusers/dpm2-a", "a1111/dpm2", "a1111/dpm2-a" };
    for (int i = 0; i < 4; i++) {
        g_autofree char *name = g_strconcat("/trajectory/", names[i], NULL);
        g_test_add_data_func(name, GINT_TO_POINTER(i), test_dpm2_step_by_step);
    }
    return g_test_run();
}
