/* convert_private.h - private to this folder: what the two ways of converting share. */
#pragma once
#include "weights/convert.h"
#include "weights/model_private.h"

/* One tensor to write: what it will be called and be, and the arrays laid end to end that it is made of. */
typedef struct {
    RvTensorSpec spec; /* owns its name */
    RvArray from[3];
    int count;       /* of `from` */
    bool transposed; /* from[0] is [rows, columns] and is written the other way round */
} RvOutTensor;

typedef struct {
    const RvConvertOptions *options;
    const char *path; /* for messages */
    gint64 total, done;
    float *scratch; /* RV_WRITE_PIECE floats */
} RvConversion;

GArray *rv_out_tensors_new(void); /* of RvOutTensor */
/* Appends one; `array` gives type and shape. Floats become options->dtype. Takes `name`. */
RvOutTensor *rv_out_tensors_add(GArray *list, char *name, const RvArray *array, RvDType dtype);
/* Writes a list as one file; with `whole`, what the file cannot show goes into its metadata. */
bool rv_out_tensors_write(const GArray *list, const RvModel *whole, const char *path,
                          RvConversion *conversion, GError **error);

/* Appends a part's tensors in LDM's names, for single files. */
void rv_ldm_add_part(const RvModel *model, RvPart part, GArray *list, RvDType dtype);
/* Appends LDM's name of a UNet's tensor, without prefix, to `out`; false when it has none. */
bool rv_ldm_unet_name(const RvUnetConfig *config, const char *name, GString *out);
