/* The contract of a layer, as a flow under plans: the same bits for any number of threads, in evaluation and
 * in gradients summed over shards; the same gradients in every memory mode; no allocation while running.  */
#include <check.h>
#include <math.h>
#include <string.h>

#include <diffeo/flow.h>
#include "contract.h"
#include "oom.h"
#include "train/plan_impl.h"

/* The layer of l, with its weights, over a standard normal, in a context of its own.  */
struct flow {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_flow  *flow;
};

static void flow_new(struct flow *f, const struct layer *l)
{
    ck_assert_int_eq(oom_ctx(&f->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f->ctx, &f->store), DFO_OK);
    dfo_build build = {.ctx = f->ctx, .store = f->store, .seed = l->seed, .path = "flow", .shape = l->set.shape,
                       .conds = l->set.conds};
    memcpy(build.cond, l->set.cond, sizeof build.cond);
    json_t *config = json_pack("{s:O}", "bijector", l->config);
    dfo_status status = dfo_flow_new(&build, config, &f->flow);
    json_decref(config);
    ck_assert_msg(status == DFO_OK, "%s: %s", where(l), dfo_ctx_error(f->ctx));
    size_t weights = dfo_store_weights_size(l->store), buffers = dfo_store_buffers_size(l->store);
    ck_assert_uint_eq(weights, dfo_store_weights_size(f->store));
    if (weights)
        memcpy(dfo_store_weights(f->store), dfo_store_weights(l->store), weights * sizeof(dfo_real));
    if (buffers)
        memcpy(dfo_store_buffers(f->store), dfo_store_buffers(l->store), buffers * sizeof(dfo_real));
    dfo_store_touch(f->store);
}

static void flow_free(struct flow *f, const struct layer *l)
{
    dfo_flow_free(f->flow);
    dfo_store_free(f->store);
    ck_assert_msg(dfo_ctx_bytes(f->ctx) == 0, "%s: %zu bytes remain", where(l), dfo_ctx_bytes(f->ctx));
    dfo_ctx_free(f->ctx);
}

static void good(const struct layer *l, dfo_ctx *ctx, dfo_status status, const char *what)
{
    ck_assert_msg(status == DFO_OK, "%s: %s: %s", where(l), what, dfo_ctx_error(ctx));
}

START_TEST(evaluation)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 31);
    for (size_t k = 0; k < test_times(2); k++) {
        struct setting set = random_setting(&rng, row, 6);
        struct layer l;
        struct flow f;
        layer_new(&l, row, &set, &rng);
        l.calm = 1;
        layer_spread(&l, MODERATE, &rng);
        flow_new(&f, &l);
        size_t n = test_rng_between(&rng, 1, 400);
        testrun *t = run_new(&l, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&set, n, &rng);
        dfo_batch x = data_new(&l, t, n, 1, cond_or_null(&cond), &rng), z = x, back = x, gx = x;
        double *logp = doubles_new(n), *logdet = doubles_new(n);
        for (int threads = 1; threads <= 3; threads++) {
            dfo_flow_plan *plan;
            const dfo_cond *c = cond_or_null(&cond);
            double *p = doubles_new(n), *q = doubles_new(n);
            dfo_batch a = rows_copy(x), b = rows_copy(x), g = rows_copy(x);
            dfo_ctx_set_threads(f.ctx, threads);
            good(&l, f.ctx, dfo_flow_plan_new(f.ctx, f.flow, 1, &plan), "plan");
            good(&l, f.ctx, dfo_flow_log_prob_grad(plan, 0, b, c, p, g, NULL), "log_prob_grad");
            rows_set(b, x);
            size_t bytes = dfo_ctx_bytes(f.ctx);
            oom_count_begin();
            dfo_status status = dfo_flow_encode(plan, 0, a, c, q);
            dfo_status second = dfo_flow_log_prob_grad(plan, 0, b, c, p, g, NULL);
            size_t count = oom_count_end();
            good(&l, f.ctx, status, "encode");
            good(&l, f.ctx, second, "log_prob_grad");
            if (threads == 1)
                ck_assert_msg(!count && bytes == dfo_ctx_bytes(f.ctx), "%s: %zu allocations while running", where(&l), count);
            b = rows_copy(a);
            good(&l, f.ctx, dfo_flow_decode(plan, 0, b, c, NULL), "decode");
            rows_guard(&l, a, "encode");
            rows_guard(&l, g, "log_prob_grad");
            if (threads > 1) {
                same_rows(&l, z, a, "encode, threads");
                same_rows(&l, back, b, "decode, threads");
                same_rows(&l, gx, g, "gradient, threads");
                same_doubles(&l, n, logp, p, "log p, threads");
                same_doubles(&l, n, logdet, q, "log-det, threads");
            }
            z = a;
            back = b;
            gx = g;
            logp = p;
            logdet = q;
            dfo_flow_plan_free(plan);
        }
        testrun_free(t);
        flow_free(&f, &l);
        layer_free(&l);
        memory_free_all();
    }
}
END_TEST

struct step {
    dfo_loss     *loss;
    dfo_minibatch all;
    double        sum[16], drift[16];
};

static dfo_status shard(void *data, dfo_run *run, size_t s, size_t first, size_t n)
{
    struct step *step = data;
    dfo_minibatch part = step->all;
    part.x = dfo_batch_rows(part.x, first, n);
    part.cond = dfo_cond_rows(&part.cond, first, n);
    step->sum[s] = 0;
    dfo_status status = step->loss->ops->grad(step->loss, run, part, 1.0, &step->sum[s]);
    step->drift[s] = run->drift;
    return status;
}

