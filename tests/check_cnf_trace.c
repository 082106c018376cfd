/* Continuous flows' traces: in closed form, estimated by probes, hutch++.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "layerfix.h"
#include "util.h"

static void near(const char *name, const char *what, size_t n, const double *got, const double *want, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * size, "%s, %s: %zu is %.15g, expected %.15g", name, what, i, got[i], want[i]);
}

/* The exact trace in closed form, rows together, against a pass for every feature, rows alone.  */
START_TEST(closed_form)
{
    enum { N = 130, D = 5, C = 2 };
    static const char *const hidden[] = {"[]", "[70]", "[70, 131]", "[9, 8, 7]"}, *const type[] = {"concatsquash", "concat", "hyper"};
    static double x[N * D], cond[N * C], z[N * D], again[N * D], logdet[N], passes[N];
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
    for (size_t i = 0; i < N * C; i++)
        cond[i] = (double)(dfo_real)test_rng_normal(&rng);
    for (size_t k = 0; k < 12; k++) {
        double size = 0;
        layerfix f[2];
        for (int together = 0; together < 2; together++)
            f[together] = layerfix_new(json_pack("{s:s, s:f, s:f, s:b, s:b, s:{s:s, s:o}}", "type", "cnf", "rtol", IS_DOUBLE ? 1e-10 : 1e-6,
                                                 "atol", IS_DOUBLE ? 1e-10 : 1e-6, "zero_init", 0, "together", together, "net", "type",
                                                 type[k / 4], "hidden", json_loads(hidden[k % 4], 0, NULL)), dfo_shape_vector(D), C, N);
        for (int i = 0; i < 2; i++)
            f[i].t->run.saved = NULL;
        ck_assert_int_eq(layerfix_forward(&f[1], N, x, cond, z, logdet), DFO_OK);
        ck_assert_int_eq(layerfix_forward(&f[0], N, x, cond, again, passes), DFO_OK);
        near(type[k / 4], hidden[k % 4], N * D, z, again, IS_DOUBLE ? 1e-8 : 1e-4);
        near(type[k / 4], hidden[k % 4], N, logdet, passes, IS_DOUBLE ? 1e-8 : 1e-4);
        for (size_t i = 0; i < N; i++)
            size = fmax(size, fabs(logdet[i]));
        ck_assert_msg(size > 1e-4, "log-dets of %g", size);
        ck_assert(k % 4 == 3 || dfo_net_trace_size(((const struct dfoi_cnf *)f[1].bij->state)->net) > 0);
        layerfix_free(&f[0]);
        layerfix_free(&f[1]);
    }
}
END_TEST

/* The estimate over many probes has the exact trace as its mean; its gradient is that of what was estimated.  */
START_TEST(probes)
{
    enum { N = 4096, D = 5 };
    static double x[N * D], z[N * D], logdet[N], exact[N], seed[N * D], ones[N], gx[N * D];
    double mean = 0, var = 0;
    layerfix f[2];
    for (int k = 0; k < 2; k++) {
        f[k] = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:i, s:{s:s, s:[i], s:s}}", "type", "cnf", "solver", "rk4", "steps", 4,
                                      "zero_init", 0, "probes", k, "net", "type", "concatsquash", "hidden", 12, "activation", "tanh"),
                            dfo_shape_vector(D), 0, N);
        f[k].t->run.mode = DFO_TRAIN;
    }
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)(0.3 * (double)(i % D) - 0.5);
    ck_assert_int_eq(layerfix_forward(&f[0], N, x, NULL, z, exact), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f[1], N, x, NULL, z, logdet), DFO_OK);
    for (size_t i = 0; i < N; i++)
        mean += (logdet[i] - exact[i]) / N;
    for (size_t i = 0; i < N; i++)
        var += (logdet[i] - exact[i] - mean) * (logdet[i] - exact[i] - mean) / N;
    ck_assert_msg(var > 0 && fabs(mean) < 4 * sqrt(var / N), "off by %g, standard error %g", mean, sqrt(var / N));
    /* one row, its estimate's gradient against differences */
    ones[0] = 1;
    ck_assert_int_eq(layerfix_grads(&f[1], 0, 1, x, NULL, seed, ones, gx, NULL, NULL), DFO_OK);
    for (size_t j = 0; j < D; j++) {
        double h = IS_DOUBLE ? 1e-5 : 1e-2, up, down, was = x[j];
        x[j] = (double)(dfo_real)(was + h);
        ck_assert_int_eq(layerfix_forward(&f[1], 1, x, NULL, z, &up), DFO_OK);
        double above = x[j];
        x[j] = (double)(dfo_real)(was - h);
        ck_assert_int_eq(layerfix_forward(&f[1], 1, x, NULL, z, &down), DFO_OK);
        double slope = (up - down) / (above - x[j]);
        x[j] = was;
        ck_assert_msg(fabs(slope - gx[j]) < (IS_DOUBLE ? 1e-7 : 3e-3), "feature %zu: %g, differences %g", j, gx[j], slope);
    }
    layerfix_free(&f[0]);
    layerfix_free(&f[1]);
}
END_TEST

