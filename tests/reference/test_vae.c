/* AutoencoderKL against diffusers. */
#include "models/vae.h"
#include "part.h"
#include <string.h>

static void
test_encode(gconstpointer model)
{
    Part *part = part_open(model, RV_PART_VAE);
    Golden *golden = part_golden(model);
    RvProgram *p = rv_program_new(part->weights);
    RvTensor image = part_input(p, golden, "vae.image");
    RvVaeMoments moments = rv_vae_record_encode(p, rv_model_vae_config(part->model), image);
    rv_output(p, "vae.mean", moments.mean);
    rv_output(p, "vae.logvar", moments.logvar);
    part_compile(p);
    part_write(p, golden, "vae.image");
    part_run(p);
    part_compare(p, golden, "vae.mean", 1.0f);
    part_compare(p, golden, "vae.logvar", 1.0f);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static void
test_decode(gconstpointer model)
{
    Part *part = part_open(model, RV_PART_VAE);
    Golden *golden = part_golden(model);
    RvProgram *p = rv_program_new(part->weights);
    RvTensor latent = part_input(p, golden, "vae.latent");
    rv_output(p, "vae.decoded", rv_vae_record_decode(p, rv_model_vae_config(part->model), latent));
    part_compile(p);
    part_write(p, golden, "vae.latent");
    part_run(p);
    part_compare(p, golden, "vae.decoded", 1.0f);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static void
check_refused(const RvVaeConfig *config, bool encode, const char *word)
{
    Part *part = part_open("tiny-sd15", RV_PART_VAE);
    RvProgram *p = rv_program_new(part->weights);
    if (encode)
        rv_output(p, "y",
                  rv_vae_record_encode(p, config, rv_input(p, "x", RV_F32, (RvShape) { 1, 16, 16, 3 })).mean);
    else
        rv_output(p, "y",
                  rv_vae_record_decode(p, config, rv_input(p, "x", RV_F32, (RvShape) { 1, 2, 2, 4 })));
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
    Part *part = part_open("tiny-sd15", RV_PART_VAE);
    const RvVaeConfig good = *rv_model_vae_config(part->model);
    part_close(part);
    for (int encode = 0; encode < 2; encode++) {
        RvVaeConfig bad = good;
        bad.levels = 9;
        check_refused(&bad, encode, "block_out_channels");
        bad = good, bad.channels[1] = G_MAXINT;
        check_refused(&bad, encode, "block_out_channels");
        bad = good, bad.channels[3] = 96;
        check_refused(&bad, encode, encode ? "down_blocks.3" : "decoder.conv_in");
        bad = good, bad.layers_per_block = G_MAXINT;
        check_refused(&bad, encode, "layers_per_block");
        bad = good, bad.latent_channels = 5;
        check_refused(&bad, encode, "conv");
        bad = good, bad.norm_groups = 0;
        check_refused(&bad, encode, "0 groups");
        bad = good, bad.norm_groups = 7;
        check_refused(&bad, encode, "7 groups");
    }
}

int
main(int argc, char **argv)
{
    part_init(&argc, &argv);
    g_test_add_data_func("/vae/tiny-sd15/encode", "tiny-sd15", test_encode);
    g_test_add_data_func("/vae/tiny-sd15/decode", "tiny-sd15", test_decode);
    g_test_add_data_func("/vae/tiny-sdxl/encode", "tiny-sdxl", test_encode);
    g_test_add_data_func("/vae/tiny-sdxl/decode", "tiny-sdxl", test_decode);
    g_test_add_func("/vae/bad-configs", test_bad_configs);
    return g_test_run();
}
