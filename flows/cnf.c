/* Continuous flow: data x = z(end) and latents z(0) of dz/dt = f(z, t), f a net whose last input is t (Chen et al. 2018;
 * Grathwohl et al. 2019, FFJORD). To latents z and q, dq/dt = tr df/dz, are solved from t = end to 0, to data the other way;
 * either way q is the log-det.
 *
 * The trace takes a pass with tangents for every feature ("exact"), or is estimated by K probes e, drawn once a solve:
 * e^T (df/dz) e (see cnf_probe.c).  Training estimates it if K > 0; evaluation does so for rows of more
 * than 64 features alone.
 *
 * Rows of a block take the same steps where gradients follow, and each its own otherwise ("together":true: never).  While they
 * share the time, nets of one or two hidden layers give the exact trace in closed form, and time-mlp always gives it by itself.  Forward keeps the
 * states at its steps, with activations if they are not many, and backward goes back through the steps that were taken: the gradient is that of the numbers that came out.
 * "kinetic", "jacobian", "acceleration": in training the log-det has so much of the mean over a row's features of the
 * integrals of |f|^2, |df/dz|^2, |d^2 z/dt^2|^2 taken off, which makes fields that need few steps (RNODE: Finlay et al. 2020;
 * TayNODE, whose derivative is the second or of "order": Kelly et al. 2020).
 * "diffusion" (diffusion_impl.h): the field is the probability flow of a noise schedule, which takes from the net what is noise.
 * With "gradient":"checkpoint" it keeps the times alone, and backward a few states at a time.
 * With "gradient":"adjoint" the last state alone is kept, and state and gradient are solved back from there by the continuous adjoint:
 * memory does not grow with the steps, and the gradient is that of the equation, to the solver's errors.
 * With "gradient":"reversible" what trains is McCallum and Foster's scheme around the solver, whose last two states are kept in
 * place of the trace: memory does not grow with the steps, and the gradient is exact as well.
 * With "learn_end" the end is a weight: see cnf_end.c.  Gradients of the way to data are the adjoint's.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "layers.h"

static const char *const cost_name[DFOI_CNF_COSTS] = {"kinetic", "jacobian", "acceleration"};

#define CHOSEN_STEPS 400                   /* that a gradient has room for, at least, with a solver that is named at evaluation */
#define FEW 64                             /* features whose trace evaluation takes exactly */

static const struct dfoi_cnf *state(const dfo_bijector *bij)
{
    return bij->state;
}

static int estimates(const dfo_bijector *bij, const dfo_run *run)
{
    return run->mode == DFO_TRAIN ? state(bij)->probes > 0 : dfoi_cnf_probes(bij) > 0;
}

size_t dfoi_cnf_probes(const dfo_bijector *bij)
{
    return state(bij)->always || bij->d > FEW ? state(bij)->probes : 0;
}

const dfoi_diffusion *dfoi_cnf_diffusion(const dfo_bijector *bij)
{
    return state(bij)->diffusion.on ? &state(bij)->diffusion : NULL;
}

double dfoi_cnf_end(const dfo_bijector *bij)
{
    return state(bij)->learn_end ? 1 : state(bij)->end;
}

/* Do the rows of a block take their steps together?  */
static int together(const dfo_bijector *bij, const dfo_run *run)
{
    return run->saved || run->mode == DFO_TRAIN || state(bij)->always_together;
}

