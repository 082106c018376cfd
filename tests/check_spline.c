/* The spline kernels against the reference vectors; check_spline_random.c and check_spline_edge.c
 * hold the program's other tests.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"
#include "spline_call.h"
#include "util.h"

/* ---- reference vectors: rows are the m values, features the nb ---- */

static struct call reference_call(ref_case r, ref_array rows)
{
    scalar_spline s = {.bins = (size_t)ref_number(r, "settings.bins", 0),
                       .circular = !strcmp(ref_text(r, "settings.tails", ""), "circular"),
                       .bound = ref_number(r, "settings.bound", 0),
                       .scale = 1,
                       .min_width = ref_number(r, "settings.min_width", 0),
                       .min_height = ref_number(r, "settings.min_height", 0),
                       .min_derivative = ref_number(r, "settings.min_derivative", 0)};
    struct call c = call_new(s, rows.shape[1], rows.shape[0]);
    static const char *const name[] = {"params.widths", "params.heights", "params.slopes"};
    for (size_t a = 0, first = 0; a < 3; a++) {
        ref_array p = ref_need(r, name[a]);
        size_t each = p.shape[2];
        for (size_t v = 0; v < p.n; v++)
            set_par(&c, v / each % c.nb, v / each / c.nb, first + v % each, p.data[v]);
        first += each;
    }
    return c;
}

static void from_rows(const struct call *c, const double *rows, dfo_real *to)
{
    for (size_t v = 0; v < c->nb * c->m; v++)
        to[v % c->nb * c->m + v / c->nb] = (dfo_real)rows[v];
}

static void compare(ref_case r, const char *what, size_t n, const double *got, const double *want,
                    double tolerance)
{
    double worst = ref_worst(n, got, want);
    ck_assert_msg(worst <= tolerance, "%s: %s: off by %.3g, allowed %.3g", r.name, what, worst,
                  tolerance);
}

static void compare_rows(const struct call *c, ref_case r, const char *what, const dfo_real *got,
                         const double *want, double tolerance)
{
    double *rows = malloc(c->nb * c->m * sizeof *rows);
    for (size_t v = 0; v < c->nb * c->m; v++)
        rows[v] = (double)got[v % c->nb * c->m + v / c->nb];
    compare(r, what, c->nb * c->m, rows, want, tolerance);
    free(rows);
}

static double tolerance(ref_case r, const char *key, double in_float)
{
    return IS_DOUBLE ? ref_tolerance(r, key) : in_float;
}

/* x from z.  Rounding z to float moves x by |dx/dz| as much, so that factor is allowed there.  */
static void compare_inverse(const struct call *c, ref_case r, const dfo_real *got,
                            const double *want)
{
    double bound = tolerance(r, "inverse", 1e-4);
    for (size_t v = 0; v < c->nb * c->m; v++) {
        size_t i = v / c->nb, f = v % c->nb;
        double z, logdet, error = fabs((double)got[f * c->m + i] - want[v]) / (1 + fabs(want[v]));
        scalar_forward(&c->scalar, c->raw + (f * c->m + i) * c->params, want[v], &z, &logdet);
        double factor = IS_DOUBLE ? 1 : fmax(1, exp(-logdet));
        ck_assert_msg(error <= bound * factor,
                      "%s: inverse: row %zu, feature %zu: off by %.3g, allowed %.3g", r.name, i, f,
                      error, bound * factor);
    }
}

static void compare_logdet(const struct call *c, ref_case r, double sign, const double *want,
                           double tolerance)
{
    double *ld = malloc(c->m * sizeof *ld);
    for (size_t i = 0; i < c->m; i++)
        ld[i] = sign * (double)c->ld[i];
    compare(r, sign > 0 ? "logdet" : "logdet of the inverse", c->m, ld, want, tolerance);
    free(ld);
}

typedef double scalar_pass(const scalar_spline *, const double *, double, double, double, double *);

/* Gradients, in c.g and c.gpar.  x: where the reference took them; used: where the kernel did (in
 * float, that is x rounded, or rebuilt from a rounded z): the difference this makes to the scalar
 * spline is allowed too.  */
