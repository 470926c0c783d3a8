#include <math.h>
#include <string.h>

#include "harness.h"

typedef struct {
    int n, queries, keys, heads, width; /* width of one head */
    bool causal;
    float scale; /* 0: the default */
    int slice;   /* q, k and v are channel slices with this many channels on each side */
    float range; /* of q and k */
} Case;

/* One output row; the weights of the keys are kept in `weight`. */
static void
attend(const Case *k, const float *q, const float *keys, const float *values, int query, double *weight,
       double *out)
{
    int stride = k->heads * k->width, seen = k->causal ? MIN(query + 1, k->keys) : k->keys;
    double scale = k->scale != 0.0f ? (double)k->scale : 1.0 / sqrt((double)k->width), largest = -INFINITY,
           sum = 0.0;
    for (int key = 0; key < seen; key++) {
        weight[key] = 0.0;
        for (int i = 0; i < k->width; i++)
            weight[key] += (double)q[i] * (double)keys[key * stride + i] * scale;
        largest = MAX(largest, weight[key]);
    }
    for (int key = 0; key < seen; key++)
        sum += weight[key] = exp(weight[key] - largest);
    for (int i = 0; i < k->width; i++) {
        out[i] = 0.0;
        for (int key = 0; key < seen; key++)
            out[i] += weight[key] / sum * (double)values[key * stride + i];
    }
}

static double *
attend_all(const Case *k, const float *q, const float *keys, const float *values)
{
    int stride = k->heads * k->width;
    double *out = g_new(double, (gsize)(k->n * k->queries * stride));
    g_autofree double *weight = g_new(double, (gsize)k->keys);
    for (int n = 0; n < k->n; n++)
        for (int query = 0; query < k->queries; query++)
            for (int head = 0; head < k->heads; head++) {
                gint64 row = (gint64)(n * k->queries + query) * stride + head * k->width;
                gint64 from = (gint64)n * k->keys * stride + head * k->width;
                attend(k, q + row, keys + from, values + from, query, weight, out + row);
            }
    return out;
}

static void
check(Case k)
{
    OpsCase *c = ops_case_new("attention of %d x %d queries, %d keys, %d heads of %d%s, slice %d, range %g",
                              k.n, k.queries, k.keys, k.heads, k.width, k.causal ? ", causal" : "", k.slice,
                              (double)k.range);
    const RvShape queries = { k.n, 1, k.queries, k.heads * k.width },
                  keys = { k.n, k.keys, 1, k.heads * k.width };
    const float *q, *key, *value;
    float range = k.range != 0.0f ? k.range : 2.0f;
    RvTensor tq = ops_input_slice(c, queries, k.slice, k.slice, -range, range, &q);
    RvTensor tk = ops_input_slice(c, keys, k.slice, 0, -range, range, &key);
    RvTensor tv = ops_input_slice(c, keys, 0, k.slice, -2.0f, 2.0f, &value);
    g_autofree double *want = attend_all(&k, q, key, value);
    RvAttention options = { .heads = k.heads, .causal = k.causal, .scale = k.scale };
    ops_check(c, rv_attention(ops_program(c), tq, tk, tv, options), want,
              1e-5 * (1.0 + (double)(range * range) / 10.0));
    ops_case_free(c);
}

