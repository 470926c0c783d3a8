#include "server/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_VARIABLE "REVERIE_LISTENING_SOCKET"
#define TIME_VARIABLE "REVERIE_BEGAN_ANEW_US"
#define HISTORY_VARIABLE "REVERIE_RESTARTS" /* LOST:ASKED */

RvRestarts
rv_restart_take_history(void)
{
    RvRestarts restarts;
    const char *text = g_getenv(HISTORY_VARIABLE);
    if (text == NULL || sscanf(text, "%d:%d", &restarts.lost, &restarts.asked) != 2)
        restarts = (RvRestarts) { 0 };
    g_unsetenv(HISTORY_VARIABLE);
    return restarts;
}

/* As they were when the process began: parsing options changes argv. */
static char **
read_arguments(GError **error)
{
    g_autofree char *line = NULL;
    gsize length = 0;
    if (!g_file_get_contents("/proc/self/cmdline", &line, &length, error))
        return NULL;
    g_autoptr(GPtrArray) arguments = g_ptr_array_new();
    for (gsize at = 0; at < length; at += strlen(line + at) + 1)
        g_ptr_array_add(arguments, g_strdup(line + at));
    g_ptr_array_add(arguments, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&arguments), FALSE);
}

bool
rv_restart_exec(int listening, const RvRestarts *restarts, GError **error)
{
    static gint is_under_way;
    while (!g_atomic_int_compare_and_exchange(&is_under_way, 0, 1))
        pause();
    g_auto(GStrv) arguments = read_arguments(error);
    if (arguments == NULL)
        return false;
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    if (listening >= 0 && fcntl(listening, F_SETFD, 0) == 0) {
        g_autofree char *number = g_strdup_printf("%d", listening);
        g_setenv(SOCKET_VARIABLE, number, TRUE);
    }
    g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT, g_get_monotonic_time());
    g_setenv(TIME_VARIABLE, now, TRUE);
    g_autofree char *history = g_strdup_printf("%d:%d", restarts->lost, restarts->asked);
    g_setenv(HISTORY_VARIABLE, history, TRUE);
    g_unsetenv("REVERIE_CUDA_FAULT");
    g_unsetenv("REVERIE_CPU_FAULT");
    execv("/proc/self/exe", arguments);
    return rv_error_set(error, RV_ERROR_FAILED, arguments[0], "start it again",
                        "the server cannot begin anew: %s", g_strerror(errno));
}

gint64
rv_restart_age_us(void)
{
    const char *text = g_getenv(TIME_VARIABLE);
    gint64 now = g_get_monotonic_time(), began;
    return text != NULL && g_ascii_string_to_signed(text, 10, 0, now, &began, NULL) ? now - began
                                                                                    : G_MAXINT64;
}

int
rv_restart_take_socket(void)
{
    const char *text = g_getenv(SOCKET_VARIABLE);
    gint64 fd = -1;
    int listens = 0;
    socklen_t size = sizeof listens;
    if (text == NULL || !g_ascii_string_to_signed(text, 10, STDERR_FILENO + 1, G_MAXINT, &fd, NULL))
        return -1;
    g_unsetenv(SOCKET_VARIABLE);
    if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    return (int)fd;
}
