/* Gaussianization (Meng et al. 2020): each feature, or channel of an image, by its own distribution function to a standard
 * normal, z = Phi^-1(u), u = sum_k w_k sigmoid((x - m_k) e^-s_k) with w the softmax of logits.
 *
 *   {"type":"gaussianization", "components":8}
 *
 * log dz/dx = log du/dx + log sqrt(2 pi) + z^2/2.  Two steps, x to logit(u) and from there to z, keep the digits of the tails.
 * The first rows set m to the data's quantiles and s to the distances between them (init); logits begin at zero.  Weights:
 * logits, mu, log_scale (c, components).  The kernels want parameters for every value: they are spread over panels of 64.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"
#include "math/kern_impl.h"
#include "math/sigmoids_impl.h"

struct gaussianization {
    dfoi_sigmoids how;
    size_t at[3];                      /* logits, mu, log_scale: (c, components) */
};

struct work {
    dfo_real *x, *g;                   /* (c, 64) */
    dfo_real *par, *gpar;              /* (3 components, 64), of one channel */
    dfo_real *ld;                      /* (64): log-dets, or their gradients */
    dfo_real *y, *unused;              /* (64): logits, and log-dets that are not wanted */
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct gaussianization *s = bij->state;
    (void)rows;
    return (2 * bij->shape.c + 2 * dfoi_sigmoids_params(&s->how) + 3) * DFO_PANEL;
}

static struct work take(const dfo_bijector *bij, dfo_run *run)
{
    const struct gaussianization *s = bij->state;
    struct work w;
    w.x = dfo_arena_take(run, bij->shape.c * DFO_PANEL);
    w.g = dfo_arena_take(run, bij->shape.c * DFO_PANEL);
    w.par = dfo_arena_take(run, dfoi_sigmoids_params(&s->how) * DFO_PANEL);
    w.gpar = dfo_arena_take(run, dfoi_sigmoids_params(&s->how) * DFO_PANEL);
    w.ld = dfo_arena_take(run, DFO_PANEL);
    w.y = dfo_arena_take(run, DFO_PANEL);
    w.unused = dfo_arena_take(run, DFO_PANEL);
    return w;
}

/* Place of parameter p of channel c among the weights.  */
static size_t weight_at(const struct gaussianization *s, size_t c, size_t p)
{
    size_t k = s->how.components;
    return s->at[p / k] + c * k + p % k;
}

static void spread(const struct gaussianization *s, const dfo_run *run, size_t c, dfo_real *par)
{
    for (size_t p = 0; p < dfoi_sigmoids_params(&s->how); p++) {
        dfo_real w = *dfo_run_weights(run, weight_at(s, c, p));
        for (size_t i = 0; i < DFO_PANEL; i++)
            par[p * DFO_PANEL + i] = w;
    }
}

static void add_grads(const struct gaussianization *s, dfo_run *run, size_t c, const dfo_real *gpar)
{
    for (size_t p = 0; run->grads && p < dfoi_sigmoids_params(&s->how); p++)
        *dfo_run_grads(run, weight_at(s, c, p)) += (dfo_real)dfoi_sum(DFO_PANEL, gpar + p * DFO_PANEL);
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, double *logdet, int inverse)
{
    const struct gaussianization *s = bij->state;
    const struct dfoi_sigmoids_kernels *kern = DFOI_SIGMOIDS_KERN;
    struct work w = take(bij, run);
    size_t all = x.n * dfoi_plane(bij);
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = all - first < DFO_PANEL ? all - first : DFO_PANEL;
        dfoi_columns_to_panel(bij, x, first, n, 0, w.x);
        memset(w.ld, 0, DFO_PANEL * sizeof *w.ld);
        for (size_t c = 0; c < bij->shape.c; c++) {
            dfo_real *at = w.x + c * DFO_PANEL;
            spread(s, run, c, w.par);
            if (inverse) {
                kern->from_normal(DFO_PANEL, at, w.ld);
                kern->inverse(&s->how, 1, DFO_PANEL, w.par, at, w.ld);
            } else {
                kern->forward(&s->how, 1, DFO_PANEL, w.par, at, w.ld);
                kern->to_normal(DFO_PANEL, at, w.ld);
            }
        }
        dfoi_columns_from_panel(bij, w.x, first, n, x);
        dfoi_columns_add(bij, w.ld, first, n, logdet);
    }
    return DFO_OK;
}

