/* The matrices of bnaf.c from its weights, and from their gradients to those of the weights.  In row r, whose own block are
 * the last of the columns that it sees,
 *   v = e^w there and w elsewhere,  E = e^s v / |v|:  De Cao et al. 2019, eq. 10, with weight normalisation.  */
#include <math.h>
#include <string.h>

#include "bnaf_impl.h"

struct dfoi_bnaf_place dfoi_bnaf_place(const dfo_bijector *bij, size_t layer)
{
    const struct dfoi_bnaf *s = bij->state;
    struct dfoi_bnaf_place p = {0};
    for (size_t l = 0; l <= layer; l++) {
        p.in = l ? s->width : 1;
        p.out = l + 1 < s->layers ? s->width : 1;
        p.lead = l ? 0 : bij->cond_d;
        p.rows = bij->d * p.out;
        p.columns = p.lead + bij->d * p.in;
        p.e = p.end;
        p.logd = p.e + dfo_arena_size(p.rows * p.columns);
        p.end = p.logd + dfo_arena_size(p.rows * p.in);
    }
    return p;
}

/* Squares of v summed over a row: `seen` columns, of which the last `in` are its own.  */
static double square(size_t seen, size_t in, const dfo_real *w)
{
    double sum = 0;
    for (size_t k = 0; k < seen; k++)
        sum += k + in >= seen ? exp(2 * (double)w[k]) : (double)w[k] * (double)w[k];
    return sum;
}

dfo_status dfoi_bnaf_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct dfoi_bnaf *s = bij->state;
    for (size_t l = 0; l < s->layers; l++) {
        struct dfoi_bnaf_place p = dfoi_bnaf_place(bij, l);
        memset(to + p.e, 0, p.rows * p.columns * sizeof *to);
        for (size_t r = 0; r < p.rows; r++) {
            const dfo_real *w = dfo_run_weights(run, s->weight[l]) + r * p.columns;
            dfo_real *e = to + p.e + r * p.columns, *logd = to + p.logd + r * p.in;
            size_t seen = s->reach[l][r], own = seen - p.in;
            double log_by = (double)dfo_run_weights(run, s->scale[l])[r] - 0.5 * log(square(seen, p.in, w)), by = exp(log_by);
            for (size_t k = 0; k < own; k++)
                e[k] = (dfo_real)(by * (double)w[k]);
            for (size_t k = 0; k < p.in; k++) {
                logd[k] = (dfo_real)(log_by + (double)w[own + k]);
                e[own + k] = (dfo_real)exp(log_by + (double)w[own + k]);
            }
        }
    }
    return DFO_OK;
}

/* With by = e^s/|v| and A = dL/d log by, the sum of E gE over the row (of its own block gE E counts with those of the logs):
 * gs = A; w elsewhere gets by gE - A w/|v|^2, in the own block its log's less A e^2w/|v|^2.  */
dfo_status dfoi_bnaf_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct dfoi_bnaf *s = bij->state;
    for (size_t l = 0; run->grads && l < s->layers; l++) {
        struct dfoi_bnaf_place p = dfoi_bnaf_place(bij, l);
        for (size_t r = 0; r < p.rows; r++) {
            const dfo_real *w = dfo_run_weights(run, s->weight[l]) + r * p.columns, *e = from + p.e + r * p.columns;
            const dfo_real *ge = gfrom + p.e + r * p.columns, *gd = gfrom + p.logd + r * p.in;
            dfo_real *gw = dfo_run_grads(run, s->weight[l]) + r * p.columns;
            size_t seen = s->reach[l][r], own = seen - p.in;
            double n = square(seen, p.in, w), by = exp((double)dfo_run_weights(run, s->scale[l])[r]) / sqrt(n), all = 0;
            for (size_t k = 0; k < seen; k++)
                all += (double)ge[k] * (double)e[k] + (k < own ? 0 : (double)gd[k - own]);
            dfo_run_grads(run, s->scale[l])[r] += (dfo_real)all;
            for (size_t k = 0; k < own; k++)
                gw[k] += (dfo_real)(by * (double)ge[k] - all / n * (double)w[k]);
            for (size_t k = own; k < seen; k++)
                gw[k] += (dfo_real)((double)gd[k - own] + (double)ge[k] * (double)e[k] - all / n * exp(2 * (double)w[k]));
        }
    }
    return DFO_OK;
}
