#include "sampling/brownian.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POOL = 24, DEEPEST = 64 };

/* The children of one node. Neighbouring steps share a border, so the way down to it is found again: each
 * depth keeps the last two splits. */
typedef struct {
    float *increments; /* of the left child, then of the right one */
    guint32 place;
    bool filled;
} Split;

struct RvBrownian {
    RvNoise *prototype;
    gsize count;
    double start, end;
    float *whole;             /* the increment over [start, end] */
    Split splits[DEEPEST][2]; /* latest first */
    float *draw;
};

/* A node of the tree; `increment` is owned by the tree. */
typedef struct {
    double start, end;
    guint32 place; /* 0 at the root, 2k and 2k+1 below k */
    int depth;
    const float *increment;
} Node;

/* M. O'Neill's seed_seq_fe, as numpy words it. */
static guint32
hash(guint32 value, guint32 *multiplier, guint32 step)
{
    value ^= *multiplier;
    *multiplier *= step;
    value *= *multiplier;
    return value ^ (value >> 16);
}

static guint32
mix(guint32 x, guint32 y)
{
    guint32 mixed = 0xca01f9ddu * x - 0x4973f715u * y;
    return mixed ^ (mixed >> 16);
}

void
rv_seed_sequence(const guint32 *entropy, int entropy_count, const guint32 *spawn, int spawn_count, int pool,
                 guint32 *state, int state_count)
{
    guint32 mixed[32], constant = 0x43b0d7e5u;
    g_assert(pool > 0 && pool <= (int)G_N_ELEMENTS(mixed) && entropy_count <= pool);
    for (int i = 0; i < pool; i++)
        mixed[i] = hash(i < entropy_count ? entropy[i] : 0, &constant, 0x931e8875u);
    for (int from = 0; from < pool; from++)
        for (int to = 0; to < pool; to++)
            if (from != to)
                mixed[to] = mix(mixed[to], hash(mixed[from], &constant, 0x931e8875u));
    for (int i = 0; i < spawn_count; i++)
        for (int to = 0; to < pool; to++)
            mixed[to] = mix(mixed[to], hash(spawn[i], &constant, 0x931e8875u));
    constant = 0x8b51f9ddu;
    for (int i = 0; i < state_count; i++)
        state[i] = hash(mixed[i % pool], &constant, 0x58f38dedu);
}

/* Six decimals, rounded as Python's round() does: by the exact decimal value. */
static double
round6(double value)
{
    char text[64];
    g_ascii_formatd(text, sizeof text, "%.6f", value);
    return g_ascii_strtod(text, NULL);
}

static void
draw_seeded(RvBrownian *brownian, const guint32 *spawn, int spawn_count, float *out)
{
    guint64 seed = rv_noise_seed(brownian->prototype);
    guint32 words[2] = { (guint32)seed, (guint32)(seed >> 32) }, state;
    rv_seed_sequence(words, words[1] != 0 ? 2 : 1, spawn, spawn_count, POOL, &state, 1);
    RvNoise *noise = rv_noise_new_like(brownian->prototype, state);
    rv_noise_draw(noise, out, brownian->count);
    rv_noise_free(noise);
}

RvBrownian *
rv_brownian_new(const RvNoise *noise, double sigma_min, double sigma_max, gsize count)
{
    RvBrownian *brownian = g_new0(RvBrownian, 1);
    brownian->prototype = rv_noise_new_like(noise, rv_noise_seed(noise));
    brownian->count = count;
    brownian->start = round6(sigma_min);
    brownian->end = round6(sigma_max);
    brownian->whole = g_new(float, count);
    brownian->draw = g_new(float, count);
    draw_seeded(brownian, NULL, 0, brownian->whole);
    float scale = (float)sqrt(brownian->end - brownian->start);
    for (gsize i = 0; i < count; i++)
        brownian->whole[i] *= scale;
    return brownian;
}

void
rv_brownian_free(RvBrownian *brownian)
{
    if (brownian == NULL)
        return;
    for (int i = 0; i < DEEPEST; i++)
        for (int k = 0; k < 2; k++)
            g_free(brownian->splits[i][k].increments);
    g_free(brownian->whole);
    g_free(brownian->draw);
    rv_noise_free(brownian->prototype);
    g_free(brownian);
}

/* Splits a node by a Brownian bridge through its middle. */
static void
split(RvBrownian *brownian, const Node *node, Node *left, Node *right)
{
    gsize count = brownian->count;
    double middle = round6((node->start + node->end) / 2);
    double before = middle - node->start, after = node->end - middle, length = node->end - node->start;
    Split *kept = brownian->splits[node->depth];
    if (!kept[0].filled || kept[0].place != node->place) {
        Split older = kept[1];
        kept[1] = kept[0], kept[0] = older;
    }
    if (kept->increments == NULL)
        kept->increments = g_new(float, 2 * count);
    float *first = kept->increments, *second = first + count;
    bool known = kept->filled && kept->place == node->place;
    kept->place = node->place;
    kept->filled = true;
    if (!known)
        draw_seeded(brownian, (guint32[2]) { node->place, (guint32)node->depth }, 2, brownian->draw);
    float share = (float)(before / length), deviation = (float)sqrt(before * after / length);
    for (gsize i = 0; !known && i < count; i++) {
        first[i] = share * node->increment[i] + deviation * brownian->draw[i];
        second[i] = node->increment[i] - first[i];
    }
    *left = (Node) { node->start, middle, 2 * node->place, node->depth + 1, first };
    *right = (Node) { middle, node->end, 2 * node->place + 1, node->depth + 1, second };
}

/* Adds the increment over [from, to], both borders of some node below `node`. */
static void
collect(RvBrownian *brownian, const Node *node, double from, double to, float *sum)
{
    if ((from == node->start && to == node->end) || node->depth == DEEPEST) {
        for (gsize i = 0; i < brownian->count; i++)
            sum[i] += node->increment[i];
        return;
    }
    Node left, right;
    split(brownian, node, &left, &right);
    if (from < left.end)
        collect(brownian, &left, from, MIN(to, left.end), sum);
    if (to > right.start)
        collect(brownian, &right, MAX(from, right.start), to, sum);
}

void
rv_brownian_draw(RvBrownian *brownian, double sigma, double sigma_next, float *out)
{
    double from = CLAMP(round6(sigma_next), brownian->start, brownian->end);
    double to = CLAMP(round6(sigma), brownian->start, brownian->end);
    memset(out, 0, brownian->count * sizeof *out);
    if (from >= to)
        return;
    Node root = { brownian->start, brownian->end, 0, 0, brownian->whole };
    collect(brownian, &root, from, to, out);
    float scale = (float)(-1 / sqrt(sigma - sigma_next));
    for (gsize i = 0; i < brownian->count; i++)
        out[i] *= scale;
}
