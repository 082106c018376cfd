/* Batch normalisation as a layer of a flow (Dinh et al. 2017, section 3.7; Papamakarios et al. 2017, eq. 9), each feature or
 * channel of an image over rows and pixels:
 *
 *   u = (x - m) r,  r = (v + e)^(-1/2),  z = exp(s) u + b,  log-det = h w sum(s + log r).
 *
 *   {"type":"batchnorm", "momentum":0.1, "epsilon":1e-5}
 *
 * m and v are buffers, running statistics that the first rows begin (init): with them the map is exact both ways, row by row,
 * and that is what it is in evaluation, on the way back and wherever nothing is kept for backward.  In training forward takes
 * those of its N rows and pixels (a shard's, so that no bit depends on threads; at least two), keeps them, and backward goes
 * through them:
 *
 *   gu = exp(s) gz,  gx = r (gu - mean gu - u mean(gu u) - u h w sum(glogdet)/N).
 *
 * Backward adds N m, N/(N-1) N v and N to the step's sums; after the step m += momentum (mean over shards - m), and v alike.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"

struct batchnorm {
    size_t log_scale, shift;           /* (c), weights */
    size_t mean, var;                  /* (c), buffers */
    double momentum, epsilon;
};

/* The statistics in use: (c) each.  */
struct moments {
    const dfo_real *mean, *var;
    int of_rows;
};

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    (void)rows;
    (void)how;
    return dfo_arena_size(2 * bij->shape.c);
}

static size_t gderived(const dfo_bijector *bij)
{
    return dfo_arena_size(2 * bij->shape.c + 1);
}

/* Do forward and backward of these rows take the rows' own?  */
static int of_rows(const dfo_bijector *bij, const dfo_run *run, size_t rows)
{
    return run->mode == DFO_TRAIN && run->saved && rows * dfoi_plane(bij) > 1;
}

static struct moments moments_of(const dfo_bijector *bij, const dfo_run *run, int own)
{
    const struct batchnorm *s = bij->state;
    if (own)
        return (struct moments){run->saved, run->saved + bij->shape.c, 1};
    return (struct moments){dfo_run_buffers(run, s->mean), dfo_run_buffers(run, s->var), 0};
}

static void take_moments(const dfo_bijector *bij, dfo_run *run, dfo_batch x)
{
    for (size_t c = 0; c < bij->shape.c; c++) {
        double mean, std;
        dfoi_column_moments(x, c * dfoi_plane(bij), dfoi_plane(bij), &mean, &std);
        run->saved[c] = (dfo_real)mean;
        run->saved[bij->shape.c + c] = (dfo_real)(std * std);
    }
}

/* log of what multiplies x - m of channel c.  */
static double log_slope(const dfo_bijector *bij, const dfo_run *run, const struct moments *m, size_t c)
{
    const struct batchnorm *s = bij->state;
    return (double)dfo_run_weights(run, s->log_scale)[c] - 0.5 * log((double)m->var[c] + s->epsilon);
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, const struct moments *m, dfo_batch x, double *logdet, int inverse)
{
    const struct batchnorm *s = bij->state;
    const dfo_real *shift = dfo_run_weights(run, s->shift);
    size_t plane = dfoi_plane(bij);
    double sum = 0;
    for (size_t c = 0; c < bij->shape.c; c++) {
        double slope = log_slope(bij, run, m, c);
        dfo_real by = (dfo_real)exp(inverse ? -slope : slope);
        sum += inverse ? -slope : slope;
        for (size_t i = 0; i < x.n; i++) {
            dfo_real *to = dfo_row(x, i) + c * plane;
            if (inverse)
                for (size_t p = 0; p < plane; p++)
                    to[p] = (to[p] - shift[c]) * by + m->mean[c];
            else
                for (size_t p = 0; p < plane; p++)
                    to[p] = (to[p] - m->mean[c]) * by + shift[c];
        }
    }
    for (size_t i = 0; logdet && i < x.n; i++)
        logdet[i] += (double)plane * sum;
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    int own = of_rows(bij, run, x.n);
    struct moments m = moments_of(bij, run, own);
    (void)cond;
    if (own)
        take_moments(bij, run, x);
    return map(bij, run, &m, x, logdet, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct moments m = moments_of(bij, run, 0);
    (void)cond;
    return map(bij, run, &m, z, logdet, 1);
}

/* This call's statistics, added to the step's.  */
static void add_statistics(const dfo_bijector *bij, const dfo_run *run, const struct moments *m, double n)
{
    size_t width = bij->shape.c;
    if (!m->of_rows || !run->grads || !run->gderived)
        return;
    for (size_t c = 0; c < width; c++) {
        run->gderived[c] += (dfo_real)(n * (double)m->mean[c]);
        run->gderived[width + c] += (dfo_real)(n * (n / (n - 1)) * (double)m->var[c]);
    }
    run->gderived[2 * width] += (dfo_real)n;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    const struct batchnorm *s = bij->state;
    const dfo_real *shift = dfo_run_weights(run, s->shift);
    dfo_real *gs = dfo_run_grads(run, s->log_scale), *gb = dfo_run_grads(run, s->shift);
    struct moments m = moments_of(bij, run, of_rows(bij, run, z.n));
    size_t plane = dfoi_plane(bij);
    double n = (double)z.n * (double)plane, all = 0;
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < z.n; i++)
        all += (double)plane * glogdet[i];
    for (size_t c = 0; c < bij->shape.c; c++) {
        double sum = 0, dot = 0, slope = exp(log_slope(bij, run, &m, c));
        double scale = exp((double)dfo_run_weights(run, s->log_scale)[c]), r = slope / scale;
        for (size_t i = 0; i < z.n; i++)
            for (size_t p = c * plane; p < (c + 1) * plane; p++) {
                double g = (double)dfo_row(gz, i)[p];
                sum += g;
                dot += g * (double)(dfo_row(z, i)[p] - shift[c]);
            }
        if (gs) {
            gs[c] += (dfo_real)(dot + all);
            gb[c] += (dfo_real)sum;
        }
        double by_u = m.of_rows ? (dot + all) / n : 0, rest = m.of_rows ? scale * sum / n : 0;
        for (size_t i = 0; i < z.n; i++)
            for (size_t p = c * plane; p < (c + 1) * plane; p++) {
                double up = (double)(dfo_row(z, i)[p] - shift[c]), u = up / scale, gu = scale * (double)dfo_row(gz, i)[p];
                dfo_row(gz, i)[p] = (dfo_real)(r * (gu - rest - u * by_u));
                dfo_row(z, i)[p] = (dfo_real)(up / slope + (double)m.mean[c]);
            }
    }
    add_statistics(bij, run, &m, n);
    return DFO_OK;
}

