/* studio_routes.h - handlers of the studio's own routes, /api/v1/. */
#pragma once
#include "server/route.h"

#define RV_STUDIO_MAX_BODY (128 << 20)

/* jobs.c */
void rv_jobs_post(const RvCall *call);
void rv_jobs_list(const RvCall *call);
void rv_jobs_one(const RvCall *call); /* /{id}, /{id}/result, ... */
/* jobs_events.c */
struct RvSse *rv_job_events_new(RvServer *server);
void rv_jobs_events(const RvCall *call);
/* gallery.c */
void rv_gallery_list(const RvCall *call);
void rv_gallery_one(const RvCall *call); /* /{id}, /{id}/file, /{id}/thumbnail */
/* networks.c */
void rv_networks_list(const RvCall *call);
void rv_networks_picture(const RvCall *call); /* /{kind}/{name} */
/* users.c */
void rv_users_me(const RvCall *call);
void rv_users_login(const RvCall *call);
void rv_users_logout(const RvCall *call);
void rv_users_admin(const RvCall *call);
void rv_users_document(const RvCall *call);

/* The body as a JSON object; NULL after a refusal was answered. */
JsonObject *rv_studio_body(const RvCall *call);
const char *rv_studio_query(const RvCall *call, const char *name); /* NULL */
/* A number of the query, `otherwise` when there is none; false after a refusal was answered. */
bool rv_studio_query_integer(const RvCall *call, const char *name, gint64 otherwise, gint64 *value);
/* The argument "12/rest": its number, and what follows the slash ("" without); 0 after a refusal. */
gint64 rv_studio_argument(const RvCall *call, const char **rest);
void rv_studio_answer_done(const RvCall *call); /* {"ok":true} */
/* RvStoreDone: answers that, or the store's error. `later` is an RvLater, which it ends. */
void rv_studio_answer_kept(const GError *error, void *later);
