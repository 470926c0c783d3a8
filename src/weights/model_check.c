#include "base/error.h"
#include "weights/model_private.h"
#include <string.h>

#define NAMED_IN_ERROR 10

typedef struct {
    const RvModel *model;
    RvModelCheck *check;
    RvPart part;
    GArray *needed; /* of guint8, by source */
} Examiner;

static void
examine_one(void *user, const char *name, int rank, const gint64 *shape)
{
    Examiner *e = user;
    RvArray array;
    g_autoptr(GError) problem = NULL;
    const RvBinding *binding = rv_names_find(e->model->names, e->part, name);
    if (!binding) {
        g_ptr_array_add(e->check->missing, g_strdup_printf("%s/%s", rv_part_name(e->part), name));
        return;
    }
    g_array_index(e->needed, guint8, binding->source) = 1;
    if (!rv_model_get(e->model, e->part, name, rank, shape, &array, &problem)) {
        /* The text up to the place: "part/name is [..] where [..] is needed". */
        const char *end = strstr(problem->message, " (");
        g_ptr_array_add(e->check->wrong, end ? g_strndup(problem->message, (gsize)(end - problem->message))
                                             : g_strdup(problem->message));
        return;
    }
    if (!e->model->extra[e->part])
        e->check->parameters += rv_array_count(&array);
}

void
rv_model_examine(const RvModel *model, RvModelCheck *check)
{
    guint count = model->names->sources->len;
    g_autoptr(GArray) needed = g_array_sized_new(false, true, 1, count + 1);
    g_array_set_size(needed, count + 1);
    check->missing = g_ptr_array_new_with_free_func(g_free);
    check->wrong = g_ptr_array_new_with_free_func(g_free);
    check->unused = g_ptr_array_new_with_free_func(g_free);
    check->parameters = 0;
    for (guint i = 0; i < model->absent->len; i++)
        g_ptr_array_add(check->missing, g_strdup(g_ptr_array_index(model->absent, i)));
    for (int part = 0; part < RV_PARTS; part++) {
        Examiner e = { model, check, (RvPart)part, needed };
        if (model->has[part])
            rv_config_expect((RvPart)part, &model->config[part], examine_one, &e);
    }
    /* Stable Diffusion 2 and CLIPTextModel do not use their encoder's projection. */
    const RvBinding *projection = rv_names_find(model->names, RV_PART_TEXT, "text_projection.weight");
    if (projection)
        g_array_index(needed, guint8, projection->source) = 1;
    for (guint i = 0; i < count; i++) {
        const RvSource *source = &g_array_index(model->names->sources, RvSource, i);
        if (source->state != RV_NAME_IGNORED && !g_array_index(needed, guint8, i))
            g_ptr_array_add(check->unused, g_strdup(source->tensor->name));
    }
}

void
rv_model_check_clear(RvModelCheck *check)
{
    g_clear_pointer(&check->missing, g_ptr_array_unref);
    g_clear_pointer(&check->wrong, g_ptr_array_unref);
    g_clear_pointer(&check->unused, g_ptr_array_unref);
}

/* The first ten of a list, and how many more there are. */
static char *
first_ten(const GPtrArray *list)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < list->len && i < NAMED_IN_ERROR; i++)
        g_string_append_printf(text, "%s%s", i ? ", " : "", (const char *)g_ptr_array_index(list, i));
    if (list->len > NAMED_IN_ERROR)
        g_string_append_printf(text, " and %u more", list->len - NAMED_IN_ERROR);
    return g_string_free(text, false);
}

bool
rv_model_check(const RvModel *model, GError **error)
{
    g_auto(RvModelCheck) check;
    rv_model_examine(model, &check);
    g_autofree char *missing = first_ten(check.missing), *wrong = first_ten(check.wrong);
    if (check.missing->len > 0)
        return rv_error_set(error, RV_ERROR_INVALID, model->path,
                            "download the model again, or give its config folder",
                            "%u tensors are missing: %s", check.missing->len, missing);
    if (check.wrong->len > 0)
        return rv_error_set(error, RV_ERROR_INVALID, model->path,
                            "download the model again, or give its config folder",
                            "%u tensors are of the wrong shape or type: %s", check.wrong->len, wrong);
    return true;
}
