#include "studio/result.h"

const char *
rv_studio_state_name(RvStudioState state)
{
    static const char *const names[] = { "queued", "running", "done", "failed", "cancelled" };
    return names[state];
}

bool
rv_studio_state_parse(const char *name, RvStudioState *state)
{
    for (int i = RV_STUDIO_QUEUED; i <= RV_STUDIO_CANCELLED; i++)
        if (g_strcmp0(name, rv_studio_state_name((RvStudioState)i)) == 0) {
            *state = (RvStudioState)i;
            return true;
        }
    return false;
}

const char *
rv_studio_role_name(RvStudioRole role)
{
    static const char *const names[] = { "sample", "map", "grid" };
    return names[role];
}

RvStudioRole
rv_studio_role_parse(const char *name)
{
    return g_strcmp0(name, "map") == 0    ? RV_STUDIO_MAP
           : g_strcmp0(name, "grid") == 0 ? RV_STUDIO_GRID
                                          : RV_STUDIO_SAMPLE;
}

void
rv_studio_picture_free(RvStudioPicture *picture)
{
    if (picture == NULL)
        return;
    g_clear_pointer(&picture->bytes, g_bytes_unref);
    g_free(picture->path);
    g_free(picture->infotext);
    g_free(picture);
}

RvStudioResult *
rv_studio_result_new(gint64 id, const char *user)
{
    RvStudioResult *result = g_new0(RvStudioResult, 1);
    g_atomic_ref_count_init(&result->count);
    result->id = id;
    result->user = g_strdup(user);
    result->pictures = g_ptr_array_new_with_free_func((GDestroyNotify)rv_studio_picture_free);
    result->notes = g_ptr_array_new_with_free_func(g_free);
    return result;
}

RvStudioResult *
rv_studio_result_ref(RvStudioResult *result)
{
    g_atomic_ref_count_inc(&result->count);
    return result;
}

void
rv_studio_result_unref(RvStudioResult *result)
{
    if (result == NULL || !g_atomic_ref_count_dec(&result->count))
        return;
    g_ptr_array_unref(result->pictures);
    g_ptr_array_unref(result->notes);
    g_clear_error(&result->error);
    g_free(result->user);
    g_free(result->name);
    g_free(result->info);
    g_free(result->extra);
    g_free(result);
}
