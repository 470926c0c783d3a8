/* studio_due.c - what is to be made of ended jobs' pictures, when nobody waits for it any more. */
#include "studio/studio_internal.h"

static gboolean
on_idle(gpointer data)
{
    RvStudio *studio = data;
    g_autoptr(RvJobRow) row = g_queue_pop_head(&studio->due);
    if (row != NULL && !studio->is_stopping)
        studio->on_due(row->user, row->id, row->due, studio->on_due_user);
    if (!g_queue_is_empty(&studio->due))
        return G_SOURCE_CONTINUE;
    studio->due_source = 0;
    return G_SOURCE_REMOVE;
}

void
rv_studio_tell_due(RvStudio *studio, const RvJobRow *row)
{
    if (row->due == NULL || studio->on_due == NULL)
        return;
    RvJobRow *copy = g_new0(RvJobRow, 1);
    *copy = (RvJobRow) { .id = row->id, .user = g_strdup(row->user), .due = g_strdup(row->due) };
    g_queue_push_tail(&studio->due, copy);
    if (studio->due_source == 0)
        studio->due_source = g_idle_add(on_idle, studio);
}

void
rv_studio_on_due(RvStudio *studio, RvStudioOnDue on_due, void *user_data)
{
    g_autoptr(GPtrArray) rows = rv_store_due_jobs(studio->store);
    studio->on_due = on_due;
    studio->on_due_user = user_data;
    for (guint i = 0; i < rows->len; i++)
        rv_studio_tell_due(studio, g_ptr_array_index(rows, i));
}

void
rv_studio_settle(RvStudio *studio, gint64 id)
{
    rv_store_settle_job(studio->store, id);
}

void
rv_studio_due_clear(RvStudio *studio)
{
    if (studio->due_source != 0)
        g_source_remove(studio->due_source);
    g_queue_clear_full(&studio->due, (GDestroyNotify)rv_job_row_free);
}