/* x = (z - b) / (e^s r) + m with running statistics: gz = gx / (e^s r), gb = -sum gz, gs = -sum gx (x - m) - hw glogdet.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    const struct batchnorm *s = bij->state;
    const dfo_real *shift = dfo_run_weights(run, s->shift);
    dfo_real *gs = dfo_run_grads(run, s->log_scale), *gb = dfo_run_grads(run, s->shift);
    struct moments m = moments_of(bij, run, 0);
    size_t plane = dfoi_plane(bij);
    (void)cond;
    (void)gcond;
    for (size_t c = 0; c < bij->shape.c; c++) {
        double slope = exp(log_slope(bij, run, &m, c)), of_scale = 0, of_shift = 0;
        for (size_t i = 0; i < x.n; i++) {
            of_scale -= (double)plane * glogdet[i];
            for (size_t p = c * plane; p < (c + 1) * plane; p++) {
                double off = (double)(dfo_row(x, i)[p] - m.mean[c]), g = (double)dfo_row(gx, i)[p];
                of_scale -= g * off;
                of_shift -= g / slope;
                dfo_row(x, i)[p] = (dfo_real)(off * slope + (double)shift[c]);
                dfo_row(gx, i)[p] = (dfo_real)(g / slope);
            }
        }
        if (gs) {
            gs[c] += (dfo_real)of_scale;
            gb[c] += (dfo_real)of_shift;
        }
    }
    return DFO_OK;
}

/* Running statistics begin as those of all these rows.  */
static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const struct batchnorm *s = bij->state;
    dfo_real *to = dfo_store_buffers(bij->store);
    (void)run;
    (void)cond;
    for (size_t c = 0; c < bij->shape.c; c++) {
        double mean, std;
        dfoi_column_moments(x, c * dfoi_plane(bij), dfoi_plane(bij), &mean, &std);
        to[s->mean + c] = (dfo_real)mean;
        to[s->var + c] = (dfo_real)(std * std);
    }
    dfo_store_touch(bij->store);
    return DFO_OK;
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    const struct batchnorm *s = bij->state;
    size_t width = bij->shape.c;
    const dfo_real *sums = run->gderived;
    if (!sums || !(sums[2 * width] > 0))
        return DFO_OK;
    for (size_t c = 0; c < 2 * width; c++) {
        dfo_real *to = run->new_buffers + (c < width ? s->mean + c : s->var + c - width);
        *to += (dfo_real)(s->momentum * ((double)sums[c] / (double)sums[2 * width] - (double)*to));
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct batchnorm *s = bij->state;
    DFO_TRY(dfoi_json_set(bij->ctx, to, "momentum", json_real(s->momentum)));
    return dfoi_json_set(bij->ctx, to, "epsilon", json_real(s->epsilon));
}

dfo_status dfoi_batchnorm_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "momentum", "epsilon", NULL};
    struct batchnorm *s;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfoi_json_real(build->ctx, config, "momentum", 0.1, 1e-6, 1, &s->momentum));
    DFO_TRY(dfoi_json_real(build->ctx, config, "epsilon", 1e-5, 1e-12, 1, &s->epsilon));
    DFO_TRY(dfo_build_weights(build, "log_scale", 1, &build->shape.c, &s->log_scale));
    DFO_TRY(dfo_build_weights(build, "shift", 1, &build->shape.c, &s->shift));
    DFO_TRY(dfo_build_buffer(build, "mean", 1, &build->shape.c, &s->mean));
    DFO_TRY(dfo_build_buffer(build, "var", 1, &build->shape.c, &s->var));
    for (size_t c = 0; c < build->shape.c; c++)
        dfo_store_buffers(build->store)[s->var + c] = 1;
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_batchnorm_ops = {
    .type = "batchnorm",
    .caps = DFO_CLOSED_INVERSE | DFO_DATA_INIT,
    .saved = saved,
    .gderived = gderived,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .init = init,
    .update = update,
    .describe = describe,
};
