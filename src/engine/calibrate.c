#include "engine/calibrate.h"

#include "engine/pipeline_internal.h"

/* Grows when what is noted, or of which pictures, changes. */
#define VERSION 1
/* Of each weight that is looked at. */
#define SAMPLE_BYTES ((gsize)1 << 20)
/* From the noisiest step to nearly none. */
#define STEPS 6

static const char *const prompts[] = {
    "a photograph of a mountain lake at dawn, mist over the water, pine trees",
    "oil painting of an old woman laughing, close portrait, dramatic light",
};

static void
add_weight(GChecksum *sum, RvWeightSource source, const char *name, int rank, const gint64 *shape)
{
    RvArray array;
    if (!source.find(source.self, name, rank, shape, &array, NULL))
        return;
    gsize bytes = (gsize)rv_array_count(&array) * rv_dtype_size(array.dtype);
    g_checksum_update(sum, array.data, (gssize)MIN(bytes, SAMPLE_BYTES));
}

char *
rv_calibration_name(RvEngine *engine, const RvUnetConfig *c, RvWeightSource source)
{
    if (!rv_engine_is_fp8(engine))
        return NULL;
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    gint64 top = c->channels[c->levels - 1], first = c->channels[0];
    add_weight(sum, source, "conv_in.weight", 4, (gint64[]) { first, c->in_channels, 3, 3 });
    add_weight(sum, source, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight", 2,
               (gint64[]) { top, top });
    add_weight(sum, source, "mid_block.resnets.0.conv1.weight", 4, (gint64[]) { top, top, 3, 3 });
    add_weight(sum, source, "conv_out.weight", 4, (gint64[]) { c->out_channels, first, 3, 3 });
    return g_strdup_printf("unet-%d-%.32s", VERSION, g_checksum_get_string(sum));
}

static bool
draw(RvPipeline *pipeline, int index, GError **error)
{
    RvRequest request = {
        .prompt = prompts[index],
        .steps = STEPS,
        .cfg_scale = -1.0,
        .seed = (guint64)index + 1,
        .images = 1,
        .eta = -1.0,
        .strength = -1.0,
    };
    g_autofree char *note = NULL;
    if (!rv_pipeline_complete(pipeline, &request, &note, error))
        return false;
    g_autoptr(RvResult) result = rv_pipeline_generate(pipeline, &request, error);
    return result != NULL;
}

bool
rv_pipeline_calibrate(RvPipeline *pipeline, GError **error)
{
    RvDevice *device = rv_engine_device(pipeline->engine);
    const char *name = rv_weight_set_calibration(rv_denoiser_weights(pipeline->denoiser));
    bool is_known = true;
    if (name == NULL || pipeline->traits.variant == RV_VARIANT_REFINER)
        return true;
    if (!rv_device_calibrate(device, name, RV_CALIBRATION_FIND, &is_known, error) || is_known)
        return is_known;
    if (!rv_device_calibrate(device, name, RV_CALIBRATION_START, NULL, error))
        return false;
    bool ok = true;
    for (gsize i = 0; ok && i < G_N_ELEMENTS(prompts); i++)
        ok = draw(pipeline, (int)i, error);
    g_autofree char *kept = g_strdup(name);
    if (!rv_device_calibrate(device, kept, ok ? RV_CALIBRATION_STOP : RV_CALIBRATION_CANCEL, NULL,
                             ok ? error : NULL))
        return false;
    rv_denoiser_renew(pipeline->denoiser);
    rv_networks_attach(pipeline->networks, RV_PART_UNET, rv_denoiser_weights(pipeline->denoiser));
    return ok;
}
