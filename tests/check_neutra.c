/* Densities seen through flows, and flows fitted to densities: the gradient through a flow's draws, the loss's gradient by weights,
 * chains in latents, fits with a known normalising constant.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include <diffeo/neutra.h>
#include "chainfix.h"
#include "ctxfix.h"
#include "oom.h"
#include "testrun.h"
#include "util.h"

struct fixture {
    dfo_store  *store;
    dfo_flow   *flow;
    dfo_neutra *neutra;
};

/* A chain of couplings and an actnorm, or one coupling alone.  */
static json_t *flow_config(const char *kind, size_t layers)
{
    json_t *list = json_array(), *config;
    for (size_t i = 0; i < layers; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:{s:s, s:[i], s:s}}", "type", kind, "mask", i % 2 ? "half" : "half-swapped",
                                              "net", "type", "mlp", "hidden", 12, "activation", "tanh"));
    if (layers > 1) {
        json_array_append_new(list, json_pack("{s:s}", "type", "actnorm"));
        config = json_pack("{s:{s:s, s:o}}", "bijector", "type", "chain", "layers", list);
    } else {
        config = json_pack("{s:O}", "bijector", json_array_get(list, 0));
        json_decref(list);
    }
    return config;
}

/* Weights `noise` away from where they begin.  */
static dfo_status make_flow(dfo_ctx *c, struct fixture *f, json_t *config, size_t d, double noise)
{
    test_rng rng = test_rng_new(test_seed());
    memset(f, 0, sizeof *f);
    dfo_status status = dfo_store_new(c, &f->store);
    dfo_build build = {.ctx = c, .store = f->store, .seed = 4, .path = "flow", .shape = dfo_shape_vector(d)};
    if (!status)
        status = dfo_flow_new(&build, config, &f->flow);
    for (size_t k = 0; !status && k < dfo_store_weights_size(f->store); k++)
        dfo_store_weights(f->store)[k] += (dfo_real)(noise * test_rng_normal(&rng));
    if (!status)
        dfo_store_touch(f->store);
    return status;
}

static dfo_status new_flow(dfo_ctx *c, struct fixture *f, const char *kind, size_t layers, size_t d, double noise)
{
    json_t *config = flow_config(kind, layers);
    dfo_status status = make_flow(c, f, config, d, noise);
    json_decref(config);
    return status;
}

static void close_flow(struct fixture *f)
{
    dfo_neutra_free(f->neutra);
    dfo_flow_free(f->flow);
    dfo_store_free(f->store);
}

static void near(double got, double want, double within, const char *what)
{
    ck_assert_msg(fabs(got - want) <= within, "%s: expected %.12g within %g, got %.12g (seed %llu)", what, want, within, got,
                  (unsigned long long)test_seed());
}

/* The flow's own density as a target.  */
static dfo_status own_density(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    dfo_flow_plan *plan = target->data;
    size_t d = target->d;
    dfo_real *row = malloc(n * d * sizeof *row), *grad = malloc(n * d * sizeof *grad);
    for (size_t i = 0; i < n * d; i++)
        row[i] = (dfo_real)x[i];
    dfo_status status = dfo_flow_log_prob_grad(plan, 0, dfo_batch_of(row, n, d), NULL, out, dfo_batch_of(grad, n, d), NULL);
    for (size_t i = 0; g && i < n * d; i++)
        g[i] = (double)grad[i];
    free(row);
    free(grad);
    return status;
}

/* Through a flow its own density is the base's, N(0, 1): log p = -|z|^2/2 - d/2 log 2 pi, and its gradient is -z.  As many rows as make
 * several blocks and a part of one.  */
