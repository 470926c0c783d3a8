/* studio_result.c - results from live jobs and from disk, and A1111's `info`. */
#include <gio/gio.h>
#include <string.h>

#include "base/json_build.h"
#include "media/infotext.h"
#include "store/files.h"
#include "studio/studio_internal.h"

#define MAX_FILE (256 << 20)

/* ---- info ---- */

static void
add_texts(JsonBuilder *json, const char *name, GPtrArray *pictures,
          const char *(*get)(const RvInfotext *info))
{
    rv_json_begin_array(json, name);
    for (guint i = 0; i < pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(pictures, i);
        if (picture->role != RV_STUDIO_SAMPLE)
            continue;
        g_autoptr(RvInfotext) info = get != NULL ? rv_infotext_parse(picture->infotext) : NULL;
        json_builder_add_string_value(json, get != NULL ? get(info) : picture->infotext);
    }
    json_builder_end_array(json);
}

static const char *
prompt_of(const RvInfotext *info)
{
    return info->prompt;
}

static const char *
negative_of(const RvInfotext *info)
{
    return info->negative;
}

static void
add_seeds(JsonBuilder *json, const char *name, GPtrArray *pictures, bool is_subseed)
{
    rv_json_begin_array(json, name);
    for (guint i = 0; i < pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(pictures, i);
        if (picture->role == RV_STUDIO_SAMPLE)
            json_builder_add_int_value(json, is_subseed ? picture->subseed : picture->seed);
    }
    json_builder_end_array(json);
}

/* Numbers and flags as such, for A1111 has them so; texts that happen to look like one stay texts. */
static void
add_value(JsonBuilder *json, const RvInfotextPair *pair)
{
    char *end;
    bool is_text = g_str_has_suffix(pair->key, "prompt");
    double number = g_ascii_strtod(pair->value, &end);
    bool is_number = !is_text && end != pair->value && *end == '\0' &&
                     strspn(pair->value, "+-.0123456789e") == strlen(pair->value);
    if (is_number && strpbrk(pair->value, ".e") == NULL && strlen(pair->value) < 19)
        rv_json_add_int(json, pair->key, g_ascii_strtoll(pair->value, NULL, 10));
    else if (is_number)
        rv_json_add_number(json, pair->key, number);
    else if (!is_text && strcmp(pair->value, "True") == 0)
        rv_json_add_flag(json, pair->key, true);
    else
        rv_json_add_text(json, pair->key, pair->value);
}

/* What A1111 lists apart of the infotext's settings. */
static void
add_extra_parameters(JsonBuilder *json, const RvInfotext *info)
{
    static const char *const known[] = {
        "Steps",      "Sampler", "CFG scale", "Seed",           "Size",
        "Model hash", "Model",   "Version",   "Variation seed", "Variation seed strength",
        "Clip skip",  "RNG",     NULL
    };
    rv_json_begin_object(json, "extra_generation_params");
    for (guint i = 0; i < info->pairs->len; i++) {
        const RvInfotextPair *pair = g_ptr_array_index(info->pairs, i);
        if (!g_strv_contains(known, pair->key))
            add_value(json, pair);
    }
    json_builder_end_object(json);
}

static void
add_settings(JsonBuilder *json, const RvStudioJob *spec, const RvStudioPicture *first, const RvInfotext *info)
{
    const char *cfg = rv_infotext_get(info, "CFG scale"), *steps = rv_infotext_get(info, "Steps");
    const char *strength = rv_infotext_get(info, "Denoising strength"),
               *skip = rv_infotext_get(info, "Clip skip");
    int width = first->width, height = first->height;
    rv_infotext_get_size(info, "Size", &width, &height);
    rv_json_add_text(json, "prompt", info->prompt);
    rv_json_add_text(json, "negative_prompt", info->negative);
    rv_json_add_int(json, "seed", first->seed);
    rv_json_add_int(json, "subseed", first->subseed);
    rv_json_add_number(json, "subseed_strength", spec->subseed_strength);
    rv_json_add_int(json, "width", width);
    rv_json_add_int(json, "height", height);
    rv_json_add_text(json, "sampler_name", rv_infotext_get(info, "Sampler"));
    rv_json_add_number(json, "cfg_scale", cfg != NULL ? g_ascii_strtod(cfg, NULL) : 0.0);
    rv_json_add_int(json, "steps", steps != NULL ? g_ascii_strtoll(steps, NULL, 10) : 0);
    rv_json_add_int(json, "batch_size", spec->batch_size);
    rv_json_add_flag(json, "restore_faces", FALSE);
    rv_json_add_text(json, "face_restoration_model", NULL);
    rv_json_add_text(json, "sd_model_name", rv_infotext_get(info, "Model"));
    rv_json_add_text(json, "sd_model_hash", rv_infotext_get(info, "Model hash"));
    rv_json_add_text(json, "sd_vae_name", rv_infotext_get(info, "VAE"));
    rv_json_add_text(json, "sd_vae_hash", rv_infotext_get(info, "VAE hash"));
    rv_json_add_int(json, "seed_resize_from_w", spec->seed_resize_from_w > 0 ? spec->seed_resize_from_w : -1);
    rv_json_add_int(json, "seed_resize_from_h", spec->seed_resize_from_h > 0 ? spec->seed_resize_from_h : -1);
    json_builder_set_member_name(json, "denoising_strength");
    if (strength != NULL)
        json_builder_add_double_value(json, g_ascii_strtod(strength, NULL));
    else
        json_builder_add_null_value(json);
    add_extra_parameters(json, info);
    rv_json_add_int(json, "clip_skip", skip != NULL ? g_ascii_strtoll(skip, NULL, 10) : 1);
}

