#include "studio/residents.h"

#include <glib/gstdio.h>

#include "weights/mapped.h"

#define STAMP_DEPTH 2 /* of a model's folder */

typedef struct {
    char *model, *vae;
    gpointer loaded;
    gsize bytes;
    guint64 stamp; /* of its files when it was loaded */
    guint torn;    /* as rv_mapped_torn() was */
    bool is_held;
} Resident;

struct RvResidents {
    const RvPainterClass *class;
    gpointer painter;
    gsize budget;
    GMutex mutex;    /* of the list and its bytes, which only the worker's thread changes */
    GPtrArray *list; /* Resident, the most recently used last */
};

static void
resident_free(gpointer data)
{
    Resident *resident = data;
    g_free(resident->model);
    g_free(resident->vae);
    g_free(resident);
}

RvResidents *
rv_residents_new(const RvPainterClass *class, gpointer painter, gsize budget)
{
    RvResidents *r = g_new0(RvResidents, 1);
    r->class = class;
    r->painter = painter;
    r->budget = budget;
    g_mutex_init(&r->mutex);
    r->list = g_ptr_array_new_with_free_func(resident_free);
    return r;
}

void
rv_residents_free(RvResidents *r)
{
    if (r == NULL)
        return;
    rv_residents_let_go(r);
    rv_residents_clear(r);
    g_ptr_array_unref(r->list);
    g_mutex_clear(&r->mutex);
    g_free(r);
}

static void
give_up(RvResidents *r, guint index)
{
    r->class->unload(r->painter, ((const Resident *)g_ptr_array_index(r->list, index))->loaded);
    g_mutex_lock(&r->mutex);
    g_ptr_array_remove_index(r->list, index);
    g_mutex_unlock(&r->mutex);
}

/* False: there is none that may go. */
static bool
give_up_oldest(RvResidents *r)
{
    for (guint i = 0; i < r->list->len; i++) {
        Resident *resident = g_ptr_array_index(r->list, i);
        if (resident->is_held)
            continue;
        give_up(r, i);
        return true;
    }
    return false;
}

bool
rv_residents_make_room(RvResidents *r)
{
    bool was_any = false;
    while (give_up_oldest(r))
        was_any = true;
    return was_any;
}

void
rv_residents_clear(RvResidents *r)
{
    rv_residents_make_room(r);
}

void
rv_residents_hold(RvResidents *r, gpointer loaded)
{
    for (guint i = 0; i < r->list->len; i++) {
        Resident *resident = g_ptr_array_index(r->list, i);
        resident->is_held |= resident->loaded == loaded;
    }
}

void
rv_residents_let_go(RvResidents *r)
{
    for (guint i = 0; i < r->list->len; i++)
        ((Resident *)g_ptr_array_index(r->list, i))->is_held = false;
}

gsize
rv_residents_bytes(RvResidents *r)
{
    gsize bytes = 0;
    g_mutex_lock(&r->mutex);
    for (guint i = 0; i < r->list->len; i++)
        bytes += ((const Resident *)g_ptr_array_index(r->list, i))->bytes;
    g_mutex_unlock(&r->mutex);
    return bytes;
}

/* Changes when a file of the model is replaced, or written again in its place; 0: there is none. */
static guint64
stamp_of(const char *path, int depth)
{
    GStatBuf info;
    if (path == NULL || *path != '/' || g_stat(path, &info) != 0)
        return 0;
    guint64 stamp = (guint64)info.st_ino * 31 + (guint64)info.st_mtim.tv_nsec;
    stamp = stamp * 31 + (guint64)info.st_mtime;
    stamp = stamp * 31 + (S_ISDIR(info.st_mode) ? 0 : (guint64)info.st_size);
    g_autoptr(GDir) dir = S_ISDIR(info.st_mode) && depth > 0 ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        stamp += stamp_of(child, depth - 1); /* in whatever order */
    }
    return stamp;
}

static guint64
stamp_of_both(const char *model, const char *vae)
{
    return stamp_of(model, STAMP_DEPTH) * 31 + stamp_of(vae, STAMP_DEPTH);
}

/* Of the first that fits; -1: none. */
static int
find(const RvResidents *r, const char *model, const char *vae, bool any_vae)
{
    for (guint i = 0; i < r->list->len; i++) {
        const Resident *resident = g_ptr_array_index(r->list, i);
        if (g_strcmp0(resident->model, model) == 0 && (any_vae || g_strcmp0(resident->vae, vae) == 0))
            return (int)i;
    }
    return -1;
}

bool
rv_residents_has(RvResidents *r, const char *model, const char *vae)
{
    g_mutex_lock(&r->mutex);
    bool has = find(r, model, vae, vae == NULL) >= 0;
    g_mutex_unlock(&r->mutex);
    return has;
}

void
rv_residents_trim(RvResidents *r)
{
    g_mutex_lock(&r->mutex);
    for (guint i = 0; i < r->list->len; i++) {
        Resident *resident = g_ptr_array_index(r->list, i);
        resident->bytes = r->class->bytes(r->painter, resident->loaded);
    }
    g_mutex_unlock(&r->mutex);
    while (r->budget > 0 && r->list->len > 1 && rv_residents_bytes(r) > r->budget && give_up_oldest(r))
        ;
}

static gpointer
load(RvResidents *r, const char *model, const char *vae, GError **error)
{
    g_autoptr(GError) wrong = NULL;
    gpointer loaded = r->class->load(r->painter, model, vae, &wrong);
    if (loaded == NULL && g_error_matches(wrong, RV_ERROR, RV_ERROR_NO_MEMORY) && r->list->len > 0) {
        rv_residents_clear(r);
        g_clear_error(&wrong);
        loaded = r->class->load(r->painter, model, vae, &wrong);
    }
    if (loaded == NULL)
        g_propagate_error(error, g_steal_pointer(&wrong));
    return loaded;
}

/* Its files are others now, or it may have read zeros where some file was cut short. */
static bool
is_outdated(const Resident *resident, guint64 stamp)
{
    return !resident->is_held && (resident->stamp != stamp || resident->torn != rv_mapped_torn());
}

gpointer
rv_residents_get(RvResidents *r, const char *model, const char *vae, GError **error)
{
    int index = find(r, model, vae, false);
    guint64 stamp = stamp_of_both(model, vae);
    if (index >= 0 && is_outdated(g_ptr_array_index(r->list, index), stamp)) {
        give_up(r, (guint)index);
        index = -1;
    }
    if (index >= 0) {
        g_mutex_lock(&r->mutex);
        Resident *resident = g_ptr_array_steal_index(r->list, (guint)index);
        g_ptr_array_add(r->list, resident);
        g_mutex_unlock(&r->mutex);
        return resident->loaded;
    }
    gsize needed = r->class->estimate(r->painter, model, vae);
    while (r->budget > 0 && rv_residents_bytes(r) + needed > r->budget && give_up_oldest(r))
        ;
    guint torn = rv_mapped_torn();
    gpointer loaded = load(r, model, vae, error);
    if (loaded == NULL)
        return NULL;
    Resident *resident = g_new(Resident, 1);
    *resident = (Resident) { .model = g_strdup(model),
                             .vae = g_strdup(vae),
                             .loaded = loaded,
                             .stamp = stamp,
                             .torn = torn,
                             .bytes = r->class->bytes(r->painter, loaded) };
    g_mutex_lock(&r->mutex);
    g_ptr_array_add(r->list, resident);
    g_mutex_unlock(&r->mutex);
    return loaded;
}
