/* Flows: densities that integrate to 1, gradients of log p, samples that follow their density, bits that do
 * not depend on threads or batches, shapes that are refused, one flow under several plans.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/flow.h>
#include "util.h"

struct fixture {
    dfo_ctx       *ctx;
    dfo_store     *store;
    dfo_flow      *flow;
    dfo_flow_plan *plan;
    size_t         d, conds;
};

static const char *const kinds[] = {"additive-coupling", "affine-coupling", "spline-coupling"};
#define KINDS 3

/* Three couplings with masks in turn and an actnorm, weights `noise` away from the identity.  */
static void open_flow(struct fixture *f, const char *kind, size_t d, size_t conds, double noise, test_rng *rng)
{
    json_t *layers = json_array();
    memset(f, 0, sizeof *f);
    f->d = d;
    f->conds = conds;
    for (int i = 0; i < 3; i++)
        json_array_append_new(layers, json_pack("{s:s, s:s, s:{s:s, s:[i], s:s}}", "type", kind, "mask",
                                                i % 2 ? "half" : "half-swapped", "net", "type", "mlp", "hidden", 8,
                                                "activation", "tanh"));
    json_array_append_new(layers, json_pack("{s:s}", "type", "actnorm"));
    json_t *config = json_pack("{s:{s:s, s:o}}", "bijector", "type", "chain", "layers", layers);
    ck_assert_int_eq(dfo_ctx_new(&f->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f->ctx, &f->store), DFO_OK);
    dfo_build build = {.ctx = f->ctx, .store = f->store, .seed = test_rng_next(rng) >> 32, .path = "flow",
                       .shape = dfo_shape_vector(d), .conds = conds};
    for (size_t p = 0; p < conds; p++)
        build.cond[p] = dfo_shape_vector(2 + p);
    dfo_status status = dfo_flow_new(&build, config, &f->flow);
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(f->ctx));
    json_decref(config);
    dfo_real *w = dfo_store_weights(f->store);
    for (size_t k = 0; k < dfo_store_weights_size(f->store); k++)
        w[k] += (dfo_real)(noise * test_rng_normal(rng));
    dfo_store_touch(f->store);
    ck_assert_int_eq(dfo_flow_plan_new(f->ctx, f->flow, 1, &f->plan), DFO_OK);
}

static void close_flow(struct fixture *f)
{
    dfo_flow_plan_free(f->plan);
    dfo_flow_free(f->flow);
    dfo_store_free(f->store);
    ck_assert_uint_eq(dfo_ctx_bytes(f->ctx), 0);
    dfo_ctx_free(f->ctx);
}

static void good(const struct fixture *f, dfo_status status)
{
    ck_assert_msg(status == DFO_OK, "seed %llu: %s", (unsigned long long)test_seed(), dfo_ctx_error(f->ctx));
}

static dfo_batch rows(size_t n, size_t d)
{
    dfo_batch x = dfo_batch_of(calloc(n * d + 1, sizeof(dfo_real)), n, d);
    ck_assert_ptr_nonnull(x.x);
    return x;
}

static dfo_batch drawn(size_t n, size_t d, test_rng *rng)
{
    dfo_batch x = rows(n, d);
    for (size_t k = 0; k < n * d; k++)
        x.x[k] = (dfo_real)test_rng_normal(rng);
    return x;
}

static dfo_cond context(const struct fixture *f, size_t n, test_rng *rng)
{
    dfo_cond c = {.n = f->conds};
    for (size_t p = 0; p < c.n; p++) {
        c.part[p].shape = dfo_shape_vector(2 + p);
        c.part[p].rows = drawn(n, 2 + p, rng);
    }
    return c;
}

static void drop(dfo_cond *c)
{
    for (size_t p = 0; p < c->n; p++)
        free(c->part[p].rows.x);
}

/* One row of context n times.  */
static dfo_cond repeated(const struct fixture *f, size_t n, test_rng *rng)
{
    dfo_cond c = context(f, n, rng);
    for (size_t p = 0; p < c.n; p++)
        for (size_t i = 1; i < n; i++)
            memcpy(dfo_row(c.part[p].rows, i), dfo_row(c.part[p].rows, 0), c.part[p].rows.d * sizeof(dfo_real));
    return c;
}

