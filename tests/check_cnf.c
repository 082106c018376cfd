/* Continuous flows: against the reference vectors, their own inverse; gradients, costs, the learned end.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cnf_impl.h"
#include "layerfix.h"
#include "reference.h"
#include "util.h"

static void near(const char *name, const char *what, size_t n, const double *got, const double *want, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * size, "%s, %s: %zu is %.15g, expected %.15g", name, what, i, got[i], want[i]);
}

static void set(layerfix *f, const char *name, ref_array from)
{
    size_t n;
    dfo_real *to = layerfix_array(f, name, &n);
    ck_assert_uint_eq(n, from.n);
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)from.data[i];
}

enum { STEPS = 24 };

/* The layer's weights of layer l and the vectors' names for them.  */
static const char *const ours[] = {"net.w%zu", "net.b%zu", "net.gate%zu", "net.shift%zu", "net.drift%zu"},
                  *const theirs[] = {"W%zu", "b%zu", "wg%zu", "bg%zu", "wb%zu"};

static layerfix fix_of(ref_case c, size_t d, size_t n, int probes, double cost)
{
    json_t *config, *hidden = json_array();
    size_t layers = (size_t)ref_number(c, "settings.layers", 0);
    char path[64], name[64];
    for (size_t l = 0; l + 1 < layers; l++) {
        snprintf(path, sizeof path, "inputs.b%zu", l);
        json_array_append_new(hidden, json_integer((json_int_t)ref_need(c, path).n));
    }
    config = json_pack("{s:s, s:s, s:i, s:i, s:f, s:f, s:{s:s, s:o, s:s}}", "type", "cnf", "solver", "pd87", "steps", STEPS, "probes", probes,
                       "kinetic", cost, "jacobian", cost, "net", "type", "concatsquash", "hidden", hidden, "activation", ref_text(c, "settings.activation", "tanh"));
    layerfix f = layerfix_new(config, dfo_shape_vector(d), 0, n);
    for (size_t l = 0; l < layers; l++)
        for (size_t k = 0; k < 5; k++) {
            snprintf(path, sizeof path, "inputs.%s", theirs[k]);
            snprintf(name, sizeof name, path, l);
            snprintf(path, sizeof path, ours[k], l);
            set(&f, path, ref_need(c, name));
        }
    return f;
}

static double log_normal(size_t d, const double *z)
{
    double sum = -0.5 * (double)d * log(2 * M_PI);
    for (size_t i = 0; i < d; i++)
        sum -= 0.5 * z[i] * z[i];
    return sum;
}

/* f = A x: against the exponential of the matrix.  */
static void linear_case(ref_case c)
{
    ref_array a = ref_need(c, "inputs.A"), x = ref_need(c, "inputs.x");
    size_t n = x.shape[0], d = x.shape[1], count;
    double z[64], logdet[16];
    layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:{s:s, s:[]}}", "type", "cnf", "solver", "pd87", "steps", 60, "net", "type", "mlp",
                                        "hidden"), dfo_shape_vector(d), 0, n);
    dfo_real *w = layerfix_array(&f, "net.w0", &count);
    for (size_t i = 0; i < d * (d + 1); i++)
        w[i] = i % (d + 1) < d ? (dfo_real)a.data[i / (d + 1) * d + i % (d + 1)] : 0;
    ck_assert_int_eq(layerfix_forward(&f, n, x.data, NULL, z, logdet), DFO_OK);
    near(c.name, "latents", n * d, z, ref_need(c, "outputs.z0").data, IS_DOUBLE ? 1e-9 : 2e-4);
    for (size_t i = 0; i < n; i++)
        logdet[i] += log_normal(d, z + i * d);
    near(c.name, "log densities", n, logdet, ref_need(c, "outputs.logp").data, IS_DOUBLE ? 1e-9 : 2e-4);
    layerfix_free(&f);
}

static void weights_near(ref_case c, layerfix *f, const char *prefix, double allowed)
{
    for (size_t l = 0; l < (size_t)ref_number(c, "settings.layers", 0); l++)
        for (size_t k = 0; k < 5; k++) {
            char path[64], name[64];
            double got[256];
            snprintf(path, sizeof path, "outputs.%s_%s", prefix, theirs[k]);
            snprintf(name, sizeof name, path, l);
            snprintf(path, sizeof path, ours[k], l);
            ref_array want = ref_need(c, name);
            for (size_t i = 0; i < want.n; i++)
                got[i] = (double)layerfix_grad(f, path)[i];
            near(c.name, name, want.n, got, want.data, allowed);
        }
}

