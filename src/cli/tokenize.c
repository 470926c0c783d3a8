/* tokenize.c - `reverie tokenize`: the tokens that a text becomes. */
#include <stdio.h>

#include "base/error.h"
#include "base/json_build.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "text/tokenizer.h"

static RvTokenizer *
open_tokenizer(GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    if (o->tokenizer != NULL)
        return rv_tokenizer_new_from_folder(o->tokenizer, error);
    if (o->model == NULL)
        return rv_tokenizer_new_builtin(error);
    g_autofree char *path = rv_find_model(o->model, o->models_dir, error);
    if (path == NULL)
        return NULL;
    g_autoptr(RvModel) model = rv_model_open(path, &(RvModelOptions) { .partial = true }, error);
    if (model == NULL)
        return NULL;
    const char *folder = rv_model_tokenizer(model, RV_PART_TEXT);
    if (folder == NULL) /* SDXL's refiner has the second one only */
        folder = rv_model_tokenizer(model, RV_PART_TEXT2);
    return folder != NULL ? rv_tokenizer_new_from_folder(folder, error) : rv_tokenizer_new_builtin(error);
}

static bool
print_ids(const RvTokenizer *tokenizer, const GArray *ids, GError **error)
{
    if (!rv_generate_options.json) {
        for (guint i = 0; i < ids->len; i++) {
            gint32 id = g_array_index(ids, gint32, i);
            g_autofree char *text = rv_tokenizer_decode(tokenizer, &id, 1);
            printf("%6d  %s\n", id, text);
        }
        printf("%u tokens; a chunk holds 75 between its start and its end\n", ids->len - 2);
        return true;
    }
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_begin_array(json, "ids");
    for (guint i = 0; i < ids->len; i++)
        json_builder_add_int_value(json, g_array_index(ids, gint32, i));
    json_builder_end_array(json);
    json_builder_end_object(json);
    return rv_console_print_json(json, false, error);
}

static bool
tokenize(GError **error)
{
    if (rv_generate_options.prompt == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--prompt", "add -p TEXT", "there is no text");
    g_autoptr(RvTokenizer) tokenizer = open_tokenizer(error);
    if (tokenizer == NULL)
        return false;
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    gint32 bos = rv_tokenizer_bos(tokenizer), eos = rv_tokenizer_eos(tokenizer);
    g_array_append_val(ids, bos);
    rv_tokenizer_encode(tokenizer, rv_generate_options.prompt, ids);
    g_array_append_val(ids, eos);
    return print_ids(tokenizer, ids, error);
}

int
rv_command_tokenize(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { "prompt", 'p', 0, G_OPTION_ARG_STRING, &rv_generate_options.prompt,
          "The text, taken as it is: no weights", "TEXT" },
        { "model", 0, 0, G_OPTION_ARG_FILENAME, &rv_generate_options.model,
          "Whose tokenizer (default: CLIP's standard one)", "M" },
        { "models", 0, 0, G_OPTION_ARG_FILENAME, &rv_generate_options.models_dir,
          "Where names of models are looked up", "DIR" },
        { "tokenizer", 0, 0, G_OPTION_ARG_FILENAME, &rv_generate_options.tokenizer,
          "A folder with vocab.json and merges.txt", "DIR" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &rv_generate_options.json,
          "Print {\"ids\":[...]}, start and end included", NULL },
        { 0 },
    };
    const RvOptionGroup groups[] = { { NULL, entries }, { NULL, NULL } };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    rv_generate_options_init();
    bool ok = rv_parse_options(&argc, &argv, "-p TEXT", "Shows the tokens that a text becomes.",
                               "Example:\n  reverie tokenize -p \"a red apple\" --json\n", groups, &arguments,
                               &error);
    if (ok && arguments[0] != NULL)
        ok = rv_error_set(&error, RV_ERROR_USAGE, arguments[0], "put quotes around the text and -p before it",
                          "an argument too many");
    ok = ok && tokenize(&error);
    rv_generate_options_clear();
    return ok ? 0 : rv_console_fail(error);
}
