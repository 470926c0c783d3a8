/* Forms: the bytes are the body, its boundary is "edge". */
#include <stdlib.h>

#include "server/sdapi/form.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) body = g_bytes_new_static(data, size);
    g_autoptr(JsonObject) fields = rv_form_read("multipart/form-data; boundary=edge", body, &error);
    if ((fields == NULL) != (error != NULL))
        abort();
    if (fields == NULL)
        return 0;
    g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), fields);
    g_autofree char *text = json_to_string(node, FALSE);
    if (!g_utf8_validate(text, -1, NULL))
        abort();
    return 0;
}