/* Latents, log densities, and the gradient of their mean.  */
static void reference_case(ref_case c)
{
    ref_array x = ref_need(c, "inputs.x"), z0 = ref_need(c, "outputs.z0"), logp = ref_need(c, "outputs.logp");
    size_t n = x.shape[0], d = x.shape[1];
    double z[64], logdet[16], seed[64], ones[16], gx[64], back[64], allowed = IS_DOUBLE ? 1e-9 : 2e-4;
    if (!strncmp(c.name, "linear", 6)) {
        linear_case(c);
        return;
    }
    layerfix f = fix_of(c, d, n, 0, 0);
    ck_assert_int_eq(layerfix_forward(&f, n, x.data, NULL, z, logdet), DFO_OK);
    near(c.name, "latents", n * d, z, z0.data, allowed);
    for (size_t i = 0; i < n; i++) {
        logdet[i] += log_normal(d, z + i * d);
        ones[i] = 1 / (double)n;
        for (size_t j = 0; j < d; j++)
            seed[i * d + j] = -z[i * d + j] / (double)n;
    }
    near(c.name, "log densities", n, logdet, logp.data, allowed);
    ck_assert_int_eq(layerfix_grads(&f, 0, n, x.data, NULL, seed, ones, gx, NULL, back), DFO_OK);
    near(c.name, "gradient of rows", n * d, gx, ref_need(c, "outputs.grad_x").data, allowed);
    for (size_t i = 0; i < n * d; i++)
        ck_assert(back[i] == (double)(dfo_real)x.data[i]);
    weights_near(c, &f, "grad", allowed);
    layerfix_free(&f);
}

/* Along the field with the vectors' own probes: the estimate, kinetic energy, the Jacobian's norm, and gradients of the mean of
 * -log p + lamK kinetic + lamJ frob.  */
static void regularised_case(ref_case c)
{
    ref_array x = ref_need(c, "inputs.x"), eps = ref_need(c, "inputs.eps");
    size_t n = x.shape[0], d = x.shape[1];
    const double by[4] = {-1, -ref_number(c, "settings.lamK", 0), -ref_number(c, "settings.lamJ", 0), 0};
    double q[64] = {0}, gq[64], got[16], gx[64], allowed = IS_DOUBLE ? 1e-9 : 2e-4, t[STEPS + 2];
    dfo_real probe[64], rows[64], g[64], *states = calloc((STEPS + 1) * n * d, sizeof *states);
    layerfix f = fix_of(c, d, n, 1, 1);
    struct dfoi_cnf_solve solve = {.bij = f.bij, .probe = probe, .n = n, .shared = 1, .wanted = {1, 1, 0}};
    dfo_field field = dfoi_cnf_field(&solve, NULL, NULL);
    dfo_ode_options o;
    dfo_ode *ode;
    dfo_ode_trace trace = {.most = STEPS, .t = t, .x = states};
    dfo_ode_defaults(&o);
    o.method = "pd87";
    o.steps = STEPS;
    o.together = 1;
    ck_assert_int_eq(dfo_ode_new(f.ctx, &o, &ode), DFO_OK);
    for (size_t i = 0; i < n * d; i++) {
        probe[i] = (dfo_real)eps.data[i];
        rows[i] = (dfo_real)x.data[i];
    }
    testrun_reset(f.t);
    ck_assert_int_eq(dfo_ode_solve(ode, &field, &f.t->run, 1, 0, dfo_batch_of(rows, n, d), q, &trace, NULL), DFO_OK);
    static const char *const name[] = {"outputs.logp_hutch", "outputs.kinetic", "outputs.frob"};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < n; i++) {
            double z[8];
            for (size_t j = 0; j < d; j++)
                z[j] = (double)rows[i * d + j];
            got[i] = k ? -q[4 * i + k] : q[4 * i] + log_normal(d, z);
        }
        near(c.name, name[k], n, got, ref_need(c, name[k]).data, allowed);
    }
    for (size_t i = 0; i < n * d; i++)
        g[i] = rows[i] / (dfo_real)n;
    for (size_t i = 0; i < 4 * n; i++)
        gq[i] = by[i % 4] / (double)n;
    ck_assert_int_eq(dfo_ode_backward(ode, &field, &f.t->run, &trace, dfo_batch_of(g, n, d), gq, NULL), DFO_OK);
    for (size_t i = 0; i < n * d; i++)
        gx[i] = (double)g[i];
    near(c.name, "regularised gradient of rows", n * d, gx, ref_need(c, "outputs.gradh_x").data, allowed);
    weights_near(c, &f, "gradh", allowed);
    dfo_ode_free(ode);
    free(states);
    layerfix_free(&f);
}

