/* Samplers against what must hold of any of them. */
#include "base/error.h"
#include "golden.h"
#include "sampling/linear.h"
#include "sampling/sampler.h"
#include "toy_model.h"
#include <math.h>
#include <string.h>

/* Runs a sampler on a model that knows the answer, and returns how far the result is from it. */
static double
run_perfect_model(const RvSamplerOptions *options, int images, bool from_x0, int *calls)
{
    enum { SMALL = 64 };
    float x0[2 * SMALL], out[2 * SMALL];
    RvNoise *noises[2];
    for (int i = 0; i < images; i++)
        noises[i] = rv_noise_new(RV_NOISE_NV, 100 + (guint64)i);
    for (int i = 0; i < images * SMALL; i++)
        x0[i] = sinf((float)i);
    RvSampler *sampler = sampler_of(options, noises, images, SMALL);
    rv_sampler_begin(sampler, from_x0 ? x0 : NULL, NULL);
    const RvSchedule *schedule = rv_sampler_schedule(sampler);
    *calls = 0;
    for (RvEvaluation e; rv_sampler_next(sampler, &e); ++*calls) {
        g_assert_cmpint(e.index, ==, *calls);
        g_assert_cmpint(e.index, <, e.total);
        double signal, noise;
        rv_sampler_noise_level(sampler, &signal, &noise);
        g_assert_cmpfloat(fabs(noise / signal - e.sigma), <=, 1e-9 * (1 + e.sigma));
        double scale = schedule->variance_preserving ? 1 : hypot(signal, noise);
        for (int i = 0; i < images * SMALL; i++) { /* the model sees x / scale */
            double x = (double)e.input[i] * scale, n = (x - signal * (double)x0[i]) / noise;
            double v = signal * n - noise * (double)x0[i];
            out[i] = (float)(options->config.prediction_type == RV_PREDICTION_V        ? v / scale
                             : options->config.prediction_type == RV_PREDICTION_SAMPLE ? (double)x0[i]
                                                                                       : n);
        }
        rv_sampler_give(sampler, out);
        g_assert_cmpfloat(golden_difference(rv_sampler_denoised(sampler), x0, (gsize)(images * SMALL)), <,
                          1e-3);
    }
    double last_signal, last_noise;
    rv_sampler_noise_level(sampler, &last_signal, &last_noise);
    g_assert_cmpfloat(last_signal, ==, 1);
    g_assert_cmpfloat(last_noise, ==, 0);
    double difference = golden_difference(rv_sampler_latent(sampler), x0, (gsize)(images * SMALL));
    rv_sampler_free(sampler);
    for (int i = 0; i < images; i++)
        rv_noise_free(noises[i]);
    return difference;
}

/* A model that always knows x0 leads every sampler, in both dialects and for every prediction, to it (to
 * what noise its schedule leaves at the end). */
static void
test_perfect_model_is_found(void)
{
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++) {
        for (int dialect = 0; dialect < 2; dialect++) {
            for (int prediction = 0; prediction < 3; prediction++) {
                RvSamplerOptions options;
                rv_sampler_options_init(&options);
                options.sampler = (RvSamplerKind)kind;
                options.dialect = (RvDialect)dialect;
                options.config.prediction_type = (RvPrediction)prediction;
                options.steps = 10;
                int calls;
                double difference = run_perfect_model(&options, 2, false, &calls);
                g_test_message("%s %d %d: %g after %d calls", rv_sampler_info(options.sampler)->name, dialect,
                               prediction, difference, calls);
                bool leaves_noise =
                    kind == RV_SAMPLER_PNDM || kind == RV_SAMPLER_DPM_FAST ||
                    (dialect == RV_DIALECT_A1111 &&
                     (kind == RV_SAMPLER_DDIM || kind == RV_SAMPLER_DDPM || kind == RV_SAMPLER_UNIPC));
                g_assert_cmpfloat(difference, <, leaves_noise ? 0.2 : 1e-3);
                options.first_step = rv_sampler_first_step(options.dialect, 10, 0.5);
                g_assert_cmpfloat(run_perfect_model(&options, 1, true, &calls), <, leaves_noise ? 0.2 : 1e-3);
            }
        }
    }
}

