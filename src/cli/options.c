#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/console.h"

bool
rv_parse_options(int *argc, char ***argv, const char *usage, const char *summary, const char *examples,
                 const RvOptionGroup *groups, char ***arguments, GError **error)
{
    static gboolean asked; /* --help is answered before; this lists it */
    const GOptionEntry help_entries[] = {
        { "help", 'h', 0, G_OPTION_ARG_NONE, &asked, "Show this", NULL },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_summary(context, summary);
    g_option_context_set_description(context, examples);
    for (const RvOptionGroup *group = groups; group->entries != NULL; group++) {
        if (group->title == NULL) {
            g_option_context_add_main_entries(context, group->entries, NULL);
            continue;
        }
        g_autofree char *name = g_ascii_strdown(group->title, -1);
        GOptionGroup *option_group = g_option_group_new(name, group->title, group->title, NULL, NULL);
        g_option_group_add_entries(option_group, group->entries);
        g_option_context_add_group(context, option_group);
    }
    g_option_context_add_main_entries(context, help_entries, NULL);
    /* --help shows every group: a newcomer should not have to ask twice. */
    for (int i = 1; i < *argc; i++)
        if (strcmp((*argv)[i], "--help") == 0 || strcmp((*argv)[i], "-h") == 0) {
            char *help = g_option_context_get_help(context, FALSE, NULL);
            printf("%s", help);
            g_free(help);
            exit(rv_console_finish(0));
        }
    g_autofree char *command = g_strdup((*argv)[0]);
    g_autoptr(GError) wrong = NULL;
    if (!g_option_context_parse(context, argc, argv, &wrong)) {
        g_autofree char *todo = g_strdup_printf("see reverie %s --help", command);
        return rv_error_set(error, RV_ERROR_USAGE, command, todo, "%s", wrong->message);
    }
    *arguments = g_new0(char *, (gsize)*argc);
    for (int i = 1; i < *argc; i++)
        (*arguments)[i - 1] = g_strdup((*argv)[i]);
    return true;
}
