/* Block neural autoregressive flow (De Cao, Titov and Aziz 2019): a net of tanh units in blocks, one for each column, whose
 * matrices are block triangular with positive blocks on the diagonal, so that f_i rises in x_i and knows x_1 .. x_i:
 *
 *   z = a x + (1 - a) f(x),  a = sigmoid(gate).
 *
 *   {"type":"bnaf", "hidden":8, "depth":1}: units a column, and layers of them
 *
 * f alone is bounded and would leave latents without data; with their gate (section 3.3) every z has one x.  The log-det
 * is made of the diagonal blocks' products, in logs: from layer to layer log sums of exponentials (eq. 11 to 13), then
 * log dz_i/dx_i = log a + softplus(log f_i' - gate).  A condition is seen by the first layer.  Back: bnaf_inverse.c.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bnaf_impl.h"

#define LOG_4 ((dfo_real)1.38629436111989061883)
#define LOOP _Pragma("GCC ivdep") for (size_t i = 0; i < DFO_PANEL; i++)

static const struct dfoi_bnaf *state(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t inputs(const dfo_bijector *bij)
{
    return bij->cond_d + bij->d;
}

static size_t units(const dfo_bijector *bij)
{
    return bij->d * state(bij)->width;
}

static size_t some_rows(const dfo_bijector *bij)
{
    return state(bij)->width * (state(bij)->layers + 2) + 2;
}

/* Of the ways back: gradients of inputs, outputs, pre-activations and logs of slopes, before and behind a layer.  */
struct gradients {
    dfo_real *in, *z, *pre[2], *log[2], *gemm;
    dfo_real *ld;                      /* (64) */
};

/* The rows of the largest layer.  */
static size_t most(const dfo_bijector *bij)
{
    return units(bij) > inputs(bij) ? units(bij) : inputs(bij);
}

static size_t gemm_scratch(const dfo_bijector *bij)
{
    size_t back = dfoi_gemm_back_scratch(most(bij)), grad = dfoi_gemm_grad_scratch(most(bij), 1);
    return back > grad ? back : grad;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    size_t hidden = state(bij)->layers - 1;
    (void)rows;
    return DFO_PANEL * (2 * inputs(bij) + 3 * hidden * units(bij) + 6 * bij->d + some_rows(bij) + 1 + 4 * most(bij)) +
           dfo_arena_size(gemm_scratch(bij));
}

static struct dfoi_bnaf_panel take(const dfo_bijector *bij, dfo_run *run)
{
    struct dfoi_bnaf_panel p = {.in = dfo_arena_take(run, inputs(bij) * DFO_PANEL)};
    for (size_t l = 0; l + 1 < state(bij)->layers; l++) {
        p.act[l] = dfo_arena_take(run, units(bij) * DFO_PANEL);
        p.slope[l] = dfo_arena_take(run, units(bij) * DFO_PANEL);
    }
    p.f = dfo_arena_take(run, bij->d * DFO_PANEL);
    p.lf = dfo_arena_take(run, bij->d * DFO_PANEL);
    p.z = dfo_arena_take(run, bij->d * DFO_PANEL);
    p.some = dfo_arena_take(run, some_rows(bij) * DFO_PANEL);
    return p;
}

static struct gradients take_gradients(const dfo_bijector *bij, dfo_run *run)
{
    struct gradients g;
    g.in = dfo_arena_take(run, inputs(bij) * DFO_PANEL);
    g.z = dfo_arena_take(run, bij->d * DFO_PANEL);
    for (size_t k = 0; k < 2; k++) {
        g.pre[k] = dfo_arena_take(run, most(bij) * DFO_PANEL);
        g.log[k] = dfo_arena_take(run, most(bij) * DFO_PANEL);
    }
    g.ld = dfo_arena_take(run, DFO_PANEL);
    g.gemm = dfo_arena_take(run, gemm_scratch(bij));
    return g;
}

static struct dfoi_bnaf_transposed take_transposed(const dfo_bijector *bij, dfo_run *run)
{
    struct dfoi_bnaf_transposed t = {.u = dfo_arena_take(run, bij->d * DFO_PANEL), .out = dfo_arena_take(run, bij->d * DFO_PANEL)};
    for (size_t l = 0; l + 1 < state(bij)->layers; l++)
        t.pre[l] = dfo_arena_take(run, units(bij) * DFO_PANEL);
    return t;
}

