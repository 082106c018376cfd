/* Likelihoods of diffusion models by the probability flow's equation against exact ones, and the terms of chains of noise, for numbers and
 * bits: the reference vectors, and what bounds must be.  */
#include <math.h>
#include <string.h>

#include <diffeo/ode.h>
#include "ctxfix.h"
#include "dist/markov_impl.h"
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

/* ---- chains of noise (lib/dist/markov*.c) */

/* Steps of rates beta, into step (n).  */
static void steps_of(ref_array beta, dfoi_markov_step *step)
{
    double at = 0;
    for (size_t i = 0; i < beta.n; i++) {
        step[i] = (dfoi_markov_step){i + 1, beta.data[i], at + log1p(-beta.data[i]), at};
        at = step[i].here;
    }
}

static void posterior_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta");
    double of_data[MOST], of_x[MOST], variance[MOST], abar[MOST];
    dfoi_markov_step step[MOST];
    steps_of(beta, step);
    for (size_t i = 0; i < beta.n; i++) {
        dfoi_markov_posterior q = dfoi_markov_posterior_of(step + i);
        of_data[i] = q.c;
        of_x[i] = q.k;
        variance[i] = q.v;
        abar[i] = exp(step[i].here);
    }
    near(c, "abar", abar, ref_need(c, "outputs.abar").data, beta.n, 1e-14);
    near(c, "coef_x0", of_data, ref_need(c, "outputs.coef_x0").data, beta.n, 1e-14);
    near(c, "coef_xt", of_x, ref_need(c, "outputs.coef_xt").data, beta.n, 1e-14);
    near(c, "beta_tilde", variance, ref_need(c, "outputs.beta_tilde").data, beta.n, 1e-14);
}

/* A way back N(u x_t + w, v).  */
struct reverse {
    const double *u, *w, *v;
};

/* A net that says so, for S = sigmoid(s + logit b) = v and x_t (1 - S) + S u' = u x_t + w.  */
static double term_at(const dfoi_markov_step *s, const struct reverse *p, double x0, double xt)
{
    double v = p->v[s->t - 1], net[2] = {xt + (p->u[s->t - 1] * xt + p->w[s->t - 1] - xt) / v, log(v / (1 - v)) - log(s->beta / (1 - s->beta))};
    return dfoi_markov_gaussian.term(s, 1, &x0, &xt, net, 0, &(dfoi_markov_grads){0});
}

/* E over x_0 of that mean and variance (0: one x_0), and the noise: terms are quadratic in both, so Gauss and Hermite's three nodes are exact.  */
static double mean_term(const dfoi_markov_step *s, const struct reverse *p, double mean, double variance)
{
    double sum = 0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++) {
            double x0 = mean + i * sqrt(3 * variance), e = j * sqrt(3), weight = (i ? 1 : 4) * (j ? 1 : 4) / 36.0;
            double xt = exp(s->here / 2) * x0 + sqrt(-expm1(s->here)) * e;
            sum += weight * (p ? term_at(s, p, x0, xt) : dfoi_markov_gaussian.last(s, 1, &x0, 0, &(dfoi_markov_grads){0}));
        }
    return sum;
}

/* term[0 .. T-1], and term[T] of the end.  */
static void terms_of(ref_array beta, const struct reverse *p, double mean, double variance, double *term)
{
    dfoi_markov_step step[MOST];
    steps_of(beta, step);
    for (size_t i = 0; i < beta.n; i++)
        term[i] = mean_term(step + i, p, mean, variance);
    term[beta.n] = mean_term(step + beta.n - 1, NULL, mean, variance);
}

static void bound_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta"), x0 = ref_need(c, "inputs.x0"), terms = ref_need(c, "outputs.L_0_to_Tm1"),
              last = ref_need(c, "outputs.L_T"), elbo = ref_need(c, "outputs.elbo");
    struct reverse p = {ref_need(c, "inputs.u").data, ref_need(c, "inputs.w").data, ref_need(c, "inputs.v").data};
    double term[MOST + 1];
    for (size_t i = 0; i < x0.n; i++) {
        double sum = 0;
        terms_of(beta, &p, x0.data[i], 0, term);
        for (size_t k = 0; k <= beta.n; k++)
            sum -= term[k];
        near(c, "L_0 to T-1", term, terms.data + i * beta.n, beta.n, 1e-12);
        near(c, "L_T", term + beta.n, last.data + i, 1, 1e-12);
        near(c, "elbo", &sum, elbo.data + i, 1, 1e-12);
    }
}