START_TEST(own)
{
    static const char *const types[] = {"affine-coupling", "spline-coupling"};
    enum { N = 700, D = 3 };
    double z[N * D], out[N], g[N * D], small = IS_DOUBLE ? 1e-9 : 2e-3;
    struct fixture f;
    test_rng rng = test_rng_new(test_seed());
    OK(new_flow(ctx, &f, types[_i % 2], _i < 2 ? 4 : 1, D, 0.3));
    dfo_target target = {.d = D, .log_prob = own_density};
    dfo_flow_plan *plan;
    OK(dfo_flow_plan_new(ctx, f.flow, 1, &plan));
    target.data = plan;
    OK(dfo_neutra_new(ctx, f.flow, &target, &f.neutra));
    for (size_t i = 0; i < N * D; i++)
        z[i] = test_rng_normal(&rng);
    const dfo_target *t = dfo_neutra_target(f.neutra);
    OK(t->log_prob(t, N, z, out, g));
    size_t off = 0;                                /* at a spline's knots the gradient jumps, and float's rounding may cross one */
    for (size_t i = 0; i < N; i++) {
        double squares = 0;
        for (size_t k = 0; k < D; k++) {
            squares += z[i * D + k] * z[i * D + k];
            off += fabs(g[i * D + k] + z[i * D + k]) > small * 10;
        }
        near(out[i], -0.5 * squares - 0.5 * D * log(2 * M_PI), small, "density");
    }
    size_t knots = !IS_DOUBLE && _i % 2 ? N * D / 200 : 0;
    ck_assert_msg(off <= knots, "%zu of %d gradients are off (seed %llu)", off, N * D, (unsigned long long)test_seed());
    double x[N * D], weight[N];
    OK(dfo_neutra_draw(f.neutra, 3, N, x, weight));
    for (size_t i = 0; i < N; i++)
        near(weight[i], 0, small, "log weight");
    OK(dfo_neutra_rows(f.neutra, N, z, z));
    dfo_flow_plan_free(plan);
    close_flow(&f);
}
END_TEST

/* The gradient of a target through a flow against central differences.  */
START_TEST(differences)
{
    enum { D = 2 };
    const double h = 1e-5;
    const chain_target *of = chain_target_at(CHAIN_BANANA);
    struct fixture f;
    test_rng rng = test_rng_new(test_seed());
    OK(new_flow(ctx, &f, "affine-coupling", 4, D, 0.2));
    OK(dfo_neutra_new(ctx, f.flow, &of->target, &f.neutra));
    const dfo_target *t = dfo_neutra_target(f.neutra);
    for (int i = 0; i < (IS_DOUBLE ? 20 : 0); i++) {       /* floats leave nothing of such differences */
        double z[D] = {test_rng_normal(&rng), test_rng_normal(&rng)}, out, g[D], high, low;
        OK(t->log_prob(t, 1, z, &out, g));
        for (size_t k = 0; k < D; k++) {
            double at = z[k];
            z[k] = at + h;
            OK(t->log_prob(t, 1, z, &high, NULL));
            z[k] = at - h;
            OK(t->log_prob(t, 1, z, &low, NULL));
            z[k] = at;
            near((high - low) / (2 * h), g[k], 1e-6 * (1 + fabs(g[k])), "gradient");
        }
    }
    double far[4] = {0, 0, 1e200, 0}, out[2], g[4];      /* the second is no row of floats, nor one that a flow takes */
    OK(t->log_prob(t, 2, far, out, g));
    ck_assert(isfinite(out[0]) && !isfinite(out[1]));
    close_flow(&f);
}
END_TEST

