/* The problems of DETEST (Hull et al. 1972) by chosen steps at tolerances of 1e-3 to 1e-9: detest [--peers TABLE] [--plot FILE.png].
 * A line for every problem and tolerance, rtol = atol, with the error at the end, over max(1, |x|), and the evaluations of the field
 * of every method; then their geometric mean and sum over the problems.  GSL's methods (odeiv2) solve the same functions; a table of
 * detest_peers.py adds its columns.  */
#include <gsl/gsl_errno.h>
#include <gsl/gsl_odeiv2.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ode.h>
#include <diffeo/plot.h>
#include "odefields.h"

enum { FIRST = 3, LAST = 9, TOLERANCES = LAST - FIRST + 1, OURS = 7, METHODS = 10, MOST_D = 64 };
static const char *const names[METHODS] = {"bosh3", "dopri5", "tsit5", "pd87", "dop853", "gsl rkf45", "gsl rk8pd",
                                           "torch dopri5", "scipy RK45", "scipy DOP853"};

struct outcome {
    double error, evaluations;
};

static dfo_ctx *ctx;
static FILE *peers;                        /* their table, or NULL */
static size_t methods = OURS;

static void die(const char *what)
{
    fprintf(stderr, "detest: %s\n", what);
    exit(1);
}

static int gsl_rate(double t, const double *x, double *dx, void *state)
{
    const dfo_field *f = state;
    f->ops->eval(f, NULL, &t, dfo_batch_of((double *)x, 1, f->d), dfo_batch_of(dx, 1, f->d), NULL);
    return GSL_SUCCESS;
}

static void by_gsl(const gsl_odeiv2_step_type *type, dfo_field *f, double t, double end, double tol, double *x)
{
    gsl_odeiv2_system system = {gsl_rate, NULL, f->d, f};
    gsl_odeiv2_driver *driver = gsl_odeiv2_driver_alloc_y_new(&system, type, 1e-3 * (end - t), tol, tol);
    if (!driver || gsl_odeiv2_driver_apply(driver, &t, end, x) != GSL_SUCCESS)
        die("GSL gave up");
    gsl_odeiv2_driver_free(driver);
}

static void by_diffeo(const char *method, const dfo_field *f, double t, double end, double tol, double *x)
{
    dfo_ode_options o;
    dfo_ode *ode;
    double times[2] = {t, end}, out[2 * MOST_D];
    dfo_ode_defaults(&o);
    o.method = method;
    o.rtol = o.atol = tol;
    o.most = 1000000;
    if (dfo_ode_new(ctx, &o, &ode) || dfo_ode_integrate(ctx, ode, f, dfo_batch_of(x, 1, f->d), 2, times, out, NULL, NULL))
        die(dfo_ctx_error(ctx));
    memcpy(x, out + f->d, f->d * sizeof *x);
    dfo_ode_free(ode);
}

/* The array "group.key" of a case, of MOST_D numbers at most; their number.  */
static size_t numbers(const json_t *c, const char *group, const char *key, double *to)
{
    const json_t *data = json_object_get(json_object_get(json_object_get(c, group), key), "data"), *one;
    size_t i;
    if (!json_array_size(data) || json_array_size(data) > MOST_D)
        die("ode_reference.json: a case without its numbers");
    json_array_foreach((json_t *)data, i, one)
        to[i] = json_number_value(one);
    return i;
}

static void solve(const json_t *c, double tol, struct outcome out[METHODS])
{
    const json_t *settings = json_object_get(c, "settings");
    double begin[MOST_D], end[MOST_D], want[MOST_D], x[MOST_D], start = json_number_value(json_object_get(settings, "t0"));
    size_t d = numbers(c, "inputs", "y0", begin);
    dfo_field f = odefield_named(json_string_value(json_object_get(settings, "problem")), d);
    numbers(c, "inputs", "t", end);
    numbers(c, "outputs", "y", want);
    for (size_t m = 0; m < OURS; m++) {
        size_t before = odefield_evaluations;
        memcpy(x, begin, d * sizeof *x);
        if (!strncmp(names[m], "gsl", 3))
            by_gsl(strcmp(names[m], "gsl rkf45") ? gsl_odeiv2_step_rk8pd : gsl_odeiv2_step_rkf45, &f, start, end[0], tol, x);
        else
            by_diffeo(names[m], &f, start, end[0], tol, x);
        out[m] = (struct outcome){0, (double)(odefield_evaluations - before)};
        for (size_t i = 0; i < d; i++)
            out[m].error = fmax(out[m].error, fabs(x[i] - want[i]) / fmax(1, fabs(want[i])));
    }
}

