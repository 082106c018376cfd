/* Simulation-based inference on the tasks of sbibm (sbitasks.h):
 *     simulate TASK N SEED TABLE      N rows of parameters of the prior and an observation of each
 *     simulate free TASK ROWS TABLE   such rows, or observations alone, as a flow is fitted to them: parameters on the whole line (logit,
 *                                     logarithm), of animals and the ill the logarithm
 *     simulate back TASK ROWS TABLE   parameters on the whole line to those of the task
 *     simulate check FOLDER           whether priors, simulators and likelihoods here are those of sbibm's files; status 1 if not
 * A table is a .csv or .npy file, or -.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ode.h>
#include <diffeo/source.h>
#include "sbitasks.h"

enum { RANKS = 999, OBSERVATIONS = 2, MOST_COLUMNS = SBI_D + SBI_M };

static dfo_ctx *ctx;

static void must(dfo_status status)
{
    if (status == DFO_OK)
        return;
    fprintf(stderr, "simulate: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

static dfo_key key_of(uint64_t seed, uint64_t row, uint32_t step)
{
    return (dfo_key){.seed = seed, .row = row, .purpose = DFO_FOR_TEST, .step = step};
}

/* ---- tables */

/* *x (n, d): the caller's.  */
static dfo_batch read_rows(const char *spec)
{
    dfo_source *source;
    dfo_source_info info;
    must(dfo_source_open(ctx, spec, NULL, &source));
    dfo_source_describe(source, &info);
    dfo_batch x = dfo_batch_of(NULL, (size_t)info.rows, dfo_shape_size(info.shape));
    x.x = calloc(x.n * x.d + 1, sizeof *x.x);
    if (!x.x)
        exit(1);
    must(dfo_source_read(source, ctx, 0, x, NULL));
    dfo_source_free(source);
    return x;
}

/* The first of d columns are called parameter_1, ..., the others data_1, ...  */
static void write_rows(const char *path, dfo_batch x, size_t parameters)
{
    char name[MOST_COLUMNS][32];
    const char *names[MOST_COLUMNS];
    dfo_sink *sink;
    for (size_t j = 0; j < x.d; j++) {
        snprintf(name[j], sizeof name[j], j < parameters ? "parameter_%zu" : "data_%zu", j < parameters ? j + 1 : j - parameters + 1);
        names[j] = name[j];
    }
    must(dfo_sink_open(ctx, path, NULL, x.n, x.d, names, &sink));
    must(dfo_sink_write(sink, x));
    must(dfo_sink_finish(sink));
    dfo_sink_free(sink);
}

/* n rows of parameters and observation; the caller's.  */
static dfo_batch simulated(const struct sbi_task *task, size_t n, uint64_t seed)
{
    dfo_batch x = dfo_batch_of(calloc(n * (task->d + task->m) + 1, sizeof(double)), n, task->d + task->m);
    if (!x.x)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        sbi_draw(task, key_of(seed, i, 0), dfo_row(x, i));
        task->simulate(dfo_row(x, i), key_of(seed, i, 1), dfo_row(x, i) + task->d);
    }
    return x;
}

static double tame(const struct sbi_task *task, double x)
{
    return task->shift > 0 ? log(task->shift + x) : x;
}

static void free_rows(const struct sbi_task *task, dfo_batch x)
{
    size_t d = x.d - task->m;
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = j < d ? sbi_free(task, j, dfo_row(x, i)[j]) : tame(task, dfo_row(x, i)[j]);
}

