/* Densities as laws, for every registered type: exp(log p) integrates to one in one and two
 * dimensions, draws follow it column by column (Kolmogorov-Smirnov) and jointly (entropy).
 *
 * Those that give a bound from below in place of log p are left out; check_markov.c asks whether theirs is one.
 *
 * Integrals are sums over x = sinh(t), t evenly spaced, whose error falls exponentially for smooth
 * densities and which reaches into heavy tails; a box has a plain grid.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "distconf.h"
#include "distfix.h"
#include "util.h"

#define DRAWS 20000
#define BLOCK 64

static test_rng rng;

/* Points of one axis and their weights: sum weight f(x) is about the integral of f.  */
struct axis {
    size_t n;
    double *x, *weight, *density, *cumulated;
    double tolerance; /* of an integral over it */
};

static struct axis axis_of(const char *type, size_t d)
{
    int box = !strcmp(type, "box"), laplace = !strcmp(type, "laplace"),
        heavy = !strncmp(type, "student", 7);
    double reach = box ? 3 : heavy ? 1e8 : 60, end = box ? reach : asinh(reach);
    struct axis a = {.n = d == 1 ? 4001 : box || laplace ? 1501 : 501};
    a.x = calloc(4 * a.n, sizeof *a.x);
    ck_assert_ptr_nonnull(a.x);
    a.weight = a.x + a.n;
    a.density = a.weight + a.n;
    a.cumulated = a.density + a.n;
    int estimated = !strcmp(type, "resampled");      /* its constant is, from a million draws */
    a.tolerance = box ? 0.02 : estimated ? 4e-3 : laplace ? (d == 1 ? 1e-4 : 1e-3) : 2e-5;
    double h = 2 * end / (double)(a.n - 1);
    for (size_t i = 0; i < a.n; i++) {
        double t = -end + h * (double)i;
        a.x[i] = box ? t : sinh(t);
        a.weight[i] = box ? h : h * cosh(t);
    }
    return a;
}

/* A density and one condition for all rows.  */
struct law {
    struct distfix f;
    struct distconf conf;
    dfo_real c[BLOCK * 8], x[BLOCK * 2];
    char what[128];
};

static dfo_cond law_cond(struct law *l, size_t n)
{
    dfo_cond cond = {.n = l->conf.parts};
    for (size_t p = 0, at = 0; p < cond.n; p++) {
        cond.part[p].rows = dfo_batch_of(l->c + at * BLOCK, n, l->conf.cond_d[p]);
        cond.part[p].shape = dfo_shape_vector(l->conf.cond_d[p]);
        at += l->conf.cond_d[p];
    }
    return cond;
}

static void open_law(struct law *l, const char *type, size_t d, int variant)
{
    memset(l, 0, sizeof *l);
    distconf_make(&l->conf, type, d, variant, &rng);
    if (!strcmp(type, "resampled"))
        json_object_set_new(l->conf.json, "draws", json_integer(1000000));
    distfix_open(&l->f, l->conf.json, d, l->conf.parts, l->conf.cond_d, BLOCK);
    distconf_shake(&l->conf, dfo_store_weights(l->f.store), dfo_store_weights_size(l->f.store),
                   &rng);
    distfix_prepare(&l->f);
    for (size_t p = 0, at = 0; p < l->conf.parts; at += l->conf.cond_d[p++])
        for (size_t j = 0; j < l->conf.cond_d[p]; j++) {
            dfo_real value = (dfo_real)test_rng_normal(&rng);
            for (size_t i = 0; i < BLOCK; i++)
                l->c[at * BLOCK + i * l->conf.cond_d[p] + j] = value;
        }
    snprintf(l->what, sizeof l->what, "%s d=%zu variant %d (%s, seed %llu)", type, d, variant,
             DFO_REAL_NAME, (unsigned long long)test_seed());
}

static void close_law(struct law *l)
{
    distfix_close(&l->f);
    distconf_free(&l->conf);
}

/* log p of n points, d columns each.  */
static void law_log_prob(struct law *l, size_t n, const double *x, double *out)
{
    size_t d = l->conf.d;
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t m = n - first < BLOCK ? n - first : BLOCK;
        dfo_cond cond = law_cond(l, m);
        for (size_t i = 0; i < m * d; i++)
            l->x[i] = (dfo_real)x[first * d + i];
        distfix_log_prob(&l->f, dfo_batch_of(l->x, m, d), &cond, out + first);
    }
}

/* Fills density with the integral over the other column (d = 2), gives the integral of p and of p
 * log p.  */
