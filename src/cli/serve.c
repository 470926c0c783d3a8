/* serve.c - `reverie serve`. */
#include <string.h>

#include "cli/console.h"
#include "cli/generate.h"
#include "server/server.h"

static int
run(int argc, char **argv, RvServeOptions *options, const GOptionEntry *entries)
{
    const RvOptionGroup groups[] = { { NULL, entries }, { NULL, NULL } };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    g_autofree char *model = NULL;
    bool ok = rv_parse_options(
        &argc, &argv, "", "Serves the mirror: live video through the model, in a browser.",
        "Every option is also an environment variable (--udp-port is REVERIE_UDP_PORT) and a line of the "
        "file\n"
        "that --config names (udp-port=7861). A flag wins over the environment, the environment over the "
        "file.\n\n"
        "Examples:\n"
        "  reverie serve                                   the built-in model on "
        "http://127.0.0.1:7860/mirror\n"
        "  reverie serve --effect invert                   no model: to test networks and latency\n"
        "  reverie serve --listen 0.0.0.0:7860 --token SECRET-OF-YOURS --tls-self-signed\n",
        groups, &arguments, &error);
    if (ok && arguments[0] != NULL)
        ok = rv_error_set(&error, RV_ERROR_USAGE, arguments[0], "see reverie serve --help",
                          "an argument too many");
    ok = ok && rv_serve_options_finish(options, &error);
    if (ok && options->effect == NULL) {
        model = rv_find_model(options->model, options->models, &error);
        ok = model != NULL;
    }
    if (ok) { /* pictures can do without a default */
        options->folders = rv_model_folders(options->models);
        options->default_model =
            model != NULL ? g_strdup(model) : rv_find_model(options->model, options->models, NULL);
    }
    ok = ok && rv_server_run(options, model, &error);
    return ok ? 0 : rv_console_fail(error);
}

int
rv_command_serve(int argc, char **argv)
{
    RvServeOptions options = { 0 };
    g_autofree GOptionEntry *entries = rv_serve_options_entries(&options);
    int code = run(argc, argv, &options, entries);
    rv_serve_options_clear(&options);
    return code;
}
