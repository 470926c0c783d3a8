/* wildcards.h - a job's prompts with their wildcards drawn (text/wildcards.h).
 *
 * The texts are NAME.txt in DATA/users/USER/wildcards, then in DATA/wildcards, then in a "wildcards" folder
 * of the models' folders. */
#pragma once
#include "engine/library.h"
#include "studio/job.h"

/* NULL where the job has NULL. */
typedef struct {
    char *prompt, *negative, *hr_prompt, *hr_negative;
} RvDrawnPrompts;

bool rv_prompts_have_wildcards(const RvStudioJob *job);
/* Of the picture with that seed. `folders` end with NULL; `library` knows the models' folders. Any thread. */
bool rv_prompts_draw(RvDrawnPrompts *prompts, const RvStudioJob *job, guint64 seed, char **folders,
                     const RvLibrary *library, GError **error);
void rv_prompts_clear(RvDrawnPrompts *prompts);
