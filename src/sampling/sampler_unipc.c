/* UniPC (Zhao et al. 2023): a predictor like DPM-Solver++, and a corrector that uses the next step's answer
 * to mend the step before. Data prediction, B(h) variants, orders up to 3. */
#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

enum { HIGHEST = 3 };

/* Solves a small linear system in place, by elimination with row exchange. */
static void
solve(int n, double a[HIGHEST][HIGHEST], double b[HIGHEST])
{
    for (int column = 0; column < n; column++) {
        int best = column;
        for (int row = column + 1; row < n; row++)
            if (fabs(a[row][column]) > fabs(a[best][column]))
                best = row;
        for (int k = 0; k < n; k++) {
            double swap = a[column][k];
            a[column][k] = a[best][k], a[best][k] = swap;
        }
        double swap = b[column];
        b[column] = b[best], b[best] = swap;
        for (int row = 0; row < n; row++) {
            if (row == column)
                continue;
            double factor = a[row][column] / a[column][column];
            for (int k = column; k < n; k++)
                a[row][k] -= factor * a[column][k];
            b[row] -= factor * b[column];
        }
    }
    for (int i = 0; i < n; i++)
        b[i] /= a[i][i];
}

static bool
is_bh1(const RvSampler *s)
{
    return s->options.dialect == RV_DIALECT_A1111 || s->options.config.solver_type == RV_SOLVER_BH1;
}

/* One update from step `from` to the next level, out of `base`. history[0] is the answer at `from`,
 * history[i] that of i steps before; `corrected` is the answer at the target, NULL for the predictor. */
static void
update(RvSampler *s, int from, int order, const float *base, const float *corrected)
{
    const float *sigmas = s->schedule->sigmas;
    double sigma = (double)sigmas[from], next = (double)sigmas[from + 1], signal, noise, here_signal,
           here_noise;
    rv_sampler_split_sigma(s, next, &signal, &noise);
    rv_sampler_split_sigma(s, sigma, &here_signal, &here_noise);
    double h = log(sigma / next), full = -expm1(-h), b_h = is_bh1(s) ? -h : -full;
    double ratios[HIGHEST], powers[HIGHEST][HIGHEST], rho[HIGHEST], phi = full / h - 1, factorial = 1;
    for (int i = 1; i < order; i++)
        ratios[i - 1] = log(sigma / (double)sigmas[from - i]) / h;
    ratios[order - 1] = 1;
    for (int i = 0; i < order; i++) {
        for (int k = 0; k < order; k++)
            powers[i][k] = pow(ratios[k], i);
        rho[i] = phi * factorial / b_h;
        factorial *= i + 2;
        phi = phi / -h - 1 / factorial;
    }
    int unknowns = corrected != NULL ? order : order - 1;
    if (unknowns == 1) /* both have the closed form of the paper's order 2 */
        rho[0] = 0.5;
    else if (unknowns > 1)
        solve(unknowns, powers, rho);
    RvTerm terms[3 + HIGHEST] = { { next > 0 ? noise / here_noise : 0, base },
                                  { signal * full, s->history[0] } };
    int count = 2;
    for (int i = 1; i < order; i++) {
        double weight = -signal * b_h * rho[i - 1] / ratios[i - 1];
        terms[count++] = (RvTerm) { weight, s->history[i] };
        terms[1].weight -= weight;
    }
    if (corrected != NULL) {
        double weight = -signal * b_h * rho[order - 1];
        terms[count++] = (RvTerm) { weight, corrected };
        terms[1].weight -= weight;
    }
    rv_combine(s->x, s->total, terms, count);
}

static void
give(RvSampler *s, const float *output)
{
    int left = s->schedule->count - s->index, configured = s->options.config.solver_order;
    int highest = s->options.dialect == RV_DIALECT_A1111 ? 3 : configured > 0 ? configured : 2;
    if (s->last_order > 0)
        update(s, s->index - 1, s->last_order, s->base, s->denoised);
    memcpy(rv_sampler_push(s), s->denoised, s->total * sizeof(float));
    bool lower = s->options.config.lower_order_final || s->schedule->sigmas[s->schedule->count] <= 0;
    int order = MIN(MIN(highest, HIGHEST), s->known);
    s->last_order = lower ? MIN(order, left) : order;
    memcpy(s->base, s->x, s->total * sizeof(float));
    update(s, s->index, s->last_order, s->base, NULL);
    rv_sampler_ask_step(s, s->index + 1);
}

static void
begin(RvSampler *s)
{
    rv_sampler_ask_step(s, s->index);
}

static int
calls(const RvSampler *s, int steps)
{
    return steps;
}

const RvStepper rv_stepper_unipc = { begin, give, calls };
