#include "engine/control.h"

#include <math.h>
#include <string.h>

#include <glib/gstdio.h>

#include "engine/area.h"
#include "engine/layout.h"
#include "engine/programs.h"
#include "media/annotate.h"
#include "media/infotext.h"
#include "models/controlnet.h"
#include "weights/model.h"

#define KEPT 4     /* ControlNets on the device */
#define PROGRAMS 4 /* sizes of each */
#define HASHED_FROM 0x100000
#define HASHED_BYTES 0x10000

struct RvControlNet {
    RvModel *model;
    RvControlnetConfig config;
    RvWeightSet *weights;
    RvPrograms *programs;
    char *path, *name, *hash;
    gint64 bytes, modified;
    double flops;
};

struct RvControls {
    RvEngine *engine;
    RvUnetConfig unet;
    const RvLibrary *library;
    GPtrArray *nets; /* RvControlNet, the last used at the end */
};

static void
net_free(gpointer data)
{
    RvControlNet *net = data;
    rv_programs_free(net->programs);
    rv_weight_set_free(net->weights);
    rv_model_close(net->model);
    g_free(net->path);
    g_free(net->name);
    g_free(net->hash);
    g_free(net);
}

RvControls *
rv_controls_new(RvEngine *engine, const RvUnetConfig *unet, const RvLibrary *library)
{
    RvControls *controls = g_new0(RvControls, 1);
    controls->engine = engine;
    controls->unet = *unet;
    controls->library = library;
    controls->nets = g_ptr_array_new_with_free_func(net_free);
    return controls;
}

void
rv_controls_free(RvControls *controls)
{
    if (controls == NULL)
        return;
    g_ptr_array_unref(controls->nets);
    g_free(controls);
}

gsize
rv_controls_bytes(const RvControls *controls)
{
    gsize bytes = 0;
    for (guint i = 0; i < controls->nets->len; i++)
        bytes += rv_weight_set_bytes(((const RvControlNet *)g_ptr_array_index(controls->nets, i))->weights);
    return bytes;
}

double
rv_control_flops(const RvControlNet *net)
{
    return net->flops;
}

/* ---- opening ---- */

static bool
find_weight(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    const RvControlNet *net = self;
    return rv_model_get(net->model, RV_PART_CONTROLNET, name, rank, shape, out, error);
}

static void
weight_done(void *self, const RvArray *array)
{
    const RvControlNet *net = self;
    rv_model_done(net->model, array);
}

/* A ControlNet is a copy of the UNet's first half: what a single file does not say is as in the UNet. */
static void
borrow_config(RvControlnetConfig *config, const RvUnetConfig *unet)
{
    RvUnetConfig *own = &config->unet;
    for (int i = 0; i < MIN(own->levels, unet->levels); i++)
        own->heads[i] = unet->heads[i];
    own->norm_groups = unet->norm_groups;
    own->norm_eps = unet->norm_eps;
    own->flip_sin_to_cos = unet->flip_sin_to_cos;
    own->freq_shift = unet->freq_shift;
    own->time_ids = unet->time_ids;
    own->pooled_dim = unet->pooled_dim;
    own->addition_time_embed_dim = unet->addition_time_embed_dim;
}

static bool
check_family(const RvControlNet *net, const RvUnetConfig *unet, GError **error)
{
    const RvUnetConfig *own = &net->config.unet;
    bool same = own->levels == unet->levels && own->cross_attention_dim == unet->cross_attention_dim &&
                own->time_ids == unet->time_ids && own->pooled_dim == unet->pooled_dim;
    for (int i = 0; same && i < own->levels; i++)
        same = own->channels[i] == unet->channels[i] && own->layers_per_block[i] == unet->layers_per_block[i];
    if (!same)
        return rv_error_set(error, RV_ERROR_INVALID, net->path, "use one that was made for this family",
                            "this ControlNet does not fit the model");
    if (net->config.conditioning_channels != 3)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, net->path, "use one that reads a picture",
                            "this ControlNet reads %d channels", net->config.conditioning_channels);
    return true;
}

/* A1111's short hash of a file: 64 KiB in the middle of the first MiBs. */
static char *
short_hash(const char *path)
{
    g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, NULL);
    gsize size = file != NULL ? g_mapped_file_get_length(file) : 0;
    gsize from = MIN((gsize)HASHED_FROM, size), count = MIN((gsize)HASHED_BYTES, size - from);
    const guint8 *data = count > 0 ? (const guint8 *)g_mapped_file_get_contents(file) + from : NULL;
    g_autofree char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, count);
    return g_strndup(hash, 8);
}

