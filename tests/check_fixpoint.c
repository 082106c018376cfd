/* Fixed points: contractions whose fixed points are known, Anderson's iterations against Banach's, rows alone, what goes wrong.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fixpoint.h>
#include "ctxfix.h"
#include "util.h"

#define TOL (IS_DOUBLE ? 1e-12 : 1e-6)

/* ---- maps */

enum { D = 6, N = 9 };

/* g(z) = A (z - w) + w with a symmetric matrix of eigenvalues 0.9 .. -0.6, the row's w found again from a table.  */
struct linear {
    double a[D][D], w[N][D];
    int    bend;                           /* g(z) = w + (tanh(B z) - tanh(B w)) / 2 */
    size_t first;
};

static dfo_status linear_eval(const dfo_map *map, dfo_run *run, dfo_batch z, dfo_batch g)
{
    const struct linear *l = map->state;
    (void)run;
    for (size_t i = 0; i < z.n; i++) {
        const double *w = l->w[l->first + i];
        for (size_t j = 0; j < D; j++) {
            double here = 0, there = 0;
            for (size_t k = 0; k < D; k++) {
                here += l->a[j][k] * (double)dfo_row(z, i)[k];
                there += l->a[j][k] * w[k];
            }
            dfo_row(g, i)[j] = (dfo_real)(w[j] + (l->bend ? (tanh(here) - tanh(there)) : here - there));
        }
    }
    return DFO_OK;
}

static struct linear linear_of(test_rng *rng, int bend)
{
    struct linear l = {.bend = bend};
    double q[D][D] = {{0}}, v[D], size = 0;
    for (size_t j = 0; j < D; j++) {
        v[j] = test_rng_normal(rng);
        size += v[j] * v[j];
    }
    for (size_t j = 0; j < D; j++)
        for (size_t k = 0; k < D; k++)
            q[j][k] = (j == k) - 2 * v[j] * v[k] / size;       /* a reflection */
    for (size_t j = 0; j < D; j++)
        for (size_t k = 0; k < D; k++)
            for (size_t e = 0; e < D; e++)
                l.a[j][k] += q[j][e] * (0.9 - 0.3 * (double)e) * q[k][e];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++)
            l.w[i][j] = (bend ? 0.3 : 2) * test_rng_normal(rng);
    return l;
}

/* Kepler's equation E = M + e sin E, of rows of M = E - e sin E.  */
static const double anomaly[] = {0.3, 1.2, 2.9, -2}, eccentric = 0.8;

static dfo_status kepler_eval(const dfo_map *map, dfo_run *run, dfo_batch z, dfo_batch g)
{
    (void)map;
    (void)run;
    for (size_t i = 0; i < z.n; i++) {
        double m = anomaly[i] - eccentric * sin(anomaly[i]);
        dfo_row(g, i)[0] = (dfo_real)(m + eccentric * sin((double)dfo_row(z, i)[0]));
    }
    return DFO_OK;
}

static dfo_status cosine_eval(const dfo_map *map, dfo_run *run, dfo_batch z, dfo_batch g)
{
    const double *by = map->state;
    (void)run;
    for (size_t i = 0; i < z.n; i++)
        dfo_row(g, i)[0] = (dfo_real)(by ? i == 2 ? *by * (double)dfo_row(z, i)[0] + 1 : 0 : cos((double)dfo_row(z, i)[0]));
    return DFO_OK;
}

static dfo_fixpoint_options options_of(size_t depth)
{
    dfo_fixpoint_options o;
    dfo_fixpoint_defaults(&o);
    o.depth = depth;
    o.rtol = o.atol = TOL;
    o.most = 2000;
    return o;
}

static dfo_fixpoint_report find(const dfo_map *map, size_t depth, dfo_batch z)
{
    dfo_fixpoint_options o = options_of(depth);
    dfo_fixpoint_report r;
    ck_assert_msg(dfo_fixpoint_find(ctx, &o, map, z, &r) == DFO_OK, "%s", dfo_ctx_error(ctx));
    return r;
}

/* ---- what is found */

/* Rows further apart than they are long; Banach's iteration contracts by the largest eigenvalue, Anderson's ends with the D
 * differences there are.  */
