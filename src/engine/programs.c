#include "engine/programs.h"

#include <string.h>

typedef struct {
    char *key;
    RvProgram *program;
} Entry;

struct RvPrograms {
    GQueue entries; /* Entry, most recently used first */
    guint capacity;
};

RvPrograms *
rv_programs_new(int capacity)
{
    RvPrograms *programs = g_new0(RvPrograms, 1);
    programs->capacity = (guint)capacity;
    return programs;
}

static void
entry_free(Entry *entry)
{
    rv_program_free(entry->program);
    g_free(entry->key);
    g_free(entry);
}

void
rv_programs_free(RvPrograms *programs)
{
    if (programs == NULL)
        return;
    g_queue_clear_full(&programs->entries, (GDestroyNotify)entry_free);
    g_free(programs);
}

RvProgram *
rv_programs_find(RvPrograms *programs, const char *key)
{
    for (GList *link = programs->entries.head; link != NULL; link = link->next) {
        Entry *entry = link->data;
        if (strcmp(entry->key, key) != 0)
            continue;
        g_queue_unlink(&programs->entries, link);
        g_queue_push_head_link(&programs->entries, link);
        return entry->program;
    }
    return NULL;
}

RvProgram *
rv_programs_add(RvPrograms *programs, const char *key, RvProgram *program, GError **error)
{
    if (!rv_program_compile(program, error)) {
        rv_program_free(program);
        return NULL;
    }
    while (programs->entries.length >= programs->capacity)
        entry_free(g_queue_pop_tail(&programs->entries));
    Entry *entry = g_new(Entry, 1);
    *entry = (Entry) { g_strdup(key), program };
    g_queue_push_head(&programs->entries, entry);
    return program;
}
