/* A neural ordinary differential equation, from public headers alone: dx/dt = net(x) learns a damped pendulum from noisy
 * observations of some of its swings, and then forecasts swings that it has not seen.
 *     neural_ode [STEPS]           STEPS of the optimiser, 500 unless said
 * Gradients go back through the solver's own steps.  The pendulum: angle a, velocity v, da/dt = v, dv/dt = -v/4 - 4 sin a.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include <diffeo/netfield.h>
#include <diffeo/ode.h>

#define D 2                        /* angle and velocity */
#define SWINGS 16                  /* observed ones */
#define TIMES 101                  /* observations of each */
#define DT 0.1                     /* between two of them */
#define NOISE 0.02                 /* standard deviation of an observation */
#define AHEAD 10                   /* observations that a window foretells from its first */
#define WINDOW ((AHEAD + 1) * D)   /* numbers of a window, a row of the data set */
#define SUBSTEPS 2                 /* of rk4, from one observation to the next */

static dfo_ctx *ctx;

static void must(dfo_status status)
{
    if (status == DFO_OK)
        return;
    fprintf(stderr, "neural_ode: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

/* ---- the data: a field of one's own, integrated */

static dfo_status pendulum(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    (void)field, (void)run, (void)t, (void)dq;
    for (size_t i = 0; i < x.n; i++) {
        const dfo_real *at = dfo_row(x, i);
        dfo_row(dx, i)[0] = at[1];
        dfo_row(dx, i)[1] = (dfo_real)(-0.25 * (double)at[1] - 4 * sin((double)at[0]));
    }
    return DFO_OK;
}

/* Swings from n random starts: out (TIMES, n, D).  */
static void swing(uint64_t seed, size_t n, dfo_real *out)
{
    static const struct dfo_field_ops ops = {.type = "pendulum", .eval = pendulum};
    const dfo_field field = {.ops = &ops, .d = D};
    double start[SWINGS * D], times[TIMES];
    dfo_real x[SWINGS * D];
    dfo_ode_options options;
    dfo_ode *ode;
    dfo_draw_uniform((dfo_key){.seed = seed, .purpose = DFO_FOR_TOY}, 0, n * D, start);
    for (size_t i = 0; i < n * D; i++)
        x[i] = (dfo_real)(4 * start[i] - 2);
    for (size_t m = 0; m < TIMES; m++)
        times[m] = DT * (double)m;
    dfo_ode_defaults(&options);            /* dopri5, steps by the tolerances */
    must(dfo_ode_new(ctx, &options, &ode));
    must(dfo_ode_integrate(ctx, ode, &field, dfo_batch_of(x, n, D), TIMES, times, out, NULL, NULL));
    dfo_ode_free(ode);
}

/* Every AHEAD + 1 observations that follow each other are a row, with noise.  */
static size_t windows(const dfo_real *swings, dfo_real (*rows)[WINDOW])
{
    static dfo_real seen[TIMES * SWINGS * D];
    size_t n = 0;
    dfo_draw_real_normal((dfo_key){.seed = 1, .purpose = DFO_FOR_NOISE}, TIMES * SWINGS * D, seen);
    for (size_t i = 0; i < TIMES * SWINGS * D; i++)
        seen[i] = swings[i] + (dfo_real)NOISE * seen[i];
    for (size_t i = 0; i < SWINGS; i++)
        for (size_t m = 0; m + AHEAD < TIMES; m++, n++)
            for (size_t k = 0; k <= AHEAD; k++)
                memcpy(rows[n] + k * D, seen + ((m + k) * SWINGS + i) * D, D * sizeof **rows);
    return n;
}

/* ---- the loss: what the trainer minimises */

struct model {
    dfo_net *net;
    dfo_ode *ode;
};

/* Memory of a shard: states and their gradient, the kept states of all steps, what the solver takes.  */
static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const struct model *m = loss->state;
    const dfo_netfield of = {.net = m->net};
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    size_t forth = dfo_ode_scratch(m->ode, &field, rows), back = dfo_ode_backward_scratch(m->ode, &field, rows);
    (void)how;
    dfo_need need = {.rows = rows, .scratch = 2 * dfo_arena_size(rows * D) + (forth > back ? forth : back)};
    if (train) {
        need.scratch += AHEAD * dfo_arena_size((SUBSTEPS + 1) * rows * D);
        need.range = dfo_store_weights_size(loss->store);
    }
    return need;
}

/* From a window's first observation through the times of the others, which become what was foretold minus what was observed.
 * trace: NULL, or AHEAD of them.  */
static dfo_status foretell(const struct model *m, const dfo_field *field, dfo_run *run, dfo_batch window, dfo_ode_trace *trace)
{
    dfo_batch x = dfo_batch_of(dfo_arena_take(run, window.n * D), window.n, D);
    for (size_t i = 0; i < window.n; i++)
        memcpy(dfo_row(x, i), dfo_row(window, i), D * sizeof *x.x);
    for (size_t k = 0; k < AHEAD; k++) {
        double t = DT * (double)k;
        dfo_status status = dfo_ode_solve(m->ode, field, run, t, t + DT, x, NULL, trace ? &trace[k] : NULL, NULL);
        if (status != DFO_OK)
            return status;
        for (size_t i = 0; i < window.n; i++)
            for (size_t j = 0; j < D; j++) {
                dfo_real *observed = dfo_row(window, i) + (k + 1) * D + j;
                *observed = dfo_row(x, i)[j] - *observed;
            }
    }
    return DFO_OK;
}

static double mean_square(const dfo_real *off)
{
    double sum = 0;
    for (size_t j = 0; j < AHEAD * D; j++)
        sum += (double)off[j] * (double)off[j];
    return sum / (AHEAD * D);
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    const struct model *m = loss->state;
    const dfo_netfield of = {.net = m->net};
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    dfo_status status = foretell(m, &field, run, shard.x, NULL);
    for (size_t i = 0; i < shard.x.n && status == DFO_OK; i++)
        out[i] = mean_square(dfo_row(shard.x, i) + D);
    return status;
}

/* The gradient comes back from the last observation; at each one on the way its own residual joins it.  */
static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const struct model *m = loss->state;
    const dfo_netfield of = {.net = m->net};
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    size_t n = shard.x.n;
    dfo_batch g = dfo_batch_of(dfo_arena_take(run, n * D), n, D);
    dfo_ode_trace trace[AHEAD];
    double times[AHEAD][SUBSTEPS + 1];
    for (size_t k = 0; k < AHEAD; k++)
        trace[k] = (dfo_ode_trace){.most = SUBSTEPS, .t = times[k], .x = dfo_arena_take(run, (SUBSTEPS + 1) * n * D)};
    dfo_status status = foretell(m, &field, run, shard.x, trace);
    for (size_t i = 0; i < n && status == DFO_OK; i++)
        *sum += mean_square(dfo_row(shard.x, i) + D);
    dfo_run_grads_begin(run, 0, dfo_store_weights_size(loss->store), 0, 0);
    memset(g.x, 0, n * D * sizeof *g.x);
    for (size_t k = AHEAD; k-- > 0 && status == DFO_OK;) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < D; j++)
                dfo_row(g, i)[j] += (dfo_real)(2 * scale / (AHEAD * D)) * dfo_row(shard.x, i)[(k + 1) * D + j];
        status = dfo_ode_backward(m->ode, &field, run, &trace[k], g, NULL, NULL);
    }
    dfo_run_grads_done(run, 0, dfo_store_weights_size(loss->store), 0, 0);
    return status;
}