START_TEST(linear_maps)
{
    test_rng rng = test_rng_new(test_seed());
    struct linear l = linear_of(&rng, _i);
    dfo_map map = {.eval = linear_eval, .state = &l, .d = D};
    uint64_t taken[3];
    for (size_t k = 0; k < 3; k++) {
        const size_t depth[] = {0, 3, 8};
        dfo_real x[N * (D + 2)];
        dfo_batch z = {x, N, D, D + 2};
        for (size_t i = 0; i < N * (D + 2); i++)
            x[i] = 77;
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < D; j++)
                dfo_row(z, i)[j] = 0;
        dfo_fixpoint_report r = find(&map, depth[k], z);
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j < D; j++)
                ck_assert_msg(fabs((double)dfo_row(z, i)[j] - l.w[i][j]) < 60 * TOL, "depth %zu, row %zu: %g, expected %g", depth[k], i,
                              (double)dfo_row(z, i)[j], l.w[i][j]);
            ck_assert(x[i * (D + 2) + D] == 77);
        }
        taken[k] = r.iterations;
        if (!k && !_i)
            ck_assert_msg(r.contraction > 0.8 && r.contraction < 0.91, "contraction %g", r.contraction);
        ck_assert(r.contraction > 0 && r.contraction < 1);
    }
    ck_assert_msg(taken[1] < taken[0] && taken[2] < taken[0] / 3 && (_i || taken[2] <= (IS_DOUBLE ? D + 6 : D + 9)),
                  "Banach %llu iterations, Anderson %llu and %llu", (unsigned long long)taken[0], (unsigned long long)taken[1],
                  (unsigned long long)taken[2]);
}
END_TEST

START_TEST(known_numbers)
{
    dfo_map kepler = {.eval = kepler_eval, .d = 1}, cosine = {.eval = cosine_eval, .d = 1};
    uint64_t taken[2][2];
    for (size_t k = 0; k < 2; k++) {
        dfo_real e[4] = {0, 0, 0, 0}, c[1] = {1};
        taken[0][k] = find(&kepler, k * 4, dfo_batch_of(e, 4, 1)).iterations;
        for (size_t i = 0; i < 4; i++)
            ck_assert_msg(fabs((double)e[i] - anomaly[i]) < 20 * TOL, "%g, expected %g", (double)e[i], anomaly[i]);
        dfo_fixpoint_report r = find(&cosine, k * 4, dfo_batch_of(c, 1, 1));
        ck_assert(fabs((double)c[0] - 0.73908513321516064) < 10 * TOL);
        ck_assert_msg(k || fabs(r.contraction - sin(0.73908513321516064)) < 0.05, "contraction %g", r.contraction);
        taken[1][k] = r.iterations;
    }
    for (size_t i = 0; i < 2; i++)
        ck_assert_msg(taken[i][1] * 2 < taken[i][0], "Banach %llu iterations, Anderson %llu", (unsigned long long)taken[i][0],
                      (unsigned long long)taken[i][1]);
}
END_TEST

/* A row by itself has the same bits, and one that is done stays as it is.  */
START_TEST(rows_alone)
{
    test_rng rng = test_rng_new(test_seed());
    struct linear l = linear_of(&rng, 1);
    dfo_map map = {.eval = linear_eval, .state = &l, .d = D};
    for (size_t depth = 0; depth < 6; depth += 5) {
        dfo_real all[N * D] = {0}, one[D];
        for (size_t j = 0; j < D; j++)
            all[3 * D + j] = (dfo_real)l.w[3][j];      /* done at once */
        l.first = 0;
        find(&map, depth, dfo_batch_of(all, N, D));
        for (l.first = 0; l.first < N; l.first++) {
            for (size_t j = 0; j < D; j++)
                one[j] = l.first == 3 ? (dfo_real)l.w[3][j] : 0;
            dfo_fixpoint_report r = find(&map, depth, dfo_batch_of(one, 1, D));
            ck_assert(l.first != 3 || (r.iterations <= 2));
            ck_assert_msg(!memcmp(one, all + l.first * D, sizeof one), "row %zu", l.first);
        }
    }
}
END_TEST

