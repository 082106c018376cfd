/* See odefields.h.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "odefields.h"
#include "util.h"

size_t odefield_evaluations;

static struct {
    char      name[32];
    size_t    d, h;
    ref_array a, w1, wt, b1, w2, b2;
} now;

static void linear(double t, const double *x, double *y)
{
    int stiff = !strcmp(now.name, "prothero_robinson");
    for (size_t i = 0; i < now.d; i++) {
        y[i] = stiff ? -sin(t) : 0;
        for (size_t j = 0; j < now.d; j++)
            y[i] += now.a.data[i * now.d + j] * (x[j] - (stiff ? cos(t) : 0));
    }
}

static void mlp(double t, const double *x, double *y)
{
    memcpy(y, now.b2.data, now.d * sizeof *y);
    for (size_t k = 0; k < now.h; k++) {
        double a = now.b1.data[k] + now.wt.data[k] * t;
        for (size_t j = 0; j < now.d; j++)
            a += now.w1.data[k * now.d + j] * x[j];
        for (size_t i = 0; i < now.d; i++)
            y[i] += now.w2.data[i * now.h + k] * tanh(a);
    }
}

static void bodies(const double *x, double *y)
{
    static const double k2 = 2.95912208286, m0 = 1.00000597682,
                        m[5] = {.000954786104043, .000285583733151, .0000437273164546, .0000517759138449, .00000277777777778};
    double r3[5];
    for (size_t j = 0; j < 5; j++)
        r3[j] = pow(x[3 * j] * x[3 * j] + x[3 * j + 1] * x[3 * j + 1] + x[3 * j + 2] * x[3 * j + 2], 1.5);
    memcpy(y, x + 15, 15 * sizeof *y);
    for (size_t j = 0; j < 5; j++)
        for (size_t i = 0; i < 3; i++) {
            double sum = -(m0 + m[j]) * x[3 * j + i] / r3[j];
            for (size_t k = 0; k < 5; k++) {
                double d2 = 0;
                for (size_t q = 0; k != j && q < 3; q++)
                    d2 += (x[3 * k + q] - x[3 * j + q]) * (x[3 * k + q] - x[3 * j + q]);
                if (k != j)
                    sum += m[k] * ((x[3 * k + i] - x[3 * j + i]) / pow(d2, 1.5) - x[3 * k + i] / r3[k]);
            }
            y[15 + 3 * j + i] = k2 * sum;
        }
}

static void chain(const double *x, double *y)
{
    size_t n = now.d;
    int kind = now.name[1] - '0';
    for (size_t i = 0; i < n; i++) {
        double before = i ? x[i - 1] : 0, after = i + 1 < n ? x[i + 1] : 0;
        if (kind <= 2)                     /* C2: rates i, i - 1 of the (i-1)th's */
            y[i] = (kind == 1 ? 1 : (double)i) * before - (i + 1 < n ? kind == 1 ? 1 : (double)(i + 1) : 0) * x[i];
        else
            y[i] = before - 2 * x[i] + after;
    }
}

static void problem_a(double t, const double *x, double *y)
{
    switch (now.name[1]) {
    case '1': y[0] = -x[0]; return;
    case '2': y[0] = -x[0] * x[0] * x[0] / 2; return;
    case '3': y[0] = x[0] * cos(t); return;
    case '4': y[0] = x[0] / 4 * (1 - x[0] / 20); return;
    default: y[0] = (x[0] - t) / (x[0] + t);
    }
}

static void problem_b(const double *x, double *y)
{
    double r = now.d == 3 ? hypot(x[0], x[1]) : 1;
    switch (now.name[1]) {
    case '1': y[0] = 2 * (x[0] - x[0] * x[1]), y[1] = -(x[1] - x[0] * x[1]); return;
    case '2': y[0] = -x[0] + x[1], y[1] = x[0] - 2 * x[1] + x[2], y[2] = x[1] - x[2]; return;
    case '3': y[0] = -x[0], y[1] = x[0] - x[1] * x[1], y[2] = x[1] * x[1]; return;
    case '4': y[0] = -x[1] - x[0] * x[2] / r, y[1] = x[0] - x[1] * x[2] / r, y[2] = x[0] / r; return;
    default: y[0] = x[1] * x[2], y[1] = -x[0] * x[2], y[2] = -0.51 * x[0] * x[1];
    }
}

static void problem_e(double t, const double *x, double *y)
{
    y[0] = x[1];
    switch (now.name[1]) {
    case '1': y[1] = -(x[1] / (t + 1) + (1 - 0.25 / ((t + 1) * (t + 1))) * x[0]); return;
    case '2': y[1] = (1 - x[0] * x[0]) * x[1] - x[0]; return;
    case '3': y[1] = x[0] * x[0] * x[0] / 6 - x[0] + 2 * sin(2.78535 * t); return;
    case '4': y[1] = 0.032 - 0.4 * x[1] * x[1]; return;
    default: y[1] = sqrt(1 + x[1] * x[1]) / (25 - t);
    }
}

static void kepler(const double *x, double *y)
{
    double r3 = pow(x[0] * x[0] + x[1] * x[1], 1.5);
    y[0] = x[2], y[1] = x[3], y[2] = -x[0] / r3, y[3] = -x[1] / r3;
}