/* dz/dt = A z, A of rank 2: the variance of K probes' mean is 2 |S|^2 / K for normal numbers, S the symmetric part, without its
 * diagonal for signs; two sketched vectors leave nothing to estimate, up to rounding errors by the condition of their images,
 * unless the signs are the same.  What each probe says has that variance.  */
START_TEST(probe_laws)
{
    enum { N = 6000, D = 6, K = 6 };
    static const char *const probe[] = {"rademacher", "gaussian", "rademacher", "gaussian"};
    static double x[N * D], z[N * D], logdet[N], said[N];
    double a[D][D], trace = 0, want[4] = {0};
    for (int i = 0; i < D * D; i++)
        a[i / D][i % D] = 0.4 * cos(i / D) * sin(1 + i % D) + 0.3 * cos(2.0 * (i / D)) * cos(3.0 * (i % D));
    for (int i = 0; i < D * D; i++) {
        double s = (a[i / D][i % D] + a[i % D][i / D]) / 2;
        want[1] += 2 * s * s / K;
        want[0] += i / D == i % D ? 0 : 2 * s * s / K;
        trace += i / D == i % D ? s : 0;
    }
    for (size_t k = 0; k < 4; k++) {
        size_t count;
        double mean = 0, var = 0, told = 0;
        layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:{s:s, s:[]}}", "type", "cnf", "solver", "rk4", "steps", 2, "probes",
                                            K, "probe", probe[k], "trace", k < 2 ? "hutchinson" : "hutch++", "net", "type", "mlp", "hidden"),
                                  dfo_shape_vector(D), 0, N);
        dfo_real *w = layerfix_array(&f, "net.w0", &count);
        for (size_t i = 0; i < D * (D + 1); i++)
            w[i] = i % (D + 1) < D ? (dfo_real)a[i / (D + 1)][i % (D + 1)] : 0;
        f.t->run.mode = DFO_TRAIN;
        f.t->run.variance = said;
        memset(said, 0, sizeof said);
        ck_assert_msg(layerfix_forward(&f, N, x, NULL, z, logdet) == DFO_OK, "%s", f.t->run.text);
        for (size_t i = 0; i < N; i++)
            mean += (logdet[i] + trace) / N;
        for (size_t i = 0; i < N; i++)
            var += (logdet[i] + trace - mean) * (logdet[i] + trace - mean) / N, told += said[i] / N;
        ck_assert_msg(k > 1 || fabs(told / var - 1) < 0.2, "%s, %zu: variance %g, said to be %g", probe[k], k, var, told);
        ck_assert_msg(k == 3 || fabs(mean) < 4 * sqrt(var / N), "%s, %zu: mean %g, variance %g", probe[k], k, mean, var);
        ck_assert_msg(k > 1 ? var < 0.2 * want[k - 2] : fabs(var / want[k] - 1) < 0.2, "%s: variance %g, Hutchinson's %g", probe[k], var,
                      want[k % 2]);
        for (size_t i = 0; i < 50 && k == 3; i++)
            ck_assert_msg(fabs(logdet[i] + trace) < 1e4 * DFO_REAL_EPS, "%zu: off by %g", i, logdet[i] + trace);
        layerfix_free(&f);
    }
}
END_TEST

/* sum of by . z and of the log-dets, the probes as given.  */
struct held {
    layerfix       *f;
    dfo_ode        *ode;
    const dfo_real *probe;
    size_t          n;
    const double   *x, *by;
    int             to_data;
};

static double held(void *data)
{
    const struct held *h = data;
    size_t d = h->f->bij->d;
    dfo_real rows[64];
    double q[16] = {0}, sum = 0;
    struct dfoi_cnf_solve solve = {.bij = h->f->bij, .probe = h->probe, .n = h->n, .shared = 1};
    dfo_field field = dfoi_cnf_field(&solve, NULL, NULL);
    for (size_t i = 0; i < h->n * d; i++)
        rows[i] = (dfo_real)h->x[i];
    ck_assert_int_eq(dfo_ode_solve(h->ode, &field, &h->f->t->run, !h->to_data, h->to_data, dfo_batch_of(rows, h->n, d), q, NULL, NULL),
                     DFO_OK);
    for (size_t i = 0; i < h->n * d; i++)
        sum += h->by[i] * (double)rows[i] + (i < h->n ? q[i] : 0);
    return sum;
}