char *
rv_studio_build_info(const RvStudioJob *spec, GPtrArray *pictures)
{
    const RvStudioPicture *first = NULL;
    for (guint i = 0; i < pictures->len && first == NULL; i++)
        if (((const RvStudioPicture *)g_ptr_array_index(pictures, i))->role == RV_STUDIO_SAMPLE)
            first = g_ptr_array_index(pictures, i);
    if (first == NULL)
        return NULL;
    g_autoptr(RvInfotext) info = rv_infotext_parse(first->infotext);
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *stamp = g_date_time_format(now, "%Y%m%d%H%M%S");
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    add_settings(json, spec->parts->len > 0 ? g_ptr_array_index(spec->parts, 0) : spec, first, info);
    add_texts(json, "all_prompts", pictures, prompt_of);
    add_texts(json, "all_negative_prompts", pictures, negative_of);
    add_seeds(json, "all_seeds", pictures, false);
    add_seeds(json, "all_subseeds", pictures, true);
    add_texts(json, "infotexts", pictures, NULL);
    rv_json_add_int(json, "index_of_first_image", 0);
    rv_json_begin_array(json, "styles");
    json_builder_end_array(json);
    rv_json_add_text(json, "job_timestamp", stamp);
    rv_json_add_flag(json, "is_using_inpainting_conditioning", FALSE);
    rv_json_add_text(json, "version", "reverie-" REVERIE_VERSION);
    json_builder_end_object(json);
    return rv_json_text(json);
}

/* ---- notes ---- */

char *
rv_studio_notes_json(GPtrArray *notes)
{
    if (notes->len == 0)
        return NULL;
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_array(json);
    for (guint i = 0; i < notes->len; i++)
        json_builder_add_string_value(json, g_ptr_array_index(notes, i));
    json_builder_end_array(json);
    return rv_json_text(json);
}

static void
read_notes(const char *text, GPtrArray *notes)
{
    g_autoptr(JsonNode) root = text != NULL ? json_from_string(text, NULL) : NULL;
    JsonArray *array = root != NULL && JSON_NODE_HOLDS_ARRAY(root) ? json_node_get_array(root) : NULL;
    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++)
        g_ptr_array_add(notes, g_strdup(json_array_get_string_element(array, i)));
}

/* ---- results ---- */

static RvStudioPicture *
picture_copy(const RvStudioPicture *from)
{
    RvStudioPicture *copy = g_new(RvStudioPicture, 1);
    *copy = *from;
    copy->bytes = from->bytes != NULL ? g_bytes_ref(from->bytes) : NULL;
    copy->path = g_strdup(from->path);
    copy->infotext = g_strdup(from->infotext);
    return copy;
}

RvStudioResult *
rv_live_job_result(RvLiveJob *job)
{
    RvStudioResult *result = rv_studio_result_new(job->id, job->row->user);
    result->name = g_strdup(job->row->name);
    rv_studio_state_parse(job->row->state, &result->state);
    result->was_interrupted = job->row->was_interrupted;
    result->info = g_strdup(job->row->info);
    result->extra = g_strdup(job->spec->extra);
    result->seconds = job->row->seconds;
    result->error = job->error != NULL ? g_error_copy(job->error) : NULL;
    for (int pass = 0; pass < 2; pass++) /* maps last */
        for (guint i = 0; i < job->pictures->len; i++) {
            const RvStudioPicture *picture = g_ptr_array_index(job->pictures, i);
            if ((picture->role == RV_STUDIO_MAP) == (pass == 1))
                g_ptr_array_add(result->pictures, picture_copy(picture));
        }
    for (guint i = 0; i < job->notes->len; i++)
        g_ptr_array_add(result->notes, g_strdup(g_ptr_array_index(job->notes, i)));
    return result;
}

