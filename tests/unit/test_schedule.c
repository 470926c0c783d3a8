/* Schedules against diffusers' own numbers (every case of schedulers.json) and against A1111's. */
#include "base/error.h"
#include "golden.h"
#include "sampling/schedule.h"
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

static char *
scalar_text(JsonNode *node)
{
    if (JSON_NODE_HOLDS_NULL(node) || !JSON_NODE_HOLDS_VALUE(node))
        return NULL;
    if (json_node_get_value_type(node) == G_TYPE_STRING)
        return json_node_dup_string(node);
    if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
        return g_strdup(json_node_get_boolean(node) ? "true" : "false");
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    return g_strdup(g_ascii_dtostr(text, sizeof text, json_node_get_double(node)));
}

static void
config_from_json(RvSchedulerConfig *config, JsonObject *object)
{
    rv_scheduler_config_init(config);
    g_autoptr(GList) keys = json_object_get_members(object);
    for (GList *key = keys; key != NULL; key = key->next) {
        g_autofree char *text = scalar_text(json_object_get_member(object, key->data));
        g_autoptr(GError) error = NULL;
        rv_scheduler_config_set(config, key->data, text, &error);
        g_assert_no_error(error);
    }
}

/* Heun lists every level after the first twice, once for each evaluation. */
static int
entry(bool twice, int i)
{
    return twice ? (i + 1) / 2 : i;
}

static void
compare_case(const char *name, JsonObject *want)
{
    RvSchedulerConfig config;
    config_from_json(&config, json_object_get_object_member(want, "config"));
    RvSamplerKind sampler;
    g_autofree char *start = g_strdup(name);
    char *dot = strchr(start, '.');
    int steps = atoi(dot + 1);
    *dot = '\0';
    char *variant = strpbrk(start, "_");
    if (!rv_sampler_parse_name(start, &sampler, NULL)) {
        *variant = '\0';
        g_assert_true(rv_sampler_parse_name(start, &sampler, NULL));
    }
    g_autoptr(GError) error = NULL;
    RvSchedule *got =
        rv_schedule_new(&config, sampler, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS, steps, &error);
    g_assert_no_error(error);
    JsonArray *timesteps = json_object_get_array_member(want, "timesteps");
    JsonArray *sigmas = json_object_get_array_member(want, "sigmas");
    bool twice = sampler == RV_SAMPLER_HEUN;
    g_assert_cmpint((int)json_array_get_length(timesteps), ==, twice ? 2 * got->count - 1 : got->count);
    double worst_t = 0, worst_s = 0;
    for (guint i = 0; i < json_array_get_length(timesteps); i++) {
        double t = json_array_get_double_element(timesteps, i);
        worst_t = fmax(worst_t, fabs(t - got->timesteps[entry(twice, (int)i)]));
    }
    g_assert_true((json_array_get_length(sigmas) == 0) == (got->sigmas == NULL));
    for (guint i = 0; i < json_array_get_length(sigmas); i++) {
        double s = json_array_get_double_element(sigmas, i);
        worst_s = fmax(worst_s, fabs(s - (double)got->sigmas[entry(twice, (int)i)]) / fmax(s, 1e-3));
    }
    double init = json_object_get_double_member(want, "init_noise_sigma");
    double worst_i = fabs(init - got->init_noise_sigma) / init;
    g_test_message("%-24s timesteps off by %g, sigmas by %g, init by %g", name, worst_t, worst_s, worst_i);
    g_assert_cmpfloat(worst_t, <=, 1e-3);
    g_assert_cmpfloat(worst_s, <=, 1e-6);
    g_assert_cmpfloat(worst_i, <=, 1e-6);
    rv_schedule_free(got);
}

static void
test_diffusers_cases(void)
{
    g_autofree char *path = golden_path("reference/schedulers.json");
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    /* Python writes infinity as JSON does not know it. */
    for (char *word = strstr(text, "-Infinity"); word != NULL; word = strstr(word, "-Infinity"))
        memcpy(word, "null     ", 9);
    json_parser_load_from_data(parser, text, -1, &error);
    g_assert_no_error(error);
    JsonObject *cases =
        json_object_get_object_member(json_node_get_object(json_parser_get_root(parser)), "cases");
    g_autoptr(GList) names = json_object_get_members(cases);
    g_assert_cmpuint(g_list_length(names), ==, 36);
    for (GList *name = names; name != NULL; name = name->next)
        compare_case(name->data, json_object_get_object_member(cases, name->data));
}

