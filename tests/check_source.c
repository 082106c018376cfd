/* Sources: specs, slices, splits, orders of an epoch, rows in memory, standard input; and the toys:
 * densities that integrate to one, draws that have them, rows that are functions of seed and number.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <unistd.h>

#include "data/source_impl.h"
#include "datafix.h"
#include "faults.h"
#include "oom.h"

static dfo_source *open_spec(const char *spec)
{
    dfo_source *source;
    ck_assert_msg(dfo_source_open(ctx, spec, NULL, &source) == DFO_OK, "%s: %s", spec, dfo_ctx_error(ctx));
    return source;
}

/* ---- toys ---- */

static double mean_of(const double *v, size_t n, double *error)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    for (size_t i = 0; i < n; i++)
        square += (v[i] - sum / (double)n) * (v[i] - sum / (double)n);
    *error = sqrt(square / (double)n / (double)(n - 1));
    return sum / (double)n;
}

/* The mean of -log p over draws is the entropy.  */
START_TEST(toy_entropy)
{
    char spec[80];
    size_t n = test_times(4000), d;
    snprintf(spec, sizeof spec, "toy:%s:%zu:%llu", dfo_toy((size_t)_i), n, (unsigned long long)test_seed());
    dfo_source *source = open_spec(spec);
    dfo_source_info info;
    dfo_source_describe(source, &info);
    ck_assert(info.has_entropy && info.rows == n);
    dfo_real *x = data_read(source, &d, NULL);
    double *lp = malloc(n * sizeof *lp), error;
    ck_assert_ptr_nonnull(lp);
    OK(dfo_source_true_log_prob(source, ctx, dfo_batch_of(x, n, d), lp));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(isfinite(lp[i]), "%s: row %zu, drawn, has log density %g", spec, i, lp[i]);
    double mean = -mean_of(lp, n, &error);
    ck_assert_msg(fabs(mean - info.entropy) <= 5 * error + 1e-9, "%s: entropy %.6f, mean of -log p %.6f +- %.6f", spec,
                  info.entropy, mean, error);
    free(x);
    free(lp);
    dfo_source_free(source);
}
END_TEST

/* In one and two columns: the density integrates to 1, -p log p to the entropy, and draws fall into 32 cells
 * (32 by 32) as often as it says (chi-square).  */
#define CELLS 32

struct grid {
    const char *name;
    double      half;           /* from -half to half */
    size_t      points;         /* a cell and axis */
};

static const struct grid *grid_of(const char *name)
{
    static const struct grid grid[] = {
        {"gaussians25", 2, 12}, {"rings", 4, 8},     {"spirals", 4, 4},      {"pinwheel", 6, 10},
        {"checkerboard", 8, 2}, {"two-moons", 4, 8}, {"ring-mixture", 4, 8}, {"bimodal", 6, 20},
    }, other = {"", 6, 4};
    for (size_t i = 0; i < sizeof grid / sizeof *grid; i++)
        if (!strcmp(name, grid[i].name))
            return &grid[i];
    return &other;
}

/* Adds one row of points to its cells; all share the second coordinate.  */
static void integrate(const dfo_source *source, const struct grid *g, size_t d, size_t i, double *cell, double *entropy)
{
    static dfo_real row[2 * CELLS * 64];
    double lp[CELLS * 64], step = 2 * g->half / (double)(CELLS * g->points), area = d == 1 ? step : step * step;
    size_t n = CELLS * g->points;
    for (size_t k = 0; k < n; k++) {
        row[k * d] = (dfo_real)(-g->half + step * ((double)k + 0.5));
        if (d == 2)
            row[k * d + 1] = (dfo_real)(-g->half + step * ((double)i + 0.5));
    }
    OK(dfo_source_true_log_prob(source, ctx, dfo_batch_of(row, n, d), lp));
    for (size_t k = 0; k < n; k++) {
        double p = exp(lp[k]);
        cell[i / g->points * CELLS + k / g->points] += p * area;
        *entropy -= p > 0 ? p * lp[k] * area : 0;
    }
}

