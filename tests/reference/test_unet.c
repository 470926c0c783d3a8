/* UNets against diffusers: three latent sizes, a batch of two, with and without prepared tensors. */
#include "models/unet.h"
#include "part.h"
#include <string.h>

typedef struct {
    const char *model;  /* holds golden.safetensors */
    const char *folder; /* or single file: holds the UNet */
    const char *prefix; /* of the golden names */
} Case;

/* Golden names of one case. */
typedef struct {
    char *sample, *timestep, *context, *time_ids, *pooled, *out;
} Names;

static Names
names_new(const char *prefix)
{
    return (Names) {
        .sample = g_strconcat(prefix, ".sample", NULL),
        .timestep = g_strconcat(prefix, ".timestep", NULL),
        .context = g_strconcat(prefix, ".context", NULL),
        .time_ids = g_strconcat(prefix, ".time_ids", NULL),
        .pooled = g_strconcat(prefix, ".pooled", NULL),
        .out = g_strconcat(prefix, ".out", NULL),
    };
}

static void
names_clear(Names *names)
{
    g_free(names->sample);
    g_free(names->timestep);
    g_free(names->context);
    g_free(names->time_ids);
    g_free(names->pooled);
    g_free(names->out);
}

static RvUnetTime
time_inputs(RvProgram *p, Golden *golden, const Names *names, int n)
{
    RvUnetTime time = { .timestep = rv_input_exact(p, names->timestep, RV_F32, (RvShape) { n, 1, 1, 1 }) };
    if (golden_has(golden, names->pooled)) {
        time.time_ids = part_input_tokens(p, golden, names->time_ids);
        time.pooled = part_input(p, golden, names->pooled);
    }
    return time;
}

static void
write_time(RvProgram *p, Golden *golden, const Names *names, int n)
{
    const float *value = golden_get(golden, names->timestep, NULL, NULL);
    float values[8] = { 0 };
    for (int i = 0; i < n; i++)
        values[i] = value[0];
    part_write_floats(p, names->timestep, values, (gsize)n);
    if (golden_has(golden, names->pooled)) {
        part_write(p, golden, names->time_ids);
        part_write(p, golden, names->pooled);
    }
}

static int
batch_of(Golden *golden, const Names *names)
{
    return (int)golden_array(golden, names->sample).shape[0];
}

static void
run_whole(Part *part, Golden *golden, const Names *names, bool compares)
{
    const int n = batch_of(golden, names);
    RvProgram *p = rv_program_new(part->weights);
    RvUnetInputs in = {
        .sample = part_input(p, golden, names->sample),
        .time = time_inputs(p, golden, names, n),
        .context = part_input(p, golden, names->context),
    };
    rv_output(p, names->out, rv_unet_record(p, rv_model_unet_config(part->model), &in));
    part_compile(p);
    part_write(p, golden, names->sample);
    part_write(p, golden, names->context);
    write_time(p, golden, names, n);
    part_run(p);
    if (compares)
        part_compare(p, golden, names->out, 1.0f);
    rv_program_free(p);
}

static void
run_all(Part *part, const Case *c, bool compares)
{
    Golden *golden = part_golden(c->model);
    for (int i = 0; i < 3; i++) {
        g_autofree char *prefix = g_strdup_printf("%s%d", c->prefix, i);
        Names names = names_new(prefix);
        run_whole(part, golden, &names, compares);
        names_clear(&names);
    }
    golden_close(golden);
}

static void
run_unseen(Part *part, gconstpointer data)
{
    run_all(part, data, false);
}

static void
test_whole(gconstpointer data)
{
    const Case *c = data;
    Part *part = part_open(c->folder, RV_PART_UNET);
    if (part_is_f8())
        part_calibrate(part, run_unseen, c);
    run_all(part, c, true);
    if (part_is_f8()) {
        part_count_f8(part);
        run_all(part, c, true);
        g_test_message("%d layers in fp8", part->f8_layers);
        g_assert_cmpint(part->f8_layers, >, 0);
    }
    part_close(part);
}

