/* A net that contracts in the rows: every matrix W, of the first the rows' columns, of the mlp is taken times min(1, c/f), f >= |W| (Schatten's norm of high order, which is
 * smooth: spectral.c), and activations have slopes of at most 1; so the net has Lipschitz' constant c^(depth+1) at most.
 *
 * LipSwish(x) = x sigmoid(beta x)/1.1 = silu(beta x)/(1.1 beta) (Chen et al. 2019, section 3.2), with a beta of softplus(b_l) for
 * each hidden layer: the mlp has silu, what comes in is taken times beta and what comes out over 1.1 beta, by its weights.  */
#include <math.h>
#include <string.h>

#include "math/kern_impl.h"
#include "math/spectral_impl.h"
#include "residual_impl.h"

static const struct dfoi_residual *state(const dfo_bijector *bij)
{
    return dfoi_residual(bij);
}

/* Columns of matrix l, with the condition's.  */
static size_t wide(const struct dfoi_residual *s, size_t l)
{
    return s->cols[l] + (l ? 0 : s->more);
}

/* What has to contract of matrix l: w itself, or a copy at `at`.  */
static const dfo_real *contracts(const struct dfoi_residual *s, size_t l, const dfo_real *w, dfo_real *at)
{
    if (wide(s, l) == s->cols[l])
        return w;
    for (size_t i = 0; i < s->rows[l]; i++)
        memcpy(at + i * s->cols[l], w + i * wide(s, l), s->cols[l] * sizeof *w);
    return at;
}

static size_t room(const dfo_bijector *bij)
{
    const struct dfoi_residual *s = state(bij);
    size_t most = 0;
    for (size_t l = 0; l <= s->depth; l++) {
        size_t of = dfoi_norm_room(s->rows[l], s->cols[l]);
        most = of > most ? of : most;
    }
    return most;
}

/* The net's weights, then doubles: f of every matrix, room.  */
size_t dfoi_residual_derived(const dfo_bijector *bij)
{
    return dfo_arena_size(state(bij)->net->count) + dfoi_doubles_size(DFOI_RESIDUAL_DEPTH + 1 + room(bij));
}

size_t dfoi_residual_gderived(const dfo_bijector *bij)
{
    return state(bij)->net->count;
}

static double *norms(const dfo_bijector *bij, const dfo_real *derived)
{
    return (double *)(void *)((dfo_real *)derived + dfo_arena_size(state(bij)->net->count));
}

/* beta of layer l; 1 where there is none.  */
static double beta(const dfo_bijector *bij, const dfo_run *run, size_t l)
{
    const struct dfoi_residual *s = state(bij);
    if (!s->lipswish || l == s->depth)
        return 1;
    double raw = (double)dfo_run_weights(run, s->beta)[l];
    return fmax(raw, 0) + log1p(exp(-fabs(raw)));
}

/* What activations make of matrix l's factor.  */
static double around(const dfo_bijector *bij, const dfo_run *run, size_t l)
{
    double out = l > 0 && state(bij)->lipswish ? 1.1 * beta(bij, run, l - 1) : 1;
    return beta(bij, run, l) / out;
}

static double bounded(const dfo_bijector *bij, double norm)
{
    return norm > state(bij)->lipschitz ? state(bij)->lipschitz / norm : 1;
}

dfo_status dfoi_residual_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct dfoi_residual *s = state(bij);
    double *norm = norms(bij, to), *work = norm + DFOI_RESIDUAL_DEPTH + 1;
    for (size_t l = 0; l <= s->depth; l++) {
        const dfo_real *w = dfo_run_weights(run, s->w[l]), *b = dfo_run_weights(run, s->b[l]);
        dfo_real *to_w = to + (s->w[l] - s->net->first), *to_b = to + (s->b[l] - s->net->first);
        size_t all = wide(s, l), cols = s->cols[l];
        double big = dfoi_max_abs(s->rows[l] * all, w);
        if (!isfinite(big))
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "residual: matrix %zu is not finite", l);
        const dfo_real *part = contracts(s, l, w, to_w);       /* to_w is written behind this */
        norm[l] = big > 0 && dfoi_max_abs(s->rows[l] * cols, part) > 0 ? dfoi_norm_bound(s->rows[l], cols, part, work) : 0;
        double free = around(bij, run, l), by = free * bounded(bij, norm[l]), shift = beta(bij, run, l);
        for (size_t i = 0; i < s->rows[l]; i++)
            for (size_t j = 0; j < all; j++)
                to_w[i * all + j] = (dfo_real)((j < cols ? by : free) * (double)w[i * all + j]);
        for (size_t i = 0; i < s->rows[l]; i++)
            to_b[i] = (dfo_real)(shift * (double)b[i]);
    }
    return DFO_OK;
}