/* What the latents at distance 8 (one column) or 6 become: beyond lies no mass to speak of.  */
static double reach_of(struct fixture *f, const dfo_cond *c)
{
    enum { AROUND = 64 };
    double reach = 0;
    dfo_batch x = rows(AROUND, f->d);
    dfo_cond part = dfo_cond_rows(c, 0, AROUND);
    for (size_t i = 0; i < AROUND; i++)
        for (size_t j = 0; j < f->d; j++)
            dfo_row(x, i)[j] = (dfo_real)(f->d == 1 ? (i % 2 ? 8 : -8)
                                                    : 6 * cos(2 * M_PI * (double)i / AROUND - M_PI_2 * (double)j));
    good(f, dfo_flow_decode(f->plan, 0, x, c->n ? &part : NULL, NULL));
    for (size_t k = 0; k < AROUND * f->d; k++)
        reach = fmax(reach, 1.05 * fabs((double)x.x[k]));
    free(x.x);
    return reach;
}

/* Trapezia over the square that holds the mass; *entropy = -int p log p.  */
static double integral(struct fixture *f, size_t side, test_rng *rng, double *entropy)
{
    size_t n = f->d == 1 ? side : side * side;
    dfo_batch x = rows(n, f->d);
    dfo_cond c = repeated(f, n, rng);
    double reach = reach_of(f, &c), step = 2 * reach / (double)(side - 1), cell = f->d == 1 ? step : step * step, sum = 0;
    double *logp = calloc(n, sizeof *logp);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < f->d; j++)
            dfo_row(x, i)[j] = (dfo_real)(-reach + step * (double)(j ? i / side : i % side));
    good(f, dfo_flow_log_prob(f->plan, 0, x, c.n ? &c : NULL, logp));
    *entropy = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp(logp[i]) * cell;
        *entropy -= logp[i] * exp(logp[i]) * cell;
    }
    free(logp);
    free(x.x);
    drop(&c);
    return sum;
}

START_TEST(integrates_to_one)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i * 977);
    for (size_t d = 1; d <= 2; d++)
        for (size_t conds = 0; conds < 2; conds++) {
            struct fixture f;
            double entropy, one;
            open_flow(&f, kinds[_i], d, conds, d == 1 ? 0.3 : 0.12, &rng);
            one = integral(&f, d == 1 ? 40001 : 501, &rng, &entropy);
            ck_assert_msg(fabs(one - 1) < 2e-3, "seed %llu: %s, %zu columns, %zu conditions: integral %.6f",
                          (unsigned long long)test_seed(), kinds[_i], d, conds, one);
            close_flow(&f);
        }
}
END_TEST

/* E[-log p] over samples is the entropy: the mean of 20,000 within five standard errors.  */
START_TEST(samples_follow)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i * 733);
    size_t n = 20000;
    struct fixture f;
    open_flow(&f, kinds[_i], 1, 0, 0.3, &rng);
    double entropy, one = integral(&f, 40001, &rng, &entropy), sum = 0, squares = 0;
    dfo_batch x = rows(n, 1);
    double *logp = calloc(n, sizeof *logp);
    good(&f, dfo_flow_sample(f.plan, test_seed(), 0, x, NULL, 1));
    good(&f, dfo_flow_log_prob(f.plan, 0, x, NULL, logp));
    for (size_t i = 0; i < n; i++) {
        sum -= logp[i];
        squares += logp[i] * logp[i];
    }
    double mean = sum / (double)n, error = sqrt((squares / (double)n - mean * mean) / (double)n);
    ck_assert_msg(fabs(mean - entropy) < 5 * error + 2e-3 * fabs(entropy) + 1e-4,
                  "seed %llu: %s: entropy %.5f, of samples %.5f (+- %.5f), integral %.5f", (unsigned long long)test_seed(),
                  kinds[_i], entropy, mean, error, one);
    free(logp);
    free(x.x);
    close_flow(&f);
}
END_TEST

#ifdef DFO_DOUBLE
#define STEP 1e-5
#define CLOSE 1e-6
#else
#define STEP 1e-2          /* of log p in float: differences are coarse */
#define CLOSE 3e-2
#endif

/* log p of the rows of x with one number moved.  */
static void log_probs(struct fixture *f, dfo_batch x, const dfo_cond *c, dfo_real *number, double h, double *out)
{
    dfo_batch z = rows(x.n, x.d);
    dfo_real was = *number;
    *number = (dfo_real)((double)was + h);
    memcpy(z.x, x.x, x.n * x.d * sizeof *x.x);
    good(f, dfo_flow_log_prob(f->plan, 0, z, c, out));
    *number = was;
    free(z.x);
}

