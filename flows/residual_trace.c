/* log det(I + J) of a residual flow, J the Jacobian of a net that contracts, and its gradient.
 *
 * Exact: J by d passes with tangents, I + J = L U; d log det = tr B dJ, B = (I + J)^-1, by d passes back over tangents e_j with
 * adjoints that are the rows of B.
 *
 * Estimated (Chen et al. 2019, sections 3.1 and 3.3), with probes e, E e e^T = I:
 *     log det(I + J) = sum over k >= 1 of (-1)^(k+1)/k tr J^k = E sum w_k (-1)^(k+1)/k e^T J^k e,
 *     d log det      = E [u^T dJ e],  u^T = e^T sum over k >= 0 of (-1)^k w_(k+1) J^k.
 * "series": w_k = 1 up to `terms`, 0 behind, which leaves a bias that falls as c^terms. "roulette": behind `terms` there are N
 * more, N >= 1 drawn with P(N >= n) = 2^(1-n), and w_k = 1/P(N >= k - terms), which has the right mean.  */
#include <math.h>
#include <string.h>

#include <diffeo/rng.h>
#include "math/linalg_impl.h"
#include "nn/rows_impl.h"
#include "residual_impl.h"

#define FEW 64                             /* features whose log-det evaluation takes exactly */
#define MORE 40                            /* terms that roulette adds at most: one row in 2^39 would have more */

static const struct dfoi_residual *state(const dfo_bijector *bij)
{
    return dfoi_residual(bij);
}

size_t dfoi_residual_probes(const dfo_bijector *bij)
{
    return state(bij)->trace != DFOI_TRACE_EXACT && bij->d > FEW ? state(bij)->probes : 0;
}

static int estimates(const dfo_bijector *bij, const dfo_run *run)
{
    return run->mode == DFO_TRAIN ? state(bij)->trace != DFOI_TRACE_EXACT : run->mode != DFO_EXACT && dfoi_residual_probes(bij) > 0;
}

/* Rows that the net takes at a time.  */
static size_t chunk(size_t rows)
{
    return rows < DFO_NET_ROWS ? rows : DFO_NET_ROWS;
}

/* Some rows' passes.  */
struct work {
    const dfo_net *net;
    size_t    first, n, d;
    dfo_cond  in, din;                     /* rows, tangents (n, d) */
    dfo_block out, dout;
    dfo_real *acts;
    dfo_real *matrix;                      /* (n, d, d): J, then B */
    dfo_real *lu;                          /* (d, d) */
    int      *pivot;                       /* (d) */
    dfo_batch probe, v;                    /* (n, d) */
    double   *weight;                      /* (n): of the next term */
    size_t   *terms;                       /* (n) */
};

static size_t matrix_size(const dfo_bijector *bij, size_t n)
{
    return state(bij)->trace == DFOI_TRACE_EXACT || bij->d <= FEW ? n * bij->d * bij->d : 0;
}

size_t dfoi_residual_trace_scratch(const dfo_bijector *bij, size_t rows)
{
    size_t n = chunk(rows), d = bij->d;
    const dfo_net *net = state(bij)->net;
    return 4 * dfo_arena_size(n * d) + 2 * dfo_arena_size(dfoi_block_size(net->ops->layout, n, d)) + dfo_arena_size(2 * dfo_net_acts(net, n)) +
           dfo_arena_size(matrix_size(bij, n)) + dfo_arena_size(matrix_size(bij, 1)) + dfoi_doubles_size(2 * n + d) + dfoi_doubles_size(2 * n) +
           dfo_net_scratch(net, n);
}

static dfo_batch take_rows(dfo_run *run, size_t n, size_t d)
{
    return dfo_batch_of(dfo_arena_take(run, n * d), n, d);
}