/* One solve and the way back: activations kept of so many steps, of a step at a time, or (plain) never.  */
struct way {
    dfo_real x[64], g[64], *grads;
    double   q[64];
};

static void go(layerfix *f, const dfo_ode *ode, dfo_field field, ref_array x, size_t steps, int plain, int rates, struct way *w)
{
    size_t n = x.shape[0], d = x.shape[1], step = dfo_ode_kept(ode, &field, n);
    double t[STEPS + 2], gq[64];
    struct dfo_field_ops ops = *field.ops;
    dfo_real *states, *kept = NULL;
    ck_assert_int_eq(dfoi_alloc(f->ctx, (STEPS + 1) * n * d, sizeof *states, &states), DFO_OK);
    if (steps)
        ck_assert_int_eq(dfoi_alloc(f->ctx, steps * step, sizeof *kept, &kept), DFO_OK);
    dfo_ode_trace trace = {.most = STEPS, .t = t, .x = states, .room = steps, .kept = kept};
    ck_assert_uint_gt(step, 0);
    ops.record = plain ? NULL : ops.record;
    field.ops = &ops;
    memset(w->q, 0, sizeof w->q);
    for (size_t i = 0; i < n * d; i++) {
        w->x[i] = (dfo_real)x.data[i];
        w->g[i] = (dfo_real)cos((double)i);
    }
    for (size_t i = 0; i < n * field.nq; i++)
        gq[i] = 0.1 * (double)(i + 1);
    testrun_reset(f->t);
    ck_assert_int_eq(dfo_ode_solve(ode, &field, &f->t->run, 1, 0, dfo_batch_of(w->x, n, d), w->q, &trace, NULL), DFO_OK);
    ck_assert_int_eq(dfo_ode_backward(ode, &field, &f->t->run, &trace, dfo_batch_of(w->g, n, d), rates ? gq : NULL, NULL), DFO_OK);
    memcpy(w->grads, f->t->run.grads, dfo_store_weights_size(f->store) * sizeof *w->grads);
    dfoi_free(f->ctx, states);
    dfoi_free(f->ctx, kept);
}

/* Activations that are kept give the bits of those found again: of all steps, of some, in steps that are tried again; with rates of the
 * trace, with the kinetic energy's, without any.  */
static void kept_case(ref_case c)
{
    static const size_t kept[] = {0, 4, STEPS};
    ref_array x = ref_need(c, "inputs.x"), eps = ref_need(c, "inputs.eps");
    size_t n = x.shape[0], d = x.shape[1];
    dfo_real probe[64];
    layerfix f = fix_of(c, d, n, 1, 1);
    size_t weights = dfo_store_weights_size(f.store);
    struct way want = {.grads = malloc(weights * sizeof(dfo_real))}, got = {.grads = malloc(weights * sizeof(dfo_real))};
    for (size_t i = 0; i < n * d; i++)
        probe[i] = (dfo_real)eps.data[i];
    for (size_t k = 0; k < 6; k++) {
        dfo_ode_options o;
        dfo_ode *ode;
        dfo_ode_defaults(&o);
        o.method = k < 3 ? "dopri5" : "bosh3";
        o.steps = k % 2 ? 0 : 6;
        o.rtol = o.atol = 1e-4;
        o.together = 1;
        struct dfoi_cnf_solve solve = {.bij = f.bij, .probe = probe, .n = n, .shared = 1, .wanted = {k % 3 == 1, 0, 0}};
        ck_assert_int_eq(dfo_ode_new(f.ctx, &o, &ode), DFO_OK);
        go(&f, ode, dfoi_cnf_field(&solve, NULL, NULL), x, 0, 1, k % 3 < 2, &want);
        for (size_t j = 0; j < 3; j++) {
            go(&f, ode, dfoi_cnf_field(&solve, NULL, NULL), x, kept[j], 0, k % 3 < 2, &got);
            ck_assert_msg(!memcmp(want.x, got.x, n * d * sizeof *got.x) && !memcmp(want.q, got.q, sizeof got.q), "%s, %zu, %zu: solve", c.name, k, j);
            ck_assert_msg(!memcmp(want.g, got.g, n * d * sizeof *got.g) && !memcmp(want.grads, got.grads, weights * sizeof *got.grads),
                          "%s, %zu, %zu: gradient", c.name, k, j);
        }
        dfo_ode_free(ode);
    }
    free(want.grads);
    free(got.grads);
    layerfix_free(&f);
}

