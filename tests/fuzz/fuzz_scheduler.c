/* Scheduler configs and sampler names from outside: lines of "key=value", the first of which holds a
 * sampler's name and a number of steps. Whatever is accepted must give finite numbers in bounds. */
#include "sampling/sampler.h"
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_sampler(const RvSamplerOptions *options)
{
    g_autoptr(GError) error = NULL;
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 1);
    RvSampler *sampler = rv_sampler_new(options, &noise, 1, 4, &error);
    if (sampler == NULL) {
        g_assert_nonnull(error);
        rv_noise_free(noise);
        return;
    }
    float out[4] = { 0, 0.1f, -0.2f, 0.3f };
    rv_sampler_begin(sampler, NULL, NULL);
    int calls = 0;
    for (RvEvaluation e; calls < 30 && rv_sampler_next(sampler, &e); calls++) {
        g_assert_true(isfinite(e.timestep) && e.timestep >= 0 &&
                      e.timestep < options->config.num_train_timesteps);
        rv_sampler_give(sampler, out);
    }
    rv_sampler_free(sampler);
    rv_noise_free(noise);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 40);
    RvSamplerOptions options;
    rv_sampler_options_init(&options);
    for (int i = 0; lines[i] != NULL; i++) {
        char *value = strchr(lines[i], '=');
        if (value != NULL)
            *value++ = '\0';
        if (i == 0) {
            rv_sampler_parse_name(lines[0], &options.sampler, &options.schedule);
            options.steps = value != NULL ? atoi(value) : 5;
        } else {
            g_autoptr(GError) error = NULL;
            if (!rv_scheduler_config_set(&options.config, lines[i], value, &error))
                g_assert_nonnull(error);
        }
    }
    if (options.config.num_train_timesteps > 2000)
        return 0; /* only slow */
    for (int dialect = RV_DIALECT_DIFFUSERS; dialect <= RV_DIALECT_A1111; dialect++) {
        options.dialect = (RvDialect)dialect;
        try_sampler(&options);
    }
    return 0;
}