static void check_draws(const dfo_source *source, const struct grid *g, size_t d, const double *cell)
{
    static double count[CELLS * CELLS];
    size_t n = (size_t)data_rows(source), e, cells = 0;
    dfo_real *x = data_read(source, &e, NULL);
    double chi = 0, rest = 0, rest_count = 0;
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < n; i++) {
        double a = floor(((double)x[i * d] + g->half) / (2 * g->half) * CELLS), b = 0;
        if (d == 2)
            b = floor(((double)x[i * d + 1] + g->half) / (2 * g->half) * CELLS);
        if (a >= 0 && a < CELLS && b >= 0 && b < CELLS)
            count[(size_t)b * CELLS + (size_t)a]++;
    }
    free(x);
    for (size_t k = 0; k < CELLS * CELLS; k++) {
        double want = cell[k] * (double)n;
        if (want < 5) {
            rest += want;
            rest_count += count[k];
            continue;
        }
        chi += (count[k] - want) * (count[k] - want) / want;
        cells++;
    }
    double free_cells = (double)cells - 1;
    ck_assert_msg(chi < free_cells + 5 * sqrt(2 * free_cells) + 10, "%s: chi-square %.1f over %zu cells",
                  dfo_source_name(source), chi, cells);
    ck_assert_msg(fabs(rest_count - rest) < 7 * sqrt(rest + 1) + 3, "%s: %g draws in rare cells, expected %g",
                  dfo_source_name(source), rest_count, rest);
}

START_TEST(toy_density)
{
    static double cell[CELLS * CELLS];
    const char *name = dfo_toy((size_t)_i);
    const struct grid *g = grid_of(name);
    char spec[80];
    snprintf(spec, sizeof spec, "toy:%s:%zu:%llu", name, test_times(20000), (unsigned long long)test_seed());
    dfo_source *source = open_spec(spec);
    dfo_source_info info;
    dfo_source_describe(source, &info);
    double sum = 0, entropy = 0;
    memset(cell, 0, sizeof cell);
    for (size_t i = 0; i < (info.shape.c == 1 ? 1 : CELLS * g->points); i++)
        integrate(source, g, info.shape.c, i, cell, &entropy);
    for (size_t k = 0; k < CELLS * CELLS; k++)
        sum += cell[k];
    /* points in float are not evenly spaced */
    double bound = sizeof(dfo_real) == sizeof(float) ? 2e-5 : 1e-6;
    ck_assert_msg(fabs(sum - 1) < bound && fabs(entropy - info.entropy) < 4 * bound,
                  "%s: integral %.8f, entropy %.8f, stated %.8f", name, sum, entropy, info.entropy);
    check_draws(source, g, info.shape.c, cell);
    dfo_source_free(source);
}
END_TEST

START_TEST(toy_rows)
{
    char spec[80];
    size_t d, e;
    snprintf(spec, sizeof spec, "toy:%s:300:5", dfo_toy((size_t)_i));
    dfo_source *a = open_spec(spec);
    snprintf(spec, sizeof spec, "toy:%s:100000000:5#100:110", dfo_toy((size_t)_i));
    dfo_source *b = open_spec(spec);
    snprintf(spec, sizeof spec, "toy:%s:300:6", dfo_toy((size_t)_i));
    dfo_source *c = open_spec(spec);
    dfo_real *x = data_read(a, &d, NULL), *y = data_read(b, &e, NULL), *z = data_read(c, &e, NULL);
    ck_assert_msg(!memcmp(x + 100 * d, y, 10 * d * sizeof *x), "a row depends on more than seed and number");
    ck_assert_msg(memcmp(x, z, 300 * d * sizeof *x) != 0, "the seed does nothing");
    char h[2][17];
    dfo_source_hash(a, h[0]);
    dfo_source_hash(c, h[1]);
    ck_assert_str_ne(h[0], h[1]);
    free(x);
    free(y);
    free(z);
    dfo_source_free(a);
    dfo_source_free(b);
    dfo_source_free(c);
}
END_TEST

/* Mean 0, covariance 0.6^|i-j|.  */
START_TEST(toy_gaussian)
{
    size_t n = 20000, d;
    dfo_source *source = open_spec("toy:gaussian5:20000:11");
    dfo_real *x = data_read(source, &d, NULL);
    ck_assert_uint_eq(d, 5);
    for (size_t a = 0; a < d; a++)
        for (size_t b = 0; b < d; b++) {
            double sum = 0;
            for (size_t i = 0; i < n; i++)
                sum += (double)x[i * d + a] * (double)x[i * d + b];
            ck_assert_double_eq_tol(sum / (double)n, pow(0.6, fabs((double)a - (double)b)), 0.05);
        }
    free(x);
    dfo_source_free(source);
}
END_TEST

