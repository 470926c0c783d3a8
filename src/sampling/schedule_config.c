/* scheduler_config.json, entry by entry. */
#include "base/error.h"
#include "sampling/schedule.h"
#include <string.h>

void
rv_scheduler_config_init(RvSchedulerConfig *config)
{
    *config = (RvSchedulerConfig) {
        .num_train_timesteps = 1000,
        .beta_start = 0.00085,
        .beta_end = 0.012,
        .clip_sample = -1,
        .set_alpha_to_one = -1,
        .clip_sample_range = 1,
        .lower_order_final = true,
        .timestep_scaling = 10,
        .original_inference_steps = 50,
    };
}

typedef enum { NUMBER, WHOLE, FLAG, TRISTATE, WORD } EntryType;

typedef struct {
    const char *key;
    EntryType type;
    gsize offset;
    double low, high;         /* of numbers */
    const char *const *words; /* of words: the index is the value; NULL-terminated */
} Entry;

static const char *const beta_words[] = { "scaled_linear", "linear", "squaredcos_cap_v2", NULL };
static const char *const prediction_words[] = { "epsilon", "v_prediction", "sample", NULL };
static const char *const spacing_words[] = { "default", "leading", "trailing", "linspace", NULL };
static const char *const solver_words[] = { "default", "midpoint", "heun", "bh1", "bh2", "logrho", NULL };

#define AT(field) offsetof(RvSchedulerConfig, field)
static const Entry entries[] = {
    { "num_train_timesteps", WHOLE, AT(num_train_timesteps), 2, 100000, NULL },
    { "beta_start", NUMBER, AT(beta_start), 0, 1, NULL },
    { "beta_end", NUMBER, AT(beta_end), 0, 1, NULL },
    { "beta_schedule", WORD, AT(beta_schedule), 0, 0, beta_words },
    { "prediction_type", WORD, AT(prediction_type), 0, 0, prediction_words },
    { "timestep_spacing", WORD, AT(timestep_spacing), 0, 0, spacing_words },
    { "steps_offset", WHOLE, AT(steps_offset), 0, 1000, NULL },
    { "rescale_betas_zero_snr", FLAG, AT(rescale_betas_zero_snr), 0, 0, NULL },
    { "use_karras_sigmas", FLAG, AT(use_karras_sigmas), 0, 0, NULL },
    { "use_exponential_sigmas", FLAG, AT(use_exponential_sigmas), 0, 0, NULL },
    { "use_beta_sigmas", FLAG, AT(use_beta_sigmas), 0, 0, NULL },
    { "use_lu_lambdas", FLAG, AT(use_lu_lambdas), 0, 0, NULL },
    { "sigma_min", NUMBER, AT(sigma_min), 0, 1e6, NULL },
    { "sigma_max", NUMBER, AT(sigma_max), 0, 1e6, NULL },
    { "clip_sample", TRISTATE, AT(clip_sample), 0, 0, NULL },
    { "set_alpha_to_one", TRISTATE, AT(set_alpha_to_one), 0, 0, NULL },
    { "clip_sample_range", NUMBER, AT(clip_sample_range), 0, 1e6, NULL },
    { "solver_order", WHOLE, AT(solver_order), 1, 3, NULL },
    { "solver_type", WORD, AT(solver_type), 0, 0, solver_words },
    { "lower_order_final", FLAG, AT(lower_order_final), 0, 0, NULL },
    { "euler_at_final", FLAG, AT(euler_at_final), 0, 0, NULL },
    { "timestep_scaling", NUMBER, AT(timestep_scaling), 0, 1e6, NULL },
    { "original_inference_steps", WHOLE, AT(original_inference_steps), 1, 100000, NULL },
};

/* Entries that are fine only with the values listed: anything else asks for what is not built. */
static const struct {
    const char *key, *allowed[3];
} refusals[] = {
    { "thresholding", { "false" } },
    { "use_flow_sigmas", { "false" } },
    { "predict_x0", { "true" } },
    { "skip_prk_steps", { "true" } },
    { "timestep_type", { "discrete" } },
    { "trained_betas", { NULL } },
    { "use_dynamic_shifting", { "false" } },
    { "variance_type", { "fixed_small", "fixed_small_log" } },
    { "solver_p", { NULL } },
    { "shift_terminal", { NULL } },
};