/* Rows first .. and their condition into a panel; x goes to `to`.  */
static void begin(const dfo_bijector *bij, struct dfoi_bnaf_panel *p, size_t first, dfo_batch x, const dfo_cond *cond,
                  dfo_real *to)
{
    dfo_real *at = p->in;
    p->first = first;
    p->n = x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL;
    for (size_t q = 0; cond && q < cond->n; q++) {
        dfo_batch rows = cond->part[q].rows;
        dfoi_to_panel(p->n, rows.d, dfo_row(rows, first), rows.ld, NULL, 0, at);
        at += rows.d * DFO_PANEL;
    }
    dfoi_to_panel(p->n, bij->d, dfo_row(x, first), x.ld, NULL, 0, to);
}

/* e_j = exp(logd_j + slope_j - the largest), and their sum.  */
static void weigh(size_t in, const dfo_real *logd, const dfo_real *slope, dfo_real *e, dfo_real *largest, dfo_real *sum)
{
    LOOP largest[i] = logd[0] + slope[i];
    for (size_t j = 0; j < in; j++)
        LOOP {
            dfo_real v = logd[j] + slope[j * DFO_PANEL + i];
            e[j * DFO_PANEL + i] = v;
            largest[i] = v > largest[i] ? v : largest[i];
        }
    for (size_t j = 0; j < in; j++)
        LOOP e[j * DFO_PANEL + i] -= largest[i];
    dfoi_vexp(in * DFO_PANEL, e, e);
    memset(sum, 0, DFO_PANEL * sizeof *sum);
    for (size_t j = 0; j < in; j++)
        dfoi_add(DFO_PANEL, e + j * DFO_PANEL, sum);
}

/* Logs of a layer's slopes in a row's own column, from those before it.  */
static void log_slopes(const struct dfoi_bnaf_place *at, const dfo_real *logd, const dfo_real *before, dfo_real *some, dfo_real *to)
{
    dfo_real *e = some, *largest = some + at->in * DFO_PANEL, *sum = largest + DFO_PANEL;
    for (size_t r = 0; r < at->rows; r++, logd += at->in, to += DFO_PANEL) {
        if (!before) {
            LOOP to[i] = logd[0];
            continue;
        }
        weigh(at->in, logd, before + r / at->out * at->in * DFO_PANEL, e, largest, sum);
        dfoi_vlog(DFO_PANEL, sum, sum);
        LOOP to[i] = largest[i] + sum[i];
    }
}

/* log(1 - tanh^2) = log 4 - 2|x| - 2 softplus(-2|x|), added.  */
static void add_tanh_slope(const dfo_real *x, dfo_real *some, dfo_real *to)
{
    LOOP some[i] = x[i] > 0 ? -2 * x[i] : 2 * x[i];
    dfoi_vsoftplus(DFO_PANEL, some, some + DFO_PANEL);
    LOOP to[i] += LOG_4 + some[i] - 2 * some[DFO_PANEL + i];
}

void dfoi_bnaf_net(const dfo_bijector *bij, dfo_run *run, struct dfoi_bnaf_panel *p)
{
    const struct dfoi_bnaf *s = state(bij);
    const dfo_real *x = p->in, *before = NULL;
    for (size_t l = 0; l < s->layers; l++) {
        struct dfoi_bnaf_place at = dfoi_bnaf_place(bij, l);
        int last = l + 1 == s->layers;
        dfo_real *y = last ? p->f : p->act[l], *slope = last ? p->lf : p->slope[l];
        dfoi_gemm_stairs(at.rows, at.columns, run->derived + at.e, at.columns, s->reach[l], 1, &x,
                         dfo_run_weights(run, s->bias[l]), DFOI_ACT_NONE, NULL, &y);
        log_slopes(&at, run->derived + at.logd, before, p->some, slope);
        for (size_t r = 0; !last && r < at.rows; r++)
            add_tanh_slope(y + r * DFO_PANEL, p->some, slope + r * DFO_PANEL);
        if (!last)
            dfoi_vtanh(at.rows * DFO_PANEL, y, y);
        x = y;
        before = slope;
    }
}

/* log a, and lf becomes softplus(lf - gate).  */
static double gate_logs(const dfo_bijector *bij, dfo_run *run, struct dfoi_bnaf_panel *p)
{
    dfo_real gate = *dfo_run_weights(run, state(bij)->gate);
    for (size_t k = 0; k < bij->d * DFO_PANEL; k++)
        p->lf[k] -= gate;
    dfoi_vsoftplus(bij->d * DFO_PANEL, p->lf, p->lf);
    return -(fmax(-(double)gate, 0) + log1p(exp(-fabs((double)gate))));
}

