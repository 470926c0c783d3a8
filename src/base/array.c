#include "base/array.h"

#include <math.h>
#include <string.h>

gsize
rv_dtype_size(RvDType dtype)
{
    switch (dtype) {
    case RV_U8:
    case RV_F8_E4M3:
        return 1;
    case RV_F16:
    case RV_BF16:
        return 2;
    case RV_F32:
    case RV_I32:
        return 4;
    case RV_F64:
    case RV_I64:
        return 8;
    }
    g_assert_not_reached();
}

const char *
rv_dtype_name(RvDType dtype)
{
    static const char *const names[] = {
        [RV_F32] = "F32", [RV_F16] = "F16", [RV_BF16] = "BF16", [RV_F8_E4M3] = "F8_E4M3",
        [RV_F64] = "F64", [RV_I32] = "I32", [RV_I64] = "I64",   [RV_U8] = "U8",
    };
    return names[dtype];
}

gint64
rv_array_count(const RvArray *array)
{
    gint64 count = 1;
    for (int i = 0; i < array->rank; i++)
        count *= array->shape[i];
    return count;
}

static float
float_of_bits(guint32 bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static guint32
bits_of_float(float value)
{
    guint32 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float
f32_of_f16(guint16 h)
{
    guint32 sign = (guint32)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 0) {
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static float
f32_of_f8_e4m3(guint8 b)
{
    int exponent = (b >> 3) & 15, mantissa = b & 7;
    float magnitude;
    if (exponent == 15 && mantissa == 7)
        return NAN;
    if (exponent == 0)
        magnitude = ldexpf((float)mantissa, -9);
    else
        magnitude = ldexpf(1.0f + (float)mantissa / 8.0f, exponent - 7);
    return b & 0x80 ? -magnitude : magnitude;
}

void
rv_convert_to_f32(RvDType dtype, const void *from, float *to, gsize count)
{
    const guint8 *bytes = from;
    switch (dtype) {
    case RV_F32:
        memcpy(to, from, count * sizeof *to);
        return;
    case RV_F16:
        for (gsize i = 0; i < count; i++) {
            guint16 h;
            memcpy(&h, bytes + 2 * i, 2);
            to[i] = f32_of_f16(h);
        }
        return;
    case RV_BF16:
        for (gsize i = 0; i < count; i++) {
            guint16 h;
            memcpy(&h, bytes + 2 * i, 2);
            to[i] = float_of_bits((guint32)h << 16);
        }
        return;
    case RV_F8_E4M3:
        for (gsize i = 0; i < count; i++)
            to[i] = f32_of_f8_e4m3(bytes[i]);
        return;
    case RV_F64:
        for (gsize i = 0; i < count; i++) {
            double d;
            memcpy(&d, bytes + 8 * i, 8);
            to[i] = (float)d;
        }
        return;
    case RV_I32:
        for (gsize i = 0; i < count; i++) {
            gint32 v;
            memcpy(&v, bytes + 4 * i, 4);
            to[i] = (float)v;
        }
        return;
    case RV_I64:
        for (gsize i = 0; i < count; i++) {
            gint64 v;
            memcpy(&v, bytes + 8 * i, 8);
            to[i] = (float)v;
        }
        return;
    case RV_U8:
        for (gsize i = 0; i < count; i++)
            to[i] = bytes[i];
        return;
    }
}

static guint16
f16_of_f32(float value)
{
    guint32 bits = bits_of_float(value), sign = bits >> 16 & 0x8000;
    guint32 magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (guint16)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) /* 65520 and up round to infinity */
        return (guint16)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* subnormal: round in float, whose own rounding is to even */
        float scaled = float_of_bits(magnitude) * 0x1p24f;
        return (guint16)(sign | (guint32)rintf(scaled));
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (guint16)(sign | ((magnitude - 0x38000000) >> 13));
}

static guint16
bf16_of_f32(float value)
{
    guint32 bits = bits_of_float(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (guint16)(bits >> 16 | 0x40);
    return (guint16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void
rv_convert_from_f32(RvDType dtype, const float *from, void *to, gsize count)
{
    guint8 *bytes = to;
    g_assert(dtype == RV_F32 || dtype == RV_F16 || dtype == RV_BF16);
    if (dtype == RV_F32) {
        memcpy(to, from, count * sizeof *from);
        return;
    }
    for (gsize i = 0; i < count; i++) {
        guint16 h = dtype == RV_F16 ? f16_of_f32(from[i]) : bf16_of_f32(from[i]);
        memcpy(bytes + 2 * i, &h, 2);
    }
}
