#include "server/notify.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager under load reads a little later: "READY=1" must not be lost for that, nor the server wait long.
 */
enum { MOST_WAIT_US = 200 * 1000 };

bool
rv_notify(const char *state)
{
    const char *path = g_getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (path == NULL || (*path != '/' && *path != '@') || strlen(path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, strlen(path));
    if (*path == '@') /* the abstract name space */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    struct timeval wait = { .tv_usec = MOST_WAIT_US };
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    bool ok = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) >= 0;
    close(fd);
    return ok;
}

void
rv_notify_reloading(void)
{
    g_autofree char *state =
        g_strdup_printf("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());
    rv_notify(state);
}

gint64
rv_notify_watchdog_us(void)
{
    const char *interval = g_getenv("WATCHDOG_USEC"), *process = g_getenv("WATCHDOG_PID");
    if (interval == NULL || (process != NULL && g_ascii_strtoll(process, NULL, 10) != (gint64)getpid()))
        return 0;
    return MAX(g_ascii_strtoll(interval, NULL, 10) / 2, 0);
}
