/* The contract of a density, for every registered type in several configurations: gradients, draws,
 * same bits, strides, odd rows, description, memory.  That exp(log p) integrates to one and that
 * draws follow it is in contract_dist_law.c.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "distconf.h"
#include "distfix.h"
#include "oom.h"
#include "util.h"

#define DOUBLE_BUILD (sizeof(dfo_real) == sizeof(double))
#define ROWS 70 /* more than a panel of 64 */

static test_rng rng;

/* One configuration with rows to try it on.  */
struct trial {
    struct distfix f;
    struct distconf conf;
    dfo_real x[ROWS * 8], c[ROWS * 8];
    dfo_batch rows;
    dfo_cond cond;
    char what[256];
};

static void open_trial(struct trial *t, const char *type, size_t d, int variant, size_t n)
{
    memset(t, 0, sizeof *t);
    distconf_make(&t->conf, type, d, variant, &rng);
    distfix_open(&t->f, t->conf.json, d, t->conf.parts, t->conf.cond_d, ROWS);
    distconf_shake(&t->conf, dfo_store_weights(t->f.store), dfo_store_weights_size(t->f.store),
                   &rng);
    distfix_prepare(&t->f);
    t->rows = dfo_batch_of(t->x, n, d);
    t->cond.n = t->conf.parts;
    for (size_t p = 0, at = 0; p < t->conf.parts; p++) {
        t->cond.part[p].rows = dfo_batch_of(t->c + at * ROWS, n, t->conf.cond_d[p]);
        t->cond.part[p].shape = dfo_shape_vector(t->conf.cond_d[p]);
        at += t->conf.cond_d[p];
    }
    for (size_t i = 0; i < sizeof t->c / sizeof *t->c; i++)
        t->c[i] = (dfo_real)test_rng_normal(&rng);
    t->f.run.key.row = 1000;
    dfo_status status = dfo_dist_sample(t->f.dist, &t->f.run, t->rows, &t->cond, 1);
    ck_assert_msg(status == DFO_OK, "%s", t->f.run.text);
    snprintf(t->what, sizeof t->what, "%s d=%zu variant %d (%s)", type, d, variant, DFO_REAL_NAME);
}

static void close_trial(struct trial *t)
{
    distfix_close(&t->f);
    distconf_free(&t->conf);
}

static double total(struct trial *t, const double *weight)
{
    double out[ROWS], sum = 0;
    distfix_log_prob(&t->f, t->rows, &t->cond, out);
    for (size_t i = 0; i < t->rows.n; i++)
        sum += weight[i] * out[i];
    return sum;
}

/* The central difference of sum weight_i log p_i in *at.  */
static double difference(struct trial *t, const double *weight, dfo_real *at, int prepare)
{
    dfo_real keep = *at, h = (dfo_real)(DOUBLE_BUILD ? 1e-5 : 1.0 / 256) *
                             (dfo_real)fmax(1, fabs((double)keep));
    double value[2], where[2];
    for (int side = 0; side < 2; side++) {
        *at = keep + (side ? h : -h);
        where[side] = (double)*at;
        if (prepare)
            distfix_prepare(&t->f);
        value[side] = total(t, weight);
    }
    *at = keep;
    if (prepare)
        distfix_prepare(&t->f);
    return (value[1] - value[0]) / (where[1] - where[0]);
}

static void agree(const struct trial *t, const char *what, size_t at, double got, double want)
{
    double tolerance = DOUBLE_BUILD ? 2e-7 : 2e-2;
    ck_assert_msg(fabs(got - want) <= tolerance * (10 + fabs(want)),
                  "%s: gradient of %s %zu is %.12g, differences give %.12g", t->what, what, at, got,
                  want);
}

/* Entry j of a parameter: of the weights, else as given, else the default.  */
static double parameter(struct trial *t, const char *name, size_t j, double otherwise)
{
    char path[64];
    snprintf(path, sizeof path, "base.%s", name);
    const dfo_entry *e = dfo_store_find(t->f.store, path);
    json_t *given = json_object_get(t->conf.json, name);
    if (e)
        return (double)dfo_store_weights(t->f.store)[e->offset + j];
    return given ? json_real_value(json_array_get(given, j)) : otherwise;
}

