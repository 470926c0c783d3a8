#include "base/json_build.h"
#include "weights/convert.h"
#include "weights/model_private.h"
#include <json-glib/json-glib.h>

static void
add_list(JsonBuilder *builder, const char *key, const GPtrArray *list)
{
    rv_json_begin_array(builder, key);
    for (guint i = 0; i < list->len; i++)
        json_builder_add_string_value(builder, g_ptr_array_index(list, i));
    json_builder_end_array(builder);
}

static void
add_parts(JsonBuilder *builder, const char *key, const RvModel *model, bool extra)
{
    rv_json_begin_array(builder, key);
    for (int part = 0; part < RV_PARTS; part++)
        if (model->has[part] && model->extra[part] == extra)
            json_builder_add_string_value(builder, rv_part_name((RvPart)part));
    json_builder_end_array(builder);
}

char *
rv_model_info_json(const RvModel *model)
{
    const RvModelTraits *traits = &model->traits;
    g_auto(RvModelCheck) check = { 0 };
    g_autoptr(JsonBuilder) builder = json_builder_new();
    rv_model_examine(model, &check);
    json_builder_begin_object(builder);
    rv_json_add_text(builder, "family", traits->family_name);
    rv_json_add_text(builder, "variant", rv_variant_name(traits->variant));
    rv_json_add_text(builder, "prediction", rv_model_prediction_name(traits->prediction));
    rv_json_add_text(builder, "layout", traits->is_folder ? "folder" : "single-file");
    rv_json_add_int(builder, "parameters", check.parameters);
    rv_json_add_int(builder, "bytes", (gint64)rv_model_bytes(model));
    add_parts(builder, "components", model, false);
    add_parts(builder, "extras", model, true);
    add_list(builder, "missing", check.missing);
    add_list(builder, "wrong", check.wrong);
    add_list(builder, "unused", check.unused);
    json_builder_end_object(builder);
    return rv_json_text(builder);
}