static struct work work_of(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, size_t first)
{
    struct work w = {.net = state(bij)->net, .first = first, .n = chunk(x.n - first), .d = bij->d};
    dfo_batch tangent = take_rows(run, w.n, w.d);
    w.probe = take_rows(run, w.n, w.d);
    w.v = take_rows(run, w.n, w.d);
    w.out = dfoi_block_take(run, w.net->ops->layout, w.n, w.d);
    w.dout = dfoi_block_take(run, w.net->ops->layout, w.n, w.d);
    w.acts = dfo_arena_take(run, 2 * dfo_net_acts(w.net, w.n));
    w.matrix = dfo_arena_take(run, matrix_size(bij, w.n));
    w.lu = dfo_arena_take(run, matrix_size(bij, 1));
    w.weight = dfoi_take_doubles(run, 2 * w.n + w.d);
    w.terms = (size_t *)(void *)(w.weight + w.n);
    w.pivot = (int *)(void *)(w.weight + 2 * w.n);
    w.in = dfoi_residual_input(dfo_batch_rows(x, first, w.n), cond, first);
    w.din.n = w.in.n;                      /* the condition's stand still */
    w.din.part[0] = (struct dfo_cond_part){tangent, dfo_shape_vector(w.d)};
    return w;
}

static void copy(dfo_batch from, dfo_batch to)
{
    for (size_t i = 0; i < from.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), from.d * sizeof *to.x);
}

/* The tangents become e_j.  */
static void unit(struct work *w, size_t j)
{
    memset(w->din.part[0].rows.x, 0, w->n * w->d * sizeof *w->matrix);
    for (size_t i = 0; i < w->n; i++)
        dfo_row(w->din.part[0].rows, i)[j] = 1;
}

static dfo_status push(struct work *w, dfo_run *run, dfo_real *acts)
{
    return dfo_net_jvp(w->net, run, &w->in, &w->din, w->out, w->dout, acts);
}

/* ---- exact */

/* J of every row, as (d, d) matrices.  */
static dfo_status jacobians(struct work *w, dfo_run *run)
{
    size_t d = w->d;
    for (size_t j = 0; j < d; j++) {
        unit(w, j);
        DFO_TRY(push(w, run, NULL));
        dfoi_block_to_rows(w->dout, w->v);
        for (size_t i = 0; i < w->n; i++)
            for (size_t k = 0; k < d; k++)
                w->matrix[(i * d + k) * d + j] = w->v.x[i * d + k];
    }
    return DFO_OK;
}

/* L U of I + J of row i.  */
static dfo_status factor(struct work *w, dfo_run *run, size_t i)
{
    size_t d = w->d;
    memcpy(w->lu, w->matrix + i * d * d, d * d * sizeof *w->lu);
    for (size_t k = 0; k < d; k++)
        w->lu[k * d + k] += 1;
    if (dfoi_lu_factor(d, w->lu, d, w->pivot) == DFO_OK)
        return DFO_OK;
    size_t row = w->first + i;
    return dfo_run_fail(run, DFO_ENUM, row, "residual: row %llu: the Jacobian is not finite", (unsigned long long)(run->key.row + row));
}

static dfo_status exact(struct work *w, dfo_run *run, double sign, double *logdet)
{
    DFO_TRY(jacobians(w, run));
    for (size_t i = 0; i < w->n; i++) {
        DFO_TRY(factor(w, run, i));
        logdet[i] += sign * dfoi_log_abs_det(w->d, w->lu, w->d);
    }
    return DFO_OK;
}

/* gout = gz, or nothing.  */
static void seed(struct work *w, dfo_batch gz, int wanted)
{
    if (wanted)
        dfoi_block_from_rows(gz, w->out);
    else
        memset(w->out.x, 0, dfoi_block_size(w->out.layout, w->n, w->d) * sizeof *w->out.x);
}

/* Passes back over tangents din with adjoints v; the first takes gz too.  gin: where the input's gradient is added.  */
static dfo_status pull(struct work *w, dfo_run *run, dfo_batch gz, int wanted, dfo_cond *gin)
{
    DFO_TRY(push(w, run, w->acts));
    seed(w, gz, wanted);
    dfoi_block_from_rows(w->v, w->dout);
    return dfo_net_jvp_backward(w->net, run, &w->in, &w->din, w->out, w->dout, gin, NULL, w->acts);
}

