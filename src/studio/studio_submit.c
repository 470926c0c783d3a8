/* studio_submit.c - taking jobs: checks, limits, ids; and taking them up again after a restart. */
#include <string.h>

#include "engine/request.h"
#include "sampling/names.h"
#include "store/files.h"
#include "studio/studio_internal.h"
#include "studio/wildcards.h"

#define MAX_JOB_BATCHES 10000

/* ---- live jobs ---- */

int
rv_studio_job_batches(const RvStudioJob *spec)
{
    int batches = 0;
    if (spec->parts->len == 0)
        return spec->kind == RV_STUDIO_EXTRAS ? (int)spec->init_images->len : spec->n_iter;
    for (guint i = 0; i < spec->parts->len; i++)
        batches += rv_studio_job_batches(g_ptr_array_index(spec->parts, i));
    return batches;
}

RvLiveJob *
rv_live_job_new(RvStudio *studio, const char *user, RvStudioJob *spec, gint64 id)
{
    RvLiveJob *job = g_new0(RvLiveJob, 1);
    job->studio = studio;
    job->id = id;
    job->spec = spec;
    job->row = g_new0(RvJobRow, 1);
    *job->row = (RvJobRow) {
        .id = id,
        .user = g_strdup(user),
        .name = g_strdup(spec->name),
        .kind = g_strdup(rv_studio_kind_name(spec->kind)),
        .state = g_strdup("queued"),
        .prompt = g_strdup(spec->prompt != NULL ? spec->prompt : ""),
        .place = id,
        .created = g_get_real_time() / G_USEC_PER_SEC,
        .batches = rv_studio_job_batches(spec),
        .due = g_strdup(spec->due),
        .settles = spec->follows,
    };
    job->waiters = g_array_new(FALSE, FALSE, sizeof(RvStudioWaiter));
    job->pictures = g_ptr_array_new_with_free_func((GDestroyNotify)rv_studio_picture_free);
    job->notes = g_ptr_array_new_with_free_func(g_free);
    job->units = g_ptr_array_new_with_free_func((GDestroyNotify)rv_unit_unref);
    job->done = g_ptr_array_new_with_free_func((GDestroyNotify)rv_unit_unref);
    return job;
}

