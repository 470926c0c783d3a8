#include <math.h>
#include <string.h>

#include "harness.h"

typedef struct {
    RvShape in;
    RvLinear options;
    int names;
    enum { ADD_NONE, ADD_SAME, ADD_SHARED } add;
    int before, after;
    RvDType dtype;
} Case;

static double
act_of(RvAct act, double x)
{
    switch (act) {
    case RV_ACT_SILU:
        return x / (1 + exp(-x));
    case RV_ACT_GELU:
        return 0.5 * x * erfc(-x * M_SQRT1_2);
    case RV_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case RV_ACT_RELU:
        return x < 0 ? 0 : x;
    case RV_ACT_TANH3:
        return 3 * tanh(x / 3);
    default:
        return x;
    }
}

/* One named layer's part, channels [from, from + out) of want. */
static void
expect_part(const Case *t, const float *x, const float *weight, const float *bias, const float *add, int from,
            double *want)
{
    gint64 pixels = rv_shape_pixels(t->in), image = (gint64)t->in.h * t->in.w;
    int all = t->options.out * t->names;
#pragma omp parallel for
    for (gint64 p = 0; p < pixels; p++)
        for (int o = 0; o < t->options.out; o++) {
            double sum = bias != NULL ? bias[o] : 0;
            for (int i = 0; i < t->in.c; i++)
                sum += (double)x[p * t->in.c + i] * weight[(gint64)o * t->in.c + i];
            if (add != NULL)
                sum += add[(t->add == ADD_SAME ? p : p / image) * all + from + o];
            want[p * all + from + o] = act_of(t->options.act, sum);
        }
}

static void
check(const Case *t)
{
    static const char *const names[] = { "", "a", "a|b", "a|b|c" };
    static const char *const weights[] = { "a.weight", "b.weight", "c.weight" };
    static const char *const biases[] = { "a.bias", "b.bias", "c.bias" };
    RvLinear o = t->options;
    OpsCase *c =
        ops_case_new("linear [%d,%d,%d,%d]->%s %d act %d add %d slice %d+%d", t->in.n, t->in.h, t->in.w,
                     t->in.c, names[t->names], o.out, (int)o.act, (int)t->add, t->before, t->after);
    const float *x, *add = NULL;
    RvTensor in = t->before + t->after > 0 ? ops_input_slice(c, t->in, t->before, t->after, -1, 1, &x)
                                           : ops_input(c, t->in, -1, 1, &x);
    RvShape out = t->in;
    out.c = o.out * t->names;
    if (t->add == ADD_SAME)
        o.add = ops_input_slice(c, out, t->after, t->before, -1, 1, &add);
    else if (t->add == ADD_SHARED)
        o.add = ops_input(c, (RvShape) { out.n, 1, 1, out.c }, -1, 1, &add);
    g_autofree double *want = g_new(double, rv_shape_count(out));
    float range = 2.0f / sqrtf((float)t->in.c);
    const gint64 shape[] = { o.out, t->in.c };
    for (int i = 0; i < t->names; i++) {
        const float *weight = ops_weight(c, weights[i], t->dtype, -range, range, 2, shape);
        const float *bias = o.no_bias ? NULL : ops_weight(c, biases[i], t->dtype, -1, 1, 1, shape);
        expect_part(t, x, weight, bias, add, i * o.out, want);
    }
    ops_check(c, rv_linear(ops_program(c), in, names[t->names], o), want, 1e-5);
    ops_case_free(c);
}

static void
test_listed(void)
{
    static const Case cases[] = {
        { .in = { 2, 1, 1, 320 }, .options = { .out = 1280, .act = RV_ACT_SILU }, .names = 1 },
        { .in = { 1, 77, 1, 768 }, .options = { .out = 96, .no_bias = true }, .names = 3 },
        { .in = { 2, 77, 1, 64 }, .options = { .out = 48, .act = RV_ACT_QUICK_GELU }, .names = 2 },
        { .in = { 2, 16, 16, 320 }, .options = { .out = 320 }, .names = 1, .add = ADD_SAME },
        { .in = { 1, 64, 64, 40 }, .options = { .out = 40 }, .names = 1 },
        { .in = { 1, 5, 1, 1281 },
          .options = { .out = 33, .act = RV_ACT_GELU },
          .names = 1,
          .add = ADD_SHARED },
        { .in = { 1, 1, 1, 1 }, .options = { .out = 1 }, .names = 1 },
        { .in = { 1, 1, 1, 2816 }, .options = { .out = 320, .act = RV_ACT_SILU }, .names = 1 },
        { .in = { 8, 1, 1, 640 }, .options = { .out = 72 }, .names = 2, .add = ADD_SHARED },
        { .in = { 1, 130, 1, 640 },
          .options = { .out = 136, .act = RV_ACT_RELU },
          .names = 1,
          .add = ADD_SAME },
        { .in = { 2, 3, 5, 64 },
          .options = { .out = 64, .act = RV_ACT_RELU },
          .names = 1,
          .before = 64,
          .after = 64 },
        { .in = { 1, 7, 3, 50 }, .options = { .out = 20, .act = RV_ACT_TANH3 }, .names = 1, .dtype = RV_F16 },
        { .in = { 1, 7, 3, 50 }, .options = { .out = 20 }, .names = 3, .dtype = RV_BF16 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        check(&cases[i]);
}

static void
test_random(void)
{
    for (int i = 0; i < 60; i++) {
        Case t = { .in = { ops_random_int(1, 3), ops_random_int(1, 13), ops_random_int(1, 13),
                           ops_random_int(1, 700) } };
        t.options.out = ops_random_int(1, 150);
        t.options.act = (RvAct)ops_random_int(RV_ACT_NONE, RV_ACT_TANH3);
        t.options.no_bias = ops_random_int(0, 3) == 0;
        t.names = ops_random_int(1, 3);
        t.add = ops_random_int(ADD_NONE, ADD_SHARED);
        t.before = ops_random_int(0, 1) * ops_random_int(0, 9);
        t.after = ops_random_int(0, 1) * ops_random_int(0, 9);
        check(&t);
    }
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/linear/listed", test_listed);
    ops_add_test("/linear/random", test_random);
    return ops_main();
}
