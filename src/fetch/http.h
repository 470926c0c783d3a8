/* http.h - one GET at a time over libcurl: redirects, limits on protocols, and what an answer means.
 * Any thread; a call blocks until the answer is there, failed, or was cancelled. */
#pragma once
#include "base/error.h"

/* What holds for all requests of one download. Strings are borrowed. */
typedef struct {
    const char *token;   /* sent as a bearer to `trusted` only; NULL: none */
    const char *trusted; /* the URL whose scheme, host and port may see the token */
    bool allow_http;     /* the user named an http:// mirror; otherwise only https */
    int retries;         /* of failures in a row that brought no byte */
    double wait;         /* seconds before the first retry; doubled each time, at most 30 */
    int stall_seconds;   /* a connection that brings nothing for so long is dropped */
    const int *cancel;   /* not 0: stop */
    void *user;
    void (*note)(void *user, const char *text); /* a retry, in words; may be NULL */
    void (*progress)(void *user, gint64 done,
                     gint64 total); /* of this file; total -1: unknown; may be NULL */
} RvFetchOptions;

/* The final answer's header; free with rv_http_reply_clear. */
typedef struct {
    long status;
    gint64 length;             /* Content-Length, -1: not said */
    gint64 retry_after;        /* seconds, 0: not said */
    char *etag, *range, *next; /* ETag, Content-Range, the rel="next" of Link; or NULL */
    char *linked_etag; /* X-Linked-Etag of any answer on the way, without quotes: a sha256 at Hugging Face */
} RvHttpReply;
void rv_http_reply_clear(RvHttpReply *reply);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RvHttpReply, rv_http_reply_clear)

typedef struct {
    const char *url;
    gint64 from;          /* > 0: ask for the bytes from there on */
    const char *if_range; /* strong ETag that the bytes before `from` are of, or NULL */
    /* Takes a piece of the body of a 200 or 206; false stops the transfer (the callee has its own reason). */
    bool (*body)(void *user, const RvHttpReply *reply, const void *data, gsize size);
    void *user;
} RvHttpRequest;

typedef enum {
    RV_HTTP_DONE,    /* 200, 206 or 416, the body whole as far as HTTP can tell */
    RV_HTTP_RETRY,   /* *error says why; it may work later */
    RV_HTTP_STOPPED, /* `body` said so; no error is set */
    RV_HTTP_FAILED,  /* *error is final */
} RvHttpOutcome;

RvHttpOutcome rv_http_get(const RvFetchOptions *options, const RvHttpRequest *request, RvHttpReply *reply,
                          GError **error);

/* After a RETRY number `failures` (from 1): waits, or fails with `cause` when that was one too many or the
 * server asks for more patience than two minutes. Takes `cause`. */
bool rv_http_wait(const RvFetchOptions *options, int failures, gint64 retry_after, GError *cause,
                  GError **error);

/* A small text (JSON), with retries; more than `limit` bytes is RV_ERROR_INVALID. `next` may be NULL. */
GBytes *rv_http_get_text(const RvFetchOptions *options, const char *url, gsize limit, char **next,
                         GError **error);