static void rate(double t, const double *x, double *y)
{
    const char *name = now.name;
    if (!strcmp(name, "linear") || !strcmp(name, "prothero_robinson"))
        linear(t, x, y);
    else if (!strcmp(name, "mlp"))
        mlp(t, x, y);
    else if (!strcmp(name, "lotka_volterra"))
        y[0] = now.a.data[0] * x[0] - now.a.data[1] * x[0] * x[1], y[1] = now.a.data[3] * x[0] * x[1] - now.a.data[2] * x[1];
    else if (!strcmp(name, "harmonic"))
        y[0] = x[1], y[1] = -x[0];
    else if (!strcmp(name, "lorenz"))
        y[0] = 10 * (x[1] - x[0]), y[1] = x[0] * (28 - x[2]) - x[1], y[2] = x[0] * x[1] - 8.0 / 3 * x[2];
    else if (!strcmp(name, "C5"))
        bodies(x, y);
    else if (name[0] == 'A')
        problem_a(t, x, y);
    else if (name[0] == 'B')
        problem_b(x, y);
    else if (name[0] == 'C')
        chain(x, y);
    else if (name[0] == 'D' || !strcmp(name, "kepler"))
        kepler(x, y);
    else
        problem_e(t, x, y);
}

static dfo_status eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    double in[64], out[64];
    (void)run;
    odefield_evaluations++;
    for (size_t i = 0; i < x.n; i++) {
        for (size_t j = 0; j < f->d; j++)
            in[j] = (double)dfo_row(x, i)[j];
        rate(t[i], in, out);
        for (size_t j = 0; j < f->d; j++)
            dfo_row(dx, i)[j] = (dfo_real)out[j];
        for (size_t j = 0; dq && j < f->nq; j++)       /* the square of the j-th component, and of the time */
            dq[i * f->nq + j] = j < f->d ? in[j] * in[j] : t[i] * t[i];
    }
    return DFO_OK;
}

static void mlp_vjp(double t, const double *x, const double *g, double *gx, dfo_real *gw)
{
    size_t d = now.d, h = now.h;
    for (size_t k = 0; k < h; k++) {
        double a = now.b1.data[k] + now.wt.data[k] * t, back = 0;
        for (size_t j = 0; j < d; j++)
            a += now.w1.data[k * d + j] * x[j];
        for (size_t i = 0; i < d; i++)
            back += g[i] * now.w2.data[i * h + k];
        double slope = back * (1 - tanh(a) * tanh(a));
        for (size_t j = 0; j < d; j++) {
            gx[j] += slope * now.w1.data[k * d + j];
            if (gw)
                gw[k * d + j] += (dfo_real)(slope * x[j]);
        }
        if (gw)
            gw[h * d + k] += (dfo_real)(slope * t), gw[h * d + h + k] += (dfo_real)slope;
        for (size_t i = 0; gw && i < d; i++)
            gw[h * d + 2 * h + i * h + k] += (dfo_real)(g[i] * tanh(a));
    }
    for (size_t i = 0; gw && i < d; i++)
        gw[2 * h * d + 2 * h + i] += (dfo_real)g[i];
}

static dfo_status vjp(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    double in[64], g[64], back[64];
    for (size_t i = 0; i < x.n; i++) {
        for (size_t j = 0; j < f->d; j++) {
            in[j] = (double)dfo_row(x, i)[j];
            g[j] = (double)dfo_row(gdx, i)[j];
            back[j] = gdq && j < f->nq ? 2 * gdq[i * f->nq + j] * in[j] : 0;
        }
        for (size_t j = 0; j < f->d && !strcmp(now.name, "linear"); j++)
            for (size_t k = 0; k < f->d; k++)
                back[k] += g[j] * now.a.data[j * f->d + k];
        if (!strcmp(now.name, "mlp"))
            mlp_vjp(t[i], in, g, back, run->grads);
        for (size_t j = 0; j < f->d; j++)
            dfo_row(gx, i)[j] += (dfo_real)back[j];
    }
    return DFO_OK;
}

static dfo_field made(const char *name, size_t d)
{
    static const struct dfo_field_ops ops = {.type = "test", .eval = eval, .vjp = vjp};
    snprintf(now.name, sizeof now.name, "%s", name);
    now.d = d;
    return (dfo_field){.ops = &ops, .d = d};
}

static ref_array array(ref_case c, const char *inputs, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "%s.%s", inputs, key);
    return ref_get(c, path);
}

dfo_field odefield_of(ref_case c, const char *inputs)
{
    const char *name = ref_text(c, "settings.field", "mlp");
    now.a = array(c, inputs, strcmp(name, "lotka_volterra") ? "A" : "abcd");
    now.w1 = array(c, inputs, "W1");
    now.wt = array(c, inputs, "wt");
    now.b1 = array(c, inputs, "b1");
    now.w2 = array(c, inputs, "W2");
    now.b2 = array(c, inputs, "b2");
    now.h = now.b1.n;
    return made(name, array(c, inputs, "y0").n);
}

double *odefield_weight(size_t k)
{
    const ref_array *all[5] = {&now.w1, &now.wt, &now.b1, &now.w2, &now.b2};
    for (size_t a = 0; a < 5; k -= all[a]->n, a++)
        if (k < all[a]->n)
            return (double *)all[a]->data + k;
    return NULL;
}

dfo_field odefield_named(const char *problem, size_t d)
{
    return made(problem, d);
}
