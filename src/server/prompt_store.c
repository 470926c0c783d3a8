#include "server/prompt_store.h"

#include <string.h>

#include "engine/prompter.h"
#include "server/log.h"

#define LOOK_US G_USEC_PER_SEC /* an idle thread looks after its device */
#define KEPT 64                /* prompts; one of SDXL takes 0.6 MB */

/* One prompt: being encoded while it has neither a conditioning nor an error. */
typedef struct {
    RvConditioning *conditioning;
    GError *error;
} Entry;

struct RvPromptStore {
    gatomicrefcount count; /* the owner and the thread */
    char *model, *models_dir, *vae, *device, *precision;
    const int *cancel;
    GMutex mutex; /* all below */
    GCond changed;
    GHashTable *entries; /* key -> Entry */
    GQueue recent;       /* keys, the least recently used first; borrowed from the table */
    GQueue wanted;       /* keys to encode; owned */
    GError *open_error;
    gint64 encode_us; /* of the last prompt */
    bool is_closed, has_ended, parks;
};

static void
entry_free(gpointer data)
{
    Entry *entry = data;
    rv_conditioning_free(entry->conditioning);
    g_clear_error(&entry->error);
    g_free(entry);
}

static void
store_unref(RvPromptStore *store)
{
    if (!g_atomic_ref_count_dec(&store->count))
        return;
    g_queue_clear(&store->recent);
    g_queue_clear_full(&store->wanted, g_free);
    g_hash_table_unref(store->entries);
    g_mutex_clear(&store->mutex);
    g_cond_clear(&store->changed);
    g_clear_error(&store->open_error);
    g_free(store->model);
    g_free(store->models_dir);
    g_free(store->vae);
    g_free(store->device);
    g_free(store->precision);
    g_free(store);
}

/* A key says the syntax first: the same text may mean two things. */
static char *
key_of(const char *text, bool compel)
{
    return g_strconcat(compel ? "e" : "p", text, NULL);
}

/* ---- the thread ---- */

/* The thread's. */
typedef struct {
    RvEngine *engine;
    RvPrompter *prompter;
} Encoder;

static bool
open_prompter(RvPromptStore *store, Encoder *e, GError **error)
{
    RvEngineOptions options = { store->device, store->precision, 1, store->cancel, true };
    RvPipelineOptions pipeline = { .vae = store->vae, .models_dir = store->models_dir };
    e->engine = rv_engine_open(&options, error);
    if (e->engine != NULL)
        e->prompter = rv_prompter_open(e->engine, store->model, &pipeline, error);
    return e->prompter != NULL;
}

static void
close_prompter(Encoder *e)
{
    g_clear_pointer(&e->prompter, rv_prompter_free);
    g_clear_pointer(&e->engine, rv_engine_close);
}

/* A device that was lost is opened again, once for a prompt. */
static RvConditioning *
encode(RvPromptStore *store, Encoder *e, const char *key, GError **error)
{
    RvPromptSyntax syntax = *key == 'e' ? RV_PROMPT_EXPLICIT : RV_PROMPT_PLAIN;
    GError *wrong = NULL;
    RvConditioning *conditioning =
        e->prompter != NULL ? rv_prompter_encode(e->prompter, key + 1, syntax, 1, &wrong) : NULL;
    if (e->prompter == NULL || g_error_matches(wrong, RV_ERROR, RV_ERROR_DEVICE)) {
        g_clear_error(&wrong);
        close_prompter(e);
        if (open_prompter(store, e, &wrong))
            conditioning = rv_prompter_encode(e->prompter, key + 1, syntax, 1, &wrong);
    }
    if (wrong != NULL)
        g_propagate_error(error, wrong);
    return conditioning;
}

