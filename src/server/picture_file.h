/* picture_file.h - a picture of the disk as an answer: the file itself, or a small JPEG of it. */
#pragma once
#include "server/route.h"

#define RV_THUMBNAIL 256 /* pixels of the longer side */
#define RV_THUMBNAIL_LEAST 16
#define RV_THUMBNAIL_MOST 1024

/* Answers later, from a thread: root/path, opened without following links below `root` (store/files.h), 404
 * when it is not there. side > 0: a JPEG whose longer side is at most that. */
void rv_picture_file_send(const RvCall *call, const char *root, const char *path, int side);
