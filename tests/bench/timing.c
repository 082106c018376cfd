/* What the benchmarks share.  */
#define _GNU_SOURCE
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "timing.h"

void openblas_set_num_threads(int);

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

double sgemm_rate(int threads)
{
    enum { N = 512 };
    static float a[N * N], b[N * N], c[N * N];
    double best = 1e9;
    for (int i = 0; i < N * N; i++)
        a[i] = b[i] = 1;
    openblas_set_num_threads(threads);
    double end = now() + 0.2;              /* the system may leave new threads on one core for some hundredths of a second */
    for (int i = 0; i < 7 || now() < end; i++) {
        double t = now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a, N, b, N, 0, c, N);
        t = now() - t;
        best = i && t < best ? t : best;
    }
    openblas_set_num_threads(1);
    return 2.0 * N * N * N / best / 1e9;
}

double peak_rss_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb / 1024;
}

int bench_option(struct bench_options *o, int argc, char **argv, int *i)
{
    const char *name = argv[*i], *value = *i + 1 < argc ? argv[*i + 1] : "";
    if (!strcmp(name, "--list")) {
        o->list = 1;
        return 1;
    }
    if (!strcmp(name, "--threads"))
        o->threads = (int)strtol(value, NULL, 10);
    else if (!strcmp(name, "--seconds"))
        o->seconds = strtod(value, NULL);
    else if (!strcmp(name, "--filter"))
        o->filter = value;
    else
        return 0;
    ++*i;
    return 1;
}

int bench_wanted(const struct bench_options *o, const char *workload, const char *name)
{
    char text[64];
    snprintf(text, sizeof text, "%s %s", workload, name);
    int wanted = strstr(text, o->filter) != NULL;
    if (wanted && o->list)
        puts(text);
    return wanted && !o->list;
}
