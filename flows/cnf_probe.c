/* The probes of a continuous flow's trace, drawn once a solve: K vectors e a row with E e e^T = I of independent signs or normal
 * numbers (Hutchinson 1990), of which the estimate is the mean of e^T J e.
 *
 * "hutch++" (Meyer et al. 2021) takes the trace exactly on a space where J is large, and estimates the rest: with r = K/3 of the
 * vectors s, Q the orthonormal basis of J s at the state where the solve starts, and g the K - r others,
 *
 *     tr J = tr Q^T J Q + tr P J P,  P = I - Q Q^T,   the last term by the mean of (P g)^T J (P g).
 *
 * Vectors sqrt(K) q and sqrt(K / (K-r)) P g make this the mean over all K again.  Q stays through the solve, and gradients hold it
 * fast: s and g are independent, so that the estimate has the right mean whatever Q is, and its slope along Q the mean 0.  */
#include <math.h>
#include <string.h>

#include <diffeo/rng.h>
#include "cnf_impl.h"
#include "math/linalg_impl.h"

static size_t sketched(const dfo_bijector *bij)
{
    const struct dfoi_cnf *c = bij->state;
    size_t third = c->sketch ? c->probes / 3 : 0;
    return third < bij->d ? third : bij->d;
}

size_t dfoi_cnf_probe_scratch(const dfo_bijector *bij, size_t rows)
{
    size_t r = sketched(bij);
    return r ? dfo_arena_size(r * bij->d) + dfo_arena_size(dfoi_qr_scratch(r, bij->d)) + dfoi_cnf_push_scratch(bij, rows) : 0;
}

/* Functions of seed, place, step, row, probe and feature.  */
static void draw(const dfo_bijector *bij, const dfo_run *run, size_t n, dfo_real *probe)
{
    const struct dfoi_cnf *c = bij->state;
    for (size_t j = 0; j < c->probes; j++)
        for (size_t i = 0; i < n; i++, probe += bij->d) {
            dfo_key key = {.seed = run->key.seed ^ (c->stream + j), .row = run->key.row + i, .purpose = DFO_FOR_PROBE};
            key.step = run->mode == DFO_TRAIN ? run->key.step : 0;
            if (c->normal) {
                dfo_draw_real_normal(key, bij->d, probe);
                continue;
            }
            dfo_draw_real_uniform(key, bij->d, probe);
            for (size_t e = 0; e < bij->d; e++)
                probe[e] = probe[e] < (dfo_real)0.5 ? -1 : 1;
        }
}

/* g becomes `by` times what it has outside the span of q's r orthonormal rows.  */
static void project(size_t r, size_t d, const dfo_real *q, double by, dfo_real *g)
{
    for (size_t k = 0; k < r; k++, q += d) {
        double along = 0;
        for (size_t e = 0; e < d; e++)
            along += (double)q[e] * (double)g[e];
        for (size_t e = 0; e < d; e++)
            g[e] -= (dfo_real)along * q[e];
    }
    for (size_t e = 0; e < d; e++)
        g[e] *= (dfo_real)by;
}

/* Row i: the first r vectors, J s, become the basis, the others lose what they have in it.  q (r,d).  */
static dfo_status split(size_t r, size_t k, size_t n, size_t d, size_t i, dfo_real *probe, dfo_real *q, dfo_real *work)
{
    for (size_t j = 0; j < r; j++)
        memcpy(q + j * d, probe + (j * n + i) * d, d * sizeof *q);
    DFO_TRY(dfoi_qr_orthogonal(r, d, q, d, work));
    for (size_t j = r; j < k; j++)
        project(r, d, q, sqrt((double)k / (double)(k - r)), probe + (j * n + i) * d);
    for (size_t j = 0; j < r; j++)
        for (size_t e = 0; e < d; e++)
            probe[(j * n + i) * d + e] = (dfo_real)sqrt((double)k) * q[j * d + e];
    return DFO_OK;
}

dfo_status dfoi_cnf_probe(const dfo_bijector *bij, dfo_run *run, double from, dfo_batch x, const dfo_cond *cond, dfo_real *probe)
{
    size_t mark = run->arena_used, r = sketched(bij), k = ((const struct dfoi_cnf *)bij->state)->probes;
    draw(bij, run, x.n, probe);
    if (!r)
        return DFO_OK;
    dfo_real *q = dfo_arena_take(run, r * bij->d), *work = dfo_arena_take(run, dfoi_qr_scratch(r, bij->d));
    for (size_t j = 0; j < r; j++)
        DFO_TRY(dfoi_cnf_push(bij, run, from, x, cond, probe + j * x.n * bij->d));
    for (size_t i = 0; i < x.n; i++)
        if (split(r, k, x.n, bij->d, i, probe, q, work) != DFO_OK)
            return dfo_run_fail(run, DFO_ENUM, run->key.row + i, "cnf: hutch++: no basis of the sketch at time %g", from);
    run->arena_used = mark;
    return DFO_OK;
}

/* The first r estimates, those on the basis, are exact.  */
void dfoi_cnf_variance(const dfo_bijector *bij, const double *q, size_t n, double *variance)
{
    size_t k = ((const struct dfoi_cnf *)bij->state)->probes, r = sketched(bij), m = k - r;
    for (size_t i = 0; i < n && m > 1; i++) {
        const double *of = q + i * (1 + k) + 1 + r;
        double mean = 0, sum = 0;
        for (size_t j = 0; j < m; j++)
            mean += of[j] / (double)m;
        for (size_t j = 0; j < m; j++)
            sum += (of[j] - mean) * (of[j] - mean);
        variance[i] += sum * (double)m / ((double)(k * k) * (double)(m - 1));
    }
}