START_TEST(reference)
{
    ref_file *f = ref_open("cnf");
    ck_assert_uint_ge(ref_cases(f), 5);
    for (size_t i = 0; i < ref_cases(f); i++) {
        reference_case(ref_at(f, i));
        if (!strncmp(ref_at(f, i).name, "linear", 6))
            continue;
        regularised_case(ref_at(f, i));
        kept_case(ref_at(f, i));
    }
    ref_close(f);
}
END_TEST

/* f = A x: the state is exp(-A) x, the log-det minus the trace of A.  */
START_TEST(linear_field)
{
    double a[2][2] = {{0.3, -1.1}, {0.9, -0.5}}, x[2] = {0.7, -1.3}, z[2], want[2] = {0.7, -1.3}, term[2] = {0.7, -1.3}, logdet;
    size_t n;
    for (int k = 1; k < 30; k++) {
        double next[2] = {-(a[0][0] * term[0] + a[0][1] * term[1]) / k, -(a[1][0] * term[0] + a[1][1] * term[1]) / k};
        want[0] += term[0] = next[0];
        want[1] += term[1] = next[1];
    }
    layerfix f = layerfix_new(json_pack("{s:s, s:s, s:f, s:f, s:{s:s, s:[]}}", "type", "cnf", "solver", "tsit5", "rtol", IS_DOUBLE ? 1e-10 : 1e-6,
                                        "atol", IS_DOUBLE ? 1e-10 : 1e-6, "net", "type", "mlp", "hidden"), dfo_shape_vector(2), 0, 1);
    dfo_real *w = layerfix_array(&f, "net.w0", &n);      /* (2, 3): the last column is the time's */
    for (size_t i = 0; i < 6; i++)
        w[i] = (dfo_real)(i % 3 < 2 ? a[i / 3][i % 3] : 0);
    ck_assert_msg(layerfix_forward(&f, 1, x, NULL, z, &logdet) == DFO_OK, "%s", f.t->run.text);
    near("linear", "latents", 2, z, want, IS_DOUBLE ? 1e-8 : 1e-5);
    ck_assert(fabs(logdet - 0.2) < (IS_DOUBLE ? 1e-8 : 1e-5));
    layerfix_free(&f);
}
END_TEST

/* There and back, with a condition, more rows than a net takes at a time: rows alone, to the tolerance.  */
START_TEST(round_trip)
{
    enum { N = 150, D = 3, C = 2 };
    test_rng rng = test_rng_new(test_seed());
    static double x[N * D], z[N * D], back[N * D], cond[N * C], logdet[N], other[N], one[D], ld;
    size_t n;
    layerfix f = layerfix_new(json_pack("{s:s, s:f, s:f, s:b, s:{s:s, s:[i, i]}}", "type", "cnf", "rtol", IS_DOUBLE ? 1e-9 : 1e-6, "atol",
                                        IS_DOUBLE ? 1e-9 : 1e-6, "zero_init", 0, "net", "type", "concatsquash", "hidden", 9, 17),
                              dfo_shape_vector(D), C, N);
    dfo_real *w = layerfix_array(&f, "net.w2", &n);
    for (size_t i = 0; i < n; i++)
        w[i] *= 3;
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)(2 * test_rng_normal(&rng));
    for (size_t i = 0; i < N * C; i++)
        cond[i] = (double)(dfo_real)test_rng_normal(&rng);
    ck_assert_int_eq(layerfix_forward(&f, N, x, cond, z, logdet), DFO_OK);
    ck_assert_int_eq(layerfix_inverse(&f, N, z, cond, back, other), DFO_OK);
    near("round trip", "rows", N * D, back, x, IS_DOUBLE ? 1e-7 : 1e-4);
    for (size_t i = 0; i < N; i++)
        ck_assert(fabs(logdet[i] + other[i]) < (IS_DOUBLE ? 1e-6 : 1e-3));
    f.t->run.saved = NULL;                 /* no gradients follow: rows go alone, and one by itself has the same bits */
    ck_assert_int_eq(layerfix_forward(&f, N, x, cond, z, logdet), DFO_OK);
    f.t->run.key.row += 140;
    ck_assert_int_eq(layerfix_forward(&f, 1, x + 140 * D, cond + 140 * C, one, &ld), DFO_OK);
    ck_assert(!memcmp(one, z + 140 * D, sizeof one) && ld == logdet[140]);
    layerfix_free(&f);
}
END_TEST

