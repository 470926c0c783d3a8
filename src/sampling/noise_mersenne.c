/* torch's CPU generator: MT19937 (Matsumoto and Nishimura, 1998) and Box-Muller.
 *
 * Draws of 16 numbers or more go through torch's 8-lane code, whose logarithm, sine and cosine are the
 * Cephes single-precision polynomials (S. Moshier) with fused multiply-adds where its compiler fuses
 * them. The same roundings in the same order give the same bits, on any CPU. */
#include "sampling/noise_internal.h"
#include <math.h>
#include <string.h>

enum { WORDS = 624, SHIFT = 397, BLOCK = 16 };

void
rv_mersenne_init(RvMersenne *mersenne, guint32 seed)
{
    mersenne->state[0] = seed;
    for (guint32 i = 1; i < WORDS; i++) {
        guint32 last = mersenne->state[i - 1];
        mersenne->state[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
    mersenne->next = WORDS;
    mersenne->has_spare = false;
}

static void
refill(RvMersenne *mersenne)
{
    guint32 *state = mersenne->state;
    for (int i = 0; i < WORDS; i++) {
        guint32 joined = (state[i] & 0x80000000u) | (state[(i + 1) % WORDS] & 0x7fffffffu);
        state[i] = state[(i + SHIFT) % WORDS] ^ (joined >> 1) ^ (joined & 1 ? 0x9908b0dfu : 0);
    }
    mersenne->next = 0;
}

static guint32
next_word(RvMersenne *mersenne)
{
    if (mersenne->next == WORDS)
        refill(mersenne);
    guint32 word = mersenne->state[mersenne->next++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
}

static float
uniform_float(RvMersenne *mersenne)
{
    return (float)(next_word(mersenne) & 0xffffffu) * 0x1p-24f;
}

static double
uniform_double(RvMersenne *mersenne)
{
    guint64 high = next_word(mersenne), low = next_word(mersenne);
    return (double)(((high << 32) | low) & ((G_GUINT64_CONSTANT(1) << 53) - 1)) * 0x1p-53;
}

/* Natural logarithm of a normal positive number (Cephes logf). */
static float
cephes_log(float x)
{
    static const float p[] = { 7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                               -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                               2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f };
    guint32 bits;
    memcpy(&bits, &x, 4);
    float e = (float)((int)(bits >> 23) - 0x7f) + 1.0f;
    bits = (bits & 0x807fffffu) | 0x3f000000u;
    memcpy(&x, &bits, 4);
    if (x < 0.707106781186547524f) {
        e -= 1.0f;
        x = (x - 1.0f) + x;
    } else {
        x -= 1.0f;
    }
    float z = x * x, y = p[0];
    for (gsize i = 1; i < G_N_ELEMENTS(p); i++)
        y = fmaf(y, x, p[i]);
    y *= x;
    y = fmaf(y, z, e * -2.12194440e-4f);
    y = fmaf(z, -0.5f, y);
    return fmaf(e, 0.693359375f, x + y);
}

/* Sine and cosine of x in [0, 2 pi] (Cephes sinf, cosf). */
static void
cephes_sincos(float x, float *sine, float *cosine)
{
    int octant = (int)(x * 1.27323954473516f);
    octant = (octant + 1) & ~1;
    float y = (float)octant;
    x = fmaf(y, -0.78515625f, x);
    x = fmaf(y, -2.4187564849853515625e-4f, x);
    x = fmaf(y, -3.77489497744594108e-8f, x);
    float z = x * x;
    float c = fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f);
    c = fmaf(c, z, 4.166664568298827e-2f) * z;
    c = fmaf(c, z, -(z * 0.5f)) + 1.0f;
    float s = fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f);
    s = fmaf(s, z, -1.6666654611e-1f) * z;
    s = fmaf(s, x, x);
    bool swapped = (octant & 2) != 0;
    float for_sine = swapped ? c : s, for_cosine = swapped ? s : c;
    *sine = octant & 4 ? -for_sine : for_sine;
    *cosine = ((octant - 2) & 4) == 0 ? -for_cosine : for_cosine;
}

static void
box_muller_block(float *data)
{
    for (int j = 0; j < BLOCK / 2; j++) {
        float radius = sqrtf(-2.0f * cephes_log(1.0f - data[j])), sine, cosine;
        cephes_sincos(6.28318530717958647692f * data[j + 8], &sine, &cosine);
        data[j] = radius * cosine;
        data[j + 8] = radius * sine;
    }
}

static float
one_normal(RvMersenne *mersenne)
{
    if (mersenne->has_spare) {
        mersenne->has_spare = false;
        return (float)mersenne->spare;
    }
    double turn = uniform_double(mersenne), u = uniform_double(mersenne);
    double radius = sqrt(-2.0 * log1p(-u)), angle = 2.0 * G_PI * turn;
    mersenne->spare = radius * sin(angle);
    mersenne->has_spare = true;
    return (float)(radius * cos(angle));
}

void
rv_mersenne_normal(RvMersenne *mersenne, float *out, gsize count)
{
    if (count < BLOCK) {
        for (gsize i = 0; i < count; i++)
            out[i] = one_normal(mersenne);
        return;
    }
    for (gsize i = 0; i < count; i++)
        out[i] = uniform_float(mersenne);
    for (gsize i = 0; i + BLOCK <= count; i += BLOCK)
        box_muller_block(out + i);
    if (count % BLOCK != 0) { /* the last 16 numbers are drawn afresh */
        float *last = out + count - BLOCK;
        for (int i = 0; i < BLOCK; i++)
            last[i] = uniform_float(mersenne);
        box_muller_block(last);
    }
}