/* Laplace has no derivative at its centre, a box none at its edge: rows are moved where they are
 * near.  */
static void avoid_kinks(struct trial *t)
{
    const char *type = t->f.dist->ops->type;
    for (size_t i = 0; i < t->rows.n; i++)
        for (size_t j = 0; j < t->rows.d; j++) {
            double x = (double)dfo_row(t->rows, i)[j], loc = parameter(t, "loc", j, 0);
            if (!strcmp(type, "laplace") && fabs(x - loc) < 0.05)
                x = loc + 0.05;
            if (!strcmp(type, "box"))
                x = fmin(fmax(x, parameter(t, "low", j, 0) + 0.05),
                         parameter(t, "high", j, 1) - 0.05);
            dfo_row(t->rows, i)[j] = (dfo_real)x;
        }
}

static void check_gradients(const char *type, size_t d, int variant)
{
    struct trial t;
    dfo_real gx[ROWS * 8], gc[ROWS * 8];
    double weight[ROWS];
    size_t n = test_rng_between(&rng, 1, 4);
    open_trial(&t, type, d, variant, n);
    avoid_kinks(&t);
    for (size_t i = 0; i < n; i++)
        weight[i] = test_rng_real(&rng, -1, 1);
    for (size_t i = 0; i < ROWS * 8; i++)
        gx[i] = gc[i] = 2; /* they are added to */
    dfo_cond gcond = t.cond;
    for (size_t p = 0; p < t.cond.n; p++)
        gcond.part[p].rows.x = gc + (t.cond.part[p].rows.x - t.c);
    t.f.run.grads = t.f.grads;
    size_t mark = t.f.run.arena_used;
    dfo_status status =
        dfo_dist_log_prob_grad(t.f.dist, &t.f.run, t.rows, &t.cond, weight, dfo_batch_of(gx, n, d),
                               t.conf.parts ? &gcond : NULL);
    ck_assert_msg(status == DFO_OK, "%s: %s", t.what, t.f.run.text);
    ck_assert_uint_eq(t.f.run.arena_used, mark);
    t.f.run.grads = NULL;
    for (size_t i = 0; i < n * d && strcmp(type, "diffusion-binary"); i++)        /* bits have no gradient */
        agree(&t, "x", i, (double)gx[i] - 2, difference(&t, weight, &t.x[i], 0));
    for (size_t p = 0; p < t.cond.n; p++)
        for (size_t i = 0; i < n * t.conf.cond_d[p]; i++) {
            dfo_real *at = t.cond.part[p].rows.x + i;
            agree(&t, "condition", i, (double)gc[at - t.c] - 2, difference(&t, weight, at, 0));
        }
    dfo_real *w = dfo_store_weights(t.f.store);
    for (size_t i = 0; i < dfo_store_weights_size(t.f.store); i++)
        agree(&t, "weight", i, (double)t.f.grads[i], difference(&t, weight, &w[i], 1));
    close_trial(&t);
}

typedef void (*contract_check)(const char *type, size_t d, int variant);

/* Every type, d = 1, 2 and a random one, every variant that the type has.  */
static void for_all(contract_check check)
{
    rng = test_rng_new(test_seed());
    for (size_t i = 0; i < dfo_dist_types(); i++)
        for (int variant = 0; variant < distconf_variants(dfo_dist_type(i)); variant++) {
            check(dfo_dist_type(i), 1, variant);
            check(dfo_dist_type(i), 2, variant);
            check(dfo_dist_type(i), test_rng_between(&rng, 3, 7), variant);
        }
}

START_TEST(gradients)
{
    for_all(check_gradients);
}
END_TEST

/* log p is added, gradients nobody wants are left out, and the rows between d and ld are nobody's.
 */
