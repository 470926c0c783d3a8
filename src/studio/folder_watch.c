#include "studio/folder_watch.h"

#include <glib/gstdio.h>

#define MAX_DEPTH 6
#define MAX_FOLDERS 1024 /* a user's share of the kernel's watches is limited */
#define LONGEST_WAIT_US (3 * G_USEC_PER_SEC)

struct RvFolderWatch {
    char **folders;
    GHashTable *monitors; /* path -> GFileMonitor */
    void (*changed)(void *user);
    void *user;
    guint timer; /* source; 0: nothing happened */
    gint64 first_us;
};

static void
monitor_free(gpointer monitor)
{
    g_file_monitor_cancel(monitor);
    g_object_unref(monitor);
}

static gboolean on_still(gpointer data);

static void
on_event(GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event, gpointer data)
{
    RvFolderWatch *watch = data;
    gint64 now_us = g_get_monotonic_time();
    if (watch->timer == 0)
        watch->first_us = now_us;
    else if (now_us - watch->first_us > LONGEST_WAIT_US)
        return; /* soon */
    else
        g_source_remove(watch->timer);
    watch->timer = g_timeout_add(RV_FOLDER_WATCH_STILL_MS, on_still, watch);
}

/* Folders that are there and not watched yet. `known` gets all that are there. */
static void
look(RvFolderWatch *watch, const char *path, int depth, GHashTable *known)
{
    if (g_hash_table_size(known) >= MAX_FOLDERS || !g_hash_table_add(known, g_strdup(path)))
        return;
    if (!g_hash_table_contains(watch->monitors, path)) {
        g_autoptr(GFile) file = g_file_new_for_path(path);
        GFileMonitor *monitor = g_file_monitor_directory(file, G_FILE_MONITOR_WATCH_MOVES, NULL, NULL);
        if (monitor == NULL)
            return;
        g_signal_connect(monitor, "changed", G_CALLBACK(on_event), watch);
        g_hash_table_insert(watch->monitors, g_strdup(path), monitor);
    }
    g_autoptr(GDir) dir = depth > 0 ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        if (*name != '.' && g_file_test(child, G_FILE_TEST_IS_DIR))
            look(watch, child, depth - 1, known);
    }
}

static gboolean
is_unknown(gpointer path, gpointer monitor, gpointer known)
{
    return !g_hash_table_contains(known, path);
}

static void
look_at_all(RvFolderWatch *watch)
{
    g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (char **folder = watch->folders; *folder != NULL; folder++)
        look(watch, *folder, MAX_DEPTH, known);
    g_hash_table_foreach_remove(watch->monitors, is_unknown, known);
}

static gboolean
on_still(gpointer data)
{
    RvFolderWatch *watch = data;
    watch->timer = 0;
    look_at_all(watch); /* a folder that came has its own files to tell of */
    watch->changed(watch->user);
    return G_SOURCE_REMOVE;
}

RvFolderWatch *
rv_folder_watch_new(const char *const *folders, void (*changed)(void *user), void *user)
{
    static const char *const none[] = { NULL };
    RvFolderWatch *watch = g_new0(RvFolderWatch, 1);
    watch->folders = g_strdupv((char **)(folders != NULL ? folders : none));
    watch->monitors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, monitor_free);
    watch->changed = changed;
    watch->user = user;
    look_at_all(watch);
    return watch;
}

void
rv_folder_watch_free(RvFolderWatch *watch)
{
    if (watch == NULL)
        return;
    if (watch->timer != 0)
        g_source_remove(watch->timer);
    GHashTableIter iter;
    gpointer monitor;
    g_hash_table_iter_init(&iter, watch->monitors);
    while (g_hash_table_iter_next(&iter, NULL, &monitor))
        g_signal_handlers_disconnect_by_data(monitor, watch); /* an event may be on its way */
    g_hash_table_unref(watch->monitors);
    g_strfreev(watch->folders);
    g_free(watch);
}
