/* memory.c - how much memory there is, and what this server is. */
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "server/sdapi/handlers.h"
#include "server/server.h"

/* A line "NAME:   123 kB" of a file in /proc, in bytes; -1 without one. */
static gint64
line_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line != NULL ? g_ascii_strtoll(line + strlen(name), NULL, 10) * 1024 : -1;
}

/* The process's own share is "used", as A1111 reports it. */
static JsonObject *
host_memory(void)
{
    JsonObject *ram = json_object_new();
    g_autofree char *machine = NULL, *process = NULL;
    if (!g_file_get_contents("/proc/meminfo", &machine, NULL, NULL) ||
        !g_file_get_contents("/proc/self/status", &process, NULL, NULL)) {
        json_object_set_string_member(ram, "error", "/proc cannot be read");
        return ram;
    }
    gint64 total = line_of(machine, "MemTotal:"), used = line_of(process, "VmRSS:");
    json_object_set_int_member(ram, "free", total - used);
    json_object_set_int_member(ram, "used", used);
    json_object_set_int_member(ram, "total", total);
    return ram;
}

static JsonObject *
pair_of(gsize current, gsize peak)
{
    JsonObject *pair = json_object_new();
    json_object_set_int_member(pair, "current", (gint64)current);
    json_object_set_int_member(pair, "peak", (gint64)peak);
    return pair;
}

/* In A1111's words, torch's: what is reserved for models is in use; nothing is kept back. */
static JsonObject *
device_memory(const RvCall *call)
{
    JsonObject *cuda = json_object_new(), *system = json_object_new(), *events = json_object_new();
    RvStudioMemory memory;
    if (!rv_studio_memory(rv_server_studio(call->server), 0, &memory)) {
        json_object_unref(system);
        json_object_unref(events);
        json_object_set_string_member(cuda, "error", "unavailable");
        return cuda;
    }
    json_object_set_int_member(system, "free", memory.free_bytes);
    json_object_set_int_member(system, "used", memory.total_bytes - memory.free_bytes);
    json_object_set_int_member(system, "total", memory.total_bytes);
    json_object_set_int_member(events, "retries", 0);
    json_object_set_int_member(events, "oom", memory.failures);
    json_object_set_object_member(cuda, "system", system);
    json_object_set_object_member(cuda, "active", pair_of(memory.models, memory.peak));
    json_object_set_object_member(cuda, "allocated", pair_of(memory.models, memory.peak));
    json_object_set_object_member(cuda, "reserved", pair_of(memory.models, memory.peak));
    json_object_set_object_member(cuda, "inactive", pair_of(0, 0));
    json_object_set_object_member(cuda, "events", events);
    return cuda;
}

void
rv_sdapi_memory(const RvCall *call)
{
    JsonObject *memory = json_object_new();
    json_object_set_object_member(memory, "ram", host_memory());
    json_object_set_object_member(memory, "cuda", device_memory(call));
    rv_reply_send(call, rv_reply_object(memory));
}

void
rv_sdapi_sysinfo(const RvCall *call)
{
    JsonObject *info = json_object_new();
    struct utsname system;
    json_object_set_string_member(info, "Version", "reverie-" REVERIE_VERSION);
    if (uname(&system) == 0)
        json_object_set_string_member(info, "Platform", system.sysname);
    json_object_set_int_member(info, "CPU count", sysconf(_SC_NPROCESSORS_ONLN));
    json_object_set_object_member(info, "RAM", host_memory());
    rv_reply_send(call, rv_reply_object(info));
}

/* In A1111's shape; its parts are not timed here. */
void
rv_sdapi_profile_startup(const RvCall *call)
{
    JsonObject *profile = json_object_new(), *records = json_object_new();
    double seconds = rv_server_start_seconds(call->server);
    json_object_set_double_member(records, "until ready", seconds);
    json_object_set_double_member(profile, "total", seconds);
    json_object_set_object_member(profile, "records", records);
    rv_reply_send(call, rv_reply_object(profile));
}