static RvControlNet *
open_net(RvControls *controls, const char *path, const GStatBuf *status, GError **error)
{
    g_autoptr(RvModel) model = rv_model_open_part(path, RV_PART_CONTROLNET, error);
    if (model == NULL)
        return NULL;
    RvControlNet *net = g_new0(RvControlNet, 1);
    net->config = *rv_model_controlnet_config(model);
    if (!rv_model_traits(model)->is_folder)
        borrow_config(&net->config, &controls->unet);
    net->model = g_steal_pointer(&model);
    net->weights = rv_weight_set_new(rv_engine_device(controls->engine),
                                     (RvWeightSource) { find_weight, weight_done, net });
    net->programs = rv_programs_new(PROGRAMS);
    net->path = g_strdup(path);
    net->name = g_path_get_basename(path);
    net->bytes = (gint64)status->st_size;
    net->modified = (gint64)status->st_mtime;
    if (g_str_has_suffix(net->name, ".safetensors"))
        net->name[strlen(net->name) - strlen(".safetensors")] = '\0';
    net->hash = short_hash(path);
    if (!check_family(net, &controls->unet, error))
        g_clear_pointer(&net, net_free);
    return net;
}

static RvControlNet *
net_for(RvControls *controls, const char *name, GError **error)
{
    g_autofree char *path = rv_library_resolve(controls->library, RV_NETWORK_CONTROLNET, name, error);
    if (path == NULL)
        return NULL;
    GStatBuf status = { 0 };
    g_stat(path, &status);
    for (guint i = 0; i < controls->nets->len; i++) {
        RvControlNet *net = g_ptr_array_index(controls->nets, i);
        if (strcmp(net->path, path) != 0 || net->bytes != (gint64)status.st_size ||
            net->modified != (gint64)status.st_mtime)
            continue;
        g_ptr_array_add(controls->nets, g_ptr_array_steal_index(controls->nets, i));
        return net;
    }
    RvControlNet *net = open_net(controls, path, &status, error);
    if (net != NULL)
        g_ptr_array_add(controls->nets, net);
    return net;
}

/* ---- units ---- */

void
rv_control_set_clear(RvControlSet *set)
{
    for (int i = 0; i < set->count; i++) {
        g_free(set->units[i].hint);
        g_free(set->units[i].infotext);
    }
    set->count = 0;
}

/* The picture at the run's size, annotated at the unit's own resolution if it has one. */
static RvPicture *
make_map(const RvControlUse *use, int width, int height, GError **error)
{
    g_autoptr(RvPicture) fitted = rv_area_fit(use->image, use->resize, width, height, error);
    if (fitted == NULL)
        return NULL;
    bool smaller = use->resolution > 0 && use->resolution != MIN(width, height) && use->module != NULL &&
                   strcmp(rv_annotate_label(use->module), "none") != 0;
    if (!smaller)
        return rv_annotate(fitted, use->module, use->threshold_a, use->threshold_b, error);
    double scale = (double)use->resolution / MIN(width, height);
    g_autoptr(RvPicture) small =
        rv_picture_resize(fitted, MAX((int)lround(width * scale), 1), MAX((int)lround(height * scale), 1),
                          RV_FILTER_LANCZOS, error);
    g_autoptr(RvPicture) map =
        small != NULL ? rv_annotate(small, use->module, use->threshold_a, use->threshold_b, error) : NULL;
    return map != NULL ? rv_picture_resize(map, width, height, RV_FILTER_LANCZOS, error) : NULL;
}

static char *
describe(const RvControlUse *use, const RvControlNet *net)
{
    static const char *const resizes[] = { "Just Resize", "Crop and Resize", "Resize and Fill",
                                           "Just Resize" };
    static const char *const modes[] = { "Balanced", "My prompt is more important",
                                         "ControlNet is more important" };
    g_autofree char *weight = rv_infotext_number(use->weight), *start = rv_infotext_number(use->start),
                    *end = rv_infotext_number(use->end);
    return g_strdup_printf("Module: %s, Model: %s [%s], Weight: %s, Resize Mode: %s, Processor Res: %d, "
                           "Guidance Start: %s, Guidance End: %s, Pixel Perfect: False, Control Mode: %s",
                           rv_annotate_label(use->module), net->name, net->hash, weight, resizes[use->resize],
                           use->resolution > 0 ? use->resolution : -1, start, end, modes[use->mode]);
}