/* Carries every output "PREFIX.i" of one program to the input of the same name of another. */
static void
carry(RvProgram *from, RvProgram *to, const char *prefix, const RvUnetPrepared *made,
      const RvUnetPrepared *declared)
{
    g_assert_cmpint(made->count, ==, declared->count);
    for (int i = 0; i < made->count; i++) {
        g_autofree char *name = g_strdup_printf("%s.%d", prefix, i);
        g_autoptr(GError) error = NULL;
        rv_program_copy(from, name, to, name, &error);
        g_assert_no_error(error);
    }
}

/* Two programs: one makes the time projections, keys and values, the other is the rest. */
static void
test_prepared(gconstpointer data)
{
    const Case *c = data;
    Part *part = part_open(c->folder, RV_PART_UNET);
    Golden *golden = part_golden(c->model);
    const RvUnetConfig *config = rv_model_unet_config(part->model);
    g_autofree char *prefix = g_strconcat(c->prefix, "1", NULL);
    Names names = names_new(prefix);
    const int n = batch_of(golden, &names);

    RvProgram *first = rv_program_new(part->weights);
    RvUnetTime time = time_inputs(first, golden, &names, n);
    RvUnetPrepared made_time, made_context;
    rv_unet_record_time(first, config, &time, &made_time);
    rv_unet_record_context(first, config, part_input(first, golden, names.context), &made_context);
    rv_unet_prepared_outputs(first, "time", &made_time);
    rv_unet_prepared_outputs(first, "context", &made_context);
    part_compile(first);
    part_write(first, golden, names.context);
    write_time(first, golden, &names, n);
    part_run(first);

    RvProgram *second = rv_program_new(part->weights);
    RvUnetPrepared slots_time, slots_context;
    rv_unet_time_inputs(second, config, "time", n, &slots_time);
    rv_unet_context_inputs(second, config, "context", n, 77, &slots_context);
    RvUnetInputs in = {
        .sample = part_input(second, golden, names.sample),
        .prepared_time = &slots_time,
        .prepared_context = &slots_context,
    };
    rv_output(second, names.out, rv_unet_record(second, config, &in));
    part_compile(second);
    carry(first, second, "time", &made_time, &slots_time);
    carry(first, second, "context", &made_context, &slots_context);
    part_write(second, golden, names.sample);
    part_run(second);
    part_compare(second, golden, names.out, 1.0f);

    rv_program_free(second);
    rv_program_free(first);
    names_clear(&names);
    golden_close(golden);
    part_close(part);
}

/* Any size works, also one that halves to odd numbers: there only the shape is known. */
static void
test_odd_size(void)
{
    Part *part = part_open("tiny-sd15", RV_PART_UNET);
    const RvUnetConfig *config = rv_model_unet_config(part->model);
    RvProgram *p = rv_program_new(part->weights);
    RvUnetInputs in = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { 1, 11, 13, 4 }),
        .time.timestep = rv_input_exact(p, "timestep", RV_F32, (RvShape) { 1, 1, 1, 1 }),
        .context = rv_input(p, "context", RV_F32, (RvShape) { 1, 1, 77, 128 }),
    };
    RvTensor out = rv_unet_record(p, config, &in);
    rv_output(p, "out", out);
    part_compile(p);
    RvShape s = rv_shape(p, out);
    g_assert_cmpint(s.h, ==, 11);
    g_assert_cmpint(s.w, ==, 13);
    rv_program_free(p);

    RvShape shapes[RV_UNET_MAX_SKIPS];
    g_assert_cmpint(rv_unet_skip_shapes(config, 2, 11, 13, shapes), ==, 12);
    g_assert_cmpint(shapes[0].h, ==, 11);
    g_assert_cmpint(shapes[3].h, ==, 6);
    g_assert_cmpint(shapes[11].h, ==, 2);
    g_assert_cmpint(shapes[11].w, ==, 2);
    g_assert_cmpint(shapes[11].c, ==, 64);
    part_close(part);
}

