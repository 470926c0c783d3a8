#include "studio/job.h"

#include "studio/job_fields.h"

const char *
rv_studio_kind_name(RvStudioKind kind)
{
    static const char *const names[] = { "txt2img", "img2img", "extras" };
    return names[kind];
}

void
rv_studio_set_text(char **field, const char *text)
{
    char *copy = g_strdup(text);
    g_free(*field);
    *field = copy;
}

static void
input_clear(RvStudioInput *input)
{
    g_clear_pointer(&input->bytes, g_bytes_unref);
    g_clear_pointer(&input->path, g_free);
}

void
rv_studio_input_set(RvStudioInput *input, GBytes *bytes)
{
    GBytes *kept = bytes != NULL ? g_bytes_ref(bytes) : NULL;
    input_clear(input);
    input->bytes = kept;
}

static void
input_copy(RvStudioInput *to, const RvStudioInput *from)
{
    to->bytes = from->bytes != NULL ? g_bytes_ref(from->bytes) : NULL;
    to->path = g_strdup(from->path);
}

/* ---- the fields of a struct, by its table ---- */

static void
fields_clear(gpointer object, const RvJobField *fields)
{
    for (const RvJobField *field = fields; field->name != NULL; field++) {
        if (field->kind == RV_JOB_TEXT)
            g_clear_pointer(rv_job_text_at(object, field), g_free);
        else if (field->kind == RV_JOB_INPUT)
            input_clear(rv_job_input_at(object, field));
    }
}

/* `to` is a plain copy of `from`: what it points to becomes its own. */
static void
fields_own(gpointer to, gconstpointer from, const RvJobField *fields)
{
    for (const RvJobField *field = fields; field->name != NULL; field++) {
        if (field->kind == RV_JOB_TEXT)
            *rv_job_text_at(to, field) = g_strdup(*rv_job_text_at((gpointer)from, field));
        else if (field->kind == RV_JOB_INPUT)
            input_copy(rv_job_input_at(to, field), rv_job_input_at((gpointer)from, field));
    }
}

static void
control_clear(gpointer control)
{
    fields_clear(control, rv_control_fields);
}

static void
init_clear(gpointer input)
{
    input_clear(input);
}

/* ---- jobs ---- */

static void
make_arrays(RvStudioJob *job)
{
    job->init_images = g_array_new(FALSE, TRUE, sizeof(RvStudioInput));
    g_array_set_clear_func(job->init_images, init_clear);
    job->controls = g_array_new(FALSE, TRUE, sizeof(RvStudioControl));
    g_array_set_clear_func(job->controls, control_clear);
    job->parts = g_ptr_array_new_with_free_func((GDestroyNotify)rv_studio_job_free);
}

RvStudioJob *
rv_studio_job_new(RvStudioKind kind)
{
    RvStudioJob *job = g_new0(RvStudioJob, 1);
    *job = (RvStudioJob) {
        .kind = kind,
        .batch_size = 1,
        .n_iter = 1,
        .cfg_scale = -1.0,
        .seed = -1,
        .subseed = -1,
        .eta = -1.0,
        .denoising_strength = -1.0,
        .initial_noise_multiplier = 1.0,
        .mask_blur_x = 4.0,
        .mask_blur_y = 4.0,
        .mask_round = true,
        .inpainting_fill = 1,
        .soft_schedule_bias = 1.0,
        .soft_preservation_strength = 0.5,
        .soft_transition_contrast_boost = 4.0,
        .soft_difference_threshold = 0.5,
        .soft_difference_contrast = 2.0,
        .hr_scale = 2.0,
        .upscaling_resize = 2.0,
        .upscaling_crop = true,
    };
    make_arrays(job);
    return job;
}

void
rv_studio_job_free(RvStudioJob *job)
{
    if (job == NULL)
        return;
    fields_clear(job, rv_job_fields);
    g_free(job->extra);
    g_free(job->due);
    g_array_unref(job->init_images);
    g_array_unref(job->controls);
    g_ptr_array_unref(job->parts);
    g_free(job);
}

RvStudioJob *
rv_studio_job_copy(const RvStudioJob *job)
{
    RvStudioJob *copy = g_new(RvStudioJob, 1);
    *copy = *job;
    make_arrays(copy);
    fields_own(copy, job, rv_job_fields);
    copy->extra = g_strdup(job->extra);
    copy->due = g_strdup(job->due);
    for (guint i = 0; i < job->init_images->len; i++) {
        RvStudioInput input;
        input_copy(&input, &g_array_index(job->init_images, RvStudioInput, i));
        g_array_append_val(copy->init_images, input);
    }
    for (guint i = 0; i < job->controls->len; i++) {
        const RvStudioControl *from = &g_array_index(job->controls, RvStudioControl, i);
        RvStudioControl control = *from;
        fields_own(&control, from, rv_control_fields);
        g_array_append_val(copy->controls, control);
    }
    for (guint i = 0; i < job->parts->len; i++)
        g_ptr_array_add(copy->parts, rv_studio_job_copy(g_ptr_array_index(job->parts, i)));
    return copy;
}

int
rv_studio_job_pictures(const RvStudioJob *job)
{
    int pictures = 0;
    if (job->parts->len == 0)
        return job->kind == RV_STUDIO_EXTRAS ? (int)job->init_images->len : job->batch_size * job->n_iter;
    for (guint i = 0; i < job->parts->len; i++)
        pictures += rv_studio_job_pictures(g_ptr_array_index(job->parts, i));
    return pictures;
}

void
rv_studio_job_add_init(RvStudioJob *job, GBytes *bytes)
{
    RvStudioInput input = { .bytes = g_bytes_ref(bytes) };
    g_array_append_val(job->init_images, input);
}

RvStudioControl *
rv_studio_job_add_control(RvStudioJob *job)
{
    RvStudioControl control = { .weight = 1.0, .guidance_end = 1.0, .resize_mode = 1 };
    g_array_append_val(job->controls, control);
    return &g_array_index(job->controls, RvStudioControl, job->controls->len - 1);
}
