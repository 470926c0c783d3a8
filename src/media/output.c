#include "media/output.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct RvOutput {
    char *path;
    char *temporary; /* equals path when written to directly */
    int descriptor;  /* -1 once closed */
    bool is_direct;
    bool is_done;
};

static bool
write_failed(const char *path, int code, GError **error)
{
    const char *todo = "check the name and its permissions";
    if (code == ENOSPC || code == EDQUOT || code == EFBIG)
        todo = "make room on the disk";
    else if (code == ENOENT || code == ENOTDIR)
        todo = "make the folder first";
    else if (code == EISDIR)
        todo = "give a file name, not a folder";
    return rv_error_set(error, RV_ERROR_IO, path, todo, "cannot write: %s", g_strerror(code));
}

RvOutput *
rv_output_open(const char *path, GError **error)
{
    struct stat status;
    bool exists = stat(path, &status) == 0;
    if (exists && S_ISDIR(status.st_mode)) {
        write_failed(path, EISDIR, error);
        return NULL;
    }
    RvOutput *output = g_new0(RvOutput, 1);
    output->path = g_strdup(path);
    output->is_direct = exists && !S_ISREG(status.st_mode);
    if (output->is_direct) {
        output->temporary = g_strdup(path);
        output->descriptor = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        g_autofree char *folder = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(path);
        /* A long name must leave room for what is added to it. */
        g_autofree char *temporary_name = g_strdup_printf(".%.180s.XXXXXX", name);
        output->temporary = g_build_filename(folder, temporary_name, NULL);
        output->descriptor = g_mkstemp_full(output->temporary, O_WRONLY | O_CLOEXEC, 0666);
    }
    if (output->descriptor < 0) {
        write_failed(path, errno, error);
        output->is_done = true;
        rv_output_free(output);
        return NULL;
    }
    return output;
}

const char *
rv_output_temporary_path(const RvOutput *output)
{
    return output->temporary;
}

bool
rv_output_write(RvOutput *output, const void *data, gsize size, GError **error)
{
    const guint8 *next = data;
    while (size > 0) {
        gssize written = write(output->descriptor, next, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return write_failed(output->path, errno, error);
        next += written;
        size -= (gsize)written;
    }
    return true;
}

bool
rv_output_commit(RvOutput *output, GError **error)
{
    g_assert(!output->is_done);
    int code = 0;
    if (!output->is_direct && fsync(output->descriptor) != 0)
        code = errno;
    if (close(output->descriptor) != 0 && code == 0)
        code = errno;
    output->descriptor = -1;
    if (code == 0 && !output->is_direct && g_rename(output->temporary, output->path) != 0)
        code = errno;
    if (code != 0)
        return write_failed(output->path, code, error);
    output->is_done = true;
    return true;
}

void
rv_output_free(RvOutput *output)
{
    if (output == NULL)
        return;
    if (output->descriptor >= 0)
        close(output->descriptor);
    if (!output->is_done && !output->is_direct)
        g_unlink(output->temporary);
    g_free(output->temporary);
    g_free(output->path);
    g_free(output);
}