/* The way back that is right for normal data: what is missing of the entropy is what x_T of all data is from the prior.  */
static void exact_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta"), entropy = ref_need(c, "outputs.negative_entropy");
    struct reverse p = {ref_need(c, "outputs.u").data, ref_need(c, "outputs.w").data, ref_need(c, "outputs.v").data};
    double mean = ref_number(c, "settings.data_mean", 0), v = ref_number(c, "settings.data_var", 0), term[MOST + 1], sum = 0;
    dfoi_markov_step step[MOST];
    steps_of(beta, step);
    terms_of(beta, &p, mean, v, term);
    for (size_t k = 0; k <= beta.n; k++)
        sum -= term[k];
    near(c, "expected_elbo", &sum, ref_need(c, "outputs.expected_elbo").data, 1, 1e-12);
    double abar = exp(step[beta.n - 1].here), all = abar * v + 1 - abar, missing = (all + abar * mean * mean - 1 - log(all)) / 2;
    ck_assert(fabs(sum + missing - entropy.data[0]) < 1e-12 && missing > 1e-3);
}

/* K = -sum E KL + H(x_T | x_0) - H(x_1 | x_0) - H_p(x_T), the entropies being the reference's.  */
static void entropy_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta");
    struct reverse p = {ref_need(c, "inputs.u").data, ref_need(c, "inputs.w").data, ref_need(c, "inputs.v").data};
    double term[MOST + 1], k = ref_need(c, "outputs.H_XT_given_X0").data[0] - ref_need(c, "outputs.H_X1_given_X0").data[0] -
                               ref_need(c, "outputs.H_p_XT").data[0];
    terms_of(beta, &p, ref_number(c, "settings.data_mean", 0), ref_number(c, "settings.data_var", 0), term);
    for (size_t i = 1; i < beta.n; i++)
        k -= term[i];
    near(c, "EKL", term + 1, ref_need(c, "outputs.EKL_2_to_T").data, beta.n - 1, 1e-12);
    near(c, "K", &k, ref_need(c, "outputs.K").data, 1, 1e-12);
}

static void bits_case(ref_case c)
{
    ref_array beta = ref_need(c, "inputs.beta"), p = ref_need(c, "inputs.p");
    double marginal[2 * MOST], posterior[4 * MOST], kl[4 * MOST];
    dfoi_markov_step step[MOST];
    size_t n = 4 * (beta.n - 1);
    steps_of(beta, step);
    for (size_t i = 0; i < 2 * beta.n; i++)
        marginal[i] = dfoi_markov_bits_marginal(step + i / 2, i % 2 ? 1 : -1);
    for (size_t i = 0; i < n; i++) {
        posterior[i] = dfoi_markov_bits_posterior(step + i / 4 + 1, i % 2 ? 1 : -1, i / 2 % 2 ? 1 : -1);
        kl[i] = dfoi_markov_bits_kl(posterior[i], p.data[i / 4 + 1], 1 - p.data[i / 4 + 1]);
    }
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

/* 0 of a law to itself, above 0 else; certain bits.  */
START_TEST(divergences)
{
    ck_assert_double_eq(dfoi_markov_bits_kl(0.3, 0.3, 0.7), 0);
    ck_assert(dfoi_markov_bits_kl(0.3, 0.4, 0.6) > 0);
    ck_assert(fabs(dfoi_markov_bits_kl(1, 0.5, 0.5) - log(2)) < 1e-15 && fabs(dfoi_markov_bits_kl(0, 0.5, 0.5) - log(2)) < 1e-15);
    dfoi_markov_step s = {3, 0.2, -0.5, -0.5 - log1p(-0.2)};
    dfoi_markov_posterior q = dfoi_markov_posterior_of(&s);
    double u[3] = {0, 0, q.k}, w[3] = {0, 0, q.c * 0.7}, more[3] = {0, 0, q.c * 0.7 + 0.1}, v[3] = {0, 0, q.v};
    struct reverse p = {u, w, v}, other = {u, more, v};
    ck_assert(fabs(term_at(&s, &p, 0.7, 1.3)) < 1e-14 && term_at(&s, &other, 0.7, 1.3) > 1e-3);
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