/* ---- fitting and forecasting */

static void tell(void *data, const dfo_fit_event *event)
{
    (void)data;
    if (event->kind == DFO_FIT_VALID)
        printf("step %5llu: mean squared error of a window %.6f\n", (unsigned long long)event->step, event->train_loss);
}

static void fit(struct model *m, dfo_store *store, dfo_real (*rows)[WINDOW], size_t n, uint64_t steps)
{
    static const struct dfo_loss_ops ops = {.type = "windows", .need = need, .grad = grad, .eval = eval};
    dfo_loss loss = {.ops = &ops, .ctx = ctx, .store = store, .state = m};
    dfo_fit_options options;
    dfo_fit_report report;
    dfo_source *source;
    dfo_fit_defaults(&options);            /* Adam, a cosine of the learning rate */
    options.steps = steps;
    options.valid_every = (steps + 9) / 10;
    options.batch = 128;
    options.lr = 1e-2;
    options.event = tell;
    must(dfo_source_rows(ctx, dfo_batch_of(rows[0], n, WINDOW), &source));
    must(dfo_fit(&loss, source, NULL, 0, &options, &report));
    dfo_source_free(source);
}

/* The root of the mean squared error of forecasts of whole swings, from their first states alone.  */
static double forecast_error(const struct model *m, dfo_store *store, size_t n, const dfo_real *swings)
{
    static dfo_real out[TIMES * SWINGS * D];
    const dfo_netfield of = {.net = m->net, .weights = dfo_store_weights(store)};
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    double times[TIMES], sum = 0;
    dfo_real x[SWINGS * D];
    memcpy(x, swings, n * D * sizeof *x);
    for (size_t k = 0; k < TIMES; k++)
        times[k] = DT * (double)k;
    must(dfo_ode_integrate(ctx, m->ode, &field, dfo_batch_of(x, n, D), TIMES, times, out, NULL, NULL));
    for (size_t i = 0; i < TIMES * n * D; i++)
        sum += ((double)out[i] - (double)swings[i]) * ((double)out[i] - (double)swings[i]);
    return sqrt(sum / (double)(TIMES * n * D));
}

