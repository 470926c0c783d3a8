#include "server/guard.h"

#include <gio/gio.h>
#include <string.h>

struct RvGuard {
    char **allowed; /* lower case; NULL-terminated */
    bool allows_any;
};

RvGuard *
rv_guard_new(const char *allowed)
{
    RvGuard *guard = g_new0(RvGuard, 1);
    g_autofree char *lower = g_ascii_strdown(allowed != NULL ? allowed : "", -1);
    guard->allowed = g_strsplit(lower, ",", -1);
    for (char **name = guard->allowed; *name != NULL; name++)
        guard->allows_any |= strcmp(g_strstrip(*name), "*") == 0;
    return guard;
}

void
rv_guard_free(RvGuard *guard)
{
    if (guard == NULL)
        return;
    g_strfreev(guard->allowed);
    g_free(guard);
}

/* The name in "name:port" or "[v6]:port", lower case, without brackets. */
static char *
name_of(const char *host)
{
    const char *end = *host == '[' ? strchr(host, ']') : strchr(host, ':');
    const char *begin = *host == '[' ? host + 1 : host;
    gsize length = end != NULL ? (gsize)(end - begin) : strlen(begin);
    return g_ascii_strdown(begin, (gssize)length);
}

static bool
name_is_allowed(const RvGuard *guard, const char *name)
{
    return *name != '\0' && (guard->allows_any || g_strv_contains((const char *const *)guard->allowed, name));
}

bool
rv_guard_host_is_ours(const RvGuard *guard, const char *host)
{
    if (host == NULL)
        return false;
    g_autofree char *name = name_of(host);
    g_autofree char *own = g_ascii_strdown(g_get_host_name(), -1), *local = g_strconcat(own, ".local", NULL);
    return strcmp(name, "localhost") == 0 || g_str_has_suffix(name, ".localhost") || strcmp(name, own) == 0 ||
           strcmp(name, local) == 0 || g_hostname_is_ip_address(name) || name_is_allowed(guard, name);
}

static const char *
host_of_origin(const char *origin)
{
    const char *host = strstr(origin, "://");
    return host != NULL ? host + strlen("://") : NULL;
}

bool
rv_guard_origin_is_ours(const RvGuard *guard, const char *origin, const char *host)
{
    if (origin == NULL)
        return true;
    const char *from = host_of_origin(origin);
    if (from == NULL)
        return false;
    return (host != NULL && g_ascii_strcasecmp(from, host) == 0) || rv_guard_origin_is_allowed(guard, origin);
}

bool
rv_guard_origin_is_allowed(const RvGuard *guard, const char *origin)
{
    if (origin != NULL && guard->allows_any) /* "null", too: pages from files */
        return true;
    const char *from = origin != NULL ? host_of_origin(origin) : NULL;
    if (from == NULL)
        return false;
    g_autofree char *name = name_of(from);
    return name_is_allowed(guard, name);
}

bool
rv_guard_allows_some(const RvGuard *guard)
{
    return guard->allowed[0] != NULL && *guard->allowed[0] != '\0';
}