/* "adjoint" has the gradient of "stored" to the tolerance, of rows, condition and weights, with kvaerno3 too, and keeps one block of
 * rows for any number of steps.  */
START_TEST(adjoint)
{
    enum { N = 70, D = 3, C = 2 };
    static const char *const gradient[] = {"stored", "adjoint", "adjoint"}, *const solver[] = {"dopri5", "dopri5", "kvaerno3"};
    static double x[N * D], cond[N * C], seed[N * D], ones[N], gx[3][N * D], gcond[3][N * C], back[N * D], weights[3][9 * (D + C)];
    double tol = IS_DOUBLE ? 1e-8 : 1e-5, allowed = 300 * tol, most = 0;
    size_t n;
    layerfix f[3];
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng), seed[i] = test_rng_normal(&rng);
    for (size_t i = 0; i < N * C; i++)
        cond[i] = (double)(dfo_real)test_rng_normal(&rng);
    for (size_t i = 0; i < N; i++)
        ones[i] = -1;
    for (size_t k = 0; k < 3; k++) {
        f[k] = layerfix_new(json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:b, s:{s:s, s:[i], s:s}}", "type", "cnf", "gradient", gradient[k], "solver",
                                      solver[k], "rtol", tol, "atol", tol, "most_steps", 1000, "zero_init", 0, "net", "type", "concatsquash",
                                      "hidden", 9, "activation", "tanh"), dfo_shape_vector(D), C, N);
        ck_assert_msg(layerfix_grads(&f[k], 0, N, x, cond, seed, ones, gx[k], gcond[k], back) == DFO_OK, "%s", f[k].t->run.text);
        ck_assert(!memcmp(back, x, sizeof x));
        near(solver[k], "gradient of rows", N * D, gx[k], gx[0], allowed);
        near(solver[k], "gradient of the condition", N * C, gcond[k], gcond[0], allowed);
        layerfix_array(&f[k], "net.w0", &n);
        ck_assert_uint_eq(n, 9 * (D + C));
        for (size_t i = 0; i < n; i++)
            weights[k][i] = (double)layerfix_grad(&f[k], "net.w0")[i];
        near(solver[k], "gradient of weights", n, weights[k], weights[0], allowed);
    }
    for (size_t i = 0; i < N * C; i++)
        most = fmax(most, fabs(gcond[0][i]));
    ck_assert(memcmp(gx[0], gx[1], sizeof gx[0]) && most > 10 * allowed);
    dfo_run how = {0};
    ck_assert_uint_le(f[1].bij->ops->saved(f[1].bij, N, &how), dfo_arena_size(N * D));
    for (size_t k = 0; k < 3; k++)
        layerfix_free(&f[k]);
}
END_TEST

/* dz/dt = A z: what training takes off the log-det is the mean over features of the integrals of |A z|^2, |A|^2, |A A z|^2, or of
 * |A A A z|^2 for the third derivative, by a net that has it.  */