/* The same of the straight lines that fit those swings best, which are shown all of them.  */
static double line_error(size_t n, const dfo_real *swings)
{
    double sum = 0, spread = (double)TIMES * ((double)TIMES * TIMES - 1) / 12;
    for (size_t i = 0; i < n * D; i++) {
        double mean = 0, slope = 0;
        for (size_t k = 0; k < TIMES; k++) {
            mean += (double)swings[k * n * D + i] / TIMES;
            slope += ((double)k - (TIMES - 1) / 2.0) * (double)swings[k * n * D + i] / spread;
        }
        for (size_t k = 0; k < TIMES; k++) {
            double off = mean + slope * ((double)k - (TIMES - 1) / 2.0) - (double)swings[k * n * D + i];
            sum += off * off;
        }
    }
    return sqrt(sum / (double)(TIMES * n * D));
}

int main(int argc, char **argv)
{
    static dfo_real swings[TIMES * SWINGS * D], unseen[TIMES * SWINGS * D], rows[SWINGS * TIMES][WINDOW];
    const dfo_shape two = dfo_shape_vector(D);
    dfo_store *store = NULL;
    struct model m;
    if (dfo_ctx_new(&ctx) != DFO_OK)
        return 1;
    swing(1, SWINGS, swings);
    swing(2, 4, unseen);
    must(dfo_store_new(ctx, &store));
    dfo_build build = {.ctx = ctx, .store = store, .seed = 1, .path = "field"};
    json_t *config = json_pack("{s:s, s:[i,i], s:s}", "type", "mlp", "hidden", 32, 32, "activation", "tanh");
    must(dfo_net_new(&build, config, 1, &two, two, 0, &m.net));
    json_decref(config);
    const dfo_ode_options options = {.method = "rk4", .steps = SUBSTEPS, .most = SUBSTEPS};
    must(dfo_ode_new(ctx, &options, &m.ode));

    double untrained = forecast_error(&m, store, 4, unseen);
    fit(&m, store, rows, windows(swings, rows), argc > 1 ? strtoull(argv[1], NULL, 10) : 500);
    printf("forecasts of 4 unseen swings of %g s, root mean squared error: %.4f; untrained %.4f, best straight lines %.4f\n",
           (TIMES - 1) * DT, forecast_error(&m, store, 4, unseen), untrained, line_error(4, unseen));
    dfo_ode_free(m.ode);
    dfo_net_free(m.net);
    dfo_store_free(store);
    dfo_ctx_free(ctx);
    return 0;
}
