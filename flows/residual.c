/* A residual flow (Behrmann et al. 2019; Chen et al. 2019):  z = x + G(x), G a net whose Lipschitz constant is below 1
 * (residual_weights.c), so that the map can be undone: x is the fixed point of z - G(x), found by Anderson's iteration to
 * rounding; so is J^-T q, the fixed point of q - (dG/dx)^T u, of which gradients of that are made.
 * A condition is more of the net's input, and does not have to contract. The log-det log det(I + dG/dx) is exact or estimated (residual_trace.c): training estimates it where "trace" is
 * "series" or "roulette", evaluation does so for rows of more than 64 features alone.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <diffeo/fixpoint.h>
#include "layers.h"
#include "math/kern_impl.h"
#include "residual_impl.h"

static const struct dfoi_residual *state(const dfo_bijector *bij)
{
    return dfoi_residual(bij);
}

dfo_cond dfoi_residual_input(dfo_batch x, const dfo_cond *cond, size_t first)
{
    dfo_cond in = {.n = 1, .part[0] = {.rows = x, .shape = {x.d, 1, 1}}}, of = dfo_cond_rows(cond, first, x.n);
    for (size_t p = 0; p < of.n; p++)
        in.part[in.n++] = (struct dfo_cond_part){of.part[p].rows, dfo_shape_vector(of.part[p].rows.d)};
    return in;
}

static dfo_batch take_rows(dfo_run *run, dfo_batch like)
{
    return dfo_batch_of(dfo_arena_take(run, like.n * like.d), like.n, like.d);
}

static void copy(dfo_batch from, dfo_batch to)
{
    for (size_t i = 0; i < from.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), from.d * sizeof *to.x);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    dfo_batch g = take_rows(run, x);
    dfo_cond in = dfoi_residual_input(x, cond, 0);
    dfoi_residual_place was = dfoi_residual_enter(bij, run);
    dfo_status status = logdet ? dfoi_residual_log_det(bij, run, x, cond, 1, logdet) : DFO_OK;
    if (status == DFO_OK)
        status = dfo_net_rows_forward(state(bij)->net, run, &in, g);
    for (size_t i = 0; i < x.n && status == DFO_OK; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] += g.x[i * x.d + j];
    dfoi_residual_leave(run, was);
    return status;
}

/* ---- back */

struct target {
    const dfo_bijector *bij;
    dfo_batch z;
    const dfo_cond *cond;
};

/* g = z - G(x) */
static dfo_status step(const dfo_map *map, dfo_run *run, dfo_batch x, dfo_batch g)
{
    const struct target *t = map->state;
    dfo_cond in = dfoi_residual_input(x, t->cond, 0);
    DFO_TRY(dfo_net_rows_forward(state(t->bij)->net, run, &in, g));
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(g, i)[j] = dfo_row(t->z, i)[j] - dfo_row(g, i)[j];
    return DFO_OK;
}

static size_t step_scratch(const dfo_map *map, size_t rows)
{
    return dfo_net_rows_scratch(state(((const struct target *)map->state)->bij)->net, rows);
}

/* |g(x) - x| is of some roundings of x and z.  */
static dfo_fixpoint_options options(void)
{
    dfo_fixpoint_options o;
    dfo_fixpoint_defaults(&o);
    o.rtol = o.atol = 8 * (double)DFO_REAL_EPS;
    o.most = 2000;
    return o;
}

static dfo_map map_of(const struct target *t)
{
    return (dfo_map){.eval = step, .scratch = step_scratch, .state = t, .d = t->bij->d};
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct target t = {bij, take_rows(run, z), cond};
    dfo_fixpoint_options o = options();
    dfo_map map = map_of(&t);
    copy(z, t.z);
    dfoi_residual_place was = dfoi_residual_enter(bij, run);
    dfo_status status = dfo_fixpoint_solve(&o, &map, run, z, NULL);
    if (status == DFO_OK && logdet)
        status = dfoi_residual_log_det(bij, run, z, cond, -1, logdet);
    dfoi_residual_leave(run, was);
    return status == DFO_OK ? status : dfo_run_wrap(run, "residual: ");
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond, dfo_cond *gcond,
                           const double *glogdet)
{
    DFO_TRY(dfoi_take_input(bij, run, z, cond));
    dfoi_residual_place was = dfoi_residual_enter(bij, run);
    dfo_status status = dfoi_residual_log_det_back(bij, run, z, gz, cond, gcond, glogdet);
    dfoi_residual_leave(run, was);
    return status;
}

/* ---- gradients of the way back */

struct transposed {
    const dfo_bijector *bij;
    dfo_batch x, q;
    const dfo_cond *cond;
};