static RvSchedule *
a1111(RvSamplerKind sampler, RvScheduleKind kind, int steps)
{
    RvSchedulerConfig config;
    rv_scheduler_config_init(&config);
    g_autoptr(GError) error = NULL;
    RvSchedule *schedule = rv_schedule_new(&config, sampler, kind, RV_DIALECT_A1111, steps, &error);
    g_assert_no_error(error);
    return schedule;
}

static void
test_a1111_first_sigmas(void)
{
    static const struct {
        RvScheduleKind kind;
        int steps;
        double want[4];
    } cases[] = {
        { RV_SCHEDULE_UNIFORM, 20, { 14.6146, 10.7468, 8.0815, 6.2049 } },
        { RV_SCHEDULE_NORMAL, 20, { 14.6146, 10.7468, 8.0815, 6.2049 } },
        { RV_SCHEDULE_AUTOMATIC, 20, { 14.6146, 10.7468, 8.0815, 6.2049 } },
        { RV_SCHEDULE_KARRAS, 20, { 14.6146, 11.7254, 9.3402, 7.3836 } },
        { RV_SCHEDULE_SGM_UNIFORM, 20, { 14.6146, 10.9073, 8.3072, 6.4477 } },
        { RV_SCHEDULE_SIMPLE, 20, { 14.6146, 10.9042, 8.3028, 6.4430 } },
        { RV_SCHEDULE_SIMPLE, 4, { 14.6146, 4.0817, 1.6129, 0.6932 } },
        { RV_SCHEDULE_TURBO, 4, { 14.6146, 4.0817, 1.6129, 0.6932 } },
        { RV_SCHEDULE_KARRAS, 10, { 14.61464, 9.10293, 5.47839, 3.1686 } },
        { RV_SCHEDULE_ALIGN_YOUR_STEPS, 11, { 14.615, 6.475, 3.861, 2.697 } },
    };
    for (gsize c = 0; c < G_N_ELEMENTS(cases); c++) {
        RvSchedule *schedule = a1111(RV_SAMPLER_EULER, cases[c].kind, cases[c].steps);
        g_assert_cmpint(schedule->count, ==, cases[c].steps);
        for (int i = 0; i < (cases[c].kind == RV_SCHEDULE_KARRAS && cases[c].steps == 10 ? 3 : 4); i++)
            g_assert_cmpfloat(fabs((double)schedule->sigmas[i] - cases[c].want[i]), <, 1e-4);
        g_assert_cmpfloat(schedule->sigmas[cases[c].steps], ==, 0);
        rv_schedule_free(schedule);
    }
}

static void
test_a1111_table_and_times(void)
{
    RvSchedule *schedule = a1111(RV_SAMPLER_EULER, RV_SCHEDULE_UNIFORM, 20);
    g_assert_cmpfloat(fabs((double)schedule->train_sigmas[0] - 0.0291672), <,
                      4e-7); /* float32, as A1111 has it */
    g_assert_cmpfloat(fabs((double)schedule->train_sigmas[999] - 14.6146412), <, 2e-6);
    for (int i = 0; i < 20; i++) /* there and back */
        g_assert_cmpfloat(fabs(schedule->timesteps[i] - 999 * (1 - i / 19.0)), <, 1e-2);
    g_assert_cmpfloat(rv_schedule_timestep(schedule, 1e9), ==, 999);
    g_assert_cmpfloat(rv_schedule_timestep(schedule, 0), ==, 0);
    g_assert_cmpfloat(schedule->init_noise_sigma, ==, (double)schedule->sigmas[0]);
    rv_schedule_free(schedule);
}

static void
test_a1111_discards_penultimate(void)
{
    RvSchedule *plain = a1111(RV_SAMPLER_EULER, RV_SCHEDULE_KARRAS, 9);
    RvSchedule *cut = a1111(RV_SAMPLER_DPM2, RV_SCHEDULE_KARRAS, 8);
    g_assert_cmpint(cut->count, ==, 8);
    for (int i = 0; i < 8; i++)
        g_assert_cmpfloat(cut->sigmas[i], ==, plain->sigmas[i]);
    g_assert_cmpfloat(cut->sigmas[8], ==, 0);
    rv_schedule_free(plain);
    rv_schedule_free(cut);
}