size_t dfoi_residual_pullback_scratch(const dfo_bijector *bij)
{
    return 2 * dfoi_doubles_size(room(bij)) + dfo_arena_size(state(bij)->rows[0] * state(bij)->cols[0]);
}

/* Adds to beta's gradients what their logarithms' are.  */
static void add_beta(const dfo_bijector *bij, dfo_run *run, size_t l, double glog)
{
    double raw = (double)dfo_run_weights(run, state(bij)->beta)[l];
    dfo_run_grads(run, state(bij)->beta)[l] += (dfo_real)(glog / beta(bij, run, l) / (1 + exp(-raw)));
}

dfo_status dfoi_residual_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct dfoi_residual *s = state(bij);
    if (!run->grads)
        return DFO_OK;
    double *work = dfoi_take_doubles(run, room(bij)), *slope = dfoi_take_doubles(run, room(bij));
    dfo_real *copy = dfo_arena_take(run, s->rows[0] * s->cols[0]);
    for (size_t l = 0; l <= s->depth; l++) {
        const dfo_real *w = dfo_run_weights(run, s->w[l]), *b = dfo_run_weights(run, s->b[l]);
        const dfo_real *gw = gfrom + (s->w[l] - s->net->first), *gb = gfrom + (s->b[l] - s->net->first);
        dfo_real *to_w = dfo_run_grads(run, s->w[l]), *to_b = dfo_run_grads(run, s->b[l]);
        size_t all = wide(s, l), cols = s->cols[l];
        double norm = norms(bij, from)[l], scale = bounded(bij, norm), free = around(bij, run, l), by = free * scale, shift = beta(bij, run, l);
        double along = 0, rest = 0;            /* of the part that contracts, and of the condition's */
        for (size_t i = 0; i < s->rows[l]; i++) {
            along += by * dfoi_dot(cols, gw + i * all, w + i * all);
            rest += free * dfoi_dot(all - cols, gw + i * all + cols, w + i * all + cols);
        }
        if (scale < 1)
            dfoi_norm_bound_slope(s->rows[l], cols, contracts(s, l, w, copy), work, slope);
        for (size_t i = 0; i < s->rows[l]; i++)
            for (size_t j = 0; j < all; j++)
                to_w[i * all + j] += (dfo_real)((j < cols ? by : free) * (double)gw[i * all + j] -
                                                (scale < 1 && j < cols ? along / norm * slope[i * cols + j] : 0));
        for (size_t i = 0; i < s->rows[l]; i++)
            to_b[i] += (dfo_real)(shift * (double)gb[i]);
        if (s->lipswish && l < s->depth)
            add_beta(bij, run, l, along + rest + shift * dfoi_dot(s->rows[l], gb, b));
        if (s->lipswish && l > 0)
            add_beta(bij, run, l - 1, -along);
    }
    return DFO_OK;
}

dfoi_residual_place dfoi_residual_enter(const dfo_bijector *bij, dfo_run *run)
{
    dfoi_residual_place was = {run->weights, run->grads};
    size_t first = state(bij)->net->first;
    run->weights = run->derived - first;
    run->grads = run->grads ? run->gderived - first : NULL;
    return was;
}

void dfoi_residual_leave(dfo_run *run, dfoi_residual_place was)
{
    run->weights = was.weights;
    run->grads = was.grads;
}
