#include "engine/turns.h"

/* How soon a step that waits sees that it was cancelled: nobody wakes it for that. */
#define LOOK_US 20000
/* Shorter waits are nobody's concern; longer ones are told for a moment after they ended. */
#define LONG_US 20000
#define TOLD_US (G_USEC_PER_SEC / 2)

struct RvTurns {
    gatomicrefcount count;
    GMutex mutex;
    GCond changed;
    RvShare share;
    gint64 waiting_since_us; /* a step; 0: none waits */
    gint64 waited_until_us;  /* a step waited long until then */
};

struct RvTurnsTable {
    RvShareRule rule;
    GMutex mutex;
    GHashTable *turns; /* device -> RvTurns */
};

RvTurns *
rv_turns_ref(RvTurns *turns)
{
    if (turns != NULL)
        g_atomic_ref_count_inc(&turns->count);
    return turns;
}

void
rv_turns_unref(RvTurns *turns)
{
    if (turns == NULL || !g_atomic_ref_count_dec(&turns->count))
        return;
    g_mutex_clear(&turns->mutex);
    g_cond_clear(&turns->changed);
    g_free(turns);
}

RvTurnsTable *
rv_turns_table_new(RvShareRule rule)
{
    RvTurnsTable *table = g_new0(RvTurnsTable, 1);
    table->rule = rule;
    table->turns = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)rv_turns_unref);
    g_mutex_init(&table->mutex);
    return table;
}

void
rv_turns_table_free(RvTurnsTable *table)
{
    if (table == NULL)
        return;
    g_hash_table_unref(table->turns);
    g_mutex_clear(&table->mutex);
    g_free(table);
}

RvTurns *
rv_turns_table_get(RvTurnsTable *table, const char *device)
{
    if (table == NULL)
        return NULL;
    g_mutex_lock(&table->mutex);
    RvTurns *turns = g_hash_table_lookup(table->turns, device);
    if (turns == NULL) {
        turns = g_new0(RvTurns, 1);
        g_atomic_ref_count_init(&turns->count);
        g_mutex_init(&turns->mutex);
        g_cond_init(&turns->changed);
        rv_share_init(&turns->share, table->rule);
        g_hash_table_insert(table->turns, g_strdup(device), turns);
    }
    g_mutex_unlock(&table->mutex);
    return turns;
}

/* ---- frames ---- */

bool
rv_turns_try_frame(RvTurns *turns)
{
    if (turns == NULL)
        return true;
    g_mutex_lock(&turns->mutex);
    gint64 now = g_get_monotonic_time();
    bool may = rv_share_may_frame(&turns->share, now);
    if (may) {
        rv_share_ask_frame(&turns->share, now);
        rv_share_begin_frame(&turns->share);
    }
    g_mutex_unlock(&turns->mutex);
    return may;
}

void
rv_turns_begin_frame(RvTurns *turns)
{
    if (turns == NULL)
        return;
    g_mutex_lock(&turns->mutex);
    rv_share_ask_frame(&turns->share, g_get_monotonic_time());
    while (!rv_share_may_frame(&turns->share, g_get_monotonic_time()))
        g_cond_wait(&turns->changed, &turns->mutex);
    rv_share_begin_frame(&turns->share);
    g_mutex_unlock(&turns->mutex);
}

void
rv_turns_end_frame(RvTurns *turns)
{
    if (turns == NULL)
        return;
    g_mutex_lock(&turns->mutex);
    rv_share_end_frame(&turns->share, g_get_monotonic_time());
    g_cond_broadcast(&turns->changed);
    g_mutex_unlock(&turns->mutex);
}

/* ---- steps ---- */

static bool
is_set(const int *cancel)
{
    return cancel != NULL && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0;
}

/* With the mutex locked. */
static bool
wait_for_step(RvTurns *turns, const int *cancel)
{
    gint64 now = g_get_monotonic_time(), since = now;
    while (!is_set(cancel) && !rv_share_may_step(&turns->share, now)) {
        turns->waiting_since_us = since;
        g_cond_wait_until(&turns->changed, &turns->mutex,
                          MIN(rv_share_again_us(&turns->share, now), now + LOOK_US));
        now = g_get_monotonic_time();
    }
    turns->waiting_since_us = 0;
    if (now - since > LONG_US)
        turns->waited_until_us = now;
    return !is_set(cancel);
}

bool
rv_turns_begin_step(RvTurns *turns, const int *cancel)
{
    if (turns == NULL)
        return !is_set(cancel);
    g_mutex_lock(&turns->mutex);
    rv_share_ask_step(&turns->share);
    bool begins = wait_for_step(turns, cancel);
    if (begins)
        rv_share_begin_step(&turns->share, g_get_monotonic_time());
    else
        rv_share_give_up_step(&turns->share);
    g_cond_broadcast(&turns->changed);
    g_mutex_unlock(&turns->mutex);
    return begins;
}

void
rv_turns_end_step(RvTurns *turns)
{
    if (turns == NULL)
        return;
    g_mutex_lock(&turns->mutex);
    rv_share_end_step(&turns->share, g_get_monotonic_time());
    g_cond_broadcast(&turns->changed);
    g_mutex_unlock(&turns->mutex);
}

bool
rv_turns_is_held_up(RvTurns *turns)
{
    if (turns == NULL)
        return false;
    g_mutex_lock(&turns->mutex);
    gint64 now = g_get_monotonic_time();
    bool is_live = rv_share_is_live(&turns->share, now);
    bool waits = turns->waiting_since_us > 0 && now - turns->waiting_since_us > LONG_US;
    bool waited = turns->waited_until_us > 0 && now - turns->waited_until_us < TOLD_US;
    g_mutex_unlock(&turns->mutex);
    return is_live && (waits || waited);
}