/* A solve that starts at x.  */
static dfo_status begin(const dfo_bijector *bij, dfo_run *run, double from, dfo_batch x, const dfo_cond *cond, struct dfoi_cnf_solve *f)
{
    *f = (struct dfoi_cnf_solve){.bij = bij, .n = x.n, .shared = together(bij, run) || dfo_ode_options_of(state(bij)->alone)->steps};
    for (size_t k = 0; k < DFOI_CNF_COSTS; k++)
        f->wanted[k] = run->mode == DFO_TRAIN && state(bij)->cost[k] > 0;
    if (!estimates(bij, run))
        return DFO_OK;
    dfo_real *probe = dfo_arena_take(run, state(bij)->probes * x.n * bij->d);
    f->probe = probe;
    f->each = run->variance && state(bij)->probes > 1;
    return dfoi_cnf_probe(bij, run, from, x, cond, probe);
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct dfoi_cnf *c = state(bij);
    struct dfoi_cnf_solve f = {.bij = bij};
    for (size_t k = 0; k < DFOI_CNF_COSTS; k++)
        f.wanted[k] = c->cost[k] > 0;
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    if (c->probes > 1 && field.nq < 1 + c->probes)
        field.nq = 1 + c->probes;
    size_t two = c->reversible ? dfo_reversible_scratch(c->reversible, &field, rows) + 2 * dfo_arena_size(rows * bij->d) : 0;
    size_t forward = dfo_ode_scratch(c->alone, &field, rows), back;
    back = c->adjoint ? 0 : c->checkpoint ? dfo_ode_checkpoint_scratch(c->together, &field, rows, c->most)
                                          : dfo_ode_backward_scratch(c->together, &field, rows);
    back = forward > back ? forward : back;
    two = back > two ? back : two;
    back = dfo_arena_size(rows * bij->d) + dfo_ode_adjoint_scratch(c->together, &field, rows);
    two = back > two ? back : two;
    back = dfoi_cnf_probe_scratch(bij, rows);
    return dfoi_doubles_size(rows * field.nq) + dfo_arena_size(c->probes * rows * bij->d) + (back > two ? back : two);
}

static dfo_status solve_reversibly(const dfo_bijector *bij, dfo_run *run, const dfo_field *field, double from, double to, dfo_batch x,
                                   double *q)
{
    const struct dfoi_cnf *c = state(bij);
    dfo_batch second = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    DFO_TRY(dfo_reversible_start(c->reversible, field, run, from, x, second));
    DFO_TRY(dfo_reversible_forward(c->reversible, field, run, from, to, x, second, q));
    if (run->saved) {
        dfoi_cnf_pack(x, dfoi_cnf_last_states(run, x.n, x.d, 0), 0);
        dfoi_cnf_pack(second, dfoi_cnf_last_states(run, x.n, x.d, 1), 0);
    }
    return DFO_OK;
}

static dfo_status solve(const dfo_bijector *bij, dfo_run *run, const dfo_field *field, double from, double to, dfo_batch x, double *q)
{
    const struct dfoi_cnf *c = state(bij);
    run->solves++;
    if ((run->saved || run->mode == DFO_TRAIN) && c->reversible)
        return solve_reversibly(bij, run, field, from, to, x, q);
    if (!run->saved || c->adjoint) {
        DFO_TRY(dfo_ode_solve(together(bij, run) ? c->together : c->alone, field, run, from, to, x, q, NULL, NULL));
        if (run->saved)
            dfoi_cnf_pack(x, dfoi_cnf_last_states(run, x.n, x.d, 0), 0);
        return DFO_OK;
    }
    double *numbers;
    dfo_ode_trace trace = dfoi_cnf_steps(bij, run, x.n, &numbers);
    dfo_status status = dfo_ode_solve(c->together, field, run, from, to, x, q, &trace, NULL);
    numbers[0] = (double)trace.n;
    numbers[1] = trace.rates;
    return status;
}

/* What the log-det has of quadrature j; integrals of costs have the sign of to - from.  */
static double share(const dfo_bijector *bij, double from, double to, size_t j)
{
    return j == 0 ? 1 : (to < from ? 1 : -1) * state(bij)->cost[j - 1] / (double)bij->d;
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, double from, double to, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    struct dfoi_cnf_solve f;
    DFO_TRY(begin(bij, run, from, x, cond, &f));
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    if (field.nq == 1 || !logdet)
        return solve(bij, run, &field, from, to, x, logdet);
    double *q = dfoi_take_doubles(run, x.n * field.nq);
    memset(q, 0, x.n * field.nq * sizeof *q);
    DFO_TRY(solve(bij, run, &field, from, to, x, q));
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < (f.each ? 1 : field.nq); j++)
            logdet[i] += share(bij, from, to, j) * q[i * field.nq + j];
    if (f.each)
        dfoi_cnf_variance(bij, q, x.n, run->variance);
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    return map(bij, run, dfoi_cnf_end(bij), 0, x, cond, logdet);
}