static void compare_gradient(const struct call *c, ref_case r, const char *group, const char *row,
                             const char *seed, const double *x, const dfo_real *used,
                             scalar_pass *pass)
{
    static const char *const name[] = {"", "widths", "heights", "slopes"};
    char path[64];
    snprintf(path, sizeof path, "%s.%s", group, seed);
    ref_array g = ref_need(r, path), want[4];
    snprintf(path, sizeof path, "%s.seed_logdet", group);
    ref_array gl = ref_need(r, path);
    for (size_t a = 0; a < 4; a++) {
        snprintf(path, sizeof path, "%s.%s", group, a ? name[a] : row);
        want[a] = ref_need(r, path);
    }
    double bound = tolerance(r, "grad", 1e-3);
    double *here = malloc((c->params + 1) * sizeof *here),
           *there = malloc((c->params + 1) * sizeof *there);
    for (size_t v = 0; v < c->nb * c->m; v++) {
        size_t i = v / c->nb, f = v % c->nb, at = f * c->m + i;
        const double *raw = c->raw + at * c->params;
        here[0] = pass(&c->scalar, raw, x[v], g.data[v], gl.data[i], here + 1);
        there[0] = pass(&c->scalar, raw, (double)used[at], g.data[v], gl.data[i], there + 1);
        for (size_t a = 0, e = 0; a < 4; a++) {
            size_t each = a ? want[a].shape[2] : 1;
            for (size_t k = 0; k < each; k++, e++) {
                double w = want[a].data[v * each + k];
                double got = (double)(a ? c->gpar[par_at(c, f, i, e - 1)] : c->g[at]);
                double allowed =
                    bound * (1 + fabs(w)) + (IS_DOUBLE ? 0 : 2 * fabs(here[e] - there[e]));
                ck_assert_msg(fabs(got - w) <= allowed,
                              "%s: %s.%s: row %zu, feature %zu, %zu: got %.9g, expected %.9g",
                              r.name, group, a ? name[a] : row, i, f, k, got, w);
                if (IS_DOUBLE)
                    ck_assert_msg(fabs(here[e] - w) <= bound * (1 + fabs(w)),
                                  "%s: the scalar spline: got %.17g, "
                                  "expected %.17g",
                                  r.name, here[e], w);
            }
        }
    }
    free(here);
    free(there);
}

static void zero(dfo_real *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = 0;
}

START_TEST(reference_forward)
{
    ref_file *file = ref_open("spline_rq");
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case r = ref_at(file, i);
        if (!IS_DOUBLE && ref_double_only(r))
            continue;
        ref_array x = ref_need(r, "x"), z = ref_need(r, "z"), logdet = ref_need(r, "logdet");
        struct call c = reference_call(r, x);
        from_rows(&c, x.data, c.x);
        zero(c.ld, c.m);
        dfoi_spline_forward(&c.how, c.nb, c.m, c.par, c.x, c.ld);
        compare_rows(&c, r, "z", c.x, z.data, tolerance(r, "z", 1e-4));
        compare_logdet(&c, r, 1, logdet.data, tolerance(r, "logdet", 1e-4));

        from_rows(&c, z.data, c.x);
        zero(c.ld, c.m);
        dfoi_spline_inverse(&c.how, c.nb, c.m, c.par, c.x, c.ld);
        compare_inverse(&c, r, c.x, x.data);

        ref_array seed_z = ref_get(r, "grad.seed_z");
        if (seed_z.data) {
            from_rows(&c, z.data, c.x);
            from_rows(&c, seed_z.data, c.g);
            from_rows(&(struct call){.nb = 1, .m = c.m}, ref_need(r, "grad.seed_logdet").data,
                      c.ld);
            dfoi_spline_backward(&c.how, c.nb, c.m, c.par, c.x, c.g, c.ld, c.gpar);
            compare_inverse(&c, r, c.x, x.data);
            compare_gradient(&c, r, "grad", "x", "seed_z", x.data, c.x, scalar_backward);
        }
        call_free(&c);
    }
    ref_close(file);
}
END_TEST

START_TEST(reference_inverse)
{
    ref_file *file = ref_open("spline_rq_inverse");
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case r = ref_at(file, i);
        if (!IS_DOUBLE && ref_double_only(r))
            continue;
        ref_array x = ref_need(r, "x"), z = ref_need(r, "z"), logdet = ref_need(r, "logdet");
        struct call c = reference_call(r, z);
        from_rows(&c, z.data, c.x);
        zero(c.ld, c.m);
        dfoi_spline_inverse(&c.how, c.nb, c.m, c.par, c.x, c.ld);
        compare_inverse(&c, r, c.x, x.data);
        compare_logdet(&c, r, -1, logdet.data, tolerance(r, "logdet", 1e-4));

        ref_array seed_x = ref_get(r, "grad_inverse.seed_x");
        if (seed_x.data) {
            dfo_real *used = new_reals(x.n);
            from_rows(&c, x.data, c.x);
            from_rows(&c, x.data, used);
            from_rows(&c, seed_x.data, c.g);
            from_rows(&(struct call){.nb = 1, .m = c.m},
                      ref_need(r, "grad_inverse.seed_logdet").data, c.ld);
            dfoi_spline_inverse_backward(&c.how, c.nb, c.m, c.par, c.x, c.g, c.ld, c.gpar);
            compare_rows(&c, r, "z", c.x, z.data, tolerance(r, "z", 1e-4));
            compare_gradient(&c, r, "grad_inverse", "z", "seed_x", x.data, used,
                             scalar_inverse_backward);
            put_reals(used, x.n);
        }
        call_free(&c);
    }
    ref_close(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spline (" DFO_REAL_NAME ")");
    TCase *t = tcase_create("reference");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, reference_forward);
    tcase_add_test(t, reference_inverse);
    suite_add_tcase(suite, t);
    suite_add_tcase(suite, spline_random_tests());
    suite_add_tcase(suite, spline_edge_tests());
    return test_run(suite);
}
