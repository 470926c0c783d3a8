/* model_list.h - the models in the folders, under all the names that clients call them by. Main loop only;
 * files are hashed by a thread, slowly. */
#pragma once
#include "studio/studio.h"

typedef struct RvModelList RvModelList;

/* `standard` is the default model's path, listed even when it lies elsewhere; may be NULL. Both are copied.
 */
RvModelList *rv_model_list_new(const char *const *folders, const char *standard, RvStore *store);
void rv_model_list_free(RvModelList *list); /* accepts NULL */
/* Looks into the folders again: somebody says that what is there is whole. */
void rv_model_list_refresh(RvModelList *list);
/* The same if anybody has ever asked for them, but a file that was written to a moment ago is left for later.
 */
void rv_model_list_look(RvModelList *list);
guint rv_model_list_revision(const RvModelList *list); /* rises when it became another one */
/* Copies; array of RvStudioModel. Looks into the folders again when that was a while ago. */
GPtrArray *rv_model_list_get(RvModelList *list);
/* Borrowed until the next refresh; NULL: there is none of that name. */
const RvStudioModel *rv_model_list_find(RvModelList *list, const char *name);
const RvStudioModel *rv_model_list_at(RvModelList *list, const char *path);