/* It keeps nothing: saved data are forward's.  */
static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    dfo_real *saved = run->saved;
    run->saved = NULL;
    dfo_status status = map(bij, run, 0, dfoi_cnf_end(bij), z, cond, logdet);
    run->saved = saved;
    return status;
}

static dfo_status back_reversibly(const dfo_bijector *bij, dfo_run *run, const dfo_field *field, dfo_batch z, dfo_batch gz, const double *gq)
{
    const struct dfoi_cnf *c = state(bij);
    dfo_batch second = dfo_batch_of(dfoi_cnf_last_states(run, z.n, z.d, 1), z.n, z.d);
    dfo_batch g = dfo_batch_of(dfo_arena_take(run, z.n * z.d), z.n, z.d);
    memset(g.x, 0, z.n * z.d * sizeof *g.x);
    dfoi_cnf_pack(z, dfoi_cnf_last_states(run, z.n, z.d, 0), 1);
    DFO_TRY(dfo_reversible_backward(c->reversible, field, run, dfoi_cnf_end(bij), 0, z, second, gz, g, gq));
    return dfo_reversible_start_backward(c->reversible, field, run, dfoi_cnf_end(bij), z, gz, g);
}

/* The quadratures' gradients.  */
static const double *spread(const dfo_bijector *bij, dfo_run *run, const dfo_field *field, double from, double to, size_t n,
                            const double *glogdet)
{
    if (field->nq == 1 || !glogdet)
        return glogdet;
    double *gq = dfoi_take_doubles(run, n * field->nq);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < field->nq; j++)
            gq[i * field->nq + j] = share(bij, from, to, j) * glogdet[i];
    return gq;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond, dfo_cond *gcond,
                           const double *glogdet)
{
    const struct dfoi_cnf *c = state(bij);
    const dfo_real *input = run->saved;
    struct dfoi_cnf_solve f;
    DFO_TRY(begin(bij, run, dfoi_cnf_end(bij), dfo_batch_of((dfo_real *)input, z.n, z.d), cond, &f));
    dfo_field field = dfoi_cnf_field(&f, cond, gcond);
    const double *gq = spread(bij, run, &field, dfoi_cnf_end(bij), 0, z.n, glogdet);
    f.back = 1;
    if (c->reversible) {
        DFO_TRY(back_reversibly(bij, run, &field, z, gz, gq));
        dfoi_cnf_pack(z, (dfo_real *)input, 1);
        return DFO_OK;
    }
    if (c->adjoint) {
        dfoi_cnf_pack(z, dfoi_cnf_last_states(run, z.n, z.d, 0), 1);
        DFO_TRY(dfo_ode_adjoint(c->together, &field, run, dfoi_cnf_end(bij), 0, z, gz, gq, NULL));
        dfoi_cnf_pack(z, (dfo_real *)input, 1);
        return DFO_OK;
    }
    double *numbers;
    dfo_ode_trace trace = dfoi_cnf_steps(bij, run, z.n, &numbers);
    trace.n = (size_t)numbers[0];
    trace.rates = numbers[1] > 0;
    if (c->checkpoint)
        DFO_TRY(dfo_ode_checkpoint_backward(c->together, &field, run, &trace, dfo_batch_of((dfo_real *)input, z.n, z.d), gz, gq, NULL));
    else
        DFO_TRY(dfo_ode_backward(c->together, &field, run, &trace, gz, gq, NULL));
    dfoi_cnf_pack(z, (dfo_real *)input, 1);
    return DFO_OK;
}