/* ---- from disk ---- */

typedef struct {
    RvStudioResult *result;
    char *data, *outputs;
    void (*done)(RvStudioResult *result, const GError *error, void *user_data);
    void *user_data;
} Loading;

static void
loading_free(gpointer data)
{
    Loading *loading = data;
    rv_studio_result_unref(loading->result);
    g_free(loading->data);
    g_free(loading->outputs);
    g_free(loading);
}

/* In a thread: paths were relative, as in the store; they become absolute. */
static void
read_files(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Loading *loading = data;
    for (guint i = 0; i < loading->result->pictures->len; i++) {
        RvStudioPicture *picture = g_ptr_array_index(loading->result->pictures, i);
        const char *root = picture->gallery_id != 0 ? loading->outputs : loading->data;
        g_autofree char *relative = g_steal_pointer(&picture->path);
        if (picture->bytes == NULL)
            picture->bytes = rv_file_read_below(root, relative, MAX_FILE, NULL);
        picture->path = g_build_filename(root, relative, NULL);
    }
    g_task_return_boolean(task, TRUE);
}

static void
on_read(GObject *source, GAsyncResult *async, gpointer user)
{
    GTask *task = G_TASK(async);
    Loading *loading = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;
    if (loading->result == NULL)
        rv_error_set(&error, RV_ERROR_NOT_FOUND, NULL, NULL, "there is no such job");
    bool ok = error == NULL && g_task_propagate_boolean(task, &error);
    loading->done(ok ? loading->result : NULL, error, loading->user_data);
}

static void
add_rows(RvStudioResult *result, GPtrArray *rows)
{
    for (guint i = 0; i < rows->len; i++) {
        const RvPictureRow *row = g_ptr_array_index(rows, i);
        RvStudioPicture *picture = g_new0(RvStudioPicture, 1);
        *picture = (RvStudioPicture) { .role = rv_studio_role_parse(row->role),
                                       .part = row->part,
                                       .path = g_strdup(row->path),
                                       .infotext = g_strdup(row->infotext),
                                       .seed = row->seed,
                                       .subseed = row->subseed,
                                       .width = row->width,
                                       .height = row->height,
                                       .gallery_id = row->in_gallery ? row->id : 0 };
        g_ptr_array_add(result->pictures, picture);
    }
}

static RvStudioResult *
result_from_row(RvStudio *studio, const RvJobRow *row)
{
    RvStudioResult *result = rv_studio_result_new(row->id, row->user);
    result->name = g_strdup(row->name);
    rv_studio_state_parse(row->state, &result->state);
    result->was_interrupted = row->was_interrupted;
    result->info = g_strdup(row->info);
    result->seconds = row->seconds;
    if (row->error != NULL)
        result->error = g_error_new_literal(RV_ERROR, row->error_code, row->error);
    read_notes(row->notes, result->notes);
    g_autoptr(JsonNode) root = row->request != NULL ? json_from_string(row->request, NULL) : NULL;
    JsonObject *request = root != NULL && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    if (request != NULL && json_object_has_member(request, "extra"))
        result->extra = g_strdup(json_object_get_string_member(request, "extra"));
    g_autoptr(GPtrArray) pictures = rv_store_job_pictures(studio->store, row->user, row->id);
    add_rows(result, pictures);
    return result;
}

void
rv_studio_load_result(RvStudio *studio, const char *user, gint64 id, GCancellable *cancellable,
                      void (*done)(RvStudioResult *result, const GError *error, void *user_data),
                      void *user_data)
{
    g_autoptr(RvJobRow) row = rv_store_get_job(studio->store, user, id);
    Loading *loading = g_new0(Loading, 1);
    *loading = (Loading) { .result = row != NULL ? result_from_row(studio, row) : NULL,
                           .data = g_strdup(studio->data),
                           .outputs = g_strdup(studio->outputs),
                           .done = done,
                           .user_data = user_data };
    g_autoptr(GTask) task = g_task_new(NULL, cancellable, on_read, NULL);
    g_task_set_task_data(task, loading, loading_free);
    if (loading->result != NULL)
        g_task_run_in_thread(task, read_files);
    else
        g_task_return_boolean(task, FALSE);
}
