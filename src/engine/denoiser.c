#include "engine/denoiser.h"

#include <math.h>
#include <string.h>

#include "engine/layout.h"
#include "engine/programs.h"
#include "models/unet.h"

#define PROGRAMS 4

/* The contexts whose cross-attention keys and values a program holds: they change with the prompt, not with
 * the step. */
typedef struct {
    RvProgram *program;
    guint generation;    /* of the weights that they were computed with */
    GPtrArray *contexts; /* RvContext, one per term */
} Loaded;

struct RvDenoiser {
    RvEngine *engine;
    RvUnetConfig config;
    RvWeightSource source;
    char *calibration;
    RvWeightSet *weights;
    RvPrograms *programs;         /* the UNet by rows, size and tokens */
    RvPrograms *context_programs; /* keys and values by rows and tokens */
    RvPrograms *time_programs;    /* the timestep's projections by rows */
    Loaded loaded[PROGRAMS];
    double flops, seconds;
    bool tiling;
};

static void
open_weights(RvDenoiser *d)
{
    d->weights = rv_weight_set_new(rv_engine_device(d->engine), d->source);
    rv_weight_set_set_calibration(d->weights, d->calibration);
    d->programs = rv_programs_new(PROGRAMS);
    d->context_programs = rv_programs_new(PROGRAMS);
    d->time_programs = rv_programs_new(PROGRAMS);
}

static void
close_weights(RvDenoiser *d)
{
    for (int i = 0; i < PROGRAMS; i++)
        g_clear_pointer(&d->loaded[i].contexts, g_ptr_array_unref);
    memset(d->loaded, 0, sizeof d->loaded);
    rv_programs_free(d->programs);
    rv_programs_free(d->context_programs);
    rv_programs_free(d->time_programs);
    rv_weight_set_free(d->weights);
}

RvDenoiser *
rv_denoiser_new(RvEngine *engine, const RvUnetConfig *config, RvWeightSource source, const char *calibration)
{
    RvDenoiser *d = g_new0(RvDenoiser, 1);
    d->engine = engine;
    d->config = *config;
    d->source = source;
    d->calibration = g_strdup(calibration);
    open_weights(d);
    return d;
}

void
rv_denoiser_free(RvDenoiser *d)
{
    if (d == NULL)
        return;
    close_weights(d);
    g_free(d->calibration);
    g_free(d);
}

void
rv_denoiser_renew(RvDenoiser *d)
{
    close_weights(d);
    open_weights(d);
}

const RvUnetConfig *
rv_denoiser_config(const RvDenoiser *d)
{
    return &d->config;
}

RvWeightSet *
rv_denoiser_weights(const RvDenoiser *d)
{
    return d->weights;
}

gsize
rv_denoiser_bytes(const RvDenoiser *d)
{
    return rv_weight_set_bytes(d->weights);
}

void
rv_denoiser_set_tiling(RvDenoiser *d, bool tiling)
{
    d->tiling = tiling;
}

double
rv_denoiser_flops(const RvDenoiser *d)
{
    return d->flops;
}

double
rv_denoiser_seconds(const RvDenoiser *d)
{
    return d->seconds;
}

/* The inputs that the timestep's projections are made of, for `n` rows. */
static RvUnetTime
time_inputs(const RvDenoiser *d, RvProgram *p, int n)
{
    const RvUnetConfig *c = &d->config;
    RvUnetTime time = { .timestep = rv_input_exact(p, "timestep", RV_F32, (RvShape) { n, 1, 1, 1 }) };
    if (c->time_ids > 0)
        time.time_ids = rv_input_exact(p, "time_ids", RV_F32, (RvShape) { n, 1, c->time_ids, 1 });
    if (c->pooled_dim > 0)
        time.pooled = rv_input(p, "pooled", RV_F32, (RvShape) { n, 1, 1, c->pooled_dim });
    if (c->time_cond_proj_dim > 0) {
        RvTensor scale = rv_input_exact(p, "guidance", RV_F32, (RvShape) { n, 1, 1, 1 });
        time.guidance = rv_sinusoid(p, scale, (RvSinusoid) { .width = c->time_cond_proj_dim, .shift = 1.0f });
    }
    return time;
}