static dfo_status exact_back(struct work *w, dfo_run *run, dfo_batch gz, dfo_cond *gin, const double *glogdet)
{
    size_t d = w->d;
    DFO_TRY(jacobians(w, run));
    for (size_t i = 0; i < w->n; i++) {
        DFO_TRY(factor(w, run, i));
        DFO_TRY(dfoi_lu_invert(d, w->lu, d, w->pivot, w->matrix + i * d * d, d));
    }
    for (size_t j = 0; j < d; j++) {
        unit(w, j);
        for (size_t i = 0; i < w->n; i++)
            for (size_t k = 0; k < d; k++)
                w->v.x[i * d + k] = (dfo_real)(glogdet[i] * (double)w->matrix[(i * d + j) * d + k]);
        DFO_TRY(pull(w, run, gz, j == 0, gin));
    }
    return DFO_OK;
}

/* ---- estimated */

/* Signs, and the rows' numbers of terms: functions of seed, place, step, row and probe.  Returns the largest number.  */
static size_t draw(const dfo_bijector *bij, const dfo_run *run, struct work *w, size_t p)
{
    const struct dfoi_residual *s = state(bij);
    size_t most = s->terms;
    for (size_t i = 0; i < w->n; i++) {
        dfo_real *e = dfo_row(w->probe, i);
        dfo_key key = {.seed = run->key.seed ^ (s->stream + p), .row = run->key.row + w->first + i, .purpose = DFO_FOR_PROBE};
        double u;
        key.step = run->mode == DFO_TRAIN ? run->key.step : 0;
        dfo_draw_real_uniform(key, w->d, e);
        for (size_t k = 0; k < w->d; k++)
            e[k] = e[k] < (dfo_real)0.5 ? -1 : 1;
        key.purpose = DFO_FOR_NOISE;
        dfo_draw_uniform(key, 0, 1, &u);
        w->terms[i] = s->terms;
        if (s->trace == DFOI_TRACE_ROULETTE)
            w->terms[i] += 1 + (size_t)fmin(-log2(u), MORE - 1);
        most = w->terms[i] > most ? w->terms[i] : most;
    }
    return most;
}

/* w_k of row i.  */
static double weight(const dfo_bijector *bij, const struct work *w, size_t i, size_t k)
{
    size_t sure = state(bij)->terms;
    return k > w->terms[i] ? 0 : k > sure ? ldexp(1, (int)(k - sure - 1)) : 1;
}

/* What probe p says of the log-dets.  */
static dfo_status estimate(const dfo_bijector *bij, struct work *w, dfo_run *run, size_t p, double *to)
{
    size_t most = draw(bij, run, w, p), d = w->d;
    copy(w->probe, w->din.part[0].rows);
    memset(to, 0, w->n * sizeof *to);
    for (size_t k = 1; k <= most; k++) {
        DFO_TRY(push(w, run, NULL));
        dfoi_block_to_rows(w->dout, w->din.part[0].rows);
        for (size_t i = 0; i < w->n; i++) {
            const dfo_real *e = dfo_row(w->probe, i), *v = dfo_row(w->din.part[0].rows, i);
            double sum = 0, by = weight(bij, w, i, k) * (k % 2 ? 1 : -1) / (double)k;
            for (size_t j = 0; j < d && by != 0; j++)
                sum += (double)e[j] * (double)v[j];
            to[i] += by * sum;
        }
    }
    return DFO_OK;
}

/* The mean over probes, by way of w->weight, and its variance.  */
static dfo_status estimated(const dfo_bijector *bij, struct work *w, dfo_run *run, double sign, double *logdet)
{
    size_t probes = state(bij)->probes;
    double *said = w->weight, *variance = run->variance && probes > 1 ? run->variance + w->first : NULL;
    double *sum = dfoi_take_doubles(run, 2 * w->n), *squares = sum + w->n;
    memset(sum, 0, 2 * w->n * sizeof *sum);
    for (size_t p = 0; p < probes; p++) {
        DFO_TRY(estimate(bij, w, run, p, said));
        for (size_t i = 0; i < w->n; i++) {                    /* Welford's */
            double off = said[i] - sum[i];
            sum[i] += off / (double)(p + 1);
            squares[i] += off * (said[i] - sum[i]);
        }
    }
    for (size_t i = 0; i < w->n; i++) {
        logdet[i] += sign * sum[i];
        if (variance)
            variance[i] += squares[i] / ((double)(probes - 1) * (double)probes);
    }
    return DFO_OK;
}