/* Where hutch++ looked for its space: at the latents that x came from.  */
static dfo_status find_start(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, dfo_batch *start)
{
    struct dfoi_cnf_solve f = {.bij = bij, .n = x.n, .shared = 1, .back = 1};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    *start = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    dfoi_cnf_pack(x, start->x, 0);
    return dfo_ode_solve(state(bij)->together, &field, run, dfoi_cnf_end(bij), 0, *start, NULL, NULL, NULL);
}

/* By the continuous adjoint, whatever "gradient" is: the way to data has kept nothing.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    struct dfoi_cnf_solve f;
    dfo_batch start = x;
    if (state(bij)->sketch && estimates(bij, run))
        DFO_TRY(find_start(bij, run, x, cond, &start));
    DFO_TRY(begin(bij, run, 0, start, cond, &f));
    f.shared = f.back = 1;
    dfo_field field = dfoi_cnf_field(&f, cond, gcond);
    const double *gq = spread(bij, run, &field, 0, dfoi_cnf_end(bij), x.n, glogdet);
    return dfo_ode_adjoint(state(bij)->together, &field, run, 0, dfoi_cnf_end(bij), x, gx, gq, NULL);
}

static const char *gradient_of(const struct dfoi_cnf *c)
{
    return c->reversible ? "reversible" : c->adjoint ? "adjoint" : c->checkpoint ? "checkpoint" : "stored";
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct dfoi_cnf *c = state(bij);
    const dfo_ode_options *o = dfo_ode_options_of(c->together);
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(bij->ctx, to, "net", net));
    DFO_TRY(dfo_net_describe(c->net, net));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "solver", json_string(o->method)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "steps", json_integer((json_int_t)o->steps)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "rtol", json_real(o->rtol)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "atol", json_real(o->atol)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "most_steps", json_integer((json_int_t)c->most)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "probes", json_integer((json_int_t)c->probes)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "probe", json_string(c->normal ? "gaussian" : "rademacher")));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "trace", json_string(c->sketch ? "hutch++" : "hutchinson")));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "together", json_boolean(c->always_together)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "zero_init", json_boolean(c->zero_init)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "gradient", json_string(gradient_of(c))));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "coupling", json_real(c->coupling)));
    for (size_t k = 0; k < DFOI_CNF_COSTS; k++)
        DFO_TRY(dfoi_json_set(bij->ctx, to, cost_name[k], json_real(c->cost[k])));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "order", json_integer((json_int_t)c->order)));
    if (c->diffusion.on)
        DFO_TRY(dfoi_diffusion_describe(bij->ctx, &c->diffusion, to));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "learn_end", json_boolean(c->learn_end)));
    return dfoi_json_set(bij->ctx, to, "end", json_real(c->end));
}

static void cnf_free(dfo_bijector *bij)
{
    struct dfoi_cnf *c = bij->state;
    if (!c)
        return;
    dfo_net_free(c->net);
    dfo_ode_free(c->together);
    dfo_ode_free(c->alone);
    dfo_reversible_free(c->reversible);
    dfoi_free(bij->ctx, c);
}

/* Two solvers of these options: of rows together, and alone.  */
static dfo_status make_solvers(dfo_ctx *ctx, dfo_ode_options o, dfo_ode **together, dfo_ode **alone)
{
    o.most = 10000;
    o.quadratures = 1;                     /* or training would find fields whose trace the steps miss */
    o.together = 0;
    DFO_TRY(dfo_ode_new(ctx, &o, alone));
    o.together = 1;
    dfo_status status = dfo_ode_new(ctx, &o, together);
    if (status != DFO_OK) {
        dfo_ode_free(*alone);
        *alone = NULL;
    }
    return status;
}

