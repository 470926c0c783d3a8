/* AutoencoderTiny against diffusers. */
#include "models/taesd.h"
#include "part.h"
#include <string.h>

static void
test_encode(void)
{
    Part *part = part_open("tiny-sdxl/taesd", RV_PART_TAESD);
    Golden *golden = part_golden("tiny-sdxl");
    RvProgram *p = rv_program_new(part->weights);
    RvTensor image = part_input(p, golden, "taesd.image");
    rv_output(p, "taesd.mean",
              rv_taesd_record_encode(p, rv_model_taesd_config(part->model), image, rv_program_compute(p)));
    part_compile(p);
    part_write(p, golden, "taesd.image");
    part_run(p);
    part_compare(p, golden, "taesd.mean", 1.0f);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static void
test_decode(void)
{
    Part *part = part_open("tiny-sdxl/taesd", RV_PART_TAESD);
    Golden *golden = part_golden("tiny-sdxl");
    RvProgram *p = rv_program_new(part->weights);
    RvTensor latent = part_input(p, golden, "taesd.latent");
    rv_output(p, "taesd.decoded",
              rv_taesd_record_decode(p, rv_model_taesd_config(part->model), latent, rv_program_compute(p)));
    part_compile(p);
    part_write(p, golden, "taesd.latent");
    part_run(p);
    part_compare(p, golden, "taesd.decoded", 1.0f);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static void
check_refused(const RvTaesdConfig *config, bool encode, const char *word)
{
    Part *part = part_open("tiny-sdxl/taesd", RV_PART_TAESD);
    RvProgram *p = rv_program_new(part->weights);
    RvTensor image = rv_input(p, "image", RV_F32, (RvShape) { 1, 16, 16, 3 });
    RvTensor latent = rv_input(p, "latent", RV_F32, (RvShape) { 1, 2, 2, 4 });
    rv_output(p, "y",
              encode ? rv_taesd_record_encode(p, config, image, rv_program_compute(p))
                     : rv_taesd_record_decode(p, config, latent, rv_program_compute(p)));
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
    Part *part = part_open("tiny-sdxl/taesd", RV_PART_TAESD);
    const RvTaesdConfig good = *rv_model_taesd_config(part->model);
    part_close(part);
    for (int encode = 0; encode < 2; encode++) {
        RvTaesdConfig bad = good;
        bad.levels = 0;
        check_refused(&bad, encode, "levels");
        bad = good, bad.encoder_blocks[2] = bad.decoder_blocks[2] = G_MAXINT;
        check_refused(&bad, encode, "coder_blocks");
        bad = good, bad.encoder_channels[1] = bad.decoder_channels[1] = 65;
        check_refused(&bad, encode, "layers");
        bad = good, bad.encoder_channels[1] = bad.decoder_channels[1] = -1;
        check_refused(&bad, encode, "out_channels");
    }
    RvTaesdConfig bad = good;
    bad.latent_channels = 5;
    check_refused(&bad, true, "encoder.layers.14");
}

int
main(int argc, char **argv)
{
    part_init(&argc, &argv);
    g_test_add_func("/taesd/encode", test_encode);
    g_test_add_func("/taesd/decode", test_decode);
    g_test_add_func("/taesd/bad-configs", test_bad_configs);
    return g_test_run();
}