/* Called and left with the mutex locked. */
static void
encode_next(RvPromptStore *store, Encoder *e)
{
    g_autofree char *key = g_queue_pop_head(&store->wanted);
    g_autoptr(GError) error = NULL;
    g_mutex_unlock(&store->mutex);
    gint64 begun_us = g_get_monotonic_time();
    RvConditioning *conditioning = encode(store, e, key, &error);
    gint64 encode_us = g_get_monotonic_time() - begun_us;
    if (conditioning == NULL)
        rv_log(RV_LOG_WARNING, "prompt-failed", "prompt", key + 1, "error", error->message, NULL);
    g_mutex_lock(&store->mutex);
    store->encode_us = encode_us;
    Entry *entry = g_hash_table_lookup(store->entries, key);
    if (entry != NULL) {
        entry->conditioning = conditioning;
        entry->error = g_steal_pointer(&error);
    } else {
        rv_conditioning_free(conditioning);
    }
    g_cond_broadcast(&store->changed);
}

/* Called and left with the mutex locked. */
static void
park(RvPromptStore *store, Encoder *e)
{
    store->parks = false;
    g_mutex_unlock(&store->mutex);
    close_prompter(e);
    g_mutex_lock(&store->mutex);
}

/* While it waits it lets a device go that others lost. Called and left with the mutex locked. */
static void
wait(RvPromptStore *store, Encoder *e)
{
    if (e->engine == NULL)
        g_cond_wait(&store->changed, &store->mutex);
    else if (!g_cond_wait_until(&store->changed, &store->mutex, g_get_monotonic_time() + LOOK_US) &&
             rv_device_is_lost(rv_engine_device(e->engine)))
        park(store, e);
}

static gpointer
run(gpointer data)
{
    RvPromptStore *store = data;
    g_autoptr(GError) error = NULL;
    Encoder e = { 0 };
    bool is_open = open_prompter(store, &e, &error);
    g_mutex_lock(&store->mutex);
    store->open_error = g_steal_pointer(&error);
    g_cond_broadcast(&store->changed);
    while (!store->is_closed) {
        if (store->parks)
            park(store, &e);
        else if (!is_open || g_queue_is_empty(&store->wanted))
            wait(store, &e);
        else
            encode_next(store, &e);
    }
    g_mutex_unlock(&store->mutex);
    close_prompter(&e);
    g_mutex_lock(&store->mutex);
    store->has_ended = true;
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->mutex);
    store_unref(store);
    return NULL;
}

RvPromptStore *
rv_prompt_store_new(const RvPromptStoreOptions *options)
{
    RvPromptStore *store = g_new0(RvPromptStore, 1);
    g_atomic_ref_count_init(&store->count);
    g_atomic_ref_count_inc(&store->count);
    store->model = g_strdup(options->model);
    store->models_dir = g_strdup(options->models_dir);
    store->vae = g_strdup(options->vae);
    store->device = g_strdup(options->device);
    store->precision = g_strdup(options->precision);
    store->cancel = options->cancel;
    g_mutex_init(&store->mutex);
    g_cond_init(&store->changed);
    g_queue_init(&store->recent);
    g_queue_init(&store->wanted);
    store->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free);
    g_thread_unref(g_thread_new("prompts", run, store));
    return store;
}

void
rv_prompt_store_park(RvPromptStore *store)
{
    if (store == NULL)
        return;
    g_mutex_lock(&store->mutex);
    store->parks = true;
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->mutex);
}

void
rv_prompt_store_close(RvPromptStore *store, gint64 deadline_us)
{
    if (store == NULL)
        return;
    g_mutex_lock(&store->mutex);
    store->is_closed = true;
    g_cond_broadcast(&store->changed);
    while (!store->has_ended && g_cond_wait_until(&store->changed, &store->mutex, deadline_us))
        continue;
    g_mutex_unlock(&store->mutex);
    store_unref(store);
}

/* ---- asking ---- */

