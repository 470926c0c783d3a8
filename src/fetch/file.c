#include "fetch/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/files.h"

#define MOST_RESTARTS 3 /* from the first byte, for what servers get wrong */

typedef struct {
    const RvFetchOptions *options;
    const RvFetchFile *file;
    char *part, *mark; /* PATH.part, PATH.part.etag */
    int fd;
    gint64 have, total; /* bytes in the part; of the file, -1: unknown */
    gint64 most;        /* that the part ever had: more is progress */
    char *sha256;       /* wanted, or NULL */
    char *etag;         /* of the bytes in the part: strong, or NULL */
    bool accepted;      /* this answer's header was looked at */
    int restarts;
    gint64 resumed;
    GError *fault; /* why `body` stopped the transfer; NULL: start anew */
} Download;

static void
download_clear(Download *d)
{
    if (d->fd >= 0)
        close(d->fd);
    g_free(d->part);
    g_free(d->mark);
    g_free(d->sha256);
    g_free(d->etag);
    g_clear_error(&d->fault);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Download, download_clear)

static bool
is_sha256(const char *text)
{
    return text != NULL && strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

static bool
hash_file(const RvFetchOptions *options, const char *path, char hex[65], GError **error)
{
    enum { PIECE = 1 << 20 };
    g_autofree guint8 *piece = g_malloc(PIECE);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gssize got = -1;
    while (fd >= 0 && (got = read(fd, piece, PIECE)) > 0 && g_atomic_int_get(options->cancel) == 0)
        g_checksum_update(sum, piece, got);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return rv_error_set(error, RV_ERROR_IO, path, "check the disk", "cannot read: %s",
                            g_strerror(reason));
    if (got > 0)
        return rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
    g_strlcpy(hex, g_checksum_get_string(sum), 65);
    return true;
}

static bool
disk_fault(const Download *d, int reason, GError **error)
{
    return rv_error_set(error, RV_ERROR_IO, d->part, "make room and run this again; it goes on from there",
                        "cannot write: %s", g_strerror(reason));
}

/* Forgets the bytes; the next request is for the whole file. */
static bool
start_anew(Download *d, GError **error)
{
    d->have = d->resumed = 0;
    g_clear_pointer(&d->etag, g_free);
    g_unlink(d->mark);
    return (ftruncate(d->fd, 0) == 0 && lseek(d->fd, 0, SEEK_SET) == 0) || disk_fault(d, errno, error);
}

/* Without a version or a checksum nobody could tell that the file changed in between. */
static bool
is_known(const Download *d)
{
    return d->etag != NULL || d->sha256 != NULL;
}

static bool
part_open(Download *d, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(d->file->path);
    if (g_mkdir_with_parents(folder, 0777) != 0)
        return rv_error_set(error, RV_ERROR_IO, folder, "check --models", "cannot make the folder: %s",
                            g_strerror(errno));
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    struct stat status;
    if (d->fd < 0 || fstat(d->fd, &status) != 0)
        return rv_error_set(error, RV_ERROR_IO, d->part, "check the folder's permissions", "cannot open: %s",
                            g_strerror(errno));
    if (flock(d->fd, LOCK_EX | LOCK_NB) != 0)
        return rv_error_set(error, RV_ERROR_BUSY, d->part, "wait for it",
                            "another process fetches this file");
    d->have = d->resumed = d->most = status.st_size;
    g_autofree char *mark = NULL;
    if (g_file_get_contents(d->mark, &mark, NULL, NULL) && mark[0] == '"' && strpbrk(mark, "\r\n") == NULL)
        d->etag = g_steal_pointer(&mark);
    if (d->have > 0 && (!is_known(d) || (d->total >= 0 && d->have > d->total)))
        return start_anew(d, error);
    return lseek(d->fd, d->have, SEEK_SET) >= 0 || disk_fault(d, errno, error);
}

/* "bytes FIRST-LAST/TOTAL" */
static bool
parse_range(const char *text, gint64 *first, gint64 *last, gint64 *total)
{
    return text != NULL &&
           sscanf(text, "bytes %" G_GINT64_FORMAT "-%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT, first, last,
                  total) == 3 &&
           *first >= 0 && *first <= *last && *last < *total;
}

static bool
set_total(Download *d, gint64 total)
{
    if (total < 0 || d->total == total)
        return true;
    if (d->total >= 0) {
        rv_error_set(&d->fault, RV_ERROR_INVALID, d->file->url, "try again later or another --mirror",
                     "the file has %" G_GINT64_FORMAT " bytes where %" G_GINT64_FORMAT " were announced",
                     total, d->total);
        return false;
    }
    d->total = total;
    return true;
}

/* True if the disk has room for what is to come. */
static bool
has_room(Download *d)
{
    g_autofree char *folder = g_path_get_dirname(d->part);
    gint64 free_bytes = rv_disk_free_bytes(folder);
    if (d->total < 0 || free_bytes < 0 || d->total - d->have <= free_bytes)
        return true;
    g_autofree char *need = g_format_size((guint64)(d->total - d->have)),
                    *there = g_format_size((guint64)free_bytes);
    return rv_error_set(&d->fault, RV_ERROR_IO, d->part, "make room, or name another folder with --models",
                        "%s are still to come, and the disk has room for %s", need, there);
}

static void
keep_mark(Download *d, const RvHttpReply *reply)
{
    g_clear_pointer(&d->etag, g_free);
    if (reply->etag != NULL && reply->etag[0] == '"') {
        d->etag = g_strdup(reply->etag);
        g_file_set_contents(d->mark, d->etag, -1, NULL);
    } else
        g_unlink(d->mark);
}

/* Looks at the header of a 200 or 206 before its first byte is written. False with no fault: start anew. */
static bool
accept_answer(Download *d, const RvHttpReply *reply)
{
    d->accepted = true;
    if (d->sha256 == NULL && is_sha256(reply->linked_etag))
        d->sha256 = g_ascii_strdown(reply->linked_etag, -1);
    if (reply->status == 206) {
        gint64 first = 0, last = 0, total = 0;
        bool changed = d->etag != NULL && reply->etag != NULL && strcmp(d->etag, reply->etag) != 0;
        if (d->have == 0 || changed || !parse_range(reply->range, &first, &last, &total) || first != d->have)
            return false;
        return set_total(d, total) && has_room(d);
    }
    if (!start_anew(d, &d->fault))
        return false;
    keep_mark(d, reply);
    return set_total(d, reply->length) && has_room(d);
}

static bool
take_body(void *user, const RvHttpReply *reply, const void *data, gsize size)
{
    Download *d = user;
    if (!d->accepted && !accept_answer(d, reply))
        return false;
    if (d->total >= 0 && (gint64)size > d->total - d->have)
        return rv_error_set(&d->fault, RV_ERROR_INVALID, d->file->url, "try again later or another --mirror",
                            "the server sends more than the %" G_GINT64_FORMAT " bytes it announced",
                            d->total);
    for (const char *at = data; size > 0;) {
        gssize written = write(d->fd, at, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return disk_fault(d, errno, &d->fault);
        at += written;
        size -= (gsize)written;
        d->have += written;
    }
    if (d->options->progress != NULL)
        d->options->progress(d->options->user, d->have, d->total);
    return true;
}

/* After an answer that libcurl found whole: 1 the file is whole, 0 go on asking, -1 *error. */
static int
after_answer(Download *d, const RvHttpReply *reply, GError **error)
{
    gint64 total = -1;
    if (reply->status == 416) { /* there is nothing after our last byte: we have all, or another file */
        bool whole = reply->range != NULL && sscanf(reply->range, "bytes */%" G_GINT64_FORMAT, &total) == 1 &&
                     total == d->have;
        return whole ? 1 : start_anew(d, error) ? 0 : -1;
    }
    if (!d->accepted && !accept_answer(d, reply)) {
        if (d->fault == NULL)
            return start_anew(d, error) ? 0 : -1;
        g_propagate_error(error, g_steal_pointer(&d->fault));
        return -1;
    }
    return d->total < 0 || d->have == d->total ? 1 : 0;
}

static bool
count_restart(Download *d, GError **error)
{
    if (++d->restarts <= MOST_RESTARTS)
        return start_anew(d, error);
    return rv_error_set(error, RV_ERROR_FAILED, d->file->url, "try another --mirror",
                        "the server answers other ranges than it is asked for");
}

/* One request; *whole when it completed the file. False: *error is final. */
static bool
ask_once(Download *d, int *failures, bool *whole, GError **error)
{
    g_auto(RvHttpReply) reply = { .length = -1 };
    GError *cause = NULL;
    if (d->have > 0 && !is_known(d) && !start_anew(d, error))
        return false;
    const RvHttpRequest request = {
        .url = d->file->url, .from = d->have, .if_range = d->etag, .body = take_body, .user = d
    };
    d->accepted = false;
    RvHttpOutcome outcome = rv_http_get(d->options, &request, &reply, &cause);
    if (outcome == RV_HTTP_FAILED || d->fault != NULL) {
        g_propagate_error(error, d->fault != NULL ? g_steal_pointer(&d->fault) : g_steal_pointer(&cause));
        g_clear_error(&cause);
        return false;
    }
    if (outcome == RV_HTTP_STOPPED)
        return count_restart(d, error);
    if (outcome == RV_HTTP_DONE) {
        int state = after_answer(d, &reply, error);
        *whole = state > 0;
        if (state != 0)
            return state > 0;
        if (d->have == 0)
            return count_restart(d, error);
        rv_error_set(&cause, RV_ERROR_FAILED, d->file->url, "try again later; what has arrived is kept",
                     "the server sent %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " bytes", d->have, d->total);
    }
    *failures = d->have > d->most ? 1 : *failures + 1;
    d->most = MAX(d->most, d->have);
    return rv_http_wait(d->options, *failures, reply.retry_after, cause, error);
}

/* Length, checksum and content of the whole part. */
static bool
examine(const Download *d, const char *path, char hex[65], GError **error)
{
    if (d->sha256 != NULL) {
        if (!hash_file(d->options, path, hex, error))
            return false;
        if (strcmp(hex, d->sha256) != 0)
            return rv_error_set(error, RV_ERROR_INVALID, d->file->url,
                                "get it again, or check where the sum is from", "its SHA-256 is %s, not %s",
                                hex, d->sha256);
    }
    return d->file->check == NULL || d->file->check(path, error);
}

static bool
receive(Download *d, GError **error)
{
    bool whole = d->total >= 0 && d->have == d->total;
    for (int failures = 0; !whole;)
        if (!ask_once(d, &failures, &whole, error))
            return false;
    return true;
}

/* Fetches and examines; a bad file that was pieced together over several calls is fetched once more. */
static bool
receive_good(Download *d, RvFetchResult *result, GError **error)
{
    for (;;) {
        g_autoptr(GError) wrong = NULL;
        if (!receive(d, error))
            return false;
        if (examine(d, d->part, result->sha256, &wrong))
            return fsync(d->fd) == 0 || disk_fault(d, errno, error);
        bool again = d->resumed > 0 && g_error_matches(wrong, RV_ERROR, RV_ERROR_INVALID);
        if (again && start_anew(d, error))
            continue;
        if (!again) {
            if (!g_error_matches(wrong, RV_ERROR, RV_ERROR_CANCELLED)) {
                g_unlink(d->part);
                g_unlink(d->mark);
            }
            g_propagate_error(error, g_steal_pointer(&wrong));
        }
        return false;
    }
}

/* A file of that name that is as it should be is not fetched again. */
static bool
is_present(const Download *d, RvFetchResult *result)
{
    struct stat status;
    if (stat(d->file->path, &status) != 0 || !S_ISREG(status.st_mode) ||
        (d->sha256 == NULL && d->total < 0) || (d->total >= 0 && status.st_size != d->total) ||
        !examine(d, d->file->path, result->sha256, NULL))
        return false;
    result->bytes = status.st_size;
    result->present = true;
    return true;
}

bool
rv_fetch_file(const RvFetchOptions *options, const RvFetchFile *file, RvFetchResult *result, GError **error)
{
    g_auto(Download) d = { .options = options, .file = file, .fd = -1, .total = file->size };
    *result = (RvFetchResult) { 0 };
    d.part = g_strconcat(file->path, ".part", NULL);
    d.mark = g_strconcat(d.part, ".etag", NULL);
    if (file->sha256 != NULL)
        d.sha256 = g_ascii_strdown(file->sha256, -1);
    if (is_present(&d, result))
        return true;
    if (!part_open(&d, error))
        return false;
    bool ok = receive_good(&d, result, error);
    if (!ok) {
        if (d.have == 0) { /* nothing to go on from */
            g_unlink(d.part);
            g_unlink(d.mark);
        }
        return false;
    }
    if (g_rename(d.part, file->path) != 0)
        return rv_error_set(error, RV_ERROR_IO, file->path, "check what lies there", "cannot rename: %s",
                            g_strerror(errno));
    g_unlink(d.mark);
    result->bytes = d.have;
    result->resumed = d.resumed;
    return true;
}
