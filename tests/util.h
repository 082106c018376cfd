/* What every test program needs: seed, scale, files, a runner.  */
#ifndef DIFFEO_TESTS_UTIL_H
#define DIFFEO_TESTS_UTIL_H

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#ifdef DFO_DOUBLE
#define IS_DOUBLE 1
#else
#define IS_DOUBLE 0
#endif

/* The seed of this run: DIFFEO_TEST_SEED, else one from the clock.  test_run prints it when something
 * fails; print it in messages too where that helps.  */
uint64_t test_seed(void);

/* A deterministic stream of numbers from a seed, for sizes and configurations (not for data: those
 * have keys).  */
typedef struct test_rng { uint64_t state; } test_rng;
test_rng test_rng_new(uint64_t seed);
uint64_t test_rng_next(test_rng *rng);
size_t test_rng_between(test_rng *rng, size_t low, size_t high);      /* both included */
double test_rng_real(test_rng *rng, double low, double high);
double test_rng_normal(test_rng *rng);

/* n scaled by DIFFEO_TEST_MULTIPLIER (default 1), at least 1.  */
size_t test_times(size_t n);

/* "FOLDER/tests/name" in the source tree; valid until the 8th call after this one.  */
const char *test_file(const char *name);

/* An empty folder of this process's own, and a path in it (valid until the 8th call after this one).
 * test_run removes it when everything passed.  */
const char *test_tmp(void);
const char *test_tmp_file(const char *name);

/* Reads or writes a whole file; fails the test if that is impossible.  Freed by free.  */
char *test_read(const char *path, size_t *bytes);
void test_write(const char *path, const void *bytes, size_t n);

/* Runs the suite (forked, 120 s a test), removes the temporary folder, prints the seed after failures.
 * The program's exit status.  */
int test_run(Suite *suite);

#endif