static void
forget_models(RvLiveJob *job)
{
    char **texts[] = { &job->model,       &job->vae,       &job->hash,          &job->refiner,
                       &job->hires_model, &job->hires_vae, &job->refiner_title, &job->hires_title };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

void
rv_live_job_free(gpointer data)
{
    RvLiveJob *job = data;
    if (job->retry != 0)
        g_source_remove(job->retry);
    rv_job_row_free(job->row);
    rv_studio_job_free(job->spec);
    forget_models(job);
    g_array_unref(job->waiters);
    g_ptr_array_unref(job->pictures);
    g_ptr_array_unref(job->notes);
    g_ptr_array_unref(job->done);
    g_ptr_array_unref(job->units);
    g_clear_error(&job->error);
    g_free(job);
}

RvLiveJob *
rv_live_job_find(RvStudio *studio, const char *user, gint64 id)
{
    RvLiveJob *job = g_hash_table_lookup(studio->jobs, &id);
    return job != NULL && strcmp(job->row->user, user) == 0 ? job : NULL;
}

RvStudioJob *
rv_live_job_part(RvLiveJob *job, int index, int *part, int *batch)
{
    *part = 0;
    *batch = index;
    for (guint i = 0; i < job->spec->parts->len; i++) {
        RvStudioJob *spec = g_ptr_array_index(job->spec->parts, i);
        int batches = rv_studio_job_batches(spec);
        *part = (int)i;
        if (*batch < batches)
            return spec;
        *batch -= batches;
    }
    return job->spec;
}

/* A VAE that lies beside a single file under its name. NULL: there is none. */
static char *
vae_beside(const char *model)
{
    if (!g_str_has_suffix(model, ".safetensors"))
        return NULL;
    g_autofree char *stem = g_strndup(model, strlen(model) - strlen(".safetensors"));
    g_autofree char *path = g_strconcat(stem, ".vae.safetensors", NULL);
    return g_file_test(path, G_FILE_TEST_IS_REGULAR) ? g_steal_pointer(&path) : NULL;
}

/* "None" is the model's own, "Automatic" the one beside it or its own; other names are looked up, never taken
 * as paths. */
static bool
resolve_vae(RvStudio *studio, const char *name, const char *model, bool is_default_model, char **vae,
            GError **error)
{
    *vae = NULL;
    if (name == NULL || g_ascii_strcasecmp(name, "Automatic") == 0) {
        *vae = is_default_model && studio->vae != NULL ? g_strdup(studio->vae) : vae_beside(model);
        return true;
    }
    if (g_ascii_strcasecmp(name, "None") == 0 || strcmp(name, "model") == 0)
        return true;
    *vae = strcmp(name, "taesd") == 0 ? g_strdup(name)
                                      : rv_library_find(studio->library, RV_NETWORK_VAE, name, error);
    return *vae != NULL;
}

static const RvStudioModel *
find_model(RvStudio *studio, const char *name, GError **error)
{
    const RvStudioModel *model = rv_model_list_find(studio->models, name);
    if (model == NULL)
        rv_error_set(error, RV_ERROR_NOT_FOUND, name, "see /sdapi/v1/sd-models", "there is no such model");
    return model;
}

/* Another model of the job: its path, unless it is the job's own. */
static bool
resolve_other(RvLiveJob *job, const char *name, char **path, char **title, GError **error)
{
    const RvStudioModel *model = name != NULL ? find_model(job->studio, name, error) : NULL;
    if (model == NULL)
        return name == NULL;
    if (strcmp(model->path, job->model) == 0)
        return true;
    *path = g_strdup(model->path);
    *title = model->sha256 != NULL ? g_strdup_printf("%s [%.10s]", model->stem, model->sha256)
                                   : g_strdup(model->stem);
    return true;
}

bool
rv_live_job_resolve(RvLiveJob *job, GError **error)
{
    int part, batch;
    RvStudio *studio = job->studio;
    const RvStudioJob *spec =
        rv_live_job_part(job, MIN(job->next_unit, job->row->batches - 1), &part, &batch);
    forget_models(job);
    if (spec->kind == RV_STUDIO_EXTRAS)
        return true;
    const RvStudioModel *model = find_model(studio, spec->model, error);
    if (model == NULL)
        return false;
    job->model = g_strdup(model->path);
    job->hash = model->sha256 != NULL ? g_strndup(model->sha256, 10) : NULL;
    rv_studio_set_text(&job->row->model, model->stem);
    const char *hires = spec->enable_hr ? spec->hr_checkpoint_name : NULL;
    return resolve_vae(studio, spec->vae, job->model, spec->model == NULL, &job->vae, error) &&
           resolve_other(job, spec->refiner_checkpoint, &job->refiner, &job->refiner_title, error) &&
           resolve_other(job, hires, &job->hires_model, &job->hires_title, error) &&
           (job->hires_model == NULL ||
            resolve_vae(studio, spec->vae, job->hires_model, false, &job->hires_vae, error));
}

/* ---- checks ---- */

static bool
check_range(const char *field, double value, double most, GError **error)
{
    return value <= most || rv_error_set(error, RV_ERROR_USAGE, field, "ask for less",
                                         "%g is over the limit of %g", value, most);
}

/* What a hires run ends with. */
static bool
check_sizes(const RvStudioJob *spec, const RvStudioLimits *limits, GError **error)
{
    double scale = spec->enable_hr && spec->hr_resize_x == 0 && spec->hr_resize_y == 0 ? spec->hr_scale : 1.0;
    double width = MAX(spec->width * scale, spec->enable_hr ? spec->hr_resize_x : 0);
    double height = MAX(spec->height * scale, spec->enable_hr ? spec->hr_resize_y : 0);
    return check_range("width", width, limits->max_side, error) &&
           check_range("height", height, limits->max_side, error) &&
           (spec->kind != RV_STUDIO_EXTRAS ||
            (check_range("upscaling_resize_w", spec->upscaling_resize_w, 2 * limits->max_side, error) &&
             check_range("upscaling_resize_h", spec->upscaling_resize_h, 2 * limits->max_side, error)));
}

/* The engine takes paths for names; clients may not. */
static bool
check_no_path(const char *field, const char *name, GError **error)
{
    return name == NULL || strpbrk(name, "/\\") == NULL ||
           rv_error_set(error, RV_ERROR_USAGE, field, "give its name", "a path is not taken here");
}

static bool
check_no_paths(const RvStudioJob *spec, GError **error)
{
    for (guint i = 0; i < spec->controls->len; i++)
        if (!check_no_path("controls.model", g_array_index(spec->controls, RvStudioControl, i).model, error))
            return false;
    return check_no_path("hr_upscaler", spec->hr_upscaler, error) &&
           check_no_path("upscaler_1", spec->upscaler_1, error) &&
           check_no_path("upscaler_2", spec->upscaler_2, error);
}

static bool
check_names(const RvStudioJob *spec, GError **error)
{
    if (!check_no_paths(spec, error))
        return false;
    RvSamplerKind sampler;
    RvScheduleKind schedule;
    if (spec->sampler_name != NULL && !rv_sampler_parse_name(spec->sampler_name, &sampler, &schedule))
        return rv_error_set(error, RV_ERROR_USAGE, "sampler_name", "see /sdapi/v1/samplers",
                            "there is no sampler \"%s\"", spec->sampler_name);
    if (spec->scheduler != NULL && !rv_schedule_parse_name(spec->scheduler, &schedule))
        return rv_error_set(error, RV_ERROR_USAGE, "scheduler", "see /sdapi/v1/schedulers",
                            "there is no schedule \"%s\"", spec->scheduler);
    return true;
}

static bool
check_spec(const RvStudioJob *spec, const RvStudioLimits *limits, GError **error)
{
    if (spec->batch_size < 1 || spec->n_iter < 1)
        return rv_error_set(error, RV_ERROR_USAGE, "batch_size", "ask for one or more",
                            "no pictures are asked for");
    if (spec->kind != RV_STUDIO_TXT2IMG && spec->init_images->len == 0)
        return rv_error_set(error, RV_ERROR_USAGE, "init_images", "give the picture", "there is no picture");
    return check_range("batch_size", spec->batch_size, MIN(limits->max_batch, RV_MAX_BATCH), error) &&
           check_range("steps", spec->steps, limits->max_steps, error) && check_sizes(spec, limits, error) &&
           check_names(spec, error);
}

static bool
check_job(const RvStudioJob *job, const RvStudioLimits *limits, GError **error)
{
    double pictures = 0.0;
    if (job->parts->len == 0 && !check_spec(job, limits, error))
        return false;
    if (job->parts->len == 0)
        pictures =
            job->kind == RV_STUDIO_EXTRAS ? job->init_images->len : (double)job->batch_size * job->n_iter;
    for (guint i = 0; i < job->parts->len; i++) {
        const RvStudioJob *part = g_ptr_array_index(job->parts, i);
        if (!check_spec(part, limits, error))
            return false;
        pictures +=
            part->kind == RV_STUDIO_EXTRAS ? part->init_images->len : (double)part->batch_size * part->n_iter;
    }
    return check_range("n_iter", pictures, limits->max_pictures, error);
}

/* Those of the first picture, for all that can be known now. */
static bool
check_wildcards(RvStudio *studio, const char *user, const RvStudioJob *job, GError **error)
{
    g_auto(GStrv) folders = rv_studio_wildcard_folders(studio, user);
    for (guint i = 0; i < job->parts->len; i++)
        if (!check_wildcards(studio, user, g_ptr_array_index(job->parts, i), error))
            return false;
    RvDrawnPrompts prompts;
    bool ok = rv_prompts_draw(&prompts, job, (guint64)job->seed, folders, studio->library, error);
    rv_prompts_clear(&prompts);
    return ok;
}

/* What is drawn by lot is drawn now, so that it is the same after a restart. */
static void
choose_seeds(RvStudioJob *job)
{
    if (job->seed < 0)
        job->seed = (gint64)g_random_int_range(0, G_MAXINT32) * 2 + g_random_int_range(0, 2);
    if (job->subseed < 0)
        job->subseed = (gint64)g_random_int_range(0, G_MAXINT32) * 2 + g_random_int_range(0, 2);
    for (guint i = 0; i < job->parts->len; i++)
        choose_seeds(g_ptr_array_index(job->parts, i));
}

static bool
check_user(RvStudio *studio, const char *user, const RvStudioJob *job, GError **error)
{
    GHashTableIter iter;
    gpointer value;
    int jobs = 0;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const RvLiveJob *other = value;
        if (strcmp(other->row->user, user) != 0)
            continue;
        jobs++;
        if (job->name != NULL && g_strcmp0(other->row->name, job->name) == 0)
            return rv_error_set(error, RV_ERROR_BUSY, job->name, "choose another name",
                                "a job of this name is not done yet");
    }
    return jobs < studio->limits.jobs_per_user ||
           rv_error_set(error, RV_ERROR_BUSY, NULL, "wait for one to end, or cancel one",
                        "%d jobs of yours are in the queue, which is the limit", jobs);
}