/* hutch++: a basis of every direction is the exact trace; of some, the mean over rows is right, and the gradient is that of the
 * estimate whose probes stand still, for every way of gradients.  */
START_TEST(sketch)
{
    enum { N = 3, D = 5, K = 7, MANY = 4096 };
    static const char *const gradient[] = {"stored", "checkpoint", "reversible"};
    static double same[MANY * D], out[MANY * D], logdet[MANY], exact[MANY], said[MANY];
    double x[N * D], seed[N * D], ones[N] = {1, 1, 1}, gx[N * D], slopes[N * D + 1], h = IS_DOUBLE ? 1e-5 : 1e-2, mean = 0, var = 0, told = 0;
    test_rng rng = test_rng_new(test_seed());
    layerfix f[6];
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng), seed[i] = test_rng_normal(&rng);
    for (size_t i = 0; i < MANY * D; i++)
        same[i] = x[i % D];
    for (size_t k = 0; k < 6; k++) {
        f[k] = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:i, s:s, s:s, s:{s:s, s:[i], s:s}}", "type", "cnf", "solver", "rk4", "steps", 4,
                                      "zero_init", 0, "probes", k == 3 ? 0 : k == 4 ? 3 * D : K, "trace", "hutch++", "gradient",
                                      gradient[k % 3], "net", "type", "concatsquash", "hidden", 12, "activation", "tanh"),
                            dfo_shape_vector(D), 0, k < 3 ? N : MANY);
        f[k].t->run.mode = DFO_TRAIN;
    }
    f[3].t->run.saved = f[4].t->run.saved = f[5].t->run.saved = NULL;
    ck_assert_int_eq(layerfix_forward(&f[3], MANY, same, NULL, out, exact), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f[4], N, same, NULL, out, logdet), DFO_OK);
    near("sketch", "log-dets of a whole basis", N, logdet, exact, IS_DOUBLE ? 1e-12 : 1e-5);
    layerfix_free(&f[4]);
    f[4] = f[5];
    f[4].t->run.variance = said;
    ck_assert_int_eq(layerfix_forward(&f[4], MANY, same, NULL, out, logdet), DFO_OK);
    for (size_t i = 0; i < MANY; i++)
        mean += (logdet[i] - exact[i]) / MANY;
    for (size_t i = 0; i < MANY; i++)
        var += (logdet[i] - exact[i] - mean) * (logdet[i] - exact[i] - mean) / MANY, told += said[i] / MANY;
    ck_assert_msg(var > 0 && fabs(mean) < 4 * sqrt(var / MANY), "off by %g, standard error %g", mean, sqrt(var / MANY));
    ck_assert_msg(fabs(told / var - 1) < 0.2, "variance %g, said to be %g", var, told);
    dfo_ode_options o;
    dfo_ode *ode;
    dfo_ode_defaults(&o);
    o.method = "rk4";
    o.steps = 4;
    o.together = 1;
    for (size_t k = 0; k < 2; k++) {
        dfo_real probe[K * N * D], rows[N * D];
        size_t count;
        ck_assert_int_eq(dfo_ode_new(f[k].ctx, &o, &ode), DFO_OK);
        ck_assert_int_eq(layerfix_grads(&f[k], 0, N, x, NULL, seed, ones, gx, NULL, NULL), DFO_OK);
        for (size_t i = 0; i < N * D; i++)
            rows[i] = (dfo_real)x[i];
        ck_assert_int_eq(dfoi_cnf_probe(f[k].bij, &f[k].t->run, 1, dfo_batch_of(rows, N, D), NULL, probe), DFO_OK);
        dfo_real *w = layerfix_array(&f[k], "net.w1", &count);
        double of_weight = (double)layerfix_grad(&f[k], "net.w1")[3];
        layerfix_slopes(N * D, x, w + 3, h, held, &(struct held){&f[k], ode, probe, N, x, seed, 0}, slopes);
        for (size_t j = 0; j <= N * D; j++) {
            double slope = slopes[j], got = j < N * D ? gx[j] : of_weight;
            ck_assert_msg(fabs(slope - got) < (IS_DOUBLE ? 1e-7 : 5e-3) * fmax(1, fabs(slope)), "%s, %zu: %.9g, differences %.9g",
                          gradient[k], j, got, slope);
        }
        dfo_ode_free(ode);
    }
    for (size_t k = 0; k < 5; k++)
        layerfix_free(&f[k]);
}
END_TEST