static void
test_image_to_image_starts(void)
{
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_DIFFUSERS, 2, 0.7), ==, 1);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_DIFFUSERS, 1, 1.0), ==, 0);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_DIFFUSERS, 4, 0.5), ==, 2);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_DIFFUSERS, 3, 0.9), ==, 1);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_DIFFUSERS, 8, 0.35), ==, 6);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_DIFFUSERS, 8, 0), ==, 8);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_A1111, 20, 0.75), ==, 4);
    g_assert_cmpint(rv_sampler_first_step(RV_DIALECT_A1111, 20, 1.0), ==, 0);

    RvSamplerOptions options;
    rv_sampler_options_init(&options);
    options.sampler = RV_SAMPLER_EULER_A;
    options.config.timestep_spacing = RV_SPACING_TRAILING;
    options.steps = 2;
    options.first_step = 1;
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 0);
    RvSampler *sampler = sampler_of(&options, &noise, 1, 16);
    float x0[16] = { 1, 2, 3 };
    rv_sampler_begin(sampler, x0, NULL);
    RvEvaluation e;
    g_assert_true(rv_sampler_next(sampler, &e));
    g_assert_cmpfloat(e.timestep, ==, 499);
    g_assert_cmpint(e.total, ==, 1);
    g_assert_cmpint(e.step, ==, 1);
    const float *n = rv_sampler_start_noise(sampler);
    for (int i = 0; i < 16; i++)
        g_assert_cmpfloat(fabsf(rv_sampler_latent(sampler)[i] - (x0[i] + 1.6128870248794556f * n[i])), <,
                          1e-6f);
    g_assert_null(rv_sampler_denoised(sampler));
    rv_sampler_free(sampler);
    rv_noise_free(noise);
}

/* The training step of the start, whose noise over its signal is checked as well; the number of evaluations.
 */
static double
start_timestep(RvSamplerOptions *options, double strength, int *evaluations)
{
    double signal, level, first = -1, last = INFINITY;
    options->first_step = rv_sampler_smooth_start(options->steps, strength, &options->start_shift);
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 0);
    RvSampler *sampler = sampler_of(options, &noise, 1, 16);
    const float x0[16] = { 0 };
    float answer[16] = { 0 };
    rv_sampler_begin(sampler, x0, NULL);
    rv_sampler_start_level(sampler, true, &signal, &level);
    *evaluations = 0;
    for (RvEvaluation e; rv_sampler_next(sampler, &e); (*evaluations)++) {
        g_assert_cmpfloat(e.timestep, >=, 0);
        g_assert_cmpfloat(e.timestep, <=, 999);
        g_assert_cmpfloat(e.timestep, <, last);
        last = e.timestep;
        first = *evaluations == 0 ? e.timestep : first;
        rv_sampler_give(sampler, answer);
    }
    double wanted = rv_schedule_sigma(rv_sampler_schedule(sampler), first);
    g_assert_cmpfloat(fabs(level / signal - wanted), <, 1e-3 * wanted);
    rv_sampler_free(sampler);
    rv_noise_free(noise);
    return first;
}

/* Strength from 0 to 1: the noise level grows without jumps, through diffusers' own at the presets. */
static void
test_smooth_strength(void)
{
    static const RvSamplerKind kinds[] = { RV_SAMPLER_EULER_A, RV_SAMPLER_DDIM, RV_SAMPLER_LCM,
                                           RV_SAMPLER_UNIPC, RV_SAMPLER_DPMPP_2M };
    for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
        for (int steps = 1; steps <= 8; steps++) {
            RvSamplerOptions options;
            rv_sampler_options_init(&options);
            options.sampler = kinds[k];
            options.config.timestep_spacing = RV_SPACING_TRAILING;
            options.steps = steps;
            double before = 0;
            int evaluations, most = 1;
            for (int i = 0; i <= 250; i++) {
                double timestep = start_timestep(&options, i / 250.0, &evaluations);
                g_assert_cmpfloat(timestep, >=, before);
                g_assert_cmpfloat(timestep, <, before + 9);
                g_assert_cmpint(evaluations, >=, most);
                most = evaluations;
                before = timestep;
            }
            g_assert_cmpint(evaluations, ==, steps);
            g_assert_true(options.first_step == 0 && options.start_shift == 0);
        }
    }
    static const struct {
        int steps;
        double strength;
    } presets[] = { { 2, 0.7 }, { 3, 0.5 } };
    for (guint i = 0; i < G_N_ELEMENTS(presets); i++) {
        double shift;
        int first = rv_sampler_smooth_start(presets[i].steps, presets[i].strength, &shift);
        g_assert_true(shift == 0);
        g_assert_cmpint(first, ==,
                        rv_sampler_first_step(RV_DIALECT_DIFFUSERS, presets[i].steps, presets[i].strength));
    }
}