static void check_strides(const char *type, size_t d, int variant)
{
    struct trial t;
    dfo_real wide[ROWS * 11], gwide[ROWS * 11], sampled[ROWS * 11];
    double plain[ROWS], strided[ROWS], weight[ROWS];
    size_t n = test_rng_between(&rng, 1, ROWS), ld = d + test_rng_between(&rng, 1, 3);
    const dfo_real canary = 12345;
    open_trial(&t, type, d, variant, n);
    distfix_log_prob(&t.f, t.rows, &t.cond, plain);
    for (size_t i = 0; i < n * ld; i++)
        wide[i] = gwide[i] = sampled[i] = canary;
    dfo_batch x = {wide, n, d, ld}, gx = {gwide, n, d, ld}, y = {sampled, n, d, ld};
    for (size_t i = 0; i < n; i++) {
        memcpy(dfo_row(x, i), dfo_row(t.rows, i), d * sizeof *wide);
        memset(dfo_row(gx, i), 0, d * sizeof *wide);
        strided[i] = 0.5;
        weight[i] = 1;
    }
    ck_assert_int_eq(dfo_dist_log_prob(t.f.dist, &t.f.run, x, &t.cond, strided), DFO_OK);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(strided[i] - 0.5 - plain[i]) <= 1e-13 * (1 + fabs(plain[i])),
                      "%s: row %zu: %.17g, strided %.17g", t.what, i, plain[i], strided[i] - 0.5);
    ck_assert_int_eq(dfo_dist_log_prob_grad(t.f.dist, &t.f.run, x, &t.cond, weight, gx, NULL),
                     DFO_OK);
    dfo_batch unwanted = {0};
    ck_assert_int_eq(dfo_dist_log_prob_grad(t.f.dist, &t.f.run, x, &t.cond, weight, unwanted, NULL),
                     DFO_OK);
    ck_assert_int_eq(dfo_dist_sample(t.f.dist, &t.f.run, y, &t.cond, 1), DFO_OK);
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(!memcmp(dfo_row(y, i), dfo_row(t.rows, i), d * sizeof *wide),
                      "%s: row %zu drawn differently", t.what, i);
        for (size_t j = d; j < ld; j++)
            ck_assert_msg(dfo_row(x, i)[j] == canary && dfo_row(gx, i)[j] == canary &&
                              dfo_row(y, i)[j] == canary,
                          "%s: row %zu: wrote beyond its columns", t.what, i);
    }
    dfo_batch none = {NULL, 0, d, d};
    dfo_cond no_rows = dfo_cond_rows(&t.cond, 0, 0);
    ck_assert_int_eq(dfo_dist_log_prob(t.f.dist, &t.f.run, none, &no_rows, NULL), DFO_OK);
    ck_assert_int_eq(dfo_dist_log_prob_grad(t.f.dist, &t.f.run, none, &no_rows, NULL, none, NULL),
                     DFO_OK);
    ck_assert_int_eq(dfo_dist_sample(t.f.dist, &t.f.run, none, &no_rows, 1), DFO_OK);
    close_trial(&t);
}

START_TEST(strides)
{
    for_all(check_strides);
}
END_TEST

/* Row i depends on the key and i: the same bits in any blocks, others for another row, seed or
 * step.  */
static void check_keys(const char *type, size_t d, int variant)
{
    struct trial t;
    dfo_real again[ROWS * 8];
    double whole[ROWS], part[ROWS];
    open_trial(&t, type, d, variant, ROWS);
    distfix_log_prob(&t.f, t.rows, &t.cond, whole);
    uint64_t first_row = t.f.run.key.row;
    for (size_t first = 0, n; first < ROWS; first += n) {
        n = test_rng_between(&rng, 1, 9);
        n = n < ROWS - first ? n : ROWS - first;
        dfo_cond cond = dfo_cond_rows(&t.cond, first, n);
        t.f.run.key.row = first_row + first;
        ck_assert_int_eq(
            dfo_dist_sample(t.f.dist, &t.f.run, dfo_batch_of(again + first * d, n, d), &cond, 1),
            DFO_OK);
        ck_assert_uint_eq(t.f.run.key.row, first_row + first);
        distfix_log_prob(&t.f, dfo_batch_rows(t.rows, first, n), &cond, part);
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(!memcmp(&part[i], &whole[first + i], sizeof *part),
                          "%s: log p of row %zu depends on the block: %.17g, %.17g", t.what,
                          first + i, part[i], whole[first + i]);
    }
    ck_assert_msg(!memcmp(again, t.x, ROWS * d * sizeof *again), "%s: draws depend on the block",
                  t.what);
    for (int other = 0; other < 3; other++) {
        dfo_key keep = t.f.run.key;
        t.f.run.key.row = first_row + (other == 0);
        t.f.run.key.seed += other == 1;
        t.f.run.key.step += other == 2;
        ck_assert_int_eq(
            dfo_dist_sample(t.f.dist, &t.f.run, dfo_batch_of(again, ROWS, d), &t.cond, 1), DFO_OK);
        ck_assert_msg(memcmp(again, t.x, ROWS * d * sizeof *again) != 0, "%s: key has no effect (%d)",
                      t.what, other);
        t.f.run.key = keep;
    }
    close_trial(&t);
}