START_TEST(toy_refused)
{
    static const struct { const char *spec, *says; } bad[] = {
        {"toy:nope", "toy:nope: no such toy; known: moons circles rings"},
        {"toy:", "no such toy"}, {"toy:moons2", "no such toy"}, {"toy:gaussian0", "no such toy"},
        {"toy:gaussian5000", "no such toy"}, {"toy:gaussianx", "no such toy"},
        {"toy:moons:abc", "toy: number of rows: expected a whole number"},
        {"toy:moons:0", "the number of rows must be from 1"},
        {"toy:moons:281474976710656", "the number of rows must be from 1"},
        {"toy:moons:10:x", "toy: seed: expected a whole number"},
        {"toy:moons:10:1:2", "toy: seed: expected a whole number"},
        {"toy:moons:10#5:11", "rows 5 to 10 wanted (#5:11), it has rows 0 to 9"},
        {"toy:moons:10#5:5", "no rows in #5:5, it has rows 0 to 9"},
    };
    dfo_source *source;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(dfo_source_open(ctx, bad[i].spec, NULL, &source) == DFO_EARG, "%s: %s", bad[i].spec,
                      dfo_ctx_error(ctx));
        SAYS(bad[i].says);
    }
    source = open_spec("toy:gaussian3");
    dfo_real x[4];
    double lp[2];
    ck_assert_int_eq(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 2, 2), NULL), DFO_ESHAPE);
    ck_assert_int_eq(dfo_source_true_log_prob(source, ctx, dfo_batch_of(x, 2, 2), lp), DFO_ESHAPE);
    ck_assert_int_eq(dfo_source_read(source, ctx, 10000, dfo_batch_of(x, 1, 3), NULL), DFO_EARG);
    ck_assert_int_eq(dfo_source_read(source, ctx, UINT64_MAX, dfo_batch_of(x, 1, 3), NULL), DFO_EARG);
    ck_assert_int_eq(dfo_source_gather(source, ctx, &(uint64_t){10000}, dfo_batch_of(x, 1, 3), NULL), DFO_EARG);
    SAYS("row 10000 wanted, it has 10000 rows");
    OK(dfo_source_read(source, ctx, 10000, dfo_batch_of(x, 0, 3), NULL));
    ck_assert_ptr_null(dfo_toy(dfo_toys()));
    dfo_source_free(source);
}
END_TEST

/* ---- views ---- */

/* A source over 0, 1, 2, ... so that a row tells its number.  */
static dfo_real number[1000];

static dfo_source *numbers(size_t n)
{
    dfo_source *source;
    for (size_t i = 0; i < n; i++)
        number[i] = (dfo_real)i;
    OK(dfo_source_rows(ctx, dfo_batch_of(number, n, 1), &source));
    return source;
}

START_TEST(slices)
{
    dfo_source *all = numbers(1000), *part, *inner, *split, *of_split;
    dfo_real x[1000];
    uint64_t rows[3] = {4, 0, 2};
    OK(dfo_source_slice(ctx, all, 100, 50, &part));
    OK(dfo_source_slice(ctx, part, 10, 5, &inner));
    OK(dfo_source_gather(inner, ctx, rows, dfo_batch_of(x, 3, 1), NULL));
    ck_assert(x[0] == 114 && x[1] == 110 && x[2] == 112);
    ck_assert_int_eq(dfo_source_read(inner, ctx, 3, dfo_batch_of(x, 3, 1), NULL), DFO_EARG);
    OK(dfo_source_split(ctx, part, 0.5, 3, 0, &split));
    OK(dfo_source_slice(ctx, split, 5, 4, &of_split));
    dfo_real y[50];
    OK(dfo_source_read(split, ctx, 0, dfo_batch_of(y, (size_t)data_rows(split), 1), NULL));
    OK(dfo_source_read(of_split, ctx, 0, dfo_batch_of(x, 4, 1), NULL));
    ck_assert(!memcmp(x, y + 5, 4 * sizeof *x));
    for (size_t i = 1; i < data_rows(split); i++)
        ck_assert(y[i] > y[i - 1] && y[i] < 150 && y[0] >= 100);
    dfo_source *none;
    ck_assert_int_eq(dfo_source_slice(ctx, all, 990, 11, &none), DFO_EARG);
    ck_assert_int_eq(dfo_source_slice(ctx, all, UINT64_MAX, 2, &none), DFO_EARG);
    ck_assert_int_eq(dfo_source_split(ctx, all, 1.5, 0, 0, &none), DFO_EARG);
    ck_assert_int_eq(dfo_source_split(ctx, all, NAN, 0, 0, &none), DFO_EARG);
    OK(dfo_source_slice(ctx, all, 1000, 0, &none));
    dfo_source_free(none);
    dfo_source_free(of_split);
    dfo_source_free(split);
    dfo_source_free(inner);
    dfo_source_free(part);
    dfo_source_free(all);
}
END_TEST