static int convert(const char *how, const struct sbi_task *task, const char *in, const char *out)
{
    int back = !strcmp(how, "back");
    dfo_batch x = read_rows(in);
    if (x.d != (back ? task->d : task->m) && (back || x.d != task->d + task->m))
        return fprintf(stderr, "simulate: %s: %zu columns are not those of %s\n", in, x.d, task->name), 1;
    if (!back)
        free_rows(task, x);
    for (size_t i = 0; back && i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = sbi_back(task, j, dfo_row(x, i)[j]);
    write_rows(out, x, back ? x.d : x.d - task->m);
    free(x.x);
    return 0;
}

/* ---- check */

/* The part of simulations at theta that are no more likely than x: uniform on (0, 1) if x came from there.  */
static double rank(const struct sbi_task *task, const double *theta, const double *x)
{
    double l = task->log_likelihood(theta, x), y[SBI_M], below = 0.5;
    for (uint64_t i = 0; i < RANKS; i++) {
        task->simulate(theta, key_of(1, i, 1), y);
        double other = task->log_likelihood(theta, y);
        below += other < l ? 1 : other > l ? 0 : 0.5;
    }
    return below / (RANKS + 1);
}

/* log of prior, likelihood and the edge's factor, without their constants.  */
static double log_joint(const struct sbi_task *task, const double *theta, const double *x)
{
    return sbi_log_prior(task, theta) + task->log_likelihood(theta, x) + (task->edge ? log(task->edge(theta, x)) : 0);
}

/* d(w p)/dtheta_j / p at theta, p being the joint density: over draws of the posterior its mean is 0 (Stein's identity).  w, which is 0
 * where p ends, goes into v[0], and w (theta_j - centre) into v[1], so that means are checked and spreads.  */
static void stein(const struct sbi_task *task, double *theta, size_t j, const double *x, double centre, double v[2])
{
    double at = theta[j], a = task->a[j % 2], b = task->b[j % 2], w = 1, slope = 0, h = 1e-6;
    if (task->prior == SBI_UNIFORM) {
        w = (at - a) * (b - at);
        slope = a + b - 2 * at;
    } else if (task->prior == SBI_LOG_NORMAL) {
        w = at;
        slope = 1;
        h = 1e-4 * at;
    }
    theta[j] = at + h;
    double up = log_joint(task, theta, x);
    theta[j] = at - h;
    double down = log_joint(task, theta, x);
    theta[j] = at;
    double edge = task->edge ? task->edge(theta, x) : 1, value = edge * (slope + w * (up - down) / (2 * h));
    v[0] = isfinite(value) ? value : 0;            /* at the edge itself, where the factor is 0 */
    v[1] = (at - centre) * v[0] + edge * w;
}

/* The mean over the posterior in units of its standard error, where it is largest.  */
static double worst(const struct sbi_task *task, dfo_batch posterior, const double *theta, const double *x)
{
    double most = 0;
    size_t n = posterior.n < task->rows ? posterior.n : task->rows;
    for (size_t j = 0; j < task->d; j++) {
        double mean[2] = {0, 0}, squares[2] = {0, 0}, v[2];
        for (size_t i = 0; i < n; i++) {
            stein(task, dfo_row(posterior, i), j, x, theta[j], v);
            for (int k = 0; k < 2; k++) {
                mean[k] += v[k] / (double)n;
                squares[k] += v[k] * v[k] / (double)n;
            }
        }
        for (int k = 0; k < 2; k++) {
            double z = mean[k] / sqrt((squares[k] - mean[k] * mean[k]) / (double)n);
            most = fabs(z) > fabs(most) ? z : most;
        }
    }
    return most;
}

static dfo_batch of_task(const char *folder, const struct sbi_task *task, int k, const char *what)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s_obs%d_%s", folder, task->name, k, what);
    return read_rows(path);
}

static int check(const char *folder)
{
    int strange = 0;
    printf("# rank: part of %d simulations at the true parameters that are no more likely than the observation\n"
           "# Stein: d(w p)/dtheta_j / p, p prior and likelihood, has the mean 0 over the posterior; the largest over its parameters and two\n"
           "# weights w (means and spreads), over the reference posterior, in standard errors\n", RANKS);
    for (size_t t = 0; t < sbi_count; t++) {
        const struct sbi_task *task = &sbi_tasks[t];
        for (int k = 1; k <= OBSERVATIONS; k++) {
            dfo_batch theta = of_task(folder, task, k, "true_parameters.csv"), x = of_task(folder, task, k, "observation.csv"),
                      posterior = of_task(folder, task, k, "reference_posterior_f32.npy");
            if (theta.d != task->d || x.d != task->m || posterior.d != task->d || theta.n != 1 || x.n != 1)
                return fprintf(stderr, "simulate: %s: files of %s that do not fit\n", folder, task->name), 1;
            double r = rank(task, theta.x, x.x), z = worst(task, posterior, theta.x, x.x);
            printf("%-24s observation %d  rank %.3f  Stein %+5.2f\n", task->name, k, r, z);
            fflush(stdout);
            strange += r < 0.001 || !(fabs(z) < 5);
            free(theta.x);
            free(x.x);
            free(posterior.x);
        }
    }
    if (strange)
        fprintf(stderr, "simulate: %d observations or posteriors are not those of the tasks here\n", strange);
    return strange > 0;
}

int main(int argc, char **argv)
{
    const char *name = argc == 5 ? argv[strcmp(argv[1], "free") && strcmp(argv[1], "back") ? 1 : 2] : "";
    int status = 2;
    if (dfo_ctx_new(&ctx))
        return 1;
    sbi_start(ctx);
    const struct sbi_task *task = sbi_task_named(name);
    if (argc == 3 && !strcmp(argv[1], "check")) {
        status = check(argv[2]);
    } else if (task && name != argv[1]) {
        status = convert(argv[1], task, argv[3], argv[4]);
    } else if (task) {
        dfo_batch x = simulated(task, (size_t)strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        write_rows(argv[4], x, task->d);
        free(x.x);
        status = 0;
    } else {
        fputs("usage: simulate TASK N SEED TABLE | simulate free|back TASK ROWS TABLE | simulate check FOLDER\ntasks:", stderr);
        for (size_t t = 0; t < sbi_count; t++)
            fprintf(stderr, " %s", sbi_tasks[t].name);
        fputs("\n", stderr);
    }
    dfo_ctx_free(ctx);
    return status;
}
