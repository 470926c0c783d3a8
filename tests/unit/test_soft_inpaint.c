/* Soft inpainting: how known and new latents are mixed, and which of the two pictures shows. */
#include <math.h>

#include "engine/soft_inpaint.h"

static const RvSoftInpaint usual = { 1.0, 0.5, 4.0, 0.0, 0.5, 2.0 };

#define SIDE 12
#define PIXELS (SIDE * SIDE)

/* One pixel of two channels. */
static void
blend(RvSoftInpaint soft, float mask, double sigma, const float known[2], const float drawn[2], float out[2])
{
    rv_soft_blend(&soft, known, drawn, &mask, sigma, 2, 1, out);
}

static void
test_blend_ends(void)
{
    const float known[] = { 3.0f, -4.0f }, drawn[] = { 0.5f, 1.0f };
    float out[2];
    blend(usual, 0.0f, 5.0, known, drawn, out);
    g_assert_cmpfloat_with_epsilon(out[0], 3.0f, 1e-6);
    g_assert_cmpfloat_with_epsilon(out[1], -4.0f, 1e-6);
    blend(usual, 1.0f, 5.0, known, drawn, out);
    g_assert_cmpfloat_with_epsilon(out[0], 0.5f, 1e-6);
    g_assert_cmpfloat_with_epsilon(out[1], 1.0f, 1e-6);
    const float nothing[] = { 0.0f, 0.0f };
    blend(usual, 0.5f, 5.0, nothing, nothing, out);
    g_assert_cmpfloat(out[0], ==, 0.0f);
    blend(usual, 0.5f, 2.0, drawn, drawn, out); /* alike: nothing changes */
    g_assert_cmpfloat_with_epsilon(out[1], 1.0f, 1e-6);
}

/* Numbers worked out by hand: the share is 0.5 ^ (0.5 * 2) = 0.5, lengths 2 and 2, the mean of (2,0) and
 * (0,2) is (1,1), which is made as long as 2 again. */
static void
test_blend_numbers(void)
{
    const float known[] = { 2.0f, 0.0f }, drawn[] = { 0.0f, 2.0f }, longer[] = { 0.0f, 4.0f };
    float out[2];
    blend(usual, 0.5f, 2.0, known, drawn, out);
    g_assert_cmpfloat_with_epsilon(out[0], sqrt(2.0), 1e-5);
    g_assert_cmpfloat_with_epsilon(out[1], sqrt(2.0), 1e-5);
    blend(usual, 0.5f, 2.0, known, longer, out); /* ((2^4 + 4^4) / 2) ^ (1/4) */
    g_assert_cmpfloat_with_epsilon(hypot((double)out[0], (double)out[1]), pow(136.0, 0.25), 1e-5);
    g_assert_cmpfloat_with_epsilon(out[1] / out[0], 2.0, 1e-5);
    RvSoftInpaint plain = usual;
    plain.contrast_boost = 1.0;
    blend(plain, 0.5f, 2.0, known, longer, out);
    g_assert_cmpfloat_with_epsilon(hypot((double)out[0], (double)out[1]), 3.0, 1e-5);
}

/* Much noise left: known; little: new. More so with a larger bias, and known longer with more preservation.
 */
static void
test_blend_schedule(void)
{
    const float known[] = { 1.0f, 0.0f }, drawn[] = { 0.0f, 1.0f };
    float out[2], before = 2.0f;
    for (double sigma = 0.05; sigma < 15.0; sigma *= 1.7) {
        blend(usual, 0.6f, sigma, known, drawn, out);
        g_assert_cmpfloat(out[1], <, before);
        before = out[1];
    }
    RvSoftInpaint late = usual, kept = usual;
    late.schedule_bias = 3.0;
    kept.preservation = 2.0;
    float a[2], b[2], c[2];
    blend(usual, 0.6f, 4.0, known, drawn, a);
    blend(late, 0.6f, 4.0, known, drawn, b);
    blend(kept, 0.6f, 4.0, known, drawn, c);
    g_assert_cmpfloat(b[1], <, a[1]);
    g_assert_cmpfloat(c[1], <, a[1]);
    blend(usual, 0.6f, 0.3, known, drawn, a);
    blend(late, 0.6f, 0.3, known, drawn, b);
    g_assert_cmpfloat(b[1], >, a[1]);
}