static bool
prepare_unit(RvControls *controls, const RvControlUse *use, int width, int height, RvControlUnit *unit,
             GPtrArray *maps, GError **error)
{
    if (use->image == NULL || use->model == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "ControlNet", "give a model and a picture",
                            "a unit lacks its %s", use->model == NULL ? "model" : "picture");
    RvControlNet *net = net_for(controls, use->model, error);
    RvPicture *map = net != NULL ? make_map(use, width, height, error) : NULL;
    if (map == NULL)
        return false;
    gsize count = 3 * (gsize)width * (gsize)height;
    *unit = (RvControlUnit) { net,      g_new(float, count), use->weight,       use->start,
                              use->end, use->mode,           describe(use, net) };
    for (gsize i = 0; i < count; i++)
        unit->hint[i] = (float)map->rgb[i] / 255.0f;
    g_ptr_array_add(maps, map);
    return true;
}

bool
rv_controls_prepare(RvControls *controls, const RvRequest *r, int width, int height, bool is_second,
                    RvControlSet *set, GPtrArray *maps, GError **error)
{
    if (r->control_count > RV_MAX_CONTROLS)
        return rv_error_set(error, RV_ERROR_USAGE, "ControlNet", "give fewer units",
                            "%d units are too many, %d at the most", r->control_count, RV_MAX_CONTROLS);
    for (int i = 0; i < r->control_count; i++) {
        const RvControlUse *use = &r->controls[i];
        if (is_second ? use->skip_hires : use->skip_first_pass)
            continue;
        if (!prepare_unit(controls, use, width, height, &set->units[set->count], maps, error))
            return false;
        set->count++;
    }
    for (guint i = 0; i < controls->nets->len && controls->nets->len > KEPT;) {
        bool used = false;
        for (int j = 0; j < set->count; j++)
            used |= set->units[j].net == g_ptr_array_index(controls->nets, i);
        if (used)
            i++;
        else
            g_ptr_array_remove_index(controls->nets, i);
    }
    return true;
}

int
rv_control_active(const RvControlSet *set, int evaluation, bool is_negative, int active[RV_MAX_CONTROLS])
{
    int count = 0;
    for (int i = 0; set != NULL && i < set->count; i++) {
        const RvControlUnit *unit = &set->units[i];
        double share = (double)evaluation / MAX(set->evaluations, 1);
        if (share >= unit->start && share <= unit->end && unit->weight != 0.0 &&
            !(is_negative && unit->mode == RV_CONTROL_UNIT))
            active[count++] = i;
    }
    return count;
}

bool
rv_control_splits(const RvControlSet *set, int evaluation)
{
    int active[RV_MAX_CONTROLS];
    return rv_control_active(set, evaluation, true, active) !=
           rv_control_active(set, evaluation, false, active);
}

/* ---- programs ---- */

static RvProgram *
program_for(RvControlNet *net, const RvControlInputs *in, GError **error)
{
    const RvUnetConfig *c = &net->config.unet;
    g_autofree char *key = g_strdup_printf("%dx%dx%dx%d%s", in->rows, in->height, in->width, in->tokens,
                                           in->tiling ? " tiling" : "");
    RvProgram *p = rv_programs_find(net->programs, key);
    if (p != NULL)
        return p;
    int n = in->rows, scale = 1 << (net->config.hint_levels - 1);
    p = rv_program_new(net->weights);
    rv_program_set_circular(p, in->tiling);
    RvControlnetInputs inputs = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { n, in->height, in->width, c->in_channels }),
        .time.timestep = rv_input_exact(p, "timestep", RV_F32, (RvShape) { n, 1, 1, 1 }),
        .context = rv_input(p, "context", RV_F32, (RvShape) { n, 1, in->tokens, c->cross_attention_dim }),
        .hint = rv_input(p, "hint", RV_F32, (RvShape) { n, scale * in->height, scale * in->width, 3 }),
    };
    if (c->time_ids > 0)
        inputs.time.time_ids = rv_input_exact(p, "time_ids", RV_F32, (RvShape) { n, 1, c->time_ids, 1 });
    if (c->pooled_dim > 0)
        inputs.time.pooled = rv_input(p, "pooled", RV_F32, (RvShape) { n, 1, 1, c->pooled_dim });
    RvUnetResiduals residuals = rv_controlnet_record(p, &net->config, &inputs);
    for (int i = 0; i <= residuals.count; i++) {
        g_autofree char *name = g_strdup_printf("residual.%d", i);
        rv_output_exact(p, name, i < residuals.count ? residuals.down[i] : residuals.mid);
    }
    return rv_programs_add(net->programs, key, p, error);
}

