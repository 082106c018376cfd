/* See mixfield.h.  With the marginal's components N(alpha mean_i, alpha^2 C_i + sigma^2 I), P_i their precisions, r_i their
 * posterior weights and g_i = P_i (x - alpha mean_i): eps = sigma sum r_i g_i, x_0 = sum r_i (mean_i + alpha C_i g_i).  */
#include <math.h>
#include <string.h>

#include "mixfield.h"
#include "util.h"

mixture mixture_usual(dfo_noise_schedule_kind kind, int data)
{
    mixture m = {.data = data, .n = 3, .w = {0.5, 0.3, 0.2}, .mean = {{1, 0.5}, {-1.2, 0.3}, {0.2, -1}},
                 .cov = {{0.3, 0.1, 0.2}, {0.15, -0.05, 0.4}, {0.25, 0, 0.1}}};
    ck_assert_int_eq(dfo_noise_schedule_named(NULL, dfo_noise_schedule_name(kind), &m.schedule), DFO_OK);
    return m;
}

mixture mixture_of(ref_case c, int data)
{
    ref_array w = ref_need(c, "inputs.w"), mean = ref_need(c, "inputs.mu"), cov = ref_need(c, "inputs.C");
    static const char *const names[] = {[DFO_NOISE_VP] = "vp_linear", [DFO_NOISE_SUBVP] = "subvp", [DFO_NOISE_VE] = "ve",
                                        [DFO_NOISE_SCALED_LINEAR] = "scaled_linear"};
    const char *name = ref_text(c, "settings.schedule", "");
    mixture m = {.data = data, .n = w.n};
    size_t kind = 0;
    while (kind < 4 && strcmp(name, names[kind]))
        kind++;
    ck_assert_msg(kind < 4, "%s: schedule %s", c.name, name);
    m.schedule = (dfo_noise_schedule){.kind = (dfo_noise_schedule_kind)kind, .beta_min = ref_number(c, "settings.beta_min", 0),
                                      .beta_max = ref_number(c, "settings.beta_max", 0), .sigma_min = ref_number(c, "settings.sigma_min", 0),
                                      .sigma_max = ref_number(c, "settings.sigma_max", 0)};
    for (size_t i = 0; i < w.n; i++) {
        m.w[i] = w.data[i];
        memcpy(m.mean[i], mean.data + 2 * i, sizeof m.mean[i]);
        m.cov[i][0] = cov.data[4 * i], m.cov[i][1] = cov.data[4 * i + 1], m.cov[i][2] = cov.data[4 * i + 3];
    }
    return m;
}

void mixture_at(const mixture *m, double t, const double x[2], double value[2], double jacobian[4])
{
    dfo_noise_point at = dfo_noise_schedule_at(&m->schedule, t);
    double a = at.alpha, v = at.sigma * at.sigma, log_r[8], most = -HUGE_VAL, g[8][2], p[8][3], sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        double c0 = a * a * m->cov[i][0] + v, c1 = a * a * m->cov[i][1], c2 = a * a * m->cov[i][2] + v, det = c0 * c2 - c1 * c1;
        double u0 = x[0] - a * m->mean[i][0], u1 = x[1] - a * m->mean[i][1];
        p[i][0] = c2 / det, p[i][1] = -c1 / det, p[i][2] = c0 / det;
        g[i][0] = p[i][0] * u0 + p[i][1] * u1, g[i][1] = p[i][1] * u0 + p[i][2] * u1;
        log_r[i] = log(m->w[i]) - (u0 * g[i][0] + u1 * g[i][1] + log(det)) / 2;
        most = fmax(most, log_r[i]);
    }
    for (size_t i = 0; i < m->n; i++)
        sum += log_r[i] = exp(log_r[i] - most);
    double s[2] = {0, 0}, x0[2] = {0, 0}, h[3] = {0, 0, 0};
    for (size_t i = 0; i < m->n; i++) {
        double r = log_r[i] / sum;
        s[0] += r * g[i][0], s[1] += r * g[i][1];
        x0[0] += r * (m->mean[i][0] + a * (m->cov[i][0] * g[i][0] + m->cov[i][1] * g[i][1]));
        x0[1] += r * (m->mean[i][1] + a * (m->cov[i][1] * g[i][0] + m->cov[i][2] * g[i][1]));
        h[0] += r * (p[i][0] - g[i][0] * g[i][0]), h[1] += r * (p[i][1] - g[i][0] * g[i][1]),
            h[2] += r * (p[i][2] - g[i][1] * g[i][1]);
    }
    value[0] = m->data ? x0[0] : at.sigma * s[0];
    value[1] = m->data ? x0[1] : at.sigma * s[1];
    h[0] += s[0] * s[0], h[1] += s[0] * s[1], h[2] += s[1] * s[1];
    for (size_t i = 0; jacobian && i < 4; i++) {
        double j = h[i == 0 ? 0 : i == 3 ? 2 : 1];                       /* of the negative score */
        jacobian[i] = m->data ? ((i == 0 || i == 3) - v * j) / a : at.sigma * j;
    }
}

static void shifted(const dfo_field *f, double t, dfo_batch x, size_t i, double at[2], double plus[2])
{
    const mixture *m = f->state;
    double a = dfo_noise_schedule_at(&m->schedule, t).alpha;
    for (size_t j = 0; j < 2; j++) {
        double c = f->cond ? (double)dfo_row(f->cond->part[0].rows, i)[j] : 0;
        at[j] = (double)dfo_row(x, i)[j] - c;
        plus[j] = m->data ? c / a : 0;
    }
}

static dfo_status eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const mixture *m = f->state;
    double at[2], plus[2], value[2];
    (void)run, (void)dq;
    ((mixture *)(uintptr_t)f->state)->evaluations++;
    for (size_t i = 0; i < x.n; i++) {
        shifted(f, t[i], x, i, at, plus);
        mixture_at(m, t[i], at, value, NULL);
        dfo_row(dx, i)[0] = (dfo_real)(value[0] + plus[0]);
        dfo_row(dx, i)[1] = (dfo_real)(value[1] + plus[1]);
    }
    return DFO_OK;
}

static dfo_status vjp(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq,
                      dfo_batch gx)
{
    const mixture *m = f->state;
    double at[2], plus[2], value[2], j[4];
    (void)run, (void)gdq;
    for (size_t i = 0; i < x.n; i++) {
        shifted(f, t[i], x, i, at, plus);
        mixture_at(m, t[i], at, value, j);
        double g0 = (double)dfo_row(gdx, i)[0], g1 = (double)dfo_row(gdx, i)[1],
               a = dfo_noise_schedule_at(&m->schedule, t[i]).alpha;
        double back[2] = {j[0] * g0 + j[2] * g1, j[1] * g0 + j[3] * g1}, g[2] = {g0, g1};
        for (size_t k = 0; k < 2; k++) {
            dfo_row(gx, i)[k] += (dfo_real)back[k];
            if (f->gcond)
                dfo_row(f->gcond->part[0].rows, i)[k] += (dfo_real)((m->data ? g[k] / a : 0) - back[k]);
        }
    }
    return DFO_OK;
}

dfo_field mixture_field(mixture *m)
{
    static const struct dfo_field_ops ops = {.type = "mixture", .eval = eval, .vjp = vjp};
    return (dfo_field){.ops = &ops, .state = m, .d = 2};
}