/* A split and its complement are all rows, once; the same for the same seed.  */
START_TEST(splits)
{
    dfo_source *all = numbers(1000), *a, *b, *again;
    char seen[1000] = {0};
    dfo_real x[1000];
    OK(dfo_source_split(ctx, all, 0.1, 7, 0, &a));
    OK(dfo_source_split(ctx, all, 0.1, 7, 1, &b));
    OK(dfo_source_split(ctx, all, 0.1, 7, 0, &again));
    uint64_t n = data_rows(a), m = data_rows(b);
    ck_assert_uint_eq(n + m, 1000);
    ck_assert(n > 50 && n < 160);
    OK(dfo_source_read(a, ctx, 0, dfo_batch_of(x, n, 1), NULL));
    OK(dfo_source_read(b, ctx, 0, dfo_batch_of(x + n, m, 1), NULL));
    for (size_t i = 0; i < 1000; i++)
        ck_assert(!seen[(size_t)x[i]]++);
    char h[3][17];
    dfo_source_hash(a, h[0]);
    dfo_source_hash(again, h[1]);
    dfo_source_hash(b, h[2]);
    ck_assert_str_eq(h[0], h[1]);
    ck_assert_str_ne(h[0], h[2]);
    dfo_source_free(a);
    dfo_source_free(b);
    dfo_source_free(again);
    OK(dfo_source_split(ctx, all, 0, 7, 0, &a));
    OK(dfo_source_split(ctx, all, 1, 7, 0, &b));
    ck_assert(data_rows(a) == 0 && data_rows(b) == 1000);
    dfo_source_free(a);
    dfo_source_free(b);
    dfo_source_free(all);
}
END_TEST

/* Every row once an epoch, in another order every epoch; by blocks where asked.  */
START_TEST(orders)
{
    static const size_t sizes[] = {1, 2, 1000, 4096, 8191, 8192, 65536, 65537, 70000, 200001};
    size_t n = sizes[_i / 2];
    char spec[60];
    snprintf(spec, sizeof spec, "toy:bimodal:%zu", n);
    dfo_source *source = open_spec(spec);
    source->blockwise = _i & 1;
    unsigned char *seen = calloc(n, 1);
    dfo_key key = {.seed = test_seed(), .purpose = DFO_FOR_SHUFFLE};
    size_t moved = 0, changed = 0, far = 0;
    ck_assert_ptr_nonnull(seen);
    uint64_t blocks[17];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t row = dfo_source_shuffle(source, key, 3, i);
        ck_assert_msg(row < n && !seen[row]++, "seed %llu: n %zu: row %zu comes twice", (unsigned long long)key.seed, n,
                      (size_t)row);
        moved += row != i;
        changed += row != dfo_source_shuffle(source, key, 4, i);
        if (i < 65536) {                                   /* the first window reads from 16 blocks only */
            size_t k = 0;
            while (k < used && blocks[k] != row / 4096)
                k++;
            if (k == used && used < 17)
                blocks[used++] = row / 4096;
            far += k == 17;
        }
    }
    if (n > 100)
        ck_assert(moved > n / 2 && changed > n / 2);
    if (n == 200001)
        ck_assert_msg(_i & 1 ? used <= 16 : used == 17, "the first window reads from %zu blocks", used);
    if (n == 200001 && source->blockwise) {               /* windows are not shuffled alike */
        size_t alike = 0;
        for (size_t i = 0; i < 1000; i++)
            alike += dfo_source_shuffle(source, key, 3, i) % 4096 == dfo_source_shuffle(source, key, 3, 65536 + i) % 4096;
        ck_assert_msg(alike < 100, "%zu of 1000 places are the same in two windows", alike);
    }
    free(seen);
    dfo_source_free(source);
}
END_TEST