static void add_log_dets(const dfo_bijector *bij, dfo_run *run, struct dfoi_bnaf_panel *p, double sign, double *logdet)
{
    double log_a = gate_logs(bij, run, p);
    for (size_t i = 0; i < p->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < bij->d; j++)
            sum += log_a + (double)p->lf[j * DFO_PANEL + i];
        logdet[p->first + i] += sign * sum;
    }
}

/* a, and 1 - a, which is no difference: with a near 1 that would have lost its digits.  */
static void shares_of(const dfo_bijector *bij, const dfo_run *run, dfo_real *a, dfo_real *rest)
{
    dfo_real back = -*dfo_run_weights(run, state(bij)->gate);
    dfoi_vsigmoid(1, dfo_run_weights(run, state(bij)->gate), a);
    dfoi_vsigmoid(1, &back, rest);
}

/* Of the panel's columns and f, to rows x.  */
static void put_latents(const dfo_bijector *bij, const struct dfoi_bnaf_panel *p, dfo_real a, dfo_real rest, dfo_batch x)
{
    const dfo_real *at = p->in + bij->cond_d * DFO_PANEL;
    for (size_t k = 0; k < bij->d * DFO_PANEL; k++)
        p->z[k] = a * at[k] + rest * p->f[k];
    dfoi_from_panel(p->n, bij->d, p->z, NULL, dfo_row(x, p->first), x.ld);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    struct dfoi_bnaf_panel p = take(bij, run);
    dfo_real a, rest;
    shares_of(bij, run, &a, &rest);
    for (size_t first = 0; first < x.n; first += DFO_PANEL) {
        begin(bij, &p, first, x, cond, p.in + bij->cond_d * DFO_PANEL);
        dfoi_bnaf_net(bij, run, &p);
        put_latents(bij, &p, a, rest, x);
        if (logdet)
            add_log_dets(bij, run, &p, 1, logdet);
    }
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct dfoi_bnaf_panel p = take(bij, run);
    for (size_t first = 0; first < z.n; first += DFO_PANEL) {
        begin(bij, &p, first, z, cond, p.z);
        dfoi_bnaf_solve(bij, run, &p);
        dfoi_from_panel(p.n, bij->d, p.in + bij->cond_d * DFO_PANEL, NULL, dfo_row(z, first), z.ld);
        if (!logdet)
            continue;
        dfoi_bnaf_net(bij, run, &p);
        add_log_dets(bij, run, &p, -1, logdet);
    }
    return DFO_OK;
}

/* Back through the sums of a layer's slopes: `after` (rows, 64) gives those before it, and the logs'.  */
static void slopes_back(const struct dfoi_bnaf_place *at, const dfo_real *logd, const dfo_real *before, const dfo_real *after,
                        dfo_real *some, dfo_real *gbefore, dfo_real *glogd)
{
    dfo_real *e = some, *largest = some + at->in * DFO_PANEL, *sum = largest + DFO_PANEL;
    if (before)
        memset(gbefore, 0, at->rows / at->out * at->in * DFO_PANEL * sizeof *gbefore);
    for (size_t r = 0; r < at->rows; r++, after += DFO_PANEL) {
        size_t block = r / at->out * at->in * DFO_PANEL;
        if (!before) {
            if (glogd)
                glogd[r] += (dfo_real)dfoi_sum(DFO_PANEL, after);
            continue;
        }
        weigh(at->in, logd + r * at->in, before + block, e, largest, sum);
        for (size_t j = 0; j < at->in; j++) {
            dfo_real *share = e + j * DFO_PANEL;
            LOOP share[i] = after[i] * share[i] / sum[i];
            dfoi_add(DFO_PANEL, share, gbefore + block + j * DFO_PANEL);
            if (glogd)
                glogd[r * at->in + j] += (dfo_real)dfoi_sum(DFO_PANEL, share);
        }
    }
}

