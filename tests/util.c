/* Seed, scale, temporary files and the runner: see util.h.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#ifndef DFOI_TESTS_DIR
#define DFOI_TESTS_DIR "tests"
#endif

uint64_t test_seed(void)
{
    static uint64_t seed;
    if (seed)
        return seed;
    const char *given = getenv("DIFFEO_TEST_SEED");
    if (given && *given) {
        seed = strtoull(given, NULL, 0);
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000003u ^ (uint64_t)now.tv_nsec;
    }
    seed &= 0xffffffffu;
    if (!seed)
        seed = 1;
    return seed;
}

test_rng test_rng_new(uint64_t seed)
{
    test_rng rng = {seed};
    return rng;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t test_rng_next(test_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t test_rng_between(test_rng *rng, size_t low, size_t high)
{
    return low + (size_t)(test_rng_next(rng) % (high - low + 1));
}

double test_rng_real(test_rng *rng, double low, double high)
{
    return low + (high - low) * ((double)(test_rng_next(rng) >> 11) + 0.5) * 0x1p-53;
}

double test_rng_normal(test_rng *rng)
{
    double r = sqrt(-2.0 * log(test_rng_real(rng, 0.0, 1.0)));
    return r * cos(2.0 * M_PI * test_rng_real(rng, 0.0, 1.0));
}

size_t test_times(size_t n)
{
    const char *text = getenv("DIFFEO_TEST_MULTIPLIER");
    double factor = text && *text ? strtod(text, NULL) : 1.0;
    double times = factor > 0 ? (double)n * factor : (double)n;
    return times < 1 ? 1 : (size_t)times;
}

/* Eight texts taken in turn, so that a few paths can be used side by side.  */
static const char *turn(const char *folder, const char *name)
{
    static char text[8][1024];
    static unsigned next;
    char *to = text[next++ % 8];
    int n = snprintf(to, sizeof text[0], "%s/%s", folder, name);
    ck_assert_msg(n > 0 && (size_t)n < sizeof text[0], "path too long: %s/%s", folder, name);
    return to;
}

const char *test_file(const char *name)
{
    return turn(DFOI_TESTS_DIR, name);
}

static char tmp[512];

const char *test_tmp(void)
{
    if (!*tmp) {
        const char *base = getenv("TMPDIR");
        snprintf(tmp, sizeof tmp, "%s/diffeo-test-XXXXXX", base && *base ? base : "/tmp");
        if (!mkdtemp(tmp)) {                      /* test_run calls this outside a test: no ck_ here */
            perror(tmp);
            exit(EXIT_FAILURE);
        }
    }
    return tmp;
}

const char *test_tmp_file(const char *name)
{
    return turn(test_tmp(), name);
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

char *test_read(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    size_t used = 0, room = 1 << 16;
    char *text = malloc(room);
    for (;;) {
        ck_assert_msg(text != NULL, "no memory to read %s", path);
        used += fread(text + used, 1, room - used - 1, f);
        if (used < room - 1)
            break;
        text = realloc(text, room *= 2);
    }
    ck_assert_msg(!ferror(f), "cannot read %s", path);
    fclose(f);
    text[used] = 0;
    if (bytes)
        *bytes = used;
    return text;
}

void test_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "cannot make %s", path);
    size_t put = n ? fwrite(bytes, 1, n, f) : 0;
    ck_assert_msg(put == n && fclose(f) == 0, "cannot write %s", path);
}

int test_run(Suite *suite)
{
    (void)test_seed();            /* before forking: the same for all */
    (void)test_tmp();
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (failed)
        fprintf(stderr, "replay with DIFFEO_TEST_SEED=%llu; files are in %s\n", (unsigned long long)test_seed(), tmp);
    else
        nftw(tmp, drop, 16, FTW_DEPTH | FTW_PHYS);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