/* HMC in latents of a flow that was not fitted: any flow gives the target's law.  */
START_TEST(chains)
{
    enum { CHAINS = 8, DRAWS = 3000 };
    const chain_target *of = chain_target_at(CHAIN_BANANA);
    static double z[CHAINS * DRAWS * 2];
    double start[CHAINS * 2];
    struct fixture f;
    dfo_mcmc_options o;
    dfo_mcmc_report r;
    dfo_mcmc_summary s[4];
    OK(new_flow(ctx, &f, "affine-coupling", 2, 2, 0.1));
    OK(dfo_neutra_new(ctx, f.flow, &of->target, &f.neutra));
    dfo_mcmc_defaults(DFO_HMC, &o);
    o.chains = CHAINS;
    o.warmup = 500;
    o.draws = DRAWS;
    o.leapfrog = 8;
    o.acceptance = 0.95;
    o.seed = test_seed();
    for (size_t i = 0; i < CHAINS * 2; i++)
        start[i] = 0.1 * (double)i - 0.5;
    OK(dfo_mcmc_run(ctx, dfo_neutra_target(f.neutra), &o, start, z, NULL, &r));
    OK(dfo_neutra_rows(f.neutra, CHAINS * DRAWS, z, z));
    OK(dfo_mcmc_summarise(ctx, CHAINS, DRAWS, 2, z, s));
    for (size_t i = 0; i < CHAINS * DRAWS * 2; i++)
        z[i] *= z[i];
    OK(dfo_mcmc_summarise(ctx, CHAINS, DRAWS, 2, z, s + 2));
    for (size_t k = 0; k < 2; k++) {
        ck_assert_msg(s[k].rhat < 1.05 && s[k].ess > 200, "R-hat %g, ESS %g (seed %llu)", s[k].rhat, s[k].ess, (unsigned long long)test_seed());
        near(s[k].mean, 0, 5 * s[k].error, "mean");
        near(s[2 + k].mean, of->variance[k], 5 * s[2 + k].error, "variance");
    }
    close_flow(&f);
}
END_TEST

/* d loss / d weights along a direction, against central differences of the loss at the same draws.  */
START_TEST(loss_gradient)
{
    static const double alphas[] = {0, 0.5, 1};
    enum { N = 24, D = 2 };
    const chain_target *of = chain_target_at(CHAIN_FUNNEL);
    const double h = IS_DOUBLE ? 1e-5 : 3e-3;
    struct fixture f;
    dfo_loss *loss;
    testrun *t;
    test_rng rng = test_rng_new(test_seed());
    OK(new_flow(ctx, &f, "affine-coupling", _i % 2 ? 1 : 3, D, 0.2));
    OK(dfo_loss_reverse_new(f.flow, &of->target, alphas[_i / 2], &loss));
    const dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = loss->ops->need(loss, N, &how, 1);
    OK(testrun_new(ctx, f.store, &need, &t));
    t->run.mode = DFO_TRAIN;
    t->run.memory = DFO_MEMORY_INVERT;
    t->run.key = (dfo_key){.seed = test_seed(), .step = 5};
    dfo_real x[N * D];
    size_t n = dfo_store_weights_size(f.store);
    double *way = malloc(n * sizeof *way), sum[3] = {0}, slope = 0;
    dfo_real *w = dfo_store_weights(f.store), *old = malloc(n * sizeof *old);
    memcpy(old, w, n * sizeof *old);
    for (size_t k = 0; k < n; k++)
        way[k] = test_rng_normal(&rng) / sqrt((double)n);
    for (int side = 0; side < 3; side++) {
        for (size_t k = 0; k < n; k++)
            w[k] = old[k] + (dfo_real)((side == 1 ? h : side == 2 ? -h : 0) * way[k]);
        testrun_reset(t);
        dfo_minibatch shard = {.x = dfo_batch_of(x, N, D)};
        ck_assert_msg(loss->ops->prepare(loss, &t->run, t->run.derived) == DFO_OK, "%s", t->run.text);
        ck_assert_msg(loss->ops->grad(loss, &t->run, shard, 1, &sum[side]) == DFO_OK, "%s", t->run.text);
        ck_assert_msg(!loss->ops->pullback || loss->ops->pullback(loss, &t->run, t->run.derived, t->run.gderived) == DFO_OK, "%s", t->run.text);
        t->run.arena_used = 0;                     /* as the trainer does */
        testrun_check(t, "reverse");
        for (size_t k = 0; k < n && !side; k++)
            slope += (double)t->run.grads[k] * way[k];
    }
    near((sum[1] - sum[2]) / (2 * h), slope, (IS_DOUBLE ? 1e-6 : 2e-2) * (fabs(slope) + fabs(sum[0]) + 1), "slope");
    free(way);
    free(old);
    testrun_free(t);
    dfo_loss_free(loss);
    close_flow(&f);
}
END_TEST

