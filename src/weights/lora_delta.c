/* lora_delta.c - what a module's matrices say, as numbers. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "weights/lora_private.h"

/* ---- shapes ---- */

static gint64
rows(const RvArray *a)
{
    return a->rank > 0 ? a->shape[0] : 1;
}

/* Elements behind the first index. */
static gint64
columns(const RvArray *a)
{
    return rows(a) > 0 ? rv_array_count(a) / rows(a) : 0;
}

/* Elements behind the second index: the kernel's taps. */
static gint64
taps(const RvArray *a)
{
    return a->rank > 1 && a->shape[1] > 0 ? columns(a) / a->shape[1] : 1;
}

static bool
refuse(const RvLoraModule *m, const char *path, GError **error)
{
    return rv_error_set(error, RV_ERROR_INVALID, path, "get the file again",
                        "the matrices of \"%s\" do not fit each other", m->key);
}

static bool
settle_plain(RvLoraModule *m)
{
    const RvArray *down = m->slots[RV_LORA_DOWN], *up = m->slots[RV_LORA_UP], *mid = m->slots[RV_LORA_MID];
    if (down == NULL || up == NULL)
        return false;
    m->rank = (int)rows(down);
    if (mid == NULL)
        return columns(up) == rows(down);
    return mid->rank >= 2 && rows(mid) == columns(up) && mid->shape[1] == rows(down) && taps(down) == 1;
}

/* One of the two factors of a LoHa: a [out, rank] b [rank, in], or with a middle a [rank, out] b [rank, in].
 */
static bool
hada_fits(const RvArray *a, const RvArray *b, const RvArray *t)
{
    if (a == NULL || b == NULL)
        return false;
    if (t == NULL)
        return columns(a) == rows(b);
    return t->rank >= 2 && rows(t) == rows(a) && t->shape[1] == rows(b);
}

static bool
settle_hada(RvLoraModule *m)
{
    const RvArray *const *s = m->slots;
    if (!hada_fits(s[RV_HADA_1A], s[RV_HADA_1B], s[RV_HADA_T1]) ||
        !hada_fits(s[RV_HADA_2A], s[RV_HADA_2B], s[RV_HADA_T2]) ||
        (s[RV_HADA_T1] == NULL) != (s[RV_HADA_T2] == NULL))
        return false;
    m->rank = (int)rows(s[RV_HADA_1B]);
    return true;
}

static bool
settle_kron(RvLoraModule *m)
{
    const RvArray *const *s = m->slots;
    bool first = s[RV_LOKR_1] != NULL || (s[RV_LOKR_1A] != NULL && s[RV_LOKR_1B] != NULL &&
                                          columns(s[RV_LOKR_1A]) == rows(s[RV_LOKR_1B]));
    bool second = s[RV_LOKR_2] != NULL || hada_fits(s[RV_LOKR_2A], s[RV_LOKR_2B], s[RV_LOKR_T2]);
    const RvArray *b = s[RV_LOKR_2] == NULL ? s[RV_LOKR_2B] : s[RV_LOKR_1] == NULL ? s[RV_LOKR_1B] : NULL;
    m->rank = b != NULL ? (int)rows(b) : 0;
    return first && second;
}

static float
scalar(const RvArray *a)
{
    float value = NAN;
    if (a != NULL && rv_array_count(a) == 1)
        rv_convert_to_f32(a->dtype, a->data, &value, 1);
    return value;
}

bool
rv_lora_module_settle(RvLoraModule *m, const char *path, GError **error)
{
    const RvArray *const *s = m->slots;
    bool ok = true;
    for (int i = 0; i < RV_LORA_SLOTS; i++)
        ok = ok && (s[i] == NULL || rv_array_count(s[i]) > 0);
    if (ok && (s[RV_LORA_DIFF] != NULL || s[RV_LORA_DIFF_BIAS] != NULL) && s[RV_LORA_UP] == NULL) {
        m->kind = RV_LORA_FULL;
    } else if (ok && (s[RV_HADA_1A] != NULL || s[RV_HADA_1B] != NULL)) {
        m->kind = RV_LORA_HADA;
        ok = settle_hada(m);
    } else if (ok && (s[RV_LOKR_1] != NULL || s[RV_LOKR_1A] != NULL)) {
        m->kind = RV_LORA_KRON;
        ok = settle_kron(m);
    } else if (ok) {
        m->kind = RV_LORA_PLAIN;
        ok = settle_plain(m);
    }
    m->scale = 1.0f;
    if (s[RV_LORA_SCALE] != NULL)
        m->scale = scalar(s[RV_LORA_SCALE]);
    else if (s[RV_LORA_ALPHA] != NULL && m->rank > 0)
        m->scale = scalar(s[RV_LORA_ALPHA]) / (float)m->rank;
    return (ok && isfinite(m->scale)) || refuse(m, path, error);
}

