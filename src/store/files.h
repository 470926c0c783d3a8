/* files.h - files that are whole whenever the power fails, and paths that do not lead out of their folder.
 * Any thread. */
#pragma once
#include "base/error.h"

/* Writes under a temporary name, syncs, renames and syncs the folder, which is made when it is missing. A
 * file of that name is replaced. RV_ERROR_IO. */
bool rv_file_write(const char *path, GBytes *bytes, GError **error);
/* The same, but a file of that name stays: then *exists is true and the result false, without an error. */
bool rv_file_write_new(const char *path, GBytes *bytes, bool *exists, GError **error);

/* A relative path of plain names: no "..", no hidden or empty parts, no backslashes, valid UTF-8. */
bool rv_path_is_plain(const char *path);
/* Opens root/path for reading, if it is a plain path to a regular file and no part of `path` is a symbolic
 * link; -1 with RV_ERROR_NOT_FOUND otherwise. */
int rv_file_open_below(const char *root, const char *path, GError **error);
/* Its content, at most `limit` bytes. */
GBytes *rv_file_read_below(const char *root, const char *path, gsize limit, GError **error);
/* Makes the folders of the plain path `path` below root (and root itself). RV_ERROR_INVALID when a part of it
 * is a symbolic link or a file: what were written there could not be read again. */
bool rv_folder_make_below(const char *root, const char *path, GError **error);
/* As rv_file_write_new(), to root/path: its folder is opened part by part and written through, so that a link
 * that somebody puts there meanwhile leads nowhere. RV_ERROR_INVALID as above; the folder is not root itself.
 */
bool rv_file_write_new_below(const char *root, const char *path, GBytes *bytes, bool *exists, GError **error);
/* Removes root/path, if the same holds for it; it is no error that there is no such file. */
bool rv_file_remove_below(const char *root, const char *path, GError **error);

/* Of the file system that `path` lies on, for ordinary users; -1 when it cannot be known. */
gint64 rv_disk_free_bytes(const char *path);
gint64 rv_disk_total_bytes(const char *path);
/* A folder with files but no folders in it. */
void rv_folder_remove(const char *path);
