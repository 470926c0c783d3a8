/* xyz_axes.h - what "X/Y/Z plot" can vary: one table of axes. */
#pragma once
#include "server/sdapi/script_private.h"

typedef enum {
    RV_AXIS_NOTHING,
    RV_AXIS_INTEGERS, /* ranges such as 1-5, 1-9(+2), 1-10[4] too */
    RV_AXIS_NUMBERS,
    RV_AXIS_TEXTS,
    RV_AXIS_ORDER,   /* every order of the texts: "Prompt order" */
    RV_AXIS_REPLACE, /* "Prompt S/R": the first text is replaced by each */
    RV_AXIS_SIZES,   /* 512x768 */
    RV_AXIS_MISSING  /* A1111 has it, this server does not */
} RvAxisKind;

typedef struct {
    const char *label;
    RvAxisKind kind;
    const char *field;  /* of the request; NULL: an option */
    const char *option; /* or NULL */
    bool txt2img_only, img2img_only;
} RvAxis;

/* In A1111's order, which numbers them for clients. Index counts only those of the kind of request; NULL past
 * the last. */
const RvAxis *rv_axis_at(bool is_img2img, int index);
/* By label or number; NULL with a refusal. */
const RvAxis *rv_axis_find(bool is_img2img, const char *name, RvRefusal *refusal);
/* The values that `text` lists (with commas; quotes around values with commas); NULL with a refusal. An axis
 * of nothing has one value, "". */
char **rv_axis_values(const RvAxis *axis, const char *text, RvRefusal *refusal);
/* A value as a grid's legend shows it; free with g_free. */
char *rv_axis_label(const RvAxis *axis, const char *value);
/* Puts one of these values into the variant. */
bool rv_axis_apply(const RvAxis *axis, char **values, guint index, RvScriptVariant *variant, bool is_img2img,
                   RvRefusal *refusal);
