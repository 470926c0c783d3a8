/* queue.h - whose batch is drawn next: plain data, no threads, no clock.
 *
 * Users take turns, one batch each. To keep models from being changed at every turn, a user whose job can be
 * drawn with a model that is loaded may be taken before others, and within a user's jobs one may overtake;
 * but nobody is passed over more than RV_QUEUE_PATIENCE times in a row, and then it is their turn whatever is
 * loaded. Several devices work on several jobs; a device that none of these is left for takes a
 * further batch of a job in work. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_QUEUE_PATIENCE 8

typedef struct RvQueue RvQueue;

RvQueue *rv_queue_new(void);
void rv_queue_free(RvQueue *queue); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvQueue, rv_queue_free)

/* At the end of the user's jobs. `model` says which jobs share a loaded model; `seconds`: of each of its
 * `batches`, for the estimates; 0: not known. Ids are unique. */
void rv_queue_add(RvQueue *queue, gint64 id, const char *user, const char *model, int batches,
                  double seconds);
void rv_queue_remove(RvQueue *queue, gint64 id); /* also one in work; nothing if it is not there */
bool rv_queue_has(const RvQueue *queue, gint64 id);
/* To `place` (0: first) among the user's jobs; jobs in work count too. */
void rv_queue_move(RvQueue *queue, gint64 id, int place);
/* The user's jobs in order: ids. */
GArray *rv_queue_list(const RvQueue *queue, const char *user);
void rv_queue_set_model(RvQueue *queue, gint64 id, const char *model);
void rv_queue_set_seconds(RvQueue *queue, gint64 id, double seconds);

/* The job whose next batch a device should draw, now in work; 0: there is none. `is_loaded` may be NULL. */
typedef bool (*RvQueueIsLoaded)(const char *model, void *user_data);
gint64 rv_queue_take(RvQueue *queue, RvQueueIsLoaded is_loaded, void *user_data);
/* The batch in work ended; if it is `done` one batch less remains, and the job is gone after its last. */
void rv_queue_return(RvQueue *queue, gint64 id, bool done);

typedef struct {
    int jobs, batches; /* all that remain, of everybody */
} RvQueueCount;
RvQueueCount rv_queue_count(const RvQueue *queue);
int rv_queue_user_jobs(const RvQueue *queue, const char *user);

typedef struct {
    int ahead; /* jobs that will have begun before, as turns go now */
    bool is_working;
    double seconds; /* until its end when `devices` draw; below 0: not known */
} RvQueuePlace;
bool rv_queue_place(const RvQueue *queue, gint64 id, int devices, RvQueuePlace *place);
