/* One step of a Runge-Kutta method: every row has its own time and step.  */
#include <string.h>

#include "dist/dist_impl.h"
#include "rk_impl.h"

size_t dfoi_rk_size(const dfoi_tableau *tableau, const dfo_field *field, size_t rows)
{
    return 3 * dfoi_doubles_size(rows) + (tableau->stages + (tableau->second ? 3 : 2)) * dfo_arena_size(rows * field->d) +
           tableau->stages * dfoi_doubles_size(rows * field->nq) + dfoi_newton_size(tableau, rows, field->d);
}

void dfoi_rk_take(dfoi_rk *rk, const dfoi_tableau *tableau, const dfo_field *field, dfo_run *run, dfo_batch x, int quadratures)
{
    *rk = (dfoi_rk){.tableau = tableau, .field = field, .run = run, .x = x, .n = x.n, .quadratures = quadratures, .rates = quadratures};
    rk->t = dfoi_take_doubles(run, x.n);
    rk->h = dfoi_take_doubles(run, x.n);
    rk->at = dfoi_take_doubles(run, x.n);
    rk->y = dfo_arena_take(run, x.n * x.d);
    rk->err = dfo_arena_take(run, x.n * x.d);
    rk->second = tableau->second ? dfo_arena_take(run, x.n * x.d) : NULL;
    for (size_t i = 0; i < tableau->stages; i++) {
        rk->k[i] = dfo_arena_take(run, x.n * x.d);
        rk->kq[i] = dfoi_take_doubles(run, x.n * field->nq);
    }
    if (tableau->gamma != 0)
        dfoi_newton_take(&rk->newton, run, x.n, x.d);
}

void dfoi_rk_combine(const dfoi_rk *rk, size_t count, const double *w, int from_zero, dfo_real *y)
{
    size_t d = rk->x.d;
    for (size_t i = 0; i < rk->n; i++, y += d) {
        if (from_zero)
            memset(y, 0, d * sizeof *y);
        else
            memcpy(y, dfo_row(rk->x, i), d * sizeof *y);
        for (size_t s = 0; s < count; s++) {
            const dfo_real *k = rk->k[s] + i * d;
            dfo_real by = (dfo_real)(rk->h[i] * w[s]);
            if (w[s] == 0)
                continue;
            for (size_t j = 0; j < d; j++)
                y[j] += by * k[j];
        }
    }
}

dfo_status dfoi_rk_stage(dfoi_rk *rk, size_t i)
{
    dfo_batch at = i ? dfo_batch_of(rk->y, rk->n, rk->x.d) : rk->x, to = dfo_batch_of(rk->k[i], rk->n, rk->x.d);
    size_t mark = rk->run->arena_used;
    for (size_t r = 0; r < rk->n; r++)
        rk->at[r] = rk->t[r] + rk->tableau->c[i] * rk->h[r];
    rk->evaluations++;
    double *rates = rk->quadratures ? rk->kq[i] : NULL;
    const struct dfo_field_ops *ops = rk->field->ops;
    dfo_real *kept = rk->kept[i];
    dfo_status status = kept ? ops->record(rk->field, rk->run, rk->at, at, to, rates, rk->rates, dfoi_kept_field(kept, rk->field, rk->n))
                             : ops->eval(rk->field, rk->run, rk->at, at, to, rates);
    if (kept)
        memcpy(kept, to.x, rk->n * rk->x.d * sizeof *kept);
    rk->run->arena_used = mark;
    return status;
}

dfo_status dfoi_rk_step(dfoi_rk *rk)
{
    const dfoi_tableau *m = rk->tableau;
    for (size_t i = rk->known ? 1 : 0; i < m->stages; i++) {
        if (i)
            dfoi_rk_combine(rk, i, m->a + i * m->stages, 0, rk->y);
        if (i == 1 && m->gamma != 0)
            DFO_TRY(dfoi_newton_begin(rk));
        DFO_TRY(i && m->gamma != 0 ? dfoi_newton_stage(rk, i) : dfoi_rk_stage(rk, i));
    }
    rk->known = 1;
    if (!m->reuses)                        /* else the last stage stood at the new state */
        dfoi_rk_combine(rk, m->stages, m->b, 0, rk->y);
    if (m->e)
        dfoi_rk_combine(rk, m->stages, m->e, 1, rk->err);
    if (m->second)
        dfoi_rk_combine(rk, m->stages, m->second, 1, rk->second);
    return DFO_OK;
}

double dfoi_rk_quadrature(const dfoi_rk *rk, const double *w, size_t i, size_t j)
{
    double sum = 0;
    for (size_t s = 0; s < rk->tableau->stages; s++)
        sum += w[s] == 0 ? 0 : w[s] * rk->kq[s][i * rk->field->nq + j];
    return rk->h[i] * sum;
}