static RvProgram *
program_for(RvDenoiser *d, int n, int height, int width, int tokens, int controls, GError **error)
{
    const RvUnetConfig *c = &d->config;
    g_autofree char *key =
        g_strdup_printf("%dx%dx%dx%d+%d%s", n, height, width, tokens, controls, d->tiling ? " tiling" : "");
    RvProgram *p = rv_programs_find(d->programs, key);
    if (p != NULL)
        return p;
    p = rv_program_new(d->weights);
    rv_program_set_circular(p, d->tiling);
    RvUnetPrepared keys_values = { 0 };
    RvUnetInputs inputs = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { n, height, width, c->in_channels }),
        .prepared_context = &keys_values,
        .time = time_inputs(d, p, n),
    };
    g_autofree RvUnetResiduals *residuals = g_new0(RvUnetResiduals, MAX(controls, 1));
    rv_control_record_inputs(p, c, n, height, width, controls, residuals);
    inputs.residuals = residuals;
    inputs.residual_sets = controls;
    rv_unet_context_inputs(p, c, "kv", n, tokens, &keys_values);
    rv_output(p, "out", rv_unet_record(p, c, &inputs));
    p = rv_programs_add(d->programs, key, p, error);
    for (int i = 0; p != NULL && i < PROGRAMS; i++)
        if (d->loaded[i].program == p) /* the address of a program that was given up */
            d->loaded[i].program = NULL;
    return p;
}

static RvProgram *
context_program_for(RvDenoiser *d, int n, int tokens, GError **error)
{
    g_autofree char *key = g_strdup_printf("%dx%d", n, tokens);
    RvProgram *p = rv_programs_find(d->context_programs, key);
    if (p != NULL)
        return p;
    p = rv_program_new(d->weights);
    RvUnetPrepared keys_values = { 0 };
    RvTensor context =
        rv_input(p, "context", RV_F32, (RvShape) { n, 1, tokens, d->config.cross_attention_dim });
    rv_unet_record_context(p, &d->config, context, &keys_values);
    rv_unet_prepared_outputs(p, "kv", &keys_values);
    return rv_programs_add(d->context_programs, key, p, error);
}

static RvProgram *
time_program_for(RvDenoiser *d, int n, GError **error)
{
    g_autofree char *key = g_strdup_printf("%d", n);
    RvProgram *p = rv_programs_find(d->time_programs, key);
    if (p != NULL)
        return p;
    p = rv_program_new(d->weights);
    RvUnetTime time = time_inputs(d, p, n);
    RvUnetPrepared projections = { 0 };
    rv_unet_record_time(p, &d->config, &time, &projections);
    rv_unet_prepared_outputs(p, "time", &projections);
    return rv_programs_add(d->time_programs, key, p, error);
}

bool
rv_denoiser_prepare(RvDenoiser *d, int rows, int width, int height, int tokens, GError **error)
{
    return program_for(d, rows, height, width, tokens, 0, error) != NULL;
}

/* The same row of `width` numbers `n` times. */
static bool
write_repeated(RvProgram *p, const char *input, const float *row, gsize width, int n, GError **error)
{
    g_autofree float *rows = g_new(float, width *(gsize)n);
    for (int i = 0; i < n; i++)
        memcpy(rows + (gsize)i * width, row, width * sizeof *rows);
    return rv_program_write(p, input, rows, width * (gsize)n * sizeof *rows, error);
}

/* The pooled texts of the terms, each repeated for every image. */
static bool
write_pooled(RvProgram *p, const RvGuidanceTerm *terms, int count, int images, int width, GError **error)
{
    g_autofree float *pooled = g_new(float, (gsize)(width * count * images));
    for (int i = 0; i < count * images; i++)
        memcpy(pooled + (gsize)i * (gsize)width, terms[i / images].context->pooled,
               (gsize)width * sizeof *pooled);
    return rv_program_write(p, "pooled", pooled, (gsize)(width * count * images) * sizeof *pooled, error);
}