static bool
bad_value(const char *key, const char *value, GError **error)
{
    return rv_error_set(error, RV_ERROR_INVALID, key, "repair scheduler_config.json",
                        "\"%.64s\" is no value for this entry of the scheduler", value);
}

static bool
set_number(const Entry *entry, void *field, const char *value, GError **error)
{
    char *end;
    double number = g_ascii_strtod(value, &end);
    if (end == value || *end != '\0' || !(number >= entry->low && number <= entry->high))
        return bad_value(entry->key, value, error);
    if (entry->type == NUMBER)
        *(double *)field = number;
    else if (number == (double)(int)number)
        *(int *)field = (int)number;
    else
        return bad_value(entry->key, value, error);
    return true;
}

static bool
set_entry(const Entry *entry, void *field, const char *value, GError **error)
{
    if (entry->type == NUMBER || entry->type == WHOLE)
        return set_number(entry, field, value, error);
    if (entry->type == WORD) {
        for (int i = 0; entry->words[i] != NULL; i++) {
            if (g_str_equal(value, entry->words[i])) {
                /* "logrho" is another class's solver: diffusers falls back to this one's default */
                *(int *)field = entry->words == solver_words && i > RV_SOLVER_BH2 ? 0 : i;
                return true;
            }
        }
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, entry->key, "use another scheduler",
                            "the scheduler asks for \"%.64s\", which is not built in", value);
    }
    bool yes = g_str_equal(value, "true");
    if (!yes && !g_str_equal(value, "false"))
        return bad_value(entry->key, value, error);
    if (entry->type == FLAG)
        *(bool *)field = yes;
    else
        *(int *)field = yes;
    return true;
}

static bool
set_sampler(RvSchedulerConfig *config, const char *value, GError **error)
{
    bool stochastic = config->sampler == RV_SAMPLER_DPMPP_2M_SDE; /* algorithm_type came first */
    if (!g_str_has_suffix(value, "Scheduler") || !rv_sampler_parse_name(value, &config->sampler, NULL))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, "_class_name", "name a sampler with --sampler",
                            "the scheduler %.64s is not built in", value);
    if (stochastic && config->sampler == RV_SAMPLER_DPMPP_2M)
        config->sampler = RV_SAMPLER_DPMPP_2M_SDE;
    return true;
}

static bool
set_algorithm(RvSchedulerConfig *config, const char *value, GError **error)
{
    if (g_str_equal(value, "sde-dpmsolver++")) {
        if (config->sampler == RV_SAMPLER_DPMPP_2M || config->sampler == RV_SAMPLER_EULER)
            config->sampler = RV_SAMPLER_DPMPP_2M_SDE;
        return true;
    }
    if (g_str_equal(value, "dpmsolver++") || g_str_equal(value, "deis"))
        return true;
    return rv_error_set(error, RV_ERROR_UNSUPPORTED, "algorithm_type", "use dpmsolver++",
                        "the algorithm \"%.64s\" is not built in", value);
}

static bool
refuse(const char *key, const char *value, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        if (!g_str_equal(key, refusals[i].key))
            continue;
        for (gsize j = 0; j < G_N_ELEMENTS(refusals[i].allowed); j++)
            if (g_strcmp0(value, refusals[i].allowed[j]) == 0)
                return true;
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, key, "use another scheduler",
                            "the scheduler asks for %s = %.64s, which is not built in", key, value);
    }
    return true;
}

bool
rv_scheduler_config_set(RvSchedulerConfig *config, const char *key, const char *value, GError **error)
{
    if (value == NULL)
        return true;
    if (g_str_equal(key, "_class_name"))
        return set_sampler(config, value, error);
    if (g_str_equal(key, "algorithm_type"))
        return set_algorithm(config, value, error);
    if (g_str_equal(key, "final_sigmas_type")) {
        config->final_sigma_min = g_str_equal(value, "sigma_min");
        return config->final_sigma_min || g_str_equal(value, "zero") || bad_value(key, value, error);
    }
    if (g_str_equal(key, "interpolation_type")) {
        config->log_linear = g_str_equal(value, "log_linear");
        return config->log_linear || g_str_equal(value, "linear") || bad_value(key, value, error);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(entries); i++)
        if (g_str_equal(key, entries[i].key))
            return set_entry(&entries[i], (char *)config + entries[i].offset, value, error);
    return refuse(key, value, error);
}