/* Rows and columns of w2 as they count in the Kronecker product: w2 is [c, d * taps]. */
static void
kron_second(const RvLoraModule *m, gint64 *c, gint64 *d_taps)
{
    const RvArray *const *s = m->slots;
    if (s[RV_LOKR_2] != NULL)
        *c = rows(s[RV_LOKR_2]), *d_taps = columns(s[RV_LOKR_2]);
    else if (s[RV_LOKR_T2] != NULL)
        *c = columns(s[RV_LOKR_2A]), *d_taps = columns(s[RV_LOKR_2B]) * taps(s[RV_LOKR_T2]);
    else
        *c = rows(s[RV_LOKR_2A]), *d_taps = columns(s[RV_LOKR_2B]);
}

static bool
dora_fits(const RvArray *dora, gint64 out, gint64 in)
{
    return dora == NULL || (rows(dora) == out && columns(dora) == 1) ||
           (rows(dora) == 1 && columns(dora) == in);
}

bool
rv_lora_module_fits(const RvLoraModule *m, gint64 out, gint64 in, gint64 kernel)
{
    const RvArray *const *s = m->slots;
    const RvArray *bias = s[RV_LORA_DIFF_BIAS];
    if (!dora_fits(s[RV_LORA_DORA], out, in) || (bias != NULL && rv_array_count(bias) != out))
        return false;
    if (m->kind == RV_LORA_FULL)
        return s[RV_LORA_DIFF] == NULL || rv_array_count(s[RV_LORA_DIFF]) == out * in * kernel;
    if (m->kind == RV_LORA_PLAIN) {
        const RvArray *mid = s[RV_LORA_MID];
        return rows(s[RV_LORA_UP]) == out &&
               (mid != NULL ? columns(s[RV_LORA_DOWN]) == in && taps(mid) == kernel
                            : columns(s[RV_LORA_DOWN]) == in * kernel);
    }
    if (m->kind == RV_LORA_HADA)
        for (int i = 0; i < 2; i++) {
            const RvArray *a = s[RV_HADA_1A + 2 * i], *b = s[RV_HADA_1B + 2 * i], *t = s[RV_HADA_T1 + i];
            bool fits = t != NULL ? columns(a) == out && columns(b) == in && taps(t) == kernel
                                  : rows(a) == out && columns(b) == in * kernel;
            if (!fits)
                return false;
        }
    if (m->kind == RV_LORA_KRON) {
        gint64 c, d_taps, a = rows(s[RV_LOKR_1] != NULL ? s[RV_LOKR_1] : s[RV_LOKR_1A]),
                          b = columns(s[RV_LOKR_1] != NULL ? s[RV_LOKR_1] : s[RV_LOKR_1B]);
        kron_second(m, &c, &d_taps);
        return a * c == out && b * d_taps == in * kernel && d_taps % kernel == 0;
    }
    return true;
}

/* ---- numbers ---- */

static float *
floats(const RvArray *a)
{
    gsize count = (gsize)rv_array_count(a);
    float *values = g_new(float, count);
    rv_convert_to_f32(a->dtype, a->data, values, count);
    return values;
}

/* a [m, r] times b [r, n] */
static float *
product(const float *a, const float *b, gint64 m, gint64 r, gint64 n)
{
    float *to = g_new0(float, (gsize)(m * n));
#pragma omp parallel for schedule(static)
    for (gint64 i = 0; i < m; i++)
        for (gint64 k = 0; k < r; k++) {
            const float factor = a[i * r + k];
            for (gint64 j = 0; j < n; j++)
                to[i * n + j] += factor * b[k * n + j];
        }
    return to;
}

static float *
product_of(const RvArray *a, const RvArray *b)
{
    g_autofree float *x = floats(a), *y = floats(b);
    return product(x, y, rows(a), rows(b), columns(b));
}

/* [rows, columns] -> [columns, rows] */
static float *
transposed(const float *from, gint64 m, gint64 n)
{
    float *to = g_new(float, (gsize)(m * n));
    for (gint64 i = 0; i < m; i++)
        for (gint64 j = 0; j < n; j++)
            to[j * m + i] = from[i * n + j];
    return to;
}

/* sum over p, q of a[o, p] t[p, q, tap] b[q, i]  ->  [o, i, tap]; `a` is [out, p]. */
static float *
tucker(const float *a, const RvArray *t, const float *b, gint64 out, gint64 in)
{
    gint64 p_count = rows(t), q_count = t->shape[1], kernel = taps(t);
    g_autofree float *middle = floats(t);
    g_autofree float *left = product(a, middle, out, p_count, q_count * kernel); /* [o, q, tap] */
    float *to = g_new0(float, (gsize)(out * in * kernel));
#pragma omp parallel for schedule(static)
    for (gint64 o = 0; o < out; o++)
        for (gint64 q = 0; q < q_count; q++)
            for (gint64 i = 0; i < in; i++)
                for (gint64 k = 0; k < kernel; k++)
                    to[(o * in + i) * kernel + k] += left[(o * q_count + q) * kernel + k] * b[q * in + i];
    return to;
}