/* The peers' outcomes of a problem, whose line comes next in their table.  */
static void read_peers(const char *name, int k, struct outcome out[METHODS])
{
    char problem[8];
    int exponent;
    if (!peers)
        return;
    if (fscanf(peers, "%7s 1e-%d", problem, &exponent) != 2 || strcmp(problem, name) || exponent != k)
        die("the peers' table has other problems");
    for (size_t m = OURS; m < METHODS; m++)
        if (fscanf(peers, "%lf %lf", &out[m].error, &out[m].evaluations) != 2)
            die("the peers' table has other methods");
}

static void line(const char *name, int k, const struct outcome o[METHODS])
{
    printf("%-4s 1e-%d", name, k);
    for (size_t m = 0; m < methods; m++)
        printf("  %8.1e %6.0f", o[m].error, o[m].evaluations);
    printf("\n");
}

static void draw(struct outcome sum[TOLERANCES][METHODS], const char *path)
{
    dfo_plot_series series[METHODS];
    double x[METHODS][TOLERANCES], y[METHODS][TOLERANCES];
    for (size_t m = 0; m < methods; m++) {
        for (size_t k = 0; k < TOLERANCES; k++) {
            x[m][k] = sum[k][m].evaluations;
            y[m][k] = sum[k][m].error;
        }
        series[m] = (dfo_plot_series){.name = names[m], .x = x[m], .y = y[m], .n = TOLERANCES,
                                      .style = m >= OURS ? DFO_PLOT_DOTS : strncmp(names[m], "gsl", 3) ? DFO_PLOT_LINE : DFO_PLOT_DASHED};
    }
    dfo_plot_curves c = {.look = {.title = "DETEST, tolerances 1e-3 to 1e-9", .x_label = "evaluations, all problems", .y_label = "error, geometric mean"},
                         .x_scale = DFO_PLOT_LOG, .y_scale = DFO_PLOT_LOG, .series = series, .n = methods};
    if (dfo_plot_curves_png(ctx, &c, path))
        die(dfo_ctx_error(ctx));
}

int main(int argc, char **argv)
{
    static struct outcome sum[TOLERANCES][METHODS];
    json_t *file = json_load_file(DFOI_TESTS_DIR "/reference/ode_reference.json", 0, NULL), *c;
    const char *plot = NULL;
    double problems = 0;
    size_t i;
    for (int a = 1; a + 1 < argc; a += 2) {
        if (!strcmp(argv[a], "--plot"))
            plot = argv[a + 1];
        else if (!strcmp(argv[a], "--peers") && !(peers = fopen(argv[a + 1], "r")))
            die(argv[a + 1]);
    }
    methods = peers ? METHODS : OURS;
    if (!file)
        die("no ode_reference.json");
    if (dfo_ctx_new(&ctx))
        die("out of memory");
    gsl_set_error_handler_off();
    printf("%9s", "");
    for (size_t m = 0; m < methods; m++)
        printf("  %15s", names[m]);
    printf("\n");
    json_array_foreach(json_object_get(file, "cases"), i, c) {
        const char *name = json_string_value(json_object_get(c, "name"));
        if (strncmp(name, "DETEST_", 7))
            continue;
        problems++;
        for (int k = FIRST; k <= LAST; k++) {
            struct outcome o[METHODS];
            solve(c, pow(10, -k), o);
            read_peers(name + 7, k, o);
            line(name + 7, k, o);
            for (size_t m = 0; m < methods; m++) {
                sum[k - FIRST][m].error += log(fmax(o[m].error, 1e-16));
                sum[k - FIRST][m].evaluations += o[m].evaluations;
            }
        }
    }
    for (int k = FIRST; k <= LAST; k++) {
        for (size_t m = 0; m < methods; m++)
            sum[k - FIRST][m].error = exp(sum[k - FIRST][m].error / problems);
        line("all", k, sum[k - FIRST]);
    }
    if (plot)
        draw(sum, plot);
    if (peers)
        fclose(peers);
    json_decref(file);
    dfo_ctx_free(ctx);
    return 0;
}