static bool
is_loaded(const RvDenoiser *d, const Loaded *loaded, const RvProgram *p, const RvGuidanceTerm *terms,
          int count)
{
    if (loaded->program != p || loaded->generation != rv_weight_set_generation(d->weights) ||
        loaded->contexts->len != (guint)count)
        return false;
    for (int i = 0; i < count; i++)
        if (g_ptr_array_index(loaded->contexts, i) != terms[i].context)
            return false;
    return true;
}

/* Remembers what the program holds, in its own place, a free one, or the last. */
static void
remember(RvDenoiser *d, RvProgram *p, const RvGuidanceTerm *terms, int count)
{
    int place = 0;
    while (place < PROGRAMS - 1 && d->loaded[place].program != NULL && d->loaded[place].program != p)
        place++;
    Loaded *loaded = &d->loaded[place];
    if (loaded->contexts != NULL)
        g_ptr_array_unref(loaded->contexts);
    loaded->program = p;
    loaded->generation = rv_weight_set_generation(d->weights);
    loaded->contexts = g_ptr_array_new_with_free_func((GDestroyNotify)rv_context_unref);
    for (int i = 0; i < count; i++)
        g_ptr_array_add(loaded->contexts, rv_context_ref(terms[i].context));
}

/* Keys and values from the program that computes them, a row per term, to the one that uses them, a row per
 * term and image. */
static bool
carry_prepared(RvProgram *from, RvProgram *to, int terms, int images, GError **error)
{
    for (int i = 0;; i++) {
        g_autofree char *name = g_strdup_printf("kv.%d", i);
        gsize bytes = rv_program_slot_bytes(from, name), row = bytes / (gsize)terms;
        if (bytes == 0)
            return true;
        g_autofree guint8 *values = g_malloc(bytes), *rows = g_malloc(bytes * (gsize)images);
        if (!rv_program_read(from, name, values, bytes, error))
            return false;
        for (int j = 0; j < terms * images; j++)
            memcpy(rows + (gsize)j * row, values + (gsize)(j / images) * row, row);
        if (!rv_program_write(to, name, rows, bytes * (gsize)images, error))
            return false;
    }
}

RvProgram *
rv_denoiser_keys_values(RvDenoiser *d, const RvGuidanceTerm *terms, int count, GError **error)
{
    int tokens = terms[0].context->tokens;
    RvProgram *p = context_program_for(d, count, tokens, error);
    if (p == NULL)
        return NULL;
    gsize size = (gsize)tokens * (gsize)terms[0].context->width;
    g_autofree float *context = g_new(float, size *(gsize)count);
    for (int i = 0; i < count; i++)
        memcpy(context + (gsize)i * size, terms[i].context->context, size * sizeof *context);
    if (!rv_program_write(p, "context", context, size * (gsize)count * sizeof *context, error) ||
        !rv_program_run(p, error))
        return NULL;
    d->flops += rv_program_flops(p);
    return p;
}

/* Makes sure that the program holds the keys and values of the terms' contexts. */
static bool
load_contexts(RvDenoiser *d, RvProgram *p, const RvGuidanceTerm *terms, int count, int images, GError **error)
{
    for (int i = 0; i < PROGRAMS; i++)
        if (is_loaded(d, &d->loaded[i], p, terms, count))
            return true;
    RvProgram *compute = rv_denoiser_keys_values(d, terms, count, error);
    if (compute == NULL || !carry_prepared(compute, p, count, images, error))
        return false;
    remember(d, p, terms, count);
    return true;
}

/* Five time ids are a refiner's, of which the last is the score that the term's picture is to have. */
static bool
write_time_ids(RvProgram *p, const RvGuidance *g, const RvGuidanceTerm *terms, int count, int ids,
               GError **error)
{
    g_autofree float *rows = g_new(float, (gsize)(count * g->images * ids));
    for (int i = 0; i < count * g->images; i++) {
        float *row = rows + (gsize)(i * ids);
        memcpy(row, g->time_ids, (gsize)ids * sizeof *row);
        if (ids == 5)
            row[4] = g->scores[terms[i / g->images].is_negative ? 1 : 0];
    }
    return rv_program_write(p, "time_ids", rows, (gsize)(count * g->images * ids) * sizeof *rows, error);
}