/* Exactly the memory that it says; no rows.  */
START_TEST(plain_run)
{
    test_rng rng = test_rng_new(test_seed());
    struct linear l = linear_of(&rng, 0);
    dfo_map map = {.eval = linear_eval, .state = &l, .d = D};
    dfo_fixpoint_options o = options_of(5);
    dfo_real z[N * D] = {0};
    dfo_fixpoint_report r = {7, 7};
    dfo_run run = {.arena_size = dfo_fixpoint_scratch(&o, &map, N)};
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    ck_assert_int_eq(dfo_fixpoint_solve(&o, &map, &run, dfo_batch_of(z, N, D), NULL), DFO_OK);
    ck_assert_uint_eq(run.arena_used, 0);
    ck_assert_int_eq(dfo_fixpoint_solve(&o, &map, &run, dfo_batch_of(z, 0, D), &r), DFO_OK);
    ck_assert(r.iterations == 0 && r.contraction == 0);
    free(run.arena);
}
END_TEST

/* ---- what goes wrong */

START_TEST(failures)
{
    const double away = 2, never = -1, nothing = NAN;
    dfo_map map = {.eval = cosine_eval, .d = 1};
    static const struct { const char *words; double regularisation, rtol, atol; size_t depth, most, d; dfo_status status; } bad[] = {
        {"depth 17, at most 16", 0, 1e-3, 0, 17, 9, 1, DFO_EARG},
        {"regularisation -1", -1, 1e-3, 0, 2, 9, 1, DFO_EARG},
        {"rtol 0, atol 0", 0, 0, 0, 2, 9, 1, DFO_EARG},
        {"rtol nan", 0, NAN, 0, 2, 9, 1, DFO_EARG},
        {"at least 1 iteration", 0, 1e-3, 0, 2, 0, 1, DFO_EARG},
        {"expected rows of 1, got rows of 2", 0, 1e-3, 0, 2, 9, 2, DFO_ESHAPE},
    };
    dfo_real z[4] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dfo_fixpoint_options o = {bad[i].depth, bad[i].regularisation, bad[i].rtol, bad[i].atol, bad[i].most};
        ck_assert_int_eq(dfo_fixpoint_find(ctx, &o, &map, dfo_batch_of(z, 2, bad[i].d), NULL), bad[i].status);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].words) != NULL, "%s", dfo_ctx_error(ctx));
    }
    dfo_fixpoint_options o = options_of(0);
    o.most = 20;
    map.state = &never;                    /* 1, 0, 1, 0: no contraction */
    ck_assert_int_eq(dfo_fixpoint_find(ctx, &o, &map, dfo_batch_of(z, 4, 1), NULL), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "row 2: not found in 20 iterations, |g(z) - z| is 1, after 1") != NULL, "%s", dfo_ctx_error(ctx));
    map.state = &away;
    o.most = 5000;
    memset(z, 0, sizeof z);
    ck_assert_int_eq(dfo_fixpoint_find(ctx, &o, &map, dfo_batch_of(z, 4, 1), NULL), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "row 2, iteration 1") && strstr(dfo_ctx_error(ctx), "not finite"), "%s", dfo_ctx_error(ctx));
    map.state = &nothing;
    for (size_t depth = 0; depth < 3; depth++) {
        o.depth = depth;
        memset(z, 0, sizeof z);
        ck_assert_int_eq(dfo_fixpoint_find(ctx, &o, &map, dfo_batch_of(z, 4, 1), NULL), DFO_ENUM);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), "fixed point, row 2, iteration 1: not finite") != NULL, "%s", dfo_ctx_error(ctx));
    }
    map.state = &away;                     /* Anderson's line through two iterates finds what is no contraction's too */
    o.depth = 1;
    memset(z, 0, sizeof z);
    ck_assert_int_eq(dfo_fixpoint_find(ctx, &o, &map, dfo_batch_of(z, 4, 1), NULL), DFO_OK);
    ck_assert(fabs((double)z[2] + 1) < 10 * TOL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fixed points " DFO_REAL_NAME);
    TCase *t = tcase_create("fixpoint");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, linear_maps, 0, 2);
    tcase_add_test(t, known_numbers);
    tcase_add_test(t, rows_alone);
    tcase_add_test(t, plain_run);
    tcase_add_test(t, failures);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
