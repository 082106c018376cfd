/* Flow matching: paths and pairings against the reference vectors, the loss's gradient against differences.  */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/diffeo.h>
#include "math/assign_impl.h"
#include "matching_impl.h"
#include "reference.h"
#include "testrun.h"
#include "util.h"

static void row_of(const double *from, size_t d, dfo_real *to)
{
    for (size_t j = 0; j < d; j++)
        to[j] = (dfo_real)from[j];
}

static int path_case(ref_case c)
{
    static const char *const theirs[] = {"icfm", "lipman_ot", "vp_trig", "sb"};
    dfoi_matching m = {.sigma = ref_number(c, "settings.sigma", 0)};
    while (m.path < DFOI_PATHS && strcmp(ref_text(c, "settings.path", ""), theirs[m.path]))
        m.path++;
    if (m.path == DFOI_PATHS || !ref_get(c, "outputs.u_t").data)
        return 0;
    ref_array x0 = ref_need(c, "inputs.x0"), x1 = ref_need(c, "inputs.x1"), e = ref_need(c, "inputs.eps"), t = ref_need(c, "inputs.t");
    size_t d = x0.shape[1];
    for (size_t i = 0; i < x0.shape[0]; i++) {
        dfo_real a[8], b[8], noise[8], x[8], u[8];
        row_of(x0.data + i * d, d, a);
        row_of(x1.data + i * d, d, b);
        row_of(e.data + i * d, d, noise);
        for (int in_place = 0; in_place < 2; in_place++) {
            dfoi_matching_path(&m, t.data[i], d, a, b, noise, in_place ? b : x, u);
            for (size_t j = 0; j < d; j++) {
                double want = ref_need(c, "outputs.x_t").data[i * d + j], rate = ref_need(c, "outputs.u_t").data[i * d + j];
                double allowed = (IS_DOUBLE ? 1e-13 : 2e-6) * fmax(1, fmax(fabs(want), fabs(rate)));
                ck_assert_msg(fabs((double)(in_place ? b : x)[j] - want) <= allowed && fabs((double)u[j] - rate) <= allowed,
                              "%s: row %zu, %zu", c.name, i, j);
            }
        }
    }
    return 1;
}

/* A window's straight line; the reference's time goes from noise at 1 to data at 0.  */
static int window_case(ref_case c)
{
    if (strcmp(c.name, "perflow_window"))
        return 0;
    ref_array from = ref_need(c, "inputs.z_start"), to = ref_need(c, "inputs.z_end");
    dfo_real a[8], b[8], u[8];
    row_of(from.data, from.n, a);
    row_of(to.data, to.n, b);
    dfoi_matching_window(ref_number(c, "settings.t_start", 0), ref_number(c, "settings.t_end", 0), ref_number(c, "settings.t", 0), from.n, a, b, a, u);
    for (size_t j = 0; j < from.n; j++)
        ck_assert_msg(fabs((double)a[j] - ref_need(c, "outputs.z_t").data[j]) < (IS_DOUBLE ? 1e-13 : 2e-6) &&
                      fabs((double)u[j] - ref_need(c, "outputs.velocity").data[j]) < (IS_DOUBLE ? 1e-13 : 2e-5), "%s: %zu", c.name, j);
    return 1;
}

static int assignment_case(ref_case c)
{
    if (strncmp(c.name, "assignment", 10))
        return 0;
    ref_array x0 = ref_need(c, "inputs.x0"), x1 = ref_need(c, "inputs.x1"), perm = ref_need(c, "outputs.perm");
    size_t n = x0.shape[0], d = x0.shape[1], to[16];
    double cost[256], room[128], sum = 0;
    ck_assert(n <= 16 && dfoi_assign_room(n) <= 128);
    for (size_t i = 0; i < n * n; i++) {
        cost[i] = 0;
        for (size_t k = 0; k < d; k++)
            cost[i] += pow(x0.data[i / n * d + k] - x1.data[i % n * d + k], 2);
    }
    dfoi_assign(n, cost, room, to);
    for (size_t i = 0; i < n; i++) {
        sum += cost[i * n + to[i]];
        ck_assert(d == 1 || to[i] == (size_t)perm.data[i]);
    }
    ck_assert(fabs(sum - ref_need(c, "outputs.cost").data[0]) < 1e-12 * (1 + sum));
    return 1;
}

START_TEST(reference)
{
    ref_file *f = ref_open("flow_matching");
    int paths = 0, pairings = 0, windows = 0;
    for (size_t i = 0; i < ref_cases(f); i++) {
        paths += path_case(ref_at(f, i));
        pairings += assignment_case(ref_at(f, i));
        windows += window_case(ref_at(f, i));
    }
    ck_assert(paths >= 8 && pairings == 3 && windows == 1);
    ref_close(f);
}
END_TEST

/* Against all orders.  */
START_TEST(assignments)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < 200; k++) {
        size_t n = test_rng_between(&rng, 1, 6), to[6];
        double cost[36], room[64], best = HUGE_VAL, got = 0;
        for (size_t i = 0; i < n * n; i++)
            cost[i] = test_rng_normal(&rng);
        size_t all = 1;
        for (size_t i = 0; i < n; i++)
            all *= n;
        for (size_t code = 0; code < all; code++) {        /* the codes that name every column once */
            double sum = 0;
            size_t left = code, used = 0;
            for (size_t i = 0; i < n; i++, left /= n) {
                used |= (size_t)1 << left % n;
                sum += cost[i * n + left % n];
            }
            best = used + 1 == (size_t)1 << n ? fmin(best, sum) : best;
        }
        dfoi_assign(n, cost, room, to);
        for (size_t i = 0; i < n; i++)
            got += cost[i * n + to[i]];
        ck_assert_msg(fabs(got - best) < 1e-12, "%zu: %g, least %g (seed %llu)", n, got, best, (unsigned long long)test_seed());
    }
}
END_TEST