static void
test_a1111_own_lists(void)
{
    RvSchedule *ddim = a1111(RV_SAMPLER_DDIM, RV_SCHEDULE_AUTOMATIC, 20);
    g_assert_cmpint(ddim->count, ==, 19);
    g_assert_cmpfloat(ddim->timesteps[0], ==, 951);
    g_assert_cmpfloat(ddim->timesteps[18], ==, 51);
    g_assert_cmpfloat(ddim->next_alphas[18], ==, (double)ddim->train_alphas[1]);
    rv_schedule_free(ddim);
    RvSchedule *kl = a1111(RV_SAMPLER_EULER, RV_SCHEDULE_KL_OPTIMAL, 5);
    g_assert_cmpfloat(fabsf(kl->sigmas[5] - kl->train_sigmas[0]), <, 1e-6f);
    g_assert_cmpfloat(fabsf(kl->sigmas[0] - kl->train_sigmas[999]), <, 1e-4f);
    rv_schedule_free(kl);
    RvSchedule *every = a1111(RV_SAMPLER_EULER, RV_SCHEDULE_DDIM, 20);
    g_assert_cmpint(every->count, ==, 20);
    g_assert_cmpfloat(every->sigmas[19], ==, every->train_sigmas[1]);
    rv_schedule_free(every);
    RvSchedule *lcm = a1111(RV_SAMPLER_LCM, RV_SCHEDULE_AUTOMATIC, 4);
    g_assert_cmpfloat(lcm->timesteps[0], ==, 999);
    g_assert_cmpfloat(fabsf(lcm->sigmas[0] - lcm->train_sigmas[999]), <, 1e-5f);
    rv_schedule_free(lcm);
}

/* The quantile of the symmetric distribution is symmetric, and a half at the half. */
static void
test_beta_schedule(void)
{
    RvSchedule *schedule = a1111(RV_SAMPLER_EULER, RV_SCHEDULE_BETA, 9);
    double low = (double)schedule->train_sigmas[0], high = (double)schedule->train_sigmas[999];
    for (int i = 0; i < 9; i++) {
        double here = ((double)schedule->sigmas[i] - low) / (high - low);
        double mirrored = ((double)schedule->sigmas[8 - i] - low) / (high - low);
        g_assert_cmpfloat(fabs(here + mirrored - 1), <, 1e-5);
    }
    g_assert_cmpfloat(fabs((double)schedule->sigmas[4] - (low + high) / 2), <, 1e-5);
    rv_schedule_free(schedule);
}

static void
expect_error(RvSchedulerConfig *config, RvSamplerKind sampler, RvScheduleKind kind, RvDialect dialect,
             int steps)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_schedule_new(config, sampler, kind, dialect, steps, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
}