/* g = q - (dG/dx)^T u */
static dfo_status step_transposed(const dfo_map *map, dfo_run *run, dfo_batch u, dfo_batch g)
{
    const struct transposed *t = map->state;
    dfo_real *grads = run->grads;
    dfo_cond in = dfoi_residual_input(t->x, t->cond, 0), gin = {.n = in.n, .part[0].rows = g};
    for (size_t i = 0; i < g.n; i++)
        memset(dfo_row(g, i), 0, g.d * sizeof *g.x);
    run->grads = NULL;
    dfo_status status = dfo_net_rows_backward(state(t->bij)->net, run, &in, u, &gin);
    run->grads = grads;
    for (size_t i = 0; i < g.n; i++)
        for (size_t j = 0; j < g.d; j++)
            dfo_row(g, i)[j] = dfo_row(t->q, i)[j] - dfo_row(g, i)[j];
    return status;
}

static size_t transposed_scratch(const dfo_map *map, size_t rows)
{
    return dfo_net_rows_scratch(state(((const struct transposed *)map->state)->bij)->net, rows);
}

static dfo_map map_transposed(const struct transposed *t)
{
    return (dfo_map){.eval = step_transposed, .scratch = transposed_scratch, .state = t, .d = t->bij->d};
}

/* Rows times by[i]; by becomes what takes them back.  */
static void scale_rows(dfo_batch x, double *by)
{
    for (size_t i = 0; i < x.n; i++) {
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = (dfo_real)(by[i] * (double)dfo_row(x, i)[j]);
        by[i] = 1 / by[i];
    }
}

/* u (n,d) = (I + dG/dx)^-T q: the map contracts as G does, and rows, which are gradients of any size, are taken to a largest number
 * of 1 to 2 before rounding is asked for.  */
static dfo_status solve_transposed(struct transposed *t, dfo_run *run, dfo_batch u)
{
    dfo_fixpoint_options o = options();
    dfo_map map = map_transposed(t);
    double *by = dfoi_take_doubles(run, u.n);
    for (size_t i = 0; i < u.n; i++) {
        double size = dfoi_max_abs(u.d, dfo_row(t->q, i));
        by[i] = size > 0 && isfinite(size) ? ldexp(1, -(int)fmax(logb(size), -1000)) : 1;
    }
    scale_rows(t->q, by);
    copy(t->q, u);
    DFO_TRY(dfo_fixpoint_solve(&o, &map, run, u, NULL));
    scale_rows(u, by);
    return DFO_OK;
}

/* With q = gx - glogdet dlogdet/dx, logdet the map's, and J^T u = q:  z gets u; weights and condition get -u through G, and what
 * the log-det gives them for -glogdet.  */
static dfo_status gradients_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                 const dfo_cond *gcond, const double *glogdet)
{
    struct transposed t = {bij, x, take_rows(run, gx), cond};
    dfo_batch u = take_rows(run, gx);
    dfo_cond in = dfoi_residual_input(x, cond, 0), gin = {.n = in.n};
    double *less = dfoi_take_doubles(run, x.n);
    int wanted = 0;
    for (size_t i = 0; i < x.n; i++) {
        less[i] = -glogdet[i];
        wanted |= glogdet[i] != 0;
    }
    memset(t.q.x, 0, x.n * x.d * sizeof *t.q.x);
    if (wanted)
        DFO_TRY(dfoi_residual_log_det_back(bij, run, x, t.q, cond, gcond, less));
    for (size_t i = 0; i < x.n; i++)
        dfoi_add(x.d, dfo_row(gx, i), dfo_row(t.q, i));
    DFO_TRY(solve_transposed(&t, run, u));
    copy(u, gx);
    for (size_t k = 0; k < x.n * x.d; k++)
        u.x[k] = -u.x[k];
    for (size_t p = 0; gcond && p < gcond->n; p++)
        gin.part[p + 1].rows = gcond->part[p].rows;
    return dfo_net_rows_backward(state(bij)->net, run, &in, u, &gin);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    size_t mark = run->arena_used;
    dfoi_residual_place was = dfoi_residual_enter(bij, run);
    dfo_status status = gradients_back(bij, run, x, gx, cond, gcond, glogdet);
    dfoi_residual_leave(run, was);
    run->arena_used = mark;
    return status == DFO_OK ? forward(bij, run, x, cond, NULL) : dfo_run_wrap(run, "residual: ");
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    struct target t = {.bij = bij};
    dfo_fixpoint_options o = options();
    dfo_map map = map_of(&t);
    size_t passes = larger(dfo_fixpoint_scratch(&o, &map, rows), dfo_net_rows_scratch(state(bij)->net, rows));
    passes = larger(passes, dfoi_residual_trace_scratch(bij, rows));
    return larger(2 * dfo_arena_size(rows * bij->d) + 2 * dfoi_doubles_size(rows) + passes, dfoi_residual_pullback_scratch(bij));
}

