#include "server/sdapi/user_data.h"

#include "server/server.h"
#include "store/store.h"
#include "studio/studio.h"

#define OPTIONS "options"
#define STYLES "page/styles" /* the page keeps it through /api/v1/documents */

static JsonNode *
read_document(RvServer *server, const char *user, const char *name)
{
    RvStore *store = rv_studio_store(rv_server_studio(server));
    g_autofree char *text = rv_store_get_document(store, user, name);
    return text != NULL ? json_from_string(text, NULL) : NULL;
}

/* What differs from the defaults. */
static JsonObject *
own_values(RvServer *server, const char *user)
{
    g_autoptr(JsonNode) node = read_document(server, user, OPTIONS);
    return node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_dup_object(node) : json_object_new();
}

JsonObject *
rv_user_options(RvServer *server, const char *user)
{
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) own = own_values(server, user);
    JsonObject *options = rv_settings_merge(NULL, own, problems);
    return options != NULL ? options : rv_settings_merge(NULL, NULL, problems);
}

bool
rv_user_options_change(RvServer *server, const char *user, JsonObject *values, RvFieldProblems *problems)
{
    g_autoptr(JsonArray) unheard = json_array_new();
    g_autoptr(JsonObject) before = rv_user_options(server, user), own = own_values(server, user);
    g_autoptr(JsonObject) after = rv_settings_merge(before, values, problems != NULL ? problems : unheard);
    const RvField *field;
    if (after == NULL)
        return false;
    for (guint i = 0; (field = rv_field_at(&rv_schema_options, i)) != NULL; i++) {
        JsonNode *old = json_object_get_member(before, field->name),
                 *new = json_object_get_member(after, field->name);
        if (!json_node_equal(old, new))
            json_object_set_member(own, field->name, json_node_copy(new));
    }
    g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), own);
    g_autofree char *text = json_to_string(node, FALSE);
    rv_store_set_document(rv_studio_store(rv_server_studio(server)), user, OPTIONS, text, NULL, NULL);
    return true;
}

JsonArray *
rv_user_styles(RvServer *server, const char *user)
{
    g_autoptr(JsonNode) node = read_document(server, user, STYLES);
    JsonObject *document = node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonNode *list = document != NULL ? json_object_get_member(document, "styles") : NULL;
    return list != NULL && JSON_NODE_HOLDS_ARRAY(list) ? json_node_dup_array(list) : json_array_new();
}

GPtrArray *
rv_server_upscalers(RvServer *server)
{
    static const char *const built_in[] = { "None", "Lanczos", "Nearest" };
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    for (gsize i = 0; i < G_N_ELEMENTS(built_in); i++)
        g_ptr_array_add(names, g_strdup(built_in[i]));
    g_autoptr(RvLibrary) library = rv_server_library(server);
    g_autoptr(GPtrArray) files = rv_library_list_whole(library, RV_NETWORK_UPSCALER);
    for (guint i = 0; i < files->len; i++)
        g_ptr_array_add(names, g_strdup(((RvLibraryFile *)g_ptr_array_index(files, i))->name));
    return names;
}

RvLibrary *
rv_server_library(RvServer *server)
{
    return rv_library_new((const char *const *)rv_server_options(server)->folders);
}
