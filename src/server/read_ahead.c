#include "server/read_ahead.h"

#include <string.h>

#define AHEAD_BYTES (128 * 1024)

/* ---- the input ---- */

#define RV_TYPE_READ_AHEAD_INPUT (rv_read_ahead_input_get_type())
G_DECLARE_FINAL_TYPE(RvReadAheadInput, rv_read_ahead_input, RV, READ_AHEAD_INPUT, GInputStream)

struct _RvReadAheadInput {
    GInputStream parent;
    GPollableInputStream *base;
    GSocket *socket; /* NULL: not a plain one */
    guint8 *bytes;   /* NULL until something is read */
    gsize first, count;
    GSource *watch; /* of the socket, while somebody waits for it; NULL: nobody has */
    gpointer tag;   /* of its descriptor */
    int readers;    /* sources that wait */
};

static void pollable_init(GPollableInputStreamInterface *iface);
G_DEFINE_TYPE_WITH_CODE(RvReadAheadInput, rv_read_ahead_input, G_TYPE_INPUT_STREAM,
                        G_IMPLEMENT_INTERFACE(G_TYPE_POLLABLE_INPUT_STREAM, pollable_init))

static gsize
take(RvReadAheadInput *input, void *to, gsize size)
{
    size = MIN(size, input->count);
    memcpy(to, input->bytes + input->first, size);
    input->first += size;
    input->count -= size;
    return size;
}

static gssize
read_nonblocking(GPollableInputStream *stream, void *to, gsize size, GError **error)
{
    RvReadAheadInput *input = RV_READ_AHEAD_INPUT(stream);
    if (input->count > 0)
        return (gssize)take(input, to, size);
    if (input->bytes == NULL)
        input->bytes = g_malloc(AHEAD_BYTES);
    gssize count =
        g_pollable_input_stream_read_nonblocking(input->base, input->bytes, AHEAD_BYTES, NULL, error);
    if (count <= 0)
        return count;
    input->first = 0;
    input->count = (gsize)count;
    return (gssize)take(input, to, size);
}

static gboolean
is_readable(GPollableInputStream *stream)
{
    RvReadAheadInput *input = RV_READ_AHEAD_INPUT(stream);
    return input->count > 0 || g_pollable_input_stream_is_readable(input->base);
}

/* ---- waiting for a plain socket ----
 *
 * libsoup makes a source for each message and destroys it when bytes come. With descriptors in those the main
 * context would change its set and wake itself a dozen times a frame. So one source has the descriptor for
 * good, and those of libsoup look at it. */

typedef struct {
    GSource source;
    RvReadAheadInput *input; /* borrowed by the watch, referenced by readers */
} Waiter;

static void
end_watch(RvReadAheadInput *input)
{
    if (input->watch == NULL)
        return;
    g_source_destroy(input->watch);
    g_clear_pointer(&input->watch, g_source_unref);
}

/* Bytes have come. The readers see it by themselves; without any, it would come again and again. */
static gboolean
watch_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    RvReadAheadInput *input = ((Waiter *)source)->input;
    if (input->readers == 0)
        end_watch(input);
    return G_SOURCE_CONTINUE;
}

static gboolean
reader_prepare(GSource *source, int *timeout)
{
    *timeout = -1;
    return ((Waiter *)source)->input->count > 0;
}

static gboolean
reader_check(GSource *source)
{
    const RvReadAheadInput *input = ((Waiter *)source)->input;
    return input->count > 0 || input->watch == NULL || g_source_query_unix_fd(input->watch, input->tag) != 0;
}

static gboolean
reader_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    GPollableSourceFunc func = (GPollableSourceFunc)(void (*)(void))callback;
    return func(G_OBJECT(((Waiter *)source)->input), user_data);
}

static void
reader_finalize(GSource *source)
{
    RvReadAheadInput *input = ((Waiter *)source)->input;
    input->readers--;
    g_object_unref(input);
}

static void
begin_watch(RvReadAheadInput *input)
{
    static GSourceFuncs funcs = { .dispatch = watch_dispatch };
    if (input->watch != NULL)
        return;
    input->watch = g_source_new(&funcs, sizeof(Waiter));
    ((Waiter *)input->watch)->input = input;
    g_source_set_static_name(input->watch, "read-ahead");
    g_source_set_can_recurse(input->watch, TRUE);
    input->tag = g_source_add_unix_fd(input->watch, g_socket_get_fd(input->socket), G_IO_IN);
    g_source_attach(input->watch, g_main_context_get_thread_default());
}

static GSource *
reader_new(RvReadAheadInput *input)
{
    static GSourceFuncs funcs = { .prepare = reader_prepare,
                                  .check = reader_check,
                                  .dispatch = reader_dispatch,
                                  .finalize = reader_finalize };
    begin_watch(input);
    GSource *source = g_source_new(&funcs, sizeof(Waiter));
    ((Waiter *)source)->input = g_object_ref(input);
    input->readers++;
    return source;
}

static GSource *
create_source(GPollableInputStream *stream, GCancellable *cancellable)
{
    RvReadAheadInput *input = RV_READ_AHEAD_INPUT(stream);
    if (input->socket != NULL && cancellable == NULL && !g_socket_is_closed(input->socket))
        return reader_new(input);
    g_autoptr(GSource) source = g_pollable_input_stream_create_source(input->base, cancellable);
    return g_pollable_source_new_full(stream, source, NULL);
}

