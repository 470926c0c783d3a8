#include "backends/cpu/kernels/attention.h"

#include <math.h>

#include "backends/cpu/kernels/vec.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define KEY_BLOCK 256 /* keys whose scores exist at once */
#define STRIP 24      /* queries whose scores exist at once: STRIP * KEY_BLOCK floats fill the L1 cache */
#define PANEL (2 * CPU_LANES) /* keys, or channels of v, that a tile covers */
#define LOG2_E 1.44269504088896340736f

/* Rows of the register tiles that are one, two and three vectors wide: 12 sums live in 16 registers,
 * 24 in 32. All divide STRIP. */
#if CPU_LANES == 16
#define ROWS1 24
#define ROWS2 12
#define ROWS3 8
#else
#define ROWS1 12
#define ROWS2 6
#define ROWS3 4
#endif

typedef int32_t IntVec __attribute__((vector_size(4 * CPU_LANES)));

#define INLINE static inline __attribute__((always_inline))

/* b where either is NaN. */
INLINE Vec
vec_max(Vec a, Vec b)
{
#if CPU_LANES == 16 && defined(__AVX512F__)
    return (Vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif CPU_LANES == 8 && defined(__AVX2__)
    return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    IntVec greater = a > b;
    return (Vec)((greater & (IntVec)a) | (~greater & (IntVec)b));
#endif
}

/* 2^x for x <= 0, relative error 2e-7; 0 for x < -126.5. The polynomial is a Chebyshev fit of
 * (2^r - 1) / r on |r| <= 1/2. */
INLINE Vec
vec_exp2(Vec x)
{
    x = vec_max(vec_all(-127.0f), x);
    Vec shifted = x + 0x1.8p+23f; /* the low bits are round(x) */
    Vec r = x - (shifted - 0x1.8p+23f);
    Vec p = r * 1.545316336e-04f + 1.339086331e-03f;
    p = p * r + 9.618083015e-03f;
    p = p * r + 5.550356954e-02f;
    p = p * r + 2.402265072e-01f;
    p = p * r + 6.931471825e-01f;
    Vec scale = (Vec)(((IntVec)shifted + 127) << 23);
    return (scale * r) * p + scale;
}

INLINE float
vec_largest(Vec v)
{
    float largest = v[0];
    for (int i = 1; i < CPU_LANES; i++)
        largest = v[i] > largest || v[i] != v[i] ? v[i] : largest;
    return largest;
}

/* How the kernel's space is divided. Queries are padded to whole strips, v's channels to whole vectors. */
typedef struct {
    int width, vectors; /* channels of the head; vectors that hold them */
    float *q;           /* [rows / ROWS2][width][ROWS2], times scale * log2(e) */
    float *k;           /* [KEY_BLOCK / PANEL][width][PANEL] */
    float *v;           /* panels of 1, 2 or 3 vectors: [KEY_BLOCK][panel] */
    float *scores;      /* [STRIP][KEY_BLOCK] */
    float *out;         /* [rows][vectors * CPU_LANES], not yet divided by the sum */
    float *largest;     /* [rows] */
    float *sums;        /* [rows][CPU_LANES] */
    float *fade;        /* [STRIP]: what earlier blocks are multiplied by */
} Space;

static int
padded_rows(int rows)
{
    return (rows + STRIP - 1) / STRIP * STRIP;
}

static float *
take(float **space, gsize count)
{
    float *part = *space;
    *space += (count + 15) / 16 * 16;
    return part;
}

static gsize
divide_space(Space *s, int width, int rows, float *memory)
{
    float *end = memory;
    gsize padded = (gsize)padded_rows(rows), w = (gsize)width;
    s->width = width;
    s->vectors = (width + CPU_LANES - 1) / CPU_LANES;
    gsize out_width = (gsize)s->vectors * CPU_LANES;
    s->q = take(&end, padded * w);
    s->k = take(&end, KEY_BLOCK * w);
    s->v = take(&end, KEY_BLOCK * out_width);
    s->scores = take(&end, STRIP * KEY_BLOCK);
    s->out = take(&end, padded * out_width);
    s->largest = take(&end, padded);
    s->sums = take(&end, padded * CPU_LANES);
    s->fade = take(&end, STRIP);
    return (gsize)(end - memory) * sizeof(float);
}

static gsize
space_kernel(int width, int rows)
{
    Space s;
    static float nowhere[1];
    return divide_space(&s, width, rows, nowhere);
}

static void
pack_queries(const Space *s, const AttentionPart *part)
{
    float scale = part->scale * LOG2_E;
    for (int row = 0; row < padded_rows(part->rows); row++) {
        const float *from = part->q + (gint64)(part->first + row) * part->q_stride;
        float *to = s->q + (gint64)(row / ROWS2) * ROWS2 * s->width + row % ROWS2;
        for (int c = 0; c < s->width; c++)
            to[c * ROWS2] = row < part->rows ? from[c] * scale : 0.0f;
    }
}

static void
pack_keys(const Space *s, const AttentionPart *part, int first, int count)
{
    for (int key = 0; key < (count + PANEL - 1) / PANEL * PANEL; key++) {
        const float *from = part->k + (gint64)(first + key) * part->k_stride;
        float *to = s->k + (gint64)(key / PANEL) * PANEL * s->width + key % PANEL;
        for (int c = 0; c < s->width; c++)
            to[c * PANEL] = key < count ? from[c] : 0.0f;
    }
}

/* Vectors of the panel of v that begins at vector `at`: an odd count starts with 3 (1 if it is all). */
INLINE int
panel_vectors(int vectors, int at)
{
    return at > 0 || vectors % 2 == 0 ? 2 : vectors == 1 ? 1 : 3;
}

static void
pack_values(const Space *s, const AttentionPart *part, int first, int count)
{
    float *to = s->v;
    for (int at = 0; at < s->vectors; at += panel_vectors(s->vectors, at)) {
        int panel = panel_vectors(s->vectors, at) * CPU_LANES;
        int used = MIN(panel, s->width - at * CPU_LANES);
        for (int key = 0; key < count; key++) {
            const float *from = part->v + (gint64)(first + key) * part->v_stride + at * CPU_LANES;
            memcpy(to, from, sizeof *to * (gsize)used);
            memset(to + used, 0, sizeof *to * (gsize)(panel - used));
            to += panel;
        }
        to += (KEY_BLOCK - count) * panel;
    }
}

/* scores[ROWS2][PANEL] = q k^T for one packed tile of queries and one packed panel of keys. */
INLINE void
score_tile(const float *q, const float *k, int width, float *scores)
{
    Vec sum[ROWS2][2] = { 0 };
    for (int c = 0; c < width; c++) {
        Vec k0 = vec_load(k + c * PANEL), k1 = vec_load(k + c * PANEL + CPU_LANES);
#pragma GCC unroll 12
        for (int row = 0; row < ROWS2; row++) {
            sum[row][0] += k0 * q[c * ROWS2 + row];
            sum[row][1] += k1 * q[c * ROWS2 + row];
        }
    }
#pragma GCC unroll 12
    for (int row = 0; row < ROWS2; row++) {
        vec_store(scores + row * KEY_BLOCK, sum[row][0]);
        vec_store(scores + row * KEY_BLOCK + CPU_LANES, sum[row][1]);
    }
}

static void
score_strip(const Space *s, int strip, int keys)
{
    const float *q = s->q + (gint64)strip * STRIP * s->width;
    for (int key = 0; key < keys; key += PANEL)
        for (int row = 0; row < STRIP; row += ROWS2)
            score_tile(q + row * s->width, s->k + (gint64)key * s->width, s->width,
                       s->scores + row * KEY_BLOCK + key);
}

/* Scores of one query become weights 2^(score - largest); `seen` keys count, up to `padded` are set to 0. */
static void
soften_row(const Space *s, int row, int strip_row, int seen, int padded)
{
    float *scores = s->scores + strip_row * KEY_BLOCK;
    for (int key = seen; key < padded; key++)
        scores[key] = -INFINITY;
    Vec high = vec_all(s->largest[row]);
    for (int key = 0; key < padded; key += CPU_LANES)
        high = vec_max(high, vec_load(scores + key));
    float largest = vec_largest(high);
    Vec fade = vec_exp2(vec_all(s->largest[row] - largest));
    Vec sum = vec_load(s->sums + row * CPU_LANES) * fade;
    for (int key = 0; key < padded; key += CPU_LANES) {
        Vec weight = vec_exp2(vec_load(scores + key) - largest);
        vec_store(scores + key, weight);
        sum += weight;
    }
    s->largest[row] = largest;
    s->fade[strip_row] = fade[0];
    vec_store(s->sums + row * CPU_LANES, sum);
}

/* out = out * fade + weights v for `rows` queries and a panel of `vectors` vectors of v's channels. */
INLINE void
value_tile(const float *weights, const float *v, int keys, const float *fade, float *out, int out_stride,
           int rows, int vectors)
{
    Vec sum[24][3];
#pragma GCC unroll 24
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 3
        for (int i = 0; i < vectors; i++)
            sum[row][i] = vec_load(out + row * out_stride + i * CPU_LANES) * fade[row];
    for (int key = 0; key < keys; key++) {
        Vec part[3];
#pragma GCC unroll 3
        for (int i = 0; i < vectors; i++)
            part[i] = vec_load(v + (key * vectors + i) * CPU_LANES);
#pragma GCC unroll 24
        for (int row = 0; row < rows; row++)
#pragma GCC unroll 3
            for (int i = 0; i < vectors; i++)
                sum[row][i] += part[i] * weights[row * KEY_BLOCK + key];
    }
#pragma GCC unroll 24
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 3
        for (int i = 0; i < vectors; i++)
            vec_store(out + row * out_stride + i * CPU_LANES, sum[row][i]);
}

static void
value_strip(const Space *s, int strip, int keys)
{
    int stride = s->vectors * CPU_LANES, panel;
    const float *v = s->v;
    for (int at = 0; at < s->vectors; at += panel) {
        float *out = s->out + (gint64)strip * STRIP * stride + at * CPU_LANES;
        panel = panel_vectors(s->vectors, at);
        if (panel == 1)
            for (int row = 0; row < STRIP; row += ROWS1)
                value_tile(s->scores + row * KEY_BLOCK, v, keys, s->fade + row, out + row * stride, stride,
                           ROWS1, 1);
        else if (panel == 2)
            for (int row = 0; row < STRIP; row += ROWS2)
                value_tile(s->scores + row * KEY_BLOCK, v, keys, s->fade + row, out + row * stride, stride,
                           ROWS2, 2);
        else
            for (int row = 0; row < STRIP; row += ROWS3)
                value_tile(s->scores + row * KEY_BLOCK, v, keys, s->fade + row, out + row * stride, stride,
                           ROWS3, 3);
        v += KEY_BLOCK * panel * CPU_LANES;
    }
}

static void
attend_strip(const Space *s, const AttentionPart *part, int strip, int first_key, int keys)
{
    int first = part->first + strip * STRIP; /* the strip's first query */
    if (part->causal)
        keys = MIN(keys, first + STRIP - first_key);
    if (keys <= 0)
        return;
    int padded = (keys + PANEL - 1) / PANEL * PANEL;
    score_strip(s, strip, padded);
    for (int row = 0; row < STRIP; row++) {
        int seen = part->causal ? CLAMP(first + row + 1 - first_key, 0, keys) : keys;
        soften_row(s, strip * STRIP + row, row, seen, padded);
    }
    value_strip(s, strip, keys);
}

static void
write_rows(const Space *s, const AttentionPart *part)
{
    for (int row = 0; row < part->rows; row++) {
        const float *from = s->out + (gint64)row * s->vectors * CPU_LANES;
        float *to = part->out + (gint64)(part->first + row) * part->out_stride;
        float sum = 0.0f;
        for (int i = 0; i < CPU_LANES; i++)
            sum += s->sums[row * CPU_LANES + i];
        float share = 1.0f / sum;
        for (int c = 0; c < s->width; c++)
            to[c] = from[c] * share;
    }
}

static void
run_kernel(const AttentionPart *part, void *memory)
{
    Space s;
    divide_space(&s, part->width, part->rows, memory);
    int rows = padded_rows(part->rows);
    pack_queries(&s, part);
    memset(s.out, 0, sizeof(float) * (gsize)rows * (gsize)s.vectors * CPU_LANES);
    memset(s.sums, 0, sizeof(float) * (gsize)rows * CPU_LANES);
    for (int row = 0; row < rows; row++)
        s.largest[row] = -INFINITY;
    int last = part->causal ? MIN(part->keys, part->first + part->rows) : part->keys;
    for (int first = 0; first < last; first += KEY_BLOCK) {
        int keys = MIN(KEY_BLOCK, part->keys - first);
        pack_keys(&s, part, first, keys);
        pack_values(&s, part, first, keys);
        for (int strip = 0; strip < rows / STRIP; strip++)
            attend_strip(&s, part, strip, first, keys);
    }
    write_rows(&s, part);
}

const AttentionKernels CPU_TABLE(attention_kernels) = {
    .space = space_kernel,
    .run = run_kernel,
};
