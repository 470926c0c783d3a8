#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- writing ---- */

static bool
fail(GError **error, const char *path, const char *what)
{
    int number = errno;
    return rv_error_set(error, RV_ERROR_IO, path,
                        number == ENOSPC ? "make room on the disk" : "check the folder", "cannot %s: %s",
                        what, g_strerror(number));
}

static bool
write_all(int file, GBytes *bytes)
{
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    while (size > 0) {
        ssize_t n = write(file, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (gsize)n;
    }
    return true;
}

static bool
write_temporary(int folder, const char *name, GBytes *bytes)
{
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    bool ok = write_all(file, bytes) && fsync(file) == 0;
    int reason = errno;
    close(file);
    if (!ok)
        unlinkat(folder, name, 0);
    errno = reason;
    return ok;
}

/* The folder is synced, so that its new entry lasts too. `path` is for words. */
static bool
write_renamed(int folder, const char *name, GBytes *bytes, unsigned flags, const char *path, bool *exists,
              GError **error)
{
    static gint counter;
    g_autofree char *temporary = g_strdup_printf(".tmp-%d-%d", (int)getpid(), g_atomic_int_add(&counter, 1));
    if (!write_temporary(folder, temporary, bytes))
        return fail(error, path, "write");
    if (renameat2(folder, temporary, folder, name, flags) != 0) {
        *exists = errno == EEXIST;
        if (!*exists)
            fail(error, path, "rename");
        unlinkat(folder, temporary, 0);
        return false;
    }
    return fsync(folder) == 0 || fail(error, path, "sync the folder of");
}

static bool
write_at(const char *path, GBytes *bytes, unsigned flags, bool *exists, GError **error)
{
    g_autofree char *above = g_path_get_dirname(path), *name = g_path_get_basename(path);
    if (g_mkdir_with_parents(above, 0700) != 0)
        return fail(error, above, "make the folder");
    int folder = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return fail(error, above, "open the folder");
    bool ok = write_renamed(folder, name, bytes, flags, path, exists, error);
    close(folder);
    return ok;
}

bool
rv_file_write(const char *path, GBytes *bytes, GError **error)
{
    bool exists = false;
    return write_at(path, bytes, 0, &exists, error);
}

bool
rv_file_write_new(const char *path, GBytes *bytes, bool *exists, GError **error)
{
    *exists = false;
    return write_at(path, bytes, RENAME_NOREPLACE, exists, error);
}

/* ---- reading below a folder ---- */

bool
rv_path_is_plain(const char *path)
{
    if (!g_utf8_validate(path, -1, NULL) || strchr(path, '\\') != NULL || strlen(path) > 1024)
        return false;
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part != NULL; part++)
        if (**part == '\0' || **part == '.')
            return false;
    return parts[0] != NULL;
}

static bool
no_such_file(const char *path, GError **error)
{
    return rv_error_set(error, RV_ERROR_NOT_FOUND, path, NULL, "there is no such file");
}

/* The folder that holds the path's last part; *name points into `path`. -1 when a part is no real folder. */
static int
open_parent(const char *root, const char *path, const char **name)
{
    int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *slash;
    for (*name = path; folder >= 0 && (slash = strchr(*name, '/')) != NULL; *name = slash + 1) {
        g_autofree char *part = g_strndup(*name, (gsize)(slash - *name));
        int next = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(folder);
        folder = next;
    }
    return folder;
}

int
rv_file_open_below(const char *root, const char *path, GError **error)
{
    const char *name;
    struct stat info;
    int folder = rv_path_is_plain(path) ? open_parent(root, path, &name) : -1;
    int file = folder >= 0 ? openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (folder >= 0)
        close(folder);
    if (file >= 0 && (fstat(file, &info) != 0 || !S_ISREG(info.st_mode))) {
        close(file);
        file = -1;
    }
    if (file < 0)
        no_such_file(path, error);
    return file;
}

GBytes *
rv_file_read_below(const char *root, const char *path, gsize limit, GError **error)
{
    struct stat info;
    int file = rv_file_open_below(root, path, error);
    if (file < 0)
        return NULL;
    bool fits = fstat(file, &info) == 0 && (gsize)info.st_size <= limit;
    gsize size = fits ? (gsize)info.st_size : 0, done = 0;
    g_autofree char *data = g_try_malloc(size + 1);
    while (data != NULL && done < size) {
        ssize_t n = read(file, data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (gsize)n;
    }
    close(file);
    if (!fits || data == NULL || done < size) {
        rv_error_set(error, RV_ERROR_IO, path, NULL, "the file cannot be read");
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), size);
}

/* The folder of the plain path `path` below root, made where it is missing; -1. */
static int
make_below(const char *root, const char *path, GError **error)
{
    if (!rv_path_is_plain(path)) {
        no_such_file(path, error);
        return -1;
    }
    if (g_mkdir_with_parents(root, 0700) != 0) {
        fail(error, root, "make the folder");
        return -1;
    }
    int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), next = -1;
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; folder >= 0 && *part != NULL; part++, folder = next) {
        bool made = mkdirat(folder, *part, 0700) == 0 || errno == EEXIST;
        next = made ? openat(folder, *part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        int reason = errno;
        close(folder);
        errno = reason;
    }
    if (folder < 0 && (errno == ELOOP || errno == ENOTDIR))
        rv_error_set(error, RV_ERROR_INVALID, path,
                     "remove the link; --outputs may name another place for all",
                     "a part of this folder is a link or a file");
    else if (folder < 0)
        fail(error, path, "make the folder");
    return folder;
}

bool
rv_folder_make_below(const char *root, const char *path, GError **error)
{
    int folder = make_below(root, path, error);
    if (folder >= 0)
        close(folder);
    return folder >= 0;
}

bool
rv_file_write_new_below(const char *root, const char *path, GBytes *bytes, bool *exists, GError **error)
{
    g_autofree char *above = g_path_get_dirname(path), *name = g_path_get_basename(path);
    *exists = false;
    int folder = make_below(root, above, error);
    if (folder < 0)
        return false;
    bool ok = write_renamed(folder, name, bytes, RENAME_NOREPLACE, path, exists, error);
    close(folder);
    return ok;
}

bool
rv_file_remove_below(const char *root, const char *path, GError **error)
{
    const char *name;
    int folder = rv_path_is_plain(path) ? open_parent(root, path, &name) : -1;
    if (folder < 0)
        return errno == ENOENT || no_such_file(path, error);
    bool ok = unlinkat(folder, name, 0) == 0 || errno == ENOENT;
    if (!ok)
        fail(error, path, "remove");
    close(folder);
    return ok;
}

/* ---- disks and folders ---- */

gint64
rv_disk_free_bytes(const char *path)
{
    struct statvfs disk;
    return statvfs(path, &disk) == 0 ? (gint64)disk.f_bavail * (gint64)disk.f_frsize : -1;
}

gint64
rv_disk_total_bytes(const char *path)
{
    struct statvfs disk;
    return statvfs(path, &disk) == 0 ? (gint64)disk.f_blocks * (gint64)disk.f_frsize : -1;
}

void
rv_folder_remove(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    for (const char *name; folder != NULL && (name = g_dir_read_name(folder)) != NULL;) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
    }
    g_rmdir(path);
}
