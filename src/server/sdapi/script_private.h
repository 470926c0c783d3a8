/* script_private.h - what the scripts' files share. */
#pragma once
#include "server/sdapi/script.h"

/* One run of a script: the request's fields and options with its own changes. */
typedef struct {
    JsonObject *fields, *options;
} RvScriptVariant;

typedef struct {
    const RvScriptInfo *info;
    /* Reads the arguments and adds the variants; false with a refusal. */
    bool (*begin)(RvScript *script, RvRefusal *refusal);
    /* The first job; NULL: all variants as parts of one. */
    RvStudioJob *(*first)(RvScript *script, RvRefusal *refusal);
    /* What follows a result; NULL: nothing, all variants ran in one job. */
    RvStudioJob *(*follow)(RvScript *script, RvStudioResult *last, RvRefusal *refusal);
    /* Changes the list of pictures to what is answered; NULL: they are answered as they are. */
    bool (*compose)(RvScript *script, GPtrArray *pictures, GError **error);
    GDestroyNotify free_data;
    bool keeps_pictures; /* its own ones are kept among the outputs, not those of its jobs */
} RvScriptClass;

struct RvScript {
    const RvScriptClass *class;
    RvScriptInput input;
    GPtrArray *variants; /* RvScriptVariant */
    GPtrArray *pictures; /* RvScriptPicture, so far */
    void *data;          /* of the class */
};

extern const RvScriptClass rv_script_matrix, rv_script_file, rv_script_xyz, rv_script_loopback,
    rv_script_upscale, rv_script_outpaint;

/* A variant more, equal to the request: borrowed. */
RvScriptVariant *rv_script_add_variant(RvScript *script);
/* The jobs of all variants as parts of one. */
RvStudioJob *rv_script_job(RvScript *script, RvRefusal *refusal);
JsonObject *rv_script_copy(JsonObject *object);

/* Argument `index`, or its default when it is missing or null; borrowed. */
JsonNode *rv_script_argument(const RvScript *script, guint index);
bool rv_script_flag(const RvScript *script, guint index);
double rv_script_number(const RvScript *script, guint index);
/* Numbers as text, too; free with g_free. */
char *rv_script_text(const RvScript *script, guint index);
/* A choice by its name or its number; -1 with a refusal. */
int rv_script_choice(const RvScript *script, guint index, RvRefusal *refusal);

/* Every seed that is left to chance is chosen now, so that all variants have the same. */
void rv_script_fix_seeds(JsonObject *fields);
