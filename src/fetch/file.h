/* file.h - one file from a server, whole and checked or not there at all.
 *
 * Bytes go into PATH.part, which stays when the process ends in any way; PATH.part.etag says which version of
 * the file they are of. The next call goes on from there by an HTTP range (RFC 9110: Range with If-Range),
 * and starts anew when the file changed, when the server does not do ranges, or when it answers one it was
 * not asked for. The name PATH appears by renaming, after length, checksum and `check` were found right. */
#pragma once
#include "fetch/http.h"

typedef struct {
    const char *url, *path;
    const char *sha256; /* 64 hex digits, or NULL: what the server says, if it does */
    gint64 size;        /* bytes, -1: what the server says */
    /* Looks at the whole file before it gets its name; may be NULL. */
    bool (*check)(const char *path, GError **error);
} RvFetchFile;

typedef struct {
    gint64 bytes;
    gint64 resumed;  /* bytes that an earlier call had brought */
    bool present;    /* the file was there already */
    char sha256[65]; /* "" when nothing said what it should be */
} RvFetchResult;

/* Errors: CANCELLED, IO (disk full ...), INVALID (checksum, length, content), NOT_FOUND, BUSY (the server, or
 * another process that fetches the same file), FAILED. */
bool rv_fetch_file(const RvFetchOptions *options, const RvFetchFile *file, RvFetchResult *result,
                   GError **error);