START_TEST(rows_in_memory)
{
    dfo_real x[8] = {1, 2, 99, 3, 4, 99, 5, NAN}, y[2];
    dfo_source *source;
    char h[2][17];
    OK(dfo_source_rows(ctx, (dfo_batch){x, 2, 2, 3}, &source));
    OK(dfo_source_read(source, ctx, 1, dfo_batch_of(y, 1, 2), NULL));
    ck_assert(y[0] == 3 && y[1] == 4);
    dfo_source_hash(source, h[0]);
    x[2] = 98;                                             /* between rows: not content */
    dfo_source_hash(source, h[1]);
    ck_assert_str_eq(h[0], h[1]);
    x[4] = 5;
    dfo_source_hash(source, h[1]);
    ck_assert_str_ne(h[0], h[1]);
    ck_assert_int_eq(dfo_source_true_log_prob(source, ctx, dfo_batch_of(y, 1, 2), (double[1]){0}), DFO_EUNSUP);
    dfo_source_free(source);
    OK(dfo_source_rows(ctx, (dfo_batch){x, 3, 2, 3}, &source));
    ck_assert_int_eq(dfo_source_read(source, ctx, 2, dfo_batch_of(y, 1, 2), NULL), DFO_EFORMAT);
    SAYS("row 2, column 2: expected a finite number, found nan");
    dfo_source_free(source);
    ck_assert_int_eq(dfo_source_rows(ctx, (dfo_batch){x, 0, 2, 2}, &source), DFO_ESHAPE);
    ck_assert_int_eq(dfo_source_rows(ctx, (dfo_batch){x, 2, 3, 2}, &source), DFO_ESHAPE);
    dfo_source_free(NULL);
}
END_TEST

/* Columns of two sources in one row: sliced, split and gathered as one.  */
START_TEST(side_by_side)
{
    dfo_source *a = numbers(1000), *b = open_spec("toy:gaussian3:1000:4"), *both, *part, *half, *few;
    dfo_real x[8], y[6];
    uint64_t rows[2] = {7, 3};
    dfo_source_info info;
    char h[2][17];
    OK(dfo_source_join(ctx, a, b, &both));
    dfo_source_describe(both, &info);
    ck_assert(info.rows == 1000 && info.shape.c == 4 && !info.has_entropy);
    OK(dfo_source_slice(ctx, both, 100, 50, &part));
    OK(dfo_source_gather(part, ctx, rows, dfo_batch_of(x, 2, 4), NULL));
    OK(dfo_source_gather(b, ctx, (uint64_t[]){107, 103}, dfo_batch_of(y, 2, 3), NULL));
    ck_assert(x[0] == 107 && x[4] == 103 && !memcmp(x + 1, y, sizeof y / 2) && !memcmp(x + 5, y + 3, sizeof y / 2));
    OK(dfo_source_split(ctx, part, 0.5, 1, 0, &half));
    OK(dfo_source_read(half, ctx, 2, dfo_batch_of(x, 2, 4), NULL));
    OK(dfo_source_read(b, ctx, (uint64_t)x[4], dfo_batch_of(y, 1, 3), NULL));
    ck_assert(x[4] > x[0] && !memcmp(x + 5, y, sizeof y / 2));
    dfo_source_hash(both, h[0]);
    dfo_source_hash(part, h[1]);
    ck_assert_str_ne(h[0], h[1]);
    OK(dfo_source_slice(ctx, a, 0, 999, &few));
    dfo_source *none;
    ck_assert_int_eq(dfo_source_join(ctx, few, b, &none), DFO_ESHAPE);
    SAYS("rows in memory has 999 rows, toy:gaussian3:1000:4 1000: expected one for each");
    dfo_source_free(few);
    dfo_source_free(half);
    dfo_source_free(part);
    dfo_source_free(both);
    dfo_source_free(b);
    dfo_source_free(a);
}
END_TEST

