#include "draw_weights.h"
#include "registration_order.h"
#include "sampling/noise.h"
#include "weights/safetensors.h"
#include <math.h>
#include <string.h>

enum { LORA_RANK = 4 };

struct Weights {
    GArray *specs;      /* of RvTensorSpec, which own their names */
    GPtrArray *numbers; /* float16, of each */
};

static void
clear_spec(void *spec)
{
    g_free((void *)(guintptr)((RvTensorSpec *)spec)->name);
}

static Weights *
weights_new(void)
{
    Weights *weights = g_new0(Weights, 1);
    weights->specs = g_array_new(false, true, sizeof(RvTensorSpec));
    g_array_set_clear_func(weights->specs, clear_spec);
    weights->numbers = g_ptr_array_new_with_free_func(g_free);
    return weights;
}

void
weights_free(Weights *weights)
{
    g_array_unref(weights->specs);
    g_ptr_array_unref(weights->numbers);
    g_free(weights);
}

static const RvTensorSpec *
spec_at(const Weights *weights, guint index)
{
    return &g_array_index(weights->specs, RvTensorSpec, index);
}

/* Elements from dimension `from` on. */
static gsize
count_from(const RvTensorSpec *spec, int from)
{
    gsize count = 1;
    for (int i = from; i < spec->rank; i++)
        count *= (gsize)spec->shape[i];
    return count;
}

static void
take_numbers(Weights *weights, const float *numbers, gsize count)
{
    guint16 *halves = g_new(guint16, count);
    rv_convert_from_f32(RV_F16, numbers, halves, count);
    g_ptr_array_add(weights->numbers, halves);
}

static void
collect(void *user, const char *name, int rank, const gint64 *shape)
{
    RvTensorSpec spec = { g_strdup(name), RV_F16, rank, { 0 } };
    memcpy(spec.shape, shape, sizeof *shape * (gsize)rank);
    g_array_append_val((GArray *)user, spec);
}

static int
by_registration(gconstpointer a, gconstpointer b)
{
    return registration_order(((const RvTensorSpec *)a)->name, ((const RvTensorSpec *)b)->name);
}

static void
read_specs(GArray *specs, const char *config_path, RvPart part)
{
    RvConfig config;
    GError *error = NULL;
    if (!rv_config_read(config_path, part, &config, &error))
        g_error("%s", error->message);
    rv_config_expect(part, &config, collect, specs);
    for (guint i = 0; i < specs->len; i++) { /* told as convolutions in any case */
        RvTensorSpec *spec = &g_array_index(specs, RvTensorSpec, i);
        if (part == RV_PART_UNET && config.unet.linear_projection &&
            (strstr(spec->name, ".proj_in.weight") || strstr(spec->name, ".proj_out.weight")))
            spec->rank = 2;
    }
    g_array_sort(specs, by_registration);
}

/* Scaling is in float32 throughout, one rounding an operation, as in torch. */
static void
draw_parameter(Weights *weights, const RvTensorSpec *spec, RvNoise *noise)
{
    const gsize count = count_from(spec, 0);
    g_autofree float *numbers = g_new(float, count);
    rv_noise_draw(noise, numbers, count);
    if (spec->rank > 1) {
        const float scale = (float)(0.9 / sqrt((double)count_from(spec, 1)));
        for (gsize i = 0; i < count; i++)
            numbers[i] *= scale;
    } else if (g_str_has_suffix(spec->name, "bias")) {
        for (gsize i = 0; i < count; i++)
            numbers[i] *= 0.05f;
    } else {
        for (gsize i = 0; i < count; i++)
            numbers[i] = 1.0f + numbers[i] * 0.1f;
    }
    take_numbers(weights, numbers, count);
}

Weights *
weights_draw(const char *config_path, RvPart part, guint64 seed)
{
    Weights *weights = weights_new();
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, seed);
    read_specs(weights->specs, config_path, part);
    for (guint i = 0; i < weights->specs->len; i++)
        draw_parameter(weights, spec_at(weights, i), noise);
    rv_noise_free(noise);
    return weights;
}

static bool
has_lora(const RvTensorSpec *spec)
{
    static const char *const places[] = { "attn", "ff.net", "proj_in", "resnets.0.conv1" };
    if (spec->rank < 2)
        return false;
    for (guint i = 0; i < G_N_ELEMENTS(places); i++)
        if (strstr(spec->name, places[i]))
            return true;
    return false;
}

static void
add_lora_matrix(Weights *lora, RvTensorSpec spec, guint64 seed)
{
    const gsize count = count_from(&spec, 0);
    g_autofree float *numbers = g_new(float, count);
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, seed);
    rv_noise_draw(noise, numbers, count);
    rv_noise_free(noise);
    for (gsize i = 0; i < count; i++)
        numbers[i] *= 0.1f;
    g_array_append_val(lora->specs, spec);
    take_numbers(lora, numbers, count);
}

static void
add_lora_alpha(Weights *lora, char *name)
{
    static const float alpha = LORA_RANK / 2.0f;
    const RvTensorSpec spec = { name, RV_F16, 0, { 0 } };
    g_array_append_val(lora->specs, spec);
    take_numbers(lora, &alpha, 1);
}

/* kohya's name of a module: underscores for dots. */
static char *
lora_name(const RvTensorSpec *spec, const char *end)
{
    g_autofree char *module = g_strndup(spec->name, strlen(spec->name) - strlen(".weight"));
    return g_strconcat("lora_unet_", g_strdelimit(module, ".", '_'), end, NULL);
}

Weights *
weights_draw_lora(const Weights *unet, guint64 seed)
{
    Weights *lora = weights_new();
    guint64 index = 0;
    for (guint i = 0; i < unet->specs->len; i++) {
        const RvTensorSpec *of = spec_at(unet, i);
        if (!has_lora(of))
            continue;
        RvTensorSpec down = *of, up = { .dtype = RV_F16, .rank = of->rank, .shape = { 1, 1, 1, 1 } };
        down.name = lora_name(of, ".lora_down.weight");
        down.shape[0] = LORA_RANK;
        up.name = lora_name(of, ".lora_up.weight");
        up.shape[0] = of->shape[0];
        up.shape[1] = LORA_RANK;
        add_lora_matrix(lora, down, seed + 100 + index);
        add_lora_matrix(lora, up, seed + 300 + index);
        add_lora_alpha(lora, lora_name(of, ".alpha"));
        index++;
    }
    return lora;
}

static bool
fill(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const Weights *weights = user;
    memcpy(to, (const guint16 *)weights->numbers->pdata[index] + first, sizeof(guint16) * (gsize)count);
    return true;
}

void
weights_write(const Weights *weights, const char *path)
{
    GError *error = NULL;
    if (!rv_safetensors_write(path, spec_at(weights, 0), weights->specs->len, NULL, fill,
                              (void *)(guintptr)weights, &error))
        g_error("%s", error->message);
}
