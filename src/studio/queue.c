#include "studio/queue.h"

#include <string.h>

typedef struct {
    char *name;
    GQueue jobs;     /* Job, in order */
    int passed_over; /* turns in a row that others took */
} User;

typedef struct {
    gint64 id;
    User *user;
    char *model;
    int batches;    /* that remain */
    double seconds; /* of one batch; 0: not known */
    int overtaken;  /* times by the user's later jobs */
    int working;    /* batches in work */
    GList link;     /* in the user's jobs */
} Job;

struct RvQueue {
    GHashTable *jobs; /* id -> Job */
    GQueue ring;      /* User with jobs, the one whose turn is next first */
};

static void
job_free(gpointer data)
{
    Job *job = data;
    g_free(job->model);
    g_free(job);
}

static void
user_free(gpointer data)
{
    User *user = data;
    g_free(user->name);
    g_free(user);
}

RvQueue *
rv_queue_new(void)
{
    RvQueue *queue = g_new0(RvQueue, 1);
    queue->jobs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, job_free);
    g_queue_init(&queue->ring);
    return queue;
}

void
rv_queue_free(RvQueue *queue)
{
    if (queue == NULL)
        return;
    g_queue_clear_full(&queue->ring, user_free);
    g_hash_table_unref(queue->jobs);
    g_free(queue);
}

static User *
find_user(const RvQueue *queue, const char *name)
{
    for (GList *link = queue->ring.head; link != NULL; link = link->next)
        if (strcmp(((User *)link->data)->name, name) == 0)
            return link->data;
    return NULL;
}

static Job *
find_job(const RvQueue *queue, gint64 id)
{
    return g_hash_table_lookup(queue->jobs, &id);
}

void
rv_queue_add(RvQueue *queue, gint64 id, const char *user, const char *model, int batches, double seconds)
{
    User *owner = find_user(queue, user);
    if (owner == NULL) {
        owner = g_new0(User, 1);
        owner->name = g_strdup(user);
        g_queue_push_tail(&queue->ring, owner);
    }
    Job *job = g_new0(Job, 1);
    *job =
        (Job) { .id = id, .user = owner, .model = g_strdup(model), .batches = batches, .seconds = seconds };
    job->link.data = job;
    g_queue_push_tail_link(&owner->jobs, &job->link);
    g_hash_table_insert(queue->jobs, &job->id, job);
}

void
rv_queue_remove(RvQueue *queue, gint64 id)
{
    Job *job = find_job(queue, id);
    if (job == NULL)
        return;
    User *user = job->user;
    g_queue_unlink(&user->jobs, &job->link);
    g_hash_table_remove(queue->jobs, &id);
    if (g_queue_is_empty(&user->jobs)) {
        g_queue_remove(&queue->ring, user);
        user_free(user);
    }
}

bool
rv_queue_has(const RvQueue *queue, gint64 id)
{
    return find_job(queue, id) != NULL;
}

void
rv_queue_move(RvQueue *queue, gint64 id, int place)
{
    Job *job = find_job(queue, id);
    if (job == NULL)
        return;
    g_queue_unlink(&job->user->jobs, &job->link);
    GList *before = g_queue_peek_nth_link(&job->user->jobs, (guint)MAX(place, 0));
    if (before == NULL)
        g_queue_push_tail_link(&job->user->jobs, &job->link);
    else
        g_queue_insert_before_link(&job->user->jobs, before, &job->link);
}

GArray *
rv_queue_list(const RvQueue *queue, const char *user)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint64));
    const User *owner = find_user(queue, user);
    for (GList *link = owner != NULL ? owner->jobs.head : NULL; link != NULL; link = link->next)
        g_array_append_val(ids, ((Job *)link->data)->id);
    return ids;
}

void
rv_queue_set_model(RvQueue *queue, gint64 id, const char *model)
{
    Job *job = find_job(queue, id);
    if (job == NULL || g_strcmp0(job->model, model) == 0)
        return;
    g_free(job->model);
    job->model = g_strdup(model);
}

void
rv_queue_set_seconds(RvQueue *queue, gint64 id, double seconds)
{
    Job *job = find_job(queue, id);
    if (job != NULL)
        job->seconds = seconds;
}

/* ---- turns ---- */

/* The user's job to draw: the first that is not in work (with `is_spare`: that has batches beside those in
 * work), or a later one whose model is loaded, unless the first was overtaken often enough. NULL: none. */