static double decoded(void *data)
{
    const struct held *h = data;
    double x[64], logdet[16], sum = 0;
    ck_assert_int_eq(layerfix_inverse(h->f, h->n, h->x, NULL, x, logdet), DFO_OK);
    for (size_t i = 0; i < h->n * h->f->bij->d; i++)
        sum += h->by[i] * x[i] + (i < h->n ? logdet[i] : 0);
    return sum;
}

/* Gradients of the way to data in training: with signs that are the same again, costs and an end that is learned; with hutch++, whose
 * probes stand still (normal ones: signs of two probes may be the same, and then any basis is theirs).  The latents come back.  */
START_TEST(way_to_data)
{
    enum { N = 3, D = 5, K = 7 };
    static const char *const gradient[] = {"stored", "checkpoint", "adjoint", "reversible"};
    double z[N * D], seed[N * D], ones[N] = {1, 1, 1}, gz[N * D], back[N * D], slopes[N * D + 1], h = IS_DOUBLE ? 1e-5 : 1e-2;
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < N * D; i++)
        z[i] = (double)(dfo_real)test_rng_normal(&rng), seed[i] = test_rng_normal(&rng);
    for (size_t k = 0; k < 8; k++) {
        int sketched = k % 2;
        double cost = sketched ? 0 : 0.3;
        layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:b, s:i, s:s, s:s, s:s, s:f, s:f, s:f, s:{s:s, s:[i], s:s}}", "type", "cnf",
                                            "solver", "pd87", "steps", 24, "zero_init", 0, "learn_end", !sketched, "probes", K, "probe",
                                            sketched ? "gaussian" : "rademacher", "trace", sketched ? "hutch++" : "hutchinson", "gradient",
                                            gradient[k / 2], "kinetic", cost, "jacobian", cost, "acceleration", cost, "net", "type",
                                            "concatsquash", "hidden", 12, "activation", "tanh"),
                                  dfo_shape_vector(D), 0, N);
        struct held what = {.f = &f, .n = N, .x = z, .by = seed, .to_data = 1};
        const char *name = sketched ? "net.w1" : "root_end";
        dfo_ode_options o;
        dfo_ode *ode;
        dfo_real probe[K * N * D], rows[N * D];
        size_t count, place = sketched ? 3 : 0;
        f.t->run.mode = DFO_TRAIN;
        dfo_ode_defaults(&o);
        o.method = "pd87";
        o.steps = 24;
        o.together = 1;
        ck_assert_int_eq(dfo_ode_new(f.ctx, &o, &ode), DFO_OK);
        ck_assert_int_eq(layerfix_grads(&f, 1, N, z, NULL, seed, ones, gz, NULL, back), DFO_OK);
        near(gradient[k / 2], "latents", N * D, back, z, IS_DOUBLE ? 1e-9 : 1e-4);
        for (size_t i = 0; i < N * D; i++)
            rows[i] = (dfo_real)z[i];
        ck_assert_int_eq(dfoi_cnf_probe(f.bij, &f.t->run, 0, dfo_batch_of(rows, N, D), NULL, probe), DFO_OK);
        what.ode = ode;
        what.probe = probe;
        dfo_real *w = layerfix_array(&f, name, &count);
        double of_weight = (double)layerfix_grad(&f, name)[place];
        layerfix_slopes(N * D, z, w + place, h, sketched ? held : decoded, &what, slopes);
        for (size_t j = 0; j <= N * D; j++) {
            double slope = slopes[j], got = j < N * D ? gz[j] : of_weight;
            ck_assert_msg(fabs(slope - got) < (IS_DOUBLE ? 1e-7 : 5e-3) * fmax(1, fabs(slope)), "%s, %s, %zu: %.9g, differences %.9g",
                          gradient[k / 2], sketched ? "hutch++" : "costs", j, got, slope);
        }
        dfo_ode_free(ode);
        layerfix_free(&f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traces of continuous flows " DFO_REAL_NAME);
    TCase *t = tcase_create("trace");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, closed_form);
    tcase_add_test(t, probes);
    tcase_add_test(t, probe_laws);
    tcase_add_test(t, sketch);
    tcase_add_test(t, way_to_data);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