static void fit(struct fixture *f, const dfo_target *target, double alpha, uint64_t steps)
{
    dfo_source *rows;
    dfo_loss *loss;
    dfo_fit_options o;
    dfo_fit_report r;
    size_t n = 256;
    dfo_real *zero = calloc(n * target->d, sizeof *zero);
    OK(dfo_source_rows(ctx, dfo_batch_of(zero, n, target->d), &rows));
    OK(dfo_loss_reverse_new(f->flow, target, alpha, &loss));
    dfo_fit_defaults(&o);
    o.steps = steps;
    o.batch = n;
    o.lr = 5e-3;
    o.seed = 2;
    OK(dfo_fit(loss, rows, NULL, 0, &o, &r));
    dfo_loss_free(loss);
    dfo_source_free(rows);
    free(zero);
}

/* The log of the normalising constant within 4 standard errors, and few weights lost.  */
START_TEST(fits)
{
    static const struct {
        size_t target;
        double alpha, least, worst;            /* of ESS/n; KL(q|p) */
    } rows[] = {{CHAIN_BANANA, 0, 0.85, 0.08}, {CHAIN_BANANA, 0.25, 0.85, 0.1}, {CHAIN_BANANA, 0.5, 0.8, 0.15}, {CHAIN_FUNNEL, 0, 0.8, 0.08}};
    enum { N = 4000 };
    const chain_target *of = chain_target_at(rows[_i].target);
    static double x[N * 2], weight[N];
    double sum = 0;
    struct fixture f;
    dfo_weight_summary w;
    OK(new_flow(ctx, &f, "affine-coupling", 4, 2, 0));
    fit(&f, &of->target, rows[_i].alpha, 800);
    OK(dfo_neutra_new(ctx, f.flow, &of->target, &f.neutra));
    OK(dfo_neutra_draw(f.neutra, 77, N, x, weight));
    for (size_t i = 0; i < N; i++)
        sum -= weight[i] / N;
    OK(dfo_weights_summarise(ctx, N, weight, &w));
    near(w.log_mean, of->log_normaliser, 4 * w.log_mean_error + 1e-3, "log Z");
    ck_assert_msg(w.ess / N > rows[_i].least, "%s, alpha %g: ESS %g of %d", of->name, rows[_i].alpha, w.ess, N);
    near(sum + of->log_normaliser, 0, rows[_i].worst, "KL(q|p)");
    close_flow(&f);
}
END_TEST

/* Draws outside of the target's support have no part in the gradient, whatever is said of it there; alpha = 0 has no value then.  */
START_TEST(support)
{
    enum { N = 64 };
    const chain_target *half = chain_target_at(CHAIN_HALF);
    struct fixture f;
    dfo_loss *loss;
    testrun *t;
    dfo_real x[N];
    for (int bounded = 0; bounded < 2; bounded++) {
        json_t *config = json_pack("{s:{s:s}}", "bijector", "type", "affine");
        OK(make_flow(ctx, &f, config, 1, 0.1));
        json_decref(config);
        OK(dfo_loss_reverse_new(f.flow, &half->target, bounded ? 0.5 : 0, &loss));
        const dfo_run how = {.memory = DFO_MEMORY_INVERT};
        dfo_need need = loss->ops->need(loss, N, &how, 1);
        OK(testrun_new(ctx, f.store, &need, &t));
        t->run.mode = DFO_TRAIN;
        t->run.memory = DFO_MEMORY_INVERT;
        t->run.key = (dfo_key){.seed = 3, .step = 1};
        double sum = 0;
        dfo_minibatch shard = {.x = dfo_batch_of(x, N, 1)};
        dfo_status status = loss->ops->grad(loss, &t->run, shard, 1.0 / N, &sum);
        if (bounded) {
            ck_assert_msg(status == DFO_OK && isfinite(sum), "%s", t->run.text);
            for (size_t k = 0; k < dfo_store_weights_size(f.store); k++)
                ck_assert(isfinite((double)t->run.grads[k]));
        } else {
            ck_assert_int_eq(status, DFO_ENUM);
            ck_assert_msg(strstr(t->run.text, "some of a shard's draws lie outside of the target's support"), "%s", t->run.text);
        }
        testrun_free(t);
        dfo_loss_free(loss);
        if (bounded) {
            fit(&f, &half->target, 0.5, 200);
            for (size_t k = 0; k < dfo_store_weights_size(f.store); k++)
                ck_assert(isfinite((double)dfo_store_weights(f.store)[k]));
        }
        close_flow(&f);
    }
}
END_TEST

