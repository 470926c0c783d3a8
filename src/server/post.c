#include "server/post.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct {
    void (*func)(void *data);
    void *data;
} Post;

/* One for the process, never freed. */
typedef struct {
    GMutex mutex;
    GArray *waiting; /* Post; under the mutex */
    GArray *running; /* the loop's; changes places with the other */
    int event;
} Box;

static gboolean
run_all(int event, GIOCondition condition, gpointer data)
{
    Box *box = data;
    guint64 count;
    while (read(event, &count, sizeof count) < 0 && errno == EINTR) {
    }
    g_mutex_lock(&box->mutex);
    GArray *posts = box->waiting;
    box->waiting = box->running;
    g_mutex_unlock(&box->mutex);
    for (guint i = 0; i < posts->len; i++) {
        Post post = g_array_index(posts, Post, i);
        post.func(post.data);
    }
    g_array_set_size(posts, 0);
    box->running = posts;
    return G_SOURCE_CONTINUE;
}

static Box *
box_new(void)
{
    Box *box = g_new0(Box, 1);
    g_mutex_init(&box->mutex);
    box->waiting = g_array_new(FALSE, FALSE, sizeof(Post));
    box->running = g_array_new(FALSE, FALSE, sizeof(Post));
    box->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (box->event < 0)
        g_error("no file descriptor for the threads' results: %s", g_strerror(errno));
    GSource *source = g_unix_fd_source_new(box->event, G_IO_IN);
    g_source_set_static_name(source, "post");
    g_source_set_callback(source, G_SOURCE_FUNC(run_all), box, NULL);
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    /* Otherwise the main context takes the descriptor out and in around each dispatch. */
    g_source_set_can_recurse(source, TRUE);
    g_source_attach(source, NULL);
    g_source_unref(source);
    return box;
}

void
rv_post(void (*func)(void *data), void *data)
{
    static gsize is_made;
    static Box *box;
    if (g_once_init_enter(&is_made)) {
        box = box_new();
        g_once_init_leave(&is_made, 1);
    }
    Post post = { func, data };
    g_mutex_lock(&box->mutex);
    bool must_wake = box->waiting->len == 0;
    g_array_append_val(box->waiting, post);
    g_mutex_unlock(&box->mutex);
    guint64 one = 1;
    while (must_wake && write(box->event, &one, sizeof one) < 0 && errno == EINTR) {
    }
}