/* v = u times glogdet over the number of probes; J^T by passes back, without gradients of weights.  */
static dfo_status neumann(const dfo_bijector *bij, struct work *w, dfo_run *run, size_t most, const double *glogdet)
{
    dfo_real *grads = run->grads;
    dfo_batch power = w->din.part[0].rows;                     /* J^T^k e */
    dfo_cond gin = w->din;
    dfo_status status = DFO_OK;
    run->grads = NULL;
    copy(w->probe, power);
    memset(w->v.x, 0, w->n * w->d * sizeof *w->v.x);
    for (size_t k = 0; k < most && status == DFO_OK; k++) {
        for (size_t i = 0; i < w->n; i++) {
            double by = weight(bij, w, i, k + 1) * (k % 2 ? -1 : 1) * glogdet[i] / (double)state(bij)->probes;
            for (size_t j = 0; j < w->d && by != 0; j++)
                dfo_row(w->v, i)[j] += (dfo_real)(by * (double)dfo_row(power, i)[j]);
        }
        if (k + 1 == most)
            break;
        status = dfo_net_forward(w->net, run, &w->in, w->out, w->acts);
        dfoi_block_from_rows(power, w->out);
        memset(power.x, 0, w->n * w->d * sizeof *power.x);
        if (status == DFO_OK)
            status = dfo_net_backward(w->net, run, &w->in, w->out, &gin, w->acts);
    }
    run->grads = grads;
    return status;
}

static dfo_status estimated_back(const dfo_bijector *bij, struct work *w, dfo_run *run, dfo_batch gz, dfo_cond *gin, const double *glogdet)
{
    for (size_t p = 0; p < state(bij)->probes; p++) {
        size_t most = draw(bij, run, w, p);
        DFO_TRY(neumann(bij, w, run, most, glogdet));
        copy(w->probe, w->din.part[0].rows);
        DFO_TRY(pull(w, run, gz, p == 0, gin));
    }
    return DFO_OK;
}

/* ---- both */

dfo_status dfoi_residual_log_det(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double sign, double *logdet)
{
    size_t mark = run->arena_used;
    dfo_status status = DFO_OK;
    for (size_t first = 0; first < x.n && status == DFO_OK; first += DFO_NET_ROWS) {
        struct work w = work_of(bij, run, x, cond, first);
        status = estimates(bij, run) ? estimated(bij, &w, run, sign, logdet + first) : exact(&w, run, sign, logdet + first);
        run->arena_used = mark;
    }
    return status;
}

dfo_status dfoi_residual_log_det_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gz, const dfo_cond *cond,
                                      const dfo_cond *gcond, const double *glogdet)
{
    size_t mark = run->arena_used;
    dfo_status status = DFO_OK;
    for (size_t first = 0; first < x.n && status == DFO_OK; first += DFO_NET_ROWS) {
        struct work w = work_of(bij, run, x, cond, first);
        dfo_batch g = dfo_batch_rows(gz, first, w.n), from = take_rows(run, w.n, w.d);
        dfo_cond gin = {.n = w.in.n, .part[0].rows = g}, of = dfo_cond_rows(gcond, first, w.n);
        for (size_t p = 0; p < of.n; p++)
            gin.part[p + 1].rows = of.part[p].rows;
        copy(g, from);
        status = estimates(bij, run) ? estimated_back(bij, &w, run, from, &gin, glogdet + first)
                                     : exact_back(&w, run, from, &gin, glogdet + first);
        run->arena_used = mark;
    }
    return status;
}
