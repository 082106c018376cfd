/* Elementwise rational-quadratic splines (Durkan et al. 2019) whose parameters are weights: one
 * spline for each feature, or channel of an image, beginning at the identity.
 *   "tails": "linear"   identity outside the box [-B, B].  With "box": "learned" the box is
 *                       [m - B e^s, m + B e^s], both learned, begun at the data's mean, log std:
 *                       u = (x - m) e^-s,  v = S(u),  z = v e^s + m;  log dz/dx = log S'(u).
 *   "tails": "circular" for angles (Rezende et al. 2020): a learned phase p turns the circle first,
 *                       u = wrap((x - start) 2B/period - B + p),  z = S(u) in [-B, B],
 *                       log dz/dx = log S'(u) + log 2B/period.  "period" is 2B and "start"
 *                       -period/2 unless given.  Values outside are taken modulo the period.
 * The kernels want parameters for every value: they are spread over panels of 64.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"
#include "spline_set_impl.h"

struct spline {
    dfoi_spline how;
    double  given[5];
    size_t  slopes;                    /* K-1 or K */
    size_t  params;                    /* 2K + slopes */
    size_t  at[3];                     /* weights: widths (c,K), heights (c,K), slopes (c,slopes) */
    int     learned;                   /* the box */
    size_t  location, log_scale;       /* (c) each, if it is */
    size_t  phase;                     /* (c), circular */
    double *period, *start;            /* (c), circular */
};

struct work {
    dfo_real *x, *g;                   /* (c, 64) */
    dfo_real *par, *gpar;              /* (params, 64), of one channel */
    dfo_real *ld;                      /* (64): log-dets, or their gradients */
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct spline *s = bij->state;
    (void)rows;
    return (2 * bij->shape.c + 2 * s->params + 1) * DFO_PANEL;
}

static struct work take(const dfo_bijector *bij, dfo_run *run)
{
    const struct spline *s = bij->state;
    struct work w;
    w.x = dfo_arena_take(run, bij->shape.c * DFO_PANEL);
    w.g = dfo_arena_take(run, bij->shape.c * DFO_PANEL);
    w.par = dfo_arena_take(run, s->params * DFO_PANEL);
    w.gpar = dfo_arena_take(run, s->params * DFO_PANEL);
    w.ld = dfo_arena_take(run, DFO_PANEL);
    return w;
}

/* Number and place of parameter p of channel c among the weights.  */
static size_t weight_at(const struct spline *s, size_t c, size_t p)
{
    size_t bins = s->how.bins;
    size_t which = p < bins ? 0 : p < 2 * bins ? 1 : 2;
    return s->at[which] + c * (which < 2 ? bins : s->slopes) + (p - which * bins);
}

static void spread(const struct spline *s, const dfo_run *run, size_t c, dfo_real *par)
{
    for (size_t p = 0; p < s->params; p++) {
        dfo_real w = *dfo_run_weights(run, weight_at(s, c, p));
        for (size_t i = 0; i < DFO_PANEL; i++)
            par[p * DFO_PANEL + i] = w;
    }
}

static void add_grads(const struct spline *s, dfo_run *run, size_t c, const dfo_real *gpar)
{
    for (size_t p = 0; run->grads && p < s->params; p++)
        *dfo_run_grads(run, weight_at(s, c, p)) +=
            (dfo_real)dfoi_sum(DFO_PANEL, gpar + p * DFO_PANEL);
}

/* y = factor x + offset: what stands between the rows and the spline's own axis, before (u of x)
 * and after (z of v).  */
struct line {
    double factor, offset;
};

static struct line before(const struct spline *s, const dfo_run *run, size_t c)
{
    struct line l = {1, 0};
    if (s->how.circular) {
        double bound = (double)s->how.bound;
        l.factor = 2 * bound / s->period[c];
        l.offset = (double)*dfo_run_weights(run, s->phase + c) - s->start[c] * l.factor - bound;
    } else if (s->learned) {
        l.factor = exp(-(double)*dfo_run_weights(run, s->log_scale + c));
        l.offset = -(double)*dfo_run_weights(run, s->location + c) * l.factor;
    }
    return l;
}