#ifdef DFO_DOUBLE
/* The loss of a shard in mode train, and its gradient by differences of weights.  */
static double loss_of(const dfo_loss *loss, testrun *t, const dfo_real *x, size_t n, size_t d)
{
    dfo_real *rows = malloc(n * d * sizeof *rows);
    double sum = 0;
    dfo_minibatch shard = {.x = dfo_batch_of(rows, n, d)};
    memcpy(rows, x, n * d * sizeof *rows);
    testrun_reset(t);
    t->run.mode = DFO_TRAIN;
    ck_assert_int_eq(loss->ops->prepare(loss, &t->run, t->run.derived), DFO_OK);
    ck_assert_msg(loss->ops->grad(loss, &t->run, shard, 1, &sum) == DFO_OK, "%s", t->run.text);
    t->run.arena_used = 0;
    free(rows);
    return sum;
}

START_TEST(gradient)
{
    enum { N = 9, D = 3 };
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_flow *flow;
    dfo_loss *loss;
    testrun *t;
    dfo_real x[N * D];
    ck_assert(dfo_ctx_new(&ctx) == DFO_OK && dfo_store_new(ctx, &store) == DFO_OK);
    dfo_build build = {.ctx = ctx, .store = store, .seed = 3, .path = "f", .shape = dfo_shape_vector(D)};
    json_t *config = json_pack("{s:{s:s, s:[{s:s}, {s:s, s:f, s:b, s:b, s:{s:s, s:[i]}}]}, s:{s:s, s:f, s:s}}", "bijector", "type", "chain", "layers",
                               "type", "standardise", "type", "cnf", "end", 1.5, "learn_end", _i, "zero_init", 0, "net", "type", "concatsquash", "hidden", 5,
                               "matching", "path", _i ? "bridge" : "straight", "sigma", 0.3, "pairing", _i ? "transport" : "independent");
    ck_assert_msg(dfo_flow_new(&build, config, &flow) == DFO_OK, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_loss_flow_new(flow, &loss), DFO_OK);
    ck_assert_str_eq(loss->ops->type, "matching");
    dfo_run how = {.mode = DFO_TRAIN};
    dfo_need need = loss->ops->need(loss, N, &how, 1);
    need.scratch += 4096;
    ck_assert_int_eq(testrun_new(ctx, store, &need, &t), DFO_OK);
    for (size_t i = 0; i < N * D; i++)
        x[i] = (dfo_real)cos(3.0 * (double)i);
    loss_of(loss, t, x, N, D);
    size_t n = dfo_store_weights_size(store);
    dfo_real *g = malloc(n * sizeof *g), *w = dfo_store_weights(store);
    memcpy(g, t->run.grads, n * sizeof *g);
    double worst = 0, size = 0;
    for (size_t e = 0; e < dfo_store_entries(store); e++) {
        const dfo_entry *entry = dfo_store_entry(store, e);
        for (size_t k = entry->offset; !entry->buffer && k < entry->offset + entry->count; k++) {
            dfo_real was = w[k];
            w[k] = was + 1e-5;
            double up = loss_of(loss, t, x, N, D);
            w[k] = was - 1e-5;
            double down = loss_of(loss, t, x, N, D);
            w[k] = was;
            worst = fmax(worst, fabs((up - down) / 2e-5 - (double)g[k]));
            size = fmax(size, fabs((double)g[k]));
        }
    }
    ck_assert_msg(size > 0.1 && worst < 1e-7, "gradient off by %g of %g", worst, size);
    free(g);
    testrun_free(t);
    dfo_loss_free(loss);
    dfo_flow_free(flow);
    dfo_store_free(store);
    dfo_ctx_free(ctx);
    json_decref(config);
}
END_TEST
#endif

/* What flow matching cannot fit.  */
START_TEST(refused)
{
    static const char *const bad[][2] = {
        {"{\"bijector\":{\"type\":\"actnorm\"},\"matching\":{}}", "ends in a cnf layer"},
        {"{\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"cnf\"}]},\"base\":{\"type\":\"logistic\"},\"matching\":{}}", "standard normal"},
        {"{\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"cnf\"}]},\"matching\":{\"path\":\"curved\"}}", "path: expected straight"},
        {"{\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"cnf\"}]},\"matching\":{\"pairing\":\"no\"}}", "pairing: expected"},
        {"{\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"cnf\"}]},\"matching\":{\"sigma\":-1}}", "sigma"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dfo_ctx *ctx;
        dfo_store *store;
        dfo_flow *flow;
        ck_assert(dfo_ctx_new(&ctx) == DFO_OK && dfo_store_new(ctx, &store) == DFO_OK);
        dfo_build build = {.ctx = ctx, .store = store, .path = "f", .shape = dfo_shape_vector(2)};
        json_t *config = json_loads(bad[i][0], 0, NULL);
        ck_assert_int_ne(dfo_flow_new(&build, config, &flow), DFO_OK);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i][1]) != NULL, "%s", dfo_ctx_error(ctx));
        json_decref(config);
        dfo_store_free(store);
        dfo_ctx_free(ctx);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flow matching " DFO_REAL_NAME);
    TCase *t = tcase_create("matching");
    tcase_add_test(t, reference);
    tcase_add_test(t, assignments);
    tcase_add_test(t, refused);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, gradient, 0, 2);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