static dfo_status read_trace(dfo_ctx *ctx, const json_t *config, struct dfoi_cnf *c)
{
    DFO_TRY(dfoi_json_size(ctx, config, "probes", 0, 0, 10000, &c->probes));
    DFO_TRY(dfoi_json_either(ctx, config, "probe", "rademacher", "gaussian", &c->normal));
    DFO_TRY(dfoi_json_either(ctx, config, "trace", "hutchinson", "hutch++", &c->sketch));
    if (c->sketch && (c->probes == 1 || c->probes == 2))
        return dfoi_fail(ctx, DFO_EARG, "trace: hutch++ wants 3 probes or more (0: exact), got %zu", c->probes);
    return DFO_OK;
}

static dfo_status read_solver(dfo_ctx *ctx, const json_t *config, struct dfoi_cnf *c)
{
    enum { STORED, CHECKPOINT, ADJOINT, REVERSIBLE };
    static const char *const gradients[] = {[STORED] = "stored", [CHECKPOINT] = "checkpoint", [ADJOINT] = "adjoint",
                                            [REVERSIBLE] = "reversible", NULL};
    dfo_ode_options o;
    size_t gradient;
    dfo_ode_defaults(&o);
    DFO_TRY(dfoi_json_string(ctx, config, "solver", "dopri5", &o.method));
    DFO_TRY(dfoi_json_size(ctx, config, "steps", 0, 0, 100000, &o.steps));
    DFO_TRY(dfoi_json_real(ctx, config, "rtol", 1e-5, 0, 1, &o.rtol));
    DFO_TRY(dfoi_json_real(ctx, config, "atol", 1e-5, 0, 1e6, &o.atol));
    DFO_TRY(dfoi_json_size(ctx, config, "most_steps", 100, 1, 100000, &c->most));
    DFO_TRY(read_trace(ctx, config, c));
    DFO_TRY(dfoi_json_real(ctx, config, "end", 1, 1e-6, 1e6, &c->end));
    DFO_TRY(dfoi_json_bool(ctx, config, "learn_end", 0, &c->learn_end));
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 1, &c->zero_init));
    DFO_TRY(dfoi_json_bool(ctx, config, "together", 0, &c->always_together));
    DFO_TRY(dfoi_json_choice(ctx, config, "gradient", gradients, STORED, &gradient));
    DFO_TRY(dfoi_json_real(ctx, config, "coupling", 0.999, 1e-3, 1, &c->coupling));
    for (size_t k = 0; k < DFOI_CNF_COSTS; k++)
        DFO_TRY(dfoi_json_real(ctx, config, cost_name[k], 0, 0, 1e6, &c->cost[k]));
    DFO_TRY(dfoi_json_size(ctx, config, "order", 2, 2, DFO_NET_ORDER, &c->order));
    DFO_TRY(dfoi_diffusion_read(ctx, json_object_get(config, "diffusion"), &c->diffusion));
    if (c->diffusion.on && (c->end != 1 || c->learn_end || c->cost[0] > 0 || c->cost[1] > 0 || c->cost[2] > 0))
        return dfoi_fail(ctx, DFO_EARG, "diffusion: its way ends at 1, and kinetic, jacobian, acceleration are 0");
    c->most = o.steps ? o.steps : c->most;
    if (gradient == REVERSIBLE && !o.steps)
        return dfoi_fail(ctx, DFO_EARG, "gradient: reversible wants a number of steps");
    if (gradient == REVERSIBLE)
        DFO_TRY(dfo_reversible_new(ctx, &(dfo_reversible_options){NULL, o.method, c->coupling, o.steps}, &c->reversible));
    c->adjoint = gradient == ADJOINT;
    c->checkpoint = gradient == CHECKPOINT;
    if (!c->adjoint && !strcmp(o.method, "kvaerno3"))
        return dfoi_fail(ctx, DFO_EUNSUP, "solver: kvaerno3 is implicit: its gradient is the adjoint's alone");
    return make_solvers(ctx, o, &c->together, &c->alone);
}

