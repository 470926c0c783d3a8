/* users.c - `reverie users`: who may log in to a server. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "server/auth.h"
#include "server/password.h"
#include "store/files.h"

#define MIN_PASSWORD 8

static char *users_path;
static gboolean is_admin;

static const GOptionEntry entries[] = {
    { "users", 'u', 0, G_OPTION_ARG_FILENAME, &users_path, "The file, as for reverie serve --users", "FILE" },
    { "admin", 0, 0, G_OPTION_ARG_NONE, &is_admin, "add: may see the load and set limits", NULL },
    { 0 },
};

/* One line of standard input, unseen on a terminal. */
static bool
read_password(char **password, GError **error)
{
    struct termios before, hidden;
    bool is_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    char line[600];
    if (is_terminal) {
        hidden = before;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        fputs("Password: ", stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    char *read = fgets(line, sizeof line, stdin);
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (read != NULL)
        line[strcspn(line, "\r\n")] = '\0';
    if (read == NULL || strlen(line) < MIN_PASSWORD || !g_utf8_validate(line, -1, NULL))
        return rv_error_set(error, RV_ERROR_USAGE, "standard input", "type it on one line",
                            "a password of %d characters or more is needed", MIN_PASSWORD);
    *password = g_strdup(line);
    return true;
}

/* The file's lines; none when it does not exist yet. */
static bool
read_lines(char ***lines, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) wrong = NULL;
    if (!g_file_get_contents(users_path, &text, NULL, &wrong) &&
        !g_error_matches(wrong, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, users_path, "check --users",
                            "cannot read the users: %s", wrong->message);
    *lines = g_strsplit(text != NULL ? g_strchomp(text) : "", "\n", -1);
    return true;
}

static bool
line_is_of(const char *line, const char *name)
{
    g_autofree char *found = NULL, *secret = NULL;
    bool admin;
    return rv_auth_parse_line(line, &found, &secret, &admin) && g_strcmp0(found, name) == 0;
}

/* All lines but those of `name`, then `added` (may be NULL). */
static bool
write_without(char **lines, const char *name, const char *added, bool *had, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    *had = false;
    for (char **line = lines; *line != NULL; line++) {
        bool is_of = line_is_of(*line, name);
        *had |= is_of;
        if (!is_of && **line != '\0')
            g_string_append_printf(text, "%s\n", *line);
    }
    if (added != NULL)
        g_string_append_printf(text, "%s\n", added);
    else if (!*had)
        return rv_error_set(error, RV_ERROR_NOT_FOUND, name, "see reverie users list",
                            "there is no such user");
    g_autofree char *path = g_canonicalize_filename(users_path, NULL);
    g_autoptr(GBytes) bytes = g_bytes_new(text->str, text->len);
    return rv_file_write(path, bytes, error);
}

static bool
add(const char *name, GError **error)
{
    g_autofree char *password = NULL, *hash = NULL, *line = NULL;
    g_auto(GStrv) lines = NULL;
    bool had;
    if (!rv_auth_name_is_plain(name))
        return rv_error_set(error, RV_ERROR_USAGE, name, "use letters, digits and . _ @ -",
                            "this is no name of a user");
    if (!read_lines(&lines, error) || !read_password(&password, error))
        return false;
    hash = rv_password_hash(password, error);
    if (hash == NULL)
        return false;
    line = g_strdup_printf("%s:%s%s", name, hash, is_admin ? ":admin" : "");
    return write_without(lines, name, line, &had, error);
}

static bool
remove_user(const char *name, GError **error)
{
    g_auto(GStrv) lines = NULL;
    bool had;
    return read_lines(&lines, error) && write_without(lines, name, NULL, &had, error);
}

static bool
list(GError **error)
{
    g_auto(GStrv) lines = NULL;
    if (!read_lines(&lines, error))
        return false;
    for (guint i = 0; lines[i] != NULL; i++) {
        g_autofree char *name = NULL, *secret = NULL, *where = g_strdup_printf("%s:%u", users_path, i + 1);
        bool admin;
        if (!rv_auth_parse_line(lines[i], &name, &secret, &admin))
            return rv_error_set(error, RV_ERROR_INVALID, where, "write name:hash", "this line is no user");
        if (name != NULL)
            printf("%s%s\n", name, admin ? " (administrator)" : "");
    }
    return true;
}

static bool
run(char **arguments, GError **error)
{
    guint n = g_strv_length(arguments);
    if (users_path == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--users", "add --users FILE",
                            "it is not said in which file");
    if (n == 1 && strcmp(arguments[0], "list") == 0)
        return list(error);
    if (n == 2 && strcmp(arguments[0], "add") == 0)
        return add(arguments[1], error);
    if (n == 2 && strcmp(arguments[0], "remove") == 0)
        return remove_user(arguments[1], error);
    return rv_error_set(error, RV_ERROR_USAGE, n > 0 ? arguments[0] : "users",
                        "use add NAME, remove NAME or list", "it is not said what to do");
}

int
rv_command_users(int argc, char **argv)
{
    const RvOptionGroup groups[] = { { NULL, entries }, { NULL, NULL } };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    bool ok =
        rv_parse_options(&argc, &argv, "add NAME|remove NAME|list --users FILE",
                         "Says who may log in to a server. Passwords are read from standard input and kept "
                         "as hashes.",
                         "Examples:\n"
                         "  reverie users add anna --users users --admin\n"
                         "  reverie serve --users users\n",
                         groups, &arguments, &error) &&
        run(arguments, &error);
    return ok ? 0 : rv_console_fail(error);
}