START_TEST(refusals)
{
    const chain_target *banana = chain_target_at(CHAIN_BANANA), *half = chain_target_at(CHAIN_HALF);
    struct fixture f;
    dfo_loss *loss;
    dfo_flow_plan *plan;
    dfo_real x[2] = {0}, g[2] = {0};
    double one = 1;
    OK(new_flow(ctx, &f, "affine-coupling", 2, 2, 0));
    ck_assert_int_eq(dfo_neutra_new(ctx, f.flow, &half->target, &f.neutra), DFO_ESHAPE);
    ck_assert_str_eq(dfo_ctx_error(ctx), "neutra: a flow of rows of 2 numbers, a target of 1");
    ck_assert_int_eq(dfo_loss_reverse_new(f.flow, &half->target, 0, &loss), DFO_ESHAPE);
    ck_assert_int_eq(dfo_loss_reverse_new(f.flow, &banana->target, 1.5, &loss), DFO_EARG);
    ck_assert_str_eq(dfo_ctx_error(ctx), "alpha: expected a number from 0 to 1, got 1.5");
    ck_assert_int_eq(dfo_loss_reverse_new(f.flow, &banana->target, NAN, &loss), DFO_EARG);
    ck_assert_ptr_null(loss);
    OK(dfo_flow_plan_new(ctx, f.flow, 0, &plan));
    ck_assert_int_eq(dfo_flow_decode_backward(plan, 0, dfo_batch_of(x, 1, 2), dfo_batch_of(g, 1, 2), NULL, &one), DFO_EARG);
    dfo_flow_plan_free(plan);
    OK(dfo_flow_plan_new(ctx, f.flow, 1, &plan));
    ck_assert_int_eq(dfo_flow_decode_backward(plan, 0, dfo_batch_of(x, 1, 2), dfo_batch_of(g, 2, 1), NULL, &one), DFO_ESHAPE);
    ck_assert_int_eq(dfo_flow_decode_backward(plan, 0, dfo_batch_of(x, 1, 2), dfo_batch_of(g, 1, 2), NULL, &one), DFO_OK);
    dfo_flow_plan_free(plan);
    close_flow(&f);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    const chain_target *of = chain_target_at(CHAIN_BANANA);
    struct fixture f;
    dfo_loss *loss = NULL;
    double z[4] = {0}, out[2];
    dfo_status status = make_flow(c, &f, data, 2, 0);
    if (!status)
        status = dfo_loss_reverse_new(f.flow, &of->target, 0.5, &loss);
    if (!status)
        status = dfo_neutra_new(c, f.flow, &of->target, &f.neutra);
    if (!status)
        status = dfo_neutra_draw(f.neutra, 1, 2, z, out);
    dfo_loss_free(loss);
    close_flow(&f);
    return status;
}

START_TEST(no_memory)
{
    json_t *config = flow_config("affine-coupling", 1);
    ck_assert_uint_ge(oom_check("neutra", OOM_OURS, work, config), 10);
    json_decref(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("neutra");
    TCase *tests = tcase_create("neutra");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, own, 0, 4);
    tcase_add_test(tests, differences);
    tcase_add_test(tests, chains);
    tcase_add_loop_test(tests, loss_gradient, 0, 6);
    tcase_add_loop_test(tests, fits, 0, 4);
    tcase_add_test(tests, support);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