/* Room for one more, if something may go: what is being encoded stays. */
static void
make_room(RvPromptStore *store)
{
    for (GList *link = store->recent.head; link != NULL && g_hash_table_size(store->entries) >= KEPT;) {
        GList *next = link->next;
        const Entry *entry = g_hash_table_lookup(store->entries, link->data);
        if (entry->conditioning != NULL || entry->error != NULL) {
            g_hash_table_remove(store->entries, link->data);
            g_queue_delete_link(&store->recent, link);
        }
        link = next;
    }
}

/* The entry, asked for if it is not there; the most recently used from now on. */
static Entry *
want(RvPromptStore *store, const char *text, bool compel)
{
    g_autofree char *key = key_of(text, compel);
    gpointer kept;
    Entry *entry;
    if (g_hash_table_lookup_extended(store->entries, key, &kept, (gpointer *)&entry)) {
        g_queue_remove(&store->recent, kept);
        g_queue_push_tail(&store->recent, kept);
        return entry;
    }
    make_room(store);
    entry = g_new0(Entry, 1);
    g_queue_push_tail(&store->wanted, g_strdup(key));
    g_queue_push_tail(&store->recent, key);
    g_hash_table_insert(store->entries, g_steal_pointer(&key), entry);
    g_cond_broadcast(&store->changed);
    return entry;
}

static RvConditioning *
get_locked(RvPromptStore *store, const RvParameters *parameters, GError **error)
{
    const RvConditioning *items[2 * RV_MAX_PROMPTS];
    float weights[2 * RV_MAX_PROMPTS];
    guint n = MIN(parameters->prompts->len, G_N_ELEMENTS(items));
    bool is_complete = true;
    if (store->open_error != NULL) {
        g_propagate_error(error, g_error_copy(store->open_error));
        return NULL;
    }
    for (guint i = 0; i < n; i++) {
        const RvWeightedPrompt *prompt = &g_array_index(parameters->prompts, RvWeightedPrompt, i);
        const Entry *entry = want(store, prompt->text, parameters->compel);
        if (entry->error != NULL) {
            g_propagate_error(error, g_error_copy(entry->error));
            return NULL;
        }
        is_complete &= entry->conditioning != NULL;
        items[i] = entry->conditioning;
        weights[i] = (float)prompt->weight;
    }
    if (!is_complete)
        return NULL;
    return n == 1 ? rv_conditioning_ref((RvConditioning *)items[0])
                  : rv_conditioning_mix(items, weights, (int)n);
}

RvConditioning *
rv_prompt_store_get(RvPromptStore *store, const RvParameters *parameters, GError **error)
{
    g_mutex_lock(&store->mutex);
    RvConditioning *conditioning = get_locked(store, parameters, error);
    g_mutex_unlock(&store->mutex);
    return conditioning;
}

RvConditioning *
rv_prompt_store_wait(RvPromptStore *store, const RvParameters *parameters, GError **error)
{
    GError *wrong = NULL;
    RvConditioning *conditioning;
    g_mutex_lock(&store->mutex);
    while ((conditioning = get_locked(store, parameters, &wrong)) == NULL && wrong == NULL &&
           !store->is_closed)
        g_cond_wait(&store->changed, &store->mutex);
    if (conditioning == NULL && wrong == NULL)
        rv_error_set(&wrong, RV_ERROR_CANCELLED, NULL, NULL, "the server is stopping");
    g_mutex_unlock(&store->mutex);
    if (wrong != NULL)
        g_propagate_error(error, wrong);
    return conditioning;
}

int
rv_prompt_store_pending(RvPromptStore *store)
{
    GHashTableIter iter;
    gpointer key, value;
    int pending = 0;
    g_mutex_lock(&store->mutex);
    g_hash_table_iter_init(&iter, store->entries);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Entry *entry = value;
        pending += entry->conditioning == NULL && entry->error == NULL;
    }
    g_mutex_unlock(&store->mutex);
    return pending;
}

gint64
rv_prompt_store_encode_us(RvPromptStore *store)
{
    g_mutex_lock(&store->mutex);
    gint64 encode_us = store->encode_us;
    g_mutex_unlock(&store->mutex);
    return encode_us;
}
