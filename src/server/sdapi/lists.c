/* lists.c - what there is to choose from, as far as it is built in. */
#include <string.h>

#include "sampling/names.h"
#include "server/sdapi/handlers.h"

void
rv_sdapi_empty_list(const RvCall *call)
{
    rv_reply_send(call, rv_reply_array(json_array_new()));
}

void
rv_sdapi_empty_object(const RvCall *call)
{
    rv_reply_send(call, rv_reply_object(json_object_new()));
}

void
rv_sdapi_refused(const RvCall *call)
{
    rv_reply_send(
        call, rv_reply_problem(501, "NotImplementedError", call->route->parameter, call->route->parameter));
}

static void
add_sampler(JsonArray *list, const RvSamplerInfo *info)
{
    JsonObject *item = json_object_new(), *options = json_object_new();
    JsonArray *aliases = json_array_new();
    for (gsize i = 0; i < G_N_ELEMENTS(info->aliases) && info->aliases[i] != NULL; i++)
        json_array_add_string_element(aliases, info->aliases[i]);
    if (info->schedule != RV_SCHEDULE_AUTOMATIC)
        json_object_set_string_member(options, "scheduler", rv_schedule_info(info->schedule)->name);
    if (info->second_order)
        json_object_set_string_member(options, "second_order", "True");
    if (info->brownian)
        json_object_set_string_member(options, "brownian_noise", "True");
    if (info->uses_ensd)
        json_object_set_string_member(options, "uses_ensd", "True");
    if (info->discards_penultimate_sigma)
        json_object_set_string_member(options, "discard_next_to_last_sigma", "True");
    json_object_set_string_member(item, "name", info->label);
    json_object_set_array_member(item, "aliases", aliases);
    json_object_set_object_member(item, "options", options);
    json_array_add_object_element(list, item);
}

/* A1111's order: its fallback, the one that a request without a name gets, comes first. */
static const RvSamplerKind sampler_order[] = {
    RV_SAMPLER_DPMPP_2M,   RV_SAMPLER_DPMPP_SDE,    RV_SAMPLER_DPMPP_2M_SDE, RV_SAMPLER_DPMPP_2M_SDE_HEUN,
    RV_SAMPLER_DPMPP_2S_A, RV_SAMPLER_DPMPP_3M_SDE, RV_SAMPLER_EULER_A,      RV_SAMPLER_EULER,
};

void
rv_sdapi_samplers(const RvCall *call)
{
    JsonArray *list = json_array_new();
    bool done[RV_SAMPLER_COUNT] = { false };
    for (gsize i = 0; i < G_N_ELEMENTS(sampler_order); i++) {
        add_sampler(list, rv_sampler_info(sampler_order[i]));
        done[sampler_order[i]] = true;
    }
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++)
        if (!done[kind] && rv_sampler_info((RvSamplerKind)kind)->listed)
            add_sampler(list, rv_sampler_info((RvSamplerKind)kind));
    rv_reply_send(call, rv_reply_array(list));
}

void
rv_sdapi_schedulers(const RvCall *call)
{
    JsonArray *list = json_array_new();
    for (int kind = 0; kind < RV_SCHEDULE_COUNT; kind++) {
        const RvScheduleInfo *info = rv_schedule_info((RvScheduleKind)kind);
        if (!info->listed)
            continue;
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "name", info->name);
        json_object_set_string_member(item, "label", info->label);
        if (info->alias != NULL) {
            JsonArray *aliases = json_array_new();
            json_array_add_string_element(aliases, info->alias);
            json_object_set_array_member(item, "aliases", aliases);
        } else {
            json_object_set_null_member(item, "aliases");
        }
        json_object_set_double_member(item, "default_rho", info->default_rho);
        json_object_set_boolean_member(item, "need_inner_model", info->needs_model);
        json_array_add_object_element(list, item);
    }
    rv_reply_send(call, rv_reply_array(list));
}

void
rv_sdapi_latent_upscale_modes(const RvCall *call)
{
    static const char *const names[] = {
        "Latent",           "Latent (antialiased)",   "Latent (bicubic)", "Latent (bicubic antialiased)",
        "Latent (nearest)", "Latent (nearest-exact)",
    };
    JsonArray *list = json_array_new();
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "name", names[i]);
        json_array_add_object_element(list, item);
    }
    rv_reply_send(call, rv_reply_array(list));
}