static void
check_refused(const RvUnetConfig *config, const RvUnetResiduals *residuals, const char *word)
{
    Part *part = part_open("tiny-sd15", RV_PART_UNET);
    RvProgram *p = rv_program_new(part->weights);
    RvUnetInputs in = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { 1, 8, 8, 4 }),
        .time.timestep = rv_input_exact(p, "timestep", RV_F32, (RvShape) { 1, 1, 1, 1 }),
        .context = rv_input(p, "context", RV_F32, (RvShape) { 1, 1, 77, 128 }),
        .residuals = residuals,
        .residual_sets = residuals != NULL ? 1 : 0,
    };
    rv_output(p, "out", rv_unet_record(p, config, &in));
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_program_compile(p, &error));
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, word));
    rv_program_free(p);
    part_close(part);
}

static RvUnetConfig
good_config(void)
{
    Part *part = part_open("tiny-sd15", RV_PART_UNET);
    RvUnetConfig config = *rv_model_unet_config(part->model);
    part_close(part);
    return config;
}

static void
test_bad_configs(void)
{
    const RvUnetConfig good = good_config();
    RvUnetConfig bad = good;
    bad.levels = 9;
    check_refused(&bad, NULL, "block_out_channels");
    bad = good, bad.channels[2] = G_MAXINT;
    check_refused(&bad, NULL, "block_out_channels");
    bad = good, bad.channels[2] = 96;
    check_refused(&bad, NULL, "down_blocks.2");
    bad = good, bad.channels[0] = 33;
    check_refused(&bad, NULL, "33");
    bad = good, bad.layers_per_block[1] = G_MAXINT;
    check_refused(&bad, NULL, "layers_per_block");
    bad = good, bad.layers_per_block[1] = 3;
    check_refused(&bad, NULL, "down_blocks.1.resnets.2");
    bad = good, bad.mid_depth = -2;
    check_refused(&bad, NULL, "mid");
    for (int i = 0; i < 4; i++)
        bad = good, bad.depth[i] = bad.up_depth[i] = RV_UNET_MAX_PREPARED;
    check_refused(&bad, NULL, "transformer_layers_per_block");
    bad = good;
    for (int i = 0; i < 4; i++)
        bad.depth[i] = bad.up_depth[i] = 60;
    check_refused(&bad, NULL, "transformer blocks");
    bad = good, bad.heads[1] = 5;
    check_refused(&bad, NULL, "5 heads");
    bad = good, bad.heads[1] = -8;
    check_refused(&bad, NULL, "-8 heads");
    bad = good, bad.cross_attention_dim = -1;
    check_refused(&bad, NULL, "cross_attention_dim");
    bad = good, bad.norm_groups = 0;
    check_refused(&bad, NULL, "0 groups");
    bad = good, bad.pooled_dim = 16, bad.time_ids = 6, bad.addition_time_embed_dim = 32;
    check_refused(&bad, NULL, "missing");
}

static void
test_bad_residuals(void)
{
    const RvUnetConfig good = good_config();
    RvUnetResiduals residuals = { .count = 11 };
    check_refused(&good, &residuals, "11 residuals");
    residuals.count = 12; /* none of them recorded */
    check_refused(&good, &residuals, "missing");
}

int
main(int argc, char **argv)
{
    part_init(&argc, &argv);
    static const Case cases[] = {
        { "tiny-sd15", "tiny-sd15", "unet" },
        { "tiny-sd15", "tiny-sd15/unet_inpaint", "inpaint.unet" },
        { "tiny-sd21", "tiny-sd21", "unet" },
        { "tiny-sdxl", "tiny-sdxl", "unet" },
        { "tiny-sd15", "tiny-sd15.safetensors", "unet" },
        { "tiny-sd21", "tiny-sd21.safetensors", "unet" },
        { "tiny-sdxl", "tiny-sdxl.safetensors", "unet" },
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *whole = g_strdup_printf("/unet/%s/whole", cases[i].folder);
        g_autofree char *prepared = g_strdup_printf("/unet/%s/prepared", cases[i].folder);
        g_test_add_data_func(whole, &cases[i], test_whole);
        if (!part_is_f8()) /* it has no scales for the parts */
            g_test_add_data_func(prepared, &cases[i], test_prepared);
    }
    g_test_add_func("/unet/odd-size", test_odd_size);
    g_test_add_func("/unet/bad-configs", test_bad_configs);
    g_test_add_func("/unet/bad-residuals", test_bad_residuals);
    return g_test_run();
}