/* Pictures of 2 channels, 2 x 3, in frames of 3 x 5, with a column behind; and back.  */
START_TEST(framed)
{
    enum { N = 5, D = 13, FRAME = 31 };
    dfo_real x[N * D], y[N * FRAME];
    dfo_shape picture = {2, 2, 3}, frame = {2, 3, 5};
    dfo_source *rows, *in, *none;
    dfo_source_info info;
    for (size_t i = 0; i < N * D; i++)
        x[i] = (dfo_real)(i + 1);
    OK(dfo_source_rows(ctx, dfo_batch_of(x, N, D), &rows));
    OK(dfo_source_frame(ctx, rows, picture, frame, &in));
    dfo_source_describe(in, &info);
    ck_assert(info.rows == N && dfo_shape_size(info.shape) == FRAME);
    OK(dfo_source_gather(in, ctx, (uint64_t[]){3, 0}, dfo_batch_of(y, 2, FRAME), NULL));
    for (size_t i = 0; i < 2; i++)
        for (size_t c = 0; c < 2; c++)
            for (size_t r = 0; r < 3; r++)
                for (size_t k = 0; k < 5; k++) {
                    int inside = r < 2 && k >= 1 && k < 4;
                    dfo_real want = inside ? x[(size_t)(i ? 0 : 3) * D + (c * 2 + r) * 3 + k - 1] : 0;
                    ck_assert(y[i * (size_t)FRAME + (c * 3 + r) * 5 + k] == want);
                }
    ck_assert(y[FRAME - 1] == x[4 * D - 1] && y[2 * FRAME - 1] == x[D - 1]);
    OK(dfo_source_read(in, ctx, 0, dfo_batch_of(y, N, FRAME), NULL));
    dfo_batch back = dfo_unframe(dfo_batch_columns(dfo_batch_of(y, N, FRAME), 0, 30), picture, frame);
    ck_assert(back.d == 12 && back.ld == FRAME);
    for (size_t i = 0; i < N; i++)
        ck_assert(!memcmp(dfo_row(back, i), x + i * D, 12 * sizeof *x));
    ck_assert_int_eq(dfo_source_frame(ctx, rows, picture, (dfo_shape){2, 1, 5}, &none), DFO_ESHAPE);
    SAYS("pictures of 2x3x2 (height, width, channels) do not fit a frame of 1x5x2");
    dfo_source_free(in);
    dfo_source_free(rows);
}
END_TEST

/* ---- specs ---- */

START_TEST(specs)
{
    static const struct { const char *spec; uint64_t rows; double first; } good[] = {
        {"d.csv", 5, 10}, {"d.csv#1:3", 2, 11}, {"d.csv#:2", 2, 10}, {"d.csv#3:", 2, 13}, {"d.csv#0:5", 5, 10},
        {"odd#name", 1, 7}, {"odd#name#0:1", 1, 7}, {"noext", 5, 10}, {"d.TSV", 5, 10},
    };
    const char *text = "10\n11\n12\n13\n14\n";
    test_write(test_tmp_file("d.csv"), text, strlen(text));
    test_write(test_tmp_file("d.TSV"), text, strlen(text));
    test_write(test_tmp_file("noext"), text, strlen(text));
    test_write(test_tmp_file("odd#name"), "7\n", 2);
    test_write(test_tmp_file("binary"), "\x7f" "ELF\x02\x01\x01", 7);
    test_write(test_tmp_file("empty"), "", 0);
    dfo_source *source;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        dfo_real x;
        source = open_spec(test_tmp_file(good[i].spec));
        ck_assert_msg(data_rows(source) == good[i].rows, "%s", good[i].spec);
        OK(dfo_source_read(source, ctx, 0, dfo_batch_of(&x, 1, 1), NULL));
        ck_assert(x == (dfo_real)good[i].first);
        uint64_t last = good[i].rows - 1;
        OK(dfo_source_gather(source, ctx, &last, dfo_batch_of(&x, 1, 1), NULL));
        ck_assert(x == (dfo_real)(good[i].first + (double)last));
        dfo_source_free(source);
    }
    static const struct { const char *spec; dfo_status status; const char *says; } bad[] = {
        {"missing.csv", DFO_EIO, "missing.csv: cannot open: No such file or directory"},
        {".", DFO_EFORMAT, "is a directory without any *.png"}, {"empty", DFO_EFORMAT, "the file is empty"},
        {"binary", DFO_EFORMAT, "binary: expected a table of text, NPY, IDX or PNG, found other bytes"},
        {"d.csv#3:6", DFO_EARG, "d.csv: rows 3 to 5 wanted (#3:6), it has rows 0 to 4"},
        {"d.csv#3:2", DFO_EARG, "no rows in #3:2, it has rows 0 to 4"}, {"d.csv#5:", DFO_EARG, "it has rows 0 to 4"},
        {"d.csv#x", DFO_EIO, "cannot open"}, {"d.csv/x", DFO_EIO, "Not a directory"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(dfo_source_open(ctx, test_tmp_file(bad[i].spec), NULL, &source) == bad[i].status, "%s: %s",
                      bad[i].spec, dfo_ctx_error(ctx));
        SAYS(bad[i].says);
    }
    dfo_source_options options = {.format = "xyz"};
    ck_assert_int_eq(dfo_source_open(ctx, test_tmp_file("d.csv"), &options, &source), DFO_EARG);
    SAYS("format 'xyz' is unknown; known: npy, png, idx, cifar10, csv");
    options.format = "npy";
    ck_assert_int_eq(dfo_source_open(ctx, test_tmp_file("d.csv"), &options, &source), DFO_EFORMAT);
    SAYS("not a NPY file");
}
END_TEST

