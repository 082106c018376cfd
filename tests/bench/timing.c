/* What the benchmarks share.  */
#define _GNU_SOURCE
#include <cblas.h>
#include <stdio.h>
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
    for (int i = 0; i < 7; i++) {
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