static void marginal(struct law *l, struct axis *a, int column, double *one, double *plogp)
{
    size_t d = l->conf.d, m = d == 1 ? 1 : a->n;
    double *x = calloc(m * (d + 1), sizeof *x), *out = x + m * d;
    ck_assert_ptr_nonnull(x);
    *one = *plogp = 0;
    for (size_t i = 0; i < a->n; i++) {
        for (size_t k = 0; k < m; k++) {
            x[k * d + (d == 1 ? 0 : (size_t)column)] = a->x[i];
            if (d == 2)
                x[k * d + (size_t)(1 - column)] = a->x[k];
        }
        law_log_prob(l, m, x, out);
        a->density[i] = 0;
        for (size_t k = 0; k < m; k++) {
            double weight = d == 1 ? 1 : a->weight[k], p = exp(out[k]);
            a->density[i] += weight * p;
            if (p > 0)
                *plogp += a->weight[i] * weight * p * out[k];
        }
        *one += a->weight[i] * a->density[i];
        a->cumulated[i] = *one - 0.5 * a->weight[i] * a->density[i];
    }
    free(x);
}

static double cdf(const struct axis *a, double x)
{
    size_t low = 0, high = a->n - 1;
    if (x <= a->x[0])
        return 0;
    if (x >= a->x[high])
        return 1;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        *(a->x[middle] <= x ? &low : &high) = middle;
    }
    double part = (x - a->x[low]) / (a->x[high] - a->x[low]);
    return a->cumulated[low] + part * (a->cumulated[high] - a->cumulated[low]);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* sqrt(n) D of Kolmogorov and Smirnov; sorts the draws.  Above 3 it happens by chance once in 30
 * million.  */
static double kolmogorov(const struct axis *a, size_t n, double *draws)
{
    double worst = 0;
    qsort(draws, n, sizeof *draws, rising);
    for (size_t i = 0; i < n; i++) {
        double f = cdf(a, draws[i]);
        worst = fmax(worst, fmax(f - (double)i / (double)n, (double)(i + 1) / (double)n - f));
    }
    return worst * sqrt((double)n);
}

/* columns[j] (DRAWS) and log p of DRAWS draws.  */
static void draw(struct law *l, double *const columns[2], double *logp)
{
    size_t d = l->conf.d;
    l->f.run.key.row = test_rng_next(&rng) % 1000000;
    for (size_t first = 0; first < DRAWS; first += BLOCK) {
        size_t m = DRAWS - first < BLOCK ? DRAWS - first : BLOCK;
        dfo_cond cond = law_cond(l, m);
        dfo_batch x = dfo_batch_of(l->x, m, d);
        ck_assert_int_eq(dfo_dist_sample(l->f.dist, &l->f.run, x, &cond, 1), DFO_OK);
        distfix_log_prob(&l->f, x, &cond, logp + first);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < d; j++)
                columns[j][first + i] = (double)l->x[i * d + j];
        l->f.run.key.row += m;
    }
}

static void check_law(const char *type, size_t d, int variant)
{
    struct law l;
    struct axis a = axis_of(type, d);
    double *memory = calloc(3 * DRAWS, sizeof *memory), *columns[2] = {memory, memory + DRAWS},
           *logp = memory + 2 * DRAWS, one, plogp, mean = 0, square = 0;
    ck_assert_ptr_nonnull(memory);
    open_law(&l, type, d, variant);
    draw(&l, columns, logp);
    for (int j = 0; j < (int)d; j++) {
        marginal(&l, &a, j, &one, &plogp);
        ck_assert_msg(fabs(one - 1) <= a.tolerance, "%s: the integral is %.9g", l.what, one);
        double distance = kolmogorov(&a, DRAWS, columns[j]);
        ck_assert_msg(distance < 3 + a.tolerance * sqrt(DRAWS),
                      "%s: column %d: sqrt(n) times the distance of %d draws is %g", l.what, j,
                      DRAWS, distance);
    }
    for (size_t i = 0; i < DRAWS; i++) {
        mean += logp[i] / DRAWS;
        square += logp[i] * logp[i] / DRAWS;
    }
    double error = sqrt(fmax(square - mean * mean, 0) / DRAWS);
    ck_assert_msg(fabs(mean - plogp) <= 6 * error + 3 * a.tolerance * (1 + fabs(plogp)),
                  "%s: mean log p of draws is %g +- %g, by integration %g", l.what, mean, error,
                  plogp);
    close_law(&l);
    free(memory);
    free(a.x);
}

START_TEST(laws)
{
    rng = test_rng_new(test_seed());
    const char *type = dfo_dist_type((size_t)_i);
    if (!strncmp(type, "diffusion-", 10))
        return;
    for (int variant = 0; variant < distconf_variants(type); variant++)
        check_law(type, 1, variant);
    check_law(type, 2, 1);
    if (distconf_variants(type) > 2)
        check_law(type, 2, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("laws of densities (" DFO_REAL_NAME ")");
    TCase *tc = tcase_create("dist");
    tcase_add_loop_test(tc, laws, 0, (int)dfo_dist_types());
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