/* ---- making and telling */

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct dfoi_residual *s = state(bij);
    DFO_TRY(dfoi_json_set(bij->ctx, to, "hidden", json_integer((json_int_t)s->hidden)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "depth", json_integer((json_int_t)s->depth)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "activation", json_string(s->activation)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "lipschitz", json_real(s->lipschitz)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "trace", json_string(s->trace_name)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "terms", json_integer((json_int_t)s->terms)));
    return dfoi_json_set(bij->ctx, to, "probes", json_integer((json_int_t)s->probes));
}

static void residual_free(dfo_bijector *bij)
{
    struct dfoi_residual *s = bij->state;
    if (s)
        dfo_net_free(s->net);
    dfoi_free(bij->ctx, s);
}

/* Activations whose slope is at most 1.  */
static dfo_status read_settings(dfo_build *build, const json_t *config, struct dfoi_residual *s)
{
    static const char *const keys[] = {"type", "hidden", "depth", "activation", "lipschitz", "trace", "terms", "probes", NULL};
    static const char *const activation[] = {"lipswish", "tanh", "elu", "softplus", NULL};
    static const char *const trace[] = {"exact", "series", "roulette", NULL};
    dfo_ctx *ctx = build->ctx;
    size_t which;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 64, 1, 4096, &s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "depth", 2, 1, DFOI_RESIDUAL_DEPTH, &s->depth));
    DFO_TRY(dfoi_json_real(ctx, config, "lipschitz", 0.97, 1e-3, 0.999, &s->lipschitz));
    DFO_TRY(dfoi_json_size(ctx, config, "terms", 4, 1, 1000, &s->terms));
    DFO_TRY(dfoi_json_size(ctx, config, "probes", 1, 1, 10000, &s->probes));
    DFO_TRY(dfoi_json_choice(ctx, config, "activation", activation, 0, &which));
    s->activation = activation[which];
    s->lipswish = which == 0;
    which = dfo_shape_size(build->shape) > 8 ? DFOI_TRACE_ROULETTE : DFOI_TRACE_EXACT;
    DFO_TRY(dfoi_json_choice(ctx, config, "trace", trace, which, &which));
    s->trace = (enum dfoi_residual_trace)which;
    s->trace_name = trace[which];
    return DFO_OK;
}

static dfo_status make_net(dfo_build *build, size_t d, struct dfoi_residual *s)
{
    char path[256];
    dfo_build child;
    dfo_shape shape = dfo_shape_vector(d), in[DFO_COND_PARTS] = {shape};
    if (build->conds + 1 > DFO_COND_PARTS)
        return dfoi_fail(build->ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS - 1);
    for (size_t p = 0; p < build->conds; p++) {
        in[p + 1] = dfo_shape_vector(dfo_shape_size(build->cond[p]));
        s->more += in[p + 1].c;
    }
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &child));
    child.conds = 0;
    json_t *config = json_pack("{s:s, s:I, s:I, s:s}", "type", "mlp", "hidden", (json_int_t)s->hidden, "layers", (json_int_t)s->depth,
                               "activation", s->lipswish ? "silu" : s->activation);
    if (!config)
        return dfoi_fail(build->ctx, DFO_EMEM, "out of memory: net");
    dfo_status status = dfo_net_new(&child, config, build->conds + 1, in, shape, 0, &s->net);
    json_decref(config);
    return status;
}

/* Where the net's matrices stand.  */
static void find_weights(const dfo_build *build, size_t d, struct dfoi_residual *s)
{
    for (size_t l = 0; l <= s->depth; l++) {
        char name[300];
        snprintf(name, sizeof name, "%s.net.w%zu", build->path, l);
        s->w[l] = dfo_store_find(build->store, name)->offset;
        snprintf(name, sizeof name, "%s.net.b%zu", build->path, l);
        s->b[l] = dfo_store_find(build->store, name)->offset;
        s->rows[l] = l < s->depth ? s->hidden : d;
        s->cols[l] = l > 0 ? s->hidden : d;
    }
}

dfo_status dfoi_residual_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    struct dfoi_residual *s;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(read_settings(build, config, s));
    s->stream = dfoi_layer_key(build).row;
    DFO_TRY(make_net(build, bij->d, s));
    find_weights(build, bij->d, s);
    if (s->lipswish) {
        DFO_TRY(dfo_build_weights(build, "beta", 1, &s->depth, &s->beta));
        dfo_build_constant(build, s->beta, s->depth, 0.5);
    }
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_residual_ops = {
    .type = "residual",
    .caps = DFO_CLOSED_INVERSE | DFO_KEEPS_INPUT | DFO_ESTIMATED_LOGDET,
    .scratch = scratch,
    .derived = dfoi_residual_derived,
    .gderived = dfoi_residual_gderived,
    .prepare = dfoi_residual_prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = dfoi_residual_pullback,
    .describe = describe,
    .free = residual_free,
};