START_TEST(keys)
{
    for_all(check_keys);
}
END_TEST

/* temperature t: draws lie t times as far from where t = 0 puts them.  */
static void check_temperature(const char *type, size_t d, int variant)
{
    struct trial t;
    dfo_real y[3][ROWS * 8];
    static const double temperature[3] = {0, 0.5, 1};
    open_trial(&t, type, d, variant, ROWS);
    if (t.f.dist->ops->bound) {          /* a chain's steps: its spread is not one number */
        close_trial(&t);
        return;
    }
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(dfo_dist_sample(t.f.dist, &t.f.run, dfo_batch_of(y[k], ROWS, d), &t.cond,
                                         temperature[k]),
                         DFO_OK);
    for (size_t i = 0; i < ROWS * d; i++) {
        double half = (double)y[1][i] - (double)y[0][i], full = (double)y[2][i] - (double)y[0][i];
        ck_assert_msg(fabs(half - 0.5 * full) <=
                          16 * DFO_REAL_EPS * (1 + fabs((double)y[0][i]) + fabs(full)),
                      "%s: temperature 0.5 moves by %g, 1 by %g", t.what, half, full);
    }
    close_trial(&t);
}

START_TEST(temperatures)
{
    for_all(check_temperature);
}
END_TEST

/* NaN gives NaN in its row alone, infinity no NaN but -infinity, and nothing hangs.  */
static void check_odd_rows(const char *type, size_t d, int variant)
{
    struct trial t;
    double out[ROWS], before[ROWS], weight[ROWS];
    dfo_real gx[ROWS * 8] = {0}, clean[ROWS * 8] = {0};
    open_trial(&t, type, d, variant, 5);
    distfix_log_prob(&t.f, t.rows, &t.cond, before);
    for (size_t i = 0; i < 5; i++)
        weight[i] = 1;
    ck_assert_int_eq(dfo_dist_log_prob_grad(t.f.dist, &t.f.run, t.rows, &t.cond, weight,
                                            dfo_batch_of(clean, 5, d), NULL),
                     DFO_OK);
    size_t j = test_rng_between(&rng, 0, d - 1);
    dfo_row(t.rows, 1)[j] = (dfo_real)NAN;
    dfo_row(t.rows, 3)[j] = (dfo_real)INFINITY;
    distfix_log_prob(&t.f, t.rows, &t.cond, out);
    ck_assert_msg(isnan(out[1]), "%s: NaN has log p %g", t.what, out[1]);
    ck_assert_msg(isinf(out[3]) && out[3] < 0, "%s: infinity has log p %g", t.what, out[3]);
    for (size_t i = 0; i < 5; i += 2)
        ck_assert(!memcmp(&out[i], &before[i], sizeof *out));
    ck_assert_int_eq(dfo_dist_log_prob_grad(t.f.dist, &t.f.run, t.rows, &t.cond, weight,
                                            dfo_batch_of(gx, 5, d), NULL),
                     DFO_OK);
    ck_assert_msg(isnan(gx[d + j]), "%s: NaN has gradient %g", t.what, (double)gx[d + j]);
    for (size_t i = 0; i < 5; i += 2)
        ck_assert(!memcmp(gx + i * d, clean + i * d, d * sizeof *gx));
    close_trial(&t);
}

START_TEST(odd_rows)
{
    for_all(check_odd_rows);
}
END_TEST

