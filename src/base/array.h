/* array.h - a borrowed, typed, row-major array on the host: what weight files hand out
 * and programs take in. It owns nothing. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    RV_F32 = 0,
    RV_F16,
    RV_BF16,
    RV_F8_E4M3, /* OCP FP8, finite ("fn"): no infinities, NaN is 0x7f and 0xff */
    RV_F64,
    RV_I32,
    RV_I64,
    RV_U8,
} RvDType;

#define RV_MAX_RANK 5

typedef struct {
    RvDType dtype;
    int rank;                  /* 0 is a scalar: one element */
    gint64 shape[RV_MAX_RANK]; /* outermost first, as torch prints it */
    const void *data;          /* aligned to the element size at least, unless the owner says less */
} RvArray;

gsize rv_dtype_size(RvDType dtype);       /* bytes of one element */
const char *rv_dtype_name(RvDType dtype); /* safetensors spelling: "F16" */
gint64 rv_array_count(const RvArray *array);

/* Converts `count` elements to float32; `from` need not be aligned. */
void rv_convert_to_f32(RvDType dtype, const void *from, float *to, gsize count);
/* Rounds to nearest even; `dtype` is RV_F32, RV_F16 or RV_BF16. */
void rv_convert_from_f32(RvDType dtype, const float *from, void *to, gsize count);
