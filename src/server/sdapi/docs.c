/* docs.c - the description of the routes for people: one plain page, made from the table that serves them. */
#include <string.h>

#include "server/sdapi/handlers.h"

static void
add_escaped(GString *page, const char *text)
{
    g_autofree char *escaped = g_markup_escape_text(text, -1);
    g_string_append(page, escaped);
}

static void
add_cell(GString *page, const char *element, const char *text)
{
    g_string_append_printf(page, "<%s>", element);
    add_escaped(page, text);
    g_string_append_printf(page, "</%s>", element);
}

static void
add_fields(GString *page, const RvFieldSet *set, const char *place)
{
    const RvField *field;
    if (set == NULL)
        return;
    g_string_append(page, "<table><caption>");
    add_escaped(page, place);
    g_string_append(page, "</caption><thead><tr><th>Field</th><th>Type</th><th>Default</th><th>Range</th>"
                          "<th>Meaning</th></tr></thead><tbody>");
    for (guint i = 0; (field = rv_field_at(set, i)) != NULL; i++) {
        g_autofree char *range =
            field->most > field->least
                ? g_strdup_printf("%s%.15g to %.15g", field->above ? "above " : "", field->least, field->most)
                : g_strdup("");
        bool is_picture = field->kind == RV_FIELD_PICTURE || field->kind == RV_FIELD_PICTURES;
        g_string_append(page, "<tr>");
        add_cell(page, "th", field->name);
        add_cell(page, "td",
                 is_picture                     ? "picture, base64"
                 : rv_field_type(field) != NULL ? rv_field_type(field)
                                                : "any");
        add_cell(page, "td", field->initial != NULL ? field->initial : "required");
        add_cell(page, "td", range);
        add_cell(page, "td", field->help);
        g_string_append(page, "</tr>");
    }
    g_string_append(page, "</tbody></table>");
}

static void
add_route(GString *page, const RvRoute *route)
{
    g_string_append(page, "<details><summary>");
    add_cell(page, "strong", route->socket != NULL ? "SOCKET" : route->methods);
    g_string_append_c(page, ' ');
    add_cell(page, "code", route->path);
    g_string_append(page, " <span>");
    add_escaped(page, route->help);
    g_string_append(page, "</span></summary>");
    add_fields(page, route->query_fields, "In the address");
    add_fields(page, route->body, "In the body, as JSON");
    if (route->auth == RV_AUTH_REQUIRED)
        g_string_append(page, "<p>Needs the log-in, where the server asks for one.</p>");
    g_string_append(page, "</details>\n");
}

void
rv_docs_get(const RvCall *call)
{
    g_autoptr(GString) page = g_string_new(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Reverie: API</title>"
        "<link rel=\"icon\" href=\"/static/common/icon.svg\" type=\"image/svg+xml\">"
        "<link rel=\"stylesheet\" href=\"/static/common/theme.css\">"
        "<link rel=\"stylesheet\" href=\"/static/common/docs.css\"></head><body><main><h1>API</h1>"
        "<p>Every address of this server, from the table that serves it. For programs: "
        "<a href=\"/openapi.json\">/openapi.json</a>.</p>\n");
    for (gsize t = 0; rv_route_tables[t] != NULL; t++)
        for (const RvRoute *route = rv_route_tables[t]; route->path != NULL; route++)
            add_route(page, route);
    g_string_append(page, "</main></body></html>\n");
    rv_answer_text(call, 200, "text/html; charset=utf-8", page->str);
}
