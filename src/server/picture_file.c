#include "server/picture_file.h"

#include "media/picture.h"
#include "server/later.h"
#include "store/files.h"

#define MAX_FILE (256 << 20)
#define QUALITY 80

typedef struct {
    RvLater *later;
    char *root, *path;
    int side; /* of a thumbnail; 0: the file itself */
    GBytes *bytes;
} Reading;

static GBytes *
make_thumbnail(GBytes *file, int side, GError **error)
{
    gsize size;
    const void *data = g_bytes_get_data(file, &size);
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(data, size, "picture", NULL, error);
    if (picture == NULL)
        return NULL;
    double scale = MIN(1.0, (double)side / MAX(picture->width, picture->height));
    g_autoptr(RvPicture) small =
        rv_picture_resize(picture, MAX((int)(picture->width * scale), 1),
                          MAX((int)(picture->height * scale), 1), RV_FILTER_BILINEAR, error);
    RvPictureSaveOptions options = { .quality = QUALITY };
    return small != NULL ? rv_picture_encode(small, RV_PICTURE_JPEG, &options, error) : NULL;
}

static void
read_file(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Reading *reading = data;
    GError *error = NULL;
    g_autoptr(GBytes) file = rv_file_read_below(reading->root, reading->path, MAX_FILE, &error);
    if (file != NULL)
        reading->bytes = reading->side > 0 ? make_thumbnail(file, reading->side, &error) : g_bytes_ref(file);
    if (error != NULL)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
}

static const char *
type_of(const Reading *reading)
{
    if (reading->side > 0)
        return "image/jpeg";
    return g_str_has_suffix(reading->path, ".png")    ? "image/png"
           : g_str_has_suffix(reading->path, ".webp") ? "image/webp"
                                                      : "image/jpeg";
}

static void
on_read(GObject *source, GAsyncResult *result, gpointer user)
{
    Reading *reading = user;
    g_autoptr(GError) error = NULL;
    const RvCall *call = rv_later_call(reading->later);
    bool ok = g_task_propagate_boolean(G_TASK(result), &error);
    if (call != NULL && !ok) {
        rv_answer_error(call, error);
    } else if (call != NULL) {
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(call->message);
        soup_message_headers_replace(headers, "Content-Type", type_of(reading));
        soup_message_headers_replace(headers, "Cache-Control", "private, max-age=86400");
        soup_message_body_append_bytes(soup_server_message_get_response_body(call->message), reading->bytes);
        soup_server_message_set_status(call->message, 200, NULL);
    }
    rv_later_end(reading->later);
    g_free(reading->root);
    g_free(reading->path);
    g_clear_pointer(&reading->bytes, g_bytes_unref);
    g_free(reading);
}

void
rv_picture_file_send(const RvCall *call, const char *root, const char *path, int side)
{
    Reading *reading = g_new0(Reading, 1);
    *reading = (Reading) {
        .later = rv_later_new(call, NULL, NULL), .root = g_strdup(root), .path = g_strdup(path), .side = side
    };
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_read, reading);
    g_task_set_task_data(task, reading, NULL);
    g_task_run_in_thread(task, read_file);
}
