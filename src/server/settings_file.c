#include "server/settings_file.h"

#include "server/log.h"

struct RvSettingsFile {
    char *path;
    GMutex mutex; /* of all below */
    GCond idle;
    char *waiting; /* text for the disk; NULL: nothing is */
    bool is_writing;
    GThread *writer; /* only the caller's: the last one, which may have ended */
};

RvSettingsFile *
rv_settings_file_new(const char *path)
{
    RvSettingsFile *file = g_new0(RvSettingsFile, 1);
    file->path = g_strdup(path);
    g_mutex_init(&file->mutex);
    g_cond_init(&file->idle);
    return file;
}

void
rv_settings_file_free(RvSettingsFile *file)
{
    if (file == NULL)
        return;
    rv_settings_file_wait(file);
    if (file->writer != NULL)
        g_thread_join(file->writer);
    g_mutex_clear(&file->mutex);
    g_cond_clear(&file->idle);
    g_free(file->path);
    g_free(file);
}

static void
write_text(const RvSettingsFile *file, const char *text)
{
    g_autoptr(GError) error = NULL;
    if (!rv_state_write(text, file->path, &error))
        rv_log(RV_LOG_WARNING, "settings-not-kept", "error", error->message, NULL);
}

static gpointer
write_waiting(gpointer data)
{
    RvSettingsFile *file = data;
    g_mutex_lock(&file->mutex);
    while (file->waiting != NULL) {
        g_autofree char *text = g_steal_pointer(&file->waiting);
        g_mutex_unlock(&file->mutex);
        write_text(file, text);
        g_mutex_lock(&file->mutex);
    }
    file->is_writing = false;
    g_cond_broadcast(&file->idle);
    g_mutex_unlock(&file->mutex);
    return NULL;
}

void
rv_settings_file_save(RvSettingsFile *file, const RvState *state)
{
    char *text = rv_state_text(state);
    g_mutex_lock(&file->mutex);
    g_free(file->waiting);
    file->waiting = text;
    bool was_writing = file->is_writing;
    file->is_writing = true;
    g_mutex_unlock(&file->mutex);
    if (was_writing)
        return;
    if (file->writer != NULL)
        g_thread_join(file->writer);
    file->writer = g_thread_new("settings", write_waiting, file);
}

void
rv_settings_file_wait(RvSettingsFile *file)
{
    g_mutex_lock(&file->mutex);
    while (file->is_writing)
        g_cond_wait(&file->idle, &file->mutex);
    g_mutex_unlock(&file->mutex);
}