START_TEST(costs)
{
    enum { D = 3, FINE = 2000 };
    static const char *const name[] = {"kinetic", "jacobian", "acceleration", "acceleration"};
    const double a[D][D] = {{0.3, -0.9, 0.1}, {0.5, -0.4, 0.2}, {-0.6, 0.3, 0.7}}, x[D] = {0.8, -0.5, 1.1};
    double want[4] = {0}, z[D] = {0.8, -0.5, 1.1}, out[D], plain, ld;
    for (int s = 0; s < FINE; s++) {                     /* back from t = 1 by midpoint steps */
        double v[D] = {0}, m[D], w[D] = {0}, u[D] = {0}, third[D] = {0};
        for (int i = 0; i < D * D; i++)
            v[i / D] += a[i / D][i % D] * z[i % D];
        for (int i = 0; i < D; i++)
            m[i] = z[i] - v[i] / (2 * FINE);
        for (int i = 0; i < D * D; i++)
            w[i / D] += a[i / D][i % D] * m[i % D];
        for (int i = 0; i < D * D; i++)
            u[i / D] += a[i / D][i % D] * w[i % D];
        for (int i = 0; i < D * D; i++)
            third[i / D] += a[i / D][i % D] * u[i % D];
        for (int i = 0; i < D; i++) {
            z[i] -= w[i] / FINE;
            want[0] += w[i] * w[i] / FINE;
            want[2] += u[i] * u[i] / FINE;
            want[3] += third[i] * third[i] / FINE;
        }
    }
    for (int i = 0; i < D * D; i++)
        want[1] += a[i / D][i % D] * a[i / D][i % D];
    for (size_t k = 0; k < 4; k++) {
        size_t count, in = k < 3 ? D + 1 : D;              /* the third's net has the time beside its matrix, at zero */
        layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:f, s:i, s:{s:s, s:[]}}", "type", "cnf", "solver", "rk4", "steps", 40, name[k], 0.6,
                                            "order", k < 3 ? 2 : 3, "net", "type", k < 3 ? "mlp" : "concat", "hidden"), dfo_shape_vector(D), 0, 1);
        dfo_real *w = layerfix_array(&f, "net.w0", &count);
        for (size_t i = 0; i < D * in; i++)
            w[i] = i % in < D ? (dfo_real)a[i / in][i % in] : 0;
        ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, out, &plain), DFO_OK);
        f.t->run.mode = DFO_TRAIN;
        ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, out, &ld), DFO_OK);
        ck_assert_msg(fabs(plain - ld - 0.6 * want[k] / D) < (IS_DOUBLE ? 1e-6 : 1e-5), "%s: %.9g taken off, expected %.9g", name[k],
                      plain - ld, 0.6 * want[k] / D);
        layerfix_free(&f);
    }
}
END_TEST

/* With every cost, exact and with probes, for every way of gradients: the gradient of rows and of some weights against
 * differences.  */
START_TEST(cost_gradients)
{
    enum { N = 3, D = 3 };
    static const char *const gradient[] = {"stored", "checkpoint", "reversible"};
    test_rng rng = test_rng_new(test_seed());
    double x[N * D], seed[N * D] = {0}, ones[N] = {1, 1, 1}, gx[N * D], slopes[N * D + 1];
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
    for (int k = 0; k < 27; k++) {
        size_t count;
        layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:i, s:s, s:f, s:f, s:f, s:i, s:{s:s, s:[i, i], s:s}}", "type", "cnf", "solver",
                                            "rk4", "steps", 3, "zero_init", 0, "probes", k % 3, "gradient", gradient[k / 3 % 3], "kinetic", 0.7,
                                            "jacobian", 0.9, "acceleration", 0.4, "order", 2 + k / 9, "net", "type", "concatsquash", "hidden", 7, 6, "activation",
                                            "tanh"), dfo_shape_vector(D), 0, N);
        dfo_real *w = layerfix_array(&f, "net.w1", &count);
        f.t->run.mode = DFO_TRAIN;
        ck_assert_int_eq(layerfix_grads(&f, 0, N, x, NULL, seed, ones, gx, NULL, NULL), DFO_OK);
        double of_weight = (double)layerfix_grad(&f, "net.w1")[3], h = IS_DOUBLE ? 1e-5 : 1e-2, allowed = IS_DOUBLE ? 1e-7 : 5e-3;
        layerfix_slopes(N * D, x, w + 3, h, layerfix_logdets, &(layerfix_rows){&f, N, x}, slopes);
        for (size_t j = 0; j <= N * D; j++) {
            double slope = slopes[j], got = j < N * D ? gx[j] : of_weight;
            ck_assert_msg(fabs(slope - got) < allowed * fmax(1, fabs(slope)), "%s, %d probes, %zu: %.9g, differences %.9g", gradient[k / 3 % 3], k % 3,
                          j, got, slope);
        }
        layerfix_free(&f);
    }
}
END_TEST