static void
test_refusals(void)
{
    RvSchedulerConfig config;
    rv_scheduler_config_init(&config);
    expect_error(&config, RV_SAMPLER_EULER, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS, 0);
    expect_error(&config, RV_SAMPLER_EULER, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS, 1001);
    expect_error(&config, RV_SAMPLER_DDIM, RV_SCHEDULE_KARRAS, RV_DIALECT_DIFFUSERS, 5);
    expect_error(&config, RV_SAMPLER_LCM, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS, 51);
    expect_error(&config, RV_SAMPLER_EULER, RV_SCHEDULE_TRAILING, RV_DIALECT_A1111, 5);
    rv_schedule_free(NULL);
    static const double betas[][2] = { { 0, 0 }, { 0, 0.1 }, { 0.5, 1 }, { 1, 1 }, { 0.9, 0.9 } };
    for (gsize i = 0; i < G_N_ELEMENTS(betas); i++) {
        g_autoptr(GError) error = NULL;
        config.beta_start = betas[i][0], config.beta_end = betas[i][1];
        g_assert_null(rv_schedule_new(&config, RV_SAMPLER_EULER, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS,
                                      5, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

static void
expect_config_error(const char *key, const char *value, RvError code)
{
    RvSchedulerConfig config;
    rv_scheduler_config_init(&config);
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_scheduler_config_set(&config, key, value, &error));
    g_assert_error(error, RV_ERROR, (int)code);
}

static void
test_config_entries(void)
{
    expect_config_error("beta_start", "a lot", RV_ERROR_INVALID);
    expect_config_error("beta_start", "nan", RV_ERROR_INVALID);
    expect_config_error("num_train_timesteps", "-4", RV_ERROR_INVALID);
    expect_config_error("num_train_timesteps", "10.5", RV_ERROR_INVALID);
    expect_config_error("steps_offset", "1e99", RV_ERROR_INVALID);
    expect_config_error("clip_sample", "maybe", RV_ERROR_INVALID);
    expect_config_error("final_sigmas_type", "one", RV_ERROR_INVALID);
    expect_config_error("interpolation_type", "cubic", RV_ERROR_INVALID);
    expect_config_error("prediction_type", "flow_prediction", RV_ERROR_UNSUPPORTED);
    expect_config_error("thresholding", "true", RV_ERROR_UNSUPPORTED);
    expect_config_error("algorithm_type", "dpmsolver", RV_ERROR_UNSUPPORTED);
    expect_config_error("_class_name", "FlowMatchEulerDiscreteScheduler", RV_ERROR_UNSUPPORTED);
    expect_config_error("_class_name", "Euler a", RV_ERROR_UNSUPPORTED);

    RvSchedulerConfig config;
    rv_scheduler_config_init(&config);
    g_assert_true(rv_scheduler_config_set(&config, "algorithm_type", "sde-dpmsolver++", NULL));
    g_assert_true(rv_scheduler_config_set(&config, "_class_name", "DPMSolverMultistepScheduler", NULL));
    g_assert_cmpint(config.sampler, ==, RV_SAMPLER_DPMPP_2M_SDE);
    g_assert_true(rv_scheduler_config_set(&config, "beta_end", NULL, NULL));
    g_assert_cmpfloat(config.beta_end, ==, 0.012);
    g_assert_true(rv_scheduler_config_set(&config, "_diffusers_version", "0.40", NULL));
    g_assert_true(rv_scheduler_config_set(&config, "clip_sample", "false", NULL));
    g_assert_cmpint(config.clip_sample, ==, 0);
}

static void
expect_name(const char *name, RvSamplerKind sampler, RvScheduleKind schedule)
{
    RvSamplerKind got;
    RvScheduleKind ending = RV_SCHEDULE_AUTOMATIC;
    g_test_message("%s", name);
    g_assert_true(rv_sampler_parse_name(name, &got, &ending));
    g_assert_cmpint(got, ==, sampler);
    g_assert_cmpint(ending, ==, schedule);
}

static void
test_names(void)
{
    expect_name("Euler a", RV_SAMPLER_EULER_A, RV_SCHEDULE_AUTOMATIC);
    expect_name("EULER A karras", RV_SAMPLER_EULER_A, RV_SCHEDULE_KARRAS);
    expect_name("DPM++ 2M Karras", RV_SAMPLER_DPMPP_2M, RV_SCHEDULE_KARRAS);
    expect_name("DPM++ 2M SDE Heun Exponential", RV_SAMPLER_DPMPP_2M_SDE_HEUN, RV_SCHEDULE_EXPONENTIAL);
    expect_name("Euler SGM Uniform", RV_SAMPLER_EULER, RV_SCHEDULE_SGM_UNIFORM);
    expect_name("dpmpp_2m_sgm_uniform", RV_SAMPLER_DPMPP_2M, RV_SCHEDULE_SGM_UNIFORM);
    expect_name("k_euler_ancestral", RV_SAMPLER_EULER_A, RV_SCHEDULE_AUTOMATIC);
    expect_name("PLMS", RV_SAMPLER_PNDM, RV_SCHEDULE_AUTOMATIC);
    expect_name("PNDMScheduler", RV_SAMPLER_PNDM, RV_SCHEDULE_AUTOMATIC);
    expect_name("EulerAncestralDiscreteScheduler", RV_SAMPLER_EULER_A, RV_SCHEDULE_AUTOMATIC);
    RvSamplerKind sampler;
    RvScheduleKind schedule;
    static const char *const wrong[] = { "",        " ",        "_",       "karras",
                                         " Karras", "Euler  a", "euler_b", "Euler Karras x" };
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_assert_false(rv_sampler_parse_name(wrong[i], &sampler, &schedule));
    for (int i = 0; i < RV_SAMPLER_COUNT; i++) {
        g_assert_true(rv_sampler_parse_name(rv_sampler_info((RvSamplerKind)i)->label, &sampler, NULL));
        g_assert_cmpint(sampler, ==, i);
    }
    for (int i = 0; i < RV_SCHEDULE_COUNT; i++) {
        g_assert_true(rv_schedule_parse_name(rv_schedule_info((RvScheduleKind)i)->label, &schedule));
        g_assert_cmpint(schedule, ==, i);
    }
    g_assert_false(rv_schedule_parse_name("sometimes", &schedule));
}

/* Timesteps on a half, which numpy's order of operations puts just below it: diffusers' 499 and 936. */
static void
test_diffusers_halves(void)
{
    RvSchedulerConfig config;
    rv_scheduler_config_init(&config);
    RvSchedule *even =
        rv_schedule_new(&config, RV_SAMPLER_DPMPP_2M, RV_SCHEDULE_LINSPACE, RV_DIALECT_DIFFUSERS, 30, NULL);
    RvSchedule *trailing =
        rv_schedule_new(&config, RV_SAMPLER_DDIM, RV_SCHEDULE_TRAILING, RV_DIALECT_DIFFUSERS, 48, NULL);
    g_assert_cmpfloat(even->timesteps[0], ==, 999);
    g_assert_cmpfloat(even->timesteps[15], ==, 499);
    g_assert_cmpfloat(trailing->timesteps[0], ==, 999);
    g_assert_cmpfloat(trailing->timesteps[3], ==, 936);
    rv_schedule_free(even);
    rv_schedule_free(trailing);
}

/* Steep betas leave less signal one step before the end than the number that stands for none at the end.
 * diffusers takes such tables as they are: sigmas that rise once, and the last entry below is the one that
 * counts. */
static void
test_zero_snr_of_steep_betas(void)
{
    RvSchedulerConfig config;
    rv_scheduler_config_init(&config);
    config.beta_schedule = RV_BETAS_LINEAR;
    config.beta_start = 0.001, config.beta_end = 0.02;
    config.prediction_type = RV_PREDICTION_V;
    config.rescale_betas_zero_snr = true;
    config.timestep_spacing = RV_SPACING_TRAILING;
    g_autoptr(GError) error = NULL;
    RvSchedule *s =
        rv_schedule_new(&config, RV_SAMPLER_EULER, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS, 1000, &error);
    g_assert_no_error(error);
    g_assert_cmpfloat(fabs((double)s->sigmas[0] - 4096), <, 0.01);
    g_assert_cmpfloat((double)s->sigmas[1], >, (double)s->sigmas[0]);
    g_assert_cmpfloat(s->init_noise_sigma, ==, (double)s->sigmas[1]);
    for (int i = 2; i < s->count; i++)
        g_assert_cmpfloat((double)s->sigmas[i], <, (double)s->sigmas[i - 1]);
    g_assert_cmpfloat(fabs(rv_schedule_timestep(s, (double)s->sigmas[500]) - 499), <, 1e-3);
    g_assert_cmpfloat(rv_schedule_timestep(s, 4000), <, 998); /* not between the last two */
    rv_schedule_free(s);
    config.beta_start = config.beta_end = 1; /* no signal at all is still no schedule */
    g_assert_null(
        rv_schedule_new(&config, RV_SAMPLER_EULER, RV_SCHEDULE_AUTOMATIC, RV_DIALECT_DIFFUSERS, 5, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/schedule/diffusers", test_diffusers_cases);
    g_test_add_func("/schedule/diffusers-halves", test_diffusers_halves);
    g_test_add_func("/schedule/a1111-first-sigmas", test_a1111_first_sigmas);
    g_test_add_func("/schedule/a1111-times", test_a1111_table_and_times);
    g_test_add_func("/schedule/a1111-penultimate", test_a1111_discards_penultimate);
    g_test_add_func("/schedule/a1111-own-lists", test_a1111_own_lists);
    g_test_add_func("/schedule/beta", test_beta_schedule);
    g_test_add_func("/schedule/zero-snr-of-steep-betas", test_zero_snr_of_steep_betas);
    g_test_add_func("/schedule/refusals", test_refusals);
    g_test_add_func("/schedule/config", test_config_entries);
    g_test_add_func("/schedule/names", test_names);
    return g_test_run();
}