static void
pollable_init(GPollableInputStreamInterface *iface)
{
    iface->is_readable = is_readable;
    iface->create_source = create_source;
    iface->read_nonblocking = read_nonblocking;
}

static gssize
read_blocking(GInputStream *stream, void *to, gsize size, GCancellable *cancellable, GError **error)
{
    RvReadAheadInput *input = RV_READ_AHEAD_INPUT(stream);
    if (input->count > 0)
        return (gssize)take(input, to, size);
    return g_input_stream_read(G_INPUT_STREAM(input->base), to, size, cancellable, error);
}

static gboolean
close_input(GInputStream *stream, GCancellable *cancellable, GError **error)
{
    end_watch(RV_READ_AHEAD_INPUT(stream));
    return g_input_stream_close(G_INPUT_STREAM(RV_READ_AHEAD_INPUT(stream)->base), cancellable, error);
}

static void
input_finalize(GObject *object)
{
    RvReadAheadInput *input = RV_READ_AHEAD_INPUT(object);
    end_watch(input);
    g_clear_object(&input->base);
    g_clear_object(&input->socket);
    g_free(input->bytes);
    G_OBJECT_CLASS(rv_read_ahead_input_parent_class)->finalize(object);
}

static void
rv_read_ahead_input_class_init(RvReadAheadInputClass *class)
{
    G_OBJECT_CLASS(class)->finalize = input_finalize;
    G_INPUT_STREAM_CLASS(class)->read_fn = read_blocking;
    G_INPUT_STREAM_CLASS(class)->close_fn = close_input;
}

static void
rv_read_ahead_input_init(RvReadAheadInput *input)
{
}

/* ---- both ways ---- */

#define RV_TYPE_READ_AHEAD_STREAM (rv_read_ahead_stream_get_type())
G_DECLARE_FINAL_TYPE(RvReadAheadStream, rv_read_ahead_stream, RV, READ_AHEAD_STREAM, GIOStream)

struct _RvReadAheadStream {
    GIOStream parent;
    GIOStream *base;
    GInputStream *input;
};

G_DEFINE_TYPE(RvReadAheadStream, rv_read_ahead_stream, G_TYPE_IO_STREAM)

static GInputStream *
get_input(GIOStream *stream)
{
    return RV_READ_AHEAD_STREAM(stream)->input;
}

static GOutputStream *
get_output(GIOStream *stream)
{
    return g_io_stream_get_output_stream(RV_READ_AHEAD_STREAM(stream)->base);
}

static gboolean
close_both(GIOStream *stream, GCancellable *cancellable, GError **error)
{
    end_watch(RV_READ_AHEAD_INPUT(RV_READ_AHEAD_STREAM(stream)->input));
    return g_io_stream_close(RV_READ_AHEAD_STREAM(stream)->base, cancellable, error);
}

static void
on_closed(GObject *base, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    GError *error = NULL;
    if (g_io_stream_close_finish(G_IO_STREAM(base), result, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

/* TLS says good-bye, which may take a while. */
static void
close_both_async(GIOStream *stream, int priority, GCancellable *cancellable, GAsyncReadyCallback callback,
                 gpointer user_data)
{
    GTask *task = g_task_new(stream, cancellable, callback, user_data);
    end_watch(RV_READ_AHEAD_INPUT(RV_READ_AHEAD_STREAM(stream)->input));
    g_io_stream_close_async(RV_READ_AHEAD_STREAM(stream)->base, priority, cancellable, on_closed, task);
}

static gboolean
close_both_finish(GIOStream *stream, GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

static void
stream_finalize(GObject *object)
{
    RvReadAheadStream *stream = RV_READ_AHEAD_STREAM(object);
    g_clear_object(&stream->input);
    g_clear_object(&stream->base);
    G_OBJECT_CLASS(rv_read_ahead_stream_parent_class)->finalize(object);
}

static void
rv_read_ahead_stream_class_init(RvReadAheadStreamClass *class)
{
    GIOStreamClass *io = G_IO_STREAM_CLASS(class);
    G_OBJECT_CLASS(class)->finalize = stream_finalize;
    io->get_input_stream = get_input;
    io->get_output_stream = get_output;
    io->close_fn = close_both;
    io->close_async = close_both_async;
    io->close_finish = close_both_finish;
}

static void
rv_read_ahead_stream_init(RvReadAheadStream *stream)
{
}

GIOStream *
rv_read_ahead_stream_new(GIOStream *base, GSocket *socket)
{
    RvReadAheadStream *stream = g_object_new(RV_TYPE_READ_AHEAD_STREAM, NULL);
    RvReadAheadInput *input = g_object_new(RV_TYPE_READ_AHEAD_INPUT, NULL);
    stream->base = g_object_ref(base);
    input->base = g_object_ref(G_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(base)));
    input->socket = socket != NULL ? g_object_ref(socket) : NULL;
    stream->input = G_INPUT_STREAM(input);
    return G_IO_STREAM(stream);
}
