/* studio_keep.c - pictures made elsewhere, into a user's outputs and gallery. */
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#include "media/picture.h"
#include "store/files.h"
#include "studio/save.h"
#include "studio/studio_internal.h"

typedef struct {
    RvStudio *studio;
    RvStudioKeep what; /* texts and bytes are its own */
    char *user, *folder, *path;
    GPtrArray *leftovers; /* char *; NULL: none */
    int width, height;
    void (*done)(const char *path, const GError *error, void *user_data);
    void *user_data;
} Keeping;

static void
keeping_free(Keeping *keeping)
{
    RvStudioKeep *what = &keeping->what;
    char *texts[] = { (char *)what->prefix, (char *)what->folder_pattern, (char *)what->name_pattern,
                      (char *)what->styles, (char *)what->infotext };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        g_free(texts[i]);
    g_bytes_unref(what->bytes);
    g_free(keeping->user);
    g_free(keeping->folder);
    g_free(keeping->path);
    g_clear_pointer(&keeping->leftovers, g_ptr_array_unref);
    g_free(keeping);
}

static char *
write_named(const Keeping *keeping, const RvPicture *picture, GError **error)
{
    const RvStudioKeep *what = &keeping->what;
    RvNameFacts facts = { .infotext = what->infotext,
                          .user = keeping->user,
                          .styles = what->styles,
                          .picture = picture,
                          .seed = what->seed,
                          .first_seed = what->seed,
                          .last_seed = what->seed,
                          .batch_size = 1,
                          .count = 1,
                          .words = what->prompt_words,
                          .began = g_get_real_time() / G_USEC_PER_SEC };
    g_autofree char *below =
        rv_name_folder(what->folder_pattern != NULL ? what->folder_pattern : "[date]", &facts);
    g_autofree char *text = rv_name_file(what->name_pattern != NULL ? what->name_pattern : "[seed]", &facts);
    g_autofree char *folder =
        *below != '\0' ? g_build_filename(keeping->folder, below, NULL) : g_strdup(keeping->folder);
    RvSaveName name = { what->prefix, text, what->no_number };
    return rv_save_named(keeping->studio->outputs, folder, &name, what->bytes, rv_save_ending(what->bytes),
                         error);
}

static void
write_it(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Keeping *keeping = data;
    GError *error = NULL;
    gsize size;
    const void *file = g_bytes_get_data(keeping->what.bytes, &size);
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(file, size, "picture", NULL, &error);
    if (picture != NULL) {
        keeping->width = picture->width;
        keeping->height = picture->height;
        keeping->path = rv_save_take_leftover(keeping->leftovers, keeping->what.bytes);
        if (keeping->path == NULL)
            keeping->path = write_named(keeping, picture, &error);
    }
    if (error != NULL)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
}

static void
finish(Keeping *keeping, const GError *error)
{
    if (keeping->done != NULL)
        keeping->done(error == NULL ? keeping->path : NULL, error, keeping->user_data);
    keeping_free(keeping);
}

/* Pages that show the job's pictures learn of one more. */
static void
tell(const Keeping *keeping)
{
    g_autoptr(RvStudioStatus) status = rv_studio_status(keeping->studio, keeping->user, keeping->what.job);
    g_autoptr(JsonBuilder) json = json_builder_new();
    if (status == NULL)
        return;
    rv_studio_status_add_json(status, json);
    rv_studio_tell(keeping->studio, keeping->user, "picture", json);
}

static void
on_stored(const GError *error, void *user_data)
{
    const Keeping *keeping = user_data;
    if (error == NULL)
        tell(keeping);
    else
        g_unlink(keeping->path); /* nobody would find it */
    finish(user_data, error);
}

static void
on_written(GObject *source, GAsyncResult *result, gpointer user)
{
    Keeping *keeping = user;
    g_autoptr(GError) error = NULL;
    if (!g_task_propagate_boolean(G_TASK(result), &error)) {
        finish(keeping, error);
        return;
    }
    RvPictureRow *row = g_new0(RvPictureRow, 1);
    *row = (RvPictureRow) {
        .user = g_strdup(keeping->user),
        .job = keeping->what.job,
        .role = g_strdup(rv_studio_role_name(keeping->what.role)),
        .path = g_strdup(keeping->path + strlen(keeping->studio->outputs) + 1),
        .infotext = g_strdup(keeping->what.infotext != NULL ? keeping->what.infotext : ""),
        .seed = keeping->what.seed,
        .width = keeping->width,
        .height = keeping->height,
        .bytes = (gint64)g_bytes_get_size(keeping->what.bytes),
        .created = g_get_real_time() / G_USEC_PER_SEC,
        .in_gallery = true,
    };
    rv_store_add_picture(keeping->studio->store, row, keeping->what.settles ? keeping->what.job : 0,
                         on_stored, keeping);
}

static GPtrArray *
leftovers_of(RvStudio *studio, const char *user, gint64 job, const char *folder)
{
    g_autoptr(RvJobRow) row = rv_store_get_job(studio->store, user, job);
    return row != NULL ? rv_studio_leftovers(studio, folder, row->created) : NULL;
}

void
rv_studio_keep_picture(RvStudio *studio, const char *user, const RvStudioKeep *what,
                       void (*done)(const char *path, const GError *error, void *user_data), void *user_data)
{
    g_autofree char *owner = rv_studio_user_folder(user);
    Keeping *keeping = g_new0(Keeping, 1);
    *keeping = (Keeping) {
        .studio = studio,
        .what = *what,
        .user = g_strdup(user),
        .folder = g_build_filename(studio->outputs, owner, what->folder, NULL),
        .done = done,
        .user_data = user_data,
    };
    keeping->what.prefix = g_strdup(what->prefix);
    keeping->what.folder_pattern = g_strdup(what->folder_pattern);
    keeping->what.name_pattern = g_strdup(what->name_pattern);
    keeping->what.styles = g_strdup(what->styles);
    keeping->what.infotext = g_strdup(what->infotext);
    keeping->what.bytes = g_bytes_ref(what->bytes);
    if (what->is_again)
        keeping->leftovers = leftovers_of(studio, user, what->job, keeping->folder);
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_written, keeping);
    g_task_set_task_data(task, keeping, NULL);
    g_task_run_in_thread(task, write_it);
}
