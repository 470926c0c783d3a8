/* Any JSON as a job: what is read is written and read again unchanged, and a copy says the same. */
#include <string.h>

#include "server/json_text.h"
#include "studio/job.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static bool
read_input(const char *text, RvStudioInput *input, void *user, GError **error)
{
    g_free(input->path);
    input->path = g_strdup(text);
    return true;
}

static char *
write_input(const RvStudioInput *input, void *user)
{
    return g_strdup(input->path);
}

static char *
write_job(const RvStudioJob *job)
{
    g_autoptr(JsonNode) node = rv_studio_job_to_json(job, write_input, NULL);
    return json_to_string(node, FALSE);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(JsonObject) object = rv_json_parse_object((const char *)data, size, NULL);
    g_autoptr(RvStudioJob) job =
        object != NULL ? rv_studio_job_from_json(object, read_input, NULL, NULL) : NULL;
    if (job == NULL)
        return 0;
    g_autofree char *text = write_job(job);
    g_autoptr(RvStudioJob) copy = rv_studio_job_copy(job);
    g_autofree char *copied = write_job(copy);
    g_assert_cmpstr(copied, ==, text);
    g_autoptr(JsonObject) again = rv_json_parse_object(text, strlen(text), NULL);
    g_assert(again != NULL);
    g_autoptr(RvStudioJob) back = rv_studio_job_from_json(again, read_input, NULL, NULL);
    g_assert(back != NULL);
    g_autofree char *second = write_job(back);
    g_assert_cmpstr(second, ==, text);
    return 0;
}
