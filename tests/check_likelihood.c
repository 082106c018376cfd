/* Likelihoods of diffusion models by the probability flow's equation against exact ones, and the discrete bound's terms, for numbers and
 * bits: the reference vectors, and what bounds must be.  */
#include <math.h>
#include <string.h>

#include <diffeo/discrete.h>
#include <diffeo/ode.h>
#include "ctxfix.h"
#include "mixfield.h"
#include "util.h"

enum { MOST = 10 };

static void near(ref_case c, const char *what, const double *got, const double *want, size_t n, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * size, "%s, %s, %zu: %.17g, expected %.17g", c.name, what, i, got[i], want[i]);
}

/* ---- dx/dt = drift x - g^2 score/2 with the exact score, and its divergence; times from 1e-30, where sigma is no longer 0 */

static dfo_status eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const mixture *m = f->state;
    (void)run;
    for (size_t i = 0; i < x.n; i++) {
        dfo_noise_point p = dfo_noise_schedule_at(&m->schedule, fmax(t[i], 1e-30));
        double at[2] = {(double)dfo_row(x, i)[0], (double)dfo_row(x, i)[1]}, eps[2], j[4], by = p.g2 / (2 * p.sigma);
        mixture_at(m, p.t, at, eps, j);
        for (size_t k = 0; k < 2; k++)
            dfo_row(dx, i)[k] = (dfo_real)(p.drift * at[k] + by * eps[k]);
        if (dq)
            dq[i] = 2 * p.drift + by * (j[0] + j[3]);
    }
    return DFO_OK;
}

static double log_density(const mixture *m, double t, const double x[2])
{
    dfo_noise_point at = dfo_noise_schedule_at(&m->schedule, t);
    double a = at.alpha * at.alpha, v = at.sigma * at.sigma, sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        double c0 = a * m->cov[i][0] + v, c1 = a * m->cov[i][1], c2 = a * m->cov[i][2] + v, det = c0 * c2 - c1 * c1;
        double u = x[0] - at.alpha * m->mean[i][0], w = x[1] - at.alpha * m->mean[i][1];
        sum += m->w[i] * exp(-(c2 * u * u - 2 * c1 * u * w + c0 * w * w) / (2 * det)) / sqrt(det);
    }
    return log(sum) - 1.8378770664093454836;
}

static void flow_case(ref_case c)
{
    static const struct dfo_field_ops ops = {.type = "probability flow", .eval = eval};
    ref_array start = ref_need(c, "inputs.x"), logp = ref_need(c, "outputs.logp"), prior = ref_need(c, "outputs.logp_prior"),
              end = ref_need(c, "outputs.x_T");
    mixture m = mixture_of(c, 0);
    dfo_field f = {.ops = &ops, .state = &m, .d = 2, .nq = 1};
    double times[2] = {ref_number(c, "settings.t_eps", -1), ref_number(c, "settings.T", -1)}, q[MOST] = {0}, got[MOST], usual[MOST], to[2 * MOST];
    dfo_real x[2 * MOST], out[4 * MOST];
    dfo_ode_options o;
    dfo_ode *ode;
    size_t n = logp.n;
    dfo_noise_point last = dfo_noise_schedule_at(&m.schedule, times[1]);
    double v = m.schedule.kind == DFO_NOISE_VE ? last.sigma * last.sigma : 1;
    ck_assert(n <= MOST && times[0] >= 0 && times[1] > times[0]);
    dfo_ode_defaults(&o);
    o.method = "pd87";
    o.rtol = o.atol = 1e-11;
    o.most = 100000;
    o.quadratures = 1;
    OK(dfo_ode_new(ctx, &o, &ode));
    for (size_t i = 0; i < 2 * n; i++)
        x[i] = (dfo_real)start.data[i];
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, n, 2), 2, times, out, q, NULL));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < 2; j++)
            to[2 * i + j] = (double)out[2 * (n + i) + j];
        got[i] = log_density(&m, times[1], to + 2 * i) + q[i];
        usual[i] = q[i] - 1.8378770664093454836 - log(v) - (to[2 * i] * to[2 * i] + to[2 * i + 1] * to[2 * i + 1]) / (2 * v);
    }
    near(c, "x_T", to, end.data, 2 * n, 1e-8);
    near(c, "logp", got, logp.data, n, 1e-8);
    near(c, "logp_prior", usual, prior.data, n, 1e-8);
    dfo_ode_free(ode);
}

