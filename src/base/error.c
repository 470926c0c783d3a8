#include "base/error.h"

#include <errno.h>

G_DEFINE_QUARK(reverie - error, rv_error)

bool
rv_error_set(GError **error, RvError code, const char *where, const char *todo, const char *what_format, ...)
{
    if (error == NULL)
        return false;
    va_list args;
    va_start(args, what_format);
    g_autofree char *what = g_strdup_vprintf(what_format, args);
    va_end(args);

    GString *text = g_string_new(what);
    if (where != NULL)
        g_string_append_printf(text, " (%s)", where);
    if (todo != NULL)
        g_string_append_printf(text, ": %s", todo);
    for (char *c = text->str; *c != '\0'; c++)
        if (g_ascii_iscntrl(*c)) /* what files say may go to a terminal */
            *c = ' ';
    g_set_error_literal(error, RV_ERROR, (int)code, text->str);
    g_string_free(text, TRUE);
    return false;
}

RvError
rv_error_of_open(int number)
{
    static const int names[] = { ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES, EPERM };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (number == names[i])
            return RV_ERROR_NOT_FOUND;
    return RV_ERROR_IO;
}

int
rv_error_exit_code(const GError *error)
{
    if (error == NULL)
        return 0;
    if (error->domain != RV_ERROR)
        return 1;
    switch ((RvError)error->code) {
    case RV_ERROR_USAGE:
        return 2;
    case RV_ERROR_INVALID:
    case RV_ERROR_NOT_FOUND:
    case RV_ERROR_UNSUPPORTED:
        return 3;
    case RV_ERROR_NO_MEMORY:
    case RV_ERROR_DEVICE:
        return 4;
    case RV_ERROR_CANCELLED:
        return 5;
    case RV_ERROR_FAILED:
    case RV_ERROR_BUSY:
    case RV_ERROR_IO:
        return 1;
    }
    return 1;
}
