/* The stages of singly diagonally implicit methods.  With y the state before the stage's own slope, z solves
 * z = h gamma f(t, y + z) by Newton's iteration with the matrix I - h gamma J of the step's start, J by differences of the
 * field; the slope is z / (h gamma) (Hairer and Wanner 1996, IV.8).  Every row has its matrix, stops by itself, and takes
 * as many corrections as it wants; a row that does not converge becomes NaN.  */
#include <float.h>
#include <math.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "math/linalg_impl.h"
#include "rk_impl.h"

#define MOST 50                            /* corrections */
#define ROUNDING 100                       /* times what is allowed: where corrections may stop to shrink */
#define EPSILON (sizeof(dfo_real) == sizeof(double) ? DBL_EPSILON : FLT_EPSILON)

enum { RUNNING, CONVERGED, FAILED };

size_t dfoi_newton_size(const dfoi_tableau *tableau, size_t n, size_t d)
{
    return tableau->gamma == 0 ? 0 : dfo_arena_size(n * d * d) + 3 * dfo_arena_size(n * d) + dfoi_doubles_size(n * d) + 2 * dfoi_doubles_size(n);
}

void dfoi_newton_take(dfoi_newton *w, dfo_run *run, size_t n, size_t d)
{
    w->lu = dfo_arena_take(run, n * d * d);
    w->z = dfo_arena_take(run, n * d);
    w->at = dfo_arena_take(run, n * d);
    w->f = dfo_arena_take(run, n * d);
    w->pivot = (int *)(void *)dfoi_take_doubles(run, n * d);
    w->last = dfoi_take_doubles(run, n);
    w->state = dfoi_take_doubles(run, n);
}

static dfo_status slopes(dfoi_rk *rk, const double *t, dfo_real *at, dfo_real *to, double *dq)
{
    size_t mark = rk->run->arena_used, d = rk->x.d;
    rk->evaluations++;
    dfo_status status = rk->field->ops->eval(rk->field, rk->run, t, dfo_batch_of(at, rk->n, d), dfo_batch_of(to, rk->n, d), dq);
    rk->run->arena_used = mark;
    return status;
}

dfo_status dfoi_newton_begin(dfoi_rk *rk)
{
    dfoi_newton *w = &rk->newton;
    size_t n = rk->n, d = rk->x.d;
    for (size_t i = 0; i < n; i++)
        memcpy(w->at + i * d, dfo_row(rk->x, i), d * sizeof *w->at);
    DFO_TRY(slopes(rk, rk->t, w->at, w->z, NULL));     /* k[0] is as exact as the iteration before, too little for differences */
    for (size_t j = 0; j < d; j++) {
        for (size_t i = 0; i < n; i++) {
            memcpy(w->at + i * d, dfo_row(rk->x, i), d * sizeof *w->at);
            w->at[i * d + j] += (dfo_real)(sqrt(EPSILON) * fmax(1e-3, fabs((double)w->at[i * d + j])));
        }
        DFO_TRY(slopes(rk, rk->t, w->at, w->f, NULL));
        for (size_t i = 0; i < n; i++) {
            double by = (double)(w->at[i * d + j] - dfo_row(rk->x, i)[j]);
            for (size_t k = 0; k < d; k++) {
                double slope = ((double)w->f[i * d + k] - (double)w->z[i * d + k]) / by;
                w->lu[(i * d + k) * d + j] = (dfo_real)((j == k) - rk->h[i] * rk->tableau->gamma * slope);
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        w->state[i] = dfoi_lu_factor(d, w->lu + i * d * d, d, w->pivot + i * d) == DFO_OK ? RUNNING : FAILED;
    return DFO_OK;
}

/* One correction of row i, whose field is in f: its size over what is allowed.  */
static void correct(dfoi_rk *rk, size_t i, const dfo_real *y)
{
    dfoi_newton *w = &rk->newton;
    size_t d = rk->x.d;
    double h = rk->h[i] * rk->tableau->gamma, size = 0;
    dfo_real *by = w->f + i * d, *z = w->z + i * d;
    for (size_t j = 0; j < d; j++)
        by[j] = (dfo_real)(h * (double)by[j] - (double)z[j]);
    if (dfoi_lu_solve(d, w->lu + i * d * d, d, w->pivot + i * d, 0, 1, by, d) != DFO_OK)
        w->state[i] = FAILED;
    for (size_t j = 0; j < d; j++) {
        z[j] += by[j];
        double allowed = w->atol + fmax(w->rtol, 4 * EPSILON) * fabs((double)(y[j] + z[j])) + 4 * EPSILON * fabs((double)z[j]) + 1e-300;
        size = fmax(size, fabs((double)by[j]) / allowed);
        if (!isfinite((double)by[j]))
            w->state[i] = FAILED;
    }
    if (w->state[i] == RUNNING && size <= 1)
        w->state[i] = CONVERGED;
    else if (w->state[i] == RUNNING && size > 2 * w->last[i])      /* it grows: rounding where it was small, else no convergence */
        w->state[i] = w->last[i] < ROUNDING ? CONVERGED : FAILED;
    w->last[i] = size;
}

dfo_status dfoi_newton_stage(dfoi_rk *rk, size_t s)
{
    const dfoi_tableau *m = rk->tableau;
    dfoi_newton *w = &rk->newton;
    size_t n = rk->n, d = rk->x.d;
    int left = 1;
    for (size_t i = 0; i < n; i++) {
        rk->at[i] = rk->t[i] + m->c[s] * rk->h[i];
        w->last[i] = HUGE_VAL;
        w->state[i] = w->state[i] == FAILED ? FAILED : rk->h[i] == 0 ? CONVERGED : RUNNING;
        for (size_t j = 0; j < d; j++)     /* the last stage's slope to begin with */
            w->z[i * d + j] = (dfo_real)(rk->h[i] * m->gamma * (double)rk->k[s - 1][i * d + j]);
    }
    for (int round = 0; round < MOST && left; round++) {
        left = 0;
        for (size_t i = 0; i < n * d; i++)
            w->at[i] = rk->y[i] + w->z[i];
        DFO_TRY(slopes(rk, rk->at, w->at, w->f, NULL));
        for (size_t i = 0; i < n; i++) {
            if (w->state[i] == RUNNING)
                correct(rk, i, rk->y + i * d);
            left |= w->state[i] == RUNNING;
        }
    }
    for (size_t i = 0; i < n; i++) {
        double h = rk->h[i] * m->gamma;
        if (w->state[i] == RUNNING && !(w->last[i] < ROUNDING))
            w->state[i] = FAILED;
        for (size_t j = 0; j < d; j++) {
            size_t e = i * d + j;
            rk->k[s][e] = w->state[i] == FAILED ? (dfo_real)NAN : h != 0 ? (dfo_real)((double)w->z[e] / h) : rk->k[0][e];
            rk->y[e] += w->state[i] == FAILED ? (dfo_real)NAN : w->z[e];
        }
    }
    return rk->quadratures ? slopes(rk, rk->at, rk->y, w->f, rk->kq[s]) : DFO_OK;
}