/* ---- pictures that came along ---- */

typedef struct {
    RvStudio *studio;
    gint64 id;
    GPtrArray *files; /* RvStoreFile */
} Inputs;

static void
file_free(gpointer data)
{
    RvStoreFile *file = data;
    g_free(file->path);
    g_bytes_unref(file->bytes);
    g_free(file);
}

static char *
input_path(RvStudio *studio, gint64 id, guint number)
{
    return g_strdup_printf("%s/jobs/%" G_GINT64_FORMAT "/input-%u", studio->data, id, number);
}

/* In the row a picture is "input-N" of the job's folder. */
static char *
write_input(const RvStudioInput *input, void *user)
{
    Inputs *inputs = user;
    RvStoreFile *file = g_new(RvStoreFile, 1);
    *file = (RvStoreFile) { input_path(inputs->studio, inputs->id, inputs->files->len),
                            g_bytes_ref(input->bytes) };
    g_ptr_array_add(inputs->files, file);
    return g_strdup_printf("input-%u", inputs->files->len - 1);
}

static bool
read_input(const char *text, RvStudioInput *input, void *user, GError **error)
{
    const Inputs *inputs = user;
    gint64 number;
    if (!g_str_has_prefix(text, "input-") ||
        !g_ascii_string_to_signed(text + 6, 10, 0, 100000, &number, NULL))
        return rv_error_set(error, RV_ERROR_INVALID, text, NULL, "this is no picture of a job");
    input->path = input_path(inputs->studio, inputs->id, (guint)number);
    return true;
}

