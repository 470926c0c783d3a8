/* commands.h - the commands of the one binary; each returns a process exit code. argv[0] is the command's
 * name. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    const char *name;
    const char *summary; /* one line for `reverie --help` */
    int (*run)(int argc, char **argv);
} RvCommand;

int rv_command_txt2img(int argc, char **argv);
int rv_command_img2img(int argc, char **argv);
int rv_command_video(int argc, char **argv);
int rv_command_serve(int argc, char **argv);
int rv_command_users(int argc, char **argv);
int rv_command_tokenize(int argc, char **argv);
int rv_command_models(int argc, char **argv);
int rv_command_bench(int argc, char **argv);

/* Parses argv with `groups` of GOptionEntry arrays (NULL-ended list); --help prints and exits 0. `arguments`
 * receives what is left after the options (free with g_strfreev). Wrong usage is RV_ERROR_USAGE. */
typedef struct {
    const char *title; /* heading in --help; NULL for the main options */
    const GOptionEntry *entries;
} RvOptionGroup;

bool rv_parse_options(int *argc, char ***argv, const char *usage, const char *summary, const char *examples,
                      const RvOptionGroup *groups, char ***arguments, GError **error);