static struct line after(const struct spline *s, const dfo_run *run, size_t c)
{
    struct line l = {1, 0};
    if (s->learned) {
        l.factor = exp((double)*dfo_run_weights(run, s->log_scale + c));
        l.offset = (double)*dfo_run_weights(run, s->location + c);
    }
    return l;
}

/* t modulo 2B into [-B, B].  */
static double wrap(double t, double bound)
{
    return t >= -bound && t <= bound ? t : t - 2 * bound * floor((t + bound) / (2 * bound));
}

static int nothing(struct line l)
{
    return l.factor == 1 && l.offset == 0;
}

static void go(const struct spline *s, struct line l, dfo_real *x)
{
    for (size_t i = 0; !nothing(l) && i < DFO_PANEL; i++)
        x[i] = (dfo_real)((double)x[i] * l.factor + l.offset);
    for (size_t i = 0; s->how.circular && i < DFO_PANEL; i++)
        x[i] = (dfo_real)wrap((double)x[i], (double)s->how.bound);
}

/* Back: on a circle first off the phase, into [-B, B], then to the user's period.  */
static void go_back(const struct spline *s, const dfo_run *run, size_t c, struct line l,
                    dfo_real *x)
{
    double phase = s->how.circular ? (double)*dfo_run_weights(run, s->phase + c) : 0,
           bound = (double)s->how.bound;
    if (nothing(l))
        return;
    for (size_t i = 0; i < DFO_PANEL; i++)
        x[i] =
            s->how.circular
                ? (dfo_real)(s->start[c] + (wrap((double)x[i] - phase, bound) + bound) / l.factor)
                : (dfo_real)(((double)x[i] - l.offset) / l.factor);
}

/* log of all the lines' slopes, of one row.  */
static double line_logdet(const dfo_bijector *bij)
{
    const struct spline *s = bij->state;
    double sum = 0;
    for (size_t c = 0; s->how.circular && c < bij->shape.c; c++)
        sum += log(2 * (double)s->how.bound / s->period[c]);
    return (double)dfoi_plane(bij) * sum;
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, double *logdet,
                      int inverse)
{
    const struct spline *s = bij->state;
    struct work w = take(bij, run);
    size_t all = x.n * dfoi_plane(bij);
    double line = line_logdet(bij);
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = all - first < DFO_PANEL ? all - first : DFO_PANEL;
        dfoi_columns_to_panel(bij, x, first, n, 0, w.x);
        memset(w.ld, 0, DFO_PANEL * sizeof *w.ld);
        for (size_t c = 0; c < bij->shape.c; c++) {
            dfo_real *at = w.x + c * DFO_PANEL;
            spread(s, run, c, w.par);
            if (inverse) {
                struct line l = after(s, run, c);
                for (size_t i = 0; !nothing(l) && i < DFO_PANEL; i++)
                    at[i] = (dfo_real)(((double)at[i] - l.offset) / l.factor);
                dfoi_spline_inverse(&s->how, 1, DFO_PANEL, w.par, at, w.ld);
                go_back(s, run, c, before(s, run, c), at);
            } else {
                struct line l = after(s, run, c);
                go(s, before(s, run, c), at);
                dfoi_spline_forward(&s->how, 1, DFO_PANEL, w.par, at, w.ld);
                for (size_t i = 0; !nothing(l) && i < DFO_PANEL; i++)
                    at[i] = (dfo_real)((double)at[i] * l.factor + l.offset);
            }
        }
        dfoi_columns_from_panel(bij, w.x, first, n, x);
        dfoi_columns_add(bij, w.ld, first, n, logdet);
    }
    for (size_t i = 0; logdet && i < x.n; i++)
        logdet[i] += inverse ? -line : line;
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    return map(bij, run, x, logdet, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    return map(bij, run, z, logdet, 1);
}

/* x, g of a channel multiplied by factor, and the sums that the lines' gradients are made of.  */
struct sums {
    double g, gx;                      /* sum g, sum g x */
};

static struct sums sums_of(const dfo_real *x, const dfo_real *g)
{
    struct sums t = {0, 0};
    for (size_t i = 0; i < DFO_PANEL; i++) {
        t.g += (double)g[i];
        t.gx += (double)g[i] * (double)x[i];
    }
    return t;
}

static void add_weight(dfo_run *run, size_t at, double g)
{
    if (run->grads)
        *dfo_run_grads(run, at) += (dfo_real)g;
}