static float *
plain_delta(const RvLoraModule *m)
{
    const RvArray *down = m->slots[RV_LORA_DOWN], *up = m->slots[RV_LORA_UP], *mid = m->slots[RV_LORA_MID];
    if (mid == NULL)
        return product_of(up, down);
    g_autofree float *a = floats(up), *b = floats(down);
    return tucker(a, mid, b, rows(up), columns(down));
}

/* One factor of a Hadamard product, or the second one of a Kronecker product. */
static float *
factor(const RvArray *a, const RvArray *b, const RvArray *t)
{
    if (t == NULL)
        return product_of(a, b);
    g_autofree float *x = floats(a), *y = floats(b);
    g_autofree float *turned = transposed(x, rows(a), columns(a));
    return tucker(turned, t, y, columns(a), columns(b));
}

static float *
hada_delta(const RvLoraModule *m)
{
    const RvArray *const *s = m->slots;
    float *to = factor(s[RV_HADA_1A], s[RV_HADA_1B], s[RV_HADA_T1]);
    g_autofree float *other = factor(s[RV_HADA_2A], s[RV_HADA_2B], s[RV_HADA_T2]);
    for (gint64 i = 0; i < m->out * m->in * m->taps; i++)
        to[i] *= other[i];
    return to;
}

static float *
kron_delta(const RvLoraModule *m)
{
    const RvArray *const *s = m->slots;
    g_autofree float *first =
        s[RV_LOKR_1] != NULL ? floats(s[RV_LOKR_1]) : product_of(s[RV_LOKR_1A], s[RV_LOKR_1B]);
    g_autofree float *second =
        s[RV_LOKR_2] != NULL ? floats(s[RV_LOKR_2]) : factor(s[RV_LOKR_2A], s[RV_LOKR_2B], s[RV_LOKR_T2]);
    gint64 c, d_taps;
    kron_second(m, &c, &d_taps);
    gint64 b = m->in * m->taps / d_taps;
    float *to = g_new(float, (gsize)(m->out * m->in * m->taps));
    for (gint64 o = 0; o < m->out; o++)
        for (gint64 j = 0; j < b; j++)
            for (gint64 k = 0; k < d_taps; k++)
                to[(o * b + j) * d_taps + k] = first[o / c * b + j] * second[o % c * d_taps + k];
    return to;
}

/* Rescales w + d so that its norm is the magnitude, and gives what that changes. */
static void
decompose(const RvLoraModule *m, const float *w, float *d)
{
    const RvArray *dora = m->slots[RV_LORA_DORA];
    bool by_output = rows(dora) == m->out && columns(dora) == 1;
    g_autofree float *magnitude = floats(dora);
    gint64 groups = by_output ? m->out : m->in, each = m->in * m->taps;
    g_autofree double *sums = g_new0(double, (gsize)groups);
    for (gint64 i = 0; i < m->out * each; i++) {
        double value = (double)w[i] + (double)d[i];
        sums[by_output ? i / each : i % each / m->taps] += value * value;
    }
    for (gint64 i = 0; i < m->out * each; i++) {
        gint64 group = by_output ? i / each : i % each / m->taps;
        double norm = sqrt(sums[group]) + 1e-12;
        d[i] = (float)(((double)w[i] + (double)d[i]) * ((double)magnitude[group] / norm) - (double)w[i]);
    }
}

void
rv_lora_module_apply(const RvLoraModule *m, double weight, float *to)
{
    static float *(*const deltas[RV_LORA_KINDS])(const RvLoraModule *) = {
        [RV_LORA_PLAIN] = plain_delta, [RV_LORA_HADA] = hada_delta, [RV_LORA_KRON] = kron_delta
    };
    gint64 count = m->out * m->in * m->taps;
    if (m->kind == RV_LORA_FULL && m->slots[RV_LORA_DIFF] == NULL)
        return;
    g_autofree float *d = m->kind == RV_LORA_FULL ? floats(m->slots[RV_LORA_DIFF]) : deltas[m->kind](m);
    for (gint64 i = 0; i < count; i++)
        d[i] *= m->scale;
    if (m->slots[RV_LORA_DORA] != NULL)
        decompose(m, to, d);
    for (gint64 i = 0; i < count; i++)
        to[i] += (float)weight * d[i];
}