/* ---- discrete steps */

static void posterior_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta");
    double of_data[MOST], of_x[MOST], variance[MOST], abar[MOST];
    dfo_discrete_posterior(beta.n, beta.data, of_data, of_x, variance, abar);
    near(c, "abar", abar, ref_need(c, "outputs.abar").data, beta.n, 1e-14);
    near(c, "coef_x0", of_data, ref_need(c, "outputs.coef_x0").data, beta.n, 1e-14);
    near(c, "coef_xt", of_x, ref_need(c, "outputs.coef_xt").data, beta.n, 1e-14);
    near(c, "beta_tilde", variance, ref_need(c, "outputs.beta_tilde").data, beta.n, 1e-14);
}

static void bound_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta"), x0 = ref_need(c, "inputs.x0"), terms = ref_need(c, "outputs.L_0_to_Tm1"),
              last = ref_need(c, "outputs.L_T"), elbo = ref_need(c, "outputs.elbo");
    dfo_discrete_reverse p = {ref_need(c, "inputs.u").data, ref_need(c, "inputs.w").data, ref_need(c, "inputs.v").data};
    double term[MOST + 1], work[4 * MOST];
    for (size_t i = 0; i < x0.n; i++) {
        double sum = 0;
        dfo_discrete_bound(beta.n, beta.data, &p, x0.data[i], 0, term, work);
        for (size_t k = 0; k <= beta.n; k++)
            sum -= term[k];
        near(c, "L_0 to T-1", term, terms.data + i * beta.n, beta.n, 1e-12);
        near(c, "L_T", term + beta.n, last.data + i, 1, 1e-12);
        near(c, "elbo", &sum, elbo.data + i, 1, 1e-12);
    }
}

static void exact_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta"), entropy = ref_need(c, "outputs.negative_entropy");
    double mean = ref_number(c, "settings.data_mean", 0), v = ref_number(c, "settings.data_var", 0);
    double u[MOST], w[MOST], var[MOST], term[MOST + 1], work[4 * MOST], sum = 0;
    dfo_discrete_exact_reverse(beta.n, beta.data, mean, v, u, w, var);
    near(c, "u", u, ref_need(c, "outputs.u").data, beta.n, 1e-13);
    near(c, "w", w, ref_need(c, "outputs.w").data, beta.n, 1e-13);
    near(c, "v", var, ref_need(c, "outputs.v").data, beta.n, 1e-13);
    dfo_discrete_bound(beta.n, beta.data, &(dfo_discrete_reverse){u, w, var}, mean, v, term, work);
    for (size_t k = 0; k <= beta.n; k++)
        sum -= term[k];
    near(c, "expected_elbo", &sum, ref_need(c, "outputs.expected_elbo").data, 1, 1e-12);
    /* what is missing is that of the last marginal, of all data, to the prior */
    double abar = work[4 * beta.n - 1], all = abar * v + 1 - abar, missing = dfo_discrete_normal_kl(sqrt(abar) * mean, all, 0, 1);
    ck_assert(fabs(sum + missing - entropy.data[0]) < 1e-12 && missing > 1e-3);
}