/* Tests fork, so standard input can be anything.  */
START_TEST(standard_input)
{
    const char *path = test_tmp_file("in");
    test_write(path, "a,b\n1,2\n3,4\n5,6\n", 16);
    int file = open(path, O_RDONLY);
    ck_assert(file >= 0 && dup2(file, 0) == 0);
    close(file);
    dfo_source *source = open_spec("-#1:3");
    dfo_real x[4];
    OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 2, 2), NULL));
    ck_assert(x[0] == 3 && x[3] == 6);
    ck_assert_str_eq(dfo_source_name(source), "standard input");
    dfo_source_free(source);
}
END_TEST

static dfo_status views_work(dfo_ctx *c, void *data)
{
    dfo_source *all = NULL, *part = NULL, *half = NULL, *rows = NULL, *both = NULL, *in = NULL;
    dfo_real x[4];
    dfo_status status;
    (void)data;
    DFO_GO(dfo_source_open(c, "toy:moons:50#3:40", NULL, &all));
    DFO_GO(dfo_source_slice(c, all, 2, 20, &part));
    DFO_GO(dfo_source_split(c, part, 0.9, 1, 0, &half));
    DFO_GO(dfo_source_read(half, c, 1, dfo_batch_of(x, 2, 2), NULL));
    DFO_GO(dfo_source_rows(c, dfo_batch_of(x, 2, 2), &rows));
    DFO_GO(dfo_source_join(c, half, half, &both));
    DFO_GO(dfo_source_frame(c, both, (dfo_shape){1, 1, 2}, (dfo_shape){1, 4, 4}, &in));
fail:
    dfo_source_free(in);
    dfo_source_free(both);
    dfo_source_free(rows);
    dfo_source_free(half);
    dfo_source_free(part);
    dfo_source_free(all);
    return status;
}

START_TEST(each_allocation)
{
    oom_check("slices and splits", OOM_ALL, views_work, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source " DFO_REAL_NAME);
    TCase *tc = tcase_create("source");
    int toys = (int)dfo_toys();
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_loop_test(tc, toy_entropy, 0, toys);
    tcase_add_loop_test(tc, toy_density, 0, toys);
    tcase_add_loop_test(tc, toy_rows, 0, toys);
    tcase_add_test(tc, toy_gaussian);
    tcase_add_test(tc, toy_refused);
    tcase_add_test(tc, slices);
    tcase_add_test(tc, splits);
    tcase_add_loop_test(tc, orders, 0, 20);
    tcase_add_test(tc, rows_in_memory);
    tcase_add_test(tc, side_by_side);
    tcase_add_test(tc, framed);
    tcase_add_test(tc, specs);
    tcase_add_test(tc, standard_input);
    tcase_add_test(tc, each_allocation);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