/* What time_inputs() declared. */
static bool
write_time(RvDenoiser *d, RvProgram *p, const RvGuidance *g, const RvGuidanceTerm *terms, int count,
           double timestep, GError **error)
{
    const RvUnetConfig *c = &d->config;
    int n = count * g->images;
    float t = (float)timestep, scale = (float)(g->cfg_scale - 1.0) * 1000.0f;
    return write_repeated(p, "timestep", &t, 1, n, error) &&
           (c->pooled_dim == 0 || write_pooled(p, terms, count, g->images, c->pooled_dim, error)) &&
           (c->time_ids == 0 || write_time_ids(p, g, terms, count, c->time_ids, error)) &&
           (c->time_cond_proj_dim == 0 || write_repeated(p, "guidance", &scale, 1, n, error));
}

RvProgram *
rv_denoiser_time(RvDenoiser *d, const RvGuidance *g, const RvGuidanceTerm *terms, int count, double timestep,
                 GError **error)
{
    RvProgram *p = time_program_for(d, count * g->images, error);
    if (p == NULL || !write_time(d, p, g, terms, count, timestep, error) || !rv_program_run(p, error))
        return NULL;
    d->flops += rv_program_flops(p);
    return p;
}

static bool
write_inputs(RvDenoiser *d, RvProgram *p, const RvGuidance *g, const RvGuidanceTerm *terms, int count,
             const float *pixels, double timestep, GError **error)
{
    gsize all = (gsize)g->images * (gsize)g->width * (gsize)g->height * (gsize)d->config.in_channels;
    return write_repeated(p, "sample", pixels, all, count, error) &&
           load_contexts(d, p, terms, count, g->images, error) &&
           write_time(d, p, g, terms, count, timestep, error);
}

/* The sampler's planes and the extra ones as the model's pixels, [images, h, w, in_channels]. */
static float *
gather_pixels(const RvDenoiser *d, const RvGuidance *g, const float *sample)
{
    gsize pixels = (gsize)g->width * (gsize)g->height, in = (gsize)d->config.in_channels,
          own = (gsize)g->channels;
    float *to = g_new(float, (gsize)g->images *pixels *in);
    for (int i = 0; i < g->images; i++) {
        float *image = to + (gsize)i * pixels * in;
        rv_to_pixels(sample + (gsize)i * pixels * own, own, pixels, image, in);
        if (in > own)
            rv_to_pixels(g->extra + (gsize)i * pixels * (in - own), in - own, pixels, image + own, in);
    }
    return to;
}

/* A row for each term and image of what `width` floats of a term are. */
static float *
rows_of(const RvGuidance *g, const RvGuidanceTerm *terms, int count, bool pooled)
{
    const RvContext *like = terms[0].context;
    gsize size = pooled ? (gsize)like->pooled_width : (gsize)like->tokens * (gsize)like->width;
    float *rows = g_new(float, MAX(size, 1) * (gsize)(count * g->images));
    for (int i = 0; i < count * g->images; i++) {
        const RvContext *context = terms[i / g->images].context;
        memcpy(rows + (gsize)i * size, pooled ? context->pooled : context->context, size * sizeof *rows);
    }
    return rows;
}

/* Runs the ControlNets that act now and hands what they say to the UNet's program. */
static bool
steer(RvDenoiser *d, RvProgram *p, const RvGuidance *g, const RvGuidanceTerm *terms, int count,
      const float *pixels, double timestep, const int *active, int actives, GError **error)
{
    if (actives == 0)
        return true;
    int in = d->config.in_channels;
    gsize one = (gsize)g->images * (gsize)g->width * (gsize)g->height * (gsize)in;
    g_autofree float *context = rows_of(g, terms, count, false), *all = g_new(float, one *(gsize)count);
    g_autofree float *pooled = d->config.pooled_dim > 0 ? rows_of(g, terms, count, true) : NULL;
    for (int i = 0; i < count; i++)
        memcpy(all + (gsize)i * one, pixels, one * sizeof *all);
    RvControlInputs inputs = {
        .rows = count * g->images,
        .height = g->height,
        .width = g->width,
        .tokens = terms[0].context->tokens,
        .pixels = all,
        .pixel_channels = in,
        .timestep = (float)timestep,
        .context = context,
        .time_ids = g->time_ids,
        .pooled = pooled,
        .tiling = d->tiling,
    };
    for (int i = 0; i < actives; i++) {
        const RvControlUnit *unit = &g->controls->units[active[i]];
        double before = rv_control_flops(unit->net);
        if (!rv_control_run(unit, &inputs, p, i, error))
            return false;
        d->flops += rv_control_flops(unit->net) - before;
    }
    return true;
}