/* `row` once for each of the rows. */
static bool
write_rows(RvProgram *p, const char *slot, const float *row, gsize width, int rows, GError **error)
{
    g_autofree float *all = g_new(float, width *(gsize)rows);
    for (int i = 0; i < rows; i++)
        memcpy(all + (gsize)i * width, row, width * sizeof *all);
    return rv_program_write(p, slot, all, width * (gsize)rows * sizeof *all, error);
}

static bool
write_inputs(const RvControlUnit *unit, const RvControlInputs *in, RvProgram *p, GError **error)
{
    const RvControlnetConfig *c = &unit->net->config;
    gsize pixels = (gsize)in->rows * (gsize)in->height * (gsize)in->width, own = (gsize)c->unet.in_channels;
    gsize side = (gsize)1 << (c->hint_levels - 1), rows = (gsize)in->rows;
    g_autofree float *sample = g_new(float, pixels *own);
    for (gsize i = 0; i < pixels; i++)
        memcpy(sample + i * own, in->pixels + i * (gsize)in->pixel_channels, own * sizeof *sample);
    gsize context = rows * (gsize)in->tokens * (gsize)c->unet.cross_attention_dim;
    return rv_program_write(p, "sample", sample, pixels * own * sizeof *sample, error) &&
           rv_program_write(p, "context", in->context, context * sizeof(float), error) &&
           write_rows(p, "timestep", &in->timestep, 1, in->rows, error) &&
           write_rows(p, "hint", unit->hint, 3 * side * side * (gsize)in->height * (gsize)in->width, in->rows,
                      error) &&
           (c->unet.time_ids == 0 ||
            write_rows(p, "time_ids", in->time_ids, (gsize)c->unet.time_ids, in->rows, error)) &&
           (c->unet.pooled_dim == 0 ||
            rv_program_write(p, "pooled", in->pooled, rows * (gsize)c->unet.pooled_dim * sizeof(float),
                             error));
}

void
rv_control_record_inputs(RvProgram *p, const RvUnetConfig *config, int rows, int height, int width, int sets,
                         RvUnetResiduals *residuals)
{
    RvShape shapes[RV_UNET_MAX_SKIPS];
    int count = rv_unet_skip_shapes(config, rows, height, width, shapes);
    for (int s = 0; s < sets; s++) {
        residuals[s].count = count;
        for (int i = 0; i <= count && count > 0; i++) {
            g_autofree char *name = g_strdup_printf("control.%d.%d", s, i),
                            *scale = g_strdup_printf("control.%d.scale.%d", s, i);
            RvTensor input = rv_input_exact(p, name, rv_program_compute(p), shapes[MIN(i, count - 1)]);
            residuals[s].scales[i] = rv_input_exact(p, scale, RV_F32, (RvShape) { 1, 1, 1, 1 });
            if (i < count)
                residuals[s].down[i] = input;
            else
                residuals[s].mid = input;
        }
    }
}

bool
rv_control_run(const RvControlUnit *unit, const RvControlInputs *in, RvProgram *unet, int set, GError **error)
{
    RvProgram *p = program_for(unit->net, in, error);
    if (p == NULL || !write_inputs(unit, in, p, error) || !rv_program_run(p, error))
        return false;
    unit->net->flops += rv_program_flops(p);
    RvShape shapes[RV_UNET_MAX_SKIPS];
    int count = rv_unet_skip_shapes(&unit->net->config.unet, in->rows, in->height, in->width, shapes);
    for (int i = 0; i <= count; i++) {
        g_autofree char *from = g_strdup_printf("residual.%d", i),
                        *to = g_strdup_printf("control.%d.%d", set, i),
                        *scale_name = g_strdup_printf("control.%d.scale.%d", set, i);
        double soft = unit->mode == RV_CONTROL_BALANCED ? 1.0 : pow(0.825, (double)(count - i));
        float scale = (float)(unit->weight * soft);
        if (!rv_program_copy(p, from, unet, to, error) ||
            !rv_program_write(unet, scale_name, &scale, sizeof scale, error))
            return false;
    }
    return true;
}