static Job *
pick_job(const User *user, bool is_spare, RvQueueIsLoaded is_loaded, void *user_data, bool *loaded)
{
    Job *first = NULL;
    *loaded = false;
    for (GList *link = user->jobs.head; link != NULL; link = link->next) {
        Job *job = link->data;
        if (is_spare ? job->working >= job->batches : job->working > 0)
            continue;
        first = first != NULL ? first : job;
        *loaded = is_loaded == NULL || is_loaded(job->model, user_data);
        if (*loaded)
            return job;
        if (first->overtaken >= RV_QUEUE_PATIENCE)
            break;
    }
    return first;
}

/* The rest of the user's jobs before `job` were overtaken by it. */
static void
begin(RvQueue *queue, Job *job)
{
    User *user = job->user;
    for (GList *link = job->link.prev; link != NULL; link = link->prev)
        ((Job *)link->data)->overtaken++;
    job->overtaken = 0;
    job->working++;
    user->passed_over = 0;
    g_queue_remove(&queue->ring, user);
    g_queue_push_tail(&queue->ring, user);
}

static Job *
pick(const RvQueue *queue, bool is_spare, RvQueueIsLoaded is_loaded, void *user_data)
{
    Job *first = NULL, *best = NULL;
    for (GList *link = queue->ring.head; link != NULL && best == NULL; link = link->next) {
        bool loaded;
        const User *user = link->data;
        Job *job = pick_job(user, is_spare, is_loaded, user_data, &loaded);
        if (job == NULL)
            continue;
        first = first != NULL ? first : job;
        if (loaded || user->passed_over >= RV_QUEUE_PATIENCE)
            best = job;
    }
    return best != NULL ? best : first;
}

gint64
rv_queue_take(RvQueue *queue, RvQueueIsLoaded is_loaded, void *user_data)
{
    Job *best = pick(queue, false, is_loaded, user_data);
    best = best != NULL ? best : pick(queue, true, is_loaded, user_data);
    if (best == NULL)
        return 0;
    for (GList *link = queue->ring.head; link->data != best->user; link = link->next)
        ((User *)link->data)->passed_over++;
    begin(queue, best);
    return best->id;
}

void
rv_queue_return(RvQueue *queue, gint64 id, bool done)
{
    Job *job = find_job(queue, id);
    if (job == NULL)
        return;
    job->working--;
    if (done && --job->batches <= 0)
        rv_queue_remove(queue, id);
}

/* ---- figures ---- */

RvQueueCount
rv_queue_count(const RvQueue *queue)
{
    RvQueueCount count = { 0 };
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, queue->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        count.jobs++;
        count.batches += ((const Job *)value)->batches;
    }
    return count;
}

int
rv_queue_user_jobs(const RvQueue *queue, const char *user)
{
    const User *owner = find_user(queue, user);
    return owner != NULL ? (int)owner->jobs.length : 0;
}

/* Seconds of the user's jobs until the end of `last` (NULL: of all); below 0: not known. */
static double
seconds_until(const User *user, const Job *last)
{
    double seconds = 0.0;
    for (GList *link = user->jobs.head; link != NULL; link = link->next) {
        const Job *job = link->data;
        if (job->seconds <= 0.0)
            return -1.0;
        seconds += job->seconds * job->batches;
        if (job == last)
            break;
    }
    return seconds;
}

/* While this user's work goes on, each other user gets as much time, or less if they have less to do. */
static double
seconds_of(const RvQueue *queue, const Job *job, int devices)
{
    double own = seconds_until(job->user, job), all = own;
    for (GList *link = queue->ring.head; link != NULL && all >= 0.0; link = link->next) {
        const User *other = link->data;
        double theirs = other != job->user ? seconds_until(other, NULL) : 0.0;
        all = theirs >= 0.0 && own >= 0.0 ? all + MIN(theirs, own) : -1.0;
    }
    return all >= 0.0 ? all / MAX(devices, 1) : -1.0;
}

static int
jobs_ahead(const RvQueue *queue, const Job *job)
{
    int index = 0, ahead = 0;
    bool is_before = true; /* users whose turn comes before this one's get one more in */
    for (GList *link = job->link.prev; link != NULL; link = link->prev)
        index++;
    for (GList *link = queue->ring.head; link != NULL; link = link->next) {
        const User *other = link->data;
        if (other == job->user)
            is_before = false;
        else
            ahead += MIN((int)other->jobs.length, index + (is_before ? 1 : 0));
    }
    return index + ahead;
}

bool
rv_queue_place(const RvQueue *queue, gint64 id, int devices, RvQueuePlace *place)
{
    const Job *job = find_job(queue, id);
    *place = (RvQueuePlace) { .seconds = -1.0 };
    if (job == NULL)
        return false;
    place->is_working = job->working > 0;
    place->ahead = jobs_ahead(queue, job);
    place->seconds = seconds_of(queue, job, devices);
    return true;
}