/* The learned box, all in coordinates of the box, sign = 1.  Before the step through the spline g
 * belongs to what leaves it, v: z = v e^s + m, so gs += sum gz e^s v, gm += sum gz.  After it g
 * belongs to u: u = (x - m) e^-s, so gs -= sum gu u, gm -= sum gu e^-s.  The other direction is the
 * same with x and z changed over.  */
static void box_grads(const struct spline *s, dfo_run *run, size_t c, const dfo_real *x,
                      const dfo_real *g, double sign)
{
    struct sums t = sums_of(x, g);
    double inverse = exp(-(double)*dfo_run_weights(run, s->log_scale + c));
    add_weight(run, s->log_scale + c, sign * t.gx);
    add_weight(run, s->location + c, sign * t.g * inverse);
}

static void scale_panel(double factor, dfo_real *g)
{
    for (size_t i = 0; factor != 1 && i < DFO_PANEL; i++)
        g[i] = (dfo_real)((double)g[i] * factor);
}

/* One channel of a panel backward: x (output, then input), g.  */
static void channel_back(const struct spline *s, dfo_run *run, size_t c, const struct work *w,
                         dfo_real *x, dfo_real *g)
{
    struct line in = before(s, run, c), out = after(s, run, c);
    for (size_t i = 0; !nothing(out) && i < DFO_PANEL; i++)
        x[i] = (dfo_real)(((double)x[i] - out.offset) / out.factor);
    scale_panel(out.factor, g);
    if (s->learned)
        box_grads(s, run, c, x, g, 1);
    dfoi_spline_backward(&s->how, 1, DFO_PANEL, w->par, x, g, w->ld, w->gpar);
    if (s->learned)
        box_grads(s, run, c, x, g, -1);
    if (s->how.circular)
        add_weight(run, s->phase + c, sums_of(x, g).g);
    go_back(s, run, c, in, x);
    scale_panel(in.factor, g);
}

static void channel_inverse_back(const struct spline *s, dfo_run *run, size_t c,
                                 const struct work *w, dfo_real *x, dfo_real *g)
{
    struct line in = before(s, run, c), out = after(s, run, c);
    go(s, in, x);
    scale_panel(1 / in.factor, g);
    if (s->learned)
        box_grads(s, run, c, x, g, 1);
    if (s->how.circular)
        add_weight(run, s->phase + c, -sums_of(x, g).g);
    dfoi_spline_inverse_backward(&s->how, 1, DFO_PANEL, w->par, x, g, w->ld, w->gpar);
    if (s->learned)
        box_grads(s, run, c, x, g, -1);
    for (size_t i = 0; !nothing(out) && i < DFO_PANEL; i++)
        x[i] = (dfo_real)((double)x[i] * out.factor + out.offset);
    scale_panel(1 / out.factor, g);
}

static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                           const double *glogdet, int inverse)
{
    const struct spline *s = bij->state;
    struct work w = take(bij, run);
    size_t all = x.n * dfoi_plane(bij);
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = all - first < DFO_PANEL ? all - first : DFO_PANEL;
        dfoi_columns_to_panel(bij, x, first, n, 0, w.x);
        dfoi_columns_to_panel(bij, gx, first, n, 1, w.g);
        dfoi_columns_glogdet(bij, glogdet, first, n, w.ld);
        for (size_t c = 0; c < bij->shape.c; c++) {
            spread(s, run, c, w.par);
            (inverse ? channel_inverse_back : channel_back)(s, run, c, &w, w.x + c * DFO_PANEL,
                                                            w.g + c * DFO_PANEL);
            add_grads(s, run, c, w.gpar);
        }
        dfoi_columns_from_panel(bij, w.x, first, n, x);
        dfoi_columns_from_panel(bij, w.g, first, n, gx);
    }
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    return map_back(bij, run, z, gz, glogdet, 0);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    return map_back(bij, run, x, gx, glogdet, 1);
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const struct spline *s = bij->state;
    dfo_real *w = dfo_store_weights(bij->store);
    size_t plane = dfoi_plane(bij);
    (void)run;
    (void)cond;
    for (size_t c = 0; s->learned && c < bij->shape.c; c++) {
        double mean, std;
        dfoi_column_moments(x, c * plane, plane, &mean, &std);
        w[s->location + c] = (dfo_real)mean;
        w[s->log_scale + c] = (dfo_real)(std > 1e-12 * fabs(mean) && std > 1e-30 ? log(std) : 0);
    }
    dfo_store_touch(bij->store);
    return DFO_OK;
}