/* describe gives what makes the same density again, and describes itself the same.  */
static void check_description(const char *type, size_t d, int variant)
{
    struct trial t;
    struct distfix again;
    double out[ROWS], want[ROWS];
    open_trial(&t, type, d, variant, 10);
    json_t *first = json_object(), *second = json_object();
    ck_assert_int_eq(dfo_dist_describe(t.f.dist, first), DFO_OK);
    ck_assert_str_eq(json_string_value(json_object_get(first, "type")), type);
    char *text = json_dumps(first, JSON_REAL_PRECISION(17));
    json_t *read = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(read);
    distfix_open(&again, read, d, t.conf.parts, t.conf.cond_d, ROWS);
    size_t size = dfo_store_weights_size(t.f.store);
    ck_assert_uint_eq(dfo_store_weights_size(again.store), size);
    ck_assert_uint_eq(again.dist->count, t.f.dist->count);
    if (size)
        memcpy(dfo_store_weights(again.store), dfo_store_weights(t.f.store),
               size * sizeof(dfo_real));
    distfix_prepare(&again);
    again.run.key = t.f.run.key;
    ck_assert_int_eq(dfo_dist_describe(again.dist, second), DFO_OK);
    ck_assert_msg(json_equal(first, second), "%s: described differently: %s", t.what, text);
    distfix_log_prob(&t.f, t.rows, &t.cond, want);
    distfix_log_prob(&again, t.rows, &t.cond, out);
    ck_assert_msg(!memcmp(out, want, 10 * sizeof *out), "%s: another density after %s", t.what,
                  text);
    free(text);
    json_decref(first);
    json_decref(second);
    json_decref(read);
    distfix_close(&again);
    close_trial(&t);
}

START_TEST(description)
{
    for_all(check_description);
}
END_TEST

/* Creation (and description) with each allocation refused in turn.  */
static dfo_status create_and_describe(dfo_ctx *ctx, void *data)
{
    const struct distconf *conf = data;
    dfo_store *store = NULL;
    dfo_dist *dist = NULL;
    json_t *described = NULL;
    dfo_status status = dfo_store_new(ctx, &store);
    if (status == DFO_OK)
        status =
            distfix_create(ctx, store, conf->json, conf->d, conf->parts, conf->cond_d, 3, &dist);
    if (status == DFO_OK) {
        described = json_object();
        status = described ? dfo_dist_describe(dist, described)
                           : dfoi_fail(ctx, DFO_EMEM, "out of memory");
    }
    json_decref(described);
    dfo_dist_free(dist);
    dfo_store_free(store);
    return status;
}

static void check_allocations(const char *type, size_t d, int variant)
{
    struct distconf conf;
    if (d > 2)
        return;
    distconf_make(&conf, type, d, variant, &rng);
    oom_check(type, OOM_ALL, create_and_describe, &conf);
    distconf_free(&conf);
}

START_TEST(allocations)
{
    for_all(check_allocations);
}
END_TEST

static void check_no_allocation(const char *type, size_t d, int variant)
{
    struct trial t;
    double out[ROWS] = {0}, weight[ROWS] = {0};
    dfo_real gx[ROWS * 8] = {0};
    open_trial(&t, type, d, variant, ROWS);
    t.f.run.grads = t.f.grads;
    oom_count_begin();
    dfo_status status = dfo_dist_log_prob(t.f.dist, &t.f.run, t.rows, &t.cond, out);
    status |= dfo_dist_log_prob_grad(t.f.dist, &t.f.run, t.rows, &t.cond, weight,
                                     dfo_batch_of(gx, ROWS, d), NULL);
    status |= dfo_dist_sample(t.f.dist, &t.f.run, t.rows, &t.cond, 1);
    size_t taken = oom_count_end();
    ck_assert_int_eq(status, DFO_OK);
    ck_assert_msg(!taken, "%s: %zu allocations while running", t.what, taken);
    close_trial(&t);
}

START_TEST(no_allocation)
{
    for_all(check_no_allocation);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("contract of densities (" DFO_REAL_NAME ")");
    TCase *tc = tcase_create("dist");
    tcase_add_test(tc, gradients);
    tcase_add_test(tc, strides);
    tcase_add_test(tc, keys);
    tcase_add_test(tc, temperatures);
    tcase_add_test(tc, odd_rows);
    tcase_add_test(tc, description);
    tcase_add_test(tc, allocations);
    tcase_add_test(tc, no_allocation);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