dfo_status dfoi_cnf_set_solver(dfo_ctx *ctx, dfo_bijector *bij, const dfo_solver_options *given)
{
    struct dfoi_cnf *c = bij->state;
    dfo_ode_options o = *dfo_ode_options_of(c->alone);
    dfo_ode *together, *alone;
    o.method = given->method ? given->method : o.method;
    o.steps = given->steps != DFO_AS_IT_IS ? given->steps : o.steps;
    o.rtol = given->rtol >= 0 ? given->rtol : o.rtol;
    o.atol = given->atol >= 0 ? given->atol : o.atol;
    DFO_TRY(make_solvers(ctx, o, &together, &alone));
    dfo_ode_free(c->together);
    dfo_ode_free(c->alone);
    c->together = together;
    c->alone = alone;
    size_t most = o.steps ? o.steps : CHOSEN_STEPS;        /* of another method, other tolerances than training had room for */
    c->most = most > c->most ? most : c->most;
    if (given->probes != DFO_AS_IT_IS) {
        c->probes = given->probes;
        c->always = given->probes > 0;
    }
    return DFO_OK;
}

static dfo_status build_end(dfo_build *build, struct dfoi_cnf *c)
{
    const size_t one = 1;
    DFO_TRY(dfo_build_weights(build, "root_end", 1, &one, &c->root));
    dfo_build_constant(build, c->root, 1, sqrt(c->end));
    return DFO_OK;
}

dfo_solver_options dfoi_cnf_solver(const dfo_bijector *bij)
{
    const dfo_ode_options *o = dfo_ode_options_of(state(bij)->alone);
    return (dfo_solver_options){o->method, o->steps, state(bij)->probes, o->rtol, o->atol};
}

dfo_status dfoi_cnf_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "net", "solver", "steps", "rtol", "atol", "most_steps", "probes", "probe", "trace", "end",
                                       "learn_end", "zero_init", "together", "gradient", "coupling", "kinetic", "jacobian", "acceleration", "order",
                                       "diffusion", NULL};
    dfo_ctx *ctx = build->ctx;
    struct dfoi_cnf *c;
    dfo_shape in[DFO_COND_PARTS];
    size_t parts = 0;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *c, &c));
    bij->state = c;
    c->stream = dfoi_layer_key(build).row;
    c->guidance = 1;
    DFO_TRY(read_solver(ctx, config, c));
    if (build->conds + 2 > DFO_COND_PARTS)
        return dfoi_fail(ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS - 2);
    in[parts++] = build->shape;
    for (size_t p = 0; p < build->conds; p++) {
        c->cond_d += dfo_shape_size(build->cond[p]);
        in[parts++] = build->cond[p];
    }
    in[parts++] = dfo_shape_vector(1);
    dfo_build child;
    char path[256];
    json_t *net = json_object_get(config, "net"), *usual = NULL;
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &child));
    if (!net && !(net = usual = json_pack("{s:s}", "type", "concatsquash")))
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: net");
    dfo_status status = dfo_net_new(&child, net, parts, in, build->shape, c->zero_init, &c->net);
    json_decref(usual);
    if (status == DFO_OK && (!c->net->ops->jvp || dfo_net_statistics(c->net)))
        status = dfoi_fail(ctx, DFO_EUNSUP, "a %s net cannot be a field", c->net->ops->type);
    if (status == DFO_OK && c->order > 2 && !dfo_net_path_kept(c->net, 1, c->order))
        status = dfoi_fail(ctx, DFO_EUNSUP, "order: a %s net has no derivative of order %zu along the path: concatsquash, concat and hyper have, "
                                            "with tanh, softplus, silu or sigmoid", c->net->ops->type, c->order);
    if (status == DFO_OK && c->learn_end)
        status = build_end(build, c);
    return status;
}

const struct dfo_bijector_ops dfoi_cnf_ops = {
    .type = "cnf",
    .caps = DFO_ITERATIVE_INVERSE | DFO_NEEDS_INPUT | DFO_ESTIMATED_LOGDET,
    .scratch = scratch,
    .saved = dfoi_cnf_saved,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
    .free = cnf_free,
};