static layerfix learned(const char *gradient, int learn, int probes, size_t d, size_t n)
{
    int solved = !strcmp(gradient, "adjoint");
    double tol = IS_DOUBLE ? 1e-10 : 1e-6;
    json_t *config = json_pack("{s:s, s:s, s:i, s:f, s:f, s:b, s:i, s:s, s:f, s:b, s:f, s:f, s:f, s:i, s:i, s:{s:s, s:[i, i], s:s}}", "type", "cnf", "solver",
                               solved ? "dopri5" : "rk4", "steps", solved ? 0 : 4, "rtol", tol, "atol", tol, "zero_init", 0, "probes", probes,
                               "gradient", gradient, "end", 1.7, "learn_end", learn, "kinetic", 0.7, "jacobian", 0.9, "acceleration", 0.4,
                               "order", 2 + probes, "most_steps", 1000, "net", "type", "concatsquash", "hidden", 7, 6, "activation", "tanh");
    return layerfix_new(config, dfo_shape_vector(d), 0, n);
}

/* The end as a weight: the map of the same end that stands still, there and back, and in training, with every cost, for every way
 * of gradients, its gradient against differences.  */
START_TEST(learned_end)
{
    enum { N = 3, D = 3 };
    static const char *const gradient[] = {"stored", "checkpoint", "reversible", "adjoint"};
    test_rng rng = test_rng_new(test_seed());
    double x[N * D], seed[N * D], ones[N] = {1, 1, 1}, gx[2][N * D], z[2][N * D], ld[2][N], h = IS_DOUBLE ? 1e-5 : 1e-2;
    double same = IS_DOUBLE ? 1e-12 : 1e-4, allowed = IS_DOUBLE ? 1e-7 : 1e-2;
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng), seed[i] = test_rng_normal(&rng);
    for (int k = 0; k < 8; k++) {
        layerfix f[2] = {learned(gradient[k / 2], 0, k % 2, D, N), learned(gradient[k / 2], 1, k % 2, D, N)};
        size_t one;
        dfo_real *root = layerfix_array(&f[1], "root_end", &one);
        ck_assert(one == 1 && fabs((double)(root[0] * root[0]) - 1.7) < 1e-6);
        double close = k / 2 == 3 ? 1e3 * same : same, got = 0, sum[2] = {0}, at[2], was = (double)root[0];
        for (int learn = 0; learn < 2; learn++) {
            f[learn].t->run.mode = DFO_TRAIN;
            ck_assert_int_eq(layerfix_grads(&f[learn], 0, N, x, NULL, seed, ones, gx[learn], NULL, NULL), DFO_OK);
            got = learn ? (double)layerfix_grad(&f[1], "root_end")[0] : 0;
            ck_assert_int_eq(layerfix_forward(&f[learn], N, x, NULL, z[learn], ld[learn]), DFO_OK);
        }
        near(gradient[k / 2], "latents", N * D, z[1], z[0], close);
        near(gradient[k / 2], "log-dets", N, ld[1], ld[0], close);
        near(gradient[k / 2], "gradient of rows", N * D, gx[1], gx[0], 10 * close);
        for (int side = 0; side < 2; side++) {
            at[side] = (double)(root[0] = (dfo_real)(was + (side ? -h : h)));
            ck_assert_int_eq(layerfix_forward(&f[1], N, x, NULL, z[1], ld[1]), DFO_OK);
            for (size_t i = 0; i < N * D; i++)
                sum[side] += seed[i] * z[1][i] + (i < N ? ld[1][i] : 0);
        }
        double slope = (sum[0] - sum[1]) / (at[0] - at[1]);
        ck_assert_msg(fabs(slope) > 1e-3 && fabs(slope - got) < allowed * fmax(1, fabs(slope)), "%s, %d probes: %.9g, differences %.9g",
                      gradient[k / 2], k % 2, got, slope);
        layerfix_free(&f[0]);
        layerfix_free(&f[1]);
    }
}
END_TEST