static void
test_shapes(void)
{
    static const int widths[] = { 1, 4, 7, 8, 9, 16, 20, 24, 33, 40, 48, 56, 64, 72, 80, 88, 160, 512 };
    for (gsize i = 0; i < G_N_ELEMENTS(widths); i++) {
        check((Case) { .n = 1, .queries = 30, .keys = 41, .heads = 2, .width = widths[i] });
        check((Case) { .n = 2, .queries = 5, .keys = 300, .heads = 1, .width = widths[i], .slice = 3 });
    }
    check((Case) { .n = 1, .queries = 1, .keys = 1, .heads = 1, .width = 1 });
    check((Case) { .n = 1, .queries = 1, .keys = 1000, .heads = 1, .width = 4 });
    check((Case) { .n = 2, .queries = 256, .keys = 77, .heads = 8, .width = 40, .slice = 1 });
    check((Case) { .n = 2, .queries = 64, .keys = 154, .heads = 5, .width = 64 });
    check((Case) {
        .n = 1, .queries = 1100, .keys = 1100, .heads = 3, .width = 8 }); /* several pieces of a head */
    check((Case) { .n = 1, .queries = 300, .keys = 513, .heads = 1, .width = 512 });
    check((Case) { .n = 1, .queries = 77, .keys = 520, .heads = 1, .width = 512, .slice = 8 });
    /* around the edges of tiles of 64, 128 and 192 tokens */
    check((Case) { .n = 2, .queries = 193, .keys = 257, .heads = 3, .width = 64, .slice = 8 });
    check((Case) { .n = 1, .queries = 192, .keys = 128, .heads = 2, .width = 56 });
    check((Case) { .n = 1, .queries = 700, .keys = 1100, .heads = 3, .width = 40 });
    check((Case) { .n = 2, .queries = 1100, .keys = 640, .heads = 3, .width = 64, .slice = 8 });
    check((Case) { .n = 1, .queries = 100, .keys = 4095, .heads = 2, .width = 24 });
    check((Case) { .n = 3, .queries = 65, .keys = 129, .heads = 2, .width = 80, .slice = 16 });
}

static void
test_random_shapes(void)
{
    for (int i = 0; i < 20; i++)
        check((Case) { .n = ops_random_int(1, 3),
                       .queries = ops_random_int(1, 150),
                       .keys = ops_random_int(1, 600),
                       .heads = ops_random_int(1, 4),
                       .width = ops_random_int(1, 70),
                       .slice = ops_random_int(0, 3),
                       .scale = ops_random_int(0, 1) ? 0.0f : 0.3f });
}

static void
test_causal(void)
{
    check((Case) { .n = 2, .queries = 77, .keys = 77, .heads = 12, .width = 64, .causal = true });
    check((Case) { .n = 1, .queries = 1, .keys = 1, .heads = 1, .width = 4, .causal = true });
    check((Case) { .n = 1, .queries = 600, .keys = 600, .heads = 2, .width = 8, .causal = true, .slice = 2 });
    check((Case) { .n = 1, .queries = 50, .keys = 20, .heads = 1, .width = 8, .causal = true });
    check((Case) { .n = 1, .queries = 20, .keys = 500, .heads = 1, .width = 8, .causal = true });
}

/* Scores of several hundred: one key takes all, and no exponential overflows. */
static void
test_large_scores(void)
{
    check((Case) { .n = 1, .queries = 40, .keys = 700, .heads = 2, .width = 40, .range = 30.0f });
    check((Case) { .n = 1, .queries = 300, .keys = 700, .heads = 2, .width = 64, .range = 30.0f });
    check((Case) { .n = 1, .queries = 70, .keys = 129, .heads = 8, .width = 40, .range = 3.0f });
    check((Case) {
        .n = 1, .queries = 40, .keys = 700, .heads = 2, .width = 40, .range = 30.0f, .causal = true });
}

/* Equal keys give the mean of the values, whatever their number. */
static void
test_uniform(void)
{
    enum { KEYS = 4096 };
    OpsCase *c = ops_case_new("uniform attention");
    g_autofree float *ones = g_new(float, KEYS), *values = g_new(float, KEYS);
    for (int i = 0; i < KEYS; i++)
        ones[i] = 1.0f, values[i] = (float)(i % 5);
    const RvShape keys = { 1, KEYS, 1, 1 };
    double want = 0.0;
    for (int i = 0; i < KEYS; i++)
        want += (double)values[i] / KEYS;
    RvTensor q = ops_copy(c, ops_input_values(c, RV_F32, (RvShape) { 1, 1, 1, 1 }, ones));
    RvTensor k = ops_copy(c, ops_input_values(c, RV_F32, keys, ones));
    RvTensor v = ops_copy(c, ops_input_values(c, RV_F32, keys, values));
    ops_check(c, rv_attention(ops_program(c), q, k, v, (RvAttention) { .heads = 1 }), &want, 1e-6);
    ops_case_free(c);
}