/* The left half as it was, the right half `apart`; the mask lets all change by `mask`. */
static RvMask *
result_mask(const RvSoftInpaint *soft, float apart, float mask)
{
    float known[2 * PIXELS] = { 0 }, drawn[2 * PIXELS] = { 0 }, masks[PIXELS];
    for (int i = 0; i < PIXELS; i++) {
        masks[i] = mask;
        drawn[i] = i % SIDE < SIDE / 2 ? 0.0f : apart;
    }
    g_autoptr(GError) error = NULL;
    RvMask *result = rv_soft_mask(soft, known, drawn, masks, 2, SIDE, SIDE, 8, &error);
    g_assert_no_error(error);
    g_assert_cmpint(result->width, ==, 8 * SIDE);
    g_assert_cmpint(result->height, ==, 8 * SIDE);
    return result;
}

static int
value_at(const RvMask *mask, int x)
{
    return mask->values[mask->height / 2 * mask->width + x];
}

static void
test_result_mask(void)
{
    const int left = 4, right = 8 * SIDE - 5;
    g_autoptr(RvMask) far = result_mask(&usual, 20.0f, 0.7f);
    g_assert_cmpint(value_at(far, left), <=, 2);
    g_assert_cmpint(value_at(far, right), >=, 254);
    for (int x = 1; x < far->width; x++) /* no edges in between, nor rings */
        g_assert_cmpint(abs(value_at(far, x) - value_at(far, x - 1)), <, 40);
    g_autoptr(RvMask) near = result_mask(&usual, 0.05f, 0.7f);
    g_assert_cmpint(value_at(near, right), <, 4);             /* hardly changed: as it was */
    g_autoptr(RvMask) half = result_mask(&usual, 0.5f, 0.7f); /* at the threshold both show alike */
    g_assert_cmpint(abs(value_at(half, right) - 127), <=, 3);
    RvSoftInpaint sharp = usual, strict = usual, masked = usual;
    sharp.contrast = 8.0;
    strict.threshold = 4.0;
    masked.mask_influence = 1.0;
    g_autoptr(RvMask) a = result_mask(&sharp, 0.7f, 0.7f);
    g_autoptr(RvMask) b = result_mask(&usual, 0.7f, 0.7f);
    g_autoptr(RvMask) c = result_mask(&strict, 0.7f, 0.7f);
    g_assert_cmpint(value_at(a, right), >, value_at(b, right));
    g_assert_cmpint(value_at(c, right), <, value_at(b, right));
    g_autoptr(RvMask) white = result_mask(&masked, 0.01f, 1.0f), black = result_mask(&masked, 5.0f, 0.0f);
    g_assert_cmpint(value_at(white, right), >=, 254); /* the mask alone says it */
    g_assert_cmpint(value_at(white, left), <=, 2);    /* but nothing has changed here */
    g_assert_cmpint(value_at(black, right), <, 4);
    strict.threshold = strict.contrast = 0.0;
    g_autoptr(RvMask) nothing = result_mask(&strict, 1.0f, 0.5f); /* no number is lost on the way */
    g_assert_cmpint(value_at(nothing, left), <=, 2);
    g_assert_cmpint(abs(value_at(nothing, right) - 127), <=, 1);
}

/* A speck that changed alone is replaced whole, not by a dot. */
static void
test_speck(void)
{
    float known[PIXELS] = { 0 }, drawn[PIXELS] = { 0 }, mask[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        mask[i] = 1.0f;
    drawn[SIDE * (SIDE / 2) + SIDE / 2] = 10.0f;
    g_autoptr(RvMask) result = rv_soft_mask(&usual, known, drawn, mask, 1, SIDE, SIDE, 8, NULL);
    int seen = 0;
    for (int x = 0; x < result->width; x++)
        seen += value_at(result, x) > 127;
    g_assert_cmpint(seen, >=, 10);
    g_assert_cmpint(seen, <=, 40);
    g_assert_cmpint(value_at(result, 2), <=, 2);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/soft-inpaint/ends", test_blend_ends);
    g_test_add_func("/soft-inpaint/numbers", test_blend_numbers);
    g_test_add_func("/soft-inpaint/schedule", test_blend_schedule);
    g_test_add_func("/soft-inpaint/result", test_result_mask);
    g_test_add_func("/soft-inpaint/speck", test_speck);
    return g_test_run();
}
