/* name_pattern.h - A1111's patterns for names of files and folders: "[seed]", "[model_name]/[date]".
 *
 * Tokens, in any case of letters: seed, seed_first, seed_last, subseed, steps, cfg, width, height (as in the
 * infotext), sampler, scheduler, sampler_scheduler, model_name, model_hash, vae_filename, clip_skip,
 * denoising, styles, user, date, datetime<strftime's format><time zone>, job_timestamp, prompt,
 * prompt_spaces, prompt_words, prompt_hash<digits>, negative_prompt_hash<digits>, full_prompt_hash<digits>,
 * image_hash<digits>, hasprompt<word|otherwise>..., batch_number, generation_number, batch_size and none.
 * Others stay as they are.
 *
 * Patterns and all that they stand for come from outside: what is given back is always a plain name or path
 * (rv_path_is_plain) of bounded length. Any thread. */
#pragma once
#include "media/picture.h"

/* What a picture's name may speak of; borrowed. */
typedef struct {
    const char *infotext;      /* NULL: none */
    const char *user, *styles; /* NULL: none */
    const RvPicture *picture;  /* for its hash; NULL: "" */
    gint64 seed, subseed, first_seed, last_seed;
    int batch_size, index; /* of the picture within its batch */
    int count, number;     /* of the job's part: pictures, and which one this is; from 0 */
    int words;             /* of [prompt_words]; 0: 8 */
    gint64 began;          /* seconds since 1970 */
} RvNameFacts;

/* A file's name without ending; "" when nothing is left of it. Free with g_free. */
char *rv_name_file(const char *pattern, const RvNameFacts *facts);
/* A relative path of folders, its parts between "/"; "" when nothing is left of it. Free with g_free. */
char *rv_name_folder(const char *pattern, const RvNameFacts *facts);