/* The pictures are on disk: they need no memory any more. */
static void
spec_from_row(RvLiveJob *job)
{
    Inputs inputs = { job->studio, job->id, NULL };
    g_autoptr(JsonNode) root = json_from_string(job->row->request, NULL);
    RvStudioJob *spec = rv_studio_job_from_json(json_node_get_object(root), read_input, &inputs, NULL);
    if (spec == NULL)
        return;
    rv_studio_job_free(job->spec);
    job->spec = spec;
}

/* ---- submitting ---- */

typedef struct {
    RvStudio *studio;
    gint64 id;
} Accepting;

static void
reject(RvLiveJob *job, const GError *error)
{
    RvStudio *studio = job->studio;
    rv_queue_remove(studio->queue, job->id);
    if (job->has_submitter) {
        RvStudioWaiter waiter = g_array_index(job->waiters, RvStudioWaiter, 0);
        g_array_set_size(job->waiters, 0);
        job->has_submitter = false;
        if (waiter.on_accepted != NULL)
            waiter.on_accepted(0, error, waiter.user);
    }
    for (guint i = 0; i < studio->workers->len; i++) {
        RvWorker *worker = g_ptr_array_index(studio->workers, i);
        if (g_ptr_array_find(job->units, rv_worker_unit(worker), NULL))
            rv_worker_stop(worker, rv_worker_unit(worker), RV_UNIT_ABANDON);
    }
    g_hash_table_remove(studio->jobs, &job->id);
}