/* The noise put back on the known part of an inpainted picture is that of the coming step. */
static void
test_inpainting_level(void)
{
    RvSamplerOptions options;
    rv_sampler_options_init(&options);
    options.sampler = RV_SAMPLER_DDIM;
    options.config.set_alpha_to_one = 0;
    options.config.steps_offset = 1;
    options.steps = 2;
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 0);
    RvSampler *sampler = sampler_of(&options, &noise, 1, 16);
    rv_sampler_begin(sampler, NULL, NULL);
    float x0[16] = { 1, -1 }, n[16] = { 0.5f, 2 }, out[16] = { 0 };
    RvEvaluation e;
    g_assert_true(rv_sampler_next(sampler, &e));
    rv_sampler_give(sampler, out);
    g_assert_true(rv_sampler_next(sampler, &e));
    g_assert_cmpfloat(e.timestep, ==, 1);
    double alpha = (double)rv_sampler_schedule(sampler)->train_alphas[1];
    rv_sampler_add_noise(sampler, x0, n, out);
    for (int i = 0; i < 2; i++)
        g_assert_cmpfloat(fabs((double)out[i] - sqrt(alpha) * (double)x0[i] - sqrt(1 - alpha) * (double)n[i]),
                          <, 1e-6);
    rv_sampler_latent(sampler)[0] = 42; /* changes in place reach the model */
    g_assert_true(rv_sampler_next(sampler, &e));
    g_assert_cmpfloat(e.input[0], ==, 42);
    rv_sampler_give(sampler, out);
    g_assert_false(rv_sampler_next(sampler, &e));
    rv_sampler_add_noise(sampler, x0, n, out);
    g_assert_cmpmem(out, sizeof out, x0, sizeof x0);
    rv_sampler_free(sampler);
    rv_noise_free(noise);
}

/* Whoever follows the sums gets what the sampler gives. */
static void
expect_sums(const RvSamplerOptions *options)
{
    enum { SMALL = 32 };
    g_autoptr(GError) error = NULL;
    RvLinearPlan plan;
    float x0[SMALL] = { 1, 2, -3 }, start[SMALL], parts[RV_LINEAR_EVALUATIONS + 1][SMALL],
          answers[RV_LINEAR_EVALUATIONS][SMALL], sum[SMALL];
    if (!rv_linear_plan_init(&plan, options, &error)) { /* A1111's timestep samplers may have none left */
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
        g_assert_true(options->dialect == RV_DIALECT_A1111 && options->first_step >= 2);
        return;
    }
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 3), *twin = rv_noise_new(RV_NOISE_NV, 3);
    rv_noise_draw(twin, start, SMALL);
    g_assert_true(rv_linear_plan_noise(&plan, options, twin, start, SMALL, parts[0], &error));
    RvSampler *sampler = sampler_of(options, &noise, 1, SMALL);
    rv_sampler_begin(sampler, x0, NULL);
    RvEvaluation e;
    for (int row = 0; row <= plan.evaluations; row++) {
        g_assert_true(rv_sampler_next(sampler, &e) == (row < plan.evaluations));
        for (int i = 0; i < SMALL; i++) {
            sum[i] = parts[row][i] + plan.start[row] * x0[i];
            for (int k = 0; k < row; k++)
                sum[i] += plan.answer[row][k] * answers[k][i];
        }
        const float *want = row < plan.evaluations ? e.input : rv_sampler_latent(sampler);
        g_assert_cmpfloat(golden_relative_difference(sum, want, SMALL), <, 5e-5);
        if (row == plan.evaluations)
            break;
        g_assert_cmpfloat(plan.timestep[row], ==, e.timestep);
        toy(&e, answers[row], SMALL);
        rv_sampler_give(sampler, answers[row]);
    }
    rv_sampler_free(sampler);
    rv_noise_free(noise);
    rv_noise_free(twin);
}