/* Runs `count` terms of equal length and adds their outputs, times their factors, to `out`. */
static bool
run_terms(RvDenoiser *d, const RvGuidance *g, const RvGuidanceTerm *terms, int count, const float *pixels,
          double timestep, const int *active, int actives, float *out, GError **error)
{
    RvProgram *p =
        program_for(d, count * g->images, g->height, g->width, terms[0].context->tokens, actives, error);
    if (p == NULL || !write_inputs(d, p, g, terms, count, pixels, timestep, error) ||
        !steer(d, p, g, terms, count, pixels, timestep, active, actives, error))
        return false;
    gsize image = (gsize)g->width * (gsize)g->height * (gsize)g->channels, rows = (gsize)(count * g->images);
    g_autofree float *result = g_new(float, image *rows);
    gint64 start = g_get_monotonic_time();
    if (!rv_program_run_and_read(p, "out", result, image * rows * sizeof *result, error))
        return false;
    d->seconds += (double)(g_get_monotonic_time() - start) * 1e-6;
    d->flops += rv_program_flops(p);
    for (gsize row = 0; row < rows; row++)
        rv_add_planes(result + row * image, (gsize)g->channels, image / (gsize)g->channels,
                      (float)terms[row / (gsize)g->images].factor, out + row % (gsize)g->images * image);
    return true;
}

GArray *
rv_guidance_terms(const RvGuidance *g, int evaluation)
{
    GArray *terms = g_array_new(FALSE, FALSE, sizeof(RvGuidanceTerm));
    double scale = g->negative != NULL ? g->cfg_scale : 1.0, sum = 0.0;
    if (g->negative != NULL) {
        RvGuidanceTerm uncond = {
            rv_conditioning_part_at(g_ptr_array_index(g->negative->parts, 0), evaluation), 0.0, true
        };
        g_array_append_val(terms, uncond);
    }
    for (guint i = 0; i < g->positive->parts->len; i++) {
        const RvConditioningPart *part = g_ptr_array_index(g->positive->parts, i);
        RvGuidanceTerm term = { rv_conditioning_part_at(part, evaluation), part->weight * scale, false };
        g_array_append_val(terms, term);
        sum += term.factor;
    }
    if (g->negative != NULL)
        g_array_index(terms, RvGuidanceTerm, 0).factor = 1.0 - sum;
    return terms;
}

bool
rv_denoiser_run(RvDenoiser *d, const RvGuidance *g, const float *sample, double timestep, int evaluation,
                float *out, GError **error)
{
    gsize count = (gsize)g->images * (gsize)g->channels * (gsize)g->width * (gsize)g->height;
    g_autofree float *pixels = gather_pixels(d, g, sample);
    g_autoptr(GArray) terms = rv_guidance_terms(g, evaluation);
    memset(out, 0, count * sizeof *out);
    bool splits = g->negative != NULL && rv_control_splits(g->controls, evaluation);
    for (guint first = 0, next; first < terms->len; first = next) {
        int active[RV_MAX_CONTROLS],
            actives = rv_control_active(g->controls, evaluation, splits && first == 0, active);
        const RvGuidanceTerm *group = &g_array_index(terms, RvGuidanceTerm, first);
        for (next = first + 1; next < terms->len && !(splits && first == 0); next++)
            if (g_array_index(terms, RvGuidanceTerm, next).context->tokens != group->context->tokens)
                break;
        if (!run_terms(d, g, group, (int)(next - first), pixels, timestep, active, actives, out, error))
            return false;
    }
    for (gsize i = 0; i < count; i++)
        if (!isfinite(out[i])) {
            g_autofree char *where = g_strdup_printf("UNet, step %d", evaluation + 1);
            return rv_error_set(error, RV_ERROR_FAILED, where,
                                "verify the model's files (reverie models verify)",
                                "the model gave numbers that are not finite");
        }
    return true;
}