/* From g.pre[0] and g.log[0], of the net's outputs, to g.in.  */
static void net_back(const dfo_bijector *bij, dfo_run *run, const struct dfoi_bnaf_panel *p, struct gradients *g)
{
    const struct dfoi_bnaf *s = state(bij);
    for (size_t l = s->layers; l-- > 0;) {
        struct dfoi_bnaf_place at = dfoi_bnaf_place(bij, l);
        const dfo_real *gy = g->pre[0], *x = l ? p->act[l - 1] : p->in, *e = run->derived + at.e;
        dfo_real *gx = l ? g->pre[1] : g->in;
        slopes_back(&at, run->derived + at.logd, l ? p->slope[l - 1] : NULL, g->log[0], p->some, g->log[1],
                    run->grads ? run->gderived + at.logd : NULL);
        if (run->grads)
            dfoi_gemm_grad_stairs(at.rows, at.columns, s->reach[l], 1, &gy, &x, run->gderived + at.e, at.columns,
                                  dfo_run_grads(run, s->bias[l]), g->gemm);
        dfoi_gemm_back_stairs(at.rows, at.columns, e, at.columns, s->reach[l], 1, &gy, NULL, NULL, &gx, g->gemm);
        for (size_t k = 0; l && k < units(bij) * DFO_PANEL; k++) {
            dfo_real t = x[k];
            g->pre[0][k] = gx[k] * (1 - t * t) - 2 * t * g->log[1][k];
            g->log[0][k] = g->log[1][k];
        }
    }
}

/* The condition's share of g.in, added.  */
static void add_condition(const struct gradients *g, const struct dfoi_bnaf_panel *p, const dfo_cond *cond, const dfo_cond *gcond)
{
    const dfo_real *at = g->in;
    for (size_t q = 0; cond && q < cond->n; q++) {
        dfo_batch to = gcond && q < gcond->n ? gcond->part[q].rows : (dfo_batch){0};
        for (size_t j = 0; j < cond->part[q].rows.d; j++, at += DFO_PANEL)
            for (size_t i = 0; to.x && i < p->n; i++)
                dfo_row(to, p->first + i)[j] += at[i];
    }
}

/* Back through the map, from g.z and g.ld, gradients of z and of the log-det, to g.in, of f's inputs.  Returns the gate's.  */
static double map_back(const dfo_bijector *bij, dfo_run *run, const struct dfoi_bnaf_panel *p, struct gradients *g)
{
    dfo_real a, rest, gate = *dfo_run_weights(run, state(bij)->gate), *share = g->log[0];
    const dfo_real *x = p->in + bij->cond_d * DFO_PANEL;
    double of_gate = 0;
    shares_of(bij, run, &a, &rest);
    for (size_t k = 0; k < bij->d * DFO_PANEL; k++)
        share[k] = p->lf[k] - gate;
    dfoi_vsigmoid(bij->d * DFO_PANEL, share, share);                /* f's part of the slope */
    for (size_t k = 0; k < bij->d * DFO_PANEL; k++) {
        dfo_real gl = g->ld[k % DFO_PANEL];
        of_gate += (double)(g->z[k] * a * rest * (x[k] - p->f[k])) + (double)(gl * (rest - share[k]));
        g->pre[0][k] = rest * g->z[k];
        g->log[0][k] = gl * share[k];
    }
    net_back(bij, run, p, g);
    return of_gate;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    DFO_TRY(dfoi_take_input(bij, run, z, cond));
    struct dfoi_bnaf_panel p = take(bij, run);
    struct gradients g = take_gradients(bij, run);
    dfo_real a, rest;
    double of_gate = 0;
    shares_of(bij, run, &a, &rest);
    for (size_t first = 0; first < z.n; first += DFO_PANEL) {
        begin(bij, &p, first, z, cond, p.in + bij->cond_d * DFO_PANEL);
        dfoi_bnaf_net(bij, run, &p);
        dfoi_to_panel(p.n, bij->d, dfo_row(gz, first), gz.ld, NULL, 1, g.z);
        LOOP g.ld[i] = i < p.n ? (dfo_real)glogdet[first + i] : 0;
        of_gate += map_back(bij, run, &p, &g);
        add_condition(&g, &p, cond, gcond);
        for (size_t k = 0; k < bij->d * DFO_PANEL; k++)
            g.z[k] = a * g.z[k] + g.in[bij->cond_d * DFO_PANEL + k];
        dfoi_from_panel(p.n, bij->d, g.z, NULL, dfo_row(gz, first), gz.ld);
    }
    if (run->grads)
        *dfo_run_grads(run, state(bij)->gate) += (dfo_real)of_gate;
    return DFO_OK;
}