/* The best of four steps (splines have knots, where log p has a kink: its slope on the row's side of it counts), smallest error in
 * units of 1 + |gradient|.  */
static double difference(struct fixture *f, dfo_batch x, const dfo_cond *c, dfo_real *number, size_t i, double gradient)
{
    double *up = calloc(x.n, sizeof *up), *down = calloc(x.n, sizeof *down), *mid = calloc(x.n, sizeof *mid), best = INFINITY;
    log_probs(f, x, c, number, 0, mid);
    for (double h = STEP; h > STEP / 100; h /= 4) {
        log_probs(f, x, c, number, h, up);
        log_probs(f, x, c, number, -h, down);
        double above = (up[i] - mid[i]) / h - gradient, below = (mid[i] - down[i]) / h - gradient;
        best = fmin(best, fmin(fabs(above + below) / 2, fmin(fabs(above), fabs(below))) / (1 + fabs(gradient)));
    }
    free(mid);
    free(up);
    free(down);
    return best;
}

START_TEST(gradients)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i * 577);
    for (size_t k = 0; k < test_times(3); k++) {
        size_t d = test_rng_between(&rng, 1, 4), n = test_rng_between(&rng, 1, 300);
        struct fixture f;
        open_flow(&f, kinds[_i], d, k % 3, 0.3, &rng);
        dfo_batch x = drawn(n, d, &rng), z = rows(n, d), g = rows(n, d);
        dfo_cond c = context(&f, n, &rng), gc = context(&f, n, &rng);
        double *logp = calloc(n, sizeof *logp), *same = calloc(n, sizeof *same);
        memcpy(z.x, x.x, n * d * sizeof *x.x);
        good(&f, dfo_flow_log_prob_grad(f.plan, 0, z, c.n ? &c : NULL, logp, g, c.n ? &gc : NULL));
        memcpy(z.x, x.x, n * d * sizeof *x.x);
        good(&f, dfo_flow_log_prob(f.plan, 0, z, c.n ? &c : NULL, same));
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(logp[i] == same[i], "row %zu of %zu: %.17g and %.17g", i, n, logp[i], same[i]);
        for (int tries = 0; tries < 4; tries++) {
            size_t i = tries ? test_rng_between(&rng, 0, n - 1) : n - 1, j = test_rng_between(&rng, 0, d - 1);
            double error = difference(&f, x, c.n ? &c : NULL, &dfo_row(x, i)[j], i, (double)dfo_row(g, i)[j]);
            ck_assert_msg(error < CLOSE, "seed %llu: %s: row %zu of %zu, column %zu: gradient %g, error %g",
                          (unsigned long long)test_seed(), kinds[_i], i, n, j, (double)dfo_row(g, i)[j], error);
            for (size_t p = 0; p < c.n; p++) {
                dfo_real *number = &dfo_row(c.part[p].rows, i)[0];
                double want = (double)dfo_row(gc.part[p].rows, i)[0];
                error = difference(&f, x, &c, number, i, want);
                ck_assert_msg(error < CLOSE, "seed %llu: %s: row %zu of %zu, context %zu: gradient %g, error %g",
                              (unsigned long long)test_seed(), kinds[_i], i, n, p, want, error);
            }
        }
        drop(&c);
        drop(&gc);
        free(x.x);
        free(z.x);
        free(g.x);
        free(logp);
        free(same);
        close_flow(&f);
    }
}
END_TEST