static json_t *list_of(size_t c, const double *value)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < c; i++)
        if (json_array_append_new(list, json_real(value[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct spline *s = bij->state;
    dfo_ctx *ctx = bij->ctx;
    DFO_TRY(dfoi_spline_describe(ctx, to, &s->how, s->given));
    if (!s->how.circular)
        return dfoi_json_set(ctx, to, "box", json_string(s->learned ? "learned" : "fixed"));
    DFO_TRY(dfoi_json_set(ctx, to, "period", list_of(bij->shape.c, s->period)));
    return dfoi_json_set(ctx, to, "start", list_of(bij->shape.c, s->start));
}

static void spline_free(dfo_bijector *bij)
{
    struct spline *s = bij->state;
    if (!s)
        return;
    dfoi_free(bij->ctx, s->period);
    dfoi_free(bij->ctx, s->start);
    dfoi_free(bij->ctx, s);
}

static dfo_status create_circle(dfo_build *build, json_t *config, struct spline *s)
{
    dfo_ctx *ctx = build->ctx;
    size_t c = build->shape.c;
    if (s->learned)
        return dfoi_fail(ctx, DFO_EARG, "box: a circle has none to learn");
    DFO_TRY(dfoi_alloc(ctx, c, sizeof *s->period, &s->period));
    DFO_TRY(dfoi_alloc(ctx, c, sizeof *s->start, &s->start));
    DFO_TRY(dfoi_json_reals(ctx, config, "period", c, 2 * (double)s->how.bound, s->period));
    DFO_TRY(dfoi_json_reals(ctx, config, "start", c, 0, s->start));
    for (size_t j = 0; j < c; j++) {
        if (!(s->period[j] >= 1e-30 && s->period[j] <= 1e30))
            return dfoi_fail(ctx, DFO_EARG, "period must be from 1e-30 to 1e30, got %g",
                             s->period[j]);
        if (!(fabs(s->start[j]) <= 1e30))
            return dfoi_fail(ctx, DFO_EARG, "start must be from -1e30 to 1e30, got %g",
                             s->start[j]);
        if (!json_object_get(config, "start"))
            s->start[j] = -s->period[j] / 2;
    }
    return dfo_build_weights(build, "phase", 1, &c, &s->phase);
}

dfo_status dfoi_spline_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {
        "type",      "bins",       "tail_bound",     "tails",
        "min_width", "min_height", "min_derivative", "parameter_scale",
        "box",       "period",     "start",          NULL};
    static const char *const names[] = {"widths", "heights", "slopes"};
    dfo_ctx *ctx = build->ctx;
    struct spline *s;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfoi_spline_read(ctx, config, &s->how, s->given));
    DFO_TRY(dfoi_json_either(ctx, config, "box", "fixed", "learned", &s->learned));
    s->params = dfoi_spline_params(&s->how);
    s->slopes = s->params - 2 * s->how.bins;
    for (size_t i = 0; i < 3; i++) {
        size_t shape[2] = {build->shape.c, i < 2 ? s->how.bins : s->slopes};
        DFO_TRY(dfo_build_weights(build, names[i], 2, shape, &s->at[i]));
    }
    dfo_build_constant(build, s->at[2], build->shape.c * s->slopes, log(expm1(1 - s->given[3])));
    if (s->how.circular)
        return create_circle(build, config, s);
    if (json_object_get(config, "period") || json_object_get(config, "start"))
        return dfoi_fail(ctx, DFO_EARG, "period: only with tails circular");
    if (!s->learned)
        return DFO_OK;
    bij->caps |= DFO_DATA_INIT;
    DFO_TRY(dfo_build_weights(build, "location", 1, &build->shape.c, &s->location));
    return dfo_build_weights(build, "log_scale", 1, &build->shape.c, &s->log_scale);
}

const struct dfo_bijector_ops dfoi_spline_ops = {
    .type = "spline",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .init = init,
    .describe = describe,
    .free = spline_free,
};
