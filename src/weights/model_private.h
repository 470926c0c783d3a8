/* model_private.h - private to this folder. */
#pragma once
#include "weights/config_read.h"
#include "weights/json_file.h"
#include "weights/model.h"
#include "weights/names.h"

struct RvModel {
    char *path;
    RvNames *names;
    GPtrArray *files; /* of RvSafetensors */
    bool has[RV_PARTS];
    bool extra[RV_PARTS];       /* found beside the model, not named in its index */
    char *config_dir;           /* where configs come from: the folder itself, or one beside a single file */
    bool config_used[RV_PARTS]; /* the part's config is config_dir's, or the file's own statement */
    RvConfig config[RV_PARTS];
    GPtrArray *absent; /* parts that the index names and that are not there, when opened partially */
    RvModelTraits traits;
    char *family_name;
    char *tokenizer[2], *scheduler;
    JsonObject *stated_scheduler; /* of a single file's own statement, or NULL */
    bool aesthetics;              /* the index asks for aesthetic scores: the SDXL refiner */
};

RvModel *rv_model_new(const char *path);
/* Opens a weight file and binds its tensors. */
bool rv_model_add_file(RvModel *model, const char *path, RvPart part, GError **error);
/* Opens a part's folder: config.json and weights in any of the layouts. */
bool rv_model_add_part_folder(RvModel *model, const char *folder, RvPart part, const char *variant,
                              GError **error);
bool rv_model_open_folder(RvModel *model, const RvModelOptions *options, GError **error);
bool rv_model_open_file(RvModel *model, const RvModelOptions *options, GError **error);
/* Whether the model has every tensor of the part so described. */
bool rv_model_config_fits(const RvModel *model, RvPart part, const RvConfig *config);
/* The index's "_reverie_family". */
void rv_model_read_family(RvModel *model, RvReader *reader);
/* What a single file cannot show in its tensors, as metadata: written when we convert, taken for the parts
 * that have no config yet. A file without it is as good; one whose statement is malformed or fits other
 * tensors is INVALID. */
void rv_stated_add(const RvModel *model, GHashTable *metadata); /* of owned strings */
bool rv_stated_read(RvModel *model, GError **error);
/* Configs by shapes for the parts that have tensors and no config yet. */
bool rv_model_deduce(RvModel *model, const char *path, GError **error);
/* Family, variant, prediction. */
void rv_model_detect(RvModel *model);
RvFamily rv_model_detect_family(const RvModel *model);
/* What a part's folder holds, by config.json's _class_name; RV_PART_NONE: nothing that we know. */
RvPart rv_part_of_folder(const char *folder);
