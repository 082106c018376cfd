/* What the benchmarks share: the clock, order statistics, the machine's phase and the process's memory.  */
#ifndef TIMING_H
#define TIMING_H

#include <stddef.h>

double now(void);                                          /* seconds */
int    ascending(const void *a, const void *b);            /* doubles, for qsort */
double quantile(const double *sorted, size_t n, double q);
/* sgemm 512^3 in GFLOP/s on so many threads: tells in which phase the machine is.  */
double sgemm_rate(int threads);
double peak_rss_mb(void);

/* --threads N --seconds S --filter TEXT --list, which all of them take.  */
struct bench_options {
    int    threads, list;
    double seconds;
    const char *filter;
};

/* Was argv[*i] one of those?  *i goes to what belongs to it.  */
int bench_option(struct bench_options *o, int argc, char **argv, int *i);
/* Is this case to run?  A list prints its name instead.  */
int bench_wanted(const struct bench_options *o, const char *workload, const char *name);

#endif