/* A NaN in one query spoils that row only. */
static void
test_nan_stays_in_its_row(void)
{
    OpsCase *c = ops_case_new("attention with a NaN");
    const RvShape shape = { 1, 30, 1, 8 };
    gsize count = (gsize)rv_shape_count(shape);
    g_autofree float *q = g_new(float, count), *k = g_new(float, count);
    for (gsize i = 0; i < count; i++)
        q[i] = ops_random(-1.0f, 1.0f), k[i] = ops_random(-1.0f, 1.0f);
    q[7 * 8 + 3] = NAN;
    RvTensor tq = ops_copy(c, ops_input_values(c, RV_F32, shape, q)),
             tk = ops_copy(c, ops_input_values(c, RV_F32, shape, k));
    g_autofree float *got =
        ops_result(c, rv_attention(ops_program(c), tq, tk, tk, (RvAttention) { .heads = 1 }));
    for (gsize i = 0; i < count; i++)
        g_assert_cmpint(isnan(got[i]) != 0, ==, i / 8 == 7);
    ops_case_free(c);
}

/* Queries are independent: how they are shared among threads changes no bit. */
static void
test_threads_change_nothing(void)
{
    const RvShape shape = { 1, 500, 1, 16 };
    gsize count = (gsize)rv_shape_count(shape);
    g_autofree float *x = g_new(float, count);
    g_autofree float *first = NULL;
    for (gsize i = 0; i < count; i++)
        x[i] = ops_random(-1.0f, 1.0f);
    for (int threads = 1; threads <= 5; threads += 2) {
        ops_set_threads(threads);
        OpsCase *c = ops_case_new("attention by %d threads", threads);
        RvTensor input = ops_copy(c, ops_input_values(c, RV_F32, shape, x));
        g_autofree float *got =
            ops_result(c, rv_attention(ops_program(c), input, input, input, (RvAttention) { .heads = 2 }));
        ops_case_free(c);
        if (first == NULL)
            first = g_steal_pointer(&got);
        else
            g_assert_cmpmem(got, count * sizeof(float), first, count * sizeof(float));
    }
    ops_set_threads(0);
}

static void
test_bad_heads(void)
{
    OpsCase *c = ops_case_new("heads that do not divide");
    const float *x;
    RvTensor q = ops_input(c, (RvShape) { 1, 1, 4, 10 }, -1, 1, &x);
    ops_check_fails(c, rv_attention(ops_program(c), q, q, q, (RvAttention) { .heads = 3 }), RV_ERROR_FAILED,
                    "3 heads");
    ops_case_free(c);
}

static void
bench_case(const char *what, int n, int queries, int keys, int heads, int width, bool causal)
{
    OpsCase *c = ops_case_new("%s: %d x %d x %d, %d heads of %d", what, n, queries, keys, heads, width);
    const RvShape sq = { n, queries, 1, heads * width }, sk = { n, keys, 1, heads * width };
    const float *x;
    RvTensor q = ops_input(c, sq, -1, 1, &x), k = ops_input(c, sk, -1, 1, &x),
             v = ops_input(c, sk, -1, 1, &x);
    ops_bench(c, rv_attention(ops_program(c), q, k, v, (RvAttention) { .heads = heads, .causal = causal }));
    ops_case_free(c);
}

static void
bench(void)
{
    bench_case("SD 1.5 512x512", 1, 4096, 4096, 8, 40, false);
    bench_case("SD 1.5 512x512", 2, 1024, 1024, 8, 80, false);
    bench_case("SD 1.5 512x512", 2, 256, 256, 8, 160, false);
    bench_case("SD 1.5 512x512", 2, 64, 64, 8, 160, false);
    bench_case("SD 1.5 cross", 2, 4096, 77, 8, 40, false);
    bench_case("SD 1.5 cross", 2, 256, 77, 8, 160, false);
    bench_case("SD 2.1 512x512", 1, 4096, 4096, 5, 64, false);
    bench_case("CLIP", 2, 77, 77, 12, 64, true);
    bench_case("VAE 512x512", 1, 4096, 4096, 1, 512, false);
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/attention/shapes", test_shapes);
    ops_add_test("/attention/random-shapes", test_random_shapes);
    ops_add_test("/attention/causal", test_causal);
    ops_add_test("/attention/large-scores", test_large_scores);
    ops_add_test("/attention/uniform", test_uniform);
    ops_add_test("/attention/nan", test_nan_stays_in_its_row);
    ops_add_test("/attention/threads", test_threads_change_nothing);
    ops_add_test("/attention/bad-heads", test_bad_heads);
    ops_add_bench(bench);
    return ops_main();
}