/* K = -sum E KL + H(x_T | x_0) - H(x_1 | x_0) - H_p(x_T).  */
static void entropy_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta");
    dfo_discrete_reverse p = {ref_need(c, "inputs.u").data, ref_need(c, "inputs.w").data, ref_need(c, "inputs.v").data};
    double term[MOST + 1], work[4 * MOST], whole = 1 + 1.8378770664093454836;
    dfo_discrete_bound(beta.n, beta.data, &p, ref_number(c, "settings.data_mean", 0), ref_number(c, "settings.data_var", 0), term, work);
    double to = (whole + log(1 - work[4 * beta.n - 1])) / 2, from = (whole + log(beta.data[0])) / 2, prior = whole / 2, k = to - from - prior;
    for (size_t i = 1; i < beta.n; i++)
        k -= term[i];
    near(c, "EKL", term + 1, ref_need(c, "outputs.EKL_2_to_T").data, beta.n - 1, 1e-12);
    near(c, "H(x_T|x_0)", &to, ref_need(c, "outputs.H_XT_given_X0").data, 1, 1e-12);
    near(c, "H(x_1|x_0)", &from, ref_need(c, "outputs.H_X1_given_X0").data, 1, 1e-12);
    near(c, "H_p(x_T)", &prior, ref_need(c, "outputs.H_p_XT").data, 1, 1e-12);
    near(c, "K", &k, ref_need(c, "outputs.K").data, 1, 1e-12);
}

static void bits_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta"), p = ref_need(c, "inputs.p");
    double marginal[2 * MOST], posterior[4 * MOST], kl[4 * MOST];
    size_t n = 4 * (beta.n - 1);
    dfo_discrete_bits_marginal(beta.n, beta.data, marginal);
    dfo_discrete_bits_posterior(beta.n, beta.data, posterior);
    for (size_t i = 0; i < n; i++)
        kl[i] = dfo_discrete_bits_kl(posterior[i], p.data[i / 4 + 1]);
    near(c, "marginal", marginal, ref_need(c, "outputs.marginal").data, 2 * beta.n, 1e-14);
    near(c, "posterior", posterior, ref_need(c, "outputs.posterior").data, n, 1e-13);
    near(c, "kl", kl, ref_need(c, "outputs.kl").data, n, 1e-12);
}

START_TEST(reference)
{
    static const struct { const char *begins; void (*run)(ref_case); size_t count; } kinds[] = {
        {"pf_ode", flow_case, 8}, {"gaussian_posterior", posterior_case, 1}, {"gaussian_bound", bound_case, 1},
        {"gaussian_exact_reverse", exact_case, 1}, {"sohl_dickstein_K", entropy_case, 1}, {"binary", bits_case, 2}};
    ref_file *f = ref_open("likelihood");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        size_t count = 0;
        for (size_t i = 0; i < ref_cases(f); i++)
            if (!strncmp(ref_at(f, i).name, kinds[k].begins, strlen(kinds[k].begins))) {
                ref_case c = ref_at(f, i);
                ck_assert_uint_le(ref_need(c, k ? "inputs.beta" : "inputs.w").n, k ? MOST : 8);
                kinds[k].run(c);
                count++;
            }
        ck_assert_uint_eq(count, kinds[k].count);
    }
    ck_assert_uint_eq(ref_cases(f), 14);
    ref_close(f);
}
END_TEST

/* Divergences: 0 of a law to itself, above 0 else; certain bits.  */
START_TEST(divergences)
{
    ck_assert_double_eq(dfo_discrete_normal_kl(0.3, 0.7, 0.3, 0.7), 0);
    ck_assert(dfo_discrete_normal_kl(0.3, 0.7, 0.3, 0.8) > 0 && dfo_discrete_normal_kl(0.3, 0.7, 0.4, 0.7) > 0);
    ck_assert(isinf(dfo_discrete_normal_kl(0, 0, 0, 1)));
    ck_assert_double_eq(dfo_discrete_bits_kl(0.3, 0.3), 0);
    ck_assert(fabs(dfo_discrete_bits_kl(1, 0.5) - log(2)) < 1e-15 && fabs(dfo_discrete_bits_kl(0, 0.5) - log(2)) < 1e-15);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("likelihoods of diffusion");
    TCase *t = tcase_create("likelihood");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reference);
    tcase_add_test(t, divergences);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