struct how {
    const char     *name;
    dfo_memory_mode memory;
    unsigned        anchors;
};

/* The gradient of -sum log p over x, summed over shards; *loss and *drift too.  */
static dfo_real *gradient(const struct layer *l, struct flow *f, dfo_batch x, const dfo_cond *cond, const struct how *how,
                          size_t shards, int threads, double *loss, double *drift)
{
    struct step step = {.all = {.x = rows_copy(x), .cond = *cond}};
    dfo_plan_options options = {.threads = threads, .shards = shards, .memory = how->memory,
                                .anchors = how->anchors, .seed = 1, .mode = DFO_TRAIN};
    dfo_run run = {.memory = how->memory, .anchors = how->anchors};
    dfo_plan *plan;
    dfo_key key = {.seed = 1};
    good(l, f->ctx, dfo_loss_nll_new(f->flow, &step.loss), "loss");
    const struct dfo_loss_ops *ops = step.loss->ops;
    dfo_need need = ops->need(step.loss, (x.n + shards - 1) / shards, &run, 1);
    good(l, f->ctx, dfo_plan_new(f->ctx, f->store, &need, &options, &plan), "plan");
    dfo_run *one = dfoi_plan_single(plan, key);
    ck_assert_msg(ops->prepare(step.loss, one, plan->derived) == DFO_OK, "%s: %s", where(l), one->text);
    good(l, f->ctx, dfoi_plan_shards(plan, key, x.n, shard, &step), "gradient");
    one = dfoi_plan_single(plan, key);
    one->grads = plan->total;
    size_t weights = dfo_store_weights_size(f->store);
    ck_assert_msg(ops->pullback(step.loss, one, plan->derived, plan->total + weights) == DFO_OK, "%s: %s", where(l),
                  one->text);
    dfo_real *g = memory_new(weights * sizeof *g);
    memcpy(g, plan->total, weights * sizeof *g);
    *loss = *drift = 0;
    for (size_t s = 0; s < shards && s < x.n; s++) {
        *loss += step.sum[s];
        *drift = fmax(*drift, step.drift[s]);
    }
    dfo_loss_free(step.loss);
    dfo_plan_free(plan);
    return g;
}

START_TEST(gradients)
{
    static const struct how hows[] = {{"store", DFO_MEMORY_STORE, 0}, {"invert", DFO_MEMORY_INVERT, 0},
                                      {"anchors=1", DFO_MEMORY_ANCHORS, 1}, {"anchors=2", DFO_MEMORY_ANCHORS, 2},
                                      {"anchors=4", DFO_MEMORY_ANCHORS, 4}};
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 32);
    for (size_t k = 0; k < test_times(row->flags & COMPOSITE ? 5 : 1); k++) {
        struct setting set = random_setting(&rng, row, 6);
        struct layer l;
        struct flow f;
        set.smooth = 1;
        layer_new(&l, row, &set, &rng);
        l.calm = 1;
        layer_spread(&l, MODERATE, &rng);
        flow_new(&f, &l);
        size_t n = test_rng_between(&rng, 1, 150), shards = test_rng_between(&rng, 1, 6);
        size_t weights = dfo_store_weights_size(l.store);
        testrun *t = run_new(&l, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&set, n, &rng);
        dfo_batch x = data_new(&l, t, n, 0, cond_or_null(&cond), &rng);
        dfo_real *kept = NULL;
        double size = 1, kept_loss = 0;
        for (size_t h = 0; h < sizeof hows / sizeof *hows; h++) {
            double loss, other, drift, error = 0;
            dfo_real *g = gradient(&l, &f, x, &cond, &hows[h], shards, 1, &loss, &drift);
            for (int threads = 2; threads <= 3; threads++) {
                dfo_real *more = gradient(&l, &f, x, &cond, &hows[h], shards, threads, &other, &drift);
                ck_assert_msg(loss == other && !memcmp(g, more, weights * sizeof *g), "%s: %s: %zu rows, %zu shards: "
                              "other bits with %d threads", where(&l), hows[h].name, n, shards, threads);
            }
            for (size_t j = 0; h == 0 && j < weights; j++)
                size = fmax(size, fabs((double)g[j]));
            for (size_t j = 0; h && j < weights; j++)
                error = fmax(error, fabs((double)(g[j] - kept[j])));
            ck_assert_msg(error <= 100 * TIGHT * size && (h == 0 || loss == kept_loss),
                          "%s: %s and store: %zu rows: gradients differ by %g at %g, losses %.17g and %.17g, drift %g",
                          where(&l), hows[h].name, n, error, size, loss, kept_loss, drift);
            ck_assert_msg(drift >= 0 && drift <= 1e-3, "%s: %s: drift %g", where(&l), hows[h].name, drift);
            if (h)
                note(&l, hows[h].name, error / size, 1, error / size / TIGHT);
            kept = h ? kept : g;
            kept_loss = loss;
        }
        testrun_free(t);
        flow_free(&f, &l);
        layer_free(&l);
        memory_free_all();
    }
}
END_TEST

void contract_plans(Suite *suite)
{
    TCase *tcase = tcase_create("plans");
    int n = (int)contract_rows_count;
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, evaluation, 0, n);
    tcase_add_loop_test(tcase, gradients, 0, n);
    suite_add_tcase(suite, tcase);
}