static void
test_samplers_are_sums(void)
{
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++)
        for (int dialect = 0; dialect < 2; dialect++)
            for (int prediction = 0; prediction < 3; prediction++)
                for (int first = 0; first < 4; first++) {
                    RvSamplerOptions options;
                    rv_sampler_options_init(&options);
                    options.sampler = (RvSamplerKind)kind;
                    options.dialect = (RvDialect)dialect;
                    options.steps = 4;
                    options.first_step = first;
                    options.config.prediction_type = (RvPrediction)prediction;
                    g_test_message("%s %d %d %d", rv_sampler_info(options.sampler)->name, dialect, prediction,
                                   first);
                    expect_sums(&options);
                }
}

static void
test_sums_that_there_are_not(void)
{
    RvSamplerOptions options;
    RvLinearPlan plan;
    g_autoptr(GError) error = NULL;
    rv_sampler_options_init(&options);
    options.steps = RV_LINEAR_EVALUATIONS;
    g_assert_true(rv_linear_plan_init(&plan, &options, &error));
    options.steps++;
    g_assert_false(rv_linear_plan_init(&plan, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    options.steps = 4;
    options.sampler = RV_SAMPLER_DDIM;
    options.config.clip_sample = 1;
    g_assert_false(rv_linear_plan_init(&plan, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    options.first_step = 4;
    g_assert_false(rv_linear_plan_init(&plan, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
}

/* With Euler's and one evaluation the sum is known: x0's share and the answer's. */
static void
test_sums_of_euler(void)
{
    RvSamplerOptions options;
    RvLinearPlan plan;
    g_autoptr(GError) error = NULL;
    rv_sampler_options_init(&options);
    options.steps = 2;
    options.first_step = 1;
    g_assert_true(rv_linear_plan_init(&plan, &options, &error));
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 3);
    RvSampler *sampler = sampler_of(&options, &noise, 1, 4);
    double sigma = (double)rv_sampler_schedule(sampler)->sigmas[1];
    g_assert_cmpint(plan.evaluations, ==, 1);
    g_assert_cmpfloat(fabs((double)plan.start[0] - 1 / hypot(1, sigma)), <, 1e-6);
    g_assert_cmpfloat(plan.start[1], ==, 1);
    g_assert_cmpfloat(fabs((double)plan.answer[1][0] + sigma), <, 1e-5);
    rv_sampler_free(sampler);
    rv_noise_free(noise);
}

/* A picture does not depend on the batch that it is drawn in. */
static void
test_batch_equals_singles(void)
{
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++) {
        float results[3][2 * COUNT], out[2 * COUNT];
        for (int run = 0; run < 3; run++) { /* both, the first, the second */
            RvSamplerOptions options;
            rv_sampler_options_init(&options);
            options.sampler = (RvSamplerKind)kind;
            options.dialect = RV_DIALECT_A1111;
            options.steps = 5;
            RvNoise *noises[] = { rv_noise_new(RV_NOISE_NV, run == 2 ? 8 : 7), rv_noise_new(RV_NOISE_NV, 8) };
            int images = run == 0 ? 2 : 1;
            RvSampler *sampler = sampler_of(&options, noises, images, COUNT);
            rv_sampler_begin(sampler, NULL, NULL);
            for (RvEvaluation e; rv_sampler_next(sampler, &e);) {
                toy(&e, out, (gsize)(images * COUNT));
                rv_sampler_give(sampler, out);
            }
            memcpy(results[run], rv_sampler_latent(sampler), (gsize)(images * COUNT) * sizeof(float));
            rv_sampler_free(sampler);
            rv_noise_free(noises[0]);
            rv_noise_free(noises[1]);
        }
        g_assert_cmpmem(results[0], COUNT * sizeof(float), results[1], COUNT * sizeof(float));
        g_assert_cmpmem(results[0] + COUNT, COUNT * sizeof(float), results[2], COUNT * sizeof(float));
    }
}

/* The toy's picture in `steps` steps from a fixed start. */
static void
draw_toy(RvSamplerKind kind, int steps, float result[COUNT])
{
    RvSamplerOptions options;
    rv_sampler_options_init(&options);
    options.sampler = kind;
    options.dialect = RV_DIALECT_A1111;
    options.schedule = RV_SCHEDULE_KARRAS;
    options.steps = steps;
    options.eta = 0;
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 1);
    RvSampler *sampler = sampler_of(&options, &noise, 1, COUNT);
    rv_sampler_begin(sampler, NULL, NULL);
    float out[COUNT];
    for (RvEvaluation e; rv_sampler_next(sampler, &e);) {
        toy(&e, out, COUNT);
        rv_sampler_give(sampler, out);
    }
    memcpy(result, rv_sampler_latent(sampler), sizeof out);
    rv_sampler_free(sampler);
    rv_noise_free(noise);
}

static double
distance_to_fine(RvSamplerKind kind, int steps, const float *fine)
{
    float result[COUNT];
    draw_toy(kind, steps, result);
    return golden_difference(result, fine, COUNT);
}

/* More steps come closer to a fine solution, and methods of higher order come closer faster. */
static void
test_orders_of_convergence(void)
{
    float fine[COUNT];
    draw_toy(RV_SAMPLER_HEUN, 400, fine);
    static const RvSamplerKind second[] = { RV_SAMPLER_HEUN, RV_SAMPLER_DPMPP_2M, RV_SAMPLER_LMS,
                                            RV_SAMPLER_DPMPP_2S };
    double euler = distance_to_fine(RV_SAMPLER_EULER, 40, fine);
    g_test_message("euler %g, with 20 steps %g", euler, distance_to_fine(RV_SAMPLER_EULER, 20, fine));
    g_assert_cmpfloat(euler, <, 0.7 * distance_to_fine(RV_SAMPLER_EULER, 20, fine));
    for (gsize i = 0; i < G_N_ELEMENTS(second); i++) {
        double coarse = distance_to_fine(second[i], 20, fine), finer = distance_to_fine(second[i], 40, fine);
        g_test_message("%s %g, with 20 steps %g", rv_sampler_info(second[i])->name, finer, coarse);
        g_assert_cmpfloat(finer, <, 0.45 * coarse);
        g_assert_cmpfloat(finer, <, 0.5 * euler);
    }
}

/* DPM-Solver fast stops above zero, so it is held against itself. */
static void
test_fast_converges(void)
{
    float fine[COUNT];
    draw_toy(RV_SAMPLER_DPM_FAST, 599, fine);
    for (int rest = 0; rest < 3; rest++) {
        double coarse = distance_to_fine(RV_SAMPLER_DPM_FAST, 30 + rest, fine);
        double finer = distance_to_fine(RV_SAMPLER_DPM_FAST, 60 + rest, fine);
        g_test_message("dpm_fast %g, with half the steps %g", finer, coarse);
        g_assert_cmpfloat(finer, <, 0.3 * coarse);
        g_assert_cmpfloat(finer, <, 0.1);
    }
}

/* Restart goes back up once from 20 steps on, twice from 36, and spends as many steps as asked. */
static void
test_restart_goes_back(void)
{
    static const struct {
        int steps, rises;
    } expected[] = { { 19, 0 }, { 20, 1 }, { 35, 1 }, { 36, 2 }, { 50, 2 } };
    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++) {
        RvSamplerOptions options;
        rv_sampler_options_init(&options);
        options.sampler = RV_SAMPLER_RESTART;
        options.dialect = RV_DIALECT_A1111;
        options.steps = expected[i].steps;
        RvNoise *noise = rv_noise_new(RV_NOISE_NV, 1);
        RvSampler *sampler = sampler_of(&options, &noise, 1, 4);
        const RvSchedule *schedule = rv_sampler_schedule(sampler);
        int rises = 0;
        for (int k = 0; k < schedule->count; k++) {
            if (schedule->sigmas[k + 1] <= schedule->sigmas[k])
                continue;
            rises++;
            g_assert_cmpfloat(schedule->sigmas[k], <, 0.2);
            g_assert_cmpfloat(schedule->sigmas[k + 1], >, 1.2);
        }
        g_assert_cmpint(rises, ==, expected[i].rises);
        int calls;
        g_assert_cmpfloat(run_perfect_model(&options, 1, false, &calls), <, 1e-3);
        g_assert_cmpint(calls, ==, 2 * (schedule->count - rises) - 1);
        g_assert_cmpint(schedule->count - rises, ==, expected[i].steps);
        rv_sampler_free(sampler);
        rv_noise_free(noise);
    }
}

/* The share of fresh noise can be turned off: then ancestral and SDE samplers are deterministic ones. */
static void
test_no_eta_no_noise(void)
{
    static const RvSamplerKind kinds[] = { RV_SAMPLER_EULER_A,      RV_SAMPLER_DPMPP_2M_SDE,
                                           RV_SAMPLER_DPMPP_SDE,    RV_SAMPLER_DPMPP_2S_A,
                                           RV_SAMPLER_DPMPP_3M_SDE, RV_SAMPLER_DPM2_A };
    for (gsize k = 0; k < G_N_ELEMENTS(kinds); k++) {
        float results[2][COUNT], out[COUNT];
        for (int run = 0; run < 2; run++) {
            RvSamplerOptions options;
            rv_sampler_options_init(&options);
            options.sampler = kinds[k];
            options.dialect = RV_DIALECT_A1111;
            options.eta = 0;
            options.steps = 6;
            RvNoise *noise = rv_noise_new(RV_NOISE_NV, (guint64)run);
            RvSampler *sampler = sampler_of(&options, &noise, 1, COUNT);
            float start[COUNT];
            for (int i = 0; i < COUNT; i++)
                start[i] = cosf((float)i);
            rv_sampler_begin(sampler, NULL, start);
            for (RvEvaluation e; rv_sampler_next(sampler, &e);) {
                toy(&e, out, COUNT);
                rv_sampler_give(sampler, out);
            }
            memcpy(results[run], rv_sampler_latent(sampler), sizeof out);
            rv_sampler_free(sampler);
            rv_noise_free(noise);
        }
        g_assert_cmpmem(results[0], sizeof results[0], results[1], sizeof results[1]);
    }
}

static void
test_refusals(void)
{
    RvSamplerOptions options;
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 1);
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++) {
        g_autoptr(GError) error = NULL;
        rv_sampler_options_init(&options);
        options.sampler = (RvSamplerKind)kind;
        options.steps = 4;
        options.first_step = 4;
        g_assert_null(rv_sampler_new(&options, &noise, 1, 4, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
        g_clear_error(&error);
        options.first_step = -1;
        g_assert_null(rv_sampler_new(&options, &noise, 1, 4, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
        g_clear_error(&error);
        options.first_step = 0;
        options.steps = 100000;
        g_assert_null(rv_sampler_new(&options, &noise, 1, 4, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    }
    rv_sampler_free(NULL);
    rv_noise_free(noise);
}

/* One to three steps work everywhere, and give numbers. */
static void
test_few_steps(void)
{
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++) {
        for (int steps = 1; steps <= 3; steps++) {
            for (int dialect = 0; dialect < 2; dialect++) {
                RvSamplerOptions options;
                rv_sampler_options_init(&options);
                options.sampler = (RvSamplerKind)kind;
                options.dialect = (RvDialect)dialect;
                options.steps = steps;
                options.s_churn = 10;
                RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 1);
                RvSampler *sampler = sampler_of(&options, &noise, 1, COUNT);
                rv_sampler_begin(sampler, NULL, NULL);
                float out[COUNT];
                for (RvEvaluation e; rv_sampler_next(sampler, &e);) {
                    toy(&e, out, COUNT);
                    rv_sampler_give(sampler, out);
                }
                for (int i = 0; i < COUNT; i++)
                    g_assert_true(isfinite(rv_sampler_latent(sampler)[i]));
                rv_sampler_free(sampler);
                rv_noise_free(noise);
            }
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sampler/perfect-model", test_perfect_model_is_found);
    g_test_add_func("/sampler/image-to-image", test_image_to_image_starts);
    g_test_add_func("/sampler/smooth-strength", test_smooth_strength);
    g_test_add_func("/sampler/inpainting-level", test_inpainting_level);
    g_test_add_func("/sampler/sums", test_samplers_are_sums);
    g_test_add_func("/sampler/sums/none", test_sums_that_there_are_not);
    g_test_add_func("/sampler/sums/euler", test_sums_of_euler);
    g_test_add_func("/sampler/batch-equals-singles", test_batch_equals_singles);
    g_test_add_func("/sampler/orders", test_orders_of_convergence);
    g_test_add_func("/sampler/fast-converges", test_fast_converges);
    g_test_add_func("/sampler/restart", test_restart_goes_back);
    g_test_add_func("/sampler/no-eta", test_no_eta_no_noise);
    g_test_add_func("/sampler/few-steps", test_few_steps);
    g_test_add_func("/sampler/refusals", test_refusals);
    return g_test_run();
}