/* The same rows whatever the threads and however the rows are cut at multiples of the block.  */
START_TEST(same_bits)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i * 313);
    struct fixture f;
    open_flow(&f, kinds[_i], 3, 1, 0.3, &rng);
    size_t block = dfo_flow_block(f.flow), n = 3 * block + test_rng_between(&rng, 1, block - 1);
    dfo_cond c = context(&f, n, &rng);
    dfo_batch all = rows(n, 3), x = rows(n, 3);
    double *logp = calloc(n, sizeof *logp), *other = calloc(n, sizeof *other);
    good(&f, dfo_flow_sample(f.plan, 42, block, all, &c, 1));
    memcpy(x.x, all.x, n * 3 * sizeof *x.x);
    good(&f, dfo_flow_log_prob(f.plan, block, x, &c, logp));
    for (int threads = 1; threads <= 3; threads++) {
        dfo_flow_plan *plan;
        dfo_ctx_set_threads(f.ctx, threads);
        good(&f, dfo_flow_plan_new(f.ctx, f.flow, 0, &plan));
        memset(x.x, 0xff, n * 3 * sizeof *x.x);
        for (size_t first = 0, take; first < n; first += take) {
            take = block * test_rng_between(&rng, 1, 2);
            take = take < n - first ? take : n - first;
            dfo_cond part = dfo_cond_rows(&c, first, take);
            good(&f, dfo_flow_sample(plan, 42, block + first, dfo_batch_rows(x, first, take), &part, 1));
        }
        ck_assert_msg(!memcmp(x.x, all.x, n * 3 * sizeof *x.x), "samples: %d threads: other bits", threads);
        for (size_t first = 0, take; first < n; first += take) {
            take = block * test_rng_between(&rng, 1, 3);
            take = take < n - first ? take : n - first;
            dfo_cond part = dfo_cond_rows(&c, first, take);
            good(&f, dfo_flow_log_prob(plan, block + first, dfo_batch_rows(x, first, take), &part, other + first));
        }
        ck_assert_msg(!memcmp(logp, other, n * sizeof *logp), "log p: %d threads: other bits", threads);
        dfo_flow_plan_free(plan);
    }
    good(&f, dfo_flow_sample(f.plan, 43, block, x, &c, 1));
    ck_assert(memcmp(x.x, all.x, n * 3 * sizeof *x.x) != 0);
    drop(&c);
    free(all.x);
    free(x.x);
    free(logp);
    free(other);
    close_flow(&f);
}
END_TEST

START_TEST(wrong_shapes)
{
    test_rng rng = test_rng_new(test_seed());
    struct fixture f;
    open_flow(&f, "affine-coupling", 3, 2, 0.3, &rng);
    enum { N = 5, FAULTS = 6 };
    for (int fault = 0; fault < FAULTS; fault++)
        for (int call = 0; call < 5; call++) {
            dfo_cond c = context(&f, N, &rng), g = context(&f, N, &rng), keep_c = c, keep_g = g;
            dfo_batch x = drawn(N, 4, &rng), gx = drawn(N, 4, &rng), x_was = rows(N, 4), gx_was = rows(N, 4);
            double out[N] = {1, 2, 3, 4, 5};
            memcpy(x_was.x, x.x, N * 4 * sizeof *x.x);
            memcpy(gx_was.x, gx.x, N * 4 * sizeof *x.x);
            dfo_real mark = g.part[0].rows.x[0];
            x.d = gx.d = fault == 0 ? 4 : 3;
            if (fault == 1)
                c.n = 1;
            if (fault == 2)
                c.part[0].rows.d = 1;
            if (fault == 3)
                c.part[1].rows.n = N - 1;
            if (fault == 4)
                x.ld = 2;
            if (fault == 5 && call == 1)
                gx.d = 2;
            const dfo_cond *given = fault == 5 && call != 1 ? NULL : &c;
            dfo_status status = call == 0   ? dfo_flow_log_prob(f.plan, 0, x, given, out)
                                : call == 1 ? dfo_flow_log_prob_grad(f.plan, 0, x, given, out, gx, &g)
                                : call == 2 ? dfo_flow_encode(f.plan, 0, x, given, out)
                                : call == 3 ? dfo_flow_decode(f.plan, 0, x, given, out)
                                            : dfo_flow_sample(f.plan, 1, 0, x, given, 1);
            ck_assert_msg(status == DFO_ESHAPE && dfo_ctx_error(f.ctx)[0], "fault %d, call %d: status %d, text '%s'", fault,
                          call, (int)status, dfo_ctx_error(f.ctx));
            ck_assert_msg(!memcmp(x.x, x_was.x, N * 4 * sizeof *x.x), "fault %d, call %d: rows were written", fault, call);
            ck_assert(!memcmp(gx.x, gx_was.x, N * 4 * sizeof *x.x) && g.part[0].rows.x[0] == mark);
            ck_assert(out[0] == 1 && out[4] == 5);
            drop(&keep_c);
            drop(&keep_g);
            free(x.x);
            free(gx.x);
            free(x_was.x);
            free(gx_was.x);
        }
    dfo_cond none = {.n = 2, .part = {{.rows = {.d = 2, .ld = 2}}, {.rows = {.d = 3, .ld = 3}}}};
    good(&f, dfo_flow_log_prob(f.plan, 0, dfo_batch_of(NULL, 0, 3), &none, NULL));
    close_flow(&f);
}
END_TEST

