/* route.h - one table of everything that the server answers to: it dispatches, guards, documents
 * (`GET /api/routes`) and is walked by tests.
 *
 * Handlers run on the main loop and must not block. Before a handler is called the Host and Origin headers,
 * the size of the body, the method and the credentials were checked. */
#pragma once
#include <json-glib/json-glib.h>
#include <libsoup/soup.h>

#include "server/client.h"

typedef enum {
    RV_AUTH_NONE,    /* health, pages' static files */
    RV_AUTH_REQUIRED /* a token or a user's password, if the server has any */
} RvRouteAuth;

typedef struct RvRoute RvRoute;

typedef struct {
    RvServer *server;
    const RvRoute *route;
    SoupServerMessage *message;
    GHashTable *query;    /* decoded, key -> value; NULL without a query */
    const char *argument; /* what the pattern's "{...}" matched, decoded; NULL without */
    const char *user;     /* who asks: a user's name; "" without users, or where nobody needs to log in */
} RvCall;

typedef void (*RvRouteHandler)(const RvCall *call);
/* `connection` is open and belongs to the handler (take a reference). */
typedef void (*RvSocketHandler)(const RvCall *call, SoupWebsocketConnection *connection);

/* As a WebSocket's path: every address that no other row has. */
#define RV_ANY_PATH "/{any}"

typedef struct RvFieldSet RvFieldSet;

/* How a route words its refusals. */
typedef enum {
    RV_ERRORS_OURS,   /* {"error":TEXT} */
    RV_ERRORS_A1111,  /* {"error":KIND,"detail":TEXT,"body":"","errors":""} */
    RV_ERRORS_OPENAI, /* {"error":{"message":TEXT,"type":KIND,...}} */
} RvRouteErrors;

struct RvRoute {
    const char *methods; /* "GET", "GET,POST"; HEAD comes with GET */
    const char
        *path; /* "/api/state", "/prompt/{text}": one {name} at most, at the end, which may hold slashes */
    RvRouteAuth auth;
    bool changes_state; /* a GET that changes something: cross-site requests are refused for it too */
    RvRouteHandler handler;
    RvSocketHandler socket;                /* instead of handler: a WebSocket */
    const char *help;                      /* one line */
    const char *parameter;                 /* for the handler: which live parameter, or file */
    const RvFieldSet *body, *query_fields; /* what it reads (sdapi/field.h), for the documentation; or NULL */
    bool takes_forms;                      /* the body may be multipart/form-data, too */
    bool takes_text;                       /* the body may be of any type; otherwise it is JSON */
    gsize max_body;                        /* bytes; 0: 256 KB */
    RvRouteErrors errors;
};

extern const RvRoute rv_routes[], rv_studio_routes[], rv_sdapi_routes[]; /* end with a row without a path */
extern const RvRoute *const rv_route_tables[];                           /* these, then NULL */

/* The header X-Process-Time: seconds since the request's headers were read. Of answers that come later, too,
 * before they are written. */
void rv_answer_note_time(SoupServerMessage *message);

/* The whole number in the query's `key`, or `fallback` without one; RV_ERROR_USAGE: it is none. */
bool rv_call_number(const RvCall *call, const char *key, guint64 fallback, guint64 *value, GError **error);

/* Answers. The status is an HTTP one; JSON is one object per line. */
void rv_answer_text(const RvCall *call, guint status, const char *type, const char *text);
void rv_answer_json(const RvCall *call, guint status, JsonBuilder *builder);
/* The status that the error's code stands for, worded as the route words its refusals. */
void rv_answer_error(const RvCall *call, const GError *error);
guint rv_error_status(const GError *error);
/* Refuses: `kind` is a word for programs, such as "HTTPException". */
void rv_answer_problem(const RvCall *call, guint status, const char *kind, const char *text);
