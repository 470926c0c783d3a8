#include "sampling/noise.h"
#include "sampling/noise_internal.h"

struct RvNoise {
    RvNoiseKind kind;
    guint64 seed;
    gsize threads;  /* RV_NOISE_CUDA: resident at once on the GPU */
    guint64 offset; /* Philox: blocks used so far */
    RvMersenne mersenne;
};

static RvNoise *
noise_new(RvNoiseKind kind, guint64 seed, gsize threads)
{
    RvNoise *noise = g_new0(RvNoise, 1);
    noise->kind = kind;
    noise->seed = seed;
    noise->threads = threads;
    if (kind == RV_NOISE_CPU)
        rv_mersenne_init(&noise->mersenne, (guint32)seed);
    return noise;
}

RvNoise *
rv_noise_new(RvNoiseKind kind, guint64 seed)
{
    return noise_new(kind, seed, 132 * 2048);
}

RvNoise *
rv_noise_new_cuda(guint64 seed, int multiprocessors, int threads_per_multiprocessor)
{
    g_assert(multiprocessors > 0 && threads_per_multiprocessor >= 256);
    return noise_new(RV_NOISE_CUDA, seed,
                     (gsize)multiprocessors * (gsize)(threads_per_multiprocessor / 256 * 256));
}

RvNoise *
rv_noise_new_like(const RvNoise *noise, guint64 seed)
{
    return noise_new(noise->kind, seed, noise->threads);
}

void
rv_noise_free(RvNoise *noise)
{
    g_free(noise);
}

guint64
rv_noise_seed(const RvNoise *noise)
{
    return noise->seed;
}

void
rv_noise_draw(RvNoise *noise, float *out, gsize count)
{
    switch (noise->kind) {
    case RV_NOISE_CPU:
        rv_mersenne_normal(&noise->mersenne, out, count);
        break;
    case RV_NOISE_NV:
        rv_philox_nv(noise->seed, (guint32)noise->offset++, out, count);
        break;
    case RV_NOISE_CUDA:
        noise->offset += rv_philox_cuda(noise->seed, noise->offset, noise->threads, out, count);
        break;
    }
}

const char *
rv_noise_kind_name(RvNoiseKind kind)
{
    static const char *const names[] = { "cpu", "nv", "cuda" };
    return kind >= 0 && kind < (int)G_N_ELEMENTS(names) ? names[kind] : NULL;
}

bool
rv_noise_parse_kind(const char *name, RvNoiseKind *kind)
{
    static const struct {
        const char *name;
        RvNoiseKind kind;
    } names[] = {
        { "cpu", RV_NOISE_CPU }, { "nv", RV_NOISE_NV }, { "gpu", RV_NOISE_NV }, { "cuda", RV_NOISE_CUDA }
    };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_ascii_strcasecmp(name, names[i].name) == 0) {
            *kind = names[i].kind;
            return true;
        }
    }
    return false;
}