static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const double *glogdet,
                           int inverse)
{
    const struct gaussianization *s = bij->state;
    const struct dfoi_sigmoids_kernels *kern = DFOI_SIGMOIDS_KERN;
    struct work w = take(bij, run);
    size_t all = x.n * dfoi_plane(bij);
    memset(w.unused, 0, DFO_PANEL * sizeof *w.unused);
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = all - first < DFO_PANEL ? all - first : DFO_PANEL;
        dfoi_columns_to_panel(bij, x, first, n, 0, w.x);
        dfoi_columns_to_panel(bij, gx, first, n, 1, w.g);
        dfoi_columns_glogdet(bij, glogdet, first, n, w.ld);
        for (size_t c = 0; c < bij->shape.c; c++) {
            dfo_real *at = w.x + c * DFO_PANEL, *g = w.g + c * DFO_PANEL;
            spread(s, run, c, w.par);
            if (inverse) {
                kern->inverse_backward(&s->how, 1, DFO_PANEL, w.par, at, g, w.ld, w.gpar);
                kern->from_normal_backward(DFO_PANEL, at, g, w.ld);
            } else {
                memcpy(w.y, at, DFO_PANEL * sizeof *at);
                kern->forward(&s->how, 1, DFO_PANEL, w.par, w.y, w.unused);
                kern->to_normal_backward(DFO_PANEL, w.y, g, w.ld);
                kern->backward(&s->how, 1, DFO_PANEL, w.par, at, g, w.ld, w.gpar);
            }
            add_grads(s, run, c, w.gpar);
        }
        dfoi_columns_from_panel(bij, w.x, first, n, x);
        dfoi_columns_from_panel(bij, w.g, first, n, gx);
    }
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    return map(bij, run, x, logdet, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    return map(bij, run, z, logdet, 1);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    (void)gcond;
    DFO_TRY(dfoi_take_input(bij, run, z, cond));
    return map_back(bij, run, z, gz, glogdet, 0);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    return map_back(bij, run, x, gx, glogdet, 1);
}

/* ---- from data */

static int rising(const void *a, const void *b)
{
    dfo_real x = *(const dfo_real *)a, y = *(const dfo_real *)b;
    return (x > y) - (x < y);
}

/* The quantile of n sorted values at share p.  */
static double quantile(size_t n, const dfo_real *sorted, double p)
{
    double at = p * (double)n - 0.5;
    at = at < 0 ? 0 : at > (double)(n - 1) ? (double)(n - 1) : at;
    size_t low = (size_t)at, high = low + 1 < n ? low + 1 : low;
    return (double)sorted[low] + (at - (double)low) * ((double)sorted[high] - (double)sorted[low]);
}

/* Component k stands at quantile (k + 1/2)/K.  Its scale is half the distance between its neighbours, at least that of equal
 * ones over two standard deviations; a column that does not vary has scales of 1/2.  */
static void set_channel(const struct gaussianization *s, dfo_real *w, size_t c, size_t n, const dfo_real *sorted, double std)
{
    size_t k = s->how.components;
    double least = std > 0 ? std / (double)k : 1;
    for (size_t i = 0; i < k; i++) {
        double low = quantile(n, sorted, (double)i / (double)k), high = quantile(n, sorted, (double)(i + 1) / (double)k);
        w[s->at[1] + c * k + i] = (dfo_real)quantile(n, sorted, ((double)i + 0.5) / (double)k);
        w[s->at[2] + c * k + i] = (dfo_real)log(fmax(0.5 * (high - low), 0.5 * least));
    }
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    size_t plane = dfoi_plane(bij);
    dfo_real *sorted;
    (void)cond;
    if (dfoi_alloc(bij->ctx, x.n * plane, sizeof *sorted, &sorted) != DFO_OK)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "%s", dfo_ctx_error(bij->ctx));
    for (size_t c = 0; c < bij->shape.c; c++) {
        double mean, std;
        dfoi_column_moments(x, c * plane, plane, &mean, &std);
        for (size_t i = 0; i < x.n; i++)
            memcpy(sorted + i * plane, dfo_row(x, i) + c * plane, plane * sizeof *sorted);
        qsort(sorted, x.n * plane, sizeof *sorted, rising);
        set_channel(bij->state, dfo_store_weights(bij->store), c, x.n * plane, sorted,
                    std > 1e-12 * fabs(mean) && std > 1e-30 ? std : 0);
    }
    dfoi_free(bij->ctx, sorted);
    dfo_store_touch(bij->store);
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct gaussianization *s = bij->state;
    return dfoi_json_set(bij->ctx, to, "components", json_integer((json_int_t)s->how.components));
}

/* Without data: means evenly from -2 to 2.  */
dfo_status dfoi_gaussianization_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "components", NULL}, *const names[] = {"logits", "mu", "log_scale"};
    struct gaussianization *s;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfoi_json_size(build->ctx, config, "components", 8, 1, DFOI_SIGMOIDS_MOST, &s->how.components));
    const size_t k = s->how.components, shape[2] = {build->shape.c, k};
    for (size_t i = 0; i < 3; i++)
        DFO_TRY(dfo_build_weights(build, names[i], 2, shape, &s->at[i]));
    for (size_t i = 0; !build->blank && i < shape[0] * k; i++)
        dfo_store_weights(build->store)[s->at[1] + i] = (dfo_real)((4 * (double)(i % k) + 2) / (double)k - 2);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_gaussianization_ops = {
    .type = "gaussianization",
    .caps = DFO_CLOSED_INVERSE | DFO_DATA_INIT | DFO_KEEPS_INPUT,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .init = init,
    .describe = describe,
};