/* A row that is not a number: the error names layer and row, by the row's absolute index.  */
START_TEST(bad_row)
{
    test_rng rng = test_rng_new(test_seed());
    struct fixture f;
    open_flow(&f, kinds[_i % KINDS], 2, 0, 0.3, &rng);
    size_t n = 2 * dfo_flow_block(f.flow) + 9, bad = test_rng_between(&rng, 0, n - 1);
    dfo_batch x = drawn(n, 2, &rng);
    double *out = calloc(n, sizeof *out);
    char row[40];
    dfo_row(x, bad)[1] = (dfo_real)(_i % 2 ? NAN : INFINITY);
    snprintf(row, sizeof row, "row %zu:", bad);
    dfo_status status = dfo_flow_log_prob(f.plan, 0, x, NULL, out);
    const char *text = dfo_ctx_error(f.ctx);
    ck_assert_msg(status == DFO_ENUM && strstr(text, row) && strstr(text, "layer "), "status %d, text '%s', %s", (int)status,
                  text, row);
    free(x.x);
    free(out);
    close_flow(&f);
}
END_TEST

/* Several threads, each with a context and a plan of its own, on one flow.  */
struct user {
    const struct fixture *f;
    dfo_batch x;
    double   *logp;
    int       failed;
};

static void *use(void *data)
{
    struct user *u = data;
    dfo_ctx *ctx;
    dfo_flow_plan *plan = NULL;
    dfo_batch z = dfo_batch_of(malloc(u->x.n * u->x.d * sizeof(dfo_real)), u->x.n, u->x.d);
    u->failed = 1;
    if (!z.x || dfo_ctx_new(&ctx) != DFO_OK)
        return NULL;
    dfo_ctx_set_threads(ctx, 1);
    u->failed = dfo_flow_plan_new(ctx, u->f->flow, 0, &plan) != DFO_OK;
    for (int again = 0; again < 5 && !u->failed; again++) {
        memcpy(z.x, u->x.x, u->x.n * u->x.d * sizeof(dfo_real));
        u->failed = dfo_flow_log_prob(plan, 0, z, NULL, u->logp) != DFO_OK;
    }
    dfo_flow_plan_free(plan);
    dfo_ctx_free(ctx);
    free(z.x);
    return NULL;
}

START_TEST(several_plans)
{
    test_rng rng = test_rng_new(test_seed());
    enum { USERS = 4, N = 700 };
    struct fixture f;
    struct user user[USERS];
    pthread_t thread[USERS];
    open_flow(&f, kinds[_i], 4, 0, 0.3, &rng);
    dfo_batch x = drawn(N, 4, &rng), z = rows(N, 4);
    double *logp = calloc(N, sizeof *logp);
    memcpy(z.x, x.x, N * 4 * sizeof *x.x);
    good(&f, dfo_flow_log_prob(f.plan, 0, z, NULL, logp));
    for (int k = 0; k < USERS; k++) {
        user[k] = (struct user){&f, x, calloc(N, sizeof(double)), 0};
        ck_assert_int_eq(pthread_create(&thread[k], NULL, use, &user[k]), 0);
    }
    for (int k = 0; k < USERS; k++) {
        pthread_join(thread[k], NULL);
        ck_assert(!user[k].failed);
        ck_assert_msg(!memcmp(user[k].logp, logp, N * sizeof *logp), "plan %d: other bits", k);
        free(user[k].logp);
    }
    free(x.x);
    free(z.x);
    free(logp);
    close_flow(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flows (" DFO_REAL_NAME ")");
    TCase *tcase = tcase_create("flow");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, integrates_to_one, 0, KINDS);
    tcase_add_loop_test(tcase, samples_follow, 0, KINDS);
    tcase_add_loop_test(tcase, gradients, 0, KINDS);
    tcase_add_loop_test(tcase, same_bits, 0, KINDS);
    tcase_add_test(tcase, wrong_shapes);
    tcase_add_loop_test(tcase, bad_row, 0, 2 * KINDS);
    tcase_add_loop_test(tcase, several_plans, 0, KINDS);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