static void
on_accepted(const GError *error, void *user_data)
{
    Accepting *accepting = user_data;
    RvLiveJob *job = g_hash_table_lookup(accepting->studio->jobs, &accepting->id);
    g_free(accepting);
    if (job == NULL)
        return;
    if (error != NULL) {
        reject(job, error);
        return;
    }
    job->is_accepted = true;
    if (strstr(job->row->request, "\"input-") != NULL)
        spec_from_row(job);
    if (job->has_submitter) {
        RvStudioWaiter *waiter = &g_array_index(job->waiters, RvStudioWaiter, 0);
        if (waiter->on_accepted != NULL)
            waiter->on_accepted(job->id, NULL, waiter->user);
    }
    rv_live_job_commit(job);
}

static void
store_job(RvLiveJob *job)
{
    Inputs inputs = { job->studio, job->id, g_ptr_array_new_with_free_func(file_free) };
    g_autoptr(JsonNode) root = rv_studio_job_to_json(job->spec, write_input, &inputs);
    job->row->request = json_to_string(root, FALSE);
    Accepting *accepting = g_new(Accepting, 1);
    *accepting = (Accepting) { job->studio, job->id };
    rv_store_add_job(job->studio->store, job->row, inputs.files, on_accepted, accepting);
    g_ptr_array_unref(inputs.files);
}

static void
enqueue(RvLiveJob *job)
{
    rv_queue_add(job->studio->queue, job->id, job->row->user, job->model, job->row->batches - job->next_unit,
                 rv_studio_estimate(job->studio, job));
    rv_studio_tell_queue(job->studio);
}

gint64
rv_studio_submit(RvStudio *studio, const char *user, RvStudioJob *spec, const RvStudioWaiter *waiter,
                 GError **error)
{
    g_autoptr(RvStudioJob) owned = spec;
    if (studio->is_stopping) {
        rv_error_set(error, RV_ERROR_BUSY, NULL, "try again later",
                     "the server is stopping, or waits for a device");
        return 0;
    }
    rv_studio_check_disk(studio);
    if (studio->paused != NULL) {
        rv_error_set(error, RV_ERROR_IO, studio->paused, "make room",
                     "no job is taken while the disk is full");
        return 0;
    }
    if (!check_job(spec, &studio->limits, error) || !check_user(studio, user, spec, error))
        return 0;
    if (rv_studio_job_batches(spec) > MAX_JOB_BATCHES) {
        rv_error_set(error, RV_ERROR_USAGE, "n_iter", "ask for fewer", "these are too many batches");
        return 0;
    }
    choose_seeds(spec);
    if (!check_wildcards(studio, user, spec, error))
        return 0;
    RvLiveJob *job = rv_live_job_new(studio, user, g_steal_pointer(&owned), studio->next_id);
    if (!rv_live_job_resolve(job, error)) {
        rv_live_job_free(job);
        return 0;
    }
    studio->next_id++;
    if (waiter != NULL)
        g_array_append_val(job->waiters, *waiter);
    job->has_submitter = waiter != NULL;
    g_hash_table_insert(studio->jobs, &job->id, job);
    store_job(job);
    enqueue(job);
    rv_studio_tell_job(job, "job");
    rv_live_job_kick(job);
    return job->id;
}

