/* studio_keep.c - pictures made elsewhere, into a user's outputs and gallery. */
#include <gio/gio.h>
#include <string.h>

#include "media/picture.h"
#include "store/files.h"
#include "studio/save.h"
#include "studio/studio_internal.h"

typedef struct {
    RvStudio *studio;
    char *user, *folder, *infotext, *path;
    GBytes *bytes;
    gint64 seed;
    int width, height;
    void (*done)(const char *path, const GError *error, void *user_data);
    void *user_data;
} Keeping;

static void
keeping_free(Keeping *keeping)
{
    g_free(keeping->user);
    g_free(keeping->folder);
    g_free(keeping->infotext);
    g_free(keeping->path);
    g_bytes_unref(keeping->bytes);
    g_free(keeping);
}

static const char *
ending_of(GBytes *bytes)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size);
    return size > 2 && data[0] == 0xff && data[1] == 0xd8 ? "jpg"
           : size > 4 && memcmp(data, "RIFF", 4) == 0     ? "webp"
                                                          : "png";
}

static void
write_it(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Keeping *keeping = data;
    GError *error = NULL;
    gsize size;
    const void *file = g_bytes_get_data(keeping->bytes, &size);
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(file, size, "picture", NULL, &error);
    if (picture != NULL) {
        keeping->width = picture->width;
        keeping->height = picture->height;
        keeping->path = rv_save_numbered(keeping->folder, keeping->seed, keeping->bytes,
                                         ending_of(keeping->bytes), &error);
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

static void
on_stored(const GError *error, void *user_data)
{
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
        .role = g_strdup(rv_studio_role_name(RV_STUDIO_GRID)),
        .path = g_strdup(keeping->path + strlen(keeping->studio->outputs) + 1),
        .infotext = g_strdup(keeping->infotext != NULL ? keeping->infotext : ""),
        .seed = keeping->seed,
        .width = keeping->width,
        .height = keeping->height,
        .bytes = (gint64)g_bytes_get_size(keeping->bytes),
        .created = g_get_real_time() / G_USEC_PER_SEC,
        .in_gallery = true,
    };
    rv_store_add_picture(keeping->studio->store, row, on_stored, keeping);
}

void
rv_studio_keep_picture(RvStudio *studio, const char *user, const char *folder, GBytes *bytes,
                       const char *infotext, gint64 seed,
                       void (*done)(const char *path, const GError *error, void *user_data), void *user_data)
{
    g_autofree char *owner = rv_studio_user_folder(user);
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *date = g_date_time_format(now, "%Y-%m-%d");
    Keeping *keeping = g_new0(Keeping, 1);
    *keeping = (Keeping) {
        .studio = studio,
        .user = g_strdup(user),
        .folder = g_build_filename(studio->outputs, owner, folder, date, NULL),
        .infotext = g_strdup(infotext),
        .bytes = g_bytes_ref(bytes),
        .seed = seed,
        .done = done,
        .user_data = user_data,
    };
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_written, keeping);
    g_task_set_task_data(task, keeping, NULL);
    g_task_run_in_thread(task, write_it);
}
