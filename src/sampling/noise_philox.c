/* Philox 4x32-10 and the two ways of reading it: A1111's portable "NV" and cuRAND's inside torch. */
#include "sampling/noise_internal.h"
#include <math.h>

/* Salmon et al. 2011, table 2 and figure 2. */
static void
philox(const guint32 counter[4], guint64 seed, guint32 out[4])
{
    guint32 key0 = (guint32)seed, key1 = (guint32)(seed >> 32);
    guint32 c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        guint64 a = (guint64)c0 * 0xD2511F53u, b = (guint64)c2 * 0xCD9E8D57u;
        c0 = (guint32)(b >> 32) ^ c1 ^ key0;
        c1 = (guint32)b;
        c2 = (guint32)(a >> 32) ^ c3 ^ key1;
        c3 = (guint32)a;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void
rv_philox_nv(guint64 seed, guint32 offset, float *out, gsize count)
{
    const double to_turn = 2.3283064365386963e-10f * 6.2831855f;
    for (gsize i = 0; i < count; i++) {
        guint32 words[4];
        philox((guint32[4]) { offset, 0, (guint32)i, 0 }, seed, words);
        double u = words[0] * 0x1p-32 + 0x1p-33, v = words[1] * to_turn + to_turn / 2;
        out[i] = (float)(sqrt(-2.0 * log(u)) * sin(v));
    }
}

/* cuRAND's pair of normals, in single precision. */
static void
cuda_pair(guint32 x, guint32 y, float pair[2])
{
    const float to_turn = 2.3283064e-10f * 6.2831855f;
    float u = (float)x * 0x1p-32f + 0x1p-33f, v = (float)y * to_turn + to_turn / 2;
    float radius = sqrtf(-2.0f * logf(u));
    pair[0] = radius * sinf(v);
    pair[1] = radius * cosf(v);
}

guint64
rv_philox_cuda(guint64 seed, guint64 offset, gsize threads, float *out, gsize count)
{
    const gsize block = 256;
    gsize stride = MIN(threads / block, (count + block - 1) / block) * block;
    gsize rounds = count == 0 ? 0 : (count - 1) / (stride * 4) + 1;
    for (gsize thread = 0; thread < stride; thread++) {
        for (gsize round = 0; round < rounds; round++) {
            guint64 low = offset + round;
            guint32 words[4];
            float normal[4];
            philox((guint32[4]) { (guint32)low, (guint32)(low >> 32), (guint32)thread, 0 }, seed, words);
            cuda_pair(words[0], words[1], normal);
            cuda_pair(words[2], words[3], normal + 2);
            for (gsize i = 0; i < 4; i++) {
                gsize element = thread + stride * (round * 4 + i);
                if (element < count)
                    out[element] = normal[i];
            }
        }
    }
    return rounds;
}