/* As the log-det is that of the map, negative, z gets u, J^T u = gx - glogdet dlogdet/dx, and weights and condition what the way
 * back through the map gives them for -u and -glogdet.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    struct dfoi_bnaf_panel p = take(bij, run);
    struct gradients g = take_gradients(bij, run);
    struct dfoi_bnaf_transposed t = take_transposed(bij, run);
    dfo_real a, rest, *grads = run->grads;
    double of_gate = 0;
    shares_of(bij, run, &a, &rest);
    for (size_t first = 0; first < x.n; first += DFO_PANEL) {
        begin(bij, &p, first, x, cond, p.in + bij->cond_d * DFO_PANEL);
        dfoi_bnaf_net(bij, run, &p);
        dfoi_to_panel(p.n, bij->d, dfo_row(gx, first), gx.ld, NULL, 1, t.u);
        LOOP g.ld[i] = i < p.n ? -(dfo_real)glogdet[first + i] : 0;
        memset(g.z, 0, bij->d * DFO_PANEL * sizeof *g.z);
        run->grads = NULL;
        map_back(bij, run, &p, &g);
        run->grads = grads;
        dfoi_add(bij->d * DFO_PANEL, g.in + bij->cond_d * DFO_PANEL, t.u);
        dfoi_bnaf_solve_transposed(bij, run, &p, &t, g.gemm);
        for (size_t k = 0; k < bij->d * DFO_PANEL; k++)
            g.z[k] = -t.u[k];
        of_gate += map_back(bij, run, &p, &g);
        add_condition(&g, &p, cond, gcond);
        dfoi_from_panel(p.n, bij->d, t.u, NULL, dfo_row(gx, first), gx.ld);
        put_latents(bij, &p, a, rest, x);
    }
    if (run->grads)
        *dfo_run_grads(run, state(bij)->gate) += (dfo_real)of_gate;
    return DFO_OK;
}

static size_t derived(const dfo_bijector *bij)
{
    return dfoi_bnaf_place(bij, state(bij)->layers - 1).end;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    DFO_TRY(dfoi_json_set(bij->ctx, to, "hidden", json_integer((json_int_t)state(bij)->width)));
    return dfoi_json_set(bij->ctx, to, "depth", json_integer((json_int_t)state(bij)->layers - 1));
}

static void bnaf_free(dfo_bijector *bij)
{
    struct dfoi_bnaf *s = bij->state;
    for (size_t l = 0; s && l < DFOI_BNAF_LAYERS; l++)
        dfoi_free(bij->ctx, s->reach[l]);
    dfoi_free(bij->ctx, s);
}

static dfo_status add_layer(dfo_build *build, dfo_bijector *bij, size_t l)
{
    struct dfoi_bnaf *s = bij->state;
    struct dfoi_bnaf_place p = dfoi_bnaf_place(bij, l);
    const size_t shape[2] = {p.rows, p.columns};
    char name[32];
    snprintf(name, sizeof name, "weight%zu", l);
    DFO_TRY(dfo_build_weights(build, name, 2, shape, &s->weight[l]));
    dfo_build_normal(build, s->weight[l], p.rows * p.columns, 1 / sqrt((double)p.columns));
    snprintf(name, sizeof name, "log_scale%zu", l);
    DFO_TRY(dfo_build_weights(build, name, 1, shape, &s->scale[l]));
    snprintf(name, sizeof name, "bias%zu", l);
    DFO_TRY(dfo_build_weights(build, name, 1, shape, &s->bias[l]));
    DFO_TRY(dfoi_alloc(build->ctx, p.rows, sizeof **s->reach, &s->reach[l]));
    for (size_t r = 0; r < p.rows; r++)
        s->reach[l][r] = p.lead + (r / p.out + 1) * p.in;
    return DFO_OK;
}

dfo_status dfoi_bnaf_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "hidden", "depth", NULL};
    struct dfoi_bnaf *s;
    size_t depth, one = 1;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfoi_json_size(build->ctx, config, "hidden", 8, 1, 1024, &s->width));
    DFO_TRY(dfoi_json_size(build->ctx, config, "depth", 1, 1, DFOI_BNAF_LAYERS - 1, &depth));
    s->layers = depth + 1;
    for (size_t l = 0; l < s->layers; l++)
        DFO_TRY(add_layer(build, bij, l));
    return dfo_build_weights(build, "gate", 1, &one, &s->gate);
}

const struct dfo_bijector_ops dfoi_bnaf_ops = {
    .type = "bnaf",
    .caps = DFO_CLOSED_INVERSE | DFO_KEEPS_INPUT,
    .scratch = scratch,
    .derived = derived,
    .gderived = derived,
    .prepare = dfoi_bnaf_prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = dfoi_bnaf_pullback,
    .describe = describe,
    .free = bnaf_free,
};
