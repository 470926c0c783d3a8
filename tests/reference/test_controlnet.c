/* A ControlNet against diffusers: its residuals, and the UNet that takes them. */
#include "models/controlnet.h"
#include "part.h"
#include <string.h>

static RvProgram *
record_controlnet(Part *part, Golden *golden)
{
    RvProgram *p = rv_program_new(part->weights);
    RvControlnetInputs in = {
        .sample = part_input(p, golden, "unet0.sample"),
        .time.timestep = rv_input_exact(p, "unet0.timestep", RV_F32, (RvShape) { 1, 1, 1, 1 }),
        .context = part_input(p, golden, "unet0.context"),
        .hint = part_input(p, golden, "controlnet.hint"),
    };
    RvUnetResiduals residuals = rv_controlnet_record(p, rv_model_controlnet_config(part->model), &in);
    for (int i = 0; i < residuals.count; i++) {
        g_autofree char *name = g_strdup_printf("controlnet.down%d", i);
        rv_output(p, name, residuals.down[i]);
    }
    rv_output(p, "controlnet.mid", residuals.mid);
    part_compile(p);
    part_write(p, golden, "unet0.sample");
    part_write(p, golden, "unet0.timestep");
    part_write(p, golden, "unet0.context");
    part_write(p, golden, "controlnet.hint");
    part_run(p);
    return p;
}

/* diffusers multiplies by the scale in the ControlNet, we where the UNet adds. */
static void
test_residuals(void)
{
    Part *part = part_open("tiny-sd15/controlnet", RV_PART_CONTROLNET);
    Golden *golden = part_golden("tiny-sd15");
    RvProgram *p = record_controlnet(part, golden);
    const float unscale = 1.0f / golden_get(golden, "controlnet.scale", NULL, NULL)[0];
    part_compare(p, golden, "controlnet.down0", unscale);
    part_compare(p, golden, "controlnet.down11", unscale);
    part_compare(p, golden, "controlnet.mid", unscale);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static void
carry(RvProgram *from, RvProgram *to, const char *name, RvTensor slot)
{
    g_autoptr(GError) error = NULL;
    gsize count = (gsize)rv_shape_count(rv_shape(to, slot));
    g_autofree float *values = g_new(float, count);
    rv_program_read(from, name, values, count * sizeof(float), &error);
    g_assert_no_error(error);
    part_write_floats(to, name, values, count);
}

/* `sets` ControlNets, all the same, at scales that add up to the golden one. */
static void
check_steered(RvProgram *controlnet, Part *part, Golden *golden, int sets)
{
    const RvUnetConfig *config = rv_model_unet_config(part->model);
    RvProgram *p = rv_program_new(part->weights);
    RvShape shapes[RV_UNET_MAX_SKIPS];
    RvUnetResiduals residuals[2] = { { .count = rv_unet_skip_shapes(config, 1, 16, 16, shapes) } };
    for (int i = 0; i < residuals[0].count; i++) {
        g_autofree char *name = g_strdup_printf("controlnet.down%d", i);
        residuals[0].down[i] = rv_input(p, name, RV_F32, shapes[i]);
    }
    residuals[0].mid = rv_input(p, "controlnet.mid", RV_F32, shapes[residuals[0].count - 1]);
    residuals[0].scale = rv_input_exact(p, "scale", RV_F32, (RvShape) { 1, 1, 1, 1 });
    residuals[1] = residuals[0];
    RvUnetInputs in = {
        .sample = part_input(p, golden, "unet0.sample"),
        .time.timestep = rv_input_exact(p, "unet0.timestep", RV_F32, (RvShape) { 1, 1, 1, 1 }),
        .context = part_input(p, golden, "unet0.context"),
        .residuals = residuals,
        .residual_sets = sets,
    };
    rv_output(p, "controlnet.out", rv_unet_record(p, config, &in));
    part_compile(p);
    for (int i = 0; i < residuals[0].count; i++) {
        g_autofree char *name = g_strdup_printf("controlnet.down%d", i);
        carry(controlnet, p, name, residuals[0].down[i]);
    }
    carry(controlnet, p, "controlnet.mid", residuals[0].mid);
    const float scale = golden_get(golden, "controlnet.scale", NULL, NULL)[0] / (float)sets;
    part_write_floats(p, "scale", &scale, 1);
    part_write(p, golden, "unet0.sample");
    part_write(p, golden, "unet0.timestep");
    part_write(p, golden, "unet0.context");
    part_run(p);
    part_compare(p, golden, "controlnet.out", 1.0f);
    rv_program_free(p);
}

static void
test_steered_unet(void)
{
    Part *controlnet = part_open("tiny-sd15/controlnet", RV_PART_CONTROLNET);
    Part *unet = part_open("tiny-sd15", RV_PART_UNET);
    Golden *golden = part_golden("tiny-sd15");
    RvProgram *residuals = record_controlnet(controlnet, golden);
    check_steered(residuals, unet, golden, 1);
    check_steered(residuals, unet, golden, 2);
    rv_program_free(residuals);
    golden_close(golden);
    part_close(unet);
    part_close(controlnet);
}

static void
check_refused(const RvControlnetConfig *config, int hint_size, const char *word)
{
    Part *part = part_open("tiny-sd15/controlnet", RV_PART_CONTROLNET);
    RvProgram *p = rv_program_new(part->weights);
    RvControlnetInputs in = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { 1, 8, 8, 4 }),
        .time.timestep = rv_input_exact(p, "timestep", RV_F32, (RvShape) { 1, 1, 1, 1 }),
        .context = rv_input(p, "context", RV_F32, (RvShape) { 1, 1, 77, 128 }),
        .hint = rv_input(p, "hint", RV_F32, (RvShape) { 1, hint_size, hint_size, 3 }),
    };
    rv_output(p, "mid", rv_controlnet_record(p, config, &in).mid);
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_program_compile(p, &error));
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, word));
    rv_program_free(p);
    part_close(part);
}

static void
test_bad_configs(void)
{
    Part *part = part_open("tiny-sd15/controlnet", RV_PART_CONTROLNET);
    const RvControlnetConfig good = *rv_model_controlnet_config(part->model);
    part_close(part);
    check_refused(&good, 128, "cannot add");
    RvControlnetConfig bad = good;
    bad.hint_levels = 99;
    check_refused(&bad, 64, "conditioning_embedding_out_channels");
    bad = good, bad.hint_channels[1] = -32;
    check_refused(&bad, 64, "conditioning_embedding_out_channels");
    bad = good, bad.hint_channels[1] = 48;
    check_refused(&bad, 64, "blocks.1");
    bad = good, bad.global_pool_conditions = true;
    check_refused(&bad, 64, "global_pool_conditions");
    bad = good, bad.unet.levels = -1;
    check_refused(&bad, 64, "block_out_channels");
    bad = good, bad.unet.levels = 2;
    check_refused(&bad, 64, "mid_block");
}

int
main(int argc, char **argv)
{
    part_init(&argc, &argv);
    g_test_add_func("/controlnet/residuals", test_residuals);
    g_test_add_func("/controlnet/steered-unet", test_steered_unet);
    g_test_add_func("/controlnet/bad-configs", test_bad_configs);
    return g_test_run();
}
