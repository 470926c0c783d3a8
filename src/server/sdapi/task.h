/* task.h - a request to the picture API on its way: work that takes time is done in other threads, the
 * answer is given on the main loop.
 *
 * A handler makes a task of its call (the request waits), sends it through threads and callbacks, and ends
 * it with one reply. A client that goes away meanwhile changes nothing but that the reply goes nowhere. */
#pragma once
#include "server/route.h"
#include "server/sdapi/plan.h"

/* What will be answered: a status and JSON. */
typedef struct {
    guint status;
    GBytes *body;
} RvReply;

void rv_reply_clear(RvReply *reply);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RvReply, rv_reply_clear)

/* Each makes a whole reply; any thread. */
RvReply rv_reply_node(guint status, JsonNode *node); /* takes `node` */
RvReply rv_reply_object(JsonObject *object);         /* 200; takes `object` */
RvReply rv_reply_array(JsonArray *array);            /* 200; takes `array` */
RvReply rv_reply_null(void);                         /* 200 and `null` */
RvReply rv_reply_invalid(RvFieldProblems *problems); /* 422; takes `problems` */
/* {"error":KIND,"detail":DETAIL,"body":"","errors":ERRORS}: A1111's shape. */
RvReply rv_reply_problem(guint status, const char *kind, const char *detail, const char *errors);
RvReply rv_refusal_reply(const RvRefusal *refusal);
RvReply rv_reply_error(const GError *error); /* as A1111 words one of that status */

/* Answers at once, on the main loop; takes what `reply` holds. */
void rv_reply_send(const RvCall *call, RvReply reply);

typedef struct RvTask RvTask;

struct RvTask {
    RvServer *server;
    const RvRoute *route;
    char *user;        /* who asks */
    GBytes *body;      /* never NULL */
    GHashTable *query; /* copied; NULL without */
    gint64 asked_us;   /* when the request came, monotonic */
    void *data;        /* of the handler */
    GDestroyNotify free_data;
    SoupServerMessage
        *message; /* main loop only; NULL once answered, or when the client is known to be gone */
    guint look;   /* source: is the client still there */
    void (*on_gone)(RvTask *task);
    bool waits_for_job; /* a studio's waiter is all that knows of it: it can be ended at any time */
    RvReply (*work)(RvTask *task);
    void (*then)(RvTask *task, RvReply reply);
};

/* Pauses the call's message. */
RvTask *rv_task_new(const RvCall *call);
/* One without a client, for `user`: its answer goes nowhere. */
RvTask *rv_task_new_alone(RvServer *server, const char *user);
/* `on_gone` is called, on the main loop, when the client goes away before the answer: within a second or so.
 */
void rv_task_watch_client(RvTask *task, void (*on_gone)(RvTask *task));
/* Answers now; the task goes on without its client, and its end answers nothing more. Main loop. */
void rv_task_answer(RvTask *task, RvReply reply);
/* Ends all tasks that wait for jobs, with 503: their jobs stay in the queue, or were kept. Main loop. */
void rv_tasks_stop(RvServer *server);
/* Answers, and frees the task; main loop. Takes what `reply` holds. */
void rv_task_end(RvTask *task, RvReply reply);
/* Runs `work` in a thread, then `then` on the main loop with what it gave; `then` NULL: rv_task_end(). */
void rv_task_run(RvTask *task, RvReply (*work)(RvTask *task), void (*then)(RvTask *task, RvReply reply));
/* rv_task_new() and rv_task_run() in one, for handlers whose work is all in one thread. */
void rv_task_serve(const RvCall *call, RvReply (*work)(RvTask *task));

/* The task's body as the route's fields; false with a 422 in *reply. `given` may be NULL. */
bool rv_task_fields(RvTask *task, JsonObject **fields, JsonObject **given, RvReply *reply);