/* Steps that the gradient would not find room for are an error that says so.  */
START_TEST(failures)
{
    char text[512];
    static const struct { const char *config, *words; } bad[] = {
        {"{\"type\":\"cnf\",\"solver\":\"rk5\"}", "no method is called 'rk5'"},
        {"{\"type\":\"cnf\",\"solver\":\"rk4\"}", "no estimate of its errors"},
        {"{\"type\":\"cnf\",\"solver\":\"kvaerno3\"}", "its gradient is the adjoint's alone"},
        {"{\"type\":\"cnf\",\"gradient\":\"backsolve\"}", "expected stored, checkpoint, adjoint or reversible"},
        {"{\"type\":\"cnf\",\"rtol\":-1}", "rtol"},
        {"{\"type\":\"cnf\",\"order\":3,\"net\":{\"type\":\"mlp\"}}", "mlp net has no derivative of order 3"},
        {"{\"type\":\"cnf\",\"end\":0}", "end"},
        {"{\"type\":\"cnf\",\"probe\":\"normal\"}", "expected rademacher or gaussian, got normal"},
        {"{\"type\":\"cnf\",\"trace\":\"exact\"}", "expected hutchinson or hutch++, got exact"},
        {"{\"type\":\"cnf\",\"trace\":\"hutch++\",\"probes\":2}", "wants 3 probes or more (0: exact), got 2"},
        {"{\"type\":\"cnf\",\"net\":{\"type\":\"no-net\"}}", "no-net"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_ne(layerfix_try(bad[i].config, dfo_shape_vector(2), text, sizeof text), DFO_OK);
        ck_assert_msg(strstr(text, bad[i].words) != NULL, "%s", text);
    }
    layerfix f = layerfix_new(json_pack("{s:s, s:f, s:f, s:i, s:b}", "type", "cnf", "rtol", 1e-6, "atol", 1e-6, "most_steps", 1, "zero_init", 0),
                              dfo_shape_vector(2), 0, 1);
    size_t n;
    dfo_real *w = layerfix_array(&f, "net.w2", &n);
    for (size_t i = 0; i < n; i++)
        w[i] *= 40;
    double x[2] = {1, 2}, seed[2] = {1, 1}, ones[1] = {1}, gx[2];
    ck_assert_int_eq(layerfix_grads(&f, 0, 1, x, NULL, seed, ones, gx, NULL, NULL), DFO_ENUM);
    ck_assert_msg(strstr(f.t->run.text, "more than 1 steps") != NULL, "%s", f.t->run.text);
    layerfix_free(&f);
}
END_TEST

/* A plan serves fewer rows than it was made for: what is kept of these, a panel of 64 less, wants no more room, also where it is about the
 * most that is kept (nets of these widths); and a pass stays in its memory.  */
START_TEST(fewer_rows)
{
    static const int width[] = {300, 560, 780, 900, 1120};
    for (size_t k = 0; k < sizeof width / sizeof *width; k++) {
        layerfix f = layerfix_new(json_pack("{s:s, s:i, s:s, s:i, s:b, s:{s:s, s:s, s:[i, i, i]}}", "type", "cnf", "probes", 1, "solver", "rk4", "steps",
                                            4, "zero_init", 0, "net", "type", "mlp", "activation", "gelu", "hidden", width[k], width[k], width[k]),
                                  dfo_shape_vector(2), 0, 129);
        dfo_run how = {.memory = DFO_MEMORY_INVERT};
        size_t saved = 0, scratch = 0;
        for (size_t rows = 1; rows < 400; rows++) {
            size_t s = dfo_bijector_saved(f.bij, rows, &how), w = dfo_bijector_scratch(f.bij, rows);
            ck_assert_msg(s >= saved && w >= scratch, "width %d, %zu rows: %zu kept, %zu of scratch, of a row less %zu, %zu", width[k], rows, s, w, saved,
                          scratch);
            saved = s;
            scratch = w;
        }
        if (width[k] == 780) {
            static double x[2 * 128], g[2 * 128], seed[2 * 128], ones[128];
            for (size_t i = 0; i < 2 * 128; i++) {
                x[i] = cos((double)i);
                seed[i] = ones[i / 2] = 1;
            }
            f.t->run.mode = DFO_TRAIN;
            ck_assert_int_eq(layerfix_grads(&f, 0, 128, x, NULL, seed, ones, g, NULL, NULL), DFO_OK);
            testrun_check(f.t, "128 rows in a plan of 129");
        }
        layerfix_free(&f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("continuous flows " DFO_REAL_NAME);
    TCase *t = tcase_create("cnf");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, reference);
    tcase_add_test(t, linear_field);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, adjoint);
    tcase_add_test(t, costs);
    tcase_add_test(t, cost_gradients);
    tcase_add_test(t, learned_end);
    tcase_add_test(t, failures);
    tcase_add_test(t, fewer_rows);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