bool
rv_studio_wait(RvStudio *studio, const char *user, gint64 id, const RvStudioWaiter *waiter)
{
    RvLiveJob *job = rv_live_job_find(studio, user, id);
    if (job == NULL)
        return false;
    g_array_append_val(job->waiters, *waiter);
    return true;
}

void
rv_studio_forget(RvStudio *studio, const void *waiter_user)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        RvLiveJob *job = value;
        for (guint i = job->waiters->len; i-- > 0;) {
            if (g_array_index(job->waiters, RvStudioWaiter, i).user != waiter_user)
                continue;
            job->has_submitter &= i > 0;
            g_array_remove_index(job->waiters, i);
        }
    }
}

/* ---- after a restart ---- */

static void
add_stored_pictures(RvLiveJob *job)
{
    g_autoptr(GPtrArray) rows = rv_store_job_pictures(job->studio->store, job->row->user, job->id);
    for (guint i = 0; i < rows->len; i++) {
        const RvPictureRow *row = g_ptr_array_index(rows, i);
        RvStudioPicture *picture = g_new0(RvStudioPicture, 1);
        *picture = (RvStudioPicture) {
            .role = rv_studio_role_parse(row->role),
            .part = row->part,
            .path =
                g_build_filename(row->in_gallery ? job->studio->outputs : job->studio->data, row->path, NULL),
            .infotext = g_strdup(row->infotext),
            .seed = row->seed,
            .subseed = row->subseed,
            .width = row->width,
            .height = row->height,
            .gallery_id = row->in_gallery ? row->id : 0,
        };
        g_ptr_array_add(job->pictures, picture);
    }
}

static void
recover_one(RvStudio *studio, RvJobRow *row)
{
    Inputs inputs = { studio, row->id, NULL };
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) root = row->request != NULL ? json_from_string(row->request, NULL) : NULL;
    RvStudioJob *spec = root != NULL && JSON_NODE_HOLDS_OBJECT(root)
                            ? rv_studio_job_from_json(json_node_get_object(root), read_input, &inputs, &error)
                            : NULL;
    bool is_readable = spec != NULL;
    if (!is_readable)
        spec = rv_studio_job_new(RV_STUDIO_TXT2IMG);
    RvLiveJob *job = rv_live_job_new(studio, row->user, spec, row->id);
    rv_job_row_free(job->row);
    job->row = row;
    job->is_accepted = true;
    job->resumed = (int)studio->workers->len * (1 + RV_WORKER_SAVING);
    job->next_unit = row->batches_done;
    g_hash_table_insert(studio->jobs, &job->id, job);
    add_stored_pictures(job);
    if (!is_readable && error == NULL)
        rv_error_set(&error, RV_ERROR_INVALID, NULL, NULL, "the job cannot be read");
    if (is_readable && row->batches_done < row->batches && rv_live_job_resolve(job, &error)) {
        enqueue(job);
        return;
    }
    job->error = g_steal_pointer(&error);
    job->is_ending = true;
    job->end = job->error != NULL ? RV_STUDIO_FAILED : RV_STUDIO_DONE;
    rv_live_job_commit(job);
}

/* A folder whose job was never accepted. */
static void
remove_strays(RvStudio *studio)
{
    g_autofree char *folder = g_build_filename(studio->data, "jobs", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_ascii_strtoll(name, NULL, 10) >= studio->next_id)
            rv_folder_remove(path);
    }
}

void
rv_studio_recover(RvStudio *studio)
{
    g_autoptr(GPtrArray) rows = rv_store_live_jobs(studio->store);
    studio->next_id = rv_store_last_job(studio->store) + 1;
    remove_strays(studio);
    while (rows->len > 0)
        recover_one(studio, g_ptr_array_steal_index(rows, 0));
    rv_studio_kick(studio);
}
