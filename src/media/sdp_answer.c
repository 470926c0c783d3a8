#include "media/sdp_answer.h"

#include <string.h>

#include <gio/gio.h>

#define HOST_PREFERENCE 126u /* of host candidates: RFC 8445, 5.1.2.2 */

/* 0 if it is no port. */
static int
read_port(const char *text)
{
    char *end;
    guint64 port = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
    return port > 0 && port <= 65535 && *end == '\0' ? (int)port : 0;
}

static bool
is_address(const char *text)
{
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(text);
    return address != NULL;
}

bool
rv_sdp_host_parse(const char *text, RvSdpHost *host, GError **error)
{
    const char *bracket = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *colon = bracket != NULL ? (bracket[1] == ':' ? bracket + 1 : NULL) : strrchr(text, ':');
    if (bracket == NULL && is_address(text)) /* also of IPv6, without brackets */
        colon = NULL;
    g_autofree char *address = bracket != NULL ? g_strndup(text + 1, (gsize)(bracket - text - 1))
                               : colon != NULL ? g_strndup(text, (gsize)(colon - text))
                                               : g_strdup(text);
    bool is_whole = bracket == NULL || bracket[1] == '\0' || colon != NULL;
    int port = colon != NULL ? read_port(colon + 1) : 0;
    if (!is_whole || (colon != NULL && port == 0) || !is_address(address))
        return rv_error_set(error, RV_ERROR_USAGE, "--public-address",
                            "write an address, or ADDRESS:PORT where the port is mapped to another",
                            "\"%s\" is no address", text);
    *host = (RvSdpHost) { g_steal_pointer(&address), port };
    return true;
}

static void
read_candidate(const char *line, RvSdpAgent *agent)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 7);
    if (g_strv_length(words) == 7 && g_ascii_strcasecmp(words[2], "udp") == 0 &&
        strcmp(words[4], "127.0.0.1") == 0)
        agent->port = read_port(words[5]);
}

bool
rv_sdp_read_agent(const char *answer, RvSdpAgent *agent)
{
    *agent = (RvSdpAgent) { 0 };
    g_auto(GStrv) lines = g_strsplit(answer, "\n", -1);
    for (int i = 0; lines[i] != NULL; i++) {
        const char *line = g_strchomp(lines[i]);
        if (g_str_has_prefix(line, "a=ice-ufrag:") && agent->ufrag == NULL)
            agent->ufrag = g_strdup(strchr(line, ':') + 1);
        else if (g_str_has_prefix(line, "a=ice-pwd:") && agent->password == NULL)
            agent->password = g_strdup(strchr(line, ':') + 1);
        else if (g_str_has_prefix(line, "a=candidate:"))
            read_candidate(line, agent);
    }
    if (agent->ufrag != NULL && agent->password != NULL && agent->port != 0)
        return true;
    rv_sdp_agent_clear(agent);
    return false;
}

void
rv_sdp_agent_clear(RvSdpAgent *agent)
{
    g_clear_pointer(&agent->ufrag, g_free);
    g_clear_pointer(&agent->password, g_free);
}

static void
append_hosts(GString *to, const RvSdpHost *hosts, gsize count)
{
    for (gsize i = 0; i < count; i++)
        g_string_append_printf(to, "a=candidate:%" G_GSIZE_FORMAT " 1 UDP %u %s %d typ host\r\n", i + 1,
                               HOST_PREFERENCE << 24 | (guint)(G_MAXUINT16 - i) << 8 | 255u, hosts[i].address,
                               hosts[i].port);
}

char *
rv_sdp_replace_candidates(const char *answer, const RvSdpHost *hosts, gsize count)
{
    GString *text = g_string_new(NULL);
    bool are_told = false;
    g_auto(GStrv) lines = g_strsplit(answer, "\n", -1);
    for (int i = 0; lines[i] != NULL; i++) {
        g_strchomp(lines[i]);
        bool is_candidate = g_str_has_prefix(lines[i], "a=candidate:");
        if (is_candidate && !are_told)
            append_hosts(text, hosts, count);
        are_told = are_told || is_candidate;
        if (!is_candidate && lines[i][0] != '\0')
            g_string_append_printf(text, "%s\r\n", lines[i]);
    }
    return g_string_free(text, FALSE);
}

/* "candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ host ...": the copy needs a foundation
 * of its own, and comes after the original in priority. */
static void
append_public(GString *to, const char *line, const char *address)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    if (g_strv_length(words) < 8 || strcmp(words[7], "host") != 0 || strchr(words[4], ':') != NULL)
        return;
    guint64 priority = g_ascii_strtoull(words[3], NULL, 10);
    g_string_append_printf(to, "%s9 %s %s %" G_GUINT64_FORMAT " %s", words[0], words[1], words[2],
                           priority > 1 ? priority - 1 : 1, address);
    for (int i = 5; words[i] != NULL; i++)
        g_string_append_printf(to, " %s", words[i]);
    g_string_append(to, "\r\n");
}

char *
rv_sdp_add_public_address(const char *answer, const char *address)
{
    GString *text = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(answer, "\n", -1);
    for (int i = 0; lines[i] != NULL; i++) {
        g_strchomp(lines[i]);
        if (lines[i][0] == '\0')
            continue;
        g_string_append_printf(text, "%s\r\n", lines[i]);
        if (g_str_has_prefix(lines[i], "a=candidate:"))
            append_public(text, lines[i], address);
    }
    return g_string_free(text, FALSE);
}
